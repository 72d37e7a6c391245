"""From an analysis and its fact sheet to the document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.reports.document import Document, FindingBlock, Provenance
from kimi_provider.reports.figures import cards, key_facts, more_figures, tables
from kimi_provider.reports.text import one_line
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from kimi_provider.reports.document import ChartBlock
    from kimi_provider.reports.prose import Prose
    from kimi_provider.schemas import Analysis, FactSheet

_SUBJECT_LIMIT = 150
_HEADLINE_LIMIT = 200
_TITLE_LIMIT = 160
# About what a phone shows beside the subject.
_PREHEADER_LIMIT = 140
_MAX_CARDS = 6


@dataclass(frozen=True, slots=True)
class Frame:
    """What a report has that comes neither from the model nor from the data.

    :param title: name of the report.
    :param subject: of the mail, with ``{title}``, ``{period}``, ``{headline}``, ``{level}`` in it;
        ``None``: title, period (if there is one) and headline.
    :param now: when the report is made.
    """

    title: str
    subject: str | None
    now: datetime


def compose(
    analysis: Analysis,
    sheet: FactSheet,
    prose: Prose,
    frame: Frame,
    *,
    charts: Sequence[ChartBlock] = (),
    notes: Sequence[str] = (),
    max_rows: int = 12,
) -> Document:
    """Make the document.

    :param charts: what was drawn.
    :param notes: what should have been in the report and is not.
    :param max_rows: most rows of a table.
    :raises RenderError: if the model's text cites what is not on the sheet.
    :raises ConfigurationError: if the subject names a field that there is not.
    """
    formatter = prose.formatter
    words = formatter.words
    headline = prose.line(analysis.headline, _HEADLINE_LIMIT)
    title = one_line(frame.title, _TITLE_LIMIT)
    level = words[analysis.severity.value]
    period = analysis.period or ""
    summary = prose.paragraphs(analysis.summary)
    key = key_facts(sheet)
    shown, hidden = tables(sheet, formatter, max_rows)
    return Document(
        title=title,
        headline=headline,
        subject=_subject(
            frame.subject,
            title=title,
            period=formatter.moment(period),
            headline=headline,
            level=level,
        ),
        preheader=one_line(summary.text, _PREHEADER_LIMIT),
        period=formatter.moment(period, "full"),
        language=words["language"],
        severity=analysis.severity,
        level=level,
        cards=cards(key[:_MAX_CARDS], formatter),
        summary=summary,
        findings=tuple(
            FindingBlock(
                title=prose.line(finding.title, _TITLE_LIMIT),
                detail=prose.paragraphs(finding.detail),
                severity=finding.severity,
                level=words[finding.severity.value],
            )
            for finding in sorted(analysis.findings, key=lambda f: f.severity.rank, reverse=True)
        ),
        charts=tuple(charts),
        tables=more_figures(key[_MAX_CARDS:], formatter) + shown,
        actions=tuple(prose.inline(action) for action in analysis.actions),
        notes=(*notes, *hidden),
        provenance=_provenance(analysis, sheet, prose, frame),
    )


def _subject(template: str | None, **fields: str) -> str:
    if template is None:
        template = "{title} — {period}: {headline}" if fields["period"] else "{title}: {headline}"

    # Not str.format: it reaches into attributes, and a field is plain text here.
    def fill(match: re.Match[str]) -> str:
        try:
            return fields[match[1]]
        except KeyError:
            raise ConfigurationError(
                f"The subject names {match[0]}, which is not a field. Fields are: "
                f"{', '.join('{' + name + '}' for name in fields)}."
            ) from None

    return one_line(re.sub(r"\{(\w*)\}", fill, template), _SUBJECT_LIMIT)


def _provenance(analysis: Analysis, sheet: FactSheet, prose: Prose, frame: Frame) -> Provenance:
    formatter = prose.formatter
    words = formatter.words
    usage = analysis.usage
    datasets = {
        name: content
        for lineage in (*(f.lineage for f in sheet.facts), *(t.lineage for t in sheet.tables))
        for name, content in lineage.datasets.items()
    }
    named = [f"{one_line(n, 60)} ({content[:8]})" if content else n for n, content in datasets.items()]
    if analysis.simulated:
        cost = words["cost_simulated"]
    elif usage.cost_usd is None:
        cost = words["cost_unknown"]
    else:
        places: Literal[2, 4] = 2 if usage.cost_usd >= 1 else 4
        cost = formatter.number(usage.cost_usd, Unit.CURRENCY, unit_label="USD", decimals=places)
    model = one_line(analysis.model, 80)
    return Provenance(
        model=words["simulator"].format(model=model) if analysis.simulated else model,
        simulated=analysis.simulated,
        sources=words["sources"].format(
            facts=formatter.count(len(sheet.facts)), datasets=", ".join(named) or words["no_value"]
        ),
        cost=cost,
        calls=words["calls"].format(
            calls=formatter.count(usage.calls),
            input=formatter.count(usage.input_tokens),
            output=formatter.count(usage.output_tokens),
        ),
        generated=formatter.time(frame.now),
    )

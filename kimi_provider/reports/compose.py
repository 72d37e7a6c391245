"""From an analysis and its fact sheet to the document."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.reports.data import key_figures, whole_tables
from kimi_provider.reports.direction import set_apart
from kimi_provider.reports.document import Document, FindingBlock
from kimi_provider.reports.figures import cards, key_facts, more_figures
from kimi_provider.reports.footnotes import footnotes
from kimi_provider.reports.format import Style
from kimi_provider.reports.history import history
from kimi_provider.reports.provenance import provenance
from kimi_provider.reports.text import clipped, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from kimi_provider.reports.document import Card, ChartBlock, Picture
    from kimi_provider.reports.format import Formatter
    from kimi_provider.reports.prose import Prose
    from kimi_provider.schemas import Analysis, Fact, FactSheet

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
    :param subject: of the mail, with ``{title}``, ``{period}``, ``{when}``, ``{headline}``, ``{level}``
        in it; ``None``: title, period (if there is one) and headline.
    :param now: when the report is made.
    """

    title: str
    subject: str | None
    now: datetime


def is_empty(analysis: Analysis, sheet: FactSheet) -> bool:
    """Whether there is nothing to report: no figure has a value, no table a row, the model no word."""
    return not (
        analysis.findings
        or any(fact.value is not None for fact in (*sheet.facts, *analysis.facts))
        or any(table.rows for table in sheet.tables)
    )


def compose(
    analysis: Analysis,
    sheet: FactSheet,
    prose: Prose,
    frame: Frame,
    *,
    charts: Sequence[ChartBlock] = (),
    sparks: Mapping[str, Picture] | None = None,
    notes: Sequence[str] = (),
) -> Document:
    """Make the document, whole; :func:`~kimi_provider.reports.fit.fitted` cuts it for reading.

    :param charts: what was drawn.
    :param sparks: the trends that were drawn, by the id of the fact.
    :param notes: what should have been in the report and is not.
    :raises RenderError: if the model's text cites what is not on the sheet.
    :raises ConfigurationError: if the subject names a field that there is not.
    """
    formatter = prose.formatter
    words = formatter.words
    empty = is_empty(analysis, sheet)
    headline = prose.line(analysis.headline, _HEADLINE_LIMIT)
    if empty:
        headline = headline or words["empty_headline"]
    title = one_line(frame.title, _TITLE_LIMIT)
    level = words[analysis.severity.value]
    period = analysis.period or ""
    when = formatter.relative(period, frame.now)
    summary = prose.paragraphs(
        f"{words['empty']} {words['empty_detail']}" if empty else analysis.summary
    )
    fallback = ""
    if analysis.failure and not empty:
        reason = one_line(analysis.failure, _TITLE_LIMIT)
        fallback = f"{words['fallback']} {words['fallback_detail'].format(reason=reason)}"
    # Where there is no data, cards without values and tables without rows say nothing more.
    key = [] if empty else key_facts(sheet)
    data = () if empty else whole_tables(sheet, formatter)
    notes_on_text, queries = footnotes(analysis, prose)
    document = Document(
        title=title,
        headline=headline or title,
        subject=_subject(
            frame.subject,
            title=title,
            period=formatter.moment(period),
            when=when,
            headline=headline or title,
            level=level,
        ),
        preheader=clipped(summary.text, _PREHEADER_LIMIT),
        period=formatter.moment(period, "full"),
        language=_language(analysis, formatter),
        severity=analysis.severity,
        level=level,
        cards=_cards(key[:_MAX_CARDS], sheet, prose, sparks or {}),
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
        tables=more_figures(key[_MAX_CARDS:], formatter),
        actions=tuple(prose.inline(action) for action in analysis.actions),
        notes=tuple(notes),
        provenance=provenance(analysis, sheet, formatter, now=frame.now),
        direction=formatter.direction,
        empty=empty,
        fallback=fallback,
        when=when,
        footnotes=notes_on_text,
        queries=queries,
        key_figures=key_figures(key, formatter),
        data=data,
    )
    return set_apart(document) if formatter.direction == "rtl" else document


def _language(analysis: Analysis, formatter: Formatter) -> str:
    """Return the language of the text; the fixed words may be English for want of others."""
    spoken = formatter.words["language"]
    written = analysis.language.replace("_", "-").split("-")[0].lower()
    return formatter.tag if written == formatter.tag.split("-")[0] != spoken else spoken


def _cards(
    facts: Sequence[Fact], sheet: FactSheet, prose: Prose, sparks: Mapping[str, Picture]
) -> tuple[Card, ...]:
    """Print key figures, each with how it went where the sheet tells."""
    formatter = prose.formatter
    drawn: list[Card] = []
    for fact, card in zip(facts, cards(facts, formatter), strict=True):
        points = history(fact, sheet.tables, prose.facts)
        if not points:
            drawn.append(card)
            continue
        values = [float(point.value or 0) for point in points]
        texts = [formatter.fact(point, Style.PLAIN) for point in points]
        trend = formatter.words["trend"].format(
            first=texts[0],
            last=texts[-1],
            lowest=texts[values.index(min(values))],
            highest=texts[values.index(max(values))],
        )
        drawn.append(replace(card, sparkline=tuple(values), trend=trend, spark=sparks.get(fact.id)))
    return tuple(drawn)


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

    subject = one_line(re.sub(r"\{(\w*)\}", fill, template), _SUBJECT_LIMIT)
    return subject.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")

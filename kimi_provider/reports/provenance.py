"""Where a report comes from: who wrote it, from which data, at what cost, how well it is grounded."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from kimi_provider.reports.document import Provenance
from kimi_provider.reports.text import one_line
from kimi_provider.reports.words import form
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from datetime import datetime

    from kimi_provider.reports.format import Formatter
    from kimi_provider.schemas import Analysis, FactSheet


def provenance(
    analysis: Analysis, sheet: FactSheet, formatter: Formatter, *, now: datetime
) -> Provenance:
    """Print where a report comes from."""
    words = formatter.words
    usage = analysis.usage
    datasets = {
        one_line(name, 60): content
        for lineage in (*(f.lineage for f in sheet.facts), *(t.lineage for t in sheet.tables))
        for name, content in lineage.datasets.items()
    }
    named = [f"{name} ({content[:8]})" if content else name for name, content in datasets.items()]
    sources = form(words, "sources" if named else "sources_unnamed", len(sheet.facts))
    return Provenance(
        model=_model(analysis, formatter),
        simulated=analysis.simulated,
        sources=sources.format(facts=formatter.count(len(sheet.facts)), datasets=", ".join(named)),
        cost=_cost(analysis, formatter),
        calls=words["calls"].format(
            calls=formatter.count(usage.calls),
            input=formatter.count(usage.input_tokens),
            output=formatter.count(usage.output_tokens),
        ),
        generated=formatter.time(now),
        datasets=tuple(datasets.items()),
        grounding=_grounding(analysis, formatter),
        timezone=formatter.timezone,
    )


def _model(analysis: Analysis, formatter: Formatter) -> str:
    if analysis.failure:
        return formatter.words["no_model"]
    model = one_line(analysis.model, 80)
    return formatter.words["simulator"].format(model=model) if analysis.simulated else model


def _cost(analysis: Analysis, formatter: Formatter) -> str:
    cost = analysis.usage.cost_usd
    if analysis.simulated:
        return formatter.words["cost_simulated"]
    if cost is None:
        return formatter.words["cost_unknown"]
    places: Literal[2, 4] = 2 if cost >= 1 else 4
    return formatter.number(cost, Unit.CURRENCY, unit_label="USD", decimals=places)


def _grounding(analysis: Analysis, formatter: Formatter) -> str:
    grounding = analysis.grounding
    if grounding is None or not grounding.sentences:
        return ""
    # Rounded down: what is not wholly grounded must not read as 100%.
    share = formatter.number(
        Decimal(int(grounding.score * 1000)) / 1000,
        Unit.PERCENT,
        decimals=0 if grounding.score in (0, 1) else 1,
    )
    return form(formatter.words, "grounding_score", grounding.sentences).format(
        share=share, sentences=formatter.count(grounding.sentences)
    )

"""Facts as cards and tables."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.reports.document import Card, Change, Heading, TableBlock, Tone
from kimi_provider.reports.format import Style
from kimi_provider.reports.text import one_line
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.reports.format import Formatter
    from kimi_provider.schemas import Comparison, Fact, FactSheet, TableColumn

_ARROWS = {"up": "▲", "down": "▼", "flat": "="}
_LABEL_LIMIT = 60
_TEXT_LIMIT = 80
# A delay twice as long is told by its minutes; a share of a share, by nothing.
_WITH_SHARE = (Unit.COUNT, Unit.CURRENCY, Unit.NUMBER)
# Ten times as much says less in percent than in itself.
_LARGEST_SHARE = 10


def key_facts(sheet: FactSheet) -> list[Fact]:
    """Return the figures that belong at the top: single, and no baseline or change of another."""
    in_tables = {cell for table in sheet.tables for row in table.rows for cell in row}
    derived = {f"{fact.id}.{comparison.id}" for fact in sheet.facts for comparison in fact.comparisons}
    return [
        fact
        for fact in sheet.facts
        if fact.kpi and not fact.change and fact.id not in in_tables and fact.id not in derived
    ]


def cards(facts: Sequence[Fact], formatter: Formatter) -> tuple[Card, ...]:
    """Print key figures with their changes."""
    return tuple(
        Card(
            label=one_line(fact.label, _LABEL_LIMIT),
            value=one_line(formatter.fact(fact, Style.PLAIN), _TEXT_LIMIT),
            changes=tuple(_change(fact, comparison, formatter) for comparison in fact.comparisons),
        )
        for fact in facts
    )


def more_figures(facts: Sequence[Fact], formatter: Formatter) -> tuple[TableBlock, ...]:
    """Print the key figures for which there is no card."""
    if not facts:
        return ()
    headings = (Heading("", "", number=False), Heading("", "", number=True))
    rows = tuple((card.label, card.value) for card in cards(facts, formatter))
    return (TableBlock(formatter.words["more_figures"], headings, rows),)


def key_text(text: str, column: TableColumn, formatter: Formatter) -> str:
    """Print what a key column holds: a name, or a date."""
    if column.unit is Unit.DATE:
        return formatter.moment(text)
    return one_line(text) or formatter.words["no_name"]


def _change(fact: Fact, comparison: Comparison, formatter: Formatter) -> Change:
    words = formatter.words

    def printed(value: Decimal, style: Style) -> str:
        return formatter.number(
            value,
            fact.unit,
            unit_label=fact.unit_label,
            decimals=fact.decimals,
            style=style,
            points=fact.unit is Unit.PERCENT,
            pattern=fact.format,
        )

    amount = printed(comparison.delta, Style.SIGNED)
    # A change that prints as nothing is none: "▲ 0.0 min worse" helps nobody.
    visible = amount != printed(comparison.delta * 0, Style.SIGNED)
    direction = comparison.direction if visible else "flat"
    tone: Tone = "neutral"
    word: str = "same" if direction == "flat" else direction
    if direction != "flat" and fact.good is not None:
        tone = "good" if direction == fact.good else "bad"
        word = "better" if tone == "good" else "worse"
    percent = ""
    if direction != "flat" and fact.unit in _WITH_SHARE and comparison.percent is not None:
        fraction = Decimal(str(comparison.percent))
        if abs(fraction) < _LARGEST_SHARE:
            percent = formatter.number(fraction, Unit.PERCENT, style=Style.SIGNED)
    return Change(
        arrow=_ARROWS[direction],
        amount=amount,
        share=percent,
        words=words[word].format(baseline=one_line(comparison.label, _LABEL_LIMIT)),
        tone=tone,
    )

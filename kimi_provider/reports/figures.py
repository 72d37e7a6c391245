"""Facts as cards and tables."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.document import Card, Change, Heading, TableBlock, Tone
from kimi_provider.reports.format import Style
from kimi_provider.reports.text import one_line
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.reports.format import Formatter
    from kimi_provider.schemas import Comparison, Fact, FactSheet, FactTable, TableColumn

_ARROWS = {"up": "▲", "down": "▼", "flat": "="}
_LABEL_LIMIT = 60
_TEXT_LIMIT = 80
# As many as a phone has room for beside a name.
_MAX_COLUMNS = 6
_MAX_TABLES = 12
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


def tables(
    sheet: FactSheet, formatter: Formatter, max_rows: int
) -> tuple[tuple[TableBlock, ...], tuple[str, ...]]:
    """Print the sheet's tables.

    :param max_rows: most rows of each; the rest is counted below it.
    :return: the tables, and a note on those that are left out.
    """
    facts = {fact.id: fact for fact in sheet.facts}
    blocks = tuple(_table(table, facts, formatter, max_rows) for table in sheet.tables[:_MAX_TABLES])
    hidden = len(sheet.tables) - len(blocks)
    note = formatter.words["more_tables"].format(count=formatter.count(hidden))
    return blocks, (note,) if hidden else ()


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


def _table(
    table: FactTable, facts: Mapping[str, Fact], formatter: Formatter, max_rows: int
) -> TableBlock:
    words = formatter.words
    columns = table.columns[:_MAX_COLUMNS]
    headings = tuple(
        Heading(
            label=one_line(column.label, _LABEL_LIMIT),
            unit="" if column.key else formatter.unit_heading(column.unit, column.unit_label),
            number=not column.key and column.unit is not Unit.TEXT,
        )
        for column in columns
    )

    def cell(text: str, column: TableColumn, heading: Heading) -> str:
        if column.key:
            return one_line(key_text(text, column, formatter), _TEXT_LIMIT)
        fact = facts.get(text)
        if fact is None:
            raise RenderError(
                f"Table {table.id!r} names the fact {one_line(text, 60)!r}, which is not on the sheet. "
                "Run the analysis again."
            )
        return one_line(formatter.fact(fact, Style.NUMBER if heading.unit else Style.PLAIN), _TEXT_LIMIT)

    rows = tuple(
        tuple(
            cell(text, column, heading)
            for text, heading, column in zip(row, headings, columns, strict=False)
        )
        for row in table.rows[:max_rows]
    )
    cut = {"more_rows": len(table.rows) - len(rows), "more_columns": len(table.columns) - len(columns)}
    more = [words[name].format(count=formatter.count(count)) for name, count in cut.items() if count]
    if not rows:
        more.append(words["no_rows"])
    return TableBlock(one_line(table.label, _LABEL_LIMIT), headings, rows, "; ".join(more))

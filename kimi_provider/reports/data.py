"""Facts as whole tables, for workbook, CSV and PDF: every row, every column, as text and as value."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.document import Cell, DataColumn, DataTable
from kimi_provider.reports.figures import key_text
from kimi_provider.reports.format import Style
from kimi_provider.reports.text import one_line
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.reports.format import Formatter
    from kimi_provider.schemas import Fact, FactSheet, FactTable, TableColumn

_LABEL_LIMIT = 120
_TEXT_LIMIT = 1000
_NAME_LIMIT = 40


def whole_tables(sheet: FactSheet, formatter: Formatter) -> tuple[DataTable, ...]:
    """Print all tables of the sheet whole, in its order.

    :raises RenderError: if a table names a fact that is not on the sheet.
    """
    facts = {fact.id: fact for fact in sheet.facts}
    taken: set[str] = {"key-figures"}
    return tuple(_whole(table, facts, formatter, _file_name(table, taken)) for table in sheet.tables)


def key_figures(facts: Sequence[Fact], formatter: Formatter) -> DataTable | None:
    """Print key figures with their baselines and changes as a table; ``None`` where there are none."""
    if not facts:
        return None
    words = formatter.words
    labels = {c.id: one_line(c.label, _LABEL_LIMIT) for fact in facts for c in fact.comparisons}
    columns = [
        DataColumn(words["figure"], "", number=False),
        DataColumn(words["value"], "", number=True),
    ]
    for label in labels.values():
        columns.append(DataColumn(label, "", number=True))
        columns.append(DataColumn(words["change"].format(baseline=label), "", number=True))
    rows = []
    for fact in facts:
        name = one_line(fact.label, _LABEL_LIMIT)
        row = [Cell(name, name), _cell(fact, formatter, Style.PLAIN)]
        by_id = {comparison.id: comparison for comparison in fact.comparisons}
        for comparison_id in labels:
            comparison = by_id.get(comparison_id)
            if comparison is None:
                row += [Cell("", None), Cell("", None)]
                continue
            baseline = fact.model_copy(update={"value": comparison.baseline})
            row.append(_cell(baseline, formatter, Style.PLAIN))
            delta = formatter.number(
                comparison.delta,
                fact.unit,
                unit_label=fact.unit_label,
                decimals=fact.decimals,
                style=Style.SIGNED,
                points=fact.unit is Unit.PERCENT,
                pattern=fact.format,
            )
            row.append(Cell(delta, comparison.delta, _pattern(fact, [comparison.delta], formatter)))
        rows.append(tuple(row))
    return DataTable("key-figures", words["kpis"], tuple(columns), tuple(rows))


def _whole(table: FactTable, facts: Mapping[str, Fact], formatter: Formatter, name: str) -> DataTable:
    rows: list[tuple[Cell, ...]] = []
    units = [
        "" if column.key else formatter.unit_heading(column.unit, column.unit_label)
        for column in table.columns
    ]
    styles = [Style.NUMBER if unit else Style.PLAIN for unit in units]
    for row in table.rows:
        cells: list[Cell] = []
        for text, column, style in zip(row, table.columns, styles, strict=True):
            if column.key:
                cells.append(Cell(key_text(text, column, formatter), _key_value(text, column)))
                continue
            fact = facts.get(text)
            if fact is None:
                raise RenderError(
                    f"Table {table.id!r} names the fact {one_line(text, 60)!r}, which is not on the "
                    "sheet. Run the analysis again."
                )
            cells.append(_cell(fact, formatter, style, with_pattern=False))
        rows.append(tuple(cells))
    columns = tuple(
        DataColumn(
            label=one_line(column.label, _LABEL_LIMIT),
            unit=unit,
            number=not column.key and column.unit not in (Unit.TEXT, Unit.DATE),
            pattern=_pattern(column, [row[at].value for row in rows], formatter),
        )
        for at, (column, unit) in enumerate(zip(table.columns, units, strict=True))
    )
    return DataTable(name, one_line(table.label, _LABEL_LIMIT), columns, tuple(rows))


def _cell(fact: Fact, formatter: Formatter, style: Style, *, with_pattern: bool = True) -> Cell:
    value: Decimal | date | datetime | str | None = fact.value
    if isinstance(value, str):
        value = _moment(value, formatter) if fact.unit is Unit.DATE else one_line(value, _TEXT_LIMIT)
    pattern = _pattern(fact, [value], formatter) if with_pattern else ""
    return Cell(one_line(formatter.fact(fact, style), _TEXT_LIMIT), value, pattern)


def _key_value(text: str, column: TableColumn) -> date | str:
    if column.unit is Unit.DATE:
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    return one_line(text, _TEXT_LIMIT)


def _moment(text: str, formatter: Formatter) -> date | datetime | str:
    try:
        if len(text) <= len("2013-02-08"):
            return date.fromisoformat(text)
        return formatter.local(datetime.fromisoformat(text))
    except ValueError:
        return one_line(text, _TEXT_LIMIT)


def _pattern(
    of: Fact | TableColumn,
    values: Sequence[Decimal | date | datetime | str | None],
    formatter: Formatter,
) -> str:
    """Return the number format of a spreadsheet for a fact's or a column's values."""
    if any(isinstance(value, datetime) for value in values):
        return "yyyy-mm-dd hh:mm"
    if any(isinstance(value, date) for value in values):
        return "yyyy-mm-dd"
    numbers = [value for value in values if isinstance(value, Decimal)]
    if not numbers:
        return ""
    whole = all(number == number.to_integral_value() for number in numbers)
    return formatter.spreadsheet(of, whole=whole)


def _file_name(table: FactTable, taken: set[str]) -> str:
    """Return a name of ASCII letters for the table's file, unlike those before it."""
    plain = unicodedata.normalize("NFKD", table.id).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_NAME_LIMIT].strip("-") or "table"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name

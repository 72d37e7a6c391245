"""The fact sheet as the model reads it: CSV (RFC 4180), single figures first, then each table."""

from __future__ import annotations

import csv
import io
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import compress
from typing import TYPE_CHECKING

from kimi_provider.analysis.cells import plain
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kimi_provider.analysis.metrics import ComparisonSpec
    from kimi_provider.schemas import Fact, FactSheet, FactTable

_CHANGES = ("", ".delta", ".percent")
_SIGNIFICANT = 4
_ID = "id"


def facts_csv(sheet: FactSheet, comparisons: Sequence[ComparisonSpec] = ()) -> str:
    """Write the facts, each with what its comparisons made of it in further columns.

    :param sheet: the facts.
    :param comparisons: the comparisons that the template declares, beside those that the facts have;
        the id of a fact in the column ``day_before.delta`` is ``{id}.day_before.delta``.

    First come the single figures, one row a fact. Each table follows behind an empty line, one line a
    row of it: the id of a cell is the row's ``id``, a dot and the name of its column. What its cells
    have in common is said once, by :func:`tables_csv`. Figures are rounded to what a reader would be
    shown: the model cites ids, so more digits would cost tokens and say nothing. So would the unit of a
    bare number, and empty cells at the end of a row.
    """
    declared = [spec.id for spec in comparisons]
    ids = [*declared, *sorted(compared(sheet) - set(declared))]
    changes = [f"{name}{change}" for name in ids for change in _CHANGES]
    by_id = {fact.id: fact for fact in sheet.facts}
    tables = [table for table in sheet.tables if _is_regular(table, by_id)]
    elsewhere = {f"{fact_id}.{change}" for fact_id in by_id for change in changes}
    elsewhere.update(cell for table in tables for _, row in _cells(table) for cell in row)
    singles = [fact for fact in sheet.facts if fact.id not in elsewhere]
    rows: list[Sequence[str]] = [(_ID, "label", "value", "unit", "good", "period", *changes)]
    for fact in singles:
        cells = (by_id.get(f"{fact.id}.{change}") for change in changes)
        rows.append(
            (
                fact.id,
                fact.label,
                _value(fact),
                fact.unit_label or ("" if fact.unit is Unit.NUMBER else fact.unit.value),
                fact.good or "",
                fact.period or "",
                *(_value(cell) for cell in cells),
            )
        )
    return "\n".join((_csv(rows), *(_csv(_lines(table, by_id, changes)) for table in tables)))


def _cells(table: FactTable) -> Iterator[tuple[list[str], list[str]]]:
    """Return the key's texts and the ids of the facts of each row."""
    keys = [column.key for column in table.columns]
    for row in table.rows:
        yield list(compress(row, keys)), [cell for cell, key in zip(row, keys, strict=True) if not key]


def _is_regular(table: FactTable, by_id: Mapping[str, Fact]) -> bool:
    """Whether all that is to be said of a table's cells follows from their row and their column."""
    columns = [column for column in table.columns if not column.key]
    if not table.rows or any(column.name == _ID for column in table.columns):
        return False
    starts, said = set(), set()
    for keys, ids in _cells(table):
        start = ids[0].rpartition(".")[0]
        starts.add(start)
        for column, fact_id in zip(columns, ids, strict=True):
            fact = by_id.get(fact_id)
            if (
                fact is None
                or fact.id != f"{start}.{column.name}"
                or fact.label != f"{column.label} — {', '.join(keys)}"
                or (fact.unit, fact.unit_label) != (column.unit, column.unit_label)
            ):
                return False
            said.add((column.name, fact.good, fact.period))
    one_period = len({period for _, _, period in said}) == 1
    return len(starts) == len(table.rows) and len(said) == len(columns) and one_period


def _lines(
    table: FactTable, by_id: Mapping[str, Fact], changes: Sequence[str]
) -> Iterator[Sequence[str]]:
    """Return a regular table with its comparisons, and with its key where the ids do not say it."""
    rows = list(_cells(table))
    starts = [ids[0].rpartition(".")[0] for _, ids in rows]
    said = all(
        start == f"{table.id}.{'.'.join(keys)}" for start, (keys, _) in zip(starts, rows, strict=True)
    )
    keys = [] if said else [column.name for column in table.columns if column.key]
    names = [
        f"{column.name}{end}"
        for column in table.columns
        if not column.key
        for end in ("", *(f".{change}" for change in changes))
        if not end or any(_value(by_id.get(f"{start}.{column.name}{end}")) for start in starts)
    ]
    yield [_ID, *keys, *names]
    for start, (texts, _) in zip(starts, rows, strict=True):
        shown = [] if said else texts
        yield [start, *shown, *(_value(by_id.get(f"{start}.{name}")) for name in names)]


def compared(sheet: FactSheet) -> set[str]:
    """Return the ids of the comparisons that the facts have."""
    return {comparison.id for fact in sheet.facts for comparison in fact.comparisons}


def tables_csv(sheet: FactSheet) -> str:
    """Write the columns of the tables, and what their rows have in common: what may be charted."""
    by_id = {fact.id: fact for fact in sheet.facts}
    rows: list[Sequence[str]] = [
        ("table", "label", "column", "role", "unit", "good", "heading", "period")
    ]
    for table in sheet.tables:
        cells = table.rows[0] if _is_regular(table, by_id) else ()
        first = {
            column.name: by_id[cell]
            for column, cell in zip(table.columns, cells, strict=False)
            if not column.key
        }
        period = next((fact.period for fact in first.values()), None)
        rows += [
            (
                table.id,
                "" if number else table.label,
                column.name,
                "key" if column.key else "fact",
                column.unit_label or column.unit.value,
                (column.name in first and first[column.name].good) or "",
                column.label,
                "" if number else period or "",
            )
            for number, column in enumerate(table.columns)
        ]
    return _csv(rows)


def _value(fact: Fact | None) -> str:
    if fact is None or fact.value is None:
        return ""
    if isinstance(fact.value, str):
        return fact.value
    return plain(as_shown(fact, fact.value))


def as_shown(fact: Fact, number: Decimal) -> Decimal:
    """Round a fact's value, or a change of it, to what the model and the readers are shown."""
    if fact.decimals is None:
        return _significant(number)
    # A fraction that is printed as a percentage shows two places more.
    places = fact.decimals + 2 * (fact.unit is Unit.PERCENT)
    wide = Context(prec=60, rounding=ROUND_HALF_EVEN)
    return number.quantize(Decimal(1).scaleb(-places), context=wide)


def _significant(number: Decimal) -> Decimal:
    """Four significant digits, and all digits of the whole part."""
    whole = max(number.adjusted() + 1, 0)
    return Context(prec=max(_SIGNIFICANT, whole), rounding=ROUND_HALF_EVEN).plus(number)


def _csv(rows: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(map(_filled, rows))
    return buffer.getvalue()


def _filled(row: Sequence[str]) -> Sequence[str]:
    """Return a row without the empty cells at its end."""
    end = next((place for place in range(len(row), 0, -1) if row[place - 1]), 1)
    return row[:end]

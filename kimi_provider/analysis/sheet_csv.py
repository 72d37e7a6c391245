"""The fact sheet as the model reads it: CSV (RFC 4180), one row a fact."""

from __future__ import annotations

import csv
import io
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING

from kimi_provider.analysis.cells import plain
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kimi_provider.analysis.metrics import ComparisonSpec
    from kimi_provider.schemas import Fact, FactSheet

_CHANGES = ("", ".delta", ".percent")
_SIGNIFICANT = 4


def facts_csv(sheet: FactSheet, comparisons: Sequence[ComparisonSpec] = ()) -> str:
    """Write the facts, each with what its comparisons made of it in further columns.

    :param sheet: the facts.
    :param comparisons: the comparisons that the template declares, beside those that the facts have;
        the id of a fact in the column ``day_before.delta`` is ``{id}.day_before.delta``.

    Figures are rounded to what a reader would be shown: the model cites ids, so more digits would
    cost tokens and say nothing. So would the unit of a bare number, and empty cells at the end of a row.
    """
    declared = [spec.id for spec in comparisons]
    ids = [*declared, *sorted(compared(sheet) - set(declared))]
    changes = [f"{name}{change}" for name in ids for change in _CHANGES]
    by_id = {fact.id: fact for fact in sheet.facts}
    derived = {f"{fact_id}.{change}" for fact_id in by_id for change in changes}
    rows: list[Sequence[str]] = [("id", "label", "value", "unit", "good", "period", *changes)]
    for fact in sheet.facts:
        if fact.id not in derived:
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
    return _csv(rows)


def compared(sheet: FactSheet) -> set[str]:
    """Return the ids of the comparisons that the facts have."""
    return {comparison.id for fact in sheet.facts for comparison in fact.comparisons}


def tables_csv(sheet: FactSheet) -> str:
    """Write the columns of the tables, each table's label once: what charts may be drawn of."""
    rows: list[Sequence[str]] = [("table", "label", "column", "role", "unit")]
    rows += [
        (
            table.id,
            "" if number else table.label,
            column.name,
            "key" if column.key else "fact",
            column.unit_label or column.unit.value,
        )
        for table in sheet.tables
        for number, column in enumerate(table.columns)
    ]
    return _csv(rows)


def _value(fact: Fact | None) -> str:
    if fact is None or fact.value is None:
        return ""
    if isinstance(fact.value, str):
        return fact.value
    if fact.decimals is None:
        return plain(_significant(fact.value))
    # A fraction that is printed as a percentage shows two places more.
    places = fact.decimals + 2 * (fact.unit is Unit.PERCENT)
    wide = Context(prec=60, rounding=ROUND_HALF_EVEN)
    return plain(fact.value.quantize(Decimal(1).scaleb(-places), context=wide))


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

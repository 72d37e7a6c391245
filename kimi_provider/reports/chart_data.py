"""What a chart is drawn of: the rows of a fact table, by the names of its columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time
from typing import TYPE_CHECKING

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.figures import key_text
from kimi_provider.reports.format import Style
from kimi_provider.reports.text import one_line
from kimi_provider.reports.vega import Baseline, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kimi_provider.reports.format import Formatter
    from kimi_provider.schemas import ChartRequest, Fact, FactTable, TableColumn

_MONTH = re.compile(r"\d{4}(-\d\d)?")
_DATES = re.compile(r"\d{4}-\d\d-\d\d")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class Series:
    """A table's rows as points, in the table's order.

    :param x: the column of names.
    :param y: the column of values.
    :param split: the column that splits them, ``None`` where nothing does.
    """

    table: FactTable
    x: TableColumn
    y: TableColumn
    split: TableColumn | None
    points: tuple[Point, ...]

    @property
    def known(self) -> list[Point]:
        """The points that have a value; there is at least one."""
        return [point for point in self.points if point.value is not None]

    @property
    def numbered(self) -> bool:
        """Whether the names are bare numbers, which say nothing without their column's name."""
        return _all(float, [point.name for point in self.points])

    @property
    def ordered(self) -> bool:
        """Whether the names have an order that says something: numbers, dates, times of day."""
        keys = [point.key for point in self.points]
        return self.numbered or _all(date.fromisoformat, keys) or _all(time.fromisoformat, keys)

    def marked(self, period: str | None) -> set[int]:
        """Return the positions that lie in a period, such as ``2013-02-08`` or ``2013-02``."""
        return {at for at, point in enumerate(self.points) if _within(point.key, period)}


def read(
    request: ChartRequest,
    tables: Mapping[str, FactTable],
    facts: Mapping[str, Fact],
    formatter: Formatter,
    *,
    split: str | None,
) -> Series:
    """Look up what a request names.

    :param split: name of the column that splits the rows, ``None`` where nothing does.
    :raises RenderError: if there is no such table or column, or it has no values; the message
        completes "The chart could not be drawn: …".
    """
    table = tables.get(request.table)
    if table is None:
        raise RenderError(f"there is no table {one_line(request.table, 40)!r}")
    by_name = {column.name: i for i, column in enumerate(table.columns)}
    for name in filter(None, (request.x, request.y, split)):
        if name not in by_name:
            raise RenderError(f"table {table.id!r} has no column {one_line(name, 40)!r}")
    x, y = table.columns[by_name[request.x]], table.columns[by_name[request.y]]
    if not x.key or y.key:
        raise RenderError(f"table {table.id!r} has no figures {request.y!r} by names {request.x!r}")
    apart = table.columns[by_name[split]] if split else None
    if apart and (not apart.key or apart is x):
        names = ", ".join(c.name for c in table.columns if c.key and c is not x) or "none"
        raise RenderError(f"{split!r} cannot split table {table.id!r}; it may be: {names}")
    return Series(table, x, y, apart, tuple(_points(table, (x, y, apart), facts, formatter)))


def other_key(request: ChartRequest, table: FactTable | None) -> str | None:
    """Return the key column that splits a table's rows, where there is just one that can."""
    if request.series or table is None:
        return request.series
    others = [column.name for column in table.columns if column.key and column.name != request.x]
    return others[0] if len(others) == 1 else None


def in_order(names: Sequence[str]) -> list[str]:
    """Return names once each: numbers and weekdays in their own order, others as they come."""
    once = list(dict.fromkeys(names))
    if _all(float, once):
        return sorted(once, key=float)
    places = {word: at for at, day in enumerate(_WEEKDAYS) for word in (day, day[:3])}
    if all(name.lower() in places for name in once):
        return sorted(once, key=lambda name: places[name.lower()])
    return once


def _points(
    table: FactTable,
    columns: tuple[TableColumn, TableColumn, TableColumn | None],
    facts: Mapping[str, Fact],
    formatter: Formatter,
) -> list[Point]:
    x, y, split = columns
    keys = [i for i, c in enumerate(table.columns) if c.key]
    key, at = table.columns.index(x), table.columns.index(y)
    apart = table.columns.index(split) if split else None
    by_itself = apart is not None or len({row[key] for row in table.rows}) == len(table.rows)
    short = _short_dates([row[key] for row in table.rows], formatter)
    points: list[Point] = []
    for row in table.rows:
        # Rows that share the wanted name are told apart by the table's other names.
        shown = [key] if by_itself else keys
        name = " · ".join(key_text(row[i], table.columns[i], formatter) for i in shown)
        fact = facts.get(row[at])
        if fact is None:
            raise RenderError(f"table {table.id!r} names a fact that is not on the sheet")
        if isinstance(fact.value, str):
            raise RenderError(f"column {y.name!r} of table {table.id!r} holds no numbers")
        points.append(
            Point(
                name,
                None if fact.value is None else float(fact.value),
                formatter.fact(fact, Style.PLAIN),
                series="" if apart is None else key_text(row[apart], table.columns[apart], formatter),
                baseline=_baseline(fact, facts, formatter),
                key=row[key],
                short=short.get(row[key], "") if by_itself else "",
            )
        )
    if all(point.value is None for point in points):
        raise RenderError(f"table {table.id!r} has no values in column {y.name!r}")
    return points


def _baseline(fact: Fact, facts: Mapping[str, Fact], formatter: Formatter) -> Baseline | None:
    if not fact.comparisons:
        return None
    comparison = fact.comparisons[0]
    own = facts.get(f"{fact.id}.{comparison.id}")
    printed = formatter.fact(own, Style.PLAIN) if own else formatter.number(
        comparison.baseline, fact.unit, unit_label=fact.unit_label, decimals=fact.decimals
    )  # fmt: skip
    return Baseline(float(comparison.baseline), printed, comparison.label)


def _short_dates(keys: Sequence[str], formatter: Formatter) -> dict[str, str]:
    """Return dates of one year without it, by how the data has them; nothing if they are no such."""
    if not all(_DATES.fullmatch(key) for key in keys) or len({key[:4] for key in keys}) != 1:
        return {}
    from babel.dates import format_skeleton

    return {
        key: format_skeleton("MMMd", date.fromisoformat(key), locale=formatter.locale.replace("-", "_"))
        for key in keys
    }


def _within(key: str, period: str | None) -> bool:
    if not period or not key:
        return False
    if key == period:
        return True
    if _MONTH.fullmatch(period):
        return key.startswith(f"{period}-")
    ends = _DATES.findall(period)
    return len(ends) == 2 and bool(_DATES.match(key)) and ends[0] <= key[:10] <= ends[1]  # noqa: PLR2004 — first and last


def _all(kind: Callable[[str], object], names: Sequence[str]) -> bool:
    try:
        for name in names:
            kind(name)
    except ValueError:
        return False
    return True

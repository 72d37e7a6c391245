"""Charts over fact tables: asked for by names, drawn from the facts alone, told in words too."""

from __future__ import annotations

import hashlib
import struct
from datetime import date, time
from typing import TYPE_CHECKING

from kimi_provider.exceptions import RenderError
from kimi_provider.reports import vega
from kimi_provider.reports.document import ChartBlock, Picture
from kimi_provider.reports.figures import key_text
from kimi_provider.reports.format import Style
from kimi_provider.reports.text import one_line
from kimi_provider.reports.vega import Point

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.format import Formatter
    from kimi_provider.schemas import ChartRequest, Fact, FactTable, TableColumn

_MAX_BARS = 15


def draw(
    request: ChartRequest,
    tables: Mapping[str, FactTable],
    facts: Mapping[str, Fact],
    *,
    title: str,
    formatter: Formatter,
    brand: Brand,
) -> ChartBlock:
    """Draw one chart.

    :param request: what is wanted, by names of a table and its columns.
    :param title: the chart's title as it is printed.
    :raises RenderError: if there is no such table or column, no values, or the drawing fails; the
        message completes "The chart could not be drawn: …".
    """
    table, key, column = _resolve(request, tables)
    points = _points(table, key, column, facts, formatter)
    numbered = _all(float, [p.name for p in points])
    keys = [row[key] for row in table.rows]
    ordered = numbered or _all(date.fromisoformat, keys) or _all(time.fromisoformat, keys)
    shown = points
    if request.kind == "bar" and not ordered:
        known = [point for point in points if point.value is not None]
        shown = sorted(known, key=lambda p: p.value or 0.0, reverse=True)[:_MAX_BARS]
    heading = " ".join(filter(None, [column.label, _in_brackets(column, formatter)]))
    below = one_line(table.columns[key].label, 60)
    if request.kind == "line":
        marks, height = vega.line(shown, heading, below, brand), 200
    elif ordered:
        marks, height = vega.columns(shown, heading, below, brand), 200
    else:
        marks, height = vega.bars(shown, heading, brand), 24 * len(shown) + 50
    png = vega.png(marks, column.unit, height)
    named = f"{below} " if numbered else ""
    caption = _caption(points, shown, formatter, named=named)
    words = formatter.words["line_chart" if request.kind == "line" else "bar_chart"]
    picture = Picture(f"chart-{hashlib.sha256(png).hexdigest()[:16]}", png, *_shown_size(png))
    return ChartBlock(title, caption, f"{words}: {title}", picture)


def _resolve(
    request: ChartRequest, tables: Mapping[str, FactTable]
) -> tuple[FactTable, int, TableColumn]:
    table = tables.get(request.table)
    if table is None:
        raise RenderError(f"there is no table {one_line(request.table, 40)!r}")
    by_name = {column.name: i for i, column in enumerate(table.columns)}
    for name in (request.x, request.y):
        if name not in by_name:
            raise RenderError(f"table {table.id!r} has no column {one_line(name, 40)!r}")
    key, column = by_name[request.x], table.columns[by_name[request.y]]
    if not table.columns[key].key or column.key:
        raise RenderError(f"table {table.id!r} has no figures {request.y!r} by names {request.x!r}")
    return table, key, column


def _points(
    table: FactTable,
    key: int,
    column: TableColumn,
    facts: Mapping[str, Fact],
    formatter: Formatter,
) -> list[Point]:
    """Return the table's rows in its order."""
    keys = [i for i, c in enumerate(table.columns) if c.key]
    by_itself = len({row[key] for row in table.rows}) == len(table.rows)
    at = table.columns.index(column)
    points: list[Point] = []
    for row in table.rows:
        # Rows that share the wanted name are told apart by the table's other names.
        shown = [key] if by_itself else keys
        name = " · ".join(key_text(row[i], table.columns[i], formatter) for i in shown)
        fact = facts.get(row[at])
        if fact is None:
            raise RenderError(f"table {table.id!r} names a fact that is not on the sheet")
        if isinstance(fact.value, str):
            raise RenderError(f"column {column.name!r} of table {table.id!r} holds no numbers")
        value = None if fact.value is None else float(fact.value)
        points.append(Point(name, value, formatter.fact(fact, Style.PLAIN)))
    if all(point.value is None for point in points):
        raise RenderError(f"table {table.id!r} has no values in column {column.name!r}")
    return points


def _all(kind: Callable[[str], object], names: Sequence[str]) -> bool:
    """Whether all names are of a kind whose order says something: numbers, dates, times of day."""
    try:
        for name in names:
            kind(name)
    except ValueError:
        return False
    return True


def _shown_size(png: bytes) -> tuple[int, int]:
    """Return the width and height to show a PNG at, from its header (PNG specification, 11.2.2)."""
    width, height = struct.unpack(">II", png[16:24])
    return vega.WIDTH, round(height * vega.WIDTH / width)


def _caption(
    points: Sequence[Point],
    shown: Sequence[Point],
    formatter: Formatter,
    *,
    named: str,
) -> str:
    """Say in words what the chart shows, for whoever does not see it.

    :param named: goes before a name that says nothing by itself: "Hour 17".
    """
    words = formatter.words
    ends: dict[str, str] = {}
    known = [point.value for point in points if point.value is not None]
    for end, value in (("highest", max(known)), ("lowest", min(known))):
        name, *others = (one_line(named + p.name, 60) for p in points if p.value == value)
        if others:
            name = words["and_others"].format(name=name, count=formatter.count(len(others)))
        ends[end] = name
        ends[f"{end}_value"] = next(p.label for p in points if p.value == value)
    same = ends["highest_value"] == ends["lowest_value"]
    says = words["all_at" if same else "highest_lowest"].format(**ends)
    parts = [says]
    missing = [one_line(named + point.name) for point in points if point.value is None]
    if len(shown) < len(known):
        total = formatter.count(len(known))
        parts.append(words["out_of"].format(shown=formatter.count(len(shown)), total=total))
    if missing:
        parts.append(words["no_value_for"].format(names=one_line(", ".join(missing), 120)))
    return "; ".join(parts).rstrip(".") + "."


def _in_brackets(column: TableColumn, formatter: Formatter) -> str:
    unit = formatter.unit_heading(column.unit, column.unit_label)
    return f"({unit})" if unit else ""

"""Bars: by name, over time, stacked, and counted by ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.colors import INK, MUTED, SOFT_INK
from kimi_provider.reports.text import one_line
from kimi_provider.reports.vega import (
    LETTER,
    NAME_UNITS,
    NAMES_BELOW,
    PADDING_BELOW_LABELS,
    UNITS,
    legend,
    unique,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.vega import Point, Scale

MAX_COLUMNS = 60
# Of what is left over when the colors are used up; lighter than any of them.
_REST = "#d5dbe1"


def bars(points: Sequence[Point], scale: Scale, brand: Brand) -> dict[str, Any]:
    """Horizontal bars, the largest first and in the accent color, each with its value."""
    values = [p.value or 0.0 for p in points]
    lowest, highest = min(0.0, *values), max(0.0, *values)
    names = unique([one_line(p.name, 28) for p in points])
    # Room for the longest label beyond the longest bar.
    plot = UNITS - min(NAME_UNITS, LETTER * max(map(len, names))) - 12
    label = min(LETTER * max(len(p.label) for p in points) + 8, plot / 2)
    room = (highest - lowest or 1.0) * label / (plot - label)
    rows = [
        {"n": name, "v": value, "t": point.label, "end": max(value, 0.0), "top": at == 0}
        for at, (name, value, point) in enumerate(zip(names, values, points, strict=True))
    ]
    # Each bar has its value beside it, so that nothing is read off an axis: it has its zero alone.
    axis = {"values": [0], "grid": True, "gridColor": MUTED, "labels": False, "ticks": False}
    return {
        "data": {"values": rows},
        "encoding": {
            "y": {"field": "n", "type": "nominal", "sort": None, "title": None},
            "x": {
                "type": "quantitative",
                "title": scale.heading,
                "scale": {"domain": [lowest, highest + room], "nice": False},
                "axis": axis,
            },
        },
        "layer": [
            {
                "mark": {"type": "bar", "height": 15},
                "encoding": {"x": {"field": "v"}, "color": _first_in(brand)},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "color": INK},
                "encoding": {"x": {"field": "end"}, "text": {"field": "t"}},
            },
        ],
    }


def columns(
    points: Sequence[Point], scale: Scale, below: str, brand: Brand, marked: set[int]
) -> dict[str, Any]:
    """Upright bars in the order of the table, for dates and numbers.

    :param marked: positions of the period that is told of; else the highest stands out.
    """
    if len(points) > MAX_COLUMNS:
        raise RenderError(f"{len(points)} bars do not fit; ask for a line")
    known = {at: point.value for at, point in enumerate(points) if point.value is not None}
    labeled = (marked & known.keys()) or {max(known, key=lambda at: known[at])}
    names = unique([point.along for point in points])
    rows = [
        {"n": name, "v": point.value, "t": point.label, "top": at in labeled}
        for at, (name, point) in enumerate(zip(names, points, strict=True))
    ]
    lowest, highest = min(0.0, *known.values()), max(0.0, *known.values())
    return {
        "padding": PADDING_BELOW_LABELS,
        "data": {"values": rows},
        "encoding": {
            "x": {"field": "n", "type": "ordinal", "sort": None, "title": below, "axis": NAMES_BELOW},
            "y": {
                "field": "v",
                "type": "quantitative",
                "title": scale.heading,
                "axis": scale.axis(lowest, highest),
            },
        },
        "layer": [
            {"mark": {"type": "bar"}, "encoding": {"color": _first_in(brand)}},
            *labels(brand),
        ],
    }


def stacked(
    points: Sequence[Point], scale: Scale, below: str, brand: Brand, *, upright: bool
) -> dict[str, Any]:
    """Bars of parts, in the order of the table; parts differ in lightness and have white edges.

    :param upright: whether the bars stand on their names; else they lie beside them.
    """
    names = list(dict.fromkeys(point.along for point in points))
    parts = list(dict.fromkeys(point.series for point in points))
    if upright and len(names) > MAX_COLUMNS:
        raise RenderError(f"{len(names)} bars do not fit; ask for a line")
    ends = [
        sum(p.value for p in points if p.along == name and p.value is not None and (p.value > 0) is up)
        for name in names
        for up in (True, False)
    ]
    axis = scale.axis(min(0.0, *ends), max(0.0, *ends))
    along = unique([name if upright else one_line(name, 28) for name in names])
    at = dict(zip(names, along, strict=True))
    rows = [
        {"n": at[p.along], "s": p.series, "v": p.value, "o": parts.index(p.series)}
        for p in points
        if p.value is not None
    ]
    value = {
        "field": "v",
        "type": "quantitative",
        "title": scale.heading,
        "stack": "zero",
        "axis": axis | ({} if upright else {"grid": True, "ticks": False}),
    }
    name = {"field": "n", "type": "ordinal", "sort": None}
    return {
        "padding": PADDING_BELOW_LABELS if upright else {"left": 6, "right": 12, "top": 4, "bottom": 6},
        "data": {"values": rows},
        "mark": {"type": "bar", "stroke": "#ffffff", "strokeWidth": 1}
        | ({} if upright else {"height": 17}),
        "encoding": {
            ("x" if upright else "y"): name
            | ({"title": below, "axis": NAMES_BELOW} if upright else {"title": None}),
            ("y" if upright else "x"): value,
            "color": {
                "field": "s",
                "type": "nominal",
                "sort": parts,
                "scale": {"domain": parts, "range": list(part_colors(brand, len(parts)))},
                "legend": legend(parts),
            },
            "order": {"field": "o", "type": "quantitative"},
        },
    }


def stands_upright(names: Sequence[str]) -> bool:
    """Whether all names fit below bars; else they stand beside them."""
    return all(len(name) <= (UNITS - 60) / len(names) / LETTER for name in names)


def part_colors(brand: Brand, count: int) -> tuple[str, ...]:
    """Return the series' colors, and the color of the rest where there are more parts."""
    return (*brand.series, _REST)[:count]


def ranges(
    counted: Sequence[tuple[float, float, int]], scale: Scale, rows_heading: str, brand: Brand
) -> dict[str, Any]:
    """Count values by ranges: bars that touch, the fullest in the accent color.

    :param counted: lower end, upper end and count of each range, rising.
    """
    fullest = max(counted, key=lambda counted_range: counted_range[2])
    rows = [
        {"a": low, "b": high, "v": count, "top": (low, high, count) == fullest}
        for low, high, count in counted
    ]
    low, high = counted[0][0], counted[-1][1]
    counts = whole_steps(fullest[2])
    return {
        "padding": PADDING_BELOW_LABELS,
        "data": {"values": rows},
        "encoding": {
            "x": {
                "field": "a",
                "type": "quantitative",
                "title": scale.heading,
                "scale": {"domain": [low, high], "nice": False},
                "axis": scale.axis(low, high, grid=False, ticks=False, labelPadding=8),
            },
            "x2": {"field": "b"},
            "y": {
                "field": "v",
                "type": "quantitative",
                "title": rows_heading,
                "stack": None,
                "axis": {"values": counts, "format": "d", "titleColor": SOFT_INK},
            },
            "y2": {"datum": 0},
        },
        "layer": [
            {
                "mark": {"type": "bar", "stroke": "#ffffff", "strokeWidth": 1, "binSpacing": 0},
                "encoding": {"color": _first_in(brand)},
            },
        ],
    }


def whole_steps(highest: int) -> list[int]:
    """Return up to five whole numbers from 0 to the highest."""
    step = max(1, -(-highest // 4))
    size = 10 ** (len(str(step)) - 1)
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= step)
    return list(range(0, highest + 1, step))


def labels(brand: Brand) -> list[dict[str, Any]]:
    """Values written at their points, on a white edge that keeps them readable over a line."""
    text = {"type": "text", "fontWeight": "bold"}
    edge = {"stroke": "#ffffff", "strokeWidth": 4, "strokeJoin": "round", "color": "#ffffff"}
    marks = (edge, {"color": brand.accent_text})
    return [
        {
            "transform": [{"filter": f"datum.top && {where}"}],
            "mark": text | mark | {"dy": shift},
            "encoding": {"text": {"field": "t"}},
        }
        for where, shift in (("!datum.under", -10), ("datum.under", 16))
        for mark in marks
    ]


def _first_in(brand: Brand) -> dict[str, Any]:
    return {"condition": {"test": "datum.top", "value": brand.mark}, "value": MUTED}

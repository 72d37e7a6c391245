"""Lines: over time, from baseline to value, and as small as a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kimi_provider.reports.colors import GRID, INK, MUTED, SOFT_INK, VISIBLE, WHITE, readable
from kimi_provider.reports.text import one_line
from kimi_provider.reports.vega import LETTER, NAMES_BELOW, PADDING_BELOW_LABELS, UNITS, legend, unique
from kimi_provider.reports.vega_bars import labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.vega import Point, Scale

# Told apart without color: solid, dashed, dotted and mixtures.
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 3])
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
SPARK = (240, 40)
_GREY = "#7b8794"  # seen on light and on dark
_HEIGHT = 200
_LABEL_UNITS = 15
_POINT = {"type": "point", "filled": True, "size": 55, "opacity": 1}
# From the point of the period down to its name; not above it, where its label stands.
_DROP = (
    {
        "transform": [{"filter": "datum.period && datum.v !== null && !datum.under"}],
        "mark": {"type": "rule", "strokeWidth": 1, "color": INK, "strokeDash": [3, 3]},
        "encoding": {"y2": {"value": "height"}},
    },
)
# From the end of a slope to its label, which may stand higher or lower.
_LEADER, _LABEL_AT = (5, 22), 26


def line(
    points: Sequence[Point], scale: Scale, below: str, brand: Brand, marked: set[int]
) -> dict[str, Any]:
    """One line in the order of the table; its peak and its end are labeled, or the period told of.

    :param marked: positions of the period; a band behind the line marks it.
    """
    known = {at: point.value for at, point in enumerate(points) if point.value is not None}
    labeled = marked & known.keys()
    if not labeled:
        peak, last = max(known, key=lambda at: known[at]), max(known)
        said = last - peak < len(points) / 6 or points[last].label == points[peak].label
        labeled = {peak} if said else {peak, last}
    elif len(labeled) > 1:
        labeled = {max(labeled, key=lambda at: known[at])}
    names = unique([point.along for point in points])
    rows = [
        {
            "n": name,
            "v": point.value,
            "t": point.label,
            "top": at in labeled,
            "under": at == max(known) and _falls(known, at),
            "period": at in marked,
        }
        for at, (name, point) in enumerate(zip(names, points, strict=True))
    ]
    written_under = [known[at] for at in labeled if rows[at]["under"]]
    stroke = {"type": "line", "color": brand.mark, "strokeWidth": 2.5}
    spots = {
        "transform": [{"filter": "datum.top"}],
        "mark": _POINT | {"color": brand.mark},
    }
    return {
        "padding": PADDING_BELOW_LABELS,
        "data": {"values": rows},
        "encoding": {
            "x": _along(below, names),
            "y": _upward(scale, list(known.values()), written_under),
        },
        "layer": [
            *_period(len(points), marked),
            *(_DROP if len(marked) == 1 else ()),
            {"mark": stroke},
            spots,
            *labels(brand),
        ],
    }


def lines(
    points: Sequence[Point], scale: Scale, below: str, brand: Brand, marked: set[str]
) -> dict[str, Any]:
    """Several lines, told apart by color, lightness and dashes.

    :param marked: names of the period.
    """
    series = list(dict.fromkeys(point.series for point in points))
    names = list(dict.fromkeys(point.along for point in points))
    rows = [
        {"n": p.along, "s": p.series, "v": p.value, "period": p.along in marked}
        for p in points
        if p.value is not None
    ]
    apart = {"field": "s", "type": "nominal", "sort": series}
    key = legend(series) | {"symbolType": "stroke", "symbolSize": 500, "symbolStrokeWidth": 2.5}
    # A line is thin: it is darkened until it is seen on white, and dashes tell it apart.
    shown = [readable(color, WHITE, VISIBLE) for color in brand.series[: len(series)]]
    colors = {"domain": series, "range": shown}
    dashes = {"domain": series, "range": [list(dash) for dash in DASHES[: len(series)]]}
    known = [p.value for p in points if p.value is not None]
    return {
        "padding": PADDING_BELOW_LABELS,
        "data": {"values": rows},
        "encoding": {"x": _along(below, names), "y": _upward(scale, known)},
        "layer": [
            *_period(len(names), {0} if marked else set()),
            {
                "mark": {"type": "line", "strokeWidth": 2.5},
                "encoding": {
                    "color": apart | {"scale": colors, "legend": key},
                    "strokeDash": apart | {"scale": dashes, "legend": key},
                },
            },
        ],
    }


def slope(points: Sequence[Point], ends: tuple[str, str], brand: Brand) -> tuple[dict[str, Any], int]:
    """Lines from baseline to value; the one that changed most stands out.

    :param points: each with its baseline.
    :param ends: how the baseline and the value are named.
    :return: the chart and its height.
    """
    told = [(p, p.value, p.baseline) for p in points if p.value is not None and p.baseline]
    most = max(points, key=lambda point: abs(point.change))
    height = max(_HEIGHT, 24 * len(told) + 60)
    starts, values = [baseline.value for _, _, baseline in told], [value for _, value, _ in told]
    low, high = min(*starts, *values), max(*starts, *values)
    span, left, right = high - low or 1.0, starts, values
    for _ in range(4):
        # Labels that are moved apart need room, which moves them closer together again.
        gap = span * _LABEL_UNITS / (height - 36)
        left, right = _spread(starts, gap), _spread(values, gap)
        span = max(high, *left, *right) - min(low, *left, *right) + gap
    rows: list[dict[str, Any]] = []
    # What comes later is drawn over what came before.
    drawn = sorted(zip(told, left, right, strict=True), key=lambda ends_of: ends_of[0][0] is most)
    for (point, value, baseline), left_at, right_at in drawn:
        common = {"s": point.name, "top": point is most}
        rows += [
            common | {"side": "left", "x": ends[0], "v": baseline.value, "at": left_at,
                      "t": baseline.label},
            common | {"side": "right", "x": ends[1], "v": value, "at": right_at,
                      "t": f"{point.label}  {one_line(point.name, 22)}"},
        ]  # fmt: skip
    widest = max(LETTER * len(str(row["t"])) for row in rows if row["side"] == "right")
    narrow = max(LETTER * len(str(row["t"])) for row in rows if row["side"] == "left")
    stress = {"condition": {"test": "datum.top", "value": brand.accent_text}, "value": SOFT_INK}
    domain = [min(low, *left, *right) - gap / 2, max(high, *left, *right) + gap / 2]
    y = {"type": "quantitative", "scale": {"domain": domain, "nice": False, "zero": False}, "axis": None}
    sides = [
        {
            "transform": [{"filter": f"datum.side == '{side}'"}],
            "mark": {"type": "text", "align": align, "dx": shift},
            "encoding": {"y": y | {"field": "at"}, "text": {"field": "t"}, "color": stress},
        }
        for side, align, shift in (("left", "right", -_LABEL_AT), ("right", "left", _LABEL_AT))
    ]
    leaders = [
        {
            "transform": [{"filter": f"datum.side == '{side}'"}],
            "mark": {
                "type": "rule",
                "strokeWidth": 1,
                "color": MUTED,
                "xOffset": turn * _LEADER[0],
                "x2Offset": turn * _LEADER[1],
            },
            "encoding": {"x2": {"field": "x"}, "y": y | {"field": "v"}, "y2": {"field": "at"}},
        }
        for side, turn in (("left", -1), ("right", 1))
    ]
    room = _LABEL_AT + 6
    before, after = min(narrow + room, UNITS / 3), min(widest + room, UNITS / 2)
    marks = {
        "padding": {"left": before, "right": after, "top": 30, "bottom": 6},
        "autosize": "none",
        "width": UNITS - before - after,
        "data": {"values": rows},
        "encoding": {
            "x": {
                "field": "x",
                "type": "ordinal",
                "sort": None,
                "title": None,
                "scale": {"type": "point", "padding": 0.02},
                "axis": {"orient": "top", "labelAngle": 0, "ticks": False, "labelPadding": 8,
                         "grid": True, "labelLimit": 140, "labelFontWeight": "bold"},
            }
        },
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": {
                    "y": y | {"field": "v"},
                    "detail": {"field": "s"},
                    "color": {"condition": {"test": "datum.top", "value": brand.mark}, "value": MUTED},
                    "size": {"condition": {"test": "datum.top", "value": 3}, "value": 1.8},
                },
            },
            {
                "mark": _POINT,
                "encoding": {
                    "y": y | {"field": "v"},
                    "color": {"condition": {"test": "datum.top", "value": brand.mark}, "value": MUTED},
                },
            },
            *leaders,
            *sides,
        ],
    }  # fmt: skip
    return marks, height - 36


def sparkline(values: Sequence[float], brand: Brand) -> dict[str, Any]:
    """Return a line without axes, its last value marked."""
    low, high = min(values), max(values)
    rows = [{"n": at, "v": value, "last": at == len(values) - 1} for at, value in enumerate(values)]
    margin = (high - low or abs(high) or 1.0) * 0.12
    return {
        # A card is light or dark, as the reader's screen is.
        "background": "transparent",
        "padding": {"left": 1, "right": 6, "top": 3, "bottom": 3},
        "data": {"values": rows},
        "encoding": {
            "x": {"field": "n", "type": "quantitative", "axis": None, "scale": {"nice": False}},
            "y": {
                "field": "v",
                "type": "quantitative",
                "axis": None,
                "scale": {"domain": [low - margin, high + margin], "nice": False, "zero": False},
            },
        },
        "layer": [
            {"mark": {"type": "line", "color": _GREY, "strokeWidth": 1.6}},
            {
                "transform": [{"filter": "datum.last"}],
                "mark": _POINT | {"color": brand.mark, "size": 60},
            },
        ],
    }


def _falls(known: Mapping[int, float], at: int) -> bool:
    """Whether the line comes down to a point, so that a label above it would lie on the line."""
    before = known.get(at - 1)
    return before is not None and before > known[at]


def _along(below: str, names: Sequence[str]) -> dict[str, Any]:
    return {
        "field": "n",
        "type": "ordinal",
        "sort": None,
        "title": below,
        # Told, because a layer that shows some of the names would put them first.
        "scale": {"type": "point", "padding": 0.6, "domain": list(names)},
        "axis": NAMES_BELOW,
    }


def _upward(
    scale: Scale, values: Sequence[float], written_under: Sequence[float] = ()
) -> dict[str, Any]:
    """Return the axis of values.

    :param written_under: those whose labels stand under their points, and need room there.
    """
    low, high = min(values), max(values)
    # Small changes of a large figure must not look like large ones.
    zero = low < high * 0.6
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    margin = (high - low or abs(high) or 1.0) * 0.05
    domain = [low if low >= 0 and zero else low - margin, high + margin]
    domain[0] = min([domain[0], *(value - 4 * margin for value in written_under)])
    return {
        "field": "v",
        "type": "quantitative",
        "title": scale.heading,
        "axis": scale.axis(low if zero else domain[0], domain[1]),
        "scale": {"domain": domain, "nice": False, "zero": False},
    }


def _period(count: int, marked: set[int]) -> list[dict[str, Any]]:
    """Return a band behind the period; its color is so light that the line stays what is seen."""
    if not marked:
        return []
    wide = (UNITS - 70) / max(count, 1)
    return [
        {
            "transform": [{"filter": "datum.period"}],
            # Not a thick rule, for whose ends the library would leave half its width free above it.
            "mark": {"type": "bar", "width": max(6, wide * 0.9), "color": GRID, "opacity": 1},
            "encoding": {"y": {"value": 0}, "y2": {"value": "height"}},
        },
    ]


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """Move values apart until labels at them do not overlap, keeping their order."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    placed = [0.0] * len(values)
    previous = None
    for at in order:
        placed[at] = values[at] if previous is None else max(values[at], previous + gap)
        previous = placed[at]
    # Whoever was pushed up all the way pulls the others half of it down.
    excess = sum(placed[at] - values[at] for at in order) / max(len(order), 1)
    return [value - excess for value in placed]

"""Heat maps: two names and how much there is of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.colors import BLACK, SOFT_INK, WHITE, contrast, mixed
from kimi_provider.reports.text import one_line
from kimi_provider.reports.vega import LETTER, NAMES_BELOW, UNITS, unique

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.vega import Point, Scale

MAX_ACROSS, MAX_DOWN = 60, 40
_EMPTY = "#f5f7fa"


def heatmap(
    points: Sequence[Point],
    names: tuple[Sequence[str], Sequence[str]],
    scale: Scale,
    heading: str,
    brand: Brand,
) -> tuple[dict[str, Any], int]:
    """Cells from light to dark; each holds its value where there is room.

    :param points: name is across, series is down.
    :param names: those across and those down, each in order.
    :param heading: title of those across.
    :return: the chart and its height.
    """
    across, down = names
    if len(across) > MAX_ACROSS or len(down) > MAX_DOWN:
        raise RenderError(
            f"{len(across)} by {len(down)} cells do not fit; {MAX_ACROSS} by {MAX_DOWN} at most do"
        )
    known = [point.value for point in points if point.value is not None]
    low, high = min(known), max(known)
    beside = unique([one_line(name, 22) for name in down])
    row_of = dict(zip(down, beside, strict=True))
    rows = [
        {
            "x": point.along,
            "y": row_of[point.series],
            "v": point.value,
            "t": point.label,
            "light": point.value is not None and _on(point.value, low, high, brand) == WHITE,
        }
        for point in points
    ]
    there = {(row["x"], row["y"]) for row in rows}
    rows += [
        {"x": x, "y": y, "v": None, "t": "", "light": False}
        for x in across
        for y in beside
        if (x, y) not in there
    ]
    room = (UNITS - LETTER * max(map(len, beside)) - 30) / len(across)
    longest = max(len(point.label) for point in points if point.value is not None)
    height = max(23, min(34, 190 // len(down))) * len(down) + 78
    domain = [low, high if high > low else low + 1]
    cells: list[dict[str, Any]] = [
        {
            "mark": {"type": "rect", "stroke": WHITE, "strokeWidth": 1.5},
            "encoding": {
                "color": {
                    "condition": {"test": "!isValid(datum.v)", "value": _EMPTY},
                    "field": "v",
                    "type": "quantitative",
                    "scale": {
                        "range": list(brand.scale),
                        "domain": [low, high if high > low else low + 1],
                    },
                    "legend": {
                        "orient": "bottom",
                        "title": scale.heading,
                        "titleFontWeight": "normal",
                        "titleFontSize": 11,
                        "titleColor": SOFT_INK,
                        "gradientLength": 190,
                        "gradientThickness": 9,
                        "titleLimit": 300,
                        **_numbers(scale.axis(*domain)),
                    },
                }
            },
        }
    ]
    if LETTER * longest + 4 <= room:
        cells.append(
            {
                "transform": [{"filter": "isValid(datum.v)"}],
                "mark": {"type": "text", "fontSize": 11},
                "encoding": {
                    "text": {"field": "t"},
                    "color": {"condition": {"test": "datum.light", "value": WHITE}, "value": BLACK},
                },
            }
        )
    marks = {
        "data": {"values": rows},
        "encoding": {
            "x": {
                "field": "x",
                "type": "ordinal",
                "sort": list(across),
                "title": heading,
                "axis": NAMES_BELOW | {"labelPadding": 5},
            },
            "y": {
                "field": "y",
                "type": "ordinal",
                "sort": beside,
                "title": None,
                "axis": {"grid": False, "ticks": False},
            },
        },
        "layer": cells,
    }
    return marks, height


def _numbers(axis: dict[str, Any]) -> dict[str, Any]:
    return {name: axis[name] for name in ("values", "labelExpr")}


def _on(value: float, low: float, high: float, brand: Brand) -> str:
    """Return the color of text on a cell: white or dark, whichever reads better."""
    share = (value - low) / (high - low) if high > low else 0.0
    stops = brand.scale
    at = min(int(share * (len(stops) - 1)), len(stops) - 2)
    color = mixed(stops[at], stops[at + 1], share * (len(stops) - 1) - at)
    return max(WHITE, BLACK, key=lambda text: contrast(text, color))

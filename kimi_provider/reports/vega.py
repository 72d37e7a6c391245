"""The shapes of our charts in Vega-Lite, their theme, and drawing them as PNG in process.

vl-convert carries its own font (Liberation Sans), so a chart looks the same on every machine. Nothing is
read from the network or the disk.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.text import one_line
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.reports.brand import Brand

# Shown 592 px wide in a mail of 640, with twice the pixels. It is laid out on 430 units, so that its
# letters are still readable where a phone shows it 310 px wide.
WIDTH = 592
_UNITS = 430
_MAX_COLUMNS = 60
_NAME_UNITS = 165
# Vega-Lite's axes would say "0M", and giga where people say billion.
_PLAIN_ZERO = {"labelExpr": "datum.value == 0 ? '0' : replace(datum.label, 'G', 'B')"}
_NAMES_BELOW = {
    "labelAngle": 0,
    "labelOverlap": "parity",
    "labelSeparation": 4,
    "labelLimit": 90,
    "labelPadding": 8,
    "grid": False,
    "ticks": False,
}
_PADDING_BELOW_LABELS = {"left": 2, "right": 12, "top": 16, "bottom": 2}
_FONT = "Liberation Sans"
_INK, _SOFT_INK, _GRID, _MUTED = "#1f2933", "#52606d", "#e4e7eb", "#9aa9b8"


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a chart: its name, its value (``None``: the data has none), the value as printed."""

    name: str
    value: float | None
    label: str


def bars(points: Sequence[Point], heading: str, brand: Brand) -> dict[str, Any]:
    """Horizontal bars, the largest first and in the accent color, each with its value."""
    values = [p.value or 0.0 for p in points]
    lowest, highest = min(0.0, *values), max(0.0, *values)
    names = _unique([one_line(p.name, 28) for p in points])
    # Room for the longest label beyond the longest bar; about 6.5 units a letter.
    plot = _UNITS - min(_NAME_UNITS, 6.5 * max(map(len, names))) - 12
    label = min(6.5 * max(len(p.label) for p in points) + 8, plot / 2)
    room = (highest - lowest or 1.0) * label / (plot - label)
    rows = [
        {"n": name, "v": value, "t": point.label, "end": max(value, 0.0), "top": at == 0}
        for at, (name, value, point) in enumerate(zip(names, values, points, strict=True))
    ]
    return {
        "data": {"values": rows},
        "encoding": {
            "y": {"field": "n", "type": "nominal", "sort": None, "title": None},
            "x": {
                "type": "quantitative",
                "title": heading,
                "scale": {"domain": [lowest, highest + room], "nice": False},
                "axis": {
                    "grid": True,
                    "ticks": False,
                    "values": round_steps(lowest, highest),
                    **_PLAIN_ZERO,
                },
            },
        },
        "layer": [
            {
                "mark": {"type": "bar", "height": 15},
                "encoding": {
                    "x": {"field": "v"},
                    "color": {
                        "condition": {"test": "datum.top", "value": brand.accent},
                        "value": _MUTED,
                    },
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "color": _INK},
                "encoding": {"x": {"field": "end"}, "text": {"field": "t"}},
            },
        ],
    }


def columns(points: Sequence[Point], heading: str, below: str, brand: Brand) -> dict[str, Any]:
    """Upright bars in the order of the table, for dates and numbers; the highest is labeled."""
    if len(points) > _MAX_COLUMNS:
        raise RenderError(f"{len(points)} bars do not fit; ask for a line")
    known = _known(points)
    rows = _rows(points, {max(known, key=lambda at: known[at])})
    return {
        "padding": _PADDING_BELOW_LABELS,
        "data": {"values": rows},
        "encoding": {
            "x": {
                "field": "n",
                "type": "ordinal",
                "sort": None,
                "title": below,
                "axis": _NAMES_BELOW,
            },
            "y": {"field": "v", "type": "quantitative", "title": heading, "axis": _PLAIN_ZERO},
        },
        "layer": [
            {
                "mark": {"type": "bar"},
                "encoding": {
                    "color": {
                        "condition": {"test": "datum.top", "value": brand.accent},
                        "value": _MUTED,
                    }
                },
            },
            *_labels(brand),
        ],
    }


def line(points: Sequence[Point], heading: str, below: str, brand: Brand) -> dict[str, Any]:
    """One line in the order of the table; its peak and its end are labeled."""
    known = _known(points)
    peak, last = max(known, key=lambda at: known[at]), max(known)
    said = last - peak < len(points) / 6 or points[last].label == points[peak].label
    rows = _rows(points, {peak} if said else {peak, last})
    return {
        "padding": _PADDING_BELOW_LABELS,
        "data": {"values": rows},
        "encoding": {
            "x": {
                "field": "n",
                "type": "ordinal",
                "sort": None,
                "title": below,
                "scale": {"type": "point", "padding": 0.6},
                "axis": _NAMES_BELOW,
            },
            "y": {
                "field": "v",
                "type": "quantitative",
                "title": heading,
                "axis": _PLAIN_ZERO,
                # Small changes of a large figure must not look like large ones.
                "scale": {"zero": min(known.values()) < max(known.values()) * 0.6},
            },
        },
        "layer": [
            {"mark": {"type": "line", "color": brand.accent, "strokeWidth": 2.5}},
            {
                "transform": [{"filter": "datum.top"}],
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 55,
                    "opacity": 1,
                    "color": brand.accent,
                },
            },
            *_labels(brand),
        ],
    }


def _labels(brand: Brand) -> list[dict[str, Any]]:
    """Values written at their points, on a white edge that keeps them readable over a line."""
    text = {"type": "text", "dy": -10, "fontWeight": "bold"}
    marks = ({"stroke": "#ffffff", "strokeWidth": 4, "color": "#ffffff"}, {"color": brand.accent_text})
    return [
        {
            "transform": [{"filter": "datum.top"}],
            "mark": text | mark,
            "encoding": {"text": {"field": "t"}},
        }
        for mark in marks
    ]


def _known(points: Sequence[Point]) -> dict[int, float]:
    """Return the values that there are, by position."""
    return {at: point.value for at, point in enumerate(points) if point.value is not None}


def _rows(points: Sequence[Point], labeled: set[int]) -> list[dict[str, Any]]:
    """Return a chart's data in its order; a row without value is a gap, not left out."""
    names = _unique([point.name for point in points])
    return [
        {"n": name, "v": point.value, "t": point.label, "top": at in labeled}
        for at, (name, point) in enumerate(zip(names, points, strict=True))
    ]


def round_steps(lowest: float, highest: float) -> list[float]:
    """Return two to five round values from the lowest to the highest, for an axis."""
    span = highest - lowest or 1.0
    size = 10.0 ** math.floor(math.log10(span))
    step = next(size * factor for factor in (0.2, 0.5, 1, 2, 5) if span / (size * factor) <= 4)  # noqa: PLR2004 — see above
    return [at * step for at in range(math.ceil(lowest / step), math.floor(highest / step) + 1)]


def png(marks: dict[str, Any], unit: Unit, height: int) -> bytes:
    """Draw a chart.

    :param marks: what one of the shapes above returned.
    :param unit: of the values; decides how the axis is numbered.
    :param height: of the whole picture, in the same units as its fixed width.
    :raises RenderError: if the chart library refuses it.
    """
    import vl_convert

    text = {"labelFont": _FONT, "titleFont": _FONT, "labelColor": _INK, "titleColor": _SOFT_INK}
    sizes = {"labelFontSize": 12, "titleFontSize": 11, "titleFontWeight": "normal", "titlePadding": 8}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": _UNITS,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": {"left": 2, "right": 4, "top": 2, "bottom": 2},
        "background": "#ffffff",
        **marks,
        "config": {
            "font": _FONT,
            "view": {"stroke": None},
            "axis": {**text, **sizes, "gridColor": _GRID, "domain": False, "tickColor": _GRID},
            "axisY": {"labelLimit": _NAME_UNITS, "ticks": False, "labelPadding": 6},
            "axisQuantitative": {
                "format": ".0%" if unit is Unit.PERCENT else "~s",
                "tickCount": 4,
            },
            "text": {"font": _FONT, "fontSize": 12},
        },
    }
    try:
        png = vl_convert.vegalite_to_png(spec, scale=2 * WIDTH / _UNITS, allowed_base_urls=[])
    except ValueError as error:
        raise RenderError("the chart library refused it") from error
    return _packed(png)


def _packed(png: bytes) -> bytes:
    """Compress a PNG again, to about a quarter: the library aims at speed, and mails are kept."""
    head, body, data, at = png[:8], b"", b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        elif png[at + 4 : at + 8] == b"IEND":
            pixels = b"IDAT" + zlib.compress(zlib.decompress(data), 6)
            body += struct.pack(">I", len(pixels) - 4) + pixels + struct.pack(">I", zlib.crc32(pixels))
            body += png[at:]
        else:
            body += png[at : at + 12 + length]
        at += 12 + length
    return head + body


def _unique(names: Sequence[str]) -> list[str]:
    """Tell equal names apart: Vega-Lite would draw them on top of each other."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result

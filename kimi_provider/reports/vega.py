"""The shapes of our charts in Vega-Lite, their theme, and drawing them as PNG in process.

vl-convert carries its own font (Liberation Sans), so a chart looks the same on every machine. Nothing is
read from the network or the disk.
"""

from __future__ import annotations

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
_NAMES_BELOW = {
    "labelAngle": 0,
    "labelOverlap": "parity",
    "labelSeparation": 4,
    "labelLimit": 90,
    "grid": False,
    "ticks": False,
}
_PADDING_BELOW_LABELS = {"left": 2, "right": 12, "top": 16, "bottom": 2}
_FONT = "Liberation Sans"
_INK, _SOFT_INK, _GRID, _MUTED = "#1f2933", "#52606d", "#e4e7eb", "#9aa9b8"


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a chart: its name, its value, and the value as it is printed."""

    name: str
    value: float
    label: str


def bars(points: Sequence[Point], heading: str, brand: Brand) -> dict[str, Any]:
    """Horizontal bars, the largest first and in the accent color, each with its value."""
    lowest = min(0.0, *(p.value for p in points))
    highest = max(0.0, *(p.value for p in points))
    names = _unique([one_line(p.name, 28) for p in points])
    # Room for the longest label beyond the longest bar; about 6.5 units a letter.
    plot = _UNITS - min(_NAME_UNITS, 6.5 * max(map(len, names))) - 12
    label = min(6.5 * max(len(p.label) for p in points) + 8, plot / 2)
    room = (highest - lowest or 1.0) * label / (plot - label)
    rows = [
        {"n": n, "v": p.value, "t": p.label, "end": max(p.value, 0.0), "top": i == 0}
        for i, (n, p) in enumerate(zip(names, points, strict=True))
    ]
    return {
        "data": {"values": rows},
        "encoding": {
            "y": {"field": "n", "type": "nominal", "sort": None, "title": None},
            "x": {
                "type": "quantitative",
                "title": heading,
                "scale": {"domain": [lowest, highest + room], "nice": False},
                "axis": {"grid": True, "ticks": False, "tickCount": 4},
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
    peak = max(range(len(points)), key=lambda i: points[i].value)
    rows = [
        {"n": n, "v": p.value, "t": p.label, "top": i == peak}
        for i, (n, p) in enumerate(zip(_unique([p.name for p in points]), points, strict=True))
    ]
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
            "y": {"field": "v", "type": "quantitative", "title": heading},
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
            _label("datum.top", brand),
        ],
    }


def line(points: Sequence[Point], heading: str, below: str, brand: Brand) -> dict[str, Any]:
    """One line in the order of the table; its peak and its end are labeled."""
    peak = max(range(len(points)), key=lambda i: points[i].value)
    last = len(points) - 1
    said = last - peak < len(points) / 6 or points[last].label == points[peak].label
    labeled = {peak} if said else {peak, last}
    rows = [
        {"n": n, "v": p.value, "t": p.label, "top": i in labeled}
        for i, (n, p) in enumerate(zip(_unique([p.name for p in points]), points, strict=True))
    ]
    values = [p.value for p in points]
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
                # Small changes of a large figure must not look like large ones.
                "scale": {"zero": min(values) < max(values) * 0.6},
            },
        },
        "layer": [
            {"mark": {"type": "line", "color": brand.accent, "strokeWidth": 2.5}},
            {
                "transform": [{"filter": "datum.top" if len(points) > 1 else "true"}],
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 55,
                    "opacity": 1,
                    "color": brand.accent,
                },
            },
            _label("datum.top", brand),
        ],
    }


def _label(which: str, brand: Brand) -> dict[str, Any]:
    """Values written at their points."""
    return {
        "transform": [{"filter": which}],
        "mark": {"type": "text", "dy": -10, "fontWeight": "bold", "color": brand.accent_text},
        "encoding": {"text": {"field": "t"}},
    }


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

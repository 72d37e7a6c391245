"""What all charts share in Vega-Lite: size, theme, axes; and drawing them as PNG in process.

vl-convert carries its own font (Liberation Sans), so a chart looks the same on every machine. Nothing is
read from the network or the disk.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.colors import GRID, INK, SOFT_INK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Shown 592 px wide in a mail of 640, with twice the pixels. It is laid out on 430 units, so that its
# letters are still readable where a phone shows it 310 px wide.
WIDTH = 592
UNITS = 430
# About as wide as a letter of the axes' size is, in units.
LETTER = 6.5
NAME_UNITS = 165
PADDING_BELOW_LABELS = {"left": 6, "right": 12, "top": 16, "bottom": 6}
NAMES_BELOW = {
    "labelAngle": 0,
    "labelOverlap": "parity",
    "labelSeparation": 4,
    "labelLimit": 90,
    "labelPadding": 8,
    "grid": False,
    "ticks": False,
}
_LEGEND_UNITS = 130
_FONT = "Liberation Sans"


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a value is compared with: as a number, as printed, and how it is named."""

    value: float
    label: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a chart.

    :param name: what it is the value of, as printed.
    :param value: ``None``: the data has none.
    :param label: the value as printed.
    :param series: the part, row or line that it belongs to, as printed.
    :param baseline: what it is compared with, if with anything.
    :param key: the name as the data has it.
    :param short: the name where there is little room, empty where it is the same.
    """

    name: str
    value: float | None
    label: str
    series: str = ""
    baseline: Baseline | None = None
    key: str = ""
    short: str = ""

    @property
    def along(self) -> str:
        """The name, as an axis prints it."""
        return self.short or self.name

    @property
    def change(self) -> float:
        """How far the value is from its baseline; 0 where either is not there."""
        return 0.0 if self.value is None or self.baseline is None else self.value - self.baseline.value


@dataclass(frozen=True, slots=True)
class Scale:
    """How an axis of values is named and numbered.

    :param heading: its title, with the unit.
    :param tick: prints a value, as text elsewhere in the report prints it.
    """

    heading: str
    tick: Callable[[float], str]

    def axis(self, lowest: float, highest: float, **options: object) -> dict[str, Any]:
        """Return an axis with two to five round values between the ends."""
        values = round_steps(lowest, highest)
        step = values[1] - values[0] if len(values) > 1 else 1.0
        labels = json.dumps([self.tick(value) for value in values])
        # By position: a value that crossed into JavaScript may differ in its last digit.
        place = f"round((datum.value - ({values[0]!r})) / {step!r})" if values else "0"
        return {"values": values, "labelExpr": f"{labels}[{place}]", **options}


def round_steps(lowest: float, highest: float) -> list[float]:
    """Return two to five round values from the lowest to the highest, for an axis."""
    span = highest - lowest or 1.0
    size = 10.0 ** math.floor(math.log10(span))
    factors = (0.1, 0.2, 0.5, 1, 2, 5)
    at = next(i for i, factor in enumerate(factors) if span / (size * factor) <= 4)  # noqa: PLR2004 — see above
    values = _multiples(lowest, highest, size * factors[at])
    if len(values) < 2 and highest > lowest:  # noqa: PLR2004 — one value is no scale
        values = _multiples(lowest, highest, size * factors[at - 1])
    return values


def _multiples(lowest: float, highest: float, step: float) -> list[float]:
    steps = range(math.ceil(lowest / step - 1e-9), math.floor(highest / step + 1e-9) + 1)
    return [float(f"{at * step:.12g}") for at in steps]


def png(
    marks: dict[str, Any],
    height: int,
    *,
    font: str | None = None,
    size: tuple[int, int] = (UNITS, WIDTH),
) -> bytes:
    """Draw a chart.

    :param marks: what one of the shapes returned.
    :param height: of the whole picture, in units.
    :param font: of all its letters, if this machine has it.
    :param size: its width in units, and in CSS pixels; the picture has twice the pixels.
    :raises RenderError: if the chart library refuses it.
    """
    units, width = size
    family = f"{font}, {_FONT}" if font else _FONT
    text = {"labelFont": family, "titleFont": family, "labelColor": INK, "titleColor": SOFT_INK}
    sizes = {"labelFontSize": 12, "titleFontSize": 11, "titleFontWeight": "normal", "titlePadding": 8}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": units,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": {"left": 6, "right": 6, "top": 4, "bottom": 6},
        "background": "#ffffff",
        **marks,
        "config": {
            "font": family,
            "view": {"stroke": None},
            "axis": {**text, **sizes, "gridColor": GRID, "domain": False, "tickColor": GRID},
            "axisY": {"labelLimit": NAME_UNITS, "ticks": False, "labelPadding": 6},
            "legend": {**text, "labelFontSize": 12, "labelLimit": _LEGEND_UNITS, "columnPadding": 14},
            "text": {"font": family, "fontSize": 12},
        },
    }
    return _drawn(json.dumps(spec), 2 * width / units)


@lru_cache(maxsize=64)
def _drawn(spec: str, scale: float) -> bytes:
    """Draw a specification; once, since a preview draws the same at each save."""
    import vl_convert

    try:
        picture = vl_convert.vegalite_to_png(spec, scale=scale, allowed_base_urls=[])
    except ValueError as error:
        raise RenderError("the chart library refused it") from error
    return _packed(picture)


def shown_size(picture: bytes, width: int = WIDTH) -> tuple[int, int]:
    """Return the width and height to show a PNG at, from its header (PNG specification, 11.2.2)."""
    across, down = struct.unpack(">II", picture[16:24])
    return width, round(down * width / across)


def unique(names: Sequence[str]) -> list[str]:
    """Tell equal names apart: Vega-Lite would draw them on top of each other."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def legend(names: Sequence[str]) -> dict[str, Any]:
    """Return a legend above the chart, its entries in the order of the names, in lines that fit."""
    columns = _columns(names)
    return {"orient": "top", "title": None, "columns": columns, "symbolSize": 120, "offset": 6}


def legend_height(names: Sequence[str]) -> int:
    """Return how tall that legend is, in units."""
    return 17 * -(-len(names) // _columns(names)) + 10


def _columns(names: Sequence[str]) -> int:
    longest = max(min(len(name) * LETTER, _LEGEND_UNITS) for name in names) + 40
    return max(1, min(len(names), int((UNITS - 50) // longest)))


def _packed(picture: bytes) -> bytes:
    """Compress a PNG again, to about a quarter: the library aims at speed, and mails are kept."""
    head, body, data, at = picture[:8], b"", b"", 8
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        if picture[at + 4 : at + 8] == b"IDAT":
            data += picture[at + 8 : at + 8 + length]
        elif picture[at + 4 : at + 8] == b"IEND":
            pixels = b"IDAT" + zlib.compress(zlib.decompress(data), 6)
            body += struct.pack(">I", len(pixels) - 4) + pixels + struct.pack(">I", zlib.crc32(pixels))
            body += picture[at:]
        else:
            body += picture[at : at + 12 + length]
        at += 12 + length
    return head + body

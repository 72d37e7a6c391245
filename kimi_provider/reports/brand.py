"""Whose report it is: name, colors, logo and font, set once for mail, page and charts."""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.reports.colors import (
    APART,
    INK,
    SERIES,
    VISIBLE,
    WHITE,
    contrast,
    is_color,
    lightness,
    mixed,
    readable,
)
from kimi_provider.reports.document import Picture
from kimi_provider.storage import read_bytes

if TYPE_CHECKING:
    from kimi_provider.storage import StoragePath

_MAX_SERIES = 6
_FONT = re.compile(r"[\w][\w .-]{0,60}")
_FALLBACK_FONTS = ("Segoe UI", "Helvetica", "Arial")
_LOGO_BYTES = 200_000
_LOGO_HEIGHT, _LOGO_WIDTH = 40, 240


@dataclass(frozen=True)
class Brand:
    """The sender's name, colors, logo and font.

    :param name: stands above the title, in the footer, and for the logo where pictures are blocked.
    :param accent: ``#rrggbb``; fills the top band and the charts.
    :param colors: ``#rrggbb`` each, of the series of a chart, up to six; by default the accent, and
        colors that color-blind readers tell apart. No two may be equally light, or a copy in greyscale
        would not tell them apart.
    :param logo: a PNG, JPEG or GIF: its bytes, or where it lies (a path of a storage, or the name of a
        local file). It is shown up to 240 by 40 px, so twice that is sharp.
    :param font: name of a font family that readers have; others see Segoe UI, Helvetica or Arial.
        Charts are drawn with it if this machine has it.
    :raises ConfigurationError: if a color, the font or the logo cannot be used.
    """

    name: str = "Kimi reports"
    accent: str = "#1d4f91"
    colors: tuple[str, ...] = ()
    logo: bytes | StoragePath | str | None = None
    font: str | None = None

    def __post_init__(self) -> None:
        """Find what is wrong before it reaches a style sheet."""
        object.__setattr__(self, "colors", tuple(self.colors))
        for color in (self.accent, *self.colors):
            if not is_color(color):
                raise ConfigurationError(
                    f"Brand color {color!r} is not a color. Write it as '#rrggbb', such as '#1d4f91'."
                )
        if len(self.colors) > _MAX_SERIES:
            raise ConfigurationError(
                f"Brand has {len(self.colors)} colors for series; nobody tells more than "
                f"{_MAX_SERIES} apart. Name {_MAX_SERIES} at most."
            )
        for at, color in enumerate(self.colors):
            for other in self.colors[:at]:
                if abs(lightness(color) - lightness(other)) < APART:
                    raise ConfigurationError(
                        f"Brand colors {other!r} and {color!r} are equally light: in greyscale they "
                        "look like one. Make one of them darker or lighter."
                    )
        if self.font is not None and not _FONT.fullmatch(self.font):
            raise ConfigurationError(
                f"Brand font {self.font!r} is not the name of one font family, such as 'Inter'."
            )

    @property
    def mark(self) -> str:
        """The accent as a color of lines and bars on white, darkened as far as it must be."""
        return readable(self.accent, WHITE, VISIBLE)

    @property
    def accent_text(self) -> str:
        """The accent as a color of text on white, darkened as far as it must be."""
        return readable(self.accent, WHITE)

    @property
    def on_accent(self) -> str:
        """The color of text on the accent: white or dark, whichever reads better."""
        return max(WHITE, INK, key=lambda color: contrast(color, self.accent))

    @property
    def series(self) -> tuple[str, ...]:
        """Colors of a chart's series, each of its own lightness."""
        if self.colors:
            return self.colors
        chosen = [self.mark]
        for color in SERIES:
            if all(abs(lightness(color) - lightness(other)) >= APART for other in chosen):
                chosen.append(color)
        return tuple(chosen[:_MAX_SERIES])

    @property
    def scale(self) -> tuple[str, ...]:
        """Colors from little to much, evenly darker, so that greyscale keeps their order."""
        dark = readable(self.accent, WHITE, 9.0)
        return tuple(mixed(WHITE, dark, share) for share in (0.05, 0.3, 0.6, 1.0))

    @property
    def fonts(self) -> str:
        """The font and what stands in for it, as CSS writes it."""
        families = ((self.font,) if self.font else ()) + _FALLBACK_FONTS
        return ", ".join(f"'{name}'" if " " in name else name for name in families) + ", sans-serif"

    @cached_property
    def picture(self) -> Picture | None:
        """The logo as it is shown; reads it, so not from an event loop.

        :raises ConfigurationError: if it is no picture that mail programs show, or too large.
        :raises OSError: if it cannot be read.
        """
        if self.logo is None:
            return None
        if isinstance(self.logo, bytes):
            data = self.logo
        else:
            local = isinstance(self.logo, str)
            path = Path(str(self.logo).removeprefix("file://")) if local else self.logo
            data = read_bytes(cast("StoragePath", path))
        if len(data) > _LOGO_BYTES:
            raise ConfigurationError(
                f"The brand's logo has {len(data):,} bytes; every mail carries it. "
                f"Make it smaller than {_LOGO_BYTES:,}."
            )
        media_type, width, height = _size(data)
        shrink = min(_LOGO_HEIGHT / height, _LOGO_WIDTH / width, 1)
        digest = hashlib.sha256(data).hexdigest()[:16]
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        return Picture(f"logo-{digest}", data, *size, media_type)


def _size(data: bytes) -> tuple[str, int, int]:
    """Return media type, width and height of a picture, from its header."""
    width = height = 0
    media_type = ""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) > 24:  # noqa: PLR2004 — PNG's header
        media_type = "image/png"
        width, height = struct.unpack(">II", data[16:24])
    elif data.startswith((b"GIF87a", b"GIF89a")) and len(data) > 10:  # noqa: PLR2004 — GIF's header
        media_type = "image/gif"
        width, height = struct.unpack("<HH", data[6:10])
    elif data.startswith(b"\xff\xd8"):
        media_type = "image/jpeg"
        width, height = _jpeg_size(data)
    if not (width and height):
        raise ConfigurationError(
            "The brand's logo is no PNG, JPEG or GIF. Mail programs show none else; convert it."
        )
    return media_type, width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk a JPEG's segments to the frame's header (ITU T.81, B.2.2)."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:  # noqa: PLR2004 — a marker's first byte
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # noqa: PLR2004 — frames
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    return 0, 0

"""Colors by number: how light they are, how well one reads on another, and the series' colors.

Sources: WCAG 2.2 (relative luminance, contrast ratio), CIE 1976 (lightness). The series' colors come
from Okabe and Ito's set for color-blind readers, moved lighter or darker until each has a lightness of
its own: a copy in greyscale tells them apart too.
"""

from __future__ import annotations

import re

INK = "#1f2933"
BLACK = "#0b0f14"
SOFT_INK = "#52606d"
WHITE = "#ffffff"
GRID = "#e4e7eb"
MUTED = "#9aa9b8"
READABLE = 4.5  # WCAG 2.2 AA, text of normal size
VISIBLE = 3.0  # WCAG 2.2 AA, lines and shapes
# In the lightness that the eye sees as even steps, 0 to 100.
APART = 7.0

# After a dark accent. The first ones are farthest apart from it and each other, since most charts have
# two or three series. Their lightness: 70, 55, 80, 43, 33, 26.
SERIES = ("#56b4e9", "#16966f", "#edc04b", "#a8480b", "#6d3a75", "#003f6b")

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def is_color(text: str) -> bool:
    """Whether a text is a color as ``#rrggbb``."""
    return bool(_HEX.fullmatch(text))


def contrast(color: str, background: str) -> float:
    """Return the contrast ratio of two ``#rrggbb`` colors, 1 to 21, as WCAG 2.2 defines it."""
    lighter, darker = sorted((luminance(color), luminance(background)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance of a color, 0 to 1, as WCAG 2.2 defines it."""

    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 — WCAG's

    red, green, blue = map(linear, _channels(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def lightness(color: str) -> float:
    """Return how light a color looks, 0 to 100 (CIE L*); equal in color and in a greyscale copy."""
    y = luminance(color)
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y  # noqa: PLR2004 — CIE's


def mixed(color: str, other: str, share: float) -> str:
    """Return a color with a share (0 to 1) of another in it."""
    pairs = zip(_channels(color), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def readable(color: str, background: str, least: float = READABLE) -> str:
    """Return the color, darkened as little as makes it readable on a light background."""
    for step in range(21):
        candidate = mixed(color, INK, step / 20)
        if contrast(candidate, background) >= least:
            return candidate
    return INK


def _channels(color: str) -> tuple[int, ...]:
    return tuple(int(color[at : at + 2], 16) for at in (1, 3, 5))

"""Whose report it is: a name and a color, set once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kimi_provider.exceptions import ConfigurationError

_INK = "#1f2933"
_WHITE = "#ffffff"
_READABLE = 4.5  # WCAG 2 AA, text of normal size


@dataclass(frozen=True)
class Brand:
    """The sender's name and accent color, the same in mail, page and charts.

    :param name: stands above the title and in the footer.
    :param accent: ``#rrggbb``; fills the top band and the charts.
    :raises ConfigurationError: if the color is not written so.
    """

    name: str = "Kimi reports"
    accent: str = "#1d4f91"

    def __post_init__(self) -> None:
        """Find a wrong color before it reaches a style sheet."""
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.accent):
            raise ConfigurationError(
                f"Brand color {self.accent!r} is not a color. Write it as '#rrggbb', such as '#1d4f91'."
            )

    @property
    def accent_text(self) -> str:
        """The accent where it is readable as text on white, else the color of all other text."""
        return self.accent if contrast(self.accent, _WHITE) >= _READABLE else _INK

    @property
    def on_accent(self) -> str:
        """The color of text on the accent: white or dark, whichever reads better."""
        return max(_WHITE, _INK, key=lambda color: contrast(color, self.accent))


def contrast(color: str, background: str) -> float:
    """Return the contrast ratio of two ``#rrggbb`` colors, 1 to 21, as WCAG 2.2 defines it."""
    lighter, darker = sorted((_luminance(color), _luminance(background)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 — WCAG's

    red, green, blue = (linear(int(color[i : i + 2], 16)) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

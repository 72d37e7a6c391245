"""What a host says, made fit for an error message: short, on one line, without secrets or prompt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIMIT = 300
_CUT = "[…]"
# Keys and account ids that hosts put into their messages.
_KEYS = re.compile(r"\b(?:sk|ak|org|proj|key)-[\w*.-]{4,}|Bearer\s+\S+|\S*<ak-[^>]*>", re.IGNORECASE)
# A run of this many characters that also stands in the request is taken for an echo of it.
_WINDOW = 16
_SHORTEST = 6
# Half a window: any run that long holds one that starts at a multiple of it.
_PROBE = _WINDOW // 2


def quote(said: str, secrets: Sequence[str], texts: Sequence[str]) -> str:
    """Return ``said`` cut to a line, without ``secrets`` and without pieces of ``texts``.

    :param said: the host's message.
    :param secrets: values that must not be shown at all.
    :param texts: contents of the request, which some hosts echo.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in said[:4000]).split())
    for secret in secrets:
        if secret:
            line = line.replace(secret, _CUT)
    line = _KEYS.sub(_CUT, line)[: 2 * _LIMIT]
    line = _without_echo(line, texts)
    return line if len(line) <= _LIMIT else f"{line[:_LIMIT]}…"


def _without_echo(line: str, texts: Sequence[str]) -> str:
    flat = [" ".join(text.split()) for text in texts if text]
    # Prompts are long and errors come in storms: a few probes tell that there is no echo.
    probes = [line[start : start + _PROBE] for start in range(0, len(line) - _PROBE + 1, _PROBE)]
    if not any(probe in text for text in flat for probe in probes) and not any(
        len(text) < _WINDOW and text in line for text in flat
    ):
        return line
    for text in flat:
        if _SHORTEST <= len(text) < _WINDOW:
            line = line.replace(text, _CUT)
    long = [text for text in flat if len(text) >= _WINDOW]
    echoed = bytearray(len(line))
    for start in range(len(line) - _WINDOW + 1):
        piece = line[start : start + _WINDOW]
        if any(piece in text for text in long):
            echoed[start : start + _WINDOW] = b"\x01" * _WINDOW
    kept = "".join("\x00" if hit else c for c, hit in zip(line, echoed, strict=True))
    return re.sub("\x00+", _CUT, kept)

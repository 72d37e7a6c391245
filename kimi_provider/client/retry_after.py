"""How long a host asks to wait: header in seconds or as a date, or in the wording of its message."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPAN = r"(\d+(?:\.\d+)?)\s*(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|秒)(?![a-z])"
_PIECE = re.compile(_SPAN, re.IGNORECASE)
# "after 3 seconds", "in 1m12.5s", "wait for 30 seconds".
_WORDING = re.compile(
    rf"(?:\b(?:after|in|wait(?:\s+for)?)\s+|请在\s*|等待\s*)((?:{_SPAN}\s*)+)", re.IGNORECASE
)
_UNIT = {"m": 60.0, "s": 1.0, "h": 3600.0, "秒": 1.0}


def retry_after(
    headers: Mapping[str, str], message: str = "", told: float | None = None
) -> float | None:
    """Return the seconds to wait, ``None`` where the host does not say.

    :param headers: the answer's headers; a date is measured against its own ``Date``, so that a
        wrong clock on either side does no harm.
    :param message: the error's text, read where nothing else says ("please try again after 3 seconds").
    :param told: seconds that a field of the error's body says.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _seconds(value.strip(), headers.get("date"))
        if seconds is not None:
            return max(0.0, seconds * scale)
    if told is not None:
        return told
    found = _WORDING.search(message)
    if found is None:
        return None
    return sum(float(number) * _scale(unit.lower()) for number, unit in _PIECE.findall(found[1]))


def _scale(unit: str) -> float:
    return 0.001 if unit.startswith(("ms", "milli")) else _UNIT[unit[0]]


def _seconds(value: str, date: str | None) -> float | None:
    try:
        number = float(value)
    except ValueError:
        pass
    else:
        return number if math.isfinite(number) else None
    try:
        until = parsedate_to_datetime(value)
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        return (until - now).total_seconds()
    except (TypeError, ValueError):
        return None

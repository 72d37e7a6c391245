"""How long a host asks to wait: header in seconds or as a date, or in the wording of its message."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDING = re.compile(
    r"\b(?:after|in)\s+(\d+(?:\.\d+)?)\s*(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h)\b",
    re.IGNORECASE,
)
_UNIT = {"mi": 60.0, "m": 60.0, "s": 1.0, "h": 3600.0}


def retry_after(headers: Mapping[str, str], message: str = "") -> float | None:
    """Return the seconds to wait, ``None`` where the host does not say.

    :param headers: the answer's headers; a date is measured against its own ``Date``, so that a
        wrong clock on either side does no harm.
    :param message: the error's text, read where no header says ("please try again after 3 seconds").
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _seconds(value.strip(), headers.get("date"))
        if seconds is not None:
            return max(0.0, seconds * scale)
    found = _WORDING.search(message)
    if found is None:
        return None
    unit = found[2].lower()
    scale = 0.001 if unit.startswith(("ms", "milli")) else _UNIT[unit[0]]
    return float(found[1]) * scale


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

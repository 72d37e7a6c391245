"""Dates, periods and how long ago they were, as a locale writes them."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from kimi_provider.reports.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from babel import Locale

Length = Literal["medium", "full"]

_DATE = len("2013-02-08")
_WEEK = re.compile(r"(\d{4})-?W(\d{2})")
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_DAYS = {0: "today", -1: "yesterday", -2: "day_before_yesterday", 1: "tomorrow"}
# Further back, how long ago a day was helps nobody.
_RECENT = 14


def moment(text: str, locale: Locale, zone: ZoneInfo, length: Length = "medium") -> str:
    """Print an ISO 8601 date, time, month or interval; any other text comes back as one clean line."""
    from babel import dates

    try:
        if "/" in text:
            first, last = (date.fromisoformat(part.strip()) for part in text.split("/"))
            return one_line(dates.format_interval(first, last, "yMMMd", locale=locale))
        if month := _MONTH.fullmatch(text):
            first = date(int(month[1]), int(month[2]), 1)
            return dates.format_skeleton("yMMMM", first, locale=locale)
        if len(text) <= _DATE:
            return one_line(dates.format_date(date.fromisoformat(text), length, locale=locale))
        return point(datetime.fromisoformat(text), locale, zone)
    except ValueError:
        return one_line(text)


def week(text: str, words: Mapping[str, str], locale: Locale) -> str | None:
    """Print an ISO 8601 week with its number and its days; ``None`` if the text is none."""
    from babel import dates

    match = _WEEK.fullmatch(text)
    if match is None:
        return None
    try:
        first = date.fromisocalendar(int(match[1]), int(match[2]), 1)
    except ValueError:
        return None
    days = dates.format_interval(first, first + timedelta(days=6), "yMMMd", locale=locale)
    return one_line(f"{words['week'].format(week=int(match[2]), year=match[1])} ({days})")


def point(instant: datetime, locale: Locale, zone: ZoneInfo) -> str:
    """Print a date and time; in the zone, and naming it, where the time has an offset."""
    from babel import dates

    local = instant if instant.tzinfo is None else instant.astimezone(zone)
    day = dates.format_date(local, "medium", locale=locale)
    hour = dates.format_time(local.replace(tzinfo=None), "short", locale=locale)
    return " ".join(f"{day}, {hour} {local.tzname() or ''}".split())


def relative(text: str, today: date, words: Mapping[str, str], locale: Locale) -> str:
    """Say how long ago a day or a week was: ``yesterday``, ``last week``, ``3 days ago``.

    :param text: an ISO 8601 date or week.
    :param today: the day on which the text is read.
    :return: empty for what is neither, and for what is more than two weeks away.
    """
    from babel import dates

    match = _WEEK.fullmatch(text)
    try:
        if match:
            first = date.fromisocalendar(int(match[1]), int(match[2]), 1)
            monday = today - timedelta(days=today.weekday())
            return words["last_week"] if monday - first == timedelta(days=7) else ""
        days = (date.fromisoformat(text) - today).days
    except ValueError:
        return ""
    if days in _DAYS:
        return words[_DAYS[days]]
    if abs(days) > _RECENT:
        return ""
    return dates.format_timedelta(
        timedelta(days=days), granularity="day", threshold=99, add_direction=True, locale=locale
    )

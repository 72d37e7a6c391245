"""Hours in which a receiver may be told: by weekday, time of day, holiday and time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BUSINESS_DAYS = DAYS[:5]


@dataclass(frozen=True)
class Hours:
    """When a receiver may be told; what happens in between is told when they come, if it still holds.

    :param timezone: an IANA name (``Europe/Berlin``); the times are those of its clocks, summer and
        winter.
    :param start: first time of day, ``HH:MM``.
    :param end: time of day from which nobody is told any more, ``HH:MM``; ``24:00`` for midnight. An end
        before the start goes over midnight, and belongs to the day on which it starts.
    :param days: ``mon`` to ``sun``; by default business days.
    :param holidays: dates (``2026-12-25``) on which nobody is told.
    :raises ConfigurationError: if a name, a day or a time is not known.
    """

    timezone: str
    start: str = "00:00"
    end: str = "24:00"
    days: Sequence[str] = BUSINESS_DAYS
    holidays: Sequence[str | date] = ()

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigurationError(
                f"There is no time zone {self.timezone!r}; use an IANA name such as Europe/Berlin."
            ) from None
        unknown = [day for day in self.days if day not in DAYS]
        if unknown or not self.days or isinstance(self.days, str):
            raise ConfigurationError(f"days must be some of {', '.join(DAYS)}; got {self.days!r}.")
        if _minutes(self.start) == _minutes(self.end):
            raise ConfigurationError(f"Hours from {self.start} to {self.end} are none.")
        for holiday in self.holidays:
            _date(holiday)

    def open_at(self, now: datetime) -> bool:
        """Whether the receiver may be told at a moment.

        :param now: the moment, with its time zone.
        """
        # The wall clock is compared, not the time that passed, so that no day of 23 or 25 hours matters.
        local = now.astimezone(ZoneInfo(self.timezone))
        start, end = _minutes(self.start), _minutes(self.end)
        minute = local.hour * 60 + local.minute
        if start < end:
            return start <= minute < end and self._works(local.date())
        if minute >= start:
            return self._works(local.date())
        return minute < end and self._works(date.fromordinal(local.toordinal() - 1))

    def _works(self, day: date) -> bool:
        return DAYS[day.weekday()] in self.days and day not in {_date(one) for one in self.holidays}


def _minutes(text: str) -> int:
    try:
        return 24 * 60 if text == "24:00" else _since_midnight(time.fromisoformat(text))
    except (ValueError, TypeError):
        raise ConfigurationError(f"A time of day is HH:MM; got {text!r}.") from None


def _since_midnight(moment: time) -> int:
    return moment.hour * 60 + moment.minute


def _date(day: str | date) -> date:
    try:
        return day if isinstance(day, date) else date.fromisoformat(day)
    except (ValueError, TypeError):
        raise ConfigurationError(f"A holiday is a date such as 2026-12-25; got {day!r}.") from None

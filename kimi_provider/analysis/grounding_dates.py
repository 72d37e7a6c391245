"""How the days, months and hours that an analysis knows may be written."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

from kimi_provider.analysis.words import MONTHS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ISO_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2})?")
_LONGEST_PERIOD = 92  # days
_LONGEST_GAP = 190  # days between two that are known, within which every month may be named
_LONG_NAMES = [name for names in MONTHS for name in names if len(name) > 3 and name.istitle()]  # noqa: PLR2004 — not "May"
_MONTH_NAME = re.compile(rf"\b(?:{'|'.join(_LONG_NAMES)})\b")
_NOON = 12
_LENGTHS = {"month": range(28, 32), "quarter": range(90, 93), "year": range(365, 367)}
_PERIODS = (
    (
        "month",
        re.compile(rf"\d{{4}}-\d{{2}}|(?:{'|'.join(n for names in MONTHS for n in names)})\.? \d{{4}}"),
    ),
    (
        "quarter",
        re.compile(r"(?:\d{4}[- ]?)?Q[1-4](?: \d{4})?|.*(?:quarter|kwarta)\w*.*", re.IGNORECASE),
    ),
    ("year", re.compile(r"(?:FY ?)?\d{4}")),
)
_QUARTERS = ("first", "second", "third", "fourth")
_WEEKDAYS = (
    ("monday", "poniedziałek", "poniedziałku"),
    ("tuesday", "wtorek", "wtorku"),
    ("wednesday", "środa", "środę", "środy", "środzie"),
    ("thursday", "czwartek", "czwartku"),
    ("friday", "piątek", "piątku"),
    ("saturday", "sobota", "sobotę", "soboty", "sobocie"),
    ("sunday", "niedziela", "niedzielę", "niedzieli"),
)
_WEEKDAY = {name: number for number, names in enumerate(_WEEKDAYS) for name in names}
_DAY_NAME = "|".join(sorted(_WEEKDAY, key=len, reverse=True))


def days_in(text: str) -> set[date]:
    """Return the days that a text names in ISO 8601."""
    days = set()
    for match in _ISO_DATE.finditer(text):
        try:
            days.add(date.fromisoformat(match[0]))
        except ValueError:
            continue
    return days


def span(days: set[date]) -> set[date]:
    """Return the days of a period that is named by its first and last."""
    if len(days) != 2:  # noqa: PLR2004 — first and last
        return days
    first, last = sorted(days)
    length = (last - first).days
    return {first + timedelta(n) for n in range(length + 1)} if length <= _LONGEST_PERIOD else days


def unit_of(period: str) -> str | None:
    """Return whether a period is a ``month``, a ``quarter`` or a ``year``, by its name or its days."""
    days = sorted(days_in(period))
    if days:
        length = (days[-1] - days[0]).days + 1
        return next((unit for unit, lengths in _LENGTHS.items() if length in lengths), None)
    return next((unit for unit, name in _PERIODS if name.fullmatch(period.strip())), None)


def months_outside(text: str, days: Collection[date]) -> Iterator[tuple[int, int, str]]:
    """Return the months that a text names and that none of the known days, nor the next, lies in."""
    if not days:
        return
    known: set[int] = set()
    every = sorted(days)
    for first, last in zip(every, [*every[1:], every[-1] + timedelta(31)], strict=True):
        gap = (last - first).days
        near = gap <= _LONGEST_GAP
        known |= {(first + timedelta(n)).month for n in range(gap + 1)} if near else {first.month}
    for match in _MONTH_NAME.finditer(text):
        number = next(n for n, names in enumerate(MONTHS, start=1) if match[0] in names)
        if number not in known:
            yield *match.span(), "the period and what it is compared with lie elsewhere"


def spellings(day: date) -> Iterator[str]:
    """Return patterns of the common ways to write a day with its year, longest first."""
    year, month, number = f"{day:%Y}", rf"0?{day.month}", rf"0?{day.day}"
    names = "|".join(sorted(map(re.escape, MONTHS[day.month - 1]), key=len, reverse=True))
    name, ordinal = rf"(?:{names})\.?", rf"{number}(?:st|nd|rd|th|\.)?"
    yield day.isoformat()
    yield rf"{year}/{month}/{number}"
    yield rf"{number}\.\s?{month}\.\s?{year}"
    yield rf"{number}/{month}/{year}"
    yield rf"{month}/{number}/{year}"
    yield rf"{ordinal}(?: of)? {name},? {year}"
    yield rf"{name} {ordinal},? {year}"
    yield rf"{name} {year}"


def spellings_without_year(day: date) -> Iterator[str]:
    """Return patterns of a day and its month alone; they come behind those of all days with years."""
    names = "|".join(sorted(map(re.escape, MONTHS[day.month - 1]), key=len, reverse=True))
    name, ordinal = rf"(?:{names})\.?", rf"0?{day.day}(?:st|nd|rd|th|\.)?"
    yield rf"{ordinal}(?: of)? {name}"
    yield rf"{name} {ordinal}"


def months(text: str) -> Iterator[str]:
    """Return patterns of the ways to write a month that the data names as ``2024-03``."""
    match = _MONTH.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= len(MONTHS):
        return
    names = "|".join(sorted(map(re.escape, MONTHS[int(match[2]) - 1]), key=len, reverse=True))
    yield rf"(?:{names})\.?,? {match[1]}"
    yield rf"{match[2]}[./]{match[1]}"


def month_names(text: str) -> tuple[str, ...]:
    """Return the names, in lower case, of a month that the data names as ``2024-03``."""
    match = _MONTH.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= len(MONTHS):
        return ()
    return tuple(name.casefold() for name in MONTHS[int(match[2]) - 1])


def clocks(text: str) -> Iterator[str]:
    """Return patterns of the ways to write a time of day that the data names as ``17:00``."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return
    hour, minute = int(match[1]), match[2]
    half = "p" if hour >= _NOON else "a"
    minutes = "(?::00)?" if minute == "00" else f":{minute}"
    yield rf"{hour % _NOON or _NOON}{minutes}\s?{half}\.?m\b\.?"
    yield rf"(?:godz(?:\.|in[aęy]|inie)|hour) 0?{hour}(?:[:.]{minute})?"
    yield rf"0?{hour}[:.h]{minute}"
    if minute == "00":
        yield rf"0?{hour} ?h"


def parts_of_period(period: str, *, by_quarter: bool) -> Iterator[str]:
    """Return patterns of the names that are part of a period's: "Q1" of "Q1 2024", "week 23".

    :param by_quarter: whether it is compared with the quarter before, which may then be named too.
    """
    for match in re.finditer(r"\b[A-Za-z]{1,2}\d{1,2}\b|\b(?:week|tydzie[nń]) \d{1,2}\b", period):
        yield re.escape(match[0])
    quarter = re.search(r"\bQ([1-4])\b", period)
    if quarter:
        yield (
            rf"Q{quarter[1]}(?:,? (?:of )?\d{{4}})?"
            if not re.search(r"\d{4}", period)
            else _dated(f"Q{quarter[1]}", period)
        )
        yield rf"{_QUARTERS[int(quarter[1]) - 1]} quarter"
        if by_quarter:
            before = (int(quarter[1]) - 2) % len(_QUARTERS) + 1
            year = re.search(r"\d{4}", period)
            earlier = int(year[0]) - (before == len(_QUARTERS)) if year else 0
            yield rf"Q{before}(?:,? (?:of )?{earlier})?"


def _dated(name: str, period: str) -> str:
    year = re.search(r"\d{4}", period)
    return rf"{name}(?:,? (?:of )?{year[0]})?" if year else name


def wrong_weekdays(text: str, days: Collection[date]) -> Iterator[tuple[int, int, str]]:
    """Return where a weekday stands beside one of the days and is not that day's, with a hint."""
    named = list(re.finditer(rf"\b(?:{_DAY_NAME})\b", text, re.IGNORECASE))
    if not named:
        return
    for day in days:
        written = "|".join((*spellings(day), *spellings_without_year(day)))
        for match in named:
            after = re.match(
                rf"[,(]?\s\(?(?:the )?(?:{written})(?![\w-])", text[match.end() :], re.IGNORECASE
            )
            if after and _WEEKDAY[match[0].casefold()] != day.weekday():
                yield match.start(), match.end() + after.end(), f"{day} is a {day:%A}"

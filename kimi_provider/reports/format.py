"""Facts as text: numbers, percents, money, durations and dates, as a locale writes them."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.reports.text import one_line
from kimi_provider.reports.words import words
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from babel import Locale
    from babel.numbers import NumberPattern

    from kimi_provider.schemas import Fact

_MINUS = "\N{MINUS SIGN}"
# Beyond these a figure with all its digits tells nobody anything, and breaks every layout.
_COMPACT_FROM = Decimal(10) ** 12
_SCIENTIFIC_FROM = Decimal(10) ** 15
_DELTA = ".delta"
_DURATIONS = {Unit.MINUTES: "duration-minute", Unit.SECONDS: "duration-second"}


class Style(StrEnum):
    """How to print a fact; all but ``plain`` can be asked for in a reference, ``[[id|signed]]``.

    A style never changes what a figure means: where it does not fit the unit, it changes nothing.
    """

    PROSE = "prose"  # within a sentence: a change has no sign, since the words say its direction
    PLAIN = "plain"  # on its own: every value with its sign if it is negative
    SIGNED = "signed"  # always with its sign
    PERCENT = "percent"  # as prose; says that the model expects a percent
    NUMBER = "number"  # without its unit
    ROUNDED = "rounded"  # without decimals
    COMPACT = "compact"  # 1.2M


@dataclass(frozen=True)
class Formatter:
    """Prints values for one locale and time zone.

    :param locale: Unicode or POSIX name, ``en``, ``en_GB``, ``pl-PL``.
    :param timezone: IANA name; times that have an offset are shown in it, with its name.
    :raises ConfigurationError: if either is not known.
    """

    locale: str = "en"
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        """Look both up, so that a wrong one is found at once."""
        _ = self._locale, self._zone

    @cached_property
    def words(self) -> Mapping[str, str]:
        """The fixed words in this locale's language."""
        return words(self.locale)

    @cached_property
    def _locale(self) -> Locale:
        from babel import Locale, UnknownLocaleError

        try:
            return Locale.parse(self.locale.replace("-", "_"))
        except (UnknownLocaleError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"Locale {self.locale!r} is not known. Name one such as 'en', 'en_GB' or 'pl'."
            ) from error

    @cached_property
    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.timezone)
        except (LookupError, ValueError, OSError) as error:
            raise ConfigurationError(
                f"Time zone {self.timezone!r} is not known. Name one such as 'UTC' or 'Europe/Warsaw'."
            ) from error

    def fact(self, fact: Fact, style: Style = Style.PROSE) -> str:
        """Print a fact's value.

        :return: one line; ``n/a`` where the data has no value.
        """
        value = fact.value
        if value is None:
            return self.words["no_value"]
        if isinstance(value, str):
            return self.moment(value) if fact.unit is Unit.DATE else one_line(value)
        # By contract the change of a share is cited as "{fact}.{comparison}.delta": it is in points.
        points = fact.change and fact.unit is Unit.PERCENT and fact.id.endswith(_DELTA)
        unsigned = fact.change and style not in (Style.SIGNED, Style.PLAIN)
        return self.number(
            abs(value) if unsigned else value,
            fact.unit,
            unit_label=fact.unit_label,
            decimals=0 if style is Style.ROUNDED else fact.decimals,
            style=style,
            points=points,
        )

    def number(
        self,
        value: Decimal,
        unit: Unit,
        *,
        unit_label: str | None = None,
        decimals: int | None = None,
        style: Style = Style.PLAIN,
        points: bool = False,
    ) -> str:
        """Print a number with its unit.

        :param value: a fraction for ``percent``.
        :param unit_label: see :class:`~kimi_provider.schemas.Fact`.
        :param decimals: places to print; ``None``: as usual for the unit and the size.
        :param points: whether a ``percent`` is the difference of two: it prints in percentage points.
        """
        places, least = _usual_decimals(value, unit) if decimals is None else (decimals, decimals)
        label = one_line(unit_label or "", 20)
        body = self._body(abs(value), unit, label, (least, places), style=style, points=points)
        if not any(c.isdigit() and int(c) for c in body):
            return body
        if value < 0:
            return _MINUS + body
        return "+" + body if style is Style.SIGNED else body

    def _body(
        self,
        value: Decimal,
        unit: Unit,
        label: str,
        fraction: tuple[int, int],
        *,
        style: Style,
        points: bool,
    ) -> str:
        """Print a number that is not negative."""
        plain = self._plain(value * 100 if points else value, fraction, compact=style is Style.COMPACT)
        huge = value >= _COMPACT_FROM
        body = plain
        if points:
            short = style in (Style.SIGNED, Style.PLAIN)
            body = f"{plain} {self.words['percentage_points_short' if short else 'percentage_points']}"
        elif unit is Unit.PERCENT:
            body = f"{self._plain(value * 100, fraction)}%" if huge else self._percent(value, fraction)
        elif style is Style.NUMBER:
            pass
        elif unit is Unit.CURRENCY:
            rounded = huge or style is Style.COMPACT
            body = f"{plain} {label}".rstrip() if rounded else self._money(value, label, fraction)
        elif unit in _DURATIONS:
            body = f"{plain} {unit.value}" if huge else self._duration(value, unit, fraction[1])
        elif unit is Unit.OTHER:
            body = f"{plain} {label}".rstrip()
        return body

    def _percent(self, value: Decimal, fraction: tuple[int, int]) -> str:
        pattern = _with_decimals(self._locale.percent_formats[None], fraction)
        return str(pattern.apply(value, self._locale))

    def _money(self, value: Decimal, code: str, fraction: tuple[int, int]) -> str:
        pattern = _with_decimals(self._locale.currency_formats["standard"], fraction)
        text = pattern.apply(value, self._locale, currency=code or "USD", currency_digits=False)
        return str(text)

    def _duration(self, value: Decimal, unit: Unit, places: int) -> str:
        from babel import units

        digits = "#,##0." + "0" * places if places else "#,##0"
        return units.format_unit(
            value, _DURATIONS[unit], length="short", format=digits, locale=self._locale
        )

    def _plain(self, value: Decimal, fraction: tuple[int, int], *, compact: bool = False) -> str:
        from babel import numbers

        if value >= _SCIENTIFIC_FROM:
            return numbers.format_scientific(value, format="0.##E0", locale=self._locale)
        if value >= _COMPACT_FROM or (compact and value >= 1000):  # noqa: PLR2004 — a thousand
            return numbers.format_compact_decimal(value, fraction_digits=2, locale=self._locale)
        pattern = _with_decimals(self._locale.decimal_formats[None], fraction)
        return str(pattern.apply(value, self._locale))

    def count(self, value: int) -> str:
        """Print a whole number."""
        return self.number(Decimal(value), Unit.COUNT)

    def unit_heading(self, unit: Unit, unit_label: str | None) -> str:
        """Return what stands for the unit once over a column or an axis; empty where it needs none."""
        if unit in _DURATIONS:
            return self.number(Decimal(2), unit, decimals=0).replace("2", "").strip()
        if unit is Unit.OTHER:
            return one_line(unit_label or "", 20)
        return ""

    def moment(self, text: str, length: Literal["medium", "full"] = "medium") -> str:
        """Print an ISO 8601 date or time; text that is neither comes back as one clean line."""
        from babel import dates

        try:
            if len(text) <= len("2013-02-08"):
                return dates.format_date(date.fromisoformat(text), length, locale=self._locale)
            moment = datetime.fromisoformat(text)
        except ValueError:
            return one_line(text)
        return self.time(moment)

    def time(self, moment: datetime) -> str:
        """Print a date and time; in the report's zone, and naming it, where the moment has an offset."""
        from babel import dates

        local = moment if moment.tzinfo is None else moment.astimezone(self._zone)
        day = dates.format_date(local, "medium", locale=self._locale)
        hour = dates.format_time(local.replace(tzinfo=None), "short", locale=self._locale)
        return one_line(f"{day}, {hour} {local.tzname() or ''}")


def _with_decimals(pattern: NumberPattern, fraction: tuple[int, int]) -> NumberPattern:
    """Return the locale's way to write a number with our (least, most) decimals."""
    changed = copy(pattern)
    changed.frac_prec = fraction
    return changed


def _usual_decimals(value: Decimal, unit: Unit) -> tuple[int, int]:
    """Return (most, least) decimals for a unit where the metric does not say."""
    size = abs(value)
    if unit is Unit.COUNT:
        return 0, 0
    if unit is Unit.PERCENT:
        return (1, 1) if size < 1 else (0, 0)
    if unit is Unit.CURRENCY:
        whole = value == value.to_integral_value() or size >= 1000  # noqa: PLR2004 — cents no longer matter
        return (0, 0) if whole else (2, 2)
    if unit in _DURATIONS:
        return 1, 1
    return (2, 0) if size >= 1 or not size else (4, 0)

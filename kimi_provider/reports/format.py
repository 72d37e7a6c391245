"""Facts as text: numbers, percents, money, durations and dates, as a locale writes them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.reports import moments, patterns
from kimi_provider.reports.text import one_line, strip_hidden
from kimi_provider.reports.words import LANGUAGES, form, words
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from babel import Locale

    from kimi_provider.reports.document import Direction
    from kimi_provider.schemas import Fact, TableColumn

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
                f"Locale {self.locale!r} is not known. Every locale of Unicode's CLDR is, such as "
                f"'en_GB', 'de' or 'ar'; the fixed words are there in: {', '.join(LANGUAGES)}."
            ) from error

    @property
    def direction(self) -> Direction:
        """Which way the locale's language is written."""
        return "rtl" if self._locale.text_direction == "rtl" else "ltr"

    @property
    def tag(self) -> str:
        """The locale as a BCP 47 tag, for ``lang``."""
        return str(self._locale).replace("_", "-")

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
            pattern=fact.format,
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
        pattern: str | None = None,
    ) -> str:
        """Print a number with its unit.

        :param value: a fraction for ``percent``.
        :param unit_label: see :class:`~kimi_provider.schemas.Fact`.
        :param decimals: places to print; ``None``: as usual for the unit and the size.
        :param points: whether a ``percent`` is the difference of two: it prints in percentage points.
        :param pattern: a number pattern of Unicode's LDML, in place of unit and decimals; points keep
            their words and take its decimals.
        :raises ConfigurationError: if the pattern is none.
        """
        own = patterns.parsed(pattern) if pattern else None
        if own is not None and (points or style in (Style.ROUNDED, Style.COMPACT)):
            least, places = (0, 0) if style is Style.ROUNDED else own.frac_prec
            own = None
        else:
            places, least = (
                patterns.usual_decimals(value, unit) if decimals is None else (decimals, decimals)
            )
        label = one_line(unit_label or "", 20)
        if own is not None and abs(value) < _SCIENTIFIC_FROM:
            currency = (label or "USD") if "\xa4" in own.pattern else None
            body = one_line(
                own.apply(abs(value), self._locale, currency=currency, currency_digits=False)
            )
        else:
            body = self._body(abs(value), unit, label, (least, places), style=style, points=points)
        if self.direction == "rtl":
            body = strip_hidden(
                body
            )  # the marks that CLDR adds would turn the sign away from its number
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
            shown = round(value * 100, fraction[1])
            name = "percentage_points_short" if short else "percentage_points"
            body = f"{plain} {form(self.words, name, shown)}"
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
        pattern = patterns.with_decimals(self._locale.percent_formats[None], fraction)
        return str(pattern.apply(value, self._locale))

    def _money(self, value: Decimal, code: str, fraction: tuple[int, int]) -> str:
        pattern = patterns.with_decimals(self._locale.currency_formats["standard"], fraction)
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
        pattern = patterns.with_decimals(self._locale.decimal_formats[None], fraction)
        return str(pattern.apply(value, self._locale))

    def count(self, value: int) -> str:
        """Print a whole number."""
        return self.number(Decimal(value), Unit.COUNT)

    def counted(self, name: str, number: int, **fields: str) -> str:
        """Print the fixed word that goes with a number, with it as ``{count}``: ``and 214 more``."""
        return form(self.words, name, number).format(count=self.count(number), **fields)

    def unit_heading(self, unit: Unit, unit_label: str | None) -> str:
        """Return what stands for the unit once over a column or an axis; empty where it needs none."""
        if unit in _DURATIONS:
            return self.number(Decimal(2), unit, decimals=0).replace("2", "").strip()
        if unit is Unit.OTHER:
            return one_line(unit_label or "", 20)
        return ""

    def spreadsheet(self, column: Fact | TableColumn, *, whole: bool) -> str:
        """Return a spreadsheet's number format for a fact or a column.

        :param whole: whether all values are whole numbers.
        """
        return patterns.spreadsheet(column, self._locale, whole=whole)

    def moment(self, text: str, length: moments.Length = "medium") -> str:
        """Print an ISO 8601 date, time, week, month or interval; other text comes back as one line."""
        week = moments.week(text, self.words, self._locale)
        return week or moments.moment(text, self._locale, self._zone, length)

    def time(self, moment: datetime) -> str:
        """Print a date and time; in the report's zone, and naming it, where the moment has an offset."""
        return moments.point(moment, self._locale, self._zone)

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the report's zone, without the offset, as a spreadsheet holds it."""
        return moment if moment.tzinfo is None else moment.astimezone(self._zone).replace(tzinfo=None)

    def relative(self, text: str, now: datetime) -> str:
        """Say how long before a moment an ISO 8601 date or week was; empty where that says nothing."""
        return moments.relative(text, self.local(now).date(), self.words, self._locale)

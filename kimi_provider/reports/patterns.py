"""Patterns of numbers: a locale's own, a fact's own, and what spreadsheets make of them."""

from __future__ import annotations

import re
from copy import copy
from typing import TYPE_CHECKING

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.reports.text import one_line
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from decimal import Decimal

    from babel import Locale
    from babel.numbers import NumberPattern

    from kimi_provider.schemas import Fact, TableColumn

_CURRENCY_SIGN = "\xa4"


def parsed(pattern: str) -> NumberPattern:
    """Read a number pattern of Unicode's LDML.

    :raises ConfigurationError: if it is none.
    """
    from babel.numbers import parse_pattern

    try:
        if not set("#0@") & set(pattern):
            raise ValueError(pattern)  # noqa: TRY301 — Babel takes a pattern without a number
        return parse_pattern(pattern)
    except ValueError as error:
        raise ConfigurationError(
            f"Number format {one_line(pattern, 40)!r} is not a pattern of Unicode's LDML. "
            "Write one such as '#,##0.00' or '0.0%'."
        ) from error


def spreadsheet(column: Fact | TableColumn, locale: Locale, *, whole: bool) -> str:
    """Return a spreadsheet's number format (ECMA-376, 18.8.31) for a fact or a column.

    :param whole: whether all values are whole numbers.

    Separators are the reader's own, by the format's definition; where money's symbol stands is ours.
    """
    from babel.numbers import get_currency_symbol

    symbol = f'"{get_currency_symbol(column.unit_label or "USD", locale)}"'
    if column.format:
        return re.sub("'([^']*)'", r'"\1"', column.format).replace(_CURRENCY_SIGN, symbol)
    usual = {Unit.COUNT: 0, Unit.PERCENT: 1, Unit.MINUTES: 1, Unit.SECONDS: 1}
    places = column.decimals
    if places is None:
        places = usual.get(column.unit, 0 if whole else 2)
    digits = "#,##0" + ("." + "0" * places if places else "")
    if column.unit is Unit.PERCENT:
        return digits + "%"
    if column.unit is Unit.CURRENCY:
        layout = locale.currency_formats["standard"].pattern.split(";")[0]
        return re.sub("[#0,.]+", digits, layout).replace(_CURRENCY_SIGN, symbol)
    return digits


def with_decimals(pattern: NumberPattern, fraction: tuple[int, int]) -> NumberPattern:
    """Return the locale's way to write a number with our (least, most) decimals."""
    changed = copy(pattern)
    changed.frac_prec = fraction
    return changed


def usual_decimals(value: Decimal, unit: Unit) -> tuple[int, int]:
    """Return (most, least) decimals for a unit where the metric does not say."""
    size = abs(value)
    if unit is Unit.COUNT:
        return 0, 0
    if unit is Unit.PERCENT:
        return (1, 1) if size < 1 else (0, 0)
    if unit is Unit.CURRENCY:
        whole = value == value.to_integral_value() or size >= 1000  # noqa: PLR2004 — cents no longer matter
        return (0, 0) if whole else (2, 2)
    if unit in (Unit.MINUTES, Unit.SECONDS):
        return 1, 1
    return (2, 0) if size >= 1 or not size else (4, 0)

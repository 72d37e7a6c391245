"""The words of the automatic profile, by language."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENGLISH = {
    "rows": "Rows of {name}",
    "count": "Rows",
    "first": "First {name}",
    "last": "Last {name}",
    "sum": "Total {name}",
    "avg": "Average {name}",
    "share": "Share with {name}",
    "median": "Median {name}",
    "min": "Lowest {name}",
    "max": "Highest {name}",
    "by": "By {name}",
    "by_day": "By day",
    "by_week": "By week",
    "by_month": "By month",
    "by_year": "By year",
    "day": "Day",
    "week": "Week",
    "month": "Month",
    "year": "Year",
    "movers": "What changed most by {name}",
    "columns": "Completeness of the columns",
    "column": "Column",
    "missing": "Values missing",
    "missing_share": "Share missing",
    "distinct": "Different values",
    "distinct_estimated": "Different values, estimated",
    "outliers": "Outliers",
    "outlier_rows": "Rows far from the rest",
    "outlier_share": "Share far from the rest",
    "typical": "Typical value",
    "usual_from": "Usual from",
    "usual_to": "Usual up to",
    "least": "Lowest",
    "greatest": "Highest",
    "unusual": "Unusual days: {name}",
    "value": "{name} of the day",
    "usual": "Usual {name}",
    "of": "{label} ({name})",
    "day_before": "the day before",
    "week_before": "the week before",
    "month_before": "the month before",
    "year_before": "the year before",
}
_POLISH = {
    "rows": "Liczba wierszy ({name})",
    "count": "Liczba wierszy",
    "first": "Początek ({name})",
    "last": "Koniec ({name})",
    "sum": "Suma ({name})",
    "avg": "Średnia ({name})",
    "share": "Odsetek ({name})",
    "median": "Mediana ({name})",
    "min": "Minimum ({name})",
    "max": "Maksimum ({name})",
    "by": "Według {name}",
    "by_day": "Według dni",
    "by_week": "Według tygodni",
    "by_month": "Według miesięcy",
    "by_year": "Według lat",
    "day": "Dzień",
    "week": "Tydzień",
    "month": "Miesiąc",
    "year": "Rok",
    "movers": "Największe zmiany według {name}",
    "columns": "Kompletność kolumn",
    "column": "Kolumna",
    "missing": "Brakujące wartości",
    "missing_share": "Odsetek braków",
    "distinct": "Różne wartości",
    "distinct_estimated": "Różne wartości, w przybliżeniu",
    "outliers": "Wartości odstające",
    "outlier_rows": "Wiersze odstające",
    "outlier_share": "Odsetek odstających",
    "typical": "Typowa wartość",
    "usual_from": "Zwykle od",
    "usual_to": "Zwykle do",
    "least": "Minimum",
    "greatest": "Maksimum",
    "unusual": "Nietypowe dni: {name}",
    "value": "{name} danego dnia",
    "usual": "Zwykła wartość ({name})",
    "of": "{label} ({name})",
    "day_before": "dzień wcześniej",
    "week_before": "tydzień wcześniej",
    "month_before": "miesiąc wcześniej",
    "year_before": "rok wcześniej",
}
_BY_LANGUAGE = {"en": MappingProxyType(_ENGLISH), "pl": MappingProxyType(_POLISH)}


def automatic_words(language: str) -> Mapping[str, str]:
    """Return the words in a language (``pl``, ``pl-PL``); English where there are none."""
    return _BY_LANGUAGE.get(language.replace("_", "-").partition("-")[0].lower(), _BY_LANGUAGE["en"])

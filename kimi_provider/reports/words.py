"""The fixed words of every report, by language, so that all renderings say the same.

A language that is not here is written in English; its numbers and dates still follow its locale.
A word whose form follows a number has its forms under ``name.category``, by CLDR's plural categories
(Unicode TR 35, part 3); ``name`` itself stands for ``other``, and for every form that is not given.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from kimi_provider.reports import words_charts, words_notices
from kimi_provider.reports.words_en import ENGLISH
from kimi_provider.reports.words_pl import POLISH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

LANGUAGES = {
    "en": MappingProxyType(ENGLISH | words_charts.ENGLISH | words_notices.ENGLISH),
    "pl": MappingProxyType(POLISH | words_charts.POLISH | words_notices.POLISH),
}


def words(locale: str) -> Mapping[str, str]:
    """Return the fixed words in the language of a locale (``en``, ``en_GB``, ``pl-PL``)."""
    language = locale.replace("-", "_").split("_", 1)[0].lower()
    return LANGUAGES.get(language, LANGUAGES["en"])


def form(spoken: Mapping[str, str], name: str, number: Decimal | int) -> str:
    """Return the form of a word that goes with a number: ``kolejne`` for 3, ``kolejnych`` for 214.

    :param spoken: the words of a language, as :func:`words` gives them.
    """
    category = _plural_form(spoken["language"])(abs(number))
    return spoken.get(f"{name}.{category}", spoken[name])


@cache
def _plural_form(language: str):  # type: ignore[no-untyped-def] # noqa: ANN202 — Babel's rule has no public type
    from babel import Locale

    return Locale.parse(language).plural_form

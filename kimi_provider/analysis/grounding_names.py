"""What may stand in a text beside references: names of the data, labels, the period's days."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_dates import (
    clocks,
    days_in,
    months,
    months_outside,
    parts_of_period,
    span,
    spellings,
    spellings_without_year,
    unit_of,
    wrong_weekdays,
)
from kimi_provider.analysis.sanitize import one_line
from kimi_provider.analysis.words import HISTORY, NUMBER_WORDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from kimi_provider.schemas import FactSheet

LINK = re.compile(r"\b(?:https?|ftp|javascript|data|mailto|file):|\bwww\.", re.IGNORECASE)
_ORDINAL = re.compile(
    r"\b(?:1st|2nd|3rd|[4-9]th|10th)\b|\b(?:[1-9]|10)\.(?= (?:miejsc|pozycj|lokat)\w*)|"
    r"\b(?:[1-9]|10)[-.]?(?:szy|sza|sze|gi|ga|gie|ci|cia|cie|ty|ta|te)\b"
)
_PLAIN_NUMBER = re.compile(r"[\d.,\s%+-]+")
_NUMBERED = re.compile(r"(?=.*\d)[^\W\d_]{4,}\s.{1,40}")
_STROKED = str.maketrans("łø", "lo")
_NO_MARKS = dict.fromkeys(range(0x300, 0x370))
_PART = re.compile(r"[^\W_]+")
_YEAR_MONTH = re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])\b")


class Names:
    """What a text may say although it is no reference.

    :param vocabulary: texts whose words are known: the prompt's, and names that were declared.
    """

    def __init__(
        self,
        sheet: FactSheet,
        period: str | None,
        dates: Collection[date],
        vocabulary: Iterable[str] = (),
    ) -> None:
        self._sheet = sheet
        self._period = period
        self._dates = dates
        self._vocabulary = tuple(vocabulary)

    def masked(self, text: str, mark: str) -> str:
        """Return the text with ``mark`` for each character of what it may say."""
        for pattern in self._patterns:
            text = pattern.sub(lambda match: mark * len(match[0]), text)
        return text

    @cached_property
    def words(self) -> frozenset[str]:
        """Return every word, in lower case, that the data, its labels or the prompt use."""
        texts = [*self._vocabulary, *([self._period] if self._period else ())]
        for fact in self._sheet.facts:
            texts += [fact.label, fact.id, fact.period or "", fact.unit_label or ""]
            texts += [comparison.label for comparison in fact.comparisons]
            texts += [fact.value] if isinstance(fact.value, str) else []
        for table in self._sheet.tables:
            texts += [table.label, table.id]
            texts += [text for column in table.columns for text in (column.label, column.name)]
            texts += [text for row in table.rows for text in row]
        return frozenset(word.casefold() for text in texts for word in _PART.findall(text))

    @cached_property
    def kinds_of_rows(self) -> frozenset[str]:
        """Return what the rows of the tables are, such as "department"; in lower case."""
        return frozenset(
            word.casefold()
            for table in self._sheet.tables
            for column in table.columns
            if column.key
            for word in _PART.findall(column.label)
        )

    @cached_property
    def unit(self) -> str | None:
        """Return whether the period is a month, a quarter or a year."""
        return unit_of(self._period or "")

    @cached_property
    def beginnings(self) -> dict[str, set[str]]:
        """Return the known words by their first three letters, for inflected names."""
        found: dict[str, set[str]] = {}
        for word in map(folded, self.words):
            found.setdefault(word[:3], set()).add(word)
        return found

    def weekdays(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Return the weekdays that stand beside a date and are not its own."""
        return wrong_weekdays(text, self._days)

    def months(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Return the months that lie outside all that is known, where the period is known by day."""
        if re.fullmatch(r"\d{4}", self._period or ""):
            return
        for found in months_outside(text, self._days):
            if text[found[0] : found[1]].casefold() not in self.words:
                yield found

    @property
    def _by_quarter(self) -> bool:
        return any("quarter" in c.label for fact in self._sheet.facts for c in fact.comparisons)

    @cached_property
    def _days(self) -> set[date]:
        """The days of the period, those compared with, and those that the data names."""
        days = {*self._dates, *span(days_in(self._period or ""))}
        days |= {date.fromisoformat(f"{m}-01") for m in re.findall(_YEAR_MONTH, self._period or "")}
        for fact in self._sheet.facts:
            days |= days_in(fact.period or "")
            if isinstance(fact.value, str):
                days |= days_in(fact.value)
        for table in self._sheet.tables:
            for position, column in enumerate(table.columns):
                for text in {row[position] for row in table.rows} if column.key else ():
                    days |= days_in(text)
        return days

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        """Return what is allowed, the longest first: a label may hold a name or a date."""
        phrases: set[str] = {self._period} if self._period else set()
        numbered: set[str] = set()
        times: set[str] = set()
        for fact in self._sheet.facts:
            phrases.add(fact.label)
            phrases |= {comparison.label for comparison in fact.comparisons}
        for table in self._sheet.tables:
            phrases |= {table.label, *(column.label for column in table.columns)}
            for position, column in enumerate(table.columns):
                for text in {row[position] for row in table.rows} if column.key else ():
                    times.add(text)
                    if _PLAIN_NUMBER.fullmatch(text):
                        numbered.add(_behind_its_label(column.label, column.name, text))
                    elif _NUMBERED.fullmatch(text):
                        phrases.add(text)
                        numbered.add(_inflected(text))
                    else:
                        phrases.add(text)
        for text in self._vocabulary:
            if len(text) < 80 and "\n" not in text:  # noqa: PLR2004 — a name, not a prompt
                phrases.add(text)
        spelled = sorted({one_line(phrase) for phrase in phrases if _needs_leave(phrase)}, key=len)
        groups = (
            map(re.escape, reversed(spelled)),
            numbered,
            (
                *(w for day in sorted(self._days) for w in spellings(day)),
                *(w for day in sorted(self._days) for w in spellings_without_year(day)),
                *(w for text in sorted(times) for w in (*clocks(text), *months(text))),
                *parts_of_period(self._period or "", by_quarter=self._by_quarter),
            ),
        )
        found = ("|".join(group) for group in groups)
        return (
            *(re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) for words in found if words),
            _ORDINAL,
        )


def folded(word: str) -> str:
    """Return a word without its accents, which come and go as Polish declines it: "Łódź", "Łodzi"."""
    return unicodedata.normalize("NFD", word.translate(_STROKED)).translate(_NO_MARKS)


def _inflected(name: str) -> str:
    """Return the pattern of a name with a number in it, whose words Polish declines: "Tramwajem 17"."""
    words = []
    for word in name.split():
        stem = word.rstrip("aeiouyąę") if word.isalpha() and len(word) > 3 else word  # noqa: PLR2004
        words.append(re.escape(stem) + (r"\w{0,4}" if word.isalpha() else ""))
    return r"\s".join(words)


def _behind_its_label(label: str, name: str, text: str) -> str:
    """Return the pattern of a name that is a bare number: "store 12", "model 737", "the 737s".

    Anywhere else it would let any figure pass that happens to be somebody's number.
    """
    words = {word for word in _PART.findall(f"{label} {name}") if len(word) > 1 and not word.isdigit()}
    heads = "|".join(sorted({re.escape(label), re.escape(name), *map(re.escape, words)}, key=len)[::-1])
    number = re.escape(text)
    behind = (
        rf"(?:{heads})(?:s|es|ów|y|i|ie)?(?:\s(?:no\.?|nr|number|numer))?\s+#?{number}(?:s|-?\w{{1,3}})?"
    )
    if len(text) < 3 or not text.isdigit():  # noqa: PLR2004 — a short number is a count too often
        return behind
    return rf"{behind}|(?<=\bthe ){number}s?(?= (?:is|was|has|had|fleet|type|model|came|stands|stood)\b)"


@lru_cache(maxsize=8192)
def _needs_leave(phrase: str) -> bool:
    """Whether a phrase holds anything that a check could take offense at."""
    signs = any(unicodedata.category(c)[0] == "N" or c in "[]{}<>&`" for c in phrase)
    return signs or any(pattern.search(phrase) for pattern in (LINK, NUMBER_WORDS, HISTORY))

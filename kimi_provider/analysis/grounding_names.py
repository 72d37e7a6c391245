"""What may stand in a text beside references: names of the data, labels, the period's days."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from kimi_provider.analysis.sanitize import one_line
from kimi_provider.analysis.words import HISTORY, MONTHS, NUMBER_WORDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from kimi_provider.schemas import FactSheet

LINK = re.compile(r"\b(?:https?|ftp|javascript|data|mailto|file):|\bwww\.", re.IGNORECASE)
_ORDINAL = re.compile(
    r"\b(?:1st|2nd|3rd|[4-9]th|10th)\b|\b(?:[1-9]|10)\.(?= (?:miejsc|pozycj|lokat)\w*)|"
    r"\b(?:[1-9]|10)[-.]?(?:szy|sza|sze|gi|ga|gie|ci|cia|cie|ty|ta|te)\b"
)
_PLAIN_NUMBER = re.compile(r"[\d.,\s%+-]+")
_ISO_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_LONGEST_PERIOD = 92  # days
_PART = re.compile(r"[^\W_]+")


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
    def beginnings(self) -> dict[str, set[str]]:
        """Return the known words by their first three letters, for inflected names."""
        found: dict[str, set[str]] = {}
        for word in self.words:
            found.setdefault(word[:3], set()).add(word)
        return found

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        """Return what is allowed, the longest first: a label may hold a name or a date."""
        phrases: set[str] = {self._period} if self._period else set()
        numbered: set[str] = set()
        days = {*self._dates, *_span(_days(self._period or ""))}
        for fact in self._sheet.facts:
            phrases.add(fact.label)
            phrases |= {comparison.label for comparison in fact.comparisons}
            days |= _days(fact.period or "")
            if isinstance(fact.value, str):
                days |= _days(fact.value)
        for table in self._sheet.tables:
            phrases |= {table.label, *(column.label for column in table.columns)}
            for position, column in enumerate(table.columns):
                for text in {row[position] for row in table.rows} if column.key else ():
                    days |= _days(text)
                    if _PLAIN_NUMBER.fullmatch(text):
                        numbered.add(_behind_its_label(column.label, column.name, text))
                    else:
                        phrases.add(text)
        for text in self._vocabulary:
            if len(text) < 80 and "\n" not in text:  # noqa: PLR2004 — a name, not a prompt
                phrases.add(text)
        spelled = sorted({one_line(phrase) for phrase in phrases if _needs_leave(phrase)}, key=len)
        groups = (
            map(re.escape, reversed(spelled)),
            numbered,
            (w for day in sorted(days) for w in _spellings(day)),
        )
        found = ("|".join(group) for group in groups)
        return (
            *(re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) for words in found if words),
            _ORDINAL,
        )


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


def _needs_leave(phrase: str) -> bool:
    """Whether a phrase holds anything that a check could take offense at."""
    signs = any(unicodedata.category(c)[0] == "N" or c in "[]{}<>&`" for c in phrase)
    return signs or any(pattern.search(phrase) for pattern in (LINK, NUMBER_WORDS, HISTORY))


def _days(text: str) -> set[date]:
    days = set()
    for match in _ISO_DATE.finditer(text):
        try:
            days.add(date.fromisoformat(match[0]))
        except ValueError:
            continue
    return days


def _span(days: set[date]) -> set[date]:
    """Return the days of a period that is named by its first and last."""
    if len(days) != 2:  # noqa: PLR2004 — first and last
        return days
    first, last = sorted(days)
    length = (last - first).days
    return {first + timedelta(n) for n in range(length + 1)} if length <= _LONGEST_PERIOD else days


def _spellings(day: date) -> Iterator[str]:
    """Return patterns of the common ways to write a day, longest first; a day without year too."""
    year, month, number = f"{day:%Y}", rf"0?{day.month}", rf"0?{day.day}"
    names = "|".join(sorted(map(re.escape, MONTHS[day.month - 1]), key=len, reverse=True))
    name, ordinal = rf"(?:{names})\.?", rf"{number}(?:st|nd|rd|th|\.)?"
    yield day.isoformat()
    yield rf"{year}/{month}/{number}"
    yield rf"{number}\.\s?{month}\.\s?{year}"
    yield rf"{number}/{month}/{year}"
    yield rf"{month}/{number}/{year}"
    yield rf"{ordinal}(?: of)? {name}(?:,? {year})?"
    yield rf"{name} {ordinal}(?:,? {year})?"
    yield rf"{name} {year}"

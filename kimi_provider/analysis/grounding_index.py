"""The facts as the checks look them up: by what a sentence calls them, by row, by column."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_comparisons import Comparisons
from kimi_provider.analysis.grounding_dates import month_names
from kimi_provider.analysis.sheet_csv import as_shown
from kimi_provider.analysis.words_english import is_common
from kimi_provider.analysis.words_list import word_set
from kimi_provider.analysis.words_roles import BRANDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kimi_provider.analysis.grounding_text import Sentence, Token
    from kimi_provider.schemas import Fact, FactSheet, FactTable

_STEM = 5  # letters
_SHORT = 3  # letters
_WORD = re.compile(r"[^\W_]+")
_GENERIC = word_set("""
    avera total share rates numbe count perce minut secon propo value figur secto measu liczb
    time rate days with than more less from over open late each peak fall high
    śred średn udzia odset łączn wartoś wskaź
""")
_TIME = re.compile(r"\d{4}-\d{2}|\d{1,2}:\d{2}")
_TIME_NAMES = ("date", "day", "week", "month", "year", "hour", "time", "quarter", "dzień", "miesiąc")


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a fact stands in a table."""

    table: FactTable
    row: int
    column: int


class FactIndex:
    """Looks facts up for the checks; built once for all texts of an answer."""

    def __init__(self, sheet: FactSheet) -> None:
        self.sheet = sheet
        self.facts: dict[str, Fact] = {fact.id: fact for fact in sheet.facts}
        self.comparisons = Comparisons(sheet)
        # A sentence is asked about once for each of its claims.
        self._rows_in = lru_cache(maxsize=256)(self._find_rows)
        self._called_by = lru_cache(maxsize=256)(self._find_called)
        self._labelled_in = lru_cache(maxsize=256)(self._find_labelled)

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """The cell of each fact that stands in a table."""
        return {
            text: Cell(table, row, column)
            for table in self.sheet.tables
            for row, cells in enumerate(table.rows)
            for column, text in enumerate(cells)
            if not table.columns[column].key
        }

    @cached_property
    def _columns(self) -> dict[tuple[str, int], list[Decimal]]:
        columns: dict[tuple[str, int], list[Decimal]] = defaultdict(list)
        for table in self.sheet.tables:
            for cells in table.rows:
                for column, text in enumerate(cells):
                    fact = None if table.columns[column].key else self.facts.get(text)
                    if fact is not None and isinstance(fact.value, Decimal):
                        columns[table.id, column].append(as_shown(fact, fact.value))
        return {key: sorted(values) for key, values in columns.items()}

    def column(self, cell: Cell) -> Sequence[Decimal]:
        """Return all values of a cell's column as they are shown, in rising order."""
        return self._columns.get((cell.table.id, cell.column), [])

    def over_time(self, cell: Cell) -> bool:
        """Whether the rows of a cell's table are points in time."""
        for position, column in enumerate(cell.table.columns):
            if column.key:
                texts = [row[position] for row in cell.table.rows]
                named = any(name in column.name.casefold().split("_") for name in _TIME_NAMES)
                if column.unit == "date" or named or all(_TIME.search(text) for text in texts):
                    return True
        return False

    def base(self, fact_id: str) -> tuple[Fact | None, str | None]:
        """Return the fact that an id is about, and the comparison where it is of one.

        ``day.delay.day_before.delta`` is about ``day.delay`` against ``day_before``.
        """
        fact = self.facts.get(fact_id)
        stem = fact_id.removesuffix(".delta").removesuffix(".percent")
        owner, _, comparison = stem.rpartition(".")
        about = self.facts.get(owner)
        if about is not None and (any(c.id == comparison for c in about.comparisons) or stem != fact_id):
            return about, comparison
        return fact, None

    @cached_property
    def rows(self) -> dict[str, list[tuple[tuple[str, ...], FactTable, int]]]:
        """Row names, as lower-case words, by their first word."""
        found: dict[str, list[tuple[tuple[str, ...], FactTable, int]]] = defaultdict(list)
        for table in self.sheet.tables:
            for number, cells in enumerate(table.rows):
                for column, text in zip(table.columns, cells, strict=True):
                    name = tuple(_WORD.findall(text.casefold())) if column.key else ()
                    for spelled in _spellings(name):
                        found[name[0]].append((spelled, table, number))
                    for month in month_names(text) if column.key else ():
                        found[month].append(((month,), table, number))
        for first, those in list(found.items()):
            of_one = len({(table.id, number) for _, table, number in those}) == len(
                {t.id for _, t, _ in those}
            )
            if (
                of_one
                and len(first) > _SHORT
                and first.isalpha()
                and (first in BRANDS or not is_common(first))
            ):
                found[first] += [
                    ((first,), table, number) for name, table, number in those if len(name) > 1
                ]
        return found

    @cached_property
    def _labels(self) -> dict[str, set[tuple[str, ...]]]:
        """What facts and columns are called, as lower-case words, by their first word."""
        found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        labels = {fact.label.partition(" \u2014 ")[0] for fact in self.sheet.facts if not fact.change}
        labels |= {column.label for table in self.sheet.tables for column in table.columns}
        for label in labels:
            name = tuple(_WORD.findall(label.casefold()))
            if name:
                found[name[0]].add(name)
        return found

    @cached_property
    def counted(self) -> frozenset[str]:
        """Plural nouns that may say what is counted: "flights" of "Flights scheduled"."""
        words = {
            word
            for fact in self.facts.values()
            for word in _WORD.findall(fact.label.partition(" \u2014 ")[0].casefold())
            if word[:_STEM] not in _GENERIC
        }
        return frozenset(word if word.endswith("s") else f"{word}s" for word in words)

    def labelled(self, words: Sequence[str]) -> frozenset[int]:
        """Return the places of the words that are a label or a row's name, and claim nothing."""
        return self._labelled_in(tuple(words))

    def _find_labelled(self, words: tuple[str, ...]) -> frozenset[int]:
        places: set[int] = set()
        for at, word in enumerate(words):
            rows = (name for name, _, _ in self.rows.get(word, ()))
            names = (*self._labels.get(word, ()), *rows)
            for name in names:
                if tuple(words[at : at + len(name)]) == name:
                    places.update(range(at, at + len(name)))
        return frozenset(places)

    def rows_named(self, tokens: Iterable[Token]) -> frozenset[tuple[str, int]]:
        """Return the rows, as table id and number, whose names stand among the tokens."""
        return self._rows_in(tuple(token.lower for token in tokens if token.is_word))

    def rows_cited(self, sentence: Sentence) -> frozenset[tuple[str, int]]:
        """Return the rows, as table id and number, whose cells a sentence cites."""
        cells = (self.cells.get(token.cited or "") for token in sentence.cited)
        return frozenset((cell.table.id, cell.row) for cell in cells if cell)

    def _find_rows(self, spoken: tuple[str, ...]) -> frozenset[tuple[str, int]]:
        words = [word for one in spoken for word in _WORD.findall(one)]
        found: dict[int, tuple[int, set[tuple[str, int]]]] = {}
        for at, word in enumerate(words):
            for name, table, number in self.rows.get(word, ()):
                if tuple(words[at : at + len(name)]) == name:
                    length, named = found.get(at, (0, set()))
                    if len(name) > length:
                        found[at] = (len(name), {(table.id, number)})
                    elif len(name) == length:
                        named.add((table.id, number))
        return frozenset(row for _, named in found.values() for row in named)

    @cached_property
    def _by_stem(self) -> dict[str, set[str]]:
        """Ids of the facts that move, by the stems of what they are called; rows are told apart."""
        found: dict[str, set[str]] = defaultdict(set)
        for fact in self.facts.values():
            if fact.comparisons or fact.id in self.cells:
                cell = self.cells.get(fact.id)
                label = cell.table.columns[cell.column].label if cell else fact.label
                for stem in stems(label):
                    found[stem].add(fact.id)
        return found

    def called(self, tokens: Sequence[Token]) -> Sequence[Fact]:
        """Return the facts that the tokens may speak of by name, without citing them."""
        return self._called_by(tuple(token.lower for token in tokens if token.is_word))

    def _find_called(self, words: tuple[str, ...]) -> tuple[Fact, ...]:
        votes: dict[str, int] = defaultdict(int)
        for stem in {stem for word in words for stem in stems(word)}:
            for fact_id in self._by_stem.get(stem, ()):
                votes[fact_id] += 1
        named = self._rows_in(words)
        places = {fact_id: self.cells.get(fact_id) for fact_id in votes}
        if named:
            # What is said of a row is said of its figures, not of a total that fits the words better.
            votes = {f: n for f, n in votes.items() if (c := places[f]) and (c.table.id, c.row) in named}
        best = max(votes.values(), default=0)
        chosen = [f for f, count in votes.items() if count == best and (named or places[f] is None)]
        spoken = {word[:_STEM] for word in words}
        # Of labels that are spoken as a whole the longest is meant; a longer one that is not, is not.
        whole = [label for f in chosen if (label := self._label_stems(f)) <= spoken]
        meant = {label for label in whole if not any(label < other for other in whole)}
        those = [
            f
            for f in chosen
            if (label := self._label_stems(f)) in meant or not any(one & label for one in meant)
        ]
        # In the sheet's order: what is found goes into a request, which a retry must make again alike.
        return tuple(self.facts[f] for f in sorted(those, key=self._places.__getitem__))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {fact_id: place for place, fact_id in enumerate(self.facts)}

    def _label_stems(self, fact_id: str) -> frozenset[str]:
        cell = self.cells.get(fact_id)
        label = cell.table.columns[cell.column].label if cell else self.facts[fact_id].label
        return frozenset(word[:_STEM] for word in _WORD.findall(label.casefold()))

    @cached_property
    def kinds_of_rows(self) -> frozenset[str]:
        """What rows are: the words of the key columns' labels, such as "carrier"."""
        return frozenset(
            word
            for table in self.sheet.tables
            for column in table.columns
            if column.key
            for word in _WORD.findall(column.label.casefold())
            if len(word) > _SHORT
        )

    @cached_property
    def label_words(self) -> frozenset[str]:
        """The words of the labels, in lower case: "curtailed" of "Curtailed energy" claims nothing."""
        return frozenset(word for names in self._labels.values() for name in names for word in name)

    @cached_property
    def naming(self) -> frozenset[str]:
        """Stems of the labels' words: "crashes" name what a crash rate is of, and claim nothing."""
        return frozenset(stem for word in self.label_words for stem in stems(word))


def _spellings(name: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return a row's name, and its plural where it is a noun of several words: "personal loans"."""
    if not name:
        return ()
    noun = len(name) > 1 and len(name[-1]) > _SHORT and name[-1].isalpha() and name[-1][-1] != "s"
    return (name, (*name[:-1], f"{name[-1]}s")) if noun else (name,)


def stems(text: str) -> set[str]:
    """Return the beginnings of a text's words that say what it is about."""
    return {
        word[:_STEM]
        for word in _WORD.findall(text.casefold())
        if len(word) > _SHORT and word[:_STEM] not in _GENERIC
    }

"""The check that an answer says nothing about figures but what the facts hold."""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from kimi_provider.analysis.sanitize import one_line
from kimi_provider.analysis.words import (
    MONTHS,
    NUMBER_WORDS,
    REFERENCE_MARK,
    change_claimed,
    standing_claimed,
    value_claimed,
)
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from kimi_provider.analysis.draft import AnalysisDraft, DraftChart
    from kimi_provider.analysis.words import Direction
    from kimi_provider.schemas import ChartRequest, Fact, FactSheet

_REFERENCE = re.compile(r"\[\[\s*([A-Za-z0-9_.-]+)\s*(?:\|\s*(\w+)\s*)?\]\]")
STYLES = frozenset({"compact", "number", "percent", "plain", "prose", "rounded", "signed"})
"""What may stand behind the bar of a reference; the reports print these."""
_ALLOWED_MARK = "\ue001"  # stands for what was found allowed; no cleaned text holds it
_EXCERPT = 24  # characters on each side

_BROKEN = re.compile(r"\[\[|\]\]|\{\{|\}\}|\{%|%\}|\{#|#\}")
_BARE_ID = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_SENTENCE_END = re.compile(r"[.;!?\n]")
_MARKUP = re.compile(r"<[A-Za-z/!?][^<>]*>?|&(?:#\w+|[A-Za-z]+);|!?\[[^\[\]]*\]\(")
_LINK = re.compile(r"\b(?:https?|ftp|javascript|data|mailto|file):|\bwww\.", re.IGNORECASE)
_ORDINAL = re.compile(r"\b(?:1st|2nd|3rd|[4-9]th|10th)\b")
_PLAIN_NUMBER = re.compile(r"[\d.,\s%+-]+")
_ISO_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")


class Kind(StrEnum):
    """What is wrong with a place in an answer."""

    UNKNOWN_ID = "unknown id"
    NO_VALUE = "cited fact without value"
    DIGIT = "figure that is no reference"
    NUMBER_WORD = "figure in words"
    MALFORMED = "malformed reference"
    MARKUP = "markup"
    LINK = "link"
    DIRECTION = "direction against the facts"
    CHART = "chart of what does not exist"


_UNIT_WORDS = {
    Unit.PERCENT: "%|percent|per cent|procent",
    Unit.MINUTES: "minutes?|mins?|minut[ay]?",
    Unit.SECONDS: "seconds?|secs?|sekund[ay]?",
}
_PATTERNS = ((Kind.MARKUP, _MARKUP), (Kind.LINK, _LINK), (Kind.NUMBER_WORD, NUMBER_WORDS))


@dataclass(frozen=True)
class Violation:
    """One thing that an answer may not say.

    ``where`` is the place (``findings[0].detail``); ``excerpt`` is the model's text around it, for the
    trace and the repair and never for a log; ``hint`` says what would be right.
    """

    kind: Kind
    where: str
    excerpt: str
    hint: str = ""

    @property
    def fatal(self) -> bool:
        """Whether the answer cannot be used as it is; a chart can simply be left out."""
        return self.kind is not Kind.CHART

    def __str__(self) -> str:
        """Return the line that asks the model for a repair."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.where}: {self.kind}: …{self.excerpt}…{hint}"


def references(text: str) -> tuple[str, ...]:
    """Return the ids that a text cites as ``[[id]]`` or ``[[id|format]]``, in order."""
    return tuple(match[1] for match in _REFERENCE.finditer(text))


def without_repeated_units(text: str, sheet: FactSheet) -> str:
    """Return the text without units right behind references, which print with their unit anyway.

    Models write "[[delay]] minutes" out of habit, rules or no rules; it is not worth another turn.
    """
    units = {fact.id: _UNIT_WORDS.get(fact.unit, "") for fact in sheet.facts}
    units |= {fact.id: re.escape(fact.unit_label) for fact in sheet.facts if fact.unit_label}
    kept = text
    for match in reversed(list(_REFERENCE.finditer(text))):
        unit = units.get(match[1])
        repeated = unit and re.compile(rf"\s?(?:{unit})(?!\w)", re.IGNORECASE).match(text, match.end())
        if repeated and match[2] != "number":
            kept = kept[: match.end()] + kept[repeated.end() :]
    return kept


def check(
    draft: AnalysisDraft, sheet: FactSheet, *, period: str | None = None, dates: Iterable[date] = ()
) -> tuple[Violation, ...]:
    """Return all that an answer says about figures and that the facts do not hold.

    :param period: the period's name; it may be written as it is.
    :param dates: further days that may be written, such as those compared with. The days of the
        period and of the tables' key texts may be written too, in the common ways.

    Allowed beside references are names: key texts, and the labels that the template's author wrote.
    A key text that is a bare number is allowed only behind its column's label ("store 12"): it would
    else let any figure pass that happens to be somebody's number.
    """
    allowed = _Allowed(sheet, period, frozenset(dates))
    violations: list[Violation] = []
    for where, text in draft.texts().items():
        violations += _Reader(where, text, allowed).violations()
    for number, chart in enumerate(draft.charts):
        hint = chart_problem(chart, sheet)
        if hint:
            asked = one_line(f"{chart.table}, {chart.x}, {chart.y}", 80)
            violations.append(Violation(Kind.CHART, f"charts[{number}]", asked, hint))
    return tuple(violations)


class _Allowed:
    """What may stand in a text beside references."""

    def __init__(self, sheet: FactSheet, period: str | None, dates: Collection[date]) -> None:
        self.facts: dict[str, Fact] = {fact.id: fact for fact in sheet.facts}
        self._sheet = sheet
        self._period = period
        self._dates = dates

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """Return what is allowed, the longest first: a label may hold a name or a date."""
        phrases: set[str] = {self._period} if self._period else set()
        numbered: set[str] = set()
        days = {*self._dates, *_days(self._period or "")}
        for fact in self._sheet.facts:
            phrases.add(fact.label)
            phrases |= {comparison.label for comparison in fact.comparisons}
        for table in self._sheet.tables:
            phrases |= {table.label, *(column.label for column in table.columns)}
            for position, column in enumerate(table.columns):
                for text in {row[position] for row in table.rows} if column.key else ():
                    days |= _days(text)
                    if _PLAIN_NUMBER.fullmatch(text):
                        names = "|".join({re.escape(column.label), re.escape(column.name)})
                        numbered.add(rf"(?:{names})\s+#?{re.escape(text)}")
                    else:
                        phrases.add(text)
        spelled = sorted(
            {one_line(phrase) for phrase in phrases if _needs_leave(phrase)}, key=len, reverse=True
        )
        groups = (
            map(re.escape, spelled),
            numbered,
            (w for day in sorted(days) for w in _spellings(day)),
        )
        found = ("|".join(group) for group in groups)
        return (
            *(re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) for words in found if words),
            _ORDINAL,
        )


class _Reader:
    """One text of an answer, read for one kind of violation after the other."""

    def __init__(self, where: str, text: str, allowed: _Allowed) -> None:
        self._where = where
        self._text = text
        self._facts = allowed.facts
        self._cited = list(_REFERENCE.finditer(text))
        masked = _REFERENCE.sub(lambda match: REFERENCE_MARK * len(match[0]), text)
        self._masked = masked
        for pattern in allowed.patterns:
            masked = pattern.sub(lambda match: _ALLOWED_MARK * len(match[0]), masked)
        self._rest = masked

    def violations(self) -> Iterator[Violation]:
        """Return what is wrong, each kind in the order of the text."""
        for match in self._cited:
            yield from self._of_reference(match)
        yield from self._of_brackets()
        for kind, pattern in _PATTERNS:
            for match in pattern.finditer(self._rest):
                yield self._found(kind, match.start(), match.end())
        for start, end in _figures(self._rest):
            yield self._found(
                Kind.DIGIT, start, end, "write the id of a fact as [[id]], or leave it out"
            )

    def _of_reference(self, match: re.Match[str]) -> Iterator[Violation]:
        fact = self._facts.get(match[1])
        if match[2] and match[2] not in STYLES:
            yield self._found(Kind.MALFORMED, *match.span(), f"styles are {', '.join(sorted(STYLES))}")
        if fact is None:
            near = difflib.get_close_matches(match[1], self._facts, n=1)
            hint = f"did you mean {near[0]}?" if near else "no fact has this id"
            yield self._found(Kind.UNKNOWN_ID, *match.span(), hint)
        elif fact.value is None:
            yield self._found(Kind.NO_VALUE, *match.span(), "the data has no value for it")
        else:
            claimed, actual = self._directions(match, fact)
            if claimed is not None and actual and claimed not in actual:
                hint = f"the facts say {' or '.join(sorted(actual))}"
                yield self._found(Kind.DIRECTION, *match.span(), hint)

    def _directions(self, match: re.Match[str], fact: Fact) -> tuple[Direction | None, set[str]]:
        """Return the direction that the words beside a reference claim, and those that would be true."""
        before, after = self._masked[: match.start()], self._masked[match.end() :]
        if fact.change and not isinstance(fact.value, str | None):
            sign = "up" if fact.value > 0 else "down" if fact.value < 0 else "flat"
            return change_claimed(before, after, good=fact.good), {sign}
        base_id, _, comparison_id = fact.id.rpartition(".")
        if (base := self._facts.get(base_id)) is not None:
            # It is a baseline: the sentence is about the figure that is compared with it.
            known = {c.direction for c in base.comparisons if c.id == comparison_id}
            return standing_claimed(self._sentence(match)), set(known)
        named = {cited[1] for cited in self._cited if self._sentence(cited) == self._sentence(match)}
        compared = [c for c in fact.comparisons if f"{fact.id}.{c.id}" in named] or fact.comparisons
        return value_claimed(before), {c.direction for c in compared}

    def _sentence(self, match: re.Match[str]) -> str:
        starts = [end.end() for end in _SENTENCE_END.finditer(self._masked, 0, match.start())]
        end = _SENTENCE_END.search(self._masked, match.end())
        return self._masked[starts[-1] if starts else 0 : end.start() if end else None]

    def _of_brackets(self) -> Iterator[Violation]:
        for match in _BROKEN.finditer(self._rest):
            yield self._found(Kind.MALFORMED, *match.span(), "a reference is [[id]], nothing else")
        for match in _BARE_ID.finditer(self._rest):
            around = self._rest[max(0, match.start() - 1) : match.end() + 1]
            wrapped = around[0] in "[{(`<" and around[-1] in "]})`>"
            # An id without a dot is a word as well, such as "total".
            if match[0] in self._facts and ("." in match[0] or wrapped):
                yield self._found(Kind.MALFORMED, *match.span(), "write the id as [[id]]")

    def _found(self, kind: Kind, start: int, end: int, hint: str = "") -> Violation:
        around = self._text[max(0, start - _EXCERPT) : end + _EXCERPT]
        return Violation(kind, self._where, one_line(around), hint)


def _figures(text: str) -> Iterator[tuple[int, int]]:
    """Return where figures stand, in any script: digits, fractions, superscripts, Roman signs."""
    marked = "".join("0" if unicodedata.category(c) in {"Nd", "Nl", "No"} else c for c in text)
    for match in re.finditer(r"0(?:[.,:/%\s-]?0)*", marked):
        yield match.span()


def _needs_leave(phrase: str) -> bool:
    """Whether a phrase holds anything that a check could take offense at."""
    signs = any(unicodedata.category(c)[0] == "N" or c in "[]{}<>&`" for c in phrase)
    return signs or any(pattern.search(phrase) for pattern in (_LINK, NUMBER_WORDS))


def _days(text: str) -> set[date]:
    days = set()
    for match in _ISO_DATE.finditer(text):
        try:
            days.add(date.fromisoformat(match[0]))
        except ValueError:
            continue
    return days


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


def chart_problem(chart: DraftChart | ChartRequest, sheet: FactSheet) -> str:
    """Return why a chart cannot be drawn of the facts, with the names that exist; else nothing."""
    tables = {table.id: table for table in sheet.tables}
    table = tables.get(chart.table)
    if table is None:
        return f"there is no table {chart.table!r}; tables: {', '.join(sorted(tables)) or 'none'}"
    keys = [column.name for column in table.columns if column.key]
    facts = [column.name for column in table.columns if not column.key]
    if chart.x not in keys or chart.y not in facts:
        return f"x may be {', '.join(keys) or 'none'}; y may be {', '.join(facts) or 'none'}"
    return ""

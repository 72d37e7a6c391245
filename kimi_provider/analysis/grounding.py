"""The check that an answer says nothing about figures but what the facts hold."""

from __future__ import annotations

import difflib
import re
import unicodedata
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_directions import Directions
from kimi_provider.analysis.grounding_entities import codes, entities, is_title
from kimi_provider.analysis.grounding_index import FactIndex
from kimi_provider.analysis.grounding_kinds import Kind, Violation
from kimi_provider.analysis.grounding_names import LINK, Names
from kimi_provider.analysis.grounding_rows import strangers
from kimi_provider.analysis.grounding_superlatives import superlatives
from kimi_provider.analysis.grounding_text import REFERENCE, sentences
from kimi_provider.analysis.grounding_units import units, without_repeated_units
from kimi_provider.analysis.sanitize import one_line
from kimi_provider.analysis.words import NUMBER_WORDS, REFERENCE_MARK, TEN, is_polish
from kimi_provider.schemas import ChartKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from kimi_provider.analysis.draft import AnalysisDraft, DraftChart
    from kimi_provider.schemas import ChartRequest, FactSheet

__all__ = [
    "STYLES",
    "Kind",
    "Violation",
    "chart_problem",
    "check",
    "references",
    "without_repeated_units",
]

STYLES = frozenset({"compact", "number", "percent", "plain", "prose", "rounded", "signed"})
"""What may stand behind the bar of a reference; the reports print these."""
_ALLOWED_MARK = "\ue001"  # stands for what was found allowed; no cleaned text holds it
_MOST_HINTS = 20  # ids for which the nearest one is looked up

_BROKEN = re.compile(r"\[\[|\]\]|\{\{|\}\}|\{%|%\}|\{#|#\}")
_BARE_ID = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_MARKUP = re.compile(r"<[A-Za-z/!?][^<>]*>?|&(?:#\w+|[A-Za-z]+);|!?\[[^\[\]]*\]\(")
_WORD = re.compile(r"[^\W\d_]+")
_PATTERNS = ((Kind.MARKUP, _MARKUP), (Kind.LINK, LINK), (Kind.NUMBER_WORD, NUMBER_WORDS))


def references(text: str) -> tuple[str, ...]:
    """Return the ids that a text cites as ``[[id]]`` or ``[[id|format]]``, in order."""
    return tuple(match[1] for match in REFERENCE.finditer(text))


def check(
    draft: AnalysisDraft,
    sheet: FactSheet,
    *,
    period: str | None = None,
    dates: Iterable[date] = (),
    vocabulary: Iterable[str] = (),
) -> tuple[Violation, ...]:
    """Return all that an answer says about figures and that the facts do not hold.

    :param period: the period's name; it may be written as it is.
    :param dates: further days that may be written, such as those compared with. The days of the
        period and of the tables' key texts may be written too, in the common ways.
    :param vocabulary: texts whose words may stand in the answer as names: the prompt's, and names
        that were declared.

    Allowed beside references are names: key texts, and the labels that the template's author wrote.
    A key text that is a bare number is allowed only behind its column's label ("store 12"): it would
    else let any figure pass that happens to be somebody's number.
    """
    reading = _Reading(sheet, Names(sheet, period, frozenset(dates), vocabulary))
    violations = [v for where, text in draft.texts().items() for v in reading.violations(where, text)]
    for number, chart in enumerate(draft.charts):
        hint = chart_problem(chart, sheet)
        if hint:
            asked = one_line(f"{chart.table}, {chart.x}, {chart.y}", 80)
            violations.append(Violation(Kind.CHART, f"charts[{number}]", asked, hint))
    return tuple(violations)


class _Reading:
    """Reads texts for one kind of violation after the other."""

    def __init__(self, sheet: FactSheet, names: Names) -> None:
        self._index = FactIndex(sheet)
        self._names = names
        self._nearest: dict[str, str] = {}

    def violations(self, where: str, text: str) -> Iterator[Violation]:
        """Return what is wrong with a text, each kind in the order of the text."""
        for kind, start, end, hint in self._found(where, text):
            yield Violation.at(kind, where, text, start, end, hint)

    def _found(self, where: str, text: str) -> Iterator[tuple[Kind, int, int, str]]:
        masked = REFERENCE.sub(lambda match: REFERENCE_MARK * len(match[0]), text)
        rest = self._names.masked(masked, _ALLOWED_MARK)
        for match in REFERENCE.finditer(text):
            yield from self._of_reference(match)
            if where.endswith(".kind"):
                yield Kind.MALFORMED, *match.span(), "a kind is one or two words, without a figure"
        yield from self._of_brackets(rest)
        patterns = [*_PATTERNS]
        if not is_polish(word.casefold() for word in _WORD.findall(rest)):
            patterns.append((Kind.NUMBER_WORD, TEN))
        for kind, pattern in patterns:
            for match in pattern.finditer(rest):
                yield kind, *match.span(), ""
        for start, end in _figures(rest):
            yield Kind.DIGIT, start, end, "write the id of a fact as [[id]], or leave it out"
        yield from ((Kind.UNIT, *found) for found in units(text, self._index))
        yield from ((Kind.ENTITY, *found) for found in codes(rest, self._names))
        yield from ((Kind.DIGIT, *found) for found in self._names.weekdays(text))
        if not where.startswith("actions"):
            yield from ((Kind.ENTITY, *found) for found in self._names.months(rest))
        yield from self._of_sentences(where, text, rest)

    def _of_sentences(self, where: str, text: str, rest: str) -> Iterator[tuple[Kind, int, int, str]]:
        directions = Directions(self._index, orders=where.startswith("actions"))
        heading = where == "headline" or where.endswith(".title")
        for sentence in sentences(text):
            yield from ((Kind.DIRECTION, *found) for found in directions.objections(sentence))
            # What is a name holds no superlative; a reference says nothing of its own.
            found_in = superlatives(sentence, self._index, rest, self._names.unit)
            yield from ((Kind.SUPERLATIVE, *found) for found in found_in)
            yield from ((Kind.ENTITY, *found) for found in strangers(sentence, self._index))
            unknown = entities(
                sentence,
                self._names,
                title=heading and is_title(sentence),
                action=where.startswith("actions"),
            )
            yield from (
                (Kind.ENTITY, *found)
                for found in unknown
                if _ALLOWED_MARK not in rest[found.start : found.end]
            )

    def _of_reference(self, match: re.Match[str]) -> Iterator[tuple[Kind, int, int, str]]:
        fact = self._index.facts.get(match[1])
        if match[2] and match[2] not in STYLES:
            yield Kind.MALFORMED, *match.span(), f"styles are {', '.join(sorted(STYLES))}"
        if fact is None:
            yield Kind.UNKNOWN_ID, *match.span(), self._near(match[1])
        elif fact.value is None:
            yield Kind.NO_VALUE, *match.span(), "the data has no value for it"

    def _near(self, unknown: str) -> str:
        if unknown not in self._nearest:
            few = len(self._nearest) < _MOST_HINTS
            near = difflib.get_close_matches(unknown, self._index.facts, n=1) if few else []
            self._nearest[unknown] = f"did you mean {near[0]}?" if near else "no fact has this id"
        return self._nearest[unknown]

    def _of_brackets(self, rest: str) -> Iterator[tuple[Kind, int, int, str]]:
        for match in _BROKEN.finditer(rest):
            yield Kind.MALFORMED, *match.span(), "a reference is [[id]], nothing else"
        for match in _BARE_ID.finditer(rest):
            around = rest[max(0, match.start() - 1) : match.end() + 1]
            wrapped = around[0] in "[{(`<" and around[-1] in "]})`>"
            # An id without a dot is a word as well, such as "total".
            if match[0] in self._index.facts and ("." in match[0] or wrapped):
                yield Kind.MALFORMED, *match.span(), "write the id as [[id]]"


def _figures(text: str) -> Iterator[tuple[int, int]]:
    """Return where figures stand, in any script: digits, fractions, superscripts, Roman signs."""
    marked = "".join("0" if unicodedata.category(c) in {"Nd", "Nl", "No"} else c for c in text)
    for match in re.finditer(r"0(?:[.,:/%\s-]?0)*", marked):
        yield match.span()


_SPLIT = frozenset({ChartKind.STACKED_BAR, ChartKind.HEATMAP})


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
    if chart.series is not None and (chart.series not in keys or chart.series == chart.x):
        return f"series may be {', '.join(key for key in keys if key != chart.x) or 'none'}"
    if chart.kind in _SPLIT and chart.series is None:
        return f"a {chart.kind.replace('_', ' ')} needs series, a second key column of the table"
    return ""

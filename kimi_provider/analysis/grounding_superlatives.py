"""Superlatives and records that a text claims, held against the column of the cell they are about."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_index import Cell, stems
from kimi_provider.analysis.grounding_kinds import Objection
from kimi_provider.analysis.grounding_places import placed
from kimi_provider.analysis.grounding_signs import is_time
from kimi_provider.analysis.sheet_csv import as_shown
from kimi_provider.analysis.words import (
    CHANGES,
    HEDGES,
    HISTORY,
    PRONOUNS,
    SCOPES,
    claim_beside_change,
    claim_of,
    extreme_of,
)
from kimi_provider.analysis.words_en import LEAST, MOST, NO_RANKING
from kimi_provider.analysis.words_list import word_set
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kimi_provider.analysis.grounding_index import FactIndex
    from kimi_provider.analysis.grounding_text import Sentence, Token
    from kimi_provider.analysis.words import Extreme
    from kimi_provider.schemas import Fact

_RANKS = {
    **dict.fromkeys(
        ("second", "second-", "drugi", "druga", "drugie", "drugą", "drugim", "next", "2nd"), 2
    ),
    **dict.fromkeys(("third", "trzeci", "trzecia", "trzecie", "trzecią", "trzecim", "3rd"), 3),
    **dict.fromkeys(("fourth", "czwarty", "czwarta", "czwarte", "4th"), 4),
    **dict.fromkeys(("fifth", "piąty", "piąta", "piąte", "5th"), 5),
}
_OF_TWO = frozenset({"compared", "both", "two", "dwóch", "obu", "porównywanych"})
_AMONG = frozenset({"among", "wśród", "jeden", "jedna", "jedno", "jednym", "jedną"})
_FARED = word_set("""
    fared fares did does performed performs came comes looked looks ranked ranks ran runs hit hurt
    suffered was were is are
""")
_SIZES = word_set("""
    largest biggest smallest tiniest największy największa największe największym największą
    najmniejszy najmniejsza najmniejsze leading
""")
"""Superlatives that speak of how much there is of a row, where no column is named."""
_AMOUNTS = frozenset({Unit.COUNT, Unit.CURRENCY, Unit.OTHER})
_DETERMINERS = word_set("""
    the its their his our whose a with had has have saw sees
""")
_TIMED = word_set("""
    longest shortest slowest fastest quickest najdłużej najkrócej
""")
_WORD = re.compile(r"[^\W\d_]+")
_PERIODS = {
    "month": word_set("month miesiąca miesiącu"),
    "quarter": word_set("quarter kwartału kwartale"),
    "year": word_set("year roku"),
}
_THIS = word_set("""
    of in this the current s w tego tym bieżącego całego
""")
_RANKED_BY_MOST = (_DETERMINERS - {"a"}) | _RANKS.keys()
_BEHIND = word_set("""
    behind after before followed ahead unlike against za po przed wobec
""")
"""Words that open a clause about another row than the ranked one."""


def superlatives(
    sentence: Sentence, index: FactIndex, text: str, period: str | None = None
) -> Iterator[Objection]:
    """Return the superlatives of a sentence that the facts do not bear out.

    :param text: the whole text, without its references and names.
    :param period: the unit of time that the facts are of: "the best of the month" is then no record.
    """
    words = [token.lower for token in sentence.tokens]
    said = [
        (at, extreme)
        for at in range(len(words))
        if (extreme := _claimed(sentence, words, at) or placed(sentence.tokens, at))
    ]
    body = text[sentence.start : sentence.end]
    scopes = (found for found in SCOPES.finditer(body) if said and not _is_period(found[0], period))
    record = HISTORY.search(body) or next(scopes, None)
    # "Track records" are no figures, and neither is a name that holds the word.
    if record and not body[: record.start()].rstrip().casefold().endswith("track"):
        known = [cell for token in sentence.cited if (cell := index.cells.get(token.cited or ""))]
        if not any(index.over_time(cell) and _is_extreme(index, cell, {"max", "min"}) for cell in known):
            start = sentence.start + record.start()
            yield Objection(start, sentence.start + record.end(), "no fact knows this far back")
            return
    for order, (at, extreme) in enumerate(said):
        until = said[order + 1][0] if order + 1 < len(said) else len(words)
        since = said[order - 1][0] if order else -1
        if wrong := _wrong(sentence, index, at, extreme, since, until):
            yield Objection(sentence.tokens[at].start, sentence.tokens[at].end, wrong)


def _is_period(scope: str, period: str | None) -> bool:
    """Whether a scope is just the period: "of the quarter", "the quarter's", in a report on one."""
    words = set(_WORD.findall(scope.casefold()))
    own = _PERIODS.get(period or "", frozenset())
    return bool(own & words) and words <= own | _THIS


def _claimed(  # noqa: PLR0911 — each way out is a use that is no superlative
    sentence: Sentence, words: Sequence[str], at: int
) -> Extreme | None:
    token = sentence.tokens[at]
    if not token.is_word:
        return None
    word = words[at].rpartition("-")[2]
    before = words[at - 1] if at else ""
    after = words[at + 1] if at + 1 < len(words) else ""
    if at and token.text[0].isupper() and not token.text.isupper():
        return None  # part of a name: "Best Western"
    if word in {MOST, LEAST}:
        if sentence.polish or before not in _RANKED_BY_MOST or after in NO_RANKING:
            return None
        noun = after.endswith(("s", "frequent")) or not after.endswith(
            ("ed", "ing", "ive", "al", "ful", "ble", "ant", "ent")
        )
        if not noun:
            return "either"
        return "max" if word == MOST else "min"
    found = extreme_of(word)
    if found is None or after in NO_RANKING or before in {"at", "co"}:
        return None
    if (
        found in {"best", "worst", "either"}
        and not sentence.polish
        and at
        and (
            before not in _DETERMINERS | _RANKS.keys() | {"of"}
            and not before.endswith(("'s", "\u2019s"))
            and "-" not in words[at]
            and before not in _FARED
        )
    ):
        return None
    return found


def _wrong(  # noqa: PLR0911, PLR0917 — its place among its neighbors
    sentence: Sentence, index: FactIndex, at: int, extreme: Extreme, since: int, until: int
) -> str:
    tokens = sentence.tokens
    clause = next((c for c in sentence.clauses if tokens[at] in c), [])
    words = [token.lower for token in clause]
    labelled = index.labelled(words)  # a column may be called "Plan"
    if any(word in HEDGES for number, word in enumerate(words) if number not in labelled):
        return ""
    following = [token.lower for token in tokens[at + 1 : at + 4]]
    labels = index.labelled(following)
    moving = any(
        claim_of(token.lower) or claim_beside_change(token.lower)
        for token in tokens[max(0, at - 2) : at]
    )
    if moving or any(CHANGES.fullmatch(word) for n, word in enumerate(following) if n not in labels):
        return _wrong_change(sentence, index, at, extreme)
    rank, among = _rank(sentence, at)
    cited = _bound(sentence, clause, at, since, until)
    sized = tokens[at].lower.rpartition("-")[2] in _SIZES
    if cited is not None and sized and cited not in clause and index.rows_named(clause):
        cited = None
    if cited is not None:
        fact_id = cited.cited or ""
        fact, comparison = index.base(fact_id)
        if fact is None or comparison:
            return ""
        cell = index.cells.get(fact.id)
        if cell is None and cited not in clause and index.counted.intersection(following):
            return ""  # "the worst affected flights" are some of those that are counted
        if cell is None:
            return _wrong_alone(fact, extreme, sentence)
        if not any(token.cited for token in clause):
            other = _other_row(index, cell, clause)
            if other is None:
                return ""
            cell = other
        cell = _lasting(index, _own_column(cell, tokens, at), tokens[at].lower)
        fact = index.facts.get(_id(cell), fact)
        return _verdict(index, cell, fact, extreme, rank, among=among)
    return _wrong_by_name(index, clause, sentence, extreme, rank, among=among, sized=sized)


def _other_row(index: FactIndex, cell: Cell, clause: Sequence[Token]) -> Cell | None:
    """Return the cell that a clause without a figure is about: its own row's, if it names one."""
    named = index.rows_named(clause)
    if not named or (cell.table.id, cell.row) in named:
        return cell
    row = next((row for table, row in sorted(named) if table == cell.table.id), None)
    return None if row is None else Cell(cell.table, row, cell.column)


def _own_column(cell: Cell, tokens: Sequence[Token], at: int) -> Cell:
    """Return the cell of the same row whose column the words behind a superlative name.

    "North, with the most orders, earned [[…revenue]]" ranks North's orders, not its revenue.
    """
    own = stems(cell.table.columns[cell.column].label)
    following = []
    for token in tokens[at + 1 : at + 4]:
        if not token.is_word:
            break
        following.append(token.lower)
    named = stems(" ".join(following))
    if not named or named & own:
        return cell
    like = {
        number: (len(every & set(following)) / len(every), len(stems(column.label) & named))
        for number, column in enumerate(cell.table.columns)
        if not column.key and stems(column.label) & named
        for every in [set(column.label.casefold().split())]
    }
    return Cell(cell.table, cell.row, max(like, key=like.__getitem__)) if like else cell


def _lasting(index: FactIndex, cell: Cell, word: str) -> Cell:
    """Return the cell that "longest" is about: of the row's one column of time, if its own is none."""
    if word not in _TIMED or is_time(index.facts[_id(cell)]):
        return cell
    row = cell.table.rows[cell.row]
    timed = [
        number
        for number, column in enumerate(cell.table.columns)
        if not column.key and (fact := index.facts.get(row[number])) and is_time(fact)
    ]
    return Cell(cell.table, cell.row, timed[0]) if len(timed) == 1 else cell


def _bound(sentence: Sentence, clause: Sequence[Token], at: int, since: int, until: int) -> Token | None:
    """Return the reference that a superlative is about: of its clause, else next, else before."""
    place = sentence.tokens[at]
    inside = [token for token in clause if token.cited is not None]
    if inside:
        after = [token for token in inside if token.start > place.start]
        return after[0] if after else inside[-1]
    later = [token for token in sentence.tokens[at:until] if token.cited is not None]
    if later:
        return later[0]
    earlier = [token for token in sentence.tokens[since + 1 : at] if token.cited is not None]
    return earlier[-1] if earlier else None


def _wrong_by_name(
    index: FactIndex,
    clause: Sequence[Token],
    sentence: Sentence,
    extreme: Extreme,
    rank: int,
    *,
    among: bool,
    sized: bool,
) -> str:
    """Judge a superlative without a figure by the row and the column that its clause names."""
    own = [token for other in sentence.clauses if other[0].lower not in _BEHIND for token in other]
    named = index.rows_named(clause) or index.rows_named(own) or index.rows_cited(sentence)
    if not named and clause and clause[0].lower in PRONOUNS:
        return ""  # it is a row of the sentence before
    facts = index.called(clause)
    if not facts and not sized:
        facts = index.called(sentence.tokens)
        # What is ranked has no name here, so which end of the column is meant is open: "most room".
        extreme = "either" if extreme in {"max", "min"} else extreme
    if not named and index.kinds_of_rows & {token.lower for token in clause}:
        return ""  # "the most frequent reason" is a row that goes by another name
    cells = [cell for fact in facts if (cell := index.cells.get(fact.id))]
    if named and cells:
        verdicts = [
            _verdict(index, cell, index.facts[_id(cell)], extreme, rank, among=among) for cell in cells
        ]
        return verdicts[0] if all(verdicts) else ""
    if named:
        every = [
            (cell, index.facts[cell.table.rows[cell.row][cell.column]])
            for cell in index.cells.values()
            if (cell.table.id, cell.row) in named
        ]
        if sized:
            every = [(cell, fact) for cell, fact in every if fact.unit in _AMOUNTS] or every
        if extreme in {"fast", "slow"}:
            every = [(cell, fact) for cell, fact in every if is_time(fact)] or every
        verdicts = [_verdict(index, cell, fact, extreme, rank, among=among) for cell, fact in every]
        return verdicts[0] if verdicts and all(verdicts) else ""
    verdicts = [_wrong_alone(fact, extreme, sentence) for fact in facts]
    return verdicts[0] if verdicts and all(verdicts) else ""


def _id(cell: Cell) -> str:
    return cell.table.rows[cell.row][cell.column]


def _wrong_alone(fact: Fact, extreme: Extreme, sentence: Sentence) -> str:
    """Judge a figure of no table: it is an extreme only among what it is compared with."""
    least = 1 if any(token.lower in _OF_TWO for token in sentence.tokens) else 2
    if len(fact.comparisons) >= least and isinstance(fact.value, Decimal):
        directions = {comparison.direction for comparison in fact.comparisons}
        if len(directions) == 1 and directions & _directions(extreme, fact):
            return ""
    return "no fact compares it with enough others"


def _directions(extreme: Extreme, fact: Fact) -> set[str]:
    return {"up" if one == "max" else "down" for one in _extremes(extreme, fact)}


def _wrong_change(sentence: Sentence, index: FactIndex, at: int, extreme: Extreme) -> str:
    """Judge "the largest increase" by the same change of the other rows."""
    cited = [token for token in sentence.cited if token.start > sentence.tokens[at].start]
    for token in cited or sentence.cited:
        fact, comparison = index.base(token.cited or "")
        cell = index.cells.get(fact.id) if fact else None
        if fact is None or cell is None or not comparison:
            continue
        rows = (index.facts.get(row[cell.column]) for row in cell.table.rows)
        every = [c for other in rows if other for c in other.comparisons if c.id == comparison]
        own = next((c for c in fact.comparisons if c.id == comparison), None)
        if own is None:
            return ""
        same_way = [c for c in every if c.direction == own.direction]
        size = abs(as_shown(fact, own.delta))
        sizes = [[abs(as_shown(fact, c.delta)) for c in those] for those in (same_way, every)]
        most = size == max(sizes[0])
        most = most or abs(own.percent or 0.0) == max(abs(c.percent or 0.0) for c in same_way)
        least = size in {min(those) for those in sizes}
        right = (most and extreme != "min") or (least and extreme != "max")
        return "" if right else f"another row changed {'less' if extreme == 'min' else 'more'}"
    return ""


def _rank(sentence: Sentence, at: int) -> tuple[int, bool]:
    before = [token.lower for token in sentence.tokens[max(0, at - 3) : at]]
    own = sentence.tokens[at].lower.partition("-")[0]
    rank = next((_RANKS[word] for word in (*before[-1:], own) if word in _RANKS), 1)
    among = bool(_AMONG.intersection(before)) or before[-3:-1] == ["one", "of"] or "of" in before[-2:]
    return rank, among


def _extremes(extreme: Extreme, fact: Fact) -> set[str]:
    if extreme in {"max", "min"}:
        return {extreme}
    if extreme in {"slow", "fast"}:
        return {"max" if (extreme == "slow") == is_time(fact) else "min"}
    if extreme == "lead":
        return {"max"} | ({"min"} if fact.good == "down" else set())
    if extreme == "either" or fact.good is None:
        return {"max", "min"}
    return {"max" if (extreme == "best") == (fact.good == "up") else "min"}


def _verdict(
    index: FactIndex, cell: Cell, fact: Fact, extreme: Extreme, rank: int, *, among: bool
) -> str:
    if not isinstance(fact.value, Decimal):
        return ""
    wanted = _extremes(extreme, fact)
    if among:
        rank = max(rank, (len(index.column(cell)) + 1) // 2)
    if _is_extreme(index, cell, wanted, rank, exactly=rank > 1 and not among):
        return ""
    column = index.column(cell)
    place = len(column) - bisect_right(column, as_shown(fact, fact.value)) + 1
    return f"of {len(column)} rows it is number {place} from the top"


def _is_extreme(
    index: FactIndex, cell: Cell, wanted: set[str], rank: int = 1, *, exactly: bool = False
) -> bool:
    fact = index.facts[_id(cell)]
    if not isinstance(fact.value, Decimal):
        return False
    # What looks the same to the model and to the readers is the same.
    column, value = index.column(cell), as_shown(fact, fact.value)
    below, above = bisect_left(column, value), len(column) - bisect_right(column, value)
    ties = len(column) - below - above
    for side, others in (("max", above), ("min", below)):
        if side in wanted and others < rank and (not exactly or others + ties >= rank):
            return True
    return False

"""Directions that a text claims, held against the signs that the facts have.

A claim is bound to the figure it speaks of: a cited change beside it, a cited value that it moves to,
or what the clause calls by name. Where that is not clear nothing is held against it: a check that is
wrong now and then is soon switched off.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_bound import Bound
from kimi_provider.analysis.grounding_claims import BEATING, Claims, Said
from kimi_provider.analysis.grounding_clauses import (
    NOUN,
    announces,
    goes_on,
    is_comparison,
    is_followed,
    is_predicate,
    is_told,
    speaks_of_itself,
    subject_of,
)
from kimi_provider.analysis.grounding_index import stems
from kimi_provider.analysis.grounding_kinds import Objection
from kimi_provider.analysis.grounding_signs import against, is_time, moved, sign
from kimi_provider.analysis.words import (
    ADJACENT_ONLY,
    CONTINUING,
    FILLERS,
    MOVING,
    PREPOSITIONS,
    PRONOUNS,
    SUBORDINATING,
)
from kimi_provider.analysis.words_list import word_set
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kimi_provider.analysis.grounding_index import FactIndex
    from kimi_provider.analysis.grounding_text import Sentence, Token
    from kimi_provider.schemas import Fact

_AMOUNTING = word_set("""
    wyniósł wyniosła wyniosło wyniosły sięgnął sięgnęła osiągnął osiągnęła osiągnęło stood stands
    reached hit came amounted
""")
_CARRYING = MOVING | CONTINUING | FILLERS | BEATING
_TIMED = word_set("""
    longer shorter faster quicker slower sped slowed dłużej krócej szybciej wolniej
""")
_PRICED = word_set("""
    cheaper costlier pricier dearer
""")


@dataclass(frozen=True, slots=True)
class _Place:
    """A claim, and the sentence that it stands in.

    ``only`` is the fact that the sentence cites, where it is about one; ``compared`` are the
    comparisons that it cites, by fact; ``told`` those that it names in words.
    """

    sentence: Sentence
    number: int
    said: Said
    only: Fact | None
    compared: frozenset[tuple[str, str]]
    told: frozenset[str]

    @property
    def clause(self) -> Sequence[Token]:
        """The clause with the claim."""
        return self.sentence.clauses[self.number]

    def against(self, fact: Fact) -> frozenset[str]:
        """Return what the sentence compares a fact with: as it says, else as it cites."""
        return self.told or frozenset(c for owner, c in self.compared if owner == fact.id)


class Directions:
    """Reads the sentences of one text in order: a pronoun speaks of what the last one was about."""

    def __init__(self, index: FactIndex, *, orders: bool = False) -> None:
        self._index = index
        self._claims = Claims(index, orders=orders)
        self._bound = Bound(index)
        self._compared = index.comparisons
        self._last: Fact | None = None

    def objections(self, sentence: Sentence) -> Iterator[Objection]:
        """Return what the sentence says against the facts."""
        cited = [list(self._cited(clause)) for clause in sentence.clauses]
        bases = {fact.id: fact for those in cited for fact, _ in those}
        only = next(iter(bases.values())) if len(bases) == 1 else None
        claims = [self._claims.of(clause) for clause in sentence.clauses]
        alone = sum(map(bool, claims)) == 1
        for number, those in enumerate(claims):
            told = self._told(sentence, number, alone=alone)
            # What another clause compares by a claim of its own is its own matter.
            compared = frozenset(
                (fact.id, comparison)
                for other, figures in enumerate(cited)
                if other == number or not claims[other]
                for fact, comparison in figures
                if comparison
            )
            for said in those:
                place = _Place(sentence, number, said, only, compared, told)
                wrong = self._wrong(place, among=len(those))
                if wrong:
                    token = place.clause[said.at]
                    yield Objection(token.start, token.end, wrong)
        if bases:
            self._last = only

    def _cited(self, clause: Sequence[Token]) -> Iterator[tuple[Fact, str | None]]:
        """Return what the figures of a clause are about, each with the comparison that it is of."""
        for token in clause:
            fact, comparison = self._index.base(token.cited or "")
            if fact is not None:
                yield fact, comparison

    def _told(self, sentence: Sentence, number: int, *, alone: bool) -> frozenset[str]:
        """Return the comparisons that a clause names; what its sentence does, if it claims alone."""
        clause = sentence.clauses[number]
        told = self._compared.named(tuple(token.lower for token in clause))
        if told or not alone:
            return told
        apart = (c for c in sentence.clauses if c is clause or not speaks_of_itself(c))
        return self._compared.named(tuple(token.lower for c in apart for token in c))

    def _wrong(self, place: _Place, *, among: int) -> str:
        """Return what the facts say where a claim is against them.

        :param among: how many claims its clause has.
        """
        clause, said, only = place.clause, place.said, place.only
        if any(token.cited is not None for token in clause):
            return self._wrong_beside(place)
        if clause[said.at].lower in ADJACENT_ONLY:
            if only is not None and is_followed(place.sentence, place.number, said.at):
                return moved(said, only, place.against(only)) if among == 1 else ""
            if self._is_attribute(place):
                return ""
        named = self._named(place.sentence, place.number, said)
        return self._wrong_by_name(place, named) if named else self._wrong_unnamed(place)

    def _wrong_unnamed(self, place: _Place) -> str:
        """Judge a claim whose clause names no fact by the one that the text is about, if it is clear."""
        only, clause = place.only, place.clause
        refers = clause[0].lower in PRONOUNS
        if only is not None and (refers or self._leads(place)):
            return moved(place.said, only, place.against(only))
        if refers and not place.sentence.cited:
            return moved(place.said, self._last, place.told)
        return ""

    def _wrong_beside(self, place: _Place) -> str:
        """Judge a claim by the figures that its clause cites."""
        clause, said = place.clause, place.said
        cited = [(at, token) for at, token in enumerate(clause) if token.cited is not None]
        pair = self._bound.pair(clause, said, cited)
        if pair is not None:
            return pair
        change = self._bound.change(clause, said, cited)
        if change is not None:
            return against(said, change, {sign(change.value)})
        value = self._bound.value(clause, said, cited)
        fact, comparison = self._index.base(value) if value is not None else (None, None)
        if fact is None:
            return ""
        chosen = place.told or frozenset({comparison} if comparison else ())
        return moved(said, fact, chosen or place.against(fact))

    def _is_alone(self, place: _Place) -> bool:
        """Whether a claim is made of one row only: "the only store with fewer customers"."""
        before = [token.lower for token in place.clause[: place.said.at]]
        kinds = self._index.kinds_of_rows
        return any(
            w == "only" and kinds.intersection(before[at : at + 4]) for at, w in enumerate(before)
        )

    def _is_attribute(self, place: _Place) -> bool:
        """Whether a comparative only describes: "more expensive rooms" claims no change."""
        sentence, number, clause, at = place.sentence, place.number, place.clause, place.said.at
        return not (
            is_predicate(clause, at)
            or is_comparison(clause, at)
            or self._compared.named(tuple(t.lower for t in clause[at + 1 : at + 5]))
            or goes_on(sentence, number)
            or is_told(clause, at)
            or self._is_alone(place)
            or (place.only is not None and announces(sentence, number, at))
        )

    def _wrong_by_name(self, place: _Place, named: Sequence[Fact]) -> str:
        """Judge a claim without a figure by the facts that its clause names."""
        said, only = place.said, place.only
        if only is not None and only in named:
            named = [only]
        # What it is alone with is what it names, or what the sentence cites.
        shared = self._is_shared(place, named)
        if shared and (only is None or self._is_shared(place, [only])):
            return shared
        wrong = [moved(said, fact, place.against(fact)) for fact in named]
        return wrong[0] if all(wrong) else ""

    def _is_shared(self, place: _Place, named: Sequence[Fact]) -> str:
        """Hold "the only store to grow" against the other rows."""
        said = place.said
        only = self._is_alone(place)
        cells = [self._index.cells.get(fact.id) for fact in named]
        if not only or said.negated or not cells:
            return ""
        for cell in cells:
            others = (
                [] if cell is None else [row for n, row in enumerate(cell.table.rows) if n != cell.row]
            )
            facts = [self._index.facts.get(row[cell.column]) for row in others] if cell else []
            if all(moved(said, fact, place.told) for fact in facts if fact is not None):
                return ""
        return "other rows did so too"

    def _named(self, sentence: Sentence, number: int, said: Said) -> Sequence[Fact]:
        """Return what a clause without a figure is about, by the names in it.

        A verb behind "and" has the subject of the clause before; rows may be named anywhere.
        """
        clause = sentence.clauses[number]
        pairs = pairwise(clause)
        rows = self._index.rows_named(sentence.tokens)
        alone = any(
            a.lower in {"only", "one"} and b.lower in self._index.kinds_of_rows for a, b in pairs
        )
        if alone and not rows:
            return ()  # "the only hotel where complaints increased" is a row, not the total
        if number and not said.at and not clause[0].lower.endswith("ing"):
            earlier = map(self._spoken_of, reversed(sentence.clauses[:number]))
            return next(filter(None, earlier), ())
        between = {token.lower for token in clause[1 : said.at]}
        if number and clause[0].lower in {"and", "but", "yet"} and between <= _CARRYING:
            return self._index.called(sentence.clauses[number - 1])
        named = self._index.called(subject_of(clause, said.at))
        if clause[said.at].lower in _PRICED:
            named = [fact for fact in named if fact.unit is Unit.CURRENCY]
        cells = self._index.cells
        if clause[said.at].lower in _TIMED:
            named = [fact for fact in named if is_time(fact)]
        if not named and clause[said.at].lower in _TIMED:
            own = self._index.rows_named(subject_of(clause, said.at))
            of_row = [self._index.facts[f] for f, c in cells.items() if (c.table.id, c.row) in own]
            lasting = [fact for fact in of_row if is_time(fact)]
            return lasting if len(lasting) == 1 else ()
        if named and not any(fact.id in cells for fact in named):
            columns = {stem for fact in named for stem in stems(fact.label)}
            of_rows = [
                self._index.facts[fact_id]
                for fact_id, cell in cells.items()
                if (cell.table.id, cell.row) in rows
                and stems(cell.table.columns[cell.column].label) & columns
            ]
            return (*named, *of_rows)
        return named

    def _spoken_of(self, clause: Sequence[Token]) -> Sequence[Fact]:
        """Return what a clause is about: the row's figure that it cites last, else what it names."""
        cited = [fact for fact, _ in self._cited(clause) if fact.id in self._index.cells]
        return cited[-1:] or self._index.called(clause)

    @staticmethod
    def _leads(place: _Place) -> bool:
        """Whether a clause without a figure of its own speaks of the figure that its sentence cites."""
        sentence, number, said = place.sentence, place.number, place.said
        clauses = sentence.clauses
        if clauses[number][0].lower in SUBORDINATING:
            return False
        following = clauses[number + 1][0] if number + 1 < len(clauses) else None
        goes_on = following is not None and (
            following.cited is not None
            or following.lower in PREPOSITIONS
            or any(token.lower in _AMOUNTING for token in clauses[number + 1][1:3])
            or following.lower.endswith("ing")
        )
        judged = following is not None and sentence.mark_before(following) == ":"
        opens = said.at == 0 and not NOUN.fullmatch(clauses[number][0].lower)
        return opens or (number == 0 and (goes_on or judged))

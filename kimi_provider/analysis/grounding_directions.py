"""Directions that a text claims, held against the signs that the facts have.

A claim is bound to the figure it speaks of: a cited change beside it, a cited value that it moves to,
or what the clause calls by name. Where that is not clear nothing is held against it: a check that is
wrong now and then is soon switched off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

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
from kimi_provider.analysis.words import (
    ADJACENT_ONLY,
    CONTINUING,
    FILLERS,
    HEDGES,
    MOVING,
    PREPOSITIONS,
    PRONOUNS,
    SUBORDINATING,
    claim_beside_change,
    claim_of,
    is_order,
    negated,
    phrase_claim,
)
from kimi_provider.analysis.words_list import word_set
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kimi_provider.analysis.grounding_index import FactIndex
    from kimi_provider.analysis.grounding_text import Sentence, Token
    from kimi_provider.analysis.words import Claim
    from kimi_provider.schemas import Comparison, Fact

_BEFORE, _AFTER = 6, 3  # words between a claim and the change it speaks of
_STEADY = 0.05  # a change below this share is still "unchanged"
_BOUNDING = frozenset({"than", "to", "niż", "od"})
_OTHERS = word_set("""
    any all most other others every each inni inne inny inna
""")
_AMOUNTING = word_set("""
    wyniósł wyniosła wyniosło wyniosły sięgnął sięgnęła osiągnął osiągnęła osiągnęło stood stands
    reached hit came amounted
""")
_BESIDES = frozenset(["than", "niż", "od", "the", "a", "of", "its", "their", "level", "figure", "value"])
_INVERTED = frozenset({"had", "were", "should"})
_BEATING = frozenset(
    {"beat", "beats", "beating", "bests", "bested", "trumps", "trumped", "bettered", "betters"}
)
_NO_RISE = frozenset({"short", "with", "for"})
_PACED = word_set("""
    slow slowed slows slowing speed speeds speeding sped speeded
""")
_CARRYING = MOVING | CONTINUING | FILLERS | _BEATING
_PRICED = word_set("""
    cheaper costlier pricier dearer
""")
_TIME = re.compile(
    r"durat|time|days?\b|hours?\b|weeks?\b|dni\b|godzin|delay|wait|latenc|stay|czas|opóźn|oczekiw|trwan"
)
_AGAINST = _BEATING | frozenset(
    {"than", "niż", "od", "above", "below", "exceeds", "exceeded", "exceeding"}
)


class Objection(NamedTuple):
    """Where a sentence is wrong, and what would be right."""

    start: int
    end: int
    hint: str


@dataclass(frozen=True, slots=True)
class _Said:
    """A word that claims a direction, at its place in a clause."""

    at: int
    claim: Claim
    negated: bool


class Directions:
    """Reads the sentences of one text in order: a pronoun speaks of what the last one was about."""

    def __init__(self, index: FactIndex, *, orders: bool = False) -> None:
        self._index = index
        self._orders = orders
        self._compared = index.comparisons
        self._last: Fact | None = None
        self._last_comparison: str | None = None

    def objections(self, sentence: Sentence) -> Iterator[Objection]:
        """Return what the sentence says against the facts."""
        bases = {}
        compared = set()
        for token in sentence.cited:
            fact, comparison = self._index.base(token.cited or "")
            if fact is not None:
                bases[fact.id] = fact
                if comparison:
                    compared.add((fact.id, comparison))
        only = next(iter(bases.values())) if len(bases) == 1 else None
        for number, clause in enumerate(sentence.clauses):
            for said in self._claims(clause):
                place = clause[said.at]
                wrong = self._wrong(clause, said, number, sentence, only, compared)
                if wrong:
                    yield Objection(place.start, place.end, wrong)
        if bases:
            self._last = only
            self._last_comparison = None

    def _claims(  # noqa: C901, PLR0912 — each condition is a use of a word that claims nothing
        self, clause: Sequence[Token]
    ) -> list[_Said]:
        # A label such as "Flights not on time" denies nothing.
        labelled = self._index.labelled([token.lower for token in clause])
        words = [
            "" if at in labelled or (at and token.text == "May") else token.lower
            for at, token in enumerate(clause)
        ]
        if any(word in HEDGES and word not in self._compared.words for word in words):
            return []
        if words[0] in _INVERTED and clause[0].text[0].isupper():
            return []  # "Had costs stayed flat"
        found = []
        for at, token in enumerate(clause):
            claim = claim_of(words[at]) if token.is_word else None
            if words[at] in _BEATING and at + 1 < len(clause) and any(t.cited for t in clause[:at]):
                claim = "good"
            if at + 1 < len(clause) and self._is_change(clause[at + 1]):
                claim = claim or claim_beside_change(words[at])
            before = words[at - 1] if at else ""
            phrasal = phrase_claim(before, words[at]) or self._standing(words, at)
            phrasal = phrasal or self._of_object(clause, words, at)
            claim = phrasal or claim
            goes_on = before == "to" and at > 1 and words[at - 2] in CONTINUING
            ordered = is_order(token.lower, before) and not goes_on
            if claim is None or ordered or (self._orders and at == 0):
                continue
            names = not phrasal and not token.lower.endswith(("ed", "ing", "er"))
            if names and self._index.naming & stems(token.lower):
                continue  # "crashes", where the data has a crash rate
            if self._is_ranking(clause, at):
                continue
            if before == "in" and token.lower == "fall":
                continue  # the season
            if token.lower == "under" and not (at and self._is_change(clause[at - 1])):
                continue  # "under pressure"
            if token.lower == "up" and words[at + 1 : at + 2] and words[at + 1] in _NO_RISE:
                continue  # "came up short"
            if claim in {"up", "down"} and before in _PACED:
                continue  # "slowed down"
            no = negated(words, at)
            if no is not None:
                found.append(_Said(at, claim, no))
        return found

    def _standing(self, words: Sequence[str], at: int) -> Claim | None:
        """Return the claim of "ahead of last year", "behind plan"."""
        if words[at] not in {"ahead", "behind"}:
            return None
        compared = self._compared.named(("than", *words[at + 1 : at + 5]))
        return ("up" if words[at] == "ahead" else "down") if compared else None

    def _of_object(self, clause: Sequence[Token], words: Sequence[str], at: int) -> Claim | None:
        """Return the claim of "lost customers", where customers are what a fact counts."""
        claim = claim_beside_change(words[at])
        if claim is None or at + 1 == len(clause) or clause[at + 1].cited or not at:
            return None
        return claim if stems(clause[at + 1].lower) & self._index.naming else None

    def _is_change(self, token: Token) -> bool:
        fact = self._index.facts.get(token.cited or "")
        return fact is not None and fact.change

    def _is_ranking(self, clause: Sequence[Token], at: int) -> bool:
        """Whether a comparative is against other rows: "more than any other"."""
        for near in range(at + 1, min(at + 7, len(clause))):
            if clause[near].lower in {"than", "niż"}:
                rest = clause[near + 1 : near + 8]
                others = any(token.lower in _OTHERS for token in rest[:2])
                if others or self._index.rows_named(rest):
                    return True
                spoken = [token.lower for token in rest if token.is_word]
                return not any(t.cited for t in rest) and not self._compared.in_time(spoken)
        return False

    def _wrong(  # noqa: C901, PLR0911, PLR0912, PLR0917 — a claim is judged by all that stands around it
        self,
        clause: Sequence[Token],
        said: _Said,
        number: int,
        sentence: Sentence,
        only: Fact | None,
        compared: set[tuple[str, str]],
    ) -> str:
        cited = [(at, token) for at, token in enumerate(clause) if token.cited is not None]
        told = self._compared.named(tuple(token.lower for token in clause))
        if not told and sum(bool(self._claims(other)) for other in sentence.clauses) == 1:
            apart = (c for c in sentence.clauses if c is clause or not speaks_of_itself(c))
            told = self._compared.named(tuple(token.lower for c in apart for token in c))
        if cited:
            pair = self._pair(clause, said, cited)
            if pair is not None:
                return pair
            change = self._change(clause, said, cited)
            if change is not None:
                return _against(said, change, {_sign(change.value)}, None)
            value = self._value(clause, said, cited)
            if value is not None:
                fact, comparison = self._index.base(value)
                chosen = {c for owner, c in compared if fact is not None and owner == fact.id}
                if comparison:
                    chosen = {comparison}
                return self._moved(said, fact, set(told) or chosen)
            return ""
        adjacent = clause[said.at].lower in ADJACENT_ONLY
        if adjacent and only is not None and is_followed(sentence, number, said.at):
            alone = len(self._claims(clause)) == 1
            return self._moved(said, only, set(told) or {c for _, c in compared}) if alone else ""
        if adjacent and not (
            is_predicate(clause, said.at)
            or is_comparison(clause, said.at)
            or self._compared.named(tuple(t.lower for t in clause[said.at + 1 : said.at + 5]))
            or goes_on(sentence, number)
            or is_told(clause, said.at)
            or (only is not None and announces(sentence, number, said.at))
        ):
            return ""
        named = self._named(sentence, number, said)
        if named:
            # A clause with a figure and a claim of its own says what it is compared with for itself.
            elsewhere = any(
                any(token.cited for token in other) and self._claims(other)
                for other in sentence.clauses
                if other is not clause
            )
            chosen_of = {
                owner: set() if elsewhere else {c for o, c in compared if o == owner}
                for owner, _ in compared
            }
            if shared := self._is_shared(clause, said, named if only is None else [only], set(told)):
                return shared
            wrong = [self._moved(said, f, set(told) or chosen_of.get(f.id, set())) for f in named]
            if only is not None and only in named:
                return self._moved(said, only, set(told) or chosen_of.get(only.id, set()))
            return wrong[0] if all(wrong) else ""
        first = clause[0].lower
        if only is not None and (first in PRONOUNS or self._leads(sentence, number, said)):
            return self._moved(said, only, set(told) or {c for _, c in compared})
        if not sentence.cited and self._last is not None and first in PRONOUNS:
            return self._moved(said, self._last, set(told))
        return ""

    def _is_shared(
        self, clause: Sequence[Token], said: _Said, named: Sequence[Fact], told: set[str]
    ) -> str:
        """Hold "the only store to grow" against the other rows."""
        only = any(
            token.lower == "only"
            and {t.lower for t in clause[at + 1 : at + 4]} & self._index.kinds_of_rows
            for at, token in enumerate(clause[: said.at])
        )
        cells = [self._index.cells.get(fact.id) for fact in named]
        if not only or said.negated or not cells:
            return ""
        for cell in cells:
            others = (
                [] if cell is None else [row for n, row in enumerate(cell.table.rows) if n != cell.row]
            )
            facts = [self._index.facts.get(row[cell.column]) for row in others] if cell else []
            if all(self._moved(said, fact, told) for fact in facts if fact is not None):
                return ""
        return "other rows did so too"

    def _named(self, sentence: Sentence, number: int, said: _Said) -> Sequence[Fact]:
        """Return what a clause without a figure is about, by the names in it.

        A verb behind "and" has the subject of the clause before; rows may be named anywhere.
        """
        clause = sentence.clauses[number]
        pairs = pairwise(clause)
        rows = self._index.rows_named(sentence.tokens)
        of_row = any(
            a.lower in {"only", "one"} and b.lower in self._index.kinds_of_rows for a, b in pairs
        )
        if of_row and not rows:
            return ()  # "the only hotel where complaints increased" is a row, not the total
        if number and not said.at and not clause[0].lower.endswith("ing"):
            earlier = map(self._index.called, reversed(sentence.clauses[:number]))
            return next(filter(None, earlier), ())
        between = {token.lower for token in clause[1 : said.at]}
        if number and clause[0].lower in {"and", "but", "yet"} and between <= _CARRYING:
            return self._index.called(sentence.clauses[number - 1])
        named = self._index.called(subject_of(clause, said.at))
        if clause[said.at].lower in _PRICED:
            named = [fact for fact in named if fact.unit is Unit.CURRENCY]
        cells = self._index.cells
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

    @staticmethod
    def _leads(sentence: Sentence, number: int, said: _Said) -> bool:
        """Whether a clause without a figure of its own speaks of the figure that its sentence cites."""
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

    def _pair(self, clause: Sequence[Token], said: _Said, cited: list[tuple[int, Token]]) -> str | None:
        """Hold "[[a]] is higher than [[b]]" against the two values; ``None`` where it is no such."""
        before = [token for at, token in cited if at < said.at]
        after = [(at, token) for at, token in cited if at > said.at]
        if not before or not after or said.claim == "flat":
            return None
        between = {token.lower for token in clause[said.at : after[0][0]]}
        one, other = (self._index.facts.get(t.cited or "") for t in (before[-1], after[0][1]))
        if not between & _AGAINST or one is None or other is None:
            return None
        if one.change or other.change or one.unit != other.unit:
            return None
        if not isinstance(one.value, Decimal) or not isinstance(other.value, Decimal):
            return None
        actual = _sign(one.value - other.value)
        return _against(said, one, {actual}, None)

    def _change(
        self, clause: Sequence[Token], said: _Said, cited: list[tuple[int, Token]]
    ) -> Fact | None:
        """Return the cited change that a claim stands beside."""
        nearest: tuple[int, Fact] | None = None
        for at, token in cited:
            fact = self._index.facts.get(token.cited or "")
            if fact is None or not fact.change or not isinstance(fact.value, Decimal):
                continue
            lower, upper = sorted((at, said.at))
            if any(lower < other < upper for other, _ in cited):
                continue
            distance = upper - lower
            if said.at < at:
                following = clause[said.at + 1].lower
                word = clause[said.at].lower
                if word in {"more", "less", "fewer", "up", "down", "więcej", "mniej"}:
                    close = distance == 1 or (
                        distance == 2 and following not in _BOUNDING  # noqa: PLR2004 — "up by [[…]]"
                    )
                else:
                    close = distance <= _BEFORE
            else:
                close = distance <= _AFTER
            if close and (nearest is None or distance < nearest[0]):
                nearest = (distance, fact)
        return nearest[1] if nearest else None

    def _value(  # noqa: C901 — the two sides of a claim
        self, clause: Sequence[Token], said: _Said, cited: list[tuple[int, Token]]
    ) -> str | None:
        """Return the cited value that a claim moves to, or that is said to be higher or lower."""
        word = clause[said.at].lower
        for at, token in cited:
            if said.at < at <= said.at + _BEFORE:
                if any(said.at < other < at for other, _ in cited):
                    break
                besides = {t.lower for t in clause[said.at + 1 : at]}
                against = word in {"above", "below", "powyżej", "poniżej"} or besides & _AGAINST
                if against and besides <= _BESIDES and self._is_baseline(token):
                    return token.cited
                if clause[at - 1].lower not in PREPOSITIONS:
                    continue
                opens = said.at == 0 and clause[at - 1].lower in {"from", "z", "ze"}
                stands = at == said.at + 2 and clause[at - 1].lower == "at"  # "down at [[…]]"
                if word in ADJACENT_ONLY and not (opens or stands or is_predicate(clause, said.at)):
                    continue
                if word in {"more", "less", "fewer", "więcej", "mniej"}:
                    continue
                return token.cited
        for at, token in reversed(cited):
            if at < said.at:
                between = [t.lower for t in clause[at + 1 : said.at]]
                if all(word in FILLERS for word in between):
                    direct = bool(between) or said.at == at + 1
                    following = clause[said.at + 1].lower if said.at + 1 < len(clause) else ""
                    if word in {"more", "less", "fewer"} and following not in {"than", ""}:
                        return None
                    return token.cited if direct else None
                return None
        return None

    def _is_baseline(self, token: Token) -> bool:
        fact = self._index.facts.get(token.cited or "")
        return fact is not None and not fact.change and bool(self._index.base(fact.id)[1])

    def _moved(self, said: _Said, fact: Fact | None, chosen: set[str]) -> str:
        """Hold a claim against how a value stands to what it is compared with."""
        if fact is None or not isinstance(fact.value, Decimal):
            return ""
        comparisons = [c for c in fact.comparisons if c.id in chosen] or list(fact.comparisons)
        return _against(said, fact, {c.direction for c in comparisons}, comparisons)


def _against(said: _Said, fact: Fact, actual: set[str], comparisons: Sequence[Comparison] | None) -> str:
    """Return what the facts say where a claim is against it."""
    if not actual or (fact.change and not isinstance(fact.value, Decimal)):
        return ""
    claimed: str = said.claim
    if claimed in {"fast", "slow"}:
        claimed = "down" if (claimed == "fast") == is_time(fact) else "up"
    if claimed in {"good", "bad"}:
        if fact.good is None:
            return ""
        opposite = "down" if fact.good == "up" else "up"
        claimed = fact.good if claimed == "good" else opposite
    if claimed == "flat":
        sizes = [abs(c.percent) if c.percent is not None else 1.0 for c in comparisons or ()]
        moved = bool(sizes) and min(sizes) > _STEADY and "flat" not in actual
        wrong = moved and not said.negated
    elif said.negated:
        wrong = actual == {claimed}
    else:
        wrong = claimed not in actual
    return f"the facts say {' or '.join(sorted(actual))}" if wrong else ""


def is_time(fact: Fact) -> bool:
    """Whether a figure says how long something takes, so that faster is less."""
    return fact.unit in {Unit.MINUTES, Unit.SECONDS} or _TIME.search(fact.label.casefold()) is not None


def _sign(value: object) -> str:
    if not isinstance(value, Decimal):
        return "flat"
    return "up" if value > 0 else "down" if value < 0 else "flat"

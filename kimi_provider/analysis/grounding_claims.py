"""The words of a clause that claim a direction, without those that only look so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_index import stems
from kimi_provider.analysis.words import (
    CONTINUING,
    HEDGES,
    claim_beside_change,
    claim_of,
    is_order,
    negated,
    phrase_claim,
)
from kimi_provider.analysis.words_list import word_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.grounding_index import FactIndex
    from kimi_provider.analysis.grounding_text import Token
    from kimi_provider.analysis.words import Claim

BEATING = frozenset(
    {"beat", "beats", "beating", "bests", "bested", "trumps", "trumped", "bettered", "betters"}
)
_OTHERS = word_set("""
    any all most other others every each inni inne inny inna
""")
_INVERTED = frozenset({"had", "were", "should"})
_FALLING = frozenset({"fell", "fall", "falls", "falling", "fallen"})
_NO_FALL = frozenset({"ill", "sick", "through", "victim", "asleep", "into", "apart"})
_NO_RISE = frozenset({"short", "with", "for"})
_PACED = word_set("""
    slow slowed slows slowing speed speeds speeding sped speeded
""")


@dataclass(frozen=True, slots=True)
class Said:
    """A word that claims a direction, at its place in a clause."""

    at: int
    claim: Claim
    negated: bool


class Claims:
    """Finds what the clauses of a text claim.

    :param orders: whether the text says what to do, so that its first verb claims nothing.
    """

    def __init__(self, index: FactIndex, *, orders: bool = False) -> None:
        self._index = index
        self._orders = orders

    def of(self, clause: Sequence[Token]) -> list[Said]:
        """Return the claims of a clause, in its order."""
        # A label such as "Flights not on time" denies nothing.
        labelled = self._index.labelled([token.lower for token in clause])
        words = [
            "" if at in labelled or (at and token.text == "May") else token.lower
            for at, token in enumerate(clause)
        ]
        named = self._index.comparisons.words
        if any(word in HEDGES and word not in named for word in words):
            return []
        if words[0] in _INVERTED and clause[0].text[0].isupper():
            return []  # "Had costs stayed flat"
        found = []
        for at in range(len(clause)):
            claim = self._at(clause, words, at)
            no = None if claim is None else negated(words, at)
            if claim is not None and no is not None:
                found.append(Said(at, claim, no))
        return found

    def _at(self, clause: Sequence[Token], words: Sequence[str], at: int) -> Claim | None:
        """Return what the word at a place claims; ``None`` where it claims nothing there."""
        if self._orders and at == 0:
            return None
        before = words[at - 1] if at else ""
        phrasal = (
            phrase_claim(before, words[at])
            or self._standing(words, at)
            or self._of_object(clause, words, at)
        )
        claim = phrasal or self._of_word(clause, words, at)
        goes_on = before == "to" and at > 1 and words[at - 2] in CONTINUING
        if claim is None or (is_order(clause[at].lower, before) and not goes_on):
            return None
        word = clause[at].lower
        if not phrasal and self._is_label(word):
            return None
        if self._is_ranking(clause, at) or self._is_idle(clause, words, at):
            return None
        # "slowed down" is no fall.
        return None if claim in {"up", "down"} and before in _PACED else claim

    def _of_word(self, clause: Sequence[Token], words: Sequence[str], at: int) -> Claim | None:
        claim = claim_of(words[at]) if clause[at].is_word else None
        if at + 1 == len(clause):
            return claim
        if words[at] in BEATING and any(token.cited for token in clause[:at]):
            return "good"
        beside = claim_beside_change(words[at]) if self._is_change(clause[at + 1]) else None
        return claim or beside

    def _is_label(self, word: str) -> bool:
        """Whether a word names what a fact is of: "crashes", where the data has a crash rate."""
        if word.endswith(("ed", "ing", "er")):
            return word.endswith(("ed", "ing")) and word in self._index.label_words
        return bool(self._index.naming & stems(word))

    def _is_idle(self, clause: Sequence[Token], words: Sequence[str], at: int) -> bool:
        """Whether a word is not what it seems: a season, "under pressure", "came up short"."""
        word = clause[at].lower
        if word in _FALLING and words[at + 1 : at + 2] and words[at + 1] in _NO_FALL:
            return True
        if word == "fall":
            return at > 0 and words[at - 1] == "in"
        if word == "under":
            return not (at and self._is_change(clause[at - 1]))
        return word == "up" and bool(words[at + 1 : at + 2]) and words[at + 1] in _NO_RISE

    def _standing(self, words: Sequence[str], at: int) -> Claim | None:
        """Return the claim of "ahead of last year", "behind plan"."""
        if words[at] not in {"ahead", "behind"}:
            return None
        compared = self._index.comparisons.named(("than", *words[at + 1 : at + 5]))
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
                return not any(t.cited for t in rest) and not self._index.comparisons.in_time(spoken)
        return False

"""Which cited figure a claim is bound to: a change beside it, or a value that it moves to."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_claims import BEATING
from kimi_provider.analysis.grounding_clauses import is_predicate
from kimi_provider.analysis.grounding_signs import against, sign
from kimi_provider.analysis.words import ADJACENT_ONLY, FILLERS, PREPOSITIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.grounding_claims import Said
    from kimi_provider.analysis.grounding_index import FactIndex
    from kimi_provider.analysis.grounding_text import Token
    from kimi_provider.schemas import Fact

_BEFORE, _AFTER = 6, 3  # words between a claim and the change it speaks of
_BOUNDING = frozenset({"than", "to", "niż", "od"})
_BESIDES = frozenset(["than", "niż", "od", "the", "a", "of", "its", "their", "level", "figure", "value"])
_AGAINST = BEATING | frozenset(
    {"than", "niż", "od", "above", "below", "exceeds", "exceeded", "exceeding"}
)
_QUANTITIES = frozenset({"more", "less", "fewer", "więcej", "mniej"})


class Bound:
    """Looks at the figures that a clause cites around a claim."""

    def __init__(self, index: FactIndex) -> None:
        self._index = index

    def pair(self, clause: Sequence[Token], said: Said, cited: list[tuple[int, Token]]) -> str | None:
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
        actual = sign(one.value - other.value)
        return against(said, one, {actual})

    def change(self, clause: Sequence[Token], said: Said, cited: list[tuple[int, Token]]) -> Fact | None:
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
                if word in _QUANTITIES | {"up", "down"}:
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

    def value(self, clause: Sequence[Token], said: Said, cited: list[tuple[int, Token]]) -> str | None:
        """Return the cited value that a claim moves to, or that is said to be higher or lower."""
        behind = next((place for place in cited if place[0] > said.at), None)
        if (
            behind is not None
            and behind[0] <= said.at + _BEFORE
            and self._moves_to(clause, said, *behind)
        ):
            return behind[1].cited
        before = next((place for place in reversed(cited) if place[0] < said.at), None)
        if before is not None and self._is_said_of(clause, said, before[0]):
            return before[1].cited
        return None

    def _moves_to(self, clause: Sequence[Token], said: Said, at: int, token: Token) -> bool:
        """Whether a claim leads to the figure behind it: "rose to [[…]]", "above [[…]]"."""
        word = clause[said.at].lower
        besides = {t.lower for t in clause[said.at + 1 : at]}
        leads = word in {"above", "below", "powyżej", "poniżej"} or besides & _AGAINST
        if leads and besides <= _BESIDES and self._is_baseline(token):
            return True
        preposition = clause[at - 1].lower
        if preposition not in PREPOSITIONS or word in _QUANTITIES:
            return False
        opens = said.at == 0 and preposition in {"from", "z", "ze"}
        stands = at == said.at + 2 and preposition == "at"  # "down at [[…]]"
        return word not in ADJACENT_ONLY or opens or stands or is_predicate(clause, said.at)

    @staticmethod
    def _is_said_of(clause: Sequence[Token], said: Said, at: int) -> bool:
        """Whether a claim is made of the figure before it: "[[…]], slightly higher"."""
        between = [token.lower for token in clause[at + 1 : said.at]]
        if not all(word in FILLERS for word in between):
            return False
        following = clause[said.at + 1].lower if said.at + 1 < len(clause) else ""
        quantity = clause[said.at].lower in {"more", "less", "fewer"}
        return not quantity or following in {"than", ""}

    def _is_baseline(self, token: Token) -> bool:
        fact = self._index.facts.get(token.cited or "")
        return fact is not None and not fact.change and bool(self._index.base(fact.id)[1])

"""How a word stands in its clause: what it is about, and whether it claims anything there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kimi_provider.analysis.words import BASE_FORMS, MOVING, PRONOUNS, SUBORDINATING
from kimi_provider.analysis.words_list import word_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.grounding_text import Sentence, Token

_TOLD_AT_THE_END = word_set("""
    more less longer better worse faster quicker slower
""")
_OUTSIDE = word_set("""
    by except besides unlike excluding przez oprócz poza
""")
NOUN = re.compile(
    r"(?:increase|decrease|rise|drop|decline|fall|jump|growth|surge|spike|dip|gain|reduction|slide|slump|"
    r"climb|plunge|improvement|deterioration|recovery|uptick|downturn|expansion|contraction)s?|"
    r"(?:wzrost|spad|wzros)(?:u|ek|ku|em|kiem|ki|y|owi|kowi)?|(?:popraw|podwyżk|obniżk|zwyżk|zniżk)[aęiąy]"
)
_NOUN_PL = re.compile(
    r"(?:wzrost|spad)(?:u|ek|ku|em|kiem|ki|y|owi|kowi)?|(?:popraw|podwyżk|obniżk|zwyżk|zniżk)[aęiąy]"
)


def announces(sentence: Sentence, number: int, at: int) -> bool:
    """Whether a claim opens a sentence whose figure follows a colon: "Fewer came: [[…]]"."""
    if number or at or len(sentence.clauses) == 1:
        return False
    following = sentence.clauses[1]
    return sentence.mark_before(following[0]) == ":" and following[0].cited is not None


def subject_of(clause: Sequence[Token], at: int) -> Sequence[Token]:
    """Return the words that say what a claim is about.

    A noun speaks of what follows ("the rise in refunds", "wzrost obciążenia"); who did it, or stands
    outside, is not what it is about ("driven by West", "in every ward except Cardiology").
    """
    word = clause[at].lower
    following = clause[at + 1].lower if at + 1 < len(clause) else ""
    if NOUN.fullmatch(word) and (following in {"in", "of"} or word not in BASE_FORMS):
        until = at + (5 if following in {"in", "of"} else 2)
        clause = clause[at + 1 : until] if following in {"in", "of"} or is_noun_pl(word) else clause
    kept = []
    for token in clause:
        if token.lower in _OUTSIDE:
            break
        kept.append(token)
    return kept or clause


def is_noun_pl(word: str) -> bool:
    """Whether a word is a Polish noun of change, which a genitive follows."""
    return _NOUN_PL.fullmatch(word) is not None


def is_predicate(clause: Sequence[Token], at: int) -> bool:
    """Whether a word such as "up" stands behind a verb of being or moving."""
    before = [token.lower for token in clause[max(0, at - 3) : at]]
    return any(word in MOVING for word in before) or (bool(before) and before[-1] in {"w", "we"})


def goes_on(sentence: Sentence, number: int) -> bool:
    """Whether a comparison follows what is set between commas: "more customers, [[…]], than"."""
    return any(
        clause[0].lower in {"than", "niż"} for clause in sentence.clauses[number + 1 : number + 3]
    )


def is_told(clause: Sequence[Token], at: int) -> bool:
    """Whether a comparative is the news itself: "guests paid more", "fewer nights were sold"."""
    if at == len(clause) - 1:
        return clause[at].lower in _TOLD_AT_THE_END
    ahead = [token.lower for token in clause[at + 1 : at + 5]]
    opens = at == 0 and clause[at].lower in {"more", "fewer", "less"} and ahead[:1] != ["of"]
    return opens and any(word in {"were", "was", "came"} or word.endswith("ed") for word in ahead[1:])


def is_followed(sentence: Sentence, number: int, at: int) -> bool:
    """Whether a comparative has its figure right behind its clause: "guests spent less time, [[…]]"."""
    word = sentence.clauses[number][at].lower
    compares = word in {"more", "less"} or (word.endswith("er") and word != "under")
    following = sentence.clauses[number + 1 : number + 2]
    if not compares or not following or following[0][0].cited is None:
        return False
    cited = [clause for clause in sentence.clauses if any(token.cited for token in clause)]
    return cited == following and (number == 0 or not speaks_of_itself(sentence.clauses[number]))


def speaks_of_itself(clause: Sequence[Token]) -> bool:
    """Whether what a clause compares is its own matter: "which matches last year"."""
    first = clause[0].lower
    return first in PRONOUNS or first in SUBORDINATING or first.endswith("ing")


def is_comparison(clause: Sequence[Token], at: int) -> bool:
    """Whether something is compared: "fewer cancellations than"."""
    return any(token.lower in {"than", "niż"} for token in clause[at + 1 : at + 12])

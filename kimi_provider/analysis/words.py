"""What words claim about figures: directions, judgments, extremes, numbers; English and Polish.

A language that is not here is checked for figures, ids, units and names all the same; only what its
words say of directions and extremes is then not. Where a word is one thing in English and another in
Polish ("ten", "most"), the language of the sentence decides.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from kimi_provider.analysis import words_en as en
from kimi_provider.analysis import words_pl as pl
from kimi_provider.analysis.words_list import word_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Claim = Literal["up", "down", "good", "bad", "flat", "fast", "slow"]
Extreme = Literal["max", "min", "best", "worst", "lead", "slow", "fast", "either"]

REFERENCE_MARK = "\ue000"
"""What stands for each character of a reference while a text is read; no cleaned text holds it."""

MONTHS: Final[tuple[tuple[str, ...], ...]] = (
    ("January", "Jan", "styczeń", "stycznia", "styczniu"),
    ("February", "Feb", "luty", "lutego", "lutym"),
    ("March", "Mar", "marzec", "marca", "marcu"),
    ("April", "Apr", "kwiecień", "kwietnia", "kwietniu"),
    ("May", "maj", "maja", "maju"),
    ("June", "Jun", "czerwiec", "czerwca", "czerwcu"),
    ("July", "Jul", "lipiec", "lipca", "lipcu"),
    ("August", "Aug", "sierpień", "sierpnia", "sierpniu"),
    ("September", "Sept", "Sep", "wrzesień", "września", "wrześniu"),
    ("October", "Oct", "październik", "października", "październiku"),
    ("November", "Nov", "listopad", "listopada", "listopadzie"),
    ("December", "Dec", "grudzień", "grudnia", "grudniu"),
)
"""Names of each month, as dates are written with them."""

NUMBER_WORDS: Final = re.compile(rf"\b(?:{en.NUMBERS}|{pl.NUMBERS})\b", re.IGNORECASE)
"""A figure written in words."""
TEN: Final = re.compile(rf"\b{en.TEN}\b", re.IGNORECASE)
"""A figure in English, and "this" in Polish."""

HISTORY: Final = re.compile(rf"\b(?:{en.HISTORY}|{pl.HISTORY})(?!\w)", re.IGNORECASE)
"""Says that something has never been so, which only a table over time can know."""
SCOPES: Final = re.compile(rf"\b(?:{en.SCOPES}|{pl.SCOPES})(?!\w)", re.IGNORECASE)
"""Says it too, beside a superlative."""
CHANGES: Final = re.compile(rf"(?:{en.CHANGES}|{pl.CHANGES})", re.IGNORECASE)
"""What a superlative may be about other than a value: a change."""

BASE_FORMS: Final = en.BASE_FORMS
CONTINUING: Final = en.CONTINUING
ADJACENT_ONLY: Final = en.ADJACENT_ONLY | pl.ADJACENT_ONLY
MOVING: Final = en.MOVING | pl.MOVING
PREPOSITIONS: Final = en.PREPOSITIONS | pl.PREPOSITIONS
FILLERS: Final = en.FILLERS | pl.FILLERS
NEGATIONS: Final = en.NEGATIONS | pl.NEGATIONS
NOT_NEGATIVE: Final = en.NOT_NEGATIVE | pl.NOT_NEGATIVE
HEDGES: Final = en.HEDGES | pl.HEDGES
SUBORDINATING: Final = en.SUBORDINATING | pl.SUBORDINATING
JOINING: Final = en.JOINING | pl.JOINING
PRONOUNS: Final = en.PRONOUNS | pl.PRONOUNS
COMMON_CAPITALS: Final = (
    en.COMMON_CAPITALS
    | pl.COMMON_CAPITALS
    | {name.casefold() for names in MONTHS for name in names if name not in ("May", "maj", "maja")}
    | {"may", "maj", "maja"}
)

_CLAIMS: Final[tuple[tuple[Claim, re.Pattern[str]], ...]] = (
    ("fast", re.compile(f"{en.FAST}|{pl.FAST}")),
    ("slow", re.compile(f"{en.SLOW}|{pl.SLOW}")),
    ("up", re.compile(f"{en.UP}|{pl.UP}")),
    ("down", re.compile(f"{en.DOWN}|{pl.DOWN}")),
    ("good", re.compile(f"{en.GOOD}|{pl.GOOD}")),
    ("bad", re.compile(f"{en.BAD}|{pl.BAD}")),
    ("flat", re.compile(f"{en.FLAT}|{pl.FLAT}")),
)
_EXTREMES: Final[tuple[tuple[Extreme, re.Pattern[str]], ...]] = (
    ("max", re.compile(f"{en.MAXIMUM}|{pl.MAXIMUM}")),
    ("slow", re.compile(f"{en.SLOWEST}|{pl.SLOWEST}")),
    ("fast", re.compile(f"{en.FASTEST}|{pl.FASTEST}")),
    ("min", re.compile(f"{en.MINIMUM}|{pl.MINIMUM}")),
    ("best", re.compile(f"{en.BEST}|{pl.BEST}")),
    ("worst", re.compile(f"{en.WORST}|{pl.WORST}")),
    ("either", re.compile(f"{en.EXTREME}|{pl.EXTREME}")),
)
_NO_EXTREME = re.compile(pl.NO_RANKING)
_INFINITIVE = re.compile(r"\w+[ćc]")
_POLISH_LETTERS = re.compile("[ąćęłńśźż]", re.IGNORECASE)
_POLISH = pl.POLISH_SIGNS - {"we", "do", "to", "ten", "on", "by", "o", "a"}
_ENGLISH = word_set("""
    the of was is were by at in with had has for from than
""")


@lru_cache(maxsize=8192)
def claim_of(word: str) -> Claim | None:
    """Return what a word, in lower case, claims that a figure did; ``None`` where nothing."""
    if word in {"advance", "cutting", "mountain", "waning", "expanse", "mounts"}:
        return None
    found = next((claim for claim, pattern in _CLAIMS if pattern.fullmatch(word)), None)
    # A Polish infinitive says what to do, not what was.
    infinitive = word.endswith("ć") or word in {"zwiększ", "zmniejsz", "obniż", "popraw", "skróć"}
    return None if infinitive else found


_BESIDE_CHANGE: Final[tuple[tuple[Claim, re.Pattern[str]], ...]] = (
    ("up", re.compile(f"{en.GAINED}|{pl.GAINED}")),
    ("down", re.compile(f"{en.LOST}|{pl.LOST}")),
)


def claim_beside_change(word: str) -> Claim | None:
    """Return what a word claims right before a change, and only there: "lost [[…delta]]"."""
    return next((claim for claim, pattern in _BESIDE_CHANGE if pattern.fullmatch(word)), None)


_PHRASES: Final[tuple[tuple[Claim, re.Pattern[str]], ...]] = (
    ("down", re.compile(en.PHRASES_DOWN)),
    ("up", re.compile(en.PHRASES_UP)),
    ("good", re.compile(en.PHRASES_GOOD)),
    ("bad", re.compile(en.PHRASES_BAD)),
)


def phrase_claim(before: str, word: str) -> Claim | None:
    """Return what two words claim together: "gave up" is a loss, though "up" is none."""
    pair = f"{before} {word}"
    return next((claim for claim, pattern in _PHRASES if pattern.fullmatch(pair)), None)


@lru_cache(maxsize=8192)
def extreme_of(word: str) -> Extreme | None:
    """Return which extreme of its kind a word, in lower case, says that something is."""
    if word in en.NO_SUPERLATIVES or word in pl.NO_SUPERLATIVES or _NO_EXTREME.fullmatch(word):
        return None
    return next((extreme for extreme, pattern in _EXTREMES if pattern.fullmatch(word)), None)


def is_order(word: str, before: str) -> bool:
    """Whether a word says what should be, not what was: "to reduce", "must fall"."""
    return word in en.BASE_FORMS and before in en.MODALS


def is_polish(words: Iterable[str]) -> bool:
    """Whether a text is Polish rather than English, by its small words and its letters."""
    polish = english = 0
    for word in words:
        polish += (word in _POLISH) + bool(_POLISH_LETTERS.search(word))
        english += word in _ENGLISH
    return polish > english


def negated(words: Sequence[str], position: int) -> bool | None:
    """Return whether the word at a position is negated; ``None`` where that is hard to say."""
    for near in range(position - 1, max(-1, position - 4), -1):
        word = words[near]
        fails = word in {"failed", "fails", "failing"} and words[near + 1] == "to"
        fails = fails or word in en.ENDING
        if fails or word in NEGATIONS or word.endswith(("n't", "n\u2019t")):
            following = words[near + 1] if near + 1 < len(words) else ""
            if word == "no" and following == "longer" and near + 1 < position:
                return True
            return None if following in NOT_NEGATIVE else True
    return False

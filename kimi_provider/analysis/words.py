"""Words that make a claim about figures: directions, numbers, names of months.

English, and the months of Polish too. A language that is not here is checked for figures and ids all
the same; only what its words say is then not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Direction = Literal["up", "down"]

_UP = (
    "above advance advanced climb climbed climbing gain gained grew grow growing grown growth higher "
    "increase increased increases increasing jump jumped more rise risen rises rising rose soared "
    "spiked surge surged up"
)
_DOWN = (
    "below decline declined declines declining decrease decreased decreases decreasing drop dropped "
    "dropping drops fall fallen falling falls fell fewer less lower plunged plummeted reduced reduction "
    "shrank shrunk slid slumped sank down"
)
DIRECTIONS: Final[Mapping[str, Direction]] = {
    **dict.fromkeys(_UP.split(), "up"),
    **dict.fromkeys(_DOWN.split(), "down"),
}
JUDGMENTS: Final[Mapping[str, Literal["good", "bad"]]] = {
    **dict.fromkeys(["better", "improved", "improvement", "improving"], "good"),
    **dict.fromkeys(["deteriorated", "deterioration", "worse", "worsened", "worsening"], "bad"),
}
"""What is good is up or down as the fact says."""

# Not "one", "two", "three", "first", "third": they count what the sentence itself names, more often
# than they claim anything.
_NUMERALS = (
    "four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    "eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
)
_PARTS = r"half|(?:a|one) (?:third|quarter|fifth|tenth)|two thirds|three quarters"
NUMBER_WORDS: Final = re.compile(
    rf"\b(?:(?:{_NUMERALS})(?:-\w+)?|dozens?|hundreds?|thousands?|[mb]illions?|twice|thrice"
    rf"|(?:doubl|tripl|quadrupl|halv)(?:ed|es|ing)|(?:two|three|{_NUMERALS})fold|(?:{_PARTS}) of)\b",
    re.IGNORECASE,
)
"""A figure written in words."""

_NEGATIONS = frozenset({"hardly", "neither", "never", "no", "nor", "not", "without"})

MONTHS: Final[tuple[tuple[str, ...], ...]] = (
    ("January", "Jan", "styczeń", "stycznia"),
    ("February", "Feb", "luty", "lutego"),
    ("March", "Mar", "marzec", "marca"),
    ("April", "Apr", "kwiecień", "kwietnia"),
    ("May", "maj", "maja"),
    ("June", "Jun", "czerwiec", "czerwca"),
    ("July", "Jul", "lipiec", "lipca"),
    ("August", "Aug", "sierpień", "sierpnia"),
    ("September", "Sept", "Sep", "wrzesień", "września"),
    ("October", "Oct", "październik", "października"),
    ("November", "Nov", "listopad", "listopada"),
    ("December", "Dec", "grudzień", "grudnia"),
)
"""Names of each month, as dates are written with them."""

REFERENCE_MARK = "\ue000"
"""What stands for each character of a reference while a text is read; no cleaned text holds it."""

# How far from a reference a word still speaks of it.
_WORDS_BEFORE = 4
_WORDS_AFTER = 2
_CLAUSE_END = rf".,;:!?()\n\u2013\u2014{REFERENCE_MARK}"
_LAST_CLAUSE = re.compile(rf"[^{_CLAUSE_END}]*\Z")
_FIRST_CLAUSE = re.compile(rf"[^{_CLAUSE_END}]*")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_BOUND = re.compile(r"\b(?:more|less|fewer|up|down) (?:than|to)\s*\Z", re.IGNORECASE)
_MOVED_TO = re.compile(r"\b(\w+)(?: \w+ly)?(?: back)? to\s*\Z", re.IGNORECASE)
_STANDS = re.compile(
    r"\b(?:is|are|was|were|be|been|stands|stood)(?: \w+){0,2} (higher|lower)\b", re.IGNORECASE
)
_NO_VERBS = frozenset({"above", "below", "fewer", "less", "more"})


def change_claimed(before: str, after: str, *, good: Direction | None) -> Direction | None:
    """Return the direction that the words beside a cited change say it has.

    :param before: the text up to the reference, other references as :data:`REFERENCE_MARK`.
    :param after: the text behind it, likewise.
    :param good: which direction is good news; without it "worse" says no direction.

    ``None`` where they say none, contradict each other or are negated: a check that is wrong now and
    then is soon switched off, so in doubt nothing is claimed.
    """
    clause = _BOUND.sub("", _found(_LAST_CLAUSE, before))
    near = _words(clause)[-_WORDS_BEFORE:] + _words(_found(_FIRST_CLAUSE, after))[:_WORDS_AFTER]
    if any(word in _NEGATIONS or word.endswith(("n't", "n\u2019t")) for word in near):
        return None
    claims = {claim for word in near if (claim := _direction(word, good)) is not None}
    return claims.pop() if len(claims) == 1 else None


def value_claimed(before: str) -> Direction | None:
    """Return the direction in which the words say that a value moved: "fell to [[id]]"."""
    moved = _MOVED_TO.search(_found(_LAST_CLAUSE, before))
    if moved is None or moved[1].lower() in _NO_VERBS | {"up", "down"}:
        return None
    return DIRECTIONS.get(moved[1].lower())


def standing_claimed(sentence: str) -> Direction | None:
    """Return how a sentence about a baseline says that the figure stands: "it is lower"."""
    claims = {DIRECTIONS[word.lower()] for word in _STANDS.findall(sentence)}
    return claims.pop() if len(claims) == 1 and not _NEGATIONS & set(_words(sentence)) else None


def _direction(word: str, good: Direction | None) -> Direction | None:
    judgment = JUDGMENTS.get(word)
    if judgment is None or good is None:
        return DIRECTIONS.get(word)
    bad: Direction = "down" if good == "up" else "up"
    return good if judgment == "good" else bad


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[0] if match else ""


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]

"""Places in a ranking that are claimed without a superlative: "tops the list", "no other is later"."""

# ruff: noqa: E501 — a list or a pattern reads worse in pieces

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kimi_provider.analysis.words import claim_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.grounding_text import Token
    from kimi_provider.analysis.words import Extreme

_TABLE = (
    r"(?:\w+ ){0,2}(?:list|lists|table|tables|ranking|rankings|chart|charts|league|standings|leaderboard|field|"
    r"pack|pile|scale|class|heap|board|ladder)"
)
_PHRASES: Final[tuple[tuple[Extreme, re.Pattern[str]], ...]] = (
    (
        "max",
        re.compile(
            rf"(?:top|tops|topped|topping|head|heads|headed|heading) (?:the|our|every) {_TABLE}\b|"
            rf"(?:at|on|to) the (?:top|head|summit) of (?:the|our) {_TABLE}\b|"
            r"leading (?:cause|reason|source|driver|contributor|category)s?|second to none|na szczycie|na czele"
        ),
    ),
    (
        "min",
        re.compile(
            rf"(?:at|on|to) the (?:bottom|foot|tail end|tail) of (?:the|our) {_TABLE}\b|(?:at|in|to) last place|"
            r"brings? up the rear|brought up the rear|na końcu|zamyka(?:ją|ł|ła)? (?:stawkę|tabelę|listę|ranking)"
        ),
    ),
    (
        "lead",
        re.compile(
            rf"(?:lead|leads|led|leading) (?:the|our) {_TABLE}\b|"
            r"(?:takes?|took|holds?|held) (?:the (?:lead|crown|top spot)|first place|pole position)|"
            r"(?:ranks?|ranked|comes?|came) first|in the lead|(?:clear |undisputed )?front-?runner|"
            r"przoduj\w+|prowadzi(?! do| się)|lider(?:em|ką|ka|uje)?|zajmuj\w+ pierwsze miejsce"
        ),
    ),
    (
        "worst",
        re.compile(
            r"(?:hit|struck|suffered|hurt) hardest|hardest(?:-| )hit|lags? (?:behind )?(?:all|every)|"
            r"trail(?:s|ed)? (?:all|every)|worse than (?:any|all|every)"
        ),
    ),
)
_NOBODY = frozenset(
    ["no", "none", "nobody", "nothing", "żaden", "żadna", "żadne", "nikt", "nowhere", "nigdzie"]
)
_ALL_OTHERS = re.compile(
    r"\b(?:than|niż|od) (?:any (?:other|of the)|all (?:other|the other)|every other|anyone|anybody|anywhere|"
    r"everyone else|everybody else|the rest|each of|któr\w+kolwiek|jakikolwiek|wszystk\w+|pozostał\w+|inn\w+)"
)
_LONGEST = 12  # words between "no other" and "than"
_REACH = 9  # words of a phrase
_COMPARED = re.compile(r"[a-z]{2,}er|\w+(?:szy|sza|sze|iej|ej)")


def placed(tokens: Sequence[Token], at: int) -> Extreme | None:
    """Return which place in a ranking the words from ``at`` on claim; ``None`` where none."""
    if not tokens[at].is_word:
        return None
    words = []
    for token in tokens[at : at + _REACH]:
        if not token.is_word:
            break
        words.append(token.lower)
    text = " ".join(words)
    for extreme, pattern in _PHRASES:
        if pattern.match(text):
            return extreme
    return _unsurpassed(tokens, at)


def _unsurpassed(tokens: Sequence[Token], at: int) -> Extreme | None:
    """Return what "no other carrier was later than" claims of whom it names."""
    word = tokens[at].lower
    ahead = [token.lower for token in tokens[at + 1 : at + 4]]
    if not {"than", "niż", "od"} & set(ahead):
        return None
    before = [token.lower for token in tokens[max(0, at - _LONGEST) : at]]
    behind = " ".join(token.lower for token in tokens[at + 1 : at + 6])
    if _ALL_OTHERS.search(behind) and not {"no", "not", "nie"}.intersection(before[-3:]):
        return _extreme(word)
    if not _NOBODY.intersection(before) or (word == "longer" and before[-1:] == ["no"]):
        return None
    return _extreme(word)


def _extreme(word: str) -> Extreme | None:
    """Return the extreme that a comparative against all others claims."""
    claim = claim_of(word)
    if claim == "up":
        return "max"
    if claim == "down":
        return "min"
    if word in {"better", "lepiej", "lepszy", "lepsza", "lepsze"}:
        return "best"
    if word in {"worse", "gorzej", "gorszy", "gorsza", "gorsze"}:
        return "worst"
    return "either" if claim is None and _COMPARED.fullmatch(word) else None

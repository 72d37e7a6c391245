"""Which of the sheet's comparisons some words name: "last year", "on the week", "below plan"."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from kimi_provider.analysis.words import MONTHS
from kimi_provider.analysis.words_list import word_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.schemas import FactSheet

_UNITS: Final[dict[str, str]] = {
    "year": r"years?|annual(?:ly)?|yearly|rok(?:u|iem)?|roczn\w+|zeszłoroczn\w+|ubiegłoroczn\w+",
    "half": r"half(?:-years?)?|halves|półrocz\w+",
    "quarter": r"quarters?|quarterly|kwarta[łl]\w*",
    "month": r"months?|monthly|miesi[ąę]c\w*|miesięczn\w+",
    "week": r"weeks?|weekly|tydzie[nń]|tygodni\w*",
    "day": r"days?|daily|yesterday|dzień|dni(?:a|u)?|wczoraj\w*",
}
"""From the longest to the shortest: "the same week of last year" is about the year."""
_NAMES: Final = {unit: re.compile(pattern) for unit, pattern in _UNITS.items()}
_BEHIND: Final = word_set("""
    before earlier ago prior previously on over wcześniej temu
""")
_AHEAD: Final = word_set("""
    last previous prior preceding same past on over poprzedni poprzedniego poprzednim poprzednią
    zeszłego zeszłym ubiegłego ubiegłym than against versus vs
""")
_SMALL: Final = word_set("""
    the a an of in same last before previous prior earlier ago to year week month day quarter half
    rok tydzień miesiąc dzień wcześniej poprzedni
""")
_REACH = 3  # words between "than" or "last" and the unit of time
_MONTHS: Final = frozenset(name.casefold() for names in MONTHS for name in names)
_FROM: Final = frozenset({"than", "from", "against", "since", "versus", "vs", "wobec", "od", "niż"})
_THAN_IN: Final = (("than", "in"), ("compared", "with"), ("compared", "to"), ("niż", "w"), ("niż", "we"))
_DATED: Final = frozenset(
    {
        *(name.casefold() for names in MONTHS for name in names),
        *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        *("before", "earlier", "ago", "previous", "previously", "last", "then", "prior", "preceding"),
        *("wcześniej", "poprzednio", "temu", "poprzedni", "poprzedniego", "poprzednim"),
    }
)


class Comparisons:
    """Reads which comparison a clause speaks of."""

    def __init__(self, sheet: FactSheet) -> None:
        labels = {c.id: c.label.casefold() for fact in sheet.facts for c in fact.comparisons}
        self._units = {name: _unit(label.split()) for name, label in labels.items()}
        self._words = {
            name: frozenset(word for word in re.findall(r"[^\W\d_]+", label) if word not in _SMALL)
            for name, label in labels.items()
            if not self._units[name]
        }
        self.words = frozenset().union(*self._words.values())
        """Words such as "plan" that name what is compared with."""
        self.named = lru_cache(maxsize=512)(self._named)

    def _named(self, words: tuple[str, ...]) -> frozenset[str]:
        """Return the ids of the comparisons that the words name."""
        units = {unit for at in range(len(words)) if (unit := _named_unit(words, at))}
        longest = next((unit for unit in _UNITS if unit in units), None)
        found = {name for name, unit in self._units.items() if unit and unit == longest}
        spoken = {word.removesuffix("'s").removesuffix("\u2019s") for word in words}
        spoken |= {"plan"} if spoken & {"planned", "budget", "budgeted"} else set()
        return frozenset(found | {name for name, own in self._words.items() if own and own <= spoken})

    def in_time(self, words: Sequence[str]) -> bool:
        """Whether what follows "than" is an earlier time, or what else the sheet compares with."""
        return bool(_DATED.intersection(words)) or bool(self._named(("than", *words)))


def _unit(words: Sequence[str]) -> str:
    """Return the longest unit of time among words."""
    return next((unit for unit, name in _NAMES.items() if any(map(name.fullmatch, words))), "")


def _named_unit(words: Sequence[str], at: int) -> str:
    """Return the unit of time at a place where it tells what is compared with, not the period."""
    word = words[at]
    if word in _MONTHS and (_FROM.intersection(words[at - 1 : at]) or words[at - 2 : at] in _THAN_IN):
        return "month"
    owned = word.endswith(("'s", "\u2019s"))
    if "-on-" in word or "-over-" in word:
        return _unit([word.split("-")[0]])
    unit = _unit([word[:-2] if owned else word])
    if not unit:
        return ""
    ahead = words[max(0, at - _REACH) : at]
    behind = words[at + 1 : at + 2]
    if "this" in ahead[-1:] or "current" in ahead[-1:]:
        return ""
    return unit if _AHEAD.intersection(ahead) or _BEHIND.intersection(behind) else ""

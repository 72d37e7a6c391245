"""Puts lies into an honest analysis: what a check of the model's claims has to catch."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from kimi_provider.testing.wording import cite, inside, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.testing.brief import Brief

_REFERENCE = re.compile(r"\[\[([A-Za-z0-9_.-]+)\]\]")
_OPPOSITES = {
    "rose": "fell",
    "fell": "rose",
    "higher": "lower",
    "lower": "higher",
}
_DIRECTION = re.compile(rf"\b({'|'.join(_OPPOSITES)})\b")
_EXTREMES = {"highest": "lowest", "lowest": "highest"}
_EXTREME = re.compile(r"\b(highest|lowest)\b")
_ENTITIES = (
    "Zephyr Atlantic",
    "Borealis Regional",
    "Quandary Air",
    "Port Nowhere",
    "Meridian Loop",
    "Halcyon Jet",
)
_NUMBERS = (
    "That is {n} more than planned.",
    "About {n}% of this was to be expected.",
    "The cost is near ${n} million.",
    "It took {n} minutes longer than usual.",
    "Roughly {n},{m} customers felt it.",
    "The ratio is {n}.{m} to one.",
    "Some {n}k cases are open.",
)
_NUMBER_WORDS = (
    "Nearly forty cases were affected.",
    "That is twice the usual level.",
    "About a third of them came late.",
    "A dozen teams were involved.",
    "Over a thousand people noticed.",
)
_SUPERLATIVES = (
    "This is the highest {name} on record.",
    "Never before was {name} this low.",
    "It is the worst {name} of the year.",
)


def _number(text: str, rng: random.Random, brief: Brief) -> str:
    del brief
    lie = rng.choice(_NUMBERS).format(n=rng.randint(11, 99), m=rng.randint(100, 999))
    return f"{text} {lie}"


def _number_word(text: str, rng: random.Random, brief: Brief) -> str:
    del brief
    return f"{text} {rng.choice(_NUMBER_WORDS)}"


def _unknown_id(text: str, rng: random.Random, brief: Brief) -> str | None:
    del brief
    found = list(_REFERENCE.finditer(text))
    if not found:
        return None
    target = rng.choice(found)
    invented = rng.choice(
        (f"{target.group(1)}x", f"made.up.{rng.randint(1, 99)}", f"total.{target.group(1)}")
    )
    return f"{text[: target.start()]}[[{invented}]]{text[target.end() :]}"


def _direction(text: str, rng: random.Random, brief: Brief) -> str | None:
    del rng, brief
    if not _DIRECTION.search(text):
        return None
    return _DIRECTION.sub(lambda found: _OPPOSITES[found.group(1)], text)


def _superlative(text: str, rng: random.Random, brief: Brief) -> str | None:
    if _EXTREME.search(text) and rng.random() < 0.5:  # noqa: PLR2004 — an even choice
        return _EXTREME.sub(lambda found: _EXTREMES[found.group(1)], text)
    if not brief.figures:
        return None
    return f"{text} {rng.choice(_SUPERLATIVES).format(name=inside(name_of(rng.choice(brief.figures))))}"


def _entity(text: str, rng: random.Random, brief: Brief) -> str:
    cells = [cell for table in brief.tables for column in table.columns.values() for cell in column]
    figure = cite(rng.choice(cells or brief.figures)) if cells or brief.figures else "the same level"
    return f"{text} {rng.choice(_ENTITIES)} stands out at {figure}."


_TELLERS: dict[str, Callable[[str, random.Random, Brief], str | None]] = {
    "number": _number,
    "number_word": _number_word,
    "unknown_id": _unknown_id,
    "direction": _direction,
    "superlative": _superlative,
    "entity": _entity,
}
LIES = tuple(_TELLERS)


def tell_lies(
    analysis: dict[str, Any], brief: Brief, *, seed: int, kinds: tuple[str, ...] = LIES, lies: int = 1
) -> dict[str, Any]:
    """Return the analysis with lies in its summary or in the details of its findings.

    :param seed: decides which lies are told, and where; the same seed tells the same ones.
    :param kinds: which of :data:`LIES` to choose from.
    :param lies: how many.
    """
    rng = random.Random(seed)  # noqa: S311 — repeatable on purpose
    places = [("summary", None), *(("detail", n) for n in range(len(analysis["findings"])))]
    for _ in range(lies):
        tellers = [_TELLERS[kind] for kind in rng.sample(kinds, len(kinds))]
        _tell(analysis, rng.sample(places, len(places)), tellers, rng, brief)
    return analysis


def _tell(
    analysis: dict[str, Any],
    places: list[tuple[str, int | None]],
    tellers: list[Callable[[str, random.Random, Brief], str | None]],
    rng: random.Random,
    brief: Brief,
) -> None:
    """Tell the first lie that fits anywhere: not every text has a direction or an id to falsify."""
    for teller in tellers:
        for key, number in places:
            holder = analysis if number is None else analysis["findings"][number]
            if (lie := teller(holder[key], rng, brief)) is not None:
                holder[key] = lie
                return

"""Words for the simulator's analyst: names fit for prose, directions that agree with the numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kimi_provider.testing.brief import Baseline, Line

_PLAIN = re.compile(r"[^\W\d_](?:[^\W\d_]|[ '\u2019&.,()/\-])*")
_MAX_NAME = 60
_LONGER_AGO = {"week before", "month before", "quarter before", "year before"}
_SEPARATOR = " — "
_SHARPLY, _SLIGHTLY = 0.5, 0.05
# One after the other, so that a brief does not say the same of every figure.
_UP = ("rose", "climbed", "increased")
_DOWN = ("fell", "dropped", "declined")
_UP_SHARPLY = ("jumped", "climbed sharply", "rose sharply")
_DOWN_SHARPLY = ("plunged", "dropped sharply", "fell sharply")


def plain(text: str) -> str | None:
    """Return a text where it may stand in prose (no digits, no markup), else ``None``."""
    text = " ".join(text.split())
    return text if len(text) <= _MAX_NAME and _PLAIN.fullmatch(text) else None


def humanize(identifier: str) -> str:
    """Return an identifier as words, without its digits."""
    words = re.sub(r"[^a-zA-Z]+", " ", identifier).strip()
    return words or "value"


def name_of(line: Line) -> str:
    """Return what a figure is called in prose; of a table's cell, what its column is called."""
    return (
        plain(line.label.partition(_SEPARATOR)[0]) or humanize(line.id.rpartition(".")[2]).capitalize()
    )


def row_of(line: Line) -> str | None:
    """Return whose figure a table's cell is, where that can be said in prose."""
    return plain(line.label.partition(_SEPARATOR)[2])


def inside(name: str) -> str:
    """Return a name as it stands within a sentence: a capital of its own stays (``JFK``)."""
    first = name.split(" ", 1)[0]
    return name if first[1:] != first[1:].lower() else name[0].lower() + name[1:]


def period_of(comparison: str) -> str:
    """Return a comparison's id in words: ``day_before`` is *the day before*."""
    words = humanize(comparison).lower()
    if re.search(r"\d", comparison):
        return "the period it is compared with"
    if words in _LONGER_AGO:
        return f"a {words}"
    return words if words.split(" ", 1)[0] in {"a", "the", "last"} else f"the {words}"


def moved(change: Baseline, at: int = 0) -> str:
    """Return the verb of a change, true to its sign and size.

    :param at: the place of the figure in the text; the next one is told in other words.
    """
    if change.delta == 0:
        return "held steady"
    rises = change.delta > 0
    if change.size >= _SHARPLY:
        return chosen(_UP_SHARPLY if rises else _DOWN_SHARPLY, at)
    verb = chosen(_UP if rises else _DOWN, at)
    return f"{verb} slightly" if change.size < _SLIGHTLY else verb


def chosen(words: tuple[str, ...], at: int) -> str:
    """Return the words for a place in the text, in turn."""
    return words[at % len(words)]


def compared(change: Baseline) -> str:
    """Return the comparative of a change."""
    if change.delta == 0:
        return "the same"
    return "higher" if change.delta > 0 else "lower"


def cite(fact: Line, *path: str) -> str:
    """Return a reference to a fact, or to what derives from it."""
    return f"[[{'.'.join((fact.id, *path))}]]"

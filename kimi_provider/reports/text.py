"""Single lines of text from outside (the data, the model), made fit for a page and a header."""

from __future__ import annotations

import re
import unicodedata

# What could start a new header, hide text or turn its direction: controls, lone surrogates and private
# use by category; bidirectional marks and overrides, zero-width and tag characters by number. The
# zero-width joiners stay, since emoji and several scripts are written with them.
_HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_LINE_BREAK = re.compile("\r\n|[\r\v\f\x1c-\x1e\u0085\u2028\u2029]")
# All white space but the two spaces that keep the digits of a number together.
_SPACE = re.compile("[^\\S\u00a0\u202f]+")
_ISOLATE_FIGURE, _ISOLATE_NAME, _END, _LEFT_TO_RIGHT = "\u2067", "\u2068", "\u2069", "\u200e"
_DROPPED_CATEGORIES = frozenset({"Cc", "Co", "Cs"})


def strip_hidden(text: str) -> str:
    """Remove the characters that a reader cannot see; each line break becomes a plain one."""
    if text.isascii() and text.isprintable():
        return text  # most cells of most tables
    visible = _HIDDEN.sub("", _LINE_BREAK.sub("\n", text))
    return "".join(
        c for c in visible if c in "\n\t" or unicodedata.category(c) not in _DROPPED_CATEGORIES
    )


def isolated(text: str) -> str:
    """Wrap text for surroundings written right to left, so that neither turns the other around.

    The marks are Unicode's isolates (UAX 9). A name keeps its own direction; a figure is read from the
    right, but for its number, whose sign stays before it.
    """
    if not text:
        return ""
    name = text[0].isalpha()
    return f"{_ISOLATE_NAME}{text}{_END}" if name else f"{_ISOLATE_FIGURE}{_LEFT_TO_RIGHT}{text}{_END}"


def one_line(text: str, limit: int | None = None) -> str:
    """Return the text as one clean line.

    :param text: any text; runs of white space, line breaks among them, become one space.
    :param limit: most characters to keep; a longer line ends in an ellipsis, at a word where it can.
    """
    return clipped(strip_hidden(text), limit)


def clipped(text: str, limit: int | None = None) -> str:
    """Return text that is clean already, and may hold our own isolates, as one line; see above."""
    line = _SPACE.sub(" ", text).strip()
    if limit is None or len(line) <= limit:
        return line
    cut = line[: limit - 1]
    at_word = cut.rsplit(" ", 1)[0]
    # A word cut is ugly, a line cut by half is worse.
    kept = (at_word if len(at_word) > limit * 0.6 else cut).rstrip(" ,;:.-(") + "…"
    opened = kept.count(_ISOLATE_NAME) + kept.count(_ISOLATE_FIGURE)
    return kept + _END * (opened - kept.count(_END))

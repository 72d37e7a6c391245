"""Lists of words, written as text."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text that is set with blanks and line ends."""
    return frozenset(text.split())

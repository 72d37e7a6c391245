"""How common an English word is: what is common says nothing of a name by its capital."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDINGS = re.compile(r"(?:ies|ied|ing|ed|es|s|ly)\Z")
_LEAST_STEM = 3  # letters


@cache
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    """Read both lists when the first word is looked up; most texts need neither."""
    text = files(__package__).joinpath("words_english.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    border = lines.index("-")
    return frozenset(" ".join(lines[:border]).split()), frozenset(" ".join(lines[border:]).split())


@lru_cache(maxsize=8192)
def is_common(word: str, *, rare: bool = False) -> bool:
    """Whether a word, in lower case, is a common one in any of its forms.

    :param rare: take rarer ones as well, as long as a dictionary for everyday use has them.
    """
    common, others = _lists()
    known = common | others if rare else common
    return any(form in known for form in _forms(word))


def _forms(word: str) -> Iterator[str]:
    yield word
    match = _ENDINGS.search(word)
    if match is None:
        return
    for ending in (match[0], match[0][1:] if match[0] in {"es", "ies", "ied"} else ""):
        stem = word.removesuffix(ending) if ending else ""
        if len(stem) >= _LEAST_STEM:
            yield stem
            if ending in {"ies", "ied"}:
                yield f"{stem}y"
            if ending in {"ing", "ed", "es"}:
                yield f"{stem}e"
            if ending in {"ing", "ed"} and stem[-1] == stem[-2]:
                yield stem[:-1]

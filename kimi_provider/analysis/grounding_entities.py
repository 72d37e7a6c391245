"""Names in a text that neither the data nor the prompt knows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_directions import Objection
from kimi_provider.analysis.words import COMMON_CAPITALS, claim_of, extreme_of
from kimi_provider.analysis.words_common import COMMON, ENDINGS
from kimi_provider.analysis.words_en import ACRONYMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.analysis.grounding_names import Names
    from kimi_provider.analysis.grounding_text import Sentence

_PARTS = re.compile(r"[^\W_]+")
_INFLECTION = re.compile(
    r"(?:['\u2019]?s|es|['\u2019]|n|ns|ian|ans?|a|ą|ę|e|i|y|o|u|ie|ii|iem|em|om|ami|ach|owi|ów|owie|ej|ego|"
    r"emu|ym|im|ymi|imi|ych|ich|wie|cie|ce|zie|rze|dze|iu|ią|ię|owa|owy|owej|owego|ą)?"
)
_OPENING = frozenset(':\u201c\u201d"/\u2013\u2014(')
_TITLE_CASE = 0.75
_SHORT = 3  # letters


def entities(sentence: Sentence, names: Names, *, title: bool) -> Iterator[Objection]:
    """Return the names in a sentence that nothing vouches for.

    :param title: whether the whole text is written In Title Case, where a capital says nothing.
    """
    tokens = sentence.tokens
    for at, token in enumerate(tokens):
        if not token.is_word or not _is_capitalized(token.text):
            continue
        starts = at == 0 or tokens[at - 1].text in _OPENING
        unknown = [part for part in _PARTS.findall(token.text) if not _is_known(part, names)]
        # A digit in it is found already.
        unknown = [part for part in unknown if part[0].isupper() and part.isalpha()]
        if not unknown:
            continue
        if starts or title:
            code = token.text.isupper() and len(unknown[0]) > 1
            if not code and (title or not _is_name_at_start(sentence, at, names)):
                continue
        yield Objection(token.start, token.end, "the data and the request do not name it")


def is_title(sentence: Sentence) -> bool:
    """Whether a sentence is written In Title Case."""
    long = [t for t in sentence.tokens if t.is_word and len(t.text) > _SHORT and not t.text.isupper()]
    return len(long) > _SHORT and sum(t.text[0].isupper() for t in long) / len(long) >= _TITLE_CASE


def _is_capitalized(word: str) -> bool:
    return any(part[0].isupper() for part in _PARTS.findall(word))


def _is_known(part: str, names: Names) -> bool:
    lower = part.casefold()
    if lower in names.words or lower in COMMON_CAPITALS or part in ACRONYMS or len(part) == 1:
        return True
    known = names.beginnings.get(lower[:3], ())
    return any(_inflects(lower, word) for word in known)


def _inflects(word: str, name: str) -> bool:
    """Whether a word is a form of a name: "Delty" of "Delta", "Jorku" of "Jork"."""
    for cut in range(3):
        stem = name[: len(name) - cut] if cut else name
        if len(stem) >= _SHORT and word.startswith(stem) and _INFLECTION.fullmatch(word[len(stem) :]):
            return cut == 0 or len(stem) > _SHORT or name[-1] in "aeoiuy"
    return False


def _is_name_at_start(sentence: Sentence, at: int, names: Names) -> bool:
    """Whether the first word of a sentence is a name rather than a word with its capital."""
    token = sentence.tokens[at]
    word = token.lower
    bare = re.sub(r"['\u2019]s?\Z", "", word)
    if sentence.polish:
        return False
    if bare in COMMON or bare in names.words or claim_of(bare) or extreme_of(bare):
        return False
    if any(bare.endswith(ending) and len(bare) > len(ending) + 1 for ending in ENDINGS):
        return False
    return not (bare.endswith("s") and bare[:-1] in COMMON)

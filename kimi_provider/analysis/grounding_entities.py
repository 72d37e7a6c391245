"""Names in a text that neither the data nor the prompt knows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_kinds import Objection
from kimi_provider.analysis.grounding_names import folded
from kimi_provider.analysis.words import COMMON_CAPITALS, claim_of, extreme_of
from kimi_provider.analysis.words_common import COMMON, ENDINGS
from kimi_provider.analysis.words_en import ACRONYMS
from kimi_provider.analysis.words_english import is_common
from kimi_provider.analysis.words_list import word_set
from kimi_provider.analysis.words_roles import BRANDS, DEMONYMS, EXONYMS_PL, ROLES, UNITS_PL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.analysis.grounding_names import Names
    from kimi_provider.analysis.grounding_text import Sentence

_HINT = "the data and the request do not name it"
_PARTS = re.compile(r"[^\W_]+")
_INFLECTION = re.compile(
    r"(?:['\u2019]?s|es|['\u2019]|n|ns|ian|ans?|a|ą|ę|e|i|y|o|u|ie|ii|iem|em|om|ami|ach|owi|ów|owie|ej|ego|"
    r"emu|ym|im|ymi|imi|ia|iach|ych|ich|wie|cie|ce|zie|rze|dze|iu|ią|ię|owa|owy|owej|owego|ą)?"
)
_CODE = re.compile(r"(?<![\w.\[])(?=\w*[^\W_])\w+(?:_\w+)+(?!\w)")
_OPENING = frozenset(':\u201c\u201d"/\u2013\u2014(')
_TITLE_CASE = 0.75
_SHORT = 3  # letters
_NAMED_BEHIND = 4  # words that the name of a department may have
_SINGULAR = re.compile(r".*(?:ss|us|is|ics|[^s])\Z")
_SUBJECT = word_set("""
    is was has had did does will would also says said kept keeps again already announced blamed bought
    built came closed delivered did expects flew gave got joined launched led left made opened ordered
    owned paid plans posted pulled ran reported saw sees sold stopped suffered took went won
""")
"""Verbs behind which a bare word at the start of a sentence is somebody's name."""
_DUTIES = frozenset({"should", "must", "needs", "need", "ought", "can", "could", "may"})
_SOFTENED = (("ch", "sz"), ("r", "rz"), ("k", "c"), ("g", "dz"), ("t", "ci"), ("d", "dzi"), ("ł", "l"))


def entities(sentence: Sentence, names: Names, *, title: bool, action: bool) -> Iterator[Objection]:
    """Return the names in a sentence that nothing vouches for.

    :param title: whether the whole text is written In Title Case, where a capital says nothing.
    :param action: whether it says what to do, where departments are called by their names.
    """
    tokens = sentence.tokens
    for at, token in enumerate(tokens):
        if not token.is_word or not _is_capitalized(token.text):
            continue
        starts = at == 0 or tokens[at - 1].text in _OPENING
        unknown = [part for part in _PARTS.findall(token.text) if not _is_known(part, names)]
        # A digit in it is found already.
        unknown = [part for part in unknown if part[0].isupper() and part.isalpha()]
        if not unknown or _is_exonym(sentence, at, names) or _is_department(sentence, at):
            continue
        code = token.text.isupper() and len(unknown[0]) > 1
        if not code and (starts or title):
            if title or not _is_name_at_start(sentence, at, names, action=action):
                continue
        elif not code and all(_is_role(part.casefold(), action=action) for part in unknown):
            following = sentence.tokens[at + 1].lower if at + 1 < len(tokens) else ""
            if action or following not in names.kinds_of_rows:
                continue  # "the Legal department" is a row, where the data has departments
        yield Objection(token.start, token.end, _HINT)


def codes(text: str, names: Names) -> Iterator[Objection]:
    """Return what is spelled as a program's name, such as ``load_payments``, and is none of the data."""
    for match in _CODE.finditer(text):
        if not all(part.casefold() in names.words for part in _PARTS.findall(match[0])):
            yield Objection(*match.span(), _HINT)


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
    if len(lower) <= _SHORT:
        return False
    plain = folded(lower)
    known = names.beginnings.get(plain[:3], ())
    return any(_inflects(plain, word) for word in known) or _is_softened(lower, names)


def _inflects(word: str, name: str) -> bool:
    """Whether a word is a form of a name: "Delty" of "Delta", "Jorku" of "Jork"."""
    for cut in range(3):
        stem = name[: len(name) - cut] if cut else name
        if len(stem) >= _SHORT and word.startswith(stem) and _INFLECTION.fullmatch(word[len(stem) :]):
            return cut == 0 or len(stem) > _SHORT or name[-1] in "aeoiuy"
    return False


def _is_softened(word: str, names: Names) -> bool:
    """Whether a word is a name whose last consonant Polish softens: "Odrze" of "Odra"."""
    if not word.endswith("e"):
        return False
    stem = word[:-1]
    return any(
        stem.endswith(soft) and stem.removesuffix(soft) + hard + end in names.words
        for hard, soft in _SOFTENED
        for end in ("a", "")
    )


def _is_exonym(sentence: Sentence, at: int, names: Names) -> bool:
    """Whether a word belongs to the Polish name of a place whose English name is known."""
    near = [token.lower for token in sentence.tokens[max(0, at - 1) : at + 2] if token.is_word]
    own = sentence.tokens[at].lower
    country = DEMONYMS.get(re.sub(r"s?['\u2019]?s?\Z", "", own), DEMONYMS.get(own))
    if country and all(part in names.words for part in country.split()):
        return True
    if not sentence.polish:
        return False
    for polish, english in EXONYMS_PL.items():
        parts = polish.split()
        mine = any(_inflects(own, part) for part in parts)
        if mine and all(any(_inflects(word, part) for word in near) for part in parts):
            return all(part in names.words for part in english.split())
    return False


def _is_department(sentence: Sentence, at: int) -> bool:
    """Whether a word belongs to what follows "Dział": "Dział Utrzymania Ruchu"."""
    if sentence.tokens[at].lower in UNITS_PL:
        return True
    for token in reversed(sentence.tokens[max(0, at - _NAMED_BEHIND) : at]):
        if token.lower in UNITS_PL:
            return True
        if not token.is_word or not (token.text[0].isupper() or token.lower in {"i", "ds", "do"}):
            return False
    return False


def _is_role(word: str, *, action: bool) -> bool:
    if word in ROLES or word.removesuffix("s") in ROLES:
        return True
    return action and word not in BRANDS and (word in COMMON or is_common(word))


def _is_name_at_start(  # noqa: PLR0911 — one way out for each piece of evidence
    sentence: Sentence, at: int, names: Names, *, action: bool
) -> bool:
    """Whether the first word of a sentence is a name rather than a word with its capital.

    :param action: whether the sentence says what to do, and so begins with a verb.
    """
    token = sentence.tokens[at]
    if sentence.polish:
        return False
    bare = re.sub(r"['\u2019]s?\Z", "", token.lower)
    owns = bare != token.lower
    following = sentence.tokens[at + 1] if at + 1 < len(sentence.tokens) else None
    acts = following is not None and (
        following.lower in _SUBJECT or (following.text[0].isupper() and following.is_word)
    )
    if bare in BRANDS:
        return owns or acts or (following is not None and following.lower.endswith("ed"))
    if action and not (owns or acts or (following is not None and following.lower in _DUTIES)):
        return False
    if bare in COMMON or bare in names.words or claim_of(bare) or extreme_of(bare):
        return False
    if "-" in bare and not any(part[0].isupper() for part in _PARTS.findall(token.text)[1:]):
        return False
    if bare.removesuffix("n't").removesuffix("n\u2019t") in COMMON or is_common(bare):
        return False
    if any(bare.endswith(ending) and len(bare) > len(ending) + 1 for ending in ENDINGS):
        return False
    if is_common(bare, rare=True):
        return owns or (acts and _SINGULAR.fullmatch(bare) is not None)
    return not (bare.endswith("s") and bare[:-1] in COMMON)

"""A text taken apart for its checks: sentences, their clauses, their words and references."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from kimi_provider.analysis.words import JOINING, is_polish
from kimi_provider.analysis.words_list import word_set

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE = re.compile(r"\[\[\s*([A-Za-z0-9_.-]+)\s*(?:\|\s*(\w+)\s*)?\]\]")
_TOKEN = re.compile(
    r"\[\[\s*[A-Za-z0-9_.-]+\s*(?:\|\s*\w+\s*)?\]\]"
    r"|[^\W_]+(?:['\u2019\-&][^\W_]+)*|[.!?\u2026\n]+|[,;:()\u2013\u2014\u201c\u201d\"/]"
)
_LONGEST = 60
"""Tokens after which a sentence ends even without a mark: what is read costs by its square."""
_ARTICLES = frozenset({"a", "i"})
"""Joining words in Polish; in English an article and a pronoun."""
_ABBREVIATIONS = word_set("""
    inc ltd co corp vs e.g i.e eg ie st mr mrs ms dr no nr np tj ok etc approx avg dept jr sr
    prof pol tys godz min sek proc ul wg m.in in
""") - {"no", "in", "min", "ok"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a reference or a mark between clauses; ``start`` and ``end`` count in the whole text."""

    text: str
    lower: str
    start: int
    end: int
    cited: str | None = None
    style: str | None = None

    @property
    def is_word(self) -> bool:
        """Whether it is a word of the text."""
        return bool(self.lower) and self.text[0].isalnum()


@dataclass
class Sentence:
    """One sentence, with where it stands in its text."""

    start: int
    end: int
    tokens: list[Token] = field(default_factory=list)

    @cached_property
    def clauses(self) -> list[list[Token]]:
        """Its parts between commas and joining words, each with its words and references."""
        parts: list[list[Token]] = [[]]
        for token in self.tokens:
            if token.cited is None and not token.is_word:
                parts.append([])
            elif token.lower in JOINING and (self.polish or token.lower not in _ARTICLES):
                parts.append([token])
            else:
                parts[-1].append(token)
        return [part for part in parts if part]

    def mark_before(self, token: Token) -> str:
        """Return the mark that stands right before a token; empty where there is none."""
        at = self.tokens.index(token)
        before = self.tokens[at - 1] if at else None
        return "" if before is None or before.is_word or before.cited is not None else before.text

    @cached_property
    def cited(self) -> list[Token]:
        """Its references."""
        return [token for token in self.tokens if token.cited is not None]

    @cached_property
    def polish(self) -> bool:
        """Whether it is Polish rather than English."""
        return is_polish(token.lower for token in self.tokens if token.is_word)


def sentences(text: str) -> list[Sentence]:
    """Take a text apart; every character but blanks between sentences belongs to one."""
    found: list[Sentence] = []
    current: Sentence | None = None
    previous = ""
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if current is None:
            current = Sentence(len(text) if not found else match.start(), match.end())
            current.start = match.start()
        current.end = match.end()
        if piece[0] in ".!?\u2026\n":
            after = text[match.end() : match.end() + 1]
            ends = "\n" in piece or not after or after.isspace() or after in "\"')]\u201d"
            if ends and not (piece == "." and _abbreviates(previous)):
                found.append(current)
                current = None
            previous = ""
            continue
        reference = REFERENCE.fullmatch(piece)
        if reference:
            current.tokens.append(
                Token(piece, "", *match.span(), cited=reference[1], style=reference[2])
            )
        else:
            current.tokens.append(Token(piece, piece.casefold(), *match.span()))
        previous = piece
        if len(current.tokens) >= _LONGEST:
            found.append(current)
            current = None
    if current is not None:
        found.append(current)
    for at, sentence in enumerate(found):
        # Signs that are no token, such as a currency's, belong to the sentence that they precede.
        sentence.start = found[at - 1].end if at else 0
    if found:
        found[-1].end = len(text)
    return found


def _abbreviates(word: str) -> bool:
    return word.casefold() in _ABBREVIATIONS or (len(word) == 1 and word.isupper())


def words_of(tokens: Sequence[Token]) -> list[str]:
    """Return the tokens' words in lower case; a reference is an empty one."""
    return [token.lower for token in tokens]

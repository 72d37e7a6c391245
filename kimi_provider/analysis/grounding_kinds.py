"""What can be wrong with a text, and which check's policy it falls under."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

_EXCERPT = 24  # characters on each side


class Kind(StrEnum):
    """What is wrong with a place in an answer."""

    UNKNOWN_ID = "unknown id"
    NO_VALUE = "cited fact without value"
    DIGIT = "figure that is no reference"
    NUMBER_WORD = "figure in words"
    MALFORMED = "malformed reference"
    MARKUP = "markup"
    LINK = "link"
    DIRECTION = "direction against the facts"
    SUPERLATIVE = "superlative against the facts"
    UNIT = "unit that is not the fact's"
    ENTITY = "name that the data does not know"
    CHART = "chart of what does not exist"

    @property
    def check(self) -> str:
        """The check whose policy holds, as ``GroundingPolicy`` names it; else empty."""
        return _CHECKS.get(self, "")


_CHECKS = {
    Kind.UNKNOWN_ID: "unknown_ids",
    Kind.NO_VALUE: "unknown_ids",
    Kind.DIGIT: "numbers",
    Kind.NUMBER_WORD: "numbers",
    Kind.DIRECTION: "directions",
    Kind.SUPERLATIVE: "superlatives",
    Kind.UNIT: "units",
    Kind.ENTITY: "entities",
}


class Objection(NamedTuple):
    """Where a sentence is wrong, and what would be right."""

    start: int
    end: int
    hint: str


@dataclass(frozen=True)
class Violation:
    """One thing that an answer may not say.

    ``where`` is the place (``findings[0].detail``); ``excerpt`` is the model's text around it, for the
    trace and the repair and never for a log; ``hint`` says what would be right. ``start`` and ``end``
    count the characters of the place's text.
    """

    kind: Kind
    where: str
    excerpt: str
    hint: str = ""
    start: int = 0
    end: int = 0

    @property
    def fatal(self) -> bool:
        """Whether the answer cannot be used as it is; a chart can simply be left out."""
        return self.kind is not Kind.CHART

    @classmethod
    def at(  # noqa: PLR0917 — a place has this many sides
        cls, kind: Kind, where: str, text: str, start: int, end: int, hint: str = ""
    ) -> Violation:
        """Return what is wrong with ``text[start:end]``."""
        around = text[max(0, start - _EXCERPT) : end + _EXCERPT]
        # The answer's texts are cleaned already.
        return cls(kind, where, " ".join(around.split()), hint, start, end)

    def __str__(self) -> str:
        """Return the line that asks the model for a repair."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.where}: {self.kind}: …{self.excerpt}…{hint}"

"""The report as a document: everything that any rendering prints, already as text.

Mail, page and text are drawn from this one value and compute nothing, so no two can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kimi_provider.reports.prose import RichText
    from kimi_provider.schemas import Severity

Tone = Literal["good", "bad", "neutral"]


@dataclass(frozen=True, slots=True)
class Change:
    """A figure against a baseline: ``▲ +14.3 min (+92.6%)``, ``worse than the day before``.

    ``amount`` has its sign; ``share`` is the change in percent, empty where it says nothing.
    """

    arrow: str
    amount: str
    share: str
    words: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Card:
    """A key figure with its changes."""

    label: str
    value: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class FindingBlock:
    """A finding; ``level`` is its severity as a word."""

    title: str
    detail: RichText
    severity: Severity
    level: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG. ``width`` and ``height`` are what it is shown at, in CSS pixels; it has twice as many."""

    content_id: str
    png: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ChartBlock:
    """A chart; ``caption`` says what it shows, also where the picture is not: ``alt`` only names it."""

    title: str
    caption: str
    alt: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class Heading:
    """Head of a table's column; ``unit`` is empty where each cell has its own."""

    label: str
    unit: str
    number: bool


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table, cut to what a mail can show; ``more`` says what was cut."""

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the report comes from: lines of the footer."""

    model: str
    simulated: bool
    sources: str
    cost: str
    calls: str
    generated: str


@dataclass(frozen=True, slots=True)
class Document:
    """A report.

    ``period`` is written out for reading, empty where there is none. ``notes`` name what should be in
    the report and is not. ``language`` is that of the fixed words, for ``lang``.
    """

    title: str
    headline: str
    subject: str
    preheader: str
    period: str
    language: str
    severity: Severity
    level: str
    cards: tuple[Card, ...]
    summary: RichText
    findings: tuple[FindingBlock, ...]
    charts: tuple[ChartBlock, ...]
    tables: tuple[TableBlock, ...]
    actions: tuple[RichText, ...]
    notes: tuple[str, ...]
    provenance: Provenance

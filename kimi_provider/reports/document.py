"""The report as a document: everything that any rendering prints, already as text.

Mail, page, text, Markdown, PDF, workbook and CSV are drawn from this one value and compute nothing,
so no two can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import date, datetime
    from decimal import Decimal

    from kimi_provider.reports.prose import RichText
    from kimi_provider.schemas import Severity

Tone = Literal["good", "bad", "neutral"]
Direction = Literal["ltr", "rtl"]


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
    """A key figure with its changes.

    ``sparkline`` is how the figure went, the oldest value first, ``None`` where no history of it is
    known; ``trend`` says the same in words, for whoever does not see the line; ``spark`` is the line
    as a picture.
    """

    label: str
    value: str
    changes: tuple[Change, ...] = ()
    sparkline: tuple[float, ...] | None = None
    trend: str = ""
    spark: Picture | None = None


@dataclass(frozen=True, slots=True)
class FindingBlock:
    """A finding; ``level`` is its severity as a word."""

    title: str
    detail: RichText
    severity: Severity
    level: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG (of a logo: as ``media_type`` says).

    ``width`` and ``height`` are what it is shown at, in CSS pixels; a chart has twice as many.
    """

    content_id: str
    png: bytes
    width: int
    height: int
    media_type: str = "image/png"


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
    """A table, cut to what a mail can show; ``more`` says what was cut, and which file has the whole.

    ``widths`` are the columns' shares in percent, by what they hold.
    """

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str = ""
    widths: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a whole table: as it is printed, and as a spreadsheet calculates with it.

    ``value`` is a fraction where the text is a percent, ``None`` where there is none; a name is text.
    ``pattern`` is the spreadsheet's number format, where it is not the column's.
    """

    text: str
    value: Decimal | date | datetime | str | None
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class DataColumn:
    """A column of a whole table; ``pattern`` is the spreadsheet's number format, empty for text."""

    label: str
    unit: str
    number: bool
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class DataTable:
    """A table with all its rows and columns, for workbook, CSV and PDF; ``name`` is fit for a file."""

    name: str
    title: str
    columns: tuple[DataColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """SQL that figures were computed by, and what it ran over: dataset names with content hashes."""

    number: int
    sql: str
    datasets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CitedFigure:
    """A figure in a sentence: its id, label and value, and the number of its :class:`Query`."""

    fact_id: str
    label: str
    value: str
    query: int


@dataclass(frozen=True, slots=True)
class Footnote:
    """What a sentence stands on: sentence → figures → SQL."""

    number: int
    sentence: str
    figures: tuple[CitedFigure, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the report comes from: lines of the footer.

    ``datasets`` are (name, full content hash). ``grounding`` says how many sentences the checks pass,
    empty where none ran. ``timezone`` names the zone of the times in the report.
    """

    model: str
    simulated: bool
    sources: str
    cost: str
    calls: str
    generated: str
    datasets: tuple[tuple[str, str], ...] = ()
    grounding: str = ""
    timezone: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A report.

    ``period`` is written out for reading, empty where there is none. ``notes`` name what should be in
    the report and is not. ``language`` is for ``lang``, ``direction`` for ``dir``. ``empty`` marks a
    report on no data. ``fallback`` says that no model wrote the text, and why, and is empty where one
    did. ``when`` says how long before its making the period was, empty where that says nothing.
    ``tables`` are cut for reading; ``data`` holds all tables whole, ``key_figures`` the cards and the
    figures for which there is no card, ``cut`` the names of those that ``tables`` does not show whole.
    ``attached`` names the files that go with the mail.
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
    direction: Direction = "ltr"
    empty: bool = False
    fallback: str = ""
    when: str = ""
    footnotes: tuple[Footnote, ...] = ()
    queries: tuple[Query, ...] = ()
    key_figures: DataTable | None = None
    data: tuple[DataTable, ...] = ()
    cut: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Every picture that the HTML shows by its ``content_id``."""
        sparks = (card.spark for card in self.cards)
        return (*(s for s in sparks if s is not None), *(chart.picture for chart in self.charts))

"""The report as a workbook (XLSX): a sheet for the text, one for each table, one for the sources."""

from __future__ import annotations

import io
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import RenderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from openpyxl import Workbook
    from openpyxl.worksheet._write_only import WriteOnlyWorksheet

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.document import Cell, DataTable, Document

# Excel's own bounds (ECMA-376 and Microsoft's "Excel specifications and limits").
_MAX_TEXT = 32_767
_MAX_NAME = 31
_MAX_ROWS = 1_048_575
_FORBIDDEN = re.compile(r"[\[\]:*?/\\]")
# What XML 1.0 cannot hold.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_FIRST_YEAR = 1900
_WIDEST = 60
_NARROWEST = 9
_SAMPLED_ROWS = 200
_TEXT_WIDTHS = (34, 100)
# Widest to be shrunk onto a page of paper, in letters.
_ONE_PAGE = 180
# Of a row, in points; Excel shows none taller.
_LINE, _TALLEST = 15, 409


def workbook(document: Document, words: Mapping[str, str], brand: Brand, *, now: datetime) -> bytes:
    """Write the report as a workbook.

    :param words: the fixed words of the report's language.
    :param now: when the report is made; goes into the file's properties.
    :raises RenderError: if the library is not installed, or a table has more rows than a sheet holds.

    Every text is stored as text: what starts with ``=`` is no formula, an address no link.
    """
    try:
        from openpyxl import Workbook
    except ImportError as error:
        raise RenderError(
            "a workbook needs openpyxl: pip install 'airflow-provider-kimi[xlsx]'"
        ) from error
    book = Workbook(write_only=True)
    book.properties.title = document.title
    book.properties.subject = document.period
    book.properties.creator = brand.name
    book.properties.language = document.language
    book.properties.created = book.properties.modified = now.replace(tzinfo=None)
    taken: set[str] = set()
    writer = _Writer(book, taken, rtl=document.direction == "rtl", accent=brand.accent.lstrip("#"))
    writer.text_sheet(words["summary"], _summary(document, words))
    tables = (document.key_figures, *document.data)
    for table in tables:
        if table is not None:
            writer.table_sheet(table)
    if document.footnotes:
        writer.text_sheet(words["footnotes"], _sources(document, words))
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


class _Writer:
    """Writes sheets into a book; a write-only book wants widths and panes before its rows."""

    def __init__(self, book: Workbook, taken: set[str], *, rtl: bool, accent: str) -> None:
        from openpyxl.styles import Alignment, Font, PatternFill

        self._book = book
        self._taken = taken
        self._rtl = rtl
        self._bold = Font(bold=True)
        self._white = Font(bold=True, color="FFFFFF")
        self._fill = PatternFill("solid", start_color="1F2933")
        self._accent = accent
        self._heading = Font(bold=True, size=14)
        self._wrapped = Alignment(wrap_text=True, vertical="top")
        self._plain = Alignment(vertical="top")
        # Else a spreadsheet puts days to the right, away from their heading.
        self._day = Alignment(horizontal="right" if rtl else "left")
        self._above_figures = Alignment(wrap_text=True, vertical="bottom", horizontal="right")
        self._above_names = Alignment(wrap_text=True, vertical="bottom")

    def text_sheet(self, title: str, rows: Iterable[Sequence[str]]) -> None:
        """Write rows of (name, text); a row with a name alone is a heading."""
        sheet = self._sheet(title, _TEXT_WIDTHS)
        sheet.sheet_view.showGridLines = False
        for number, row in enumerate(rows, start=1):
            name, *rest = row
            # Told, because not every program finds out by itself how tall wrapped text is.
            lines = [_lines(name, _TEXT_WIDTHS[0]) if rest else 1]
            lines += [_lines(text, _TEXT_WIDTHS[1]) for text in rest]
            sheet.row_dimensions[number].height = min(_LINE * max(lines) + 3, _TALLEST)
            sheet.append(
                [
                    self._text(
                        sheet,
                        name,
                        font=self._bold if rest else self._heading,
                        alignment=self._wrapped if rest else self._plain,
                    )
                ]
                + [self._text(sheet, text, alignment=self._wrapped) for text in rest]
            )

    def table_sheet(self, table: DataTable) -> None:
        """Write a table: frozen heading with a filter, and a number format for each column."""
        from openpyxl.utils import get_column_letter

        if len(table.rows) > _MAX_ROWS:
            raise RenderError(
                f"table {table.name!r} has {len(table.rows):,} rows; a sheet holds {_MAX_ROWS:,}"
            )
        headings = [f"{c.label}, {c.unit}" if c.unit else c.label for c in table.columns]
        shares = _widths(table, headings)
        sheet = self._sheet(table.title, shares)
        sheet.freeze_panes = "B2"
        last = get_column_letter(max(len(headings), 1))
        sheet.auto_filter.ref = f"A1:{last}{len(table.rows) + 1}"
        sheet.print_title_rows = "1:1"
        lines = max(map(_lines, headings, shares), default=1)
        sheet.row_dimensions[1].height = _LINE * lines + 3
        sheet.append(
            [
                self._text(
                    sheet,
                    text,
                    font=self._white,
                    fill=self._fill,
                    alignment=self._above_figures if column.number else self._above_names,
                )
                for text, column in zip(headings, table.columns, strict=True)
            ]
        )
        patterns = [column.pattern for column in table.columns]
        for row in table.rows:
            sheet.append(
                [self._value(sheet, cell, pattern) for cell, pattern in zip(row, patterns, strict=True)]
            )

    def _sheet(self, title: str, widths: Sequence[float]) -> WriteOnlyWorksheet:
        from openpyxl.utils import get_column_letter
        from openpyxl.worksheet.properties import PageSetupProperties

        sheet = self._book.create_sheet(sheet_name(title, self._taken))
        sheet.sheet_view.rightToLeft = self._rtl
        sheet.sheet_properties.tabColor = self._accent
        sheet.page_setup.orientation = "landscape"
        if sum(widths) <= _ONE_PAGE:
            # On paper: as wide as a page lying on its side, and as many pages as it takes.
            sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
            sheet.page_setup.fitToHeight = 0
        for number, width in enumerate(widths, start=1):
            sheet.column_dimensions[get_column_letter(number)].width = width
        return sheet

    def _text(self, sheet: WriteOnlyWorksheet, text: str, **style: Any) -> Any:
        from openpyxl.cell import WriteOnlyCell

        cell = WriteOnlyCell(sheet, _ILLEGAL.sub("", text)[:_MAX_TEXT])
        cell.data_type = "s"  # else what starts with "=" becomes a formula
        for name, value in style.items():
            setattr(cell, name, value)
        return cell

    def _value(self, sheet: WriteOnlyWorksheet, cell: Cell, pattern: str) -> Any:
        from openpyxl.cell import WriteOnlyCell

        value = cell.value
        if value is None:
            return None
        if isinstance(value, str) or (not isinstance(value, Decimal) and value.year < _FIRST_YEAR):
            return self._text(sheet, value if isinstance(value, str) else value.isoformat())
        written = WriteOnlyCell(sheet, value)
        written.number_format = cell.pattern or pattern or "General"
        if not isinstance(value, Decimal):
            written.alignment = self._day
        return written


def sheet_name(title: str, taken: set[str]) -> str:
    """Return a name that Excel allows for a sheet, unlike those taken, and take it."""
    base = _FORBIDDEN.sub(" ", _ILLEGAL.sub("", title)).strip(" '")[:_MAX_NAME].strip(" '") or "Sheet"
    if base.lower() == "history":  # Excel keeps it for itself
        base = "History 1"
    name, number = base, 2
    while name.lower() in taken:
        suffix = f" {number}"
        name, number = base[: _MAX_NAME - len(suffix)].rstrip() + suffix, number + 1
    taken.add(name.lower())
    return name


def _lines(text: str, width: float) -> int:
    """Return how many lines a text takes in a column, about."""
    return sum(max(1, math.ceil(len(line) / width)) for line in text.split("\n"))


def _widths(table: DataTable, headings: Sequence[str]) -> list[float]:
    columns = zip(*((cell.text for cell in row) for row in table.rows[:_SAMPLED_ROWS]), strict=True)
    longest = [max(map(len, texts)) for texts in columns] or [0] * len(headings)
    return [
        min(max(length, min(len(heading), 24), _NARROWEST - 2) + 2, _WIDEST)
        for length, heading in zip(longest, headings, strict=True)
    ]


def _summary(document: Document, words: Mapping[str, str]) -> Iterable[Sequence[str]]:
    yield (document.title,)
    if document.period:
        yield (words["period"], document.period)
    for marker in (
        f"{words['simulated']} {words['simulated_detail']}" if document.provenance.simulated else "",
        document.fallback,
    ):
        if marker:
            yield (words["notes"], marker)
    for note in document.notes:
        yield (words["notes"], note)
    yield (document.level, document.headline)
    if document.summary:
        yield (words["summary"], document.summary.text)
    for finding in document.findings:
        yield (finding.level, f"{finding.title}\n{finding.detail.text}".strip())
    for action in document.actions:
        yield (words["actions"], action.text)
    for chart in document.charts:
        yield (chart.title, chart.caption)
    origin = document.provenance
    yield (words["model"], origin.model)
    yield (words["data"], origin.sources)
    yield (words["cost"], f"{origin.cost} · {origin.calls}")
    if origin.grounding:
        yield (words["grounding"], origin.grounding)
    yield (words["generated"], origin.generated)
    yield (words["timezone"], origin.timezone)


def _sources(document: Document, words: Mapping[str, str]) -> Iterable[Sequence[str]]:
    for note in document.footnotes:
        yield (str(note.number), note.sentence)
        for figure in note.figures:
            cited = f"{figure.label}: {figure.value} ({figure.fact_id})"
            yield ("", f"{cited}, {words['query']} {figure.query}")
    for query in document.queries:
        yield (f"{words['query']} {query.number}", query.sql)
        yield (words["data"], ", ".join(query.datasets))

"""The document cut for reading: as many rows as there is room for, and a word on what is left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup

from kimi_provider.reports.document import Heading, TableBlock
from kimi_provider.reports.prose import RichText
from kimi_provider.reports.text import clipped, isolated, one_line
from kimi_provider.reports.tree import Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.reports.document import Cell, DataTable, Document
    from kimi_provider.reports.format import Formatter

_LABEL_LIMIT = 60
_TEXT_LIMIT = 80
# As many as a phone has room for beside a name.
_MAX_COLUMNS = 6
_MAX_TABLES = 12
_NAMES_LIMIT = 400
# Of a column, in letters; a name longer than the most is printed on several lines.
_LEAST_WIDTH, _MOST_WIDTH, _GAP = 6, 26, 3


@dataclass(frozen=True, slots=True)
class Length:
    """How much of a document is shown.

    :param rows: most rows of a table; with 0 no table.
    :param sources: whether the footnotes are shown.
    :param text: most characters of a text, ``None``: all.
    """

    rows: int = 12
    sources: bool = True
    text: int | None = None


# Tried in turn until a mail is small enough.
LENGTHS = (
    Length(),
    Length(rows=6),
    Length(rows=3),
    Length(rows=3, sources=False),
    Length(rows=0, sources=False),
    Length(rows=0, sources=False, text=2_000),
    Length(rows=0, sources=False, text=300),
)
PAGE = Length(rows=200)


def fitted(
    document: Document,
    formatter: Formatter,
    length: Length,
    *,
    notes: Sequence[str] = (),
    attached: Sequence[str] = (),
) -> Document:
    """Cut a whole document to a length; whatever is left out is named in it.

    :param document: as it was composed, with ``tables`` of what is always shown.
    :param notes: what else should be in the report and is not.
    :param attached: names of the files that go with it; those of tables that are cut come to them.
    """
    words = formatter.words
    # A table that is not shown at all has its name in a note.
    shown = document.data[:_MAX_TABLES] if length.rows else ()
    blocks = [_block(table, formatter, length.rows) for table in shown]
    said = [*document.notes, *notes]
    if length.rows and len(document.data) > len(shown):
        said.append(formatter.counted("more_tables", len(document.data) - len(shown)))
    elif len(document.data) > len(shown):
        names = ", ".join(table.title for table in document.data)
        said.append(words["tables_dropped"].format(names=one_line(names, _NAMES_LIMIT)))
    cut = tuple(
        table.name
        for table, block in zip(document.data, [*blocks, *[None] * len(document.data)], strict=False)
        if block is None
        or (len(block.rows), len(block.headings)) != (len(table.rows), len(table.columns))
    )
    if not length.sources and document.footnotes:
        said.append(words["footnotes_dropped"])
    if length.text is not None:
        said.append(words["mail_cut"])
    made = replace(
        document,
        tables=(*document.tables, *_with_files(blocks, shown, cut, formatter)),
        notes=tuple(said),
        cut=cut,
        attached=tuple(dict.fromkeys([*attached, *(f"{name}.csv" for name in cut)])),
    )
    if not length.sources:
        made = replace(made, footnotes=(), queries=(), data=() if not length.rows else made.data)
    return made if length.text is None else _short(made, length.text)


def latest(table: DataTable, most: int) -> tuple[tuple[tuple[Cell, ...], ...], bool]:
    """Return the rows to show where there is room for so many: the first, or of days the last.

    :return: the rows, and whether it is the earlier ones that are left out.
    """
    first = [row[0].value for row in table.rows if row]
    days = [value for value in first if isinstance(value, date)]
    rising = len(days) == len(first) and all(str(a) <= str(b) for a, b in pairwise(days))
    if rising and 0 < most < len(first):
        return table.rows[-most:], True
    return table.rows[:most], False


def widths(texts: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Share out the width of a table, in percent, by what its columns hold.

    :param texts: of each column the heading, then the cells.
    """
    needs = []
    for heading, *cells in texts:
        longest = max((len(word) for word in heading.split()), default=0)
        held = max(map(len, cells), default=0)
        needs.append(min(max(longest, held, _LEAST_WIDTH), _MOST_WIDTH) + _GAP)
    return tuple(round(100 * need / sum(needs)) for need in needs)


def _block(table: DataTable, formatter: Formatter, max_rows: int) -> TableBlock:
    columns = table.columns[:_MAX_COLUMNS]
    kept, earlier = latest(table, max_rows)
    headings = tuple(Heading(one_line(c.label, _LABEL_LIMIT), c.unit, c.number) for c in columns)
    apart = formatter.direction == "rtl"
    rows = tuple(
        tuple(
            isolated(cell.text) if apart and column.number else one_line(cell.text, _TEXT_LIMIT)
            for cell, column in zip(row, columns, strict=False)
        )
        for row in kept
    )
    cut = {"more_rows": len(table.rows) - len(rows), "more_columns": len(table.columns) - len(columns)}
    more = [formatter.counted(name, count) for name, count in cut.items() if count]
    if earlier:
        more[0] = f"{more[0]} ({formatter.words['earlier']})"
    if not rows:
        more.append(formatter.words["no_rows"])
    shares = widths(
        [
            (f"{heading.label} {heading.unit}", *(row[at] for row in rows))
            for at, heading in enumerate(headings)
        ]
    )
    return TableBlock(one_line(table.title, _LABEL_LIMIT), headings, rows, "; ".join(more), shares)


def _with_files(
    blocks: Sequence[TableBlock],
    tables: Sequence[DataTable],
    cut: Sequence[str],
    formatter: Formatter,
) -> list[TableBlock]:
    """Say below each table that is cut which file has all of it."""
    made = []
    for block, table in zip(blocks, tables, strict=True):
        whole = formatter.words["whole_in"].format(file=f"{table.name}.csv")
        more = "; ".join(filter(None, [block.more, whole]))
        made.append(replace(block, more=more) if table.name in cut else block)
    return made


def _short(document: Document, limit: int) -> Document:
    return replace(
        document,
        summary=_clip(document.summary, limit),
        findings=tuple(replace(f, detail=_clip(f.detail, limit)) for f in document.findings),
        actions=tuple(_clip(action, limit) for action in document.actions),
    )


def _clip(text: RichText, limit: int) -> RichText:
    if len(text.text) <= limit:
        return text
    plain = clipped(text.text, limit)
    html = Markup("<p>{}</p>").format(plain)
    return RichText(html, plain, (Node("paragraph", children=(Node("text", plain),)),))

"""A column of free text, cut into chunks that one call each can read, never within a record.

A chunk names rows and holds none of their text, so that a plan is small whatever the text's size, and
another machine reads its own rows alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.analysis.sanitize import clean
from kimi_provider.analysis.tokens import estimate_tokens
from kimi_provider.exceptions import ConfigurationError, NoDataError
from kimi_provider.schemas import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.analysis.database import Database

# Tokens that number, quotes and line end of a record take in the prompt.
_RECORD_OVERHEAD = 4

# Rows of text in memory while a plan is made.
_PAGE = 2_000

_SENTENCE = re.compile("[.!?\u2026\u3002\uff01\uff1f]+[\"')\u00bb\u201d]*\\s*")

# Text of a column is taken for prose from this mean length on, in characters.
_LEAST_PROSE = 80


class Chunk(Value):
    """Rows that one call reads: ``rows`` of them from row ``start`` (counted from 0) on.

    ``span`` is set where one record is larger than a chunk: the characters of it, cleaned, that are
    read. ``number`` counts from 1 to ``of``; ``tokens`` are estimated.
    """

    number: int
    of: int = 0
    start: int
    rows: int
    span: tuple[int, int] | None = None
    tokens: int


@dataclass(frozen=True)
class TextSource:
    """The texts of one column, by row.

    :param database: open for as long as the source is used.
    :raises ConfigurationError: if the dataset has no such column.
    """

    database: Database
    dataset: str
    column: str

    def __post_init__(self) -> None:
        """Refuse a column that there is not."""
        columns = self.database.columns[self.dataset]
        if self.column not in columns:
            raise ConfigurationError(
                f"text: {self.dataset} has no column {self.column!r}; columns: {', '.join(columns)}"
            )

    def texts(self, start: int, rows: int) -> list[str]:
        """Return the texts of some rows, each cleaned and on one line; empty where there is none."""
        sql = f"SELECT {_quoted(self.column)} FROM {_quoted(self.dataset)} LIMIT {rows} OFFSET {start}"  # noqa: S608 — names of a column and a dataset, quoted
        return [record_text(value) for (value,) in self.database.query(sql).rows]

    def read(self, chunk: Chunk) -> dict[int, str]:
        """Return the texts of a chunk by row; rows without text are left out."""
        texts = self.texts(chunk.start, chunk.rows)
        if chunk.span is not None:
            texts = [text[slice(*chunk.span)].strip() for text in texts]
        return {chunk.start + i: text for i, text in enumerate(texts) if text}

    def _all(self) -> Iterator[tuple[int, str]]:
        start = 0
        while page := self.texts(start, _PAGE):
            yield from enumerate(page, start)
            start += len(page)

    def plan(self, limit: int) -> tuple[Chunk, ...]:
        """Cut the column into chunks of at most ``limit`` estimated tokens.

        A record is cut only where it is larger than a chunk by itself, and then between sentences.

        :raises NoDataError: if no row has a text.
        """
        chunks: list[Chunk] = []
        start = rows = tokens = 0

        def close() -> None:
            nonlocal tokens
            if tokens:
                chunks.append(Chunk(number=len(chunks) + 1, start=start, rows=rows, tokens=tokens))
            tokens = 0

        for row, text in self._all():
            size = estimate_tokens(text) + _RECORD_OVERHEAD if text else 0
            if not tokens or tokens + size > limit:
                close()
                start, rows = row, 0
            if size > limit:
                for begin, end in spans(text, limit - _RECORD_OVERHEAD):
                    part = estimate_tokens(text[begin:end]) + _RECORD_OVERHEAD
                    number = len(chunks) + 1
                    chunks.append(
                        Chunk(number=number, start=row, rows=1, span=(begin, end), tokens=part)
                    )
                continue
            rows, tokens = row - start + 1, tokens + size
        close()
        if not chunks:
            raise NoDataError(f"There is nothing to read: no row of {self.dataset} has {self.column}")
        return tuple(chunk.model_copy(update={"of": len(chunks)}) for chunk in chunks)


def prose_column(database: Database, dataset: str) -> tuple[str, int] | None:
    """Return the column that is clearly free text, and about how many tokens it has.

    Free text is what is on average at least 80 characters long and nearly never the same twice; the
    longest such column is taken.
    """
    columns = database.columns[dataset]
    if not columns:
        return None
    measured = ", ".join(
        f"sum(length(TRY_CAST({_quoted(c)} AS VARCHAR))), count({_quoted(c)}),"
        f" approx_count_distinct({_quoted(c)}), any_value(typeof({_quoted(c)}))"
        for c in columns
    )
    (row,) = database.query(f"SELECT {measured} FROM {_quoted(dataset)}").rows  # noqa: S608 — see above
    found: list[tuple[int, str]] = []
    for position, column in enumerate(columns):
        length, count, distinct, kind = row[4 * position : 4 * position + 4]
        if length is None:
            continue
        size, texts, different = int(str(length)), int(str(count)), int(str(distinct))
        if kind == "VARCHAR" and texts and size / texts >= _LEAST_PROSE and different * 2 >= texts:
            found.append((size, column))
    if not found:
        return None
    size, column = max(found)
    sample = " ".join(TextSource(database, dataset, column).texts(0, 200))
    return column, int(size * estimate_tokens(sample) / max(len(sample), 1))


def spans(text: str, limit: int) -> list[tuple[int, int]]:
    """Cut a text into pieces of at most ``limit`` tokens, between sentences where it has any.

    :returns: where each piece begins and ends, in characters; together they are the text.
    """
    pieces: list[tuple[int, int]] = []
    begin = end = tokens = 0
    for first, last in _sentences(text, limit):
        size = estimate_tokens(text[first:last])
        if tokens and tokens + size > limit:
            pieces.append((begin, end))
            begin, tokens = first, 0
        end, tokens = last, tokens + size
    return [*pieces, (begin, end)]


def _sentences(text: str, limit: int) -> Iterator[tuple[int, int]]:
    """Return sentences; one that is too large is cut between words, or anywhere if it has none."""
    begin = 0
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    for end in [*ends, len(text)]:
        while begin < end and (size := estimate_tokens(text[begin:end])) > limit:
            step = max(1, (end - begin) * limit // (size + 1))
            blank = text.rfind(" ", begin + 1, begin + step)
            cut = blank + 1 if blank > 0 else begin + step
            yield begin, cut
            begin = cut
        if begin < end:
            yield begin, end
        begin = end


def record_text(value: object) -> str:
    """Return a record's text as the model reads it: cleaned, on one line, whole."""
    return "" if value is None else " ".join(clean(str(value)).split())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

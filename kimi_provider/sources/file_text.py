"""Rows of files that are text: CSV, TSV, JSON, JSON Lines, and lines of logs.

Messages begin with a verb; whoever calls puts the file's name before it.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from typing import IO, TYPE_CHECKING, Any, NoReturn

import msgspec

from kimi_provider.exceptions import SourceError
from kimi_provider.sources.answers import rows_at
from kimi_provider.sources.json_values import Ambiguous, exact, json_line, json_value, named_twice
from kimi_provider.sources.rows import unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kimi_provider.sources.file_request import FileRequest

_LARGEST_LINE = 8 << 20
_STEP = 1 << 20
# What is asked for by path has to be read whole.
_LARGEST_DOCUMENT = 64 << 20
_BLANKS = re.compile(r"\s*")
_COMMA_NUMBER = re.compile(r"-?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?")

Row = dict[str, Any]


def csv_rows(
    stream: IO[bytes], request: FileRequest, *, tab: bool, commas: frozenset[str] = frozenset()
) -> Iterator[Row]:
    """Read CSV or TSV; all values are texts, or null.

    :param tab: whether cells are divided by tabs where nothing else is said.
    :param commas: columns of numbers with a decimal comma.
    :raises SourceError: if a row has another number of cells than there are columns, a name comes
        twice, or the file is no CSV of this kind.
    """
    options = request.csv
    # Its own bound is smaller than that of a row; a process has but one.
    csv.field_size_limit(_LARGEST_LINE)
    reader = csv.reader(
        _lines(stream, request.encoding, newline="", skip=options.skip_rows),
        delimiter=options.delimiter or ("\t" if tab else ","),
        quotechar=options.quote,
        strict=True,
    )
    nulls = frozenset(options.nulls)
    names: tuple[str, ...] | None = None
    number = 0
    try:
        if options.header is True:
            names = _named(next((cells for cells in reader if cells), []))
        for cells in reader:
            if not cells:  # a blank line
                continue
            number += 1
            if names is None:
                names = _given(options.header, len(cells))
            if len(cells) != len(names):
                line = reader.line_num + options.skip_rows
                raise SourceError(
                    f"has {len(cells)} cells in row {number} (line {line}), but {len(names)} columns. "
                    "Correct the row, or the delimiter or quote in csv"
                )
            row = dict(zip(names, [None if cell in nulls else cell for cell in cells], strict=True))
            for name in commas:
                row[name] = _with_point(row[name])
            yield row
    except csv.Error as error:
        line = reader.line_num + options.skip_rows
        raise SourceError(f"is no such CSV at line {line}: {error}") from None


def _with_point(number: str | None) -> str | None:
    return None if number is None else number.replace(".", "").replace(",", ".")


def comma_columns(rows: Iterable[Row], texts: set[str], numbers: set[str]) -> None:
    """Sort columns by whether all of their values are numbers with a decimal comma.

    :param texts: gets those that have another value.
    :param numbers: gets all that have such numbers.
    """
    for row in rows:
        for name, value in row.items():
            if value is not None and name not in texts:
                (numbers if _COMMA_NUMBER.fullmatch(value) else texts).add(name)


def text_rows(stream: IO[bytes], request: FileRequest) -> Iterator[Row]:
    """Read lines of text, each with its number; by a pattern, or whole.

    :raises SourceError: if a line does not match the pattern, unless such lines are left out.
    """
    match = request.expression.search if request.pattern else request.expression.match
    for number, line in enumerate(_lines(stream, request.encoding, newline=None), start=1):
        text = line.removesuffix("\n")
        found = match(text)
        if found is not None:
            yield {"line": number, **found.groupdict()}
        elif request.unmatched == "fail":
            raise SourceError(
                f"has in line {number} {text[:60]!r}, which the pattern does not match. Correct the "
                "pattern, or leave such lines out by unmatched='skip'"
            )


def jsonl_rows(stream: IO[bytes]) -> Iterator[Row]:
    """Read JSON Lines; empty lines are left out."""
    for number, line in enumerate(_byte_lines(stream), start=1):
        if not line.isspace():
            row = json_line(line, number)
            yield _object(row, f"line {number}", row.twice if isinstance(row, Ambiguous) else None)


def json_rows(stream: IO[bytes], records_path: str | None) -> Iterator[Row]:
    """Read a JSON document: a list of objects row by row, or the one that lies at a path.

    :raises SourceError: if there is none, or the document is too large to be searched for a path.
    """
    if records_path is None:
        yield from _listed(stream)
        return
    content = stream.read(_LARGEST_DOCUMENT + 1)
    if len(content) > _LARGEST_DOCUMENT:
        raise SourceError(
            f"has more than {_LARGEST_DOCUMENT} bytes, too many to search for {records_path!r}. Make it "
            "a list of its rows, or JSON Lines, which are read row by row"
        )
    try:
        body = json_value(content.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"is no JSON: {str(error)[:100]}") from None
    yield from rows_at(body, records_path)


def _listed(stream: IO[bytes]) -> Iterator[Row]:
    """Read a list of objects without ever holding more than one of them and a step of the text."""
    decode = json.JSONDecoder(parse_float=exact, parse_constant=_no_number).raw_decode
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    number, place, step = 0, 0, _STEP
    try:
        rest = text.read(step).lstrip()
        if not rest.startswith("["):
            raise SourceError(
                "is no list of rows. Say by records_path where the rows are, or that format is jsonl"
            )
        place, divided = 1, True
        while True:
            match = _BLANKS.match(rest, place)
            place = match.end() if match else place
            if rest.startswith("]", place) and not (number and divided):
                break
            if not divided and place < len(rest):
                if rest[place] != ",":
                    raise SourceError(f"is no JSON in row {number + 1}: no comma is before it")
                place, divided = place + 1, True
                continue
            try:
                row, end = decode(rest, place)
            except ValueError as error:
                more = text.read(step)
                if not more or len(rest) - place > _LARGEST_LINE:
                    raise SourceError(f"is no JSON in row {number + 1}: {str(error)[:60]}") from None
                rest, place = rest[place:] + more, 0
                # A long row is not tried again at each step.
                step = max(_STEP, len(rest))
                continue
            step, divided = _STEP, False
            number += 1
            yield _object(row, f"row {number}", named_twice(rest[place:end], row))
            place = end
        if (rest[place + 1 :] + text.read(_STEP)).strip():
            raise SourceError(f"goes on behind its list of {number} rows")
    except (UnicodeDecodeError, RecursionError):
        raise SourceError(f"is no JSON in UTF-8 after row {number}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _object(row: Any, where: str, twice: str | None) -> Row:
    if not isinstance(row, dict):
        raise SourceError(f"has in {where} no object with columns, but a {type(row).__name__}")
    if twice is not None:
        raise SourceError(f"has in {where} the column {twice!r} twice; rename one at the source")
    return row


def _named(header: Sequence[str]) -> tuple[str, ...]:
    for place, name in enumerate(header, start=1):
        if not name.strip():
            raise SourceError(
                f"has no name for column {place} of {len(header)} in its header. Give it one at the "
                "source, or name the columns by header in csv and leave the row out by skip_rows"
            )
    return unique(header, "has in its header")


def _given(header: bool | tuple[str, ...], cells: int) -> tuple[str, ...]:
    if isinstance(header, tuple):
        return unique(header, "has by header in csv")
    return tuple(f"column_{place}" for place in range(1, cells + 1))


def _lines(stream: IO[bytes], encoding: str, *, newline: str | None, skip: int = 0) -> Iterator[str]:
    """Give the lines of a text, none of them too long to be held."""
    codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    text = io.TextIOWrapper(stream, codec, newline=newline)
    number = 0
    try:
        while line := text.readline(_LARGEST_LINE):
            number += 1
            if len(line) >= _LARGEST_LINE:
                raise _too_long(number)
            if number > skip:
                yield line
    except UnicodeError as error:
        raise SourceError(
            f"is not in {encoding} near line {number + 1} ({str(error)[-40:]}). Set encoding, such as "
            "cp1252"
        ) from None


def _byte_lines(stream: IO[bytes]) -> Iterator[bytes]:
    number = 0
    while line := stream.readline(_LARGEST_LINE):
        number += 1
        if len(line) >= _LARGEST_LINE:
            raise _too_long(number)
        yield line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _too_long(number: int) -> SourceError:
    return SourceError(
        f"has a line {number} of more than {_LARGEST_LINE} characters. Check format, and whether a "
        "quotation mark is left open"
    )

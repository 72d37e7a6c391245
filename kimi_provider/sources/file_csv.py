"""CSV files that DuckDB reads just as Python's reader does, but many times as fast.

The two differ in what they make of files that are no clean tables: spaces beside quotes, carriage
returns, blank lines, an empty cell too many. A file in which such a difference could show is not read
this way, so each line has to be a row with just as many delimiters as the header; nor is one that
DuckDB refuses, so that it is always Python's reader which says what is wrong, and in which row.
"""

from __future__ import annotations

import codecs
import csv
import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from kimi_provider.sources.file_bytes import unpacked
from kimi_provider.sources.scratch import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kimi_provider.sources.file_request import FileRequest
    from kimi_provider.sources.inference import Raw

_STEP = 1 << 20
_BUFFER = 4 << 20
_FEWEST_COLUMNS = 2  # in a file of one, a blank line is a null to DuckDB
_MOST_COLUMNS = 1_000
# What the values of a row take as JSON beyond what they take as CSV, a column.
_MORE_AS_JSON = 5


@dataclass(frozen=True)
class PlainCsv:
    """A file, and what is known of it.

    :ivar file: on this machine, not packed.
    :ivar columns: names, in their order.
    :ivar rows: how many rows have to come; if others do, the file is not to be read in this way.
    :ivar bytes: what the rows take as JSON, within some percent.
    :ivar options: DuckDB's, in SQL.
    :ivar source: a column for the file's name, and the name.
    """

    file: Path
    columns: tuple[str, ...]
    rows: int
    bytes: int
    options: str
    source: tuple[str, str] | None

    def select(self, columns: Mapping[str, Raw]) -> str:
        """Return SQL for the rows.

        :param columns: those of the dataset, by name; one that the file does not have is null.
        """
        own = {name: f"f{place}" for place, name in enumerate(self.columns)}
        struct = ", ".join(f"{column}: 'VARCHAR'" for column in own.values())
        values = {name: quoted(column) for name, column in own.items()}
        if self.source is not None:
            values[self.source[0]] = literal(self.source[1])
        selected = ", ".join(
            f"{values.get(name, 'NULL::VARCHAR')} AS {raw.name}" for name, raw in columns.items()
        )
        read = f"read_csv({literal(str(self.file))}, columns = {{{struct}}}, {self.options})"
        return f"SELECT {selected} FROM {read}"  # noqa: S608 — names are quoted


def plain_csv(
    file: Path,
    request: FileRequest,
    *,
    tab: bool,
    source: tuple[str, str] | None,
    copy: Path | None,
) -> PlainCsv | None:
    """Return a file as DuckDB can read it, ``None`` if it has to be read row by row.

    :param tab: whether cells are divided by tabs where nothing else is said.
    :param source: a column for the file's name, and the name.
    :param copy: where the file is copied to, unpacked, if it is packed or may not stay.
    :raises SourceError: if it is packed, and damaged or too large.
    """
    options = request.csv
    delimiter = options.delimiter or ("\t" if tab else ",")
    if not _is_plain(request, delimiter):
        return None
    with ExitStack() as stack:
        stream = stack.enter_context(unpacked(file, request.max_file_bytes))
        header = stream.readline(_STEP)
        names = _names(header, delimiter, options.quote)
        if names is None or (source is not None and source[0] in names):
            return None
        target = None if copy is None else stack.enter_context(copy.open("wb"))
        seen = _Seen(len(names), delimiter, options.quote, target)
        if not seen.take(header) or not seen.all(stream):
            return None
    nulls = ", ".join(map(literal, options.nulls))
    quote = literal(options.quote)
    return PlainCsv(
        copy or file,
        names,
        seen.lines,
        seen.bytes + seen.lines * sum(len(name) + _MORE_AS_JSON for name in names),
        "auto_detect = false, header = false, skip = 1, strict_mode = true, null_padding = false, "
        f"delim = {literal(delimiter)}, quote = {quote}, escape = {quote}, nullstr = [{nulls}], "
        f"new_line = '\\n', buffer_size = {_BUFFER}, max_line_size = {_BUFFER // 2}, "
        "compression = 'none'",
        source,
    )


def _is_plain(request: FileRequest, delimiter: str) -> bool:
    """Whether the two readers agree on what is asked for."""
    options = request.csv
    marks = delimiter + options.quote
    return (
        codecs.lookup(request.encoding).name == "utf-8"
        and options.header is True
        and not options.skip_rows
        and options.decimal == "."
        and marks.isascii()
        and marks.isprintable() | (delimiter == "\t")
        and " " not in marks
        and delimiter != options.quote
        and bool(options.nulls)
        and all(text.isprintable() and not set(marks) & set(text) for text in options.nulls)
    )


def _names(header: bytes, delimiter: str, quote: str) -> tuple[str, ...] | None:
    """Return the columns' names, if the first line has usable ones and nothing else."""
    try:
        lines = [header.decode("utf-8-sig")]
        (names,) = csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)
    except (UnicodeDecodeError, ValueError, csv.Error):
        return None
    usable = len(set(names)) == len(names) and all(name.strip() for name in names)
    return tuple(names) if usable and _FEWEST_COLUMNS <= len(names) <= _MOST_COLUMNS else None


class _Seen:
    """What passed by of a file.

    :ivar lines: behind the header.
    :ivar bytes: of all lines.
    """

    def __init__(self, columns: int, delimiter: str, quote: str, target: IO[bytes] | None) -> None:
        self.lines = -1
        self.bytes = 0
        self._target = target
        self._columns = columns
        self._comma = delimiter.encode()
        self._commas = 0
        self._beside = (f" {quote}".encode(), f"{quote} ".encode())
        comma, mark = re.escape(delimiter), re.escape(quote)
        # Blanks between a quotation mark and the end of its cell.
        self._blanks = re.compile(f"[{comma}\n] +{mark}|{mark} +[{comma}\r\n]".encode())

    def all(self, stream: IO[bytes]) -> bool:
        """Take the rest of the file; return whether the two readers agree on all of it."""
        while part := stream.read(_STEP):
            if not part.endswith(b"\n"):
                part += stream.readline(_STEP)
            if not self.take(part):
                return False
        # DuckDB overlooks an empty cell too many at the end of a row.
        return self.lines > 0 and self._commas == (self.lines + 1) * (self._columns - 1)

    def take(self, part: bytes) -> bool:
        """Take some whole lines; return whether the two readers agree on them."""
        self.lines += part.count(b"\n") + (not part.endswith(b"\n"))
        self.bytes += len(part)
        if b"\r" in part or b"\0" in part or (len(part) > _STEP and not part.endswith(b"\n")):
            return False
        if any(beside in part for beside in self._beside) and self._blanks.search(b"\n" + part):
            return False
        self._commas += part.count(self._comma)
        if self._target is not None:
            self._target.write(part)
        return bool(part.strip()) or self.lines > 0

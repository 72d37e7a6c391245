"""Reading many files of one format into one dataset."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import SourceError, SourceUnavailableError
from kimi_provider.sources.file_bytes import is_packed, on_this_machine, unpacked
from kimi_provider.sources.file_csv import plain_csv
from kimi_provider.sources.file_request import CsvOptions, FileRequest
from kimi_provider.sources.file_tables import parquet_rows, parquet_types, xlsx_rows
from kimi_provider.sources.file_text import comma_columns, csv_rows, json_rows, jsonl_rows, text_rows
from kimi_provider.sources.spool import Spool, UnreadableError
from kimi_provider.storage import local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kimi_provider.schemas import DatasetRef
    from kimi_provider.sources.file_request import Format
    from kimi_provider.sources.guard import Guard
    from kimi_provider.storage import StoragePath

__all__ = ["CsvOptions", "FileRequest", "fetch_files"]

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_PROGRESS = 5.0
_BATCH = 5_000
# Each is a part of one statement.
_MOST_PLAIN = 50
# Where a line of a log came from is half of what it says.
_FILE = "file"


def fetch_files(
    request: FileRequest,
    files: Mapping[str, StoragePath],
    target: StoragePath,
    *,
    source: str,
    types: Mapping[str, str] | None = None,
    allow_empty: bool = False,
    guard: Guard | None = None,
    on_progress: Callable[[str], None] = log.debug,
) -> DatasetRef:
    """Read all files into one Parquet file, which appears whole or not at all.

    :param request: how to read them.
    :param files: each by the name that it is shown by, in the order of their rows. Columns are matched
        by name; one that a file does not have is null in its rows.
    :param target: where the file goes.
    :param source: where they come from, without credentials.
    :param types: DuckDB types by column, in place of those found.
    :param allow_empty: whether no rows are a dataset, or an error.
    :param guard: protects each row before anything of it is stored.
    :param on_progress: told now and then how far it is.
    :raises SourceUnavailableError: if a file cannot be reached.
    :raises SourceError: if a file is not of its format, or there is more than the bounds allow. The
        message names the file and the row. Nothing is stored then.
    :raises ConfigurationError: if a type in ``types`` is none, or a library is missing.
    """
    if len(files) > request.max_files:
        raise SourceError(
            f"{source} matches {len(files)} files, more than max_files={request.max_files} allows. "
            "Narrow path or raise max_files; nothing was stored."
        )
    kind = _one_format(request, files)
    if kind is None and not allow_empty:
        raise SourceError(
            f"No file matches {source}. Check path, or set allow_empty=True if that is fine. To wait "
            "for files, put a sensor before this task."
        )
    if guard is None and kind in {"csv", "tsv"}:
        plain = _fetch_plain(request, files, target, source=source, types=types or {}, tab=kind == "tsv")
        if plain is not None:
            return plain
    with tempfile.TemporaryDirectory(prefix="kimi-fetch-") as folder:
        rows = Path(folder) / "rows"
        rows.mkdir()
        untyped = kind in {"csv", "tsv"} or bool(request.pattern)
        spool = Spool(rows, untyped=untyped, guard=guard)
        fetch = _Fetch(request, kind, files, spool, Path(folder), on_progress)
        fetch.run()
        if not spool.rows and not allow_empty:
            raise SourceError(
                f"{source} has no rows in {len(files)} files. Check path, or set allow_empty=True if "
                "that is fine."
            )
        known = {name: kept for name, kept in fetch.types.items() if kept}
        return spool.finish(target, source=source, types={**known, **(types or {})})


def _fetch_plain(
    request: FileRequest,
    files: Mapping[str, StoragePath],
    target: StoragePath,
    *,
    source: str,
    types: Mapping[str, str],
    tab: bool,
) -> DatasetRef | None:
    """Read CSV files by DuckDB alone; ``None`` if they have to be read row by row.

    What is wrong with them is not told here: reading row by row comes upon it again, and by name.
    """
    if len(files) > _MOST_PLAIN:
        return None
    with tempfile.TemporaryDirectory(prefix="kimi-fetch-") as folder:
        rows = Path(folder) / "rows"
        rows.mkdir()
        spool = Spool(rows, untyped=True)
        try:
            for number, (name, path) in enumerate(files.items()):
                with on_this_machine(path, Path(folder) / "file", request.max_file_bytes) as file:
                    shown = (request.source_column, name) if request.source_column else None
                    moves = local_path(path) is None or is_packed(file)
                    copy = Path(folder) / f"{number}.csv" if moves else None
                    plain = plain_csv(file, request, tab=tab, source=shown, copy=copy)
                if plain is None:
                    return None
                spool.add_file(plain)
                if spool.rows > request.max_rows or spool.bytes > request.max_bytes:
                    return None
            return spool.finish(target, source=source, types=types)
        except (SourceError, UnreadableError, OSError):
            return None


@dataclass
class _Fetch:
    """Files on their way into the spool.

    :ivar types: columns of Parquet files with the types that they keep.
    """

    request: FileRequest
    kind: Format | None
    files: Mapping[str, StoragePath]
    spool: Spool
    folder: Path
    on_progress: Callable[[str], None]
    types: dict[str, str | None] = field(default_factory=dict)
    commas: frozenset[str] = frozenset()

    def run(self) -> None:
        """Read all files."""
        if self.kind in {"csv", "tsv"} and self.request.csv.decimal == ",":
            # Only all of a column's values say whether its commas are decimal marks.
            texts: set[str] = set()
            numbers: set[str] = set()
            for name in self.files:
                self._each(name, lambda rows: comma_columns(rows, texts, numbers))
            self.commas = frozenset(numbers - texts)
        said = time.monotonic()
        for count, name in enumerate(self.files, start=1):
            self._each(name, self._take)
            if time.monotonic() - said > _SECONDS_BETWEEN_PROGRESS:
                said = time.monotonic()
                self.on_progress(
                    f"{self.spool.rows:,} rows of {count} of {len(self.files)} files so far"
                )

    def _each(self, name: str, use: Callable[[Iterator[dict[str, Any]]], None]) -> None:
        """Hand the rows of a file over; what is wrong with them is told with its name."""
        most = self.request.max_file_bytes
        try:
            with on_this_machine(self.files[name], self.folder / "file", most) as file:
                use(self._rows(name, file))
        except SourceError as error:
            raise _told(error, name) from error
        except OSError as error:
            raise SourceUnavailableError(f"The file {name} cannot be read: {_reason(error)}.") from error

    def _take(self, rows: Iterator[dict[str, Any]]) -> None:
        request, spool = self.request, self.spool
        before = -1
        while spool.rows != before:
            before = spool.rows
            # One more than allowed tells that there are more.
            spool.add(islice(rows, min(_BATCH, request.max_rows - before + 1)))
            if spool.rows > request.max_rows:
                raise _too_much("max_rows", request.max_rows, "rows")
            if spool.bytes > request.max_bytes:
                raise _too_much("max_bytes", request.max_bytes, "bytes")

    def _rows(self, name: str, file: Path) -> Iterator[dict[str, Any]]:
        column = self.request.source_column or (_FILE if self.kind == "text" else None)
        for row in self._read(file):
            if column is None:
                yield row
            elif column in row:
                raise SourceError(f"has a column {column!r} of its own; choose another source_column")
            else:
                yield {column: name, **row}

    def _read(self, file: Path) -> Iterator[dict[str, Any]]:
        if self.kind == "parquet":
            for name, kept in parquet_types(file, self.folder).items():
                # Files that do not agree leave the type to be found.
                self.types[name] = kept if self.types.get(name, kept) == kept else None
            yield from parquet_rows(file, self.folder)
            return
        if self.kind == "xlsx":
            yield from xlsx_rows(file, self.request)
            return
        with unpacked(file, self.request.max_file_bytes) as stream:
            match self.kind:
                case "csv" | "tsv":
                    tab = self.kind == "tsv"
                    yield from csv_rows(stream, self.request, tab=tab, commas=self.commas)
                case "json":
                    yield from json_rows(stream, self.request.records_path)
                case "jsonl":
                    yield from jsonl_rows(stream)
                case _:
                    yield from text_rows(stream, self.request)


def _one_format(request: FileRequest, files: Mapping[str, StoragePath]) -> Format | None:
    """Return the format of all files, ``None`` where there are none."""
    kinds = {request.format_of(name): name for name in files}
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise SourceError(
            f"The file {first} is {one}, but {second} is {other}. Fetch each format by its own task, or "
            "set format."
        )
    return next(iter(kinds), None)


def _told(error: SourceError, name: str) -> SourceError:
    """Return an error that says in which file it was."""
    text = str(error)
    if text[:1].isupper():
        return type(error)(f"In the file {name}: {text}")
    return type(error)(f"The file {name} {text.rstrip('.')}.")


def _reason(error: OSError) -> str:
    # Those that are only OSErrors are of our own words; the others repeat the path.
    own = str(error).rstrip(".") if type(error) is OSError else ""
    return error.strerror or own or type(error).__name__


def _too_much(name: str, bound: int, what: str) -> SourceError:
    return SourceError(
        f"There are more {what} than {name}={bound} allows. Narrow path or raise {name}; nothing was "
        "stored."
    )

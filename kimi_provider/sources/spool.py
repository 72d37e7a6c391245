"""Rows on their way into a dataset: kept on disk as they come, typed when all have come.

Types are found over all rows, so nothing can be typed before the last one. Until then, rows wait in
a JSON Lines file, or in CSV files that DuckDB can read as they are. Mostly the first rows tell the
types, and one pass writes the dataset and checks that all other rows agree. If one does not, the rows
go into a Parquet file of raw values first, over which the types are found. Memory holds none of it.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kimi_provider.exceptions import SourceError
from kimi_provider.schemas import DatasetRef
from kimi_provider.sources.content import content_hash
from kimi_provider.sources.guess import guessed
from kimi_provider.sources.inference import Raw, column_types, misfits, value_of
from kimi_provider.sources.profile import profile
from kimi_provider.sources.scratch import AMPLE, USUAL, literal, quoted, scratch_database
from kimi_provider.sources.window import bounded
from kimi_provider.storage import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from kimi_provider.sources.file_csv import PlainCsv
    from kimi_provider.sources.guard import Guard
    from kimi_provider.sources.scratch import Bounds
    from kimi_provider.sources.window import Window
    from kimi_provider.storage import StoragePath

_LARGEST_ROW: Final = 8 << 20
# DuckDB reads in steps of at least twice this for each of its threads.
_SMALLEST_BUFFER: Final = 1 << 20
_STEP: Final = 1 << 16
_GROUP_BYTES: Final = 12 << 20
_CELL_BYTES: Final = 32
_FEWEST_IN_GROUP: Final = 2_048
_MOST_IN_GROUP: Final = 122_880
_MOST_COLUMNS: Final = 1_000
_LONGEST_NAME: Final = 255


class UnreadableError(Exception):
    """CSV files that DuckDB does not read as they are."""


_AS_TEXT: Final = " ->> '$'"


class Spool:
    """Collects rows, then writes them as Parquet.

    :param folder: an empty scratch folder on this machine's disk; the caller removes it.
    :param untyped: whether all values come as texts, because the source has no types (CSV).
    :param guard: protects each row before it touches a disk.
    :ivar rows: rows collected.
    :ivar bytes: bytes that they take on the disk.
    """

    def __init__(self, folder: Path, *, untyped: bool = False, guard: Guard | None = None) -> None:
        self._folder = folder
        self._untyped = untyped
        self._guard = guard
        self._file = folder / "rows.jsonl"
        self._raw = folder / "raw.parquet"
        # The names in the order in which they came, each with the column that holds it raw, so
        # that no name can be taken for one of DuckDB's; and the names by their case-folded form.
        self._columns: dict[str, Raw] = {}
        self._folded: dict[str, str] = {}
        self._encoder = msgspec.json.Encoder(decimal_format="number")
        self._long: set[str] = set()
        self._largest = _SMALLEST_BUFFER
        self._files: list[PlainCsv] = []
        self.rows = 0
        self.bytes = 0

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append rows; a column that a row does not have is null in it.

        :raises SourceError: if a column has no usable name, two differ only by case, or a row is too
            large. The message says which row.
        """
        lines = bytearray()
        with self._file.open("ab") as file:
            for record in records:
                self.rows += 1
                row = record if self._guard is None else self._guard.protect(record, self.rows)
                if not row.keys() <= self._columns.keys():
                    self._admit(row)
                start = len(lines)
                self._encoder.encode_into(self._without_long_numbers(row), lines, -1)
                size = len(lines) - start
                if size > self._largest:
                    self._largest = size
                    if size > _LARGEST_ROW:
                        raise SourceError(
                            f"Row {self.rows} has {size} bytes; a row may have {_LARGEST_ROW}. Leave "
                            "large fields out at the source."
                        )
                lines += b"\n"
                if len(lines) > _STEP:
                    self.bytes += file.write(lines)
                    lines.clear()
            self.bytes += file.write(lines)

    def _without_long_numbers(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row with decimals as texts where a double has not their digits.

        DuckDB reads each number in JSON as a double; a column of such texts is read as one of CSV.
        """
        long = {
            name: str(value)
            for name, value in row.items()
            if type(value) is Decimal and len(value.as_tuple().digits) > sys.float_info.dig
        }
        if not long:
            return row
        self._long |= long.keys()
        return {**row, **long}

    def add_file(self, file: PlainCsv) -> None:
        """Take the rows of a CSV file; none may be added in another way.

        :raises SourceError: if a column has no usable name, or two differ only by case.
        """
        names = file.columns if file.source is None else (file.source[0], *file.columns)
        for name in names:
            if name not in self._columns:
                self._name(name, f"It has the column {name[:_LONGEST_NAME]!r}")
        self.rows += file.rows
        self.bytes += file.bytes
        self._files.append(file)

    def finish(
        self,
        target: StoragePath,
        *,
        source: str,
        types: Mapping[str, str],
        window: Window | None = None,
    ) -> DatasetRef:
        """Find the types, write the Parquet file, and describe it.

        :param target: where the file goes; it appears whole or not at all.
        :param source: where the rows come from, without credentials and query values.
        :param types: DuckDB types by column, in place of those found; a column that no row has is
            there too, and all null.
        :param window: of an incremental reading; rows beyond its end are left out.
        :raises SourceError: if a value does not fit the type asked for, there are no columns, the
            guard's policy names one that is not there, or that of the window cannot be gone by.
        :raises ConfigurationError: if a type asked for is none.
        """
        import duckdb

        if self._guard is not None:
            types = self._guard.types(types)
            if self.rows:
                self._guard.check(source)
        for name in types:
            if name not in self._columns:
                self._name(name, f"types has the column {name!r}")
        if not self._columns:
            raise SourceError(
                f"{source} gave no columns, so a dataset cannot be made. Name them in types, such as "
                "{'id': 'BIGINT'}, or do not allow an empty dataset."
            )
        try:
            return self._finish(target, source, types, window, USUAL)
        except duckdb.OutOfMemoryException:
            pass
        try:
            return self._finish(target, source, types, window, AMPLE)
        except duckdb.OutOfMemoryException:
            raise SourceError(
                f"The rows of {source} are too large to be typed, at {self.bytes // self.rows} bytes on "
                "average. Leave large fields out at the source."
            ) from None

    def _finish(
        self,
        target: StoragePath,
        source: str,
        types: Mapping[str, str],
        window: Window | None,
        bounds: Bounds,
    ) -> DatasetRef:
        with scratch_database(self._folder, bounds) as connection, writing(target) as file:
            watermark = None
            self._arrange(connection)
            if window is not None or not self._write_guessed(connection, types, file):
                self._load(connection)
                chosen = column_types(connection, "raw", self._columns, types)
                self._check_asked(connection, {name: chosen[name] for name in types})
                within = "true"
                if window is not None:
                    within, watermark = bounded(connection, window, self._columns, chosen, asked=types)
                self._write(connection, chosen, file, within)
            columns = _view(connection, file)
            described = profile(connection, "written", columns)
            nulls = {column.name: column.nulls for column in described}
            rows, sha256 = content_hash(connection, "written", columns, nulls)
            if self._files and rows != self.rows:
                raise UnreadableError
            size = file.stat().st_size
        return DatasetRef(
            uri=target.as_uri(),
            rows=rows,
            bytes=size,
            sha256=sha256,
            source=source,
            columns=self._guard.marked(described) if self._guard else described,
            dropped=self._guard.dropped if self._guard else (),
            watermark=watermark,
        )

    def _admit(self, record: Mapping[str, Any]) -> None:
        for name in record:
            if name not in self._columns:
                self._name(name, f"Row {self.rows} has the column {name[:_LONGEST_NAME]!r}")

    def _name(self, name: str, where: str) -> None:
        """Take a column's name, if SQL and people can use it."""
        if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise SourceError(
                f"{where}, a name that is empty, too long or has characters that do not print. Rename "
                "it at the source."
            )
        twin = self._folded.setdefault(name.casefold(), name)
        if twin != name:
            raise SourceError(
                f"{where} beside {twin!r}; SQL cannot tell them apart. Rename one at the source."
            )
        self._columns[name] = Raw(f"c{len(self._columns)}", self._untyped)
        if len(self._columns) > _MOST_COLUMNS:
            raise SourceError(
                f"{where}, which makes more than {_MOST_COLUMNS} columns. Data with ids as keys has to "
                "be turned into rows at the source."
            )

    def _rows_in_group(self) -> int:
        """Rows of a Parquet row group, of which each of DuckDB's threads holds one in memory."""
        size = self.bytes // max(self.rows, 1) + _CELL_BYTES * len(self._columns)
        return min(max(_GROUP_BYTES // size, _FEWEST_IN_GROUP), _MOST_IN_GROUP)

    def _arrange(self, connection: DuckDBPyConnection) -> None:
        """Make the rows the view ``rows``, of one raw column a name."""
        kind = "VARCHAR" if self._untyped else "JSON"
        if self._files:
            parts = [file.select(self._columns) for file in self._files]
            rows = " UNION ALL ".join(parts)
        elif self.rows:
            for name in self._long:
                self._columns[name] = Raw(self._columns[name].name, untyped=True)
            named = ", ".join(self._named(name, raw) for name, raw in self._columns.items())
            # All of its columns are named, so nothing is sampled and nothing guessed.
            struct = ", ".join(f"{literal(name)}: '{kind}'" for name in self._columns)
            options = f"columns = {{{struct}}}, maximum_object_size = {self._largest + 1}"
            lines = f"read_json({literal(str(self._file))}, format = 'newline_delimited', {options})"
            rows = f"SELECT {named} FROM {lines}"  # noqa: S608 — quoted names
        else:
            columns = ", ".join(f"NULL::{kind} AS {raw.name}" for raw in self._columns.values())
            rows = f"SELECT {columns} WHERE false"
        connection.execute(f"CREATE VIEW rows AS {rows}")

    def _named(self, name: str, raw: Raw) -> str:
        return f"{quoted(name)}{_AS_TEXT if name in self._long else ''} AS {raw.name}"

    def _write_guessed(
        self, connection: DuckDBPyConnection, types: Mapping[str, str], file: Path
    ) -> bool:
        """Write the dataset by the types of its first rows; return whether all others agree."""
        import duckdb

        try:
            guess = guessed(connection, "rows", self._columns, types)
            if guess is None:
                return False
            values = ", ".join(f"{value} AS {quoted(name)}" for name, (_, value) in guess.items())
            self._copy(connection, f"SELECT {values} FROM rows", file)  # noqa: S608 — quoted names
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            return False
        return True

    def _load(self, connection: DuckDBPyConnection) -> None:
        """Make the rows the view ``raw``, which is quick to read column by column."""
        import duckdb

        try:
            self._copy(connection, "FROM rows", self._raw)
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            if self._files:
                raise UnreadableError from None
            raise
        raw = f"read_parquet({literal(str(self._raw))}, file_row_number = true)"
        connection.execute(f"CREATE VIEW raw AS FROM {raw}")

    def _check_asked(self, connection: DuckDBPyConnection, asked: Mapping[str, str]) -> None:
        """Refuse types that a value does not fit, by the first such row."""
        for name, kind in asked.items():
            raw = self._columns[name]
            row = connection.execute(
                f"SELECT file_row_number + 1, {raw.text} FROM raw "  # noqa: S608 — a name of ours
                f"WHERE {misfits(raw, kind)} ORDER BY file_row_number LIMIT 1"
            ).fetchone()
            if row is not None:
                raise SourceError(
                    f"Row {row[0]} has {str(row[1])[:60]!r} in the column {name!r}, which is no {kind}. "
                    "Choose another type in types, such as VARCHAR, or correct the source."
                )

    def _write(
        self, connection: DuckDBPyConnection, chosen: Mapping[str, str], file: Path, within: str
    ) -> None:
        """Write the dataset, each column by the type chosen for it."""
        values = ", ".join(
            f"{value_of(self._columns[name], kind)} AS {quoted(name)}" for name, kind in chosen.items()
        )
        self._copy(connection, f"SELECT {values} FROM raw WHERE {within}", file)  # noqa: S608 — quoted names

    def _copy(self, connection: DuckDBPyConnection, select: str, file: Path) -> None:
        connection.execute(
            f"COPY ({select}) TO {literal(str(file))} "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {self._rows_in_group()})"
        )


def _view(connection: DuckDBPyConnection, file: Path) -> dict[str, str]:
    """Make the written file the view ``written``; return its columns with their types."""
    connection.execute(f"CREATE VIEW written AS FROM read_parquet({literal(str(file))})")
    return {str(row[0]): str(row[1]) for row in connection.execute("DESCRIBE written").fetchall()}

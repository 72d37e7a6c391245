"""Rows on their way into a dataset: kept on disk as they come, typed when all have come.

Types are found over all rows, so nothing can be typed before the last one. Until then, rows wait in
a JSON Lines file; DuckDB then works from its own scratch file. Memory holds neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from kimi_provider.exceptions import SourceError
from kimi_provider.schemas import DatasetRef
from kimi_provider.sources.content import content_hash
from kimi_provider.sources.inference import column_types, misfits, value_of
from kimi_provider.sources.profile import profile
from kimi_provider.sources.scratch import literal, quoted, scratch_database
from kimi_provider.storage import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from kimi_provider.storage import StoragePath

# DuckDB takes twice this for each of its threads.
_LARGEST_ROW: Final = 8 << 20
_MOST_COLUMNS: Final = 2_000
_LONGEST_NAME: Final = 255


class Spool:
    """Collects rows, then writes them as Parquet.

    :param folder: an empty scratch folder on this machine's disk; the caller removes it.
    :param untyped: whether all values come as texts, because the source has no types (CSV).
    :ivar rows: rows collected.
    :ivar bytes: bytes that they take on the disk.
    """

    def __init__(self, folder: Path, *, untyped: bool = False) -> None:
        self._folder = folder
        self._untyped = untyped
        self._file = folder / "rows.jsonl"
        # In the order in which they came; and by their case-folded form.
        self._columns: dict[str, None] = {}
        self._folded: dict[str, str] = {}
        self._encoder = msgspec.json.Encoder(decimal_format="number")
        self.rows = 0
        self.bytes = 0

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append rows; a column that a row does not have is null in it.

        :raises SourceError: if a column has no usable name, two differ only by case, or a row is too
            large. The message says which row.
        """
        with self._file.open("ab") as file:
            for record in records:
                self.rows += 1
                if not record.keys() <= self._columns.keys():
                    self._admit(record)
                line = self._encoder.encode(record)
                if len(line) > _LARGEST_ROW:
                    raise SourceError(
                        f"Row {self.rows} has {len(line)} bytes; a row may have {_LARGEST_ROW}. Leave "
                        "large fields out at the source."
                    )
                self.bytes += file.write(line) + file.write(b"\n")

    def finish(self, target: StoragePath, *, source: str, types: Mapping[str, str]) -> DatasetRef:
        """Find the types, write the Parquet file, and describe it.

        :param target: where the file goes; it appears whole or not at all.
        :param source: where the rows come from, without credentials and query values.
        :param types: DuckDB types by column, in place of those found; a column that no row has is
            there too, and all null.
        :raises SourceError: if a value does not fit the type asked for, or there are no columns.
        :raises ConfigurationError: if a type asked for is none.
        """
        for name in types:
            if name not in self._columns:
                self._name(name, f"types has the column {name!r}")
        if not self._columns:
            raise SourceError(
                f"{source} gave no columns, so a dataset cannot be made. Name them in types, such as "
                "{'id': 'BIGINT'}, or do not allow an empty dataset."
            )
        with scratch_database(self._folder) as connection:
            self._load(connection)
            chosen = column_types(connection, self._columns, types, untyped=self._untyped)
            _check_asked(connection, {name: chosen[name] for name in types})
            with writing(target) as file:
                _write(connection, chosen, file)
                columns = _view(connection, file)
                described = profile(connection, "written", columns)
                nulls = {column.name: column.nulls for column in described}
                rows, sha256 = content_hash(connection, "written", columns, nulls)
                size = file.stat().st_size
        return DatasetRef(
            uri=target.as_uri(), rows=rows, bytes=size, sha256=sha256, source=source, columns=described
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
        self._columns[name] = None
        if len(self._columns) > _MOST_COLUMNS:
            raise SourceError(
                f"{where}, which makes more than {_MOST_COLUMNS} columns. Data with ids as keys has to "
                "be turned into rows at the source."
            )

    def _load(self, connection: DuckDBPyConnection) -> None:
        """Bring the rows into a table of raw JSON, one column each, in the order in which they came."""
        declared = ", ".join(f"{quoted(name)} JSON" for name in self._columns)
        connection.execute(f"CREATE TABLE raw ({declared})")
        if not self.rows:
            return
        struct = ", ".join(f"{literal(name)}: 'JSON'" for name in self._columns)
        # All of its columns are named, so nothing is sampled and nothing guessed.
        options = f"columns = {{{struct}}}, maximum_object_size = {_LARGEST_ROW}"
        connection.execute(
            "INSERT INTO raw SELECT * FROM "  # noqa: S608 — names and path are quoted
            f"read_json({literal(str(self._file))}, format = 'newline_delimited', {options})"
        )
        # All rows would lie on the disk twice.
        self._file.unlink()


def _check_asked(connection: DuckDBPyConnection, asked: Mapping[str, str]) -> None:
    """Refuse types that a value does not fit, by the first such row."""
    for name, kind in asked.items():
        row = connection.execute(
            f"SELECT rowid + 1, {quoted(name)} ->> '$' FROM raw "  # noqa: S608 — the name is quoted
            f"WHERE {misfits(name, kind)} ORDER BY rowid LIMIT 1"
        ).fetchone()
        if row is not None:
            raise SourceError(
                f"Row {row[0]} has {str(row[1])[:60]!r} in the column {name!r}, which is no {kind}. "
                "Choose another type in types, such as VARCHAR, or correct the source."
            )


def _write(connection: DuckDBPyConnection, chosen: Mapping[str, str], file: Path) -> None:
    selected = ", ".join(f"{value_of(name, kind)} AS {quoted(name)}" for name, kind in chosen.items())
    connection.execute(
        f"COPY (SELECT {selected} FROM raw) "  # noqa: S608 — names and path are quoted
        f"TO {literal(str(file))} (FORMAT parquet, COMPRESSION zstd)"
    )


def _view(connection: DuckDBPyConnection, file: Path) -> dict[str, str]:
    """Make the written file the view ``written``; return its columns with their types."""
    connection.execute(f"CREATE VIEW written AS FROM read_parquet({literal(str(file))})")
    return {str(row[0]): str(row[1]) for row in connection.execute("DESCRIBE written").fetchall()}

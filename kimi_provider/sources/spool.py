"""Rows on their way into a dataset: kept on disk as they come, typed when all have come.

Types are found over all rows, so nothing can be typed before the last one. Rows wait in a JSON Lines
file beside DuckDB's own scratch files, and memory holds neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.exceptions import SourceError
from kimi_provider.sources.typing import SQL_TYPES, column_type
from kimi_provider.storage import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from kimi_provider.schemas import DatasetRef
    from kimi_provider.storage import StoragePath

_MEMORY_LIMIT = "256MiB"
# DuckDB takes twice this for each of its threads.
_LARGEST_ROW = 16 << 20
_THREADS = 2


class Spool:
    """Collects rows, then writes them as Parquet.

    :param folder: a scratch folder on this machine's disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "rows.jsonl"
        self._columns: dict[str, None] = {}
        self._encoder = msgspec.json.Encoder()
        self.rows = 0

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append rows; a column that a row does not have is null in it.

        :raises SourceError: if a column has no name, or two differ only by case.
        """
        with self._file.open("ab") as file:
            for record in records:
                if not record.keys() <= self._columns.keys():
                    self._admit(record)
                file.write(self._encoder.encode(record))
                file.write(b"\n")
                self.rows += 1

    def finish(self, target: StoragePath, *, source: str, types: Mapping[str, str]) -> DatasetRef:
        """Find the types, write the Parquet file, and describe it.

        :param target: where the file goes; it appears whole or not at all.
        :param source: where the rows come from, without credentials.
        :param types: DuckDB types by column, in place of those found.
        :raises SourceError: if a value does not fit the type asked for, or there are no columns.
        """
        import duckdb

        from kimi_provider.sources.profile import describe

        for name in types:
            self._columns.setdefault(name)
        if not self._columns:
            raise SourceError(
                f"{source} gave no rows, so its columns are not known. Name them in types, such as"
                " {'id': 'BIGINT'}, or do not allow an empty dataset."
            )
        with duckdb.connect(str(self._folder / "scratch.duckdb")) as db:
            db.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'; SET threads = {_THREADS}")
            db.execute(f"SET temp_directory = '{self._folder / 'duckdb'}'; SET TimeZone = 'UTC'")
            self._load(db)
            chosen = {name: types.get(name) or column_type(db, name) for name in self._columns}
            with writing(target) as file:
                self._copy(db, chosen, file)
                profile = describe(db, file)
                size = file.stat().st_size
        return profile.reference(uri=target.as_uri(), bytes_=size, source=source)

    def _admit(self, record: Mapping[str, Any]) -> None:
        known = {name.casefold(): name for name in self._columns}
        for name in record:
            if name in self._columns:
                continue
            if not name.strip() or "\x00" in name:
                raise SourceError(f"Row {self.rows + 1} has a column without a name. Name it there.")
            if (twin := known.get(name.casefold())) is not None:
                raise SourceError(
                    f"Row {self.rows + 1} has the columns {twin!r} and {name!r}, which are one to SQL."
                    " Rename one at the source."
                )
            known[name.casefold()] = name
            self._columns[name] = None

    def _load(self, db: DuckDBPyConnection) -> None:
        """Bring the rows into a table of raw JSON values, one column each."""
        columns = ", ".join(f"{quoted(name)} JSON" for name in self._columns)
        db.execute(f"CREATE TABLE raw ({columns})")
        if not self.rows:
            return
        struct = ", ".join(f"{literal(name)}: 'JSON'" for name in self._columns)
        db.execute(
            # Names are quoted, values are none: nothing in the data becomes SQL.
            f"INSERT INTO raw SELECT * FROM read_json({literal(str(self._file))},"  # noqa: S608 — see above
            f" format = 'newline_delimited', columns = {{{struct}}},"
            f" maximum_object_size = {_LARGEST_ROW})"
        )

    def _copy(self, db: DuckDBPyConnection, chosen: Mapping[str, str], file: Path) -> None:
        selected = []
        for name, kind in chosen.items():
            raw = f"({quoted(name)} ->> '$')"
            cast = raw if kind == "VARCHAR" else f"CAST({raw} AS {_known(name, kind)})"
            selected.append(f"{cast} AS {quoted(name)}")
        import duckdb

        try:
            db.execute(
                f"COPY (SELECT {', '.join(selected)} FROM raw) TO {literal(str(file))}"  # noqa: S608 — the same
                " (FORMAT parquet, COMPRESSION zstd)"
            )
        except duckdb.Error:
            raise self._misfit(db, chosen) from None

    def _misfit(self, db: DuckDBPyConnection, chosen: Mapping[str, str]) -> SourceError:
        """Name the first row and column whose value is not of the type asked for."""
        for name, kind in chosen.items():
            raw = f"({quoted(name)} ->> '$')"
            row = db.execute(
                f"SELECT rowid + 1, {raw} FROM raw WHERE {raw} IS NOT NULL"  # noqa: S608 — the same
                f" AND TRY_CAST({raw} AS {kind}) IS NULL ORDER BY rowid LIMIT 1"
            ).fetchone()
            if row is not None:
                return SourceError(
                    f"Row {row[0]} has {str(row[1])[:60]!r} in column {name!r}, which is no {kind}."
                    " Choose another type, such as VARCHAR, or correct the source."
                )
        return SourceError("The rows cannot be written as Parquet with these types.")


def quoted(name: str) -> str:
    """Return a name as an SQL identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL literal, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def _known(column: str, kind: str) -> str:
    """Return a type that the DAG asked for, if it is one."""
    if not SQL_TYPES.fullmatch(kind):
        raise SourceError(
            f"types has {kind!r} for column {column!r}, which is no type of a dataset. Use BIGINT,"
            " DOUBLE, DECIMAL(18,2), BOOLEAN, DATE, TIMESTAMP, TIMESTAMPTZ or VARCHAR."
        )
    return kind

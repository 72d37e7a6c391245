"""Rows of files that hold tables with types: Parquet and XLSX.

Messages begin with a verb; whoever calls puts the file's name before it.
"""

from __future__ import annotations

import zipfile
import zlib
from contextlib import closing
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.sources.rows import records, unique
from kimi_provider.sources.scratch import READING, literal, quoted, scratch_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from kimi_provider.sources.file_request import FileRequest

Row = dict[str, Any]

_BATCH = 2_048
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_AS_THEY_ARE = {"BOOLEAN", "DOUBLE", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}
_NESTED = ("STRUCT", "MAP", "UNION", "JSON", "VARIANT")
# Its texts are held in memory, and are a part of their own.
_SHARED_TEXTS = "xl/sharedStrings.xml"
_MOST_SHARED_TEXTS = 64 << 20
_NOT_AVAILABLE = "#N/A"


def parquet_types(file: Path, scratch: Path) -> dict[str, str | None]:
    """Return the columns, each with the DuckDB type that its values keep; ``None`` is to be found.

    Texts are to be found: as from any other source, a column of them that are all dates becomes one.

    :raises SourceError: if the file cannot be read, or two columns differ by case only.
    """
    with scratch_database(scratch, READING) as connection:
        kinds = _kinds(connection, file)
    return {name: _kept(kind) for name, kind in kinds.items()}


def parquet_rows(file: Path, scratch: Path) -> Iterator[Row]:
    """Read a Parquet file, group by group.

    :param scratch: folder for what does not fit the memory.
    :raises SourceError: if it is none, or a value cannot be stored.
    """
    import duckdb

    with scratch_database(scratch, READING) as connection:
        kinds = _kinds(connection, file)
        selected = ", ".join(_selected(name, kind) for name, kind in kinds.items())
        nested = [name for name, kind in kinds.items() if _is_nested(kind)]
        try:
            connection.execute(
                f"SELECT {selected} FROM read_parquet({literal(str(file))})"  # noqa: S608 — quoted names
            )
            number = 1
            while batch := connection.fetchmany(_BATCH):
                for row in records(tuple(kinds), batch, first=number):
                    for name in nested:
                        row[name] = None if row[name] is None else msgspec.json.decode(row[name])
                    yield row
                number += len(batch)
        except duckdb.OutOfMemoryException:
            raise SourceError("has row groups that are too large; write it with smaller ones") from None
        except (duckdb.Error, msgspec.DecodeError) as error:
            raise SourceError(f"is no sound Parquet file: {_first_line(error)}") from None


def xlsx_rows(file: Path, request: FileRequest) -> Iterator[Row]:
    """Read a sheet: its first row that is not empty has the names.

    A formula counts with the value that the program stored which wrote the file, ``#N/A`` is null.

    :raises SourceError: if there is no such sheet, a name is missing or comes twice, a cell holds an
        error, or the file is damaged or larger than allowed.
    """
    try:
        import openpyxl
    except ImportError:
        raise ConfigurationError(
            "XLSX files need the package openpyxl: install airflow-provider-kimi[xlsx]."
        ) from None
    _check_parts(file, request.max_file_bytes)
    try:
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        with closing(workbook):
            yield from _sheet_rows(_sheet(workbook, request.sheet))
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001 — it lets through what its parsers raise
        raise SourceError(f"is no sound XLSX file: {_first_line(error)}") from None


def _kinds(connection: DuckDBPyConnection, file: Path) -> dict[str, str]:
    import duckdb

    try:
        rows = connection.execute(
            f"DESCRIBE SELECT * FROM read_parquet({literal(str(file))})"  # noqa: S608 — quoted
        ).fetchall()
    except duckdb.Error as error:
        raise SourceError(f"is no sound Parquet file: {_first_line(error)}") from None
    return {str(row[0]): str(row[1]) for row in rows}


def _kept(kind: str) -> str | None:
    if kind in _INTEGERS:
        return "BIGINT"
    if kind == "FLOAT":
        return "DOUBLE"
    if kind.startswith("TIMESTAMP_"):
        return "TIMESTAMP"
    return kind if kind in _AS_THEY_ARE or kind.startswith("DECIMAL(") else None


def _selected(name: str, kind: str) -> str:
    """Return SQL for a column in a form that Python gets whole."""
    column = quoted(name)
    if kind == "TIMESTAMP WITH TIME ZONE":  # else DuckDB needs one more library
        return f"strftime(make_timestamp(epoch_us({column})), '%Y-%m-%dT%H:%M:%S.%fZ')"
    if kind.startswith("TIMESTAMP"):
        return f"CAST({column} AS TIMESTAMP)"
    if kind == "FLOAT":  # 0.1 shall be 0.1 also in double precision
        return f"CAST(CAST({column} AS VARCHAR) AS DOUBLE)"
    return f"CAST(to_json({column}) AS VARCHAR)" if _is_nested(kind) else column


def _is_nested(kind: str) -> bool:
    return kind.startswith(_NESTED) or kind.endswith("]")


def _check_parts(file: Path, most: int) -> None:
    """Refuse a file that would fill the memory, or is damaged in a part that is not read.

    The sizes that it declares are kept by zipfile.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {part.filename: part.file_size for part in archive.infolist()}
            damaged = archive.testzip() if sum(sizes.values()) <= most else None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError):
        raise SourceError("is no sound XLSX file") from None
    if damaged is not None:
        raise SourceError(f"is no sound XLSX file: its part {damaged[:60]!r} is damaged")
    if sum(sizes.values()) > most:
        raise SourceError(f"has, unpacked, more bytes than max_file_bytes={most} allows")
    if sizes.get(_SHARED_TEXTS, 0) > _MOST_SHARED_TEXTS:
        raise SourceError(
            f"has more than {_MOST_SHARED_TEXTS} bytes of texts. Save it as CSV or Parquet, which are "
            "read in steps"
        )


def _sheet(workbook: Any, name: str | None) -> Any:
    sheets = {sheet.title: sheet for sheet in workbook.worksheets}
    if name is None and sheets:
        return next(iter(sheets.values()))
    if name not in sheets:
        raise SourceError(f"has no sheet {name!r}, but {', '.join(map(repr, sheets)) or 'none'}")
    return sheets[name]


def _sheet_rows(sheet: Any) -> Iterator[Row]:
    sheet.reset_dimensions()  # what a file says of its size need not be true
    names: tuple[str, ...] = ()
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        values = [_value(cell, number, place) for place, cell in enumerate(cells, start=1)]
        while values and values[-1] is None:
            values.pop()
        if not values:
            continue
        if not names:
            names = _named(values, number)
            continue
        if len(values) > len(names):
            raise SourceError(
                f"has in row {number} a value in column {_letters(len(values))}, but only {len(names)} "
                "columns have a name"
            )
        values += [None] * (len(names) - len(values))
        yield from records(names, [values], first=number)


def _value(cell: Any, number: int, place: int) -> Any:
    value = cell.value
    if type(value) is datetime:
        from openpyxl.styles.numbers import is_datetime

        # Excel has no dates, only times shown as such.
        return value.date() if is_datetime(cell.number_format) == "date" else value
    if value is not None and getattr(cell, "data_type", "") == "e":
        if value == _NOT_AVAILABLE:
            return None
        raise SourceError(f"has in cell {_letters(place)}{number} the error {value}")
    return value


def _named(values: Sequence[Any], number: int) -> tuple[str, ...]:
    for place, value in enumerate(values, start=1):
        if value is None:
            raise SourceError(f"has no name in cell {_letters(place)}{number}, its first row")
    texts = [value.isoformat() if isinstance(value, date) else str(value) for value in values]
    return unique(texts, "has in its first row")


def _letters(place: int) -> str:
    letters = ""
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".")

"""DuckDB as the sources use it: names and texts quoted, and one bounded scratch database."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a scratch database may use.

    :ivar memory_limit: DuckDB's memory; what is beyond goes to the disk.
    :ivar threads: each holds buffers of its own.
    """

    memory_limit: str
    threads: int


# A limit, not a need: below it, DuckDB writes Parquet with one thread. The second is for rows of
# megabytes, and for thousands of columns.
USUAL = Bounds("256MiB", 2)
AMPLE = Bounds("1GiB", 1)
# For files whose row groups and pages somebody else chose.
READING = Bounds("192MiB", 1)


@contextmanager
def scratch_database(folder: Path, bounds: Bounds) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database to work on files with.

    :param folder: where what does not fit its memory is spilled.
    """
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "allow_community_extensions": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": bounds.memory_limit,
        "python_enable_replacements": "false",
        "temp_directory": str(folder / "spill"),
        "threads": str(bounds.threads),
    }
    with duckdb.connect(":memory:", config=config) as connection:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # it would be drawn into the task's log
        connection.execute("SET GLOBAL parquet_metadata_cache = true")
        # A row group would be held whole, however large.
        connection.execute("SET GLOBAL disable_parquet_prefetching = true")
        yield connection


def one_row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """Return the row of an aggregate without GROUP BY, which always has one."""
    row = connection.execute(sql).fetchone()
    if row is None:
        raise AssertionError(sql)
    return row


def quoted(name: str) -> str:
    """Return a name as an SQL identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL literal, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"

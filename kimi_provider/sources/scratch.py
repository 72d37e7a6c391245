"""DuckDB as the sources use it: names and texts quoted, and one bounded scratch database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

_MEMORY_LIMIT = "256MiB"
# Each thread holds buffers of its own; more than two gain little beside one network source.
_THREADS = 2


@contextmanager
def scratch_database(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database on disk, so that its memory stays bounded whatever the rows.

    :param folder: where it and what it spills lie; the caller removes it.
    """
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "allow_community_extensions": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": _MEMORY_LIMIT,
        "python_enable_replacements": "false",
        "temp_directory": str(folder / "spill"),
        "threads": str(_THREADS),
    }
    with duckdb.connect(str(folder / "scratch.duckdb"), config=config) as connection:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
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

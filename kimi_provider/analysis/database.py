"""DuckDB over named Parquet files, locked down: SQL from a template or a model can only read them.

What a query may do is decided twice. Before it runs, its syntax tree is held against lists of what
is allowed (one SELECT, over the named datasets, its own CTEs and a few table functions), so that
nothing about the machine, not even a path, can be read from DuckDB's catalog. While it runs, DuckDB
has no access to files but the named ones, none to the network, to extensions, or to Python's
variables; its configuration is locked, and its time, memory and spill are bounded.

DuckDB's memory limit does not see what a function builds within one batch of rows, and heeds no
interrupt there; the functions that make much of little are therefore refused unless their size is a
small literal, and those whose time grows with the square of a text altogether. What grows step by step
is stopped by the memory of the process (see :mod:`~kimi_provider.analysis.watch`).
"""

from __future__ import annotations

import re
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kimi_provider.analysis.statement import inspect_statement
from kimi_provider.analysis.watch import Watch
from kimi_provider.exceptions import ConfigurationError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    import duckdb

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
_MISSING_COLUMN = re.compile(r'(?:Referenced column|column named|Could not find key) "([^"]+)"')
_MISSING_MEMBER = re.compile(r'does not have a column named "([^"]+)"')
_MAX_SPILL = "4GiB"
_MAX_LISTED = 60
_HEADROOM = 256 * 1024**2  # for Python's own part: the rows, and other threads
_SIZE = re.compile(r"\s*([0-9.]+)\s*([KMGT]?)(i?)B?\s*\Z", re.IGNORECASE)
_MAX_CELL = 1_000_000
_MAX_LIST = 10_000
_UNBOUNDED = re.compile(r"VARCHAR|BLOB|BIT|JSON|STRUCT|MAP|UNION|VARIANT|.*\]\Z")


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows of one query.

    :ivar columns: name and DuckDB type of each column.
    :ivar rows: the rows, as Python values; a time with a zone is a ``datetime`` in UTC.
    :ivar truncated: whether there were more rows than were asked for.
    :ivar datasets: the datasets that it read.
    :ivar invented: positions of the columns that no data went into.
    """

    columns: tuple[tuple[str, str], ...]
    rows: list[tuple[object, ...]]
    truncated: bool
    datasets: frozenset[str] = frozenset()
    invented: frozenset[int] = frozenset()


class Database:
    """A locked-down DuckDB in which each dataset is a view. Use as a context manager; thread safe.

    :param datasets: local Parquet file by the name that SQL gives it (letters, digits, ``_``).
    :param memory_limit: DuckDB's memory, such as ``"1GiB"``; beyond it, DuckDB spills to a private
        temporary folder of at most 4 GiB, which is removed with the database.
    :param threads: threads of DuckDB.
    :param timeout: seconds that one query may take.

    ::

        with Database({"flights": Path("flights.parquet")}) as database:
            database.query("SELECT count(*) FROM flights WHERE origin = $origin", {"origin": "JFK"})
    """

    def __init__(
        self,
        datasets: Mapping[str, Path],
        *,
        memory_limit: str = "1GiB",
        threads: int = 2,
        timeout: float = 30.0,
    ) -> None:
        names = [name.lower() for name in datasets]
        for name in datasets:
            if not _NAME.match(name) or names.count(name.lower()) > 1:
                raise ConfigurationError(
                    f"Dataset name {name!r} cannot be used in SQL: take letters, digits and "
                    "underscores, and a name that no other dataset has."
                )
        self._datasets = {name: Path(path).resolve() for name, path in datasets.items()}
        self._memory_limit = memory_limit
        self._threads = threads
        self._timeout = timeout
        self._stack = ExitStack()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._reserved: frozenset[str] = frozenset()
        self._columns: dict[str, tuple[str, ...]] = {}

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the columns, by dataset."""
        return self._columns

    def __enter__(self) -> Self:
        """Open the database.

        :raises SourceError: if a file is missing or is not Parquet.
        :raises ConfigurationError: if a limit is malformed.
        """
        import duckdb

        with ExitStack() as stack:
            spill = stack.enter_context(tempfile.TemporaryDirectory(prefix="kimi-duckdb-"))
            try:
                connection = duckdb.connect(
                    ":memory:",
                    config={
                        "allow_community_extensions": "false",
                        "autoinstall_known_extensions": "false",
                        "autoload_known_extensions": "false",
                        "max_temp_directory_size": _MAX_SPILL,
                        "memory_limit": self._memory_limit,
                        "python_enable_replacements": "false",
                        "temp_directory": spill,
                        "threads": str(self._threads),
                    },
                )
            except duckdb.Error as error:
                raise ConfigurationError(f"DuckDB refused its limits: {_first_line(error)}") from None
            stack.callback(connection.close)
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            # Asked before the views exist: a CTE by such a name could let a catalog view through.
            internal = connection.execute("SELECT view_name FROM duckdb_views()").fetchall()
            self._reserved = frozenset(str(name).lower() for (name,) in internal)
            paths = ", ".join(_quoted(str(path)) for path in self._datasets.values())
            connection.execute(f"SET allowed_paths = [{paths}]")
            for name, path in self._datasets.items():
                self._columns[name] = _open_dataset(connection, name, path)
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            self._connection = connection
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the database and remove its temporary folder."""
        self._connection = None
        self._stack.close()

    def query(
        self, sql: str, parameters: Mapping[str, object] | None = None, max_rows: int | None = None
    ) -> QueryResult:
        """Run one SELECT.

        :param sql: the statement; ``$name`` stands for a parameter.
        :param parameters: values by name; those that the statement does not use are left out.
        :param max_rows: rows to return at most; ``truncated`` says whether there were more.
        :raises ConfigurationError: if the statement is not one allowed SELECT, names a table, column
            or parameter that does not exist, fails on a value, or needs more time or memory than the
            limits. The message is fit to be shown to a person or a model: it holds no path.
        """
        if self._connection is None:
            raise RuntimeError("The database is not open: use it in a with statement.")
        given = parameters or {}
        with self._connection.cursor() as cursor, self._guarded(cursor, given):
            statement = inspect_statement(cursor, sql, datasets=self._columns, reserved=self._reserved)
            used = {name: given[name] for name in statement.parameters if name in given}
            described = cursor.execute(f"DESCRIBE {statement.sql}", used or None).fetchall()
            columns = tuple((str(row[0]), str(row[1])) for row in described)
            zoned = [i for i, (_, kind) in enumerate(columns) if "WITH TIME ZONE" in kind]
            cursor.execute(_bounded(statement.sql, columns, zoned), used or None)
            rows = cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows + 1)
        truncated = max_rows is not None and len(rows) > max_rows
        kept = rows[:max_rows] if truncated else rows
        return QueryResult(
            columns,
            [_with_times(row, columns, zoned) for row in kept],
            truncated,
            statement.datasets,
            frozenset(position % len(columns) for position in statement.invented),
        )

    @contextmanager
    def _guarded(
        self, cursor: duckdb.DuckDBPyConnection, parameters: Mapping[str, object]
    ) -> Iterator[None]:
        """Bound the time of what is within, and turn DuckDB's errors into ours."""
        import duckdb

        growth = _bytes(self._memory_limit) + _HEADROOM
        watch = Watch(cursor.interrupt, timeout=self._timeout, growth=growth)
        try:
            with watch:
                yield
        except duckdb.InterruptException:
            if watch.met == "memory":
                raise self._out_of_memory() from None
            raise ConfigurationError(
                f"The query ran longer than {self._timeout:g} s and was stopped: let it read or join "
                "fewer rows, or raise the time limit."
            ) from None
        except duckdb.OutOfMemoryException:
            raise self._out_of_memory() from None
        except duckdb.Error as error:
            raise ConfigurationError(self._explained(error, parameters)) from None

    def _out_of_memory(self) -> ConfigurationError:
        return ConfigurationError(
            f"The query needs more than the memory limit of {self._memory_limit}: let it read or group "
            "fewer rows, or raise the limit."
        )

    def _explained(self, error: Exception, parameters: Mapping[str, object]) -> str:
        """DuckDB's message with the names that do exist, and without paths."""
        text = str(error)
        missing = _MISSING_MEMBER.search(text) or _MISSING_COLUMN.search(text)
        if missing:
            return f"There is no column '{missing[1]}'. Columns that exist: {self._listed()}."
        if "Values were not provided for the following parameters" in text:
            names = text.splitlines()[0].rpartition(": ")[2]
            given = ", ".join(f"${name}" for name in parameters) or "none"
            return f"The SQL names parameters that have no value: {names}. Declared: {given}."
        line = _first_line(error)
        for name, path in self._datasets.items():
            line = line.replace(str(path), name)
        return f"DuckDB refused the query: {line}"

    def _listed(self) -> str:
        tables = []
        for name, columns in self._columns.items():
            more = ", …" if len(columns) > _MAX_LISTED else ""
            tables.append(f"{name} ({', '.join(columns[:_MAX_LISTED])}{more})")
        return "; ".join(tables)


def _open_dataset(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> tuple[str, ...]:
    import duckdb

    try:
        # DDL takes no bound parameters; the name matches _NAME, the path is quoted.
        source = f"read_parquet({_quoted(str(path))})"
        connection.execute(f'CREATE VIEW "{name}" AS FROM {source}')
        described = connection.execute(f'DESCRIBE "{name}"').fetchall()
    except duckdb.Error as error:
        raise SourceError(
            f"Dataset {name!r} cannot be read as Parquet; fetch it again. {_first_line(error)}"
        ) from None
    return tuple(str(row[0]) for row in described)


def _bounded(sql: str, columns: Sequence[tuple[str, str]], zoned: Sequence[int]) -> str:
    """Let DuckDB write times with a zone as text, and refuse cells that would fill Python's memory.

    Its Python values of such times would need ``pytz``.
    """
    large = [i for i, (_, kind) in enumerate(columns) if _UNBOUNDED.match(kind)]
    if not zoned and not large:
        return sql
    names = [f"c{i}" for i in range(len(columns))]
    values = list(names)
    for i in large:
        size = f"strlen(CAST({names[i]} AS VARCHAR)) > {_MAX_CELL}"
        # A long list is found by its length first: its text would be longer still.
        long = f"len({names[i]}) > {_MAX_LIST} OR " if columns[i][1].endswith("]") else ""
        message = f"A cell of column {i + 1} is larger than {_MAX_CELL} characters or {_MAX_LIST} items"
        values[i] = f"CASE WHEN {long}{size} THEN error('{message}') ELSE {names[i]} END"
    for i in zoned:
        values[i] = f"CAST({names[i]} AS VARCHAR)"
    return f"SELECT {', '.join(values)} FROM (\n{sql}\n) AS t({', '.join(names)})"  # noqa: S608 — an inspected SELECT


def _bytes(limit: str) -> int:
    """Return a limit as DuckDB writes it, in bytes; what it would refuse is refused by it."""
    found = _SIZE.match(limit)
    if found is None:
        return 0
    power = " KMGT".index(found[2].upper() or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def _with_times(
    row: tuple[object, ...], columns: Sequence[tuple[str, str]], zoned: Sequence[int]
) -> tuple[object, ...]:
    values = list(row)
    for i in zoned:
        if columns[i][1] == "TIMESTAMP WITH TIME ZONE" and isinstance(values[i], str):
            values[i] = _time(str(values[i]))
    return tuple(values)


def _time(text: str) -> datetime | str:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # infinity, or a year that Python does not have
        return text


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

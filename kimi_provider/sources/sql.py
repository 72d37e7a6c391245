"""Reading the rows of a query into a dataset, batch by batch, from any DB-API cursor."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kimi_provider.exceptions import ConfigurationError, SourceError, SourceUnavailableError
from kimi_provider.sources.rows import records, unique
from kimi_provider.sources.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kimi_provider.schemas import DatasetRef
    from kimi_provider.sources.guard import Guard
    from kimi_provider.storage import StoragePath

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_PROGRESS = 5.0
_FIRST_BATCH = 16
_MOST_ROWS_IN_BATCH = 5_000
_BATCH_BYTES = 4 << 20
_LONGEST_REASON = 300
# Where the DB-API's names of errors say that a later try may help.
_PASSING = frozenset({"OperationalError", "InterfaceError"})

# PostgreSQL's types by their numbers (pg_type.dat). Texts are not among them: as from any other
# source, a text column whose values are all dates becomes one of dates. Numerics are by precision.
_POSTGRES_TYPES = {
    16: "BOOLEAN",
    20: "BIGINT",
    21: "BIGINT",
    23: "BIGINT",
    26: "BIGINT",
    700: "DOUBLE",
    701: "DOUBLE",
    1082: "DATE",
    1114: "TIMESTAMP",
    1184: "TIMESTAMP WITH TIME ZONE",
}
_POSTGRES_NUMERIC = 1700
_LONGEST_DECIMAL = 38


class Cursor(Protocol):
    """The part of a DB-API cursor (PEP 249) that is used."""

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        """A column's name, type and more, each."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any:
        """Run a statement."""

    def fetchmany(self, size: int, /) -> Sequence[Sequence[Any]]:
        """Return the next rows, none at the end."""


@dataclass(frozen=True, kw_only=True)
class SqlQuery:
    """What to read.

    :param sql: one SELECT statement, in the database's dialect.
    :param parameters: bound to its placeholders by the driver, in the driver's style
        (``%(day)s`` for PostgreSQL, ``:day`` for SQLite).
    :param max_rows: rows at most.
    :param max_bytes: size of all rows at most, in bytes of JSON.
    :param timeout: seconds for the statement and all of its rows.
    :raises ConfigurationError: if a bound is none.
    """

    sql: str
    parameters: Mapping[str, Any] | Sequence[Any] | None = None
    max_rows: int = 50_000_000
    max_bytes: int = 20 << 30
    timeout: float = 3600.0

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        for name in ("max_rows", "max_bytes", "timeout"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}, but has to be above 0.")
        if isinstance(self.parameters, str | bytes):
            raise ConfigurationError(
                "parameters is a text, but has to be a mapping of names to values, or a list of values."
            )


def fetch_sql(
    query: SqlQuery,
    cursor: Cursor,
    target: StoragePath,
    *,
    source: str,
    postgres: bool = False,
    types: Mapping[str, str] | None = None,
    allow_empty: bool = False,
    guard: Guard | None = None,
    on_progress: Callable[[str], None] = log.debug,
) -> DatasetRef:
    """Read all rows into a Parquet file, which appears whole or not at all.

    :param query: what to read.
    :param cursor: of a connection that can only read; the caller closes it. Memory stays bounded if
        the driver hands out rows as they come, as a server-side cursor does.
    :param target: where the file goes.
    :param source: what the rows come from, without credentials and values.
    :param postgres: whether the cursor's description has PostgreSQL's types, which are then taken;
        from elsewhere, types are found over all rows.
    :param types: DuckDB types by column, in place of all others.
    :param allow_empty: whether no rows are a dataset, or an error.
    :param guard: protects each row before anything of it is stored.
    :param on_progress: told now and then how far it is.
    :raises SourceUnavailableError: if the database cannot be reached, or breaks off.
    :raises SourceError: if it refuses the statement, there are more rows than the bounds allow, two
        columns have the same name, or a value cannot be stored. Nothing is stored then.
    :raises ConfigurationError: if a type in ``types`` is none.
    """
    with tempfile.TemporaryDirectory(prefix="kimi-fetch-") as folder:
        spool = Spool(Path(folder), guard=guard)
        known = _Fetch(query, cursor, spool, source, on_progress).run()
        if not spool.rows and not allow_empty:
            raise SourceError(
                f"{source} has no rows for this query. Check its parameters, or set allow_empty=True "
                "if that is fine."
            )
        names = list(known)
        found = {name: kind for name, kind in known.items() if kind} if postgres else {}
        if not spool.rows:  # all columns are in the dataset, though nothing tells their types
            found = dict.fromkeys(names, "VARCHAR") | found
        return spool.finish(target, source=source, types={**found, **(types or {})})


@dataclass
class _Fetch:
    """One query on its way into the spool."""

    query: SqlQuery
    cursor: Cursor
    spool: Spool
    source: str
    on_progress: Callable[[str], None]

    def run(self) -> dict[str, str | None]:
        """Read all rows; return the columns, each with PostgreSQL's type where that is known."""
        deadline = time.monotonic() + self.query.timeout
        said = time.monotonic()
        # Without parameters none are handed over, or a driver would look for placeholders: %, for one.
        arguments = (self.query.parameters,) if self.query.parameters else ()
        self._asking(partial(self.cursor.execute, self.query.sql, *arguments))
        size = _FIRST_BATCH
        names: tuple[str, ...] | None = None
        while True:
            batch = self._asking(partial(self.cursor.fetchmany, size))
            if names is None:  # some drivers know the columns only after the first rows
                names = unique([str(column[0]) for column in self._columns()], f"{self.source} has")
            if not batch:
                break
            self._take(names, batch)
            if time.monotonic() > deadline:
                raise SourceError(
                    f"{self.source} was still answering after timeout={self.query.timeout:g} seconds. "
                    "Narrow the query or raise timeout; nothing was stored."
                )
            if time.monotonic() - said > _SECONDS_BETWEEN_PROGRESS:
                said = time.monotonic()
                self.on_progress(f"{self.spool.rows:,} rows so far")
            size = self._batch_size(size)
        return {
            name: _postgres_type(column) for name, column in zip(names, self._columns(), strict=True)
        }

    def _columns(self) -> Sequence[Sequence[Any]]:
        if not self.cursor.description:
            raise SourceError(f"The statement for {self.source} gives no rows; write a SELECT.")
        return self.cursor.description

    def _take(self, names: tuple[str, ...], batch: Sequence[Sequence[Any]]) -> None:
        query, spool = self.query, self.spool
        if spool.rows + len(batch) > query.max_rows:
            raise self._too_much("max_rows", query.max_rows, "rows")
        spool.add(records(names, batch, first=spool.rows + 1))
        if spool.bytes > query.max_bytes:
            raise self._too_much("max_bytes", query.max_bytes, "bytes")

    def _batch_size(self, before: int) -> int:
        """Return how many rows to ask for, so that rows of megabytes do not fill the memory."""
        average = self.spool.bytes // max(self.spool.rows, 1) + 1
        return max(min(_BATCH_BYTES // average, before * 4, _MOST_ROWS_IN_BATCH), 1)

    def _asking(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Exception as error:
            raise database_error(error, self.source) from error

    def _too_much(self, name: str, bound: int, what: str) -> SourceError:
        return SourceError(
            f"{self.source} has more {what} than {name}={bound} allows. Narrow the query or raise "
            f"{name}; nothing was stored."
        )


def database_error(error: Exception, source: str) -> SourceError:
    """Return a driver's error as one of this package's.

    :param error: what the driver raised; PEP 249 names the classes.
    :param source: what was asked.
    """
    reason = (str(error).strip().splitlines() or ["no reason given"])[0][:_LONGEST_REASON].rstrip(".")
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # SQLite and a canceled statement come under the same name as a lost connection.
    lasting = "QueryCanceled" in kinds or type(error).__module__ == "sqlite3"
    if kinds & _PASSING and (not lasting or "locked" in reason):
        return SourceUnavailableError(f"{source} failed: {reason}.")
    if "QueryCanceled" in kinds or reason == "interrupted":
        return SourceError(
            f"{source} stopped the statement: {reason}. Narrow the query or raise timeout; nothing was "
            "stored."
        )
    return SourceError(f"{source} refused the statement: {reason}. Correct sql or parameters.")


def _postgres_type(column: Sequence[Any]) -> str | None:
    """Return the DuckDB type of a column of a cursor's description, ``None`` where it is to be found."""
    code, precision, scale = column[1], column[4], column[5]
    if code == _POSTGRES_NUMERIC and precision and 0 <= (scale or 0) <= precision <= _LONGEST_DECIMAL:
        return f"DECIMAL({precision},{scale or 0})"
    return _POSTGRES_TYPES.get(code) if isinstance(code, int) else None

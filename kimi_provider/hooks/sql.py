"""Airflow's SQL connections as cursors that can only read."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.sources.sql import database_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.sources.sql import Cursor

_POSTGRES_DRIVERS = {"psycopg", "psycopg2"}
_STEPS_BETWEEN_LOOKS = 10_000


@dataclass(frozen=True)
class ReadingCursor:
    """A cursor, and what is known of where it leads.

    :ivar source: the connection by its type and id.
    :ivar postgres: whether its description has PostgreSQL's types.
    :ivar hook: what opened the connection.
    """

    cursor: Cursor
    source: str
    postgres: bool
    hook: Any

    def tell(self, sql: str, rows: int) -> None:
        """Tell hook lineage what was asked, for its listeners; parameters are left out."""
        try:
            from airflow.providers.common.sql.hooks.lineage import send_sql_hook_lineage
        except ImportError:  # an older provider has no lineage
            return
        send_sql_hook_lineage(context=self.hook, sql=sql, row_count=rows)


@contextmanager
def reading_cursor(conn_id: str, *, timeout: float) -> Iterator[ReadingCursor]:
    """Open a cursor of any connection whose hook speaks the DB-API.

    :param conn_id: the connection.
    :param timeout: seconds after which the database itself gives a statement up, where it can.
    :raises ConfigurationError: if the connection is none of a database, or its provider is missing.
    :raises SourceUnavailableError: if the database cannot be reached.
    :raises AirflowNotFoundException: if there is no such connection.

    PostgreSQL (psycopg 2 and 3): a named cursor in a read-only transaction, so that rows stay on the
    server until they are asked for. SQLite: ``PRAGMA query_only``. Other databases: the driver's usual
    cursor and the rights of the connection's user; whether rows are streamed is up to the driver
    (MySQL: the extra ``{"cursor": "sscursor"}``).
    """
    found = BaseHook.get_connection(conn_id)
    source = f"The {found.conn_type} connection {conn_id!r}"
    hook = _hook(found, conn_id)
    try:
        connection = hook.get_conn()
    except Exception as error:
        raise database_error(error, source) from error
    with closing(connection):
        driver = type(connection).__module__.partition(".")[0]
        try:
            cursor = _cursor(connection, driver, timeout)
        except Exception as error:
            raise database_error(error, source) from error
        try:
            yield ReadingCursor(cursor, source, driver in _POSTGRES_DRIVERS, hook)
        finally:
            # A connection that broke cannot close its cursor; why it broke is what has to be told.
            with suppress(Exception):
                cursor.close()


def one_select(sql: str) -> str:
    """Return a statement without a closing semicolon, if it is one SELECT.

    :raises ConfigurationError: if it is empty, several, or something else.
    """
    import sqlparse

    statements = [text for text in sqlparse.split(sql, strip_semicolon=True) if _bare(text)]
    if len(statements) != 1:
        raise ConfigurationError(
            f"sql has {len(statements)} statements, but has to be one SELECT. Make one task of each."
        )
    (statement,) = statements
    kind = str(sqlparse.parse(_bare(statement))[0].get_type())  # type: ignore[no-untyped-call]
    if kind != "SELECT":
        raise ConfigurationError(
            f"sql is a statement of the kind {kind}, but has to be a SELECT: a fetch only reads."
        )
    return statement


def _bare(text: str) -> str:
    """Return a statement from its first word on: without comments and opening parentheses."""
    import sqlparse

    return str(sqlparse.format(text, strip_comments=True)).strip("; \n\t\r").lstrip("( \n\t\r")


def _hook(found: Any, conn_id: str) -> Any:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    extra = found.conn_type if found.conn_type in {"postgres", "sqlite"} else None
    package = f"airflow-provider-kimi[{extra}]" if extra else "its Airflow provider"
    try:
        hook = found.get_hook()
    except (AirflowException, ImportError) as error:
        raise ConfigurationError(
            f"The hook of connection {conn_id!r} (type {found.conn_type!r}) cannot be loaded: "
            f"{str(error)[:200]}. Install {package}."
        ) from error
    if not isinstance(hook, DbApiHook):
        raise ConfigurationError(
            f"Connection {conn_id!r} is of the type {found.conn_type!r}, which is no SQL database."
        )
    return hook


def _cursor(connection: Any, driver: str, timeout: float) -> Any:
    if driver == "sqlite3" and isinstance(connection, sqlite3.Connection):
        deadline = time.monotonic() + timeout
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
        connection.execute("PRAGMA query_only = ON")
        return connection.cursor()
    if driver not in _POSTGRES_DRIVERS:
        return connection.cursor()
    name = f"kimi_{uuid4().hex}"
    # An extra of the connection may make its rows dictionaries, in which a column could hide another.
    if driver == "psycopg":
        from psycopg.rows import tuple_row

        connection.read_only = True
        _limit(connection.cursor(), timeout)
        return connection.cursor(name=name, row_factory=tuple_row)
    from psycopg2.extensions import cursor as plain_cursor

    connection.set_session(readonly=True, autocommit=False)
    _limit(connection.cursor(), timeout)
    return connection.cursor(name=name, cursor_factory=plain_cursor)


def _limit(cursor: Any, timeout: float) -> None:
    with cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true)", (str(max(int(timeout * 1000), 1)),)
        )

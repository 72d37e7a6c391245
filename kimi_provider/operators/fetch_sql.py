"""Fetch: from a SQL database to a typed dataset in object storage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.assets import announce_dataset, default_outlets
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.storage import task_folder
from kimi_provider.operators.lineage import LineageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from jinja2 import Environment

    from kimi_provider.hooks.lineage import Lineage
    from kimi_provider.sources.protect import Columns

# A name, a number, a date or a time: nothing that could end a text or begin a clause.
_HARMLESS = re.compile(
    r"[A-Za-z_]\w*(\.[A-Za-z_]\w*){0,3}|-?\d+(\.\d+)?"
    r"|\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)


class SqlFetchOperator(LineageOperator):
    """Reads a query's rows from a database; returns a :class:`~kimi_provider.schemas.DatasetRef`.

    Rows stream into typed Parquet in the task's folder, from PostgreSQL through a server-side cursor
    in a read-only transaction. Values reach the statement as bound parameters: a Jinja expression in
    ``sql`` may give a name, a number or a date, and anything else is refused.

    The task's ``outlets`` get an asset event with the dataset; without any, it is the asset
    ``x-kimi://{dag_id}/{task_id}``.

    :param sql: one SELECT statement, or the name of an ``.sql`` file beside the DAG or in its
        ``template_searchpath``. (templated)
    :param parameters: values for its placeholders, by name or in order, in the style of the database's
        driver: ``%(day)s`` or ``%s`` for PostgreSQL, ``:day`` or ``?`` for SQLite. (templated)
    :param conn_id: any connection whose hook is a ``DbApiHook``. (templated)
    :param columns: what may be kept of each column; see
        :class:`~kimi_provider.sources.protect.Columns`. It holds before anything is stored.
    :param types: DuckDB types by column, in place of those of the database.
    :param allow_empty: whether no rows are a dataset, or an error.
    :param limits: any of ``max_rows``, ``max_bytes`` and ``timeout`` (seconds) of
        :class:`~kimi_provider.sources.sql.SqlQuery`.
    :raises SourceUnavailableError: if the database cannot be reached, or breaks off.
    :raises SourceError: if it refuses the statement, or there are no rows, or too many.
    :raises ConfigurationError: if ``sql`` is no single SELECT, or the connection no database.
    """

    template_fields: Sequence[str] = ("sql", "parameters", "conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql", "parameters": "json"}  # noqa: RUF012 — as Airflow has it
    ui_color = "#f3e8fd"

    def __init__(
        self,
        *,
        sql: str,
        conn_id: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        columns: Columns | None = None,
        types: Mapping[str, str] | None = None,
        allow_empty: bool = False,
        limits: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.parameters = parameters
        self.columns = columns
        self.types = types
        self.allow_empty = allow_empty
        self.limits = limits or {}
        self.outlets = self.outlets or default_outlets(self)

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a template; in ``sql``, only what cannot change the statement's meaning."""
        if content is self.sql:
            environment = jinja_env or self.get_template_env()
            jinja_env = environment.overlay(finalize=_harmless)
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> dict[str, Any]:
        """Read all rows into the task's folder."""
        from kimi_provider.hooks.lineage import Place
        from kimi_provider.hooks.metrics import measure_dataset
        from kimi_provider.hooks.protection import column_guard
        from kimi_provider.hooks.sql import one_select, reading_cursor
        from kimi_provider.sources.sql import SqlQuery, fetch_sql

        with airflow_failures():
            query = SqlQuery(sql=one_select(self.sql), parameters=self.parameters, **self.limits)
            with reading_cursor(self.conn_id, timeout=query.timeout) as reading:
                dataset = fetch_sql(
                    query,
                    reading.cursor,
                    task_folder(context) / "dataset.parquet",
                    source=reading.source,
                    postgres=reading.postgres,
                    types=self.types,
                    allow_empty=self.allow_empty,
                    guard=column_guard(self.columns),
                    on_progress=self.log.info,
                )
                reading.tell(query.sql, dataset.rows)
        announce_dataset(context, self.outlets, dataset)
        measure_dataset(context["ti"], dataset)
        self._tell(outputs=(Place(dataset.uri, dataset),))
        return dataset.model_dump(mode="json")

    def _planned(self) -> Lineage:
        from kimi_provider.hooks.lineage import Lineage, Query

        return Lineage(query=Query(self.conn_id, self.sql))


def _harmless(value: Any) -> Any:
    """Refuse what a Jinja expression would put into a statement, unless it is a plain word.

    :raises ConfigurationError: if it is anything else.
    """
    if not _HARMLESS.fullmatch(str(value)):
        raise ConfigurationError(
            f"A Jinja expression in sql gives {str(value)[:60]!r}, which is no name, number or date. "
            "Write a placeholder in its place and bind the value by parameters."
        )
    return value

"""Fetch: from an API to a typed dataset in object storage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.storage import task_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from kimi_provider.sources.pagination import Pagination


class HttpFetchOperator(BaseOperator):
    """Reads a JSON API page by page; returns a :class:`~kimi_provider.schemas.DatasetRef`.

    Rows stream into typed Parquet in the task's folder; types are found over all rows. The profile
    in what is returned has each column's type, nulls, range and most frequent values.

    :param endpoint: path below the connection's host. (templated)
    :param http_conn_id: the ``http`` connection. (templated)
    :param query: query parameters. (templated)
    :param headers: further headers. (templated)
    :param records_path: where an answer holds its records, such as ``data.items``; ``None`` where the
        answer is the list.
    :param pagination: one of :mod:`kimi_provider.sources.pagination`; by default there is one page.
    :param types: DuckDB types by column, in place of those found in the data.
    :param allow_empty: whether no rows are a dataset, or an error.
    :param limits: any of ``max_pages``, ``max_rows``, ``max_page_bytes``, ``timeout`` (seconds) and
        ``tries`` of :class:`~kimi_provider.sources.http.HttpRequest`.
    :raises SourceUnavailableError: if the API cannot be reached, or fails after the last try.
    :raises SourceError: if it refuses, has no rows, or answers in another shape than asked for.
    """

    template_fields: Sequence[str] = ("endpoint", "http_conn_id", "query", "headers")
    ui_color = "#f3e8fd"

    def __init__(
        self,
        *,
        endpoint: str,
        http_conn_id: str = "http_default",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        records_path: str | None = None,
        pagination: Pagination | None = None,
        types: Mapping[str, str] | None = None,
        allow_empty: bool = False,
        limits: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.http_conn_id = http_conn_id
        self.query = query or {}
        self.headers = headers or {}
        self.records_path = records_path
        self.pagination = pagination
        self.types = types
        self.allow_empty = allow_empty
        self.limits = limits or {}

    def execute(self, context: Context) -> dict[str, Any]:
        """Read all pages into the task's folder."""
        from kimi_provider.hooks.http import http_endpoint
        from kimi_provider.sources.http import HttpRequest, fetch_http
        from kimi_provider.sources.pagination import SinglePage

        with airflow_failures():
            connection = http_endpoint(self.http_conn_id)
            request = HttpRequest(
                base_url=connection.base_url,
                endpoint=self.endpoint,
                query=self.query,
                headers={**connection.headers, **self.headers},
                records_path=self.records_path,
                pagination=self.pagination or SinglePage(),
                **self.limits,
            )
            dataset = asyncio.run(
                fetch_http(
                    request,
                    task_folder(context) / "dataset.parquet",
                    types=self.types,
                    allow_empty=self.allow_empty,
                    on_progress=self.log.info,
                )
            )
        return dataset.model_dump(mode="json")

"""Fetch: from an API to a typed dataset in object storage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.assets import announce_dataset, default_outlets
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.storage import memory_folder, open_uri, task_folder
from kimi_provider.operators.lineage import LineageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from kimi_provider.hooks.lineage import Lineage
    from kimi_provider.schemas import DatasetRef
    from kimi_provider.sources.answers import Format
    from kimi_provider.sources.incremental import Incremental
    from kimi_provider.sources.pagination import Pagination
    from kimi_provider.sources.protect import Columns


class HttpFetchOperator(LineageOperator):
    """Reads an API page by page; returns a :class:`~kimi_provider.schemas.DatasetRef`.

    Rows stream into typed Parquet in the task's folder; types are found over all rows. The profile
    in what is returned has each column's type, nulls, range and most frequent values.

    The task's ``outlets`` get an asset event with the dataset's URI, rows, hash and watermark; without
    any, it is the asset ``x-kimi://{dag_id}/{task_id}`` (a mapped task needs outlets of its own).

    :param endpoint: path below the connection's host. (templated)
    :param http_conn_id: the ``http`` connection. It authenticates by login and password, by a password
        alone as a bearer token, or by headers in its extra, such as an API key; see
        :func:`~kimi_provider.hooks.http.http_endpoint`. (templated)
    :param query: query parameters. (templated)
    :param headers: further headers. (templated)
    :param records_path: where an answer holds its records, such as ``data.items``; ``None`` where the
        answer is the list.
    :param format: of each answer: ``json``, ``jsonl`` (JSON Lines) or ``csv`` (with a header row).
    :param pagination: one of :mod:`kimi_provider.sources.pagination`; by default there is one page.
    :param incremental: reads only what is new since the run before; see
        :class:`~kimi_provider.sources.incremental.Incremental`. From the second run on, no news is an
        empty dataset, and no error.
    :param conditional: asks for each page only if it has changed since the run before (``ETag``,
        ``Last-Modified``); if none has, the dataset of that run is returned again. It is off by default,
        because the result then lies in an earlier run's folder, and because it trusts the API.
    :param columns: what may be kept of each column; see
        :class:`~kimi_provider.sources.protect.Columns`. It holds before anything is stored.
    :param types: DuckDB types by column, in place of those found in the data.
    :param allow_empty: whether no rows are a dataset, or an error.
    :param limits: any of ``max_pages``, ``max_rows``, ``max_bytes`` (of all rows as JSON),
        ``max_page_bytes``, ``timeout`` (seconds) and ``tries`` of
        :class:`~kimi_provider.sources.http.HttpRequest`.
    :raises SourceUnavailableError: if the API cannot be reached, or fails after the last try.
    :raises SourceError: if it refuses, has no rows, or answers in another shape than asked for.
    :raises ConfigurationError: if ``incremental`` and ``conditional`` are both asked for.
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
        format: Format = "json",  # noqa: A002 — pandas, DuckDB and Spark call it so
        pagination: Pagination | None = None,
        incremental: Incremental | None = None,
        conditional: bool = False,
        columns: Columns | None = None,
        types: Mapping[str, str] | None = None,
        allow_empty: bool = False,
        limits: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if incremental is not None and conditional:
            raise ConfigurationError(
                "incremental and conditional exclude each other: an incremental reading asks for "
                "something else each time. Choose one."
            )
        self.endpoint = endpoint
        self.http_conn_id = http_conn_id
        self.query = query or {}
        self.headers = headers or {}
        self.records_path = records_path
        self.format = format
        self.pagination = pagination
        self.incremental = incremental
        self.conditional = conditional
        self.columns = columns
        self.types = types
        self.allow_empty = allow_empty
        self.limits = limits or {}
        self.outlets = self.outlets or default_outlets(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Read all pages into the task's folder."""
        from kimi_provider.hooks.lineage import Place
        from kimi_provider.hooks.metrics import measure_dataset

        with airflow_failures():
            dataset = asyncio.run(self._fetch(context))
        announce_dataset(context, self.outlets, dataset)
        measure_dataset(context["ti"], dataset)
        self._tell(outputs=(Place(dataset.uri, dataset),))
        return dataset.model_dump(mode="json")

    def _planned(self) -> Lineage:
        from kimi_provider.hooks.http import http_endpoint
        from kimi_provider.hooks.lineage import Lineage, place_of_url

        base = http_endpoint(self.http_conn_id).base_url.rstrip("/")
        return Lineage(inputs=(place_of_url(f"{base}/{self.endpoint.lstrip('/')}"),))

    async def _fetch(self, context: Context) -> DatasetRef:
        from kimi_provider.hooks.http import http_endpoint
        from kimi_provider.hooks.protection import column_guard
        from kimi_provider.sources.http import HttpRequest, fetch_http
        from kimi_provider.sources.pagination import SinglePage
        from kimi_provider.sources.state import Progress, Recollection

        connection = http_endpoint(self.http_conn_id)
        memory, folder = memory_folder(context), task_folder(context)
        progress = None
        if self.incremental is not None:
            progress = await asyncio.to_thread(Progress, self.incremental, task=memory, run=folder)
            self.log.info("Reading what is new since %s", progress.window.since or "the beginning")
        request = HttpRequest(
            base_url=connection.base_url,
            endpoint=self.endpoint,
            query={**self.query, **(progress.query if progress else {})},
            headers={**connection.headers, **self.headers},
            records_path=self.records_path,
            format=self.format,
            pagination=self.pagination or SinglePage(),
            **{**connection.options, **self.limits},
        )
        return await fetch_http(
            request,
            folder / "dataset.parquet",
            types=self.types,
            allow_empty=self.allow_empty,
            guard=column_guard(self.columns),
            progress=progress,
            recollection=Recollection(memory, open_uri) if self.conditional else None,
            on_progress=self.log.info,
        )

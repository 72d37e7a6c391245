"""Reading an API over HTTP, page by page, into a dataset."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from kimi_provider.exceptions import SourceError
from kimi_provider.sources.answers import decode, rows_at
from kimi_provider.sources.exchange import ask, hide_queries, next_url
from kimi_provider.sources.pagination import Page
from kimi_provider.sources.request import HttpRequest
from kimi_provider.sources.retry import with_retries
from kimi_provider.sources.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kimi_provider.schemas import DatasetRef
    from kimi_provider.sources.pagination import Step
    from kimi_provider.storage import StoragePath

__all__ = ["HttpRequest", "fetch_http"]

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_PROGRESS = 5.0
_SECOND = 2


async def fetch_http(
    request: HttpRequest,
    target: StoragePath,
    *,
    types: Mapping[str, str] | None = None,
    allow_empty: bool = False,
    on_progress: Callable[[str], None] = log.debug,
) -> DatasetRef:
    """Read all pages into a Parquet file, which appears whole or not at all.

    :param request: what to read.
    :param target: where the file goes.
    :param types: DuckDB types by column, in place of those found.
    :param allow_empty: whether an answer without rows is a dataset, or an error; an empty dataset has
        the columns that ``types`` names.
    :param on_progress: told now and then how far it is.
    :raises SourceUnavailableError: if the API cannot be reached, or fails after the last try.
    :raises SourceError: if it refuses, has more than the bounds allow, or its answer is not of the
        shape asked for. Nothing is stored then.
    :raises ConfigurationError: if a type in ``types`` is none.
    """
    logging.getLogger("httpx").addFilter(hide_queries)
    # Removing what was spooled can take as long as writing it did.
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="kimi-fetch-")
    try:
        spool = Spool(Path(folder.name), untyped=request.format == "csv")
        pages = await _Reading(request, spool, on_progress).run()
        on_progress(f"{spool.rows:,} rows on {pages} pages; writing the dataset")
        if not spool.rows and not allow_empty:
            raise SourceError(
                f"{request.url} has no rows for {request.shown_query}. Check the period and the query, "
                "or set allow_empty=True where having none is normal."
            )
        return await asyncio.to_thread(spool.finish, target, source=request.url, types=types or {})
    finally:
        await asyncio.to_thread(folder.cleanup)


@dataclass
class _Reading:
    """Reads page after page into the spool."""

    request: HttpRequest
    spool: Spool
    on_progress: Callable[[str], None]

    async def run(self) -> int:
        """Read all pages; return how many there were."""
        request = self.request
        seen: set[object] = set()
        before: list[dict[str, Any]] = []
        said = time.monotonic()
        step: Step | None = request.pagination.first()
        async with httpx.AsyncClient(
            timeout=request.timeout,
            # The encodings that httpx inflates in small steps, so that the bound on a page holds.
            headers={"Accept-Encoding": "gzip, deflate", **request.headers},
        ) as client:
            while step is not None:
                self._check_pages(len(seen), again=step.key in seen)
                seen.add(step.key)
                content, link = await self._get_page(client, step)
                body, rows = await asyncio.to_thread(self._take, content)
                if len(seen) == _SECOND and rows and rows == before:
                    raise SourceError(
                        f"{request.url} answered two pages with the same rows, so it does not know the "
                        f"parameters of {type(request.pagination).__name__}. Name those that it has."
                    )
                before = rows if len(seen) < _SECOND else []
                if time.monotonic() - said > _SECONDS_BETWEEN_PROGRESS:
                    said = time.monotonic()
                    self.on_progress(f"{self.spool.rows:,} rows on {len(seen)} pages so far")
                step = request.pagination.following(Page(step, body, len(rows), link))
        return len(seen)

    async def _get_page(self, client: httpx.AsyncClient, step: Step) -> tuple[bytes, str | None]:
        request = self.request
        if step.url is None:
            url = request.full_url.copy_merge_params({**request.query, **step.query})
        else:
            url = next_url(request, step.url)
        return await with_retries(
            lambda: ask(client, request, url), tries=request.tries, on_wait=self.on_progress
        )

    def _take(self, content: bytes) -> tuple[Any, list[dict[str, Any]]]:
        """Spool the rows of a page, within the bounds."""
        request = self.request
        try:
            body = decode(content, request.format) if content else []
            rows = rows_at(body, request.records_path if request.format == "json" and content else None)
        except SourceError as error:
            raise SourceError(
                f"The answer of {request.url} {error}. Check the endpoint and records_path, and whether "
                "a login page or a proxy answers in the API's place."
            ) from None
        if self.spool.rows + len(rows) > request.max_rows:
            raise self._too_much("max_rows", request.max_rows, "rows")
        self.spool.add(rows)
        if self.spool.bytes > request.max_bytes:
            raise self._too_much("max_bytes", request.max_bytes, "bytes")
        return body, rows

    def _check_pages(self, pages: int, *, again: bool) -> None:
        if again:
            raise SourceError(
                f"{self.request.url} names a next page that was read already, so its pages do not end."
            )
        if pages >= self.request.max_pages:
            raise self._too_much("max_pages", self.request.max_pages, "pages")

    def _too_much(self, name: str, bound: int, what: str) -> SourceError:
        return SourceError(
            f"{self.request.url} has more {what} than {name}={bound} allows. Narrow the query or raise "
            f"{name}; nothing was stored."
        )

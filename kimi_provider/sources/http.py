"""Reading an API over HTTP, page by page, into a dataset."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.sources.answers import decode, rows_at
from kimi_provider.sources.exchange import ask, hide_queries, next_url
from kimi_provider.sources.inflating import ENCODINGS
from kimi_provider.sources.pagination import LinkPagination, NextUrlPagination, Page, Step
from kimi_provider.sources.request import HttpRequest
from kimi_provider.sources.retry import with_retries
from kimi_provider.sources.spool import Spool
from kimi_provider.sources.state import Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kimi_provider.schemas import DatasetRef
    from kimi_provider.sources.exchange import Answer
    from kimi_provider.sources.guard import Guard
    from kimi_provider.sources.state import Progress, Recollection
    from kimi_provider.storage import StoragePath

__all__ = ["HttpRequest", "fetch_http"]

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_PROGRESS = 5.0


async def fetch_http(
    request: HttpRequest,
    target: StoragePath,
    *,
    types: Mapping[str, str] | None = None,
    allow_empty: bool = False,
    guard: Guard | None = None,
    progress: Progress | None = None,
    recollection: Recollection | None = None,
    on_progress: Callable[[str], None] = log.debug,
) -> DatasetRef:
    """Read all pages into a Parquet file, which appears whole or not at all.

    :param request: what to read.
    :param target: where the file goes.
    :param types: DuckDB types by column, in place of those found.
    :param allow_empty: whether an answer without rows is a dataset, or an error; an empty dataset has
        the columns that ``types`` names.
    :param guard: protects the columns before anything is stored.
    :param progress: of an incremental reading; it moves when the dataset is stored. After the first
        reading, no rows are a dataset.
    :param recollection: of the reading before; if no page has changed since, its dataset is returned.
    :param on_progress: told now and then how far it is.
    :raises SourceUnavailableError: if the API cannot be reached, or fails after the last try.
    :raises SourceError: if it refuses, has more than the bounds allow, or its answer is not of the
        shape asked for. Nothing is stored then.
    :raises ConfigurationError: if a type in ``types`` is none, the guard takes the column that
        ``progress`` goes by, or what is asked for cannot be asked for conditionally.
    """
    logging.getLogger("httpx").addFilter(hide_queries)
    window = progress.window if progress else None
    if window is not None and guard is not None and not guard.keeps(window.column):
        raise ConfigurationError(
            f"The incremental reading goes by the column {window.column!r}, which columns does not "
            "leave as it is, so that its values cannot be sent back. Go by another, or leave it alone."
        )
    if recollection is not None and isinstance(request.pagination, LinkPagination | NextUrlPagination):
        raise ConfigurationError(
            f"conditional cannot be used with {type(request.pagination).__name__}: where a page follows "
            "by its URL, an unchanged page does not say that none was added behind it."
        )
    # Removing what was spooled can take as long as writing it did.
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="kimi-fetch-")
    try:
        spool = Spool(Path(folder.name), untyped=request.format == "csv", guard=guard)
        reading = _Reading(request, spool, on_progress)
        fingerprint = f"{request.fingerprint} {types} {guard.fingerprint if guard else None}"
        known = await asyncio.to_thread(recollection.recall, fingerprint) if recollection else None
        if await reading.run(known[1] if known else []) and known:
            on_progress(
                f"{request.url} has not changed since it was read before, so that dataset of "
                f"{known[0].rows:,} rows is used again: {known[0].uri}"
            )
            return known[0]
        on_progress(f"{spool.rows:,} rows on {len(reading.pages)} pages; writing the dataset")
        if not spool.rows and progress is not None:
            types = {**progress.types, **(types or {})}
            allow_empty = allow_empty or bool(progress.types)
        if not spool.rows and not allow_empty:
            raise SourceError(
                f"{request.url} has no rows for {request.shown_query}. Check the period and the query, "
                "or set allow_empty=True where having none is normal."
            )
        dataset = await asyncio.to_thread(
            spool.finish, target, source=request.url, types=types or {}, window=window
        )
        if progress is not None:
            await asyncio.to_thread(progress.stored, dataset)
        if recollection and not await asyncio.to_thread(
            recollection.keep, fingerprint, dataset, reading.pages
        ):
            on_progress(f"{request.url} gives no ETag or Last-Modified, so each run has to read it all")
        return dataset
    finally:
        await asyncio.to_thread(folder.cleanup)


@dataclass
class _Reading:
    """Reads page after page into the spool.

    :ivar pages: the validators of the pages that were read.
    """

    request: HttpRequest
    spool: Spool
    on_progress: Callable[[str], None]
    pages: list[Validator] = field(default_factory=list)

    async def run(self, known: Sequence[Validator]) -> bool:
        """Read all pages, or find that none has changed.

        :param known: validators of all pages of an earlier reading.
        :returns: whether none has changed, so that none was read.
        """
        request = self.request
        async with httpx.AsyncClient(
            timeout=request.timeout,
            verify=request.tls,
            proxy=request.proxy,
            headers={"Accept-Encoding": ENCODINGS, **request.headers},
        ) as client:
            first: Answer | None = None
            for number, page in enumerate(known):
                answer = await self._ask(client, Step(dict(page.query)), page.headers)
                if answer.content is not None:
                    # The first page need not be asked for again; a later one may be another by now.
                    first = answer if number == 0 else None
                    break
            else:
                if known:
                    return True
            await self._read(client, first)
        return False

    async def _read(self, client: httpx.AsyncClient, first: Answer | None) -> None:
        request = self.request
        seen: set[object] = set()
        before: int | None = None
        said = time.monotonic()
        step: Step | None = request.pagination.first()
        while step is not None:
            self._check_pages(len(seen), again=step.key in seen)
            seen.add(step.key)
            answer, first = first or await self._ask(client, step), None
            self.pages.append(Validator(step.query, answer.etag, answer.modified))
            body, rows, digest = await asyncio.to_thread(self._take, answer)
            if rows and digest == before:
                raise SourceError(
                    f"{request.url} answered two pages in a row with the same rows: it does not know "
                    f"the parameters of {type(request.pagination).__name__}, or gives its last page "
                    "again and again. Name the parameters that it has, and where it gives the count."
                )
            before = digest
            if time.monotonic() - said > _SECONDS_BETWEEN_PROGRESS:
                said = time.monotonic()
                self.on_progress(f"{self.spool.rows:,} rows on {len(seen)} pages so far")
            step = request.pagination.following(Page(step, body, rows, answer.next_link))

    async def _ask(
        self, client: httpx.AsyncClient, step: Step, conditions: Mapping[str, str] | None = None
    ) -> Answer:
        request = self.request
        if step.url is None:
            url = request.full_url.copy_merge_params({**request.query, **step.query})
        else:
            url = next_url(request, step.url)
        return await with_retries(
            lambda: ask(client, request, url, conditions), tries=request.tries, on_wait=self.on_progress
        )

    def _take(self, answer: Answer) -> tuple[Any, int, int]:
        """Spool the rows of a page, within the bounds; return the body, their number, and a hash."""
        request, content = self.request, answer.content
        try:
            body = []
            if content:
                body = decode(content, request.format, charset=answer.charset, is_page=answer.is_page)
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
        return body, len(rows), hash(msgspec.json.encode(rows))

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

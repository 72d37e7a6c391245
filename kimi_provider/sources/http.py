"""Reading a JSON API over HTTP, page by page, into a dataset."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from kimi_provider.exceptions import ConfigurationError, SourceError, SourceUnavailableError
from kimi_provider.sources.pagination import Page, Pagination, SinglePage, at_path
from kimi_provider.sources.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kimi_provider.schemas import DatasetRef
    from kimi_provider.sources.pagination import Step
    from kimi_provider.storage import StoragePath

log = logging.getLogger(__name__)

_BACKOFF = wait_exponential_jitter(initial=0.5, max=30)
# Longer than this a held worker is worse than a failed task that Airflow runs again.
_LONGEST_WAIT = 120.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """What to read.

    :param base_url: where the API lives.
    :param endpoint: path below it.
    :param query: query parameters of every page.
    :param headers: sent along, secrets among them.
    :param records_path: where an answer holds its records, such as ``data.items``; ``None`` where
        the answer is the list.
    :param pagination: how to ask for page after page.
    :param max_pages: pages at most.
    :param max_rows: rows at most.
    :param max_page_bytes: size of a decoded answer at most, in bytes.
    :param timeout: seconds to wait for a connection, and for each part of an answer.
    :param tries: requests for one page.
    """

    base_url: str
    endpoint: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    records_path: str | None = None
    pagination: Pagination = field(default_factory=SinglePage)
    max_pages: int = 10_000
    max_rows: int = 50_000_000
    max_page_bytes: int = 64 << 20
    timeout: float = 60.0
    tries: int = 5

    @property
    def url(self) -> str:
        """The URL without the query, whose values may be private."""
        return f"{self.base_url.rstrip('/')}/{self.endpoint.lstrip('/')}".rstrip("/")


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
    :param types: DuckDB types by column, in place of those found in the data.
    :param allow_empty: whether an answer without rows is a dataset, or an error.
    :param on_progress: told now and then how far it is.
    :raises SourceUnavailableError: if the API cannot be reached, or fails after the last try.
    :raises SourceError: if it refuses, or its answer is not of the shape asked for.
    :raises ConfigurationError: if the URL is none.
    """
    with tempfile.TemporaryDirectory(prefix="kimi-fetch-") as folder:
        spool = Spool(Path(folder))
        pages = await _read_pages(request, spool, on_progress)
        on_progress(f"{spool.rows:,} rows on {pages} pages")
        if not spool.rows and not allow_empty:
            raise SourceError(
                f"{request.url} has no rows for {_shown(request.query)}. Check the period and the query,"
                " or set allow_empty=True where having none is normal."
            )
        return await asyncio.to_thread(spool.finish, target, source=request.url, types=types or {})


async def _read_pages(request: HttpRequest, spool: Spool, on_progress: Callable[[str], None]) -> int:
    said = time.monotonic()
    pages = 0
    step: Step | None = request.pagination.first()
    async with httpx.AsyncClient(timeout=request.timeout, headers=request.headers) as client:
        while step is not None:
            pages += 1
            if pages > request.max_pages:
                raise SourceError(
                    f"{request.url} has more than max_pages={request.max_pages} pages."
                    " Narrow the query or raise max_pages; nothing was stored."
                )
            body, next_link = await _read_page(client, request, step)
            records = _records(request, body)
            await asyncio.to_thread(spool.add, records)
            if spool.rows > request.max_rows:
                raise SourceError(
                    f"{request.url} has more than max_rows={request.max_rows} rows."
                    " Narrow the query or raise max_rows; nothing was stored."
                )
            if time.monotonic() - said > 5:  # noqa: PLR2004 — seconds between two lines of progress
                said = time.monotonic()
                on_progress(f"{spool.rows:,} rows on {pages} pages so far")
            step = request.pagination.following(Page(step, body, len(records), next_link))
    return pages


async def _read_page(
    client: httpx.AsyncClient, request: HttpRequest, step: Step
) -> tuple[Any, str | None]:
    """Get one page, trying again what may pass."""
    retrying = AsyncRetrying(
        stop=stop_after_attempt(request.tries),
        retry=retry_if_exception(lambda e: isinstance(e, _PassingError) and e.wait <= _LONGEST_WAIT),
        wait=_wait,
        reraise=True,
    )
    try:
        return await retrying(_get, client, request, step)
    except _PassingError as error:
        raise SourceUnavailableError(str(error)) from error


async def _get(client: httpx.AsyncClient, request: HttpRequest, step: Step) -> tuple[Any, str | None]:
    url = _next_url(request, step.url) if step.url else httpx.URL(request.url)
    query = {} if step.url else {**request.query, **step.query}
    try:
        async with client.stream("GET", url.copy_merge_params(query)) as response:
            if response.status_code != httpx.codes.OK:
                raise _refusal(request, response)
            content = await _content(request, response)
            link = response.links.get("next", {}).get("url")
            kind = response.headers.get("content-type", "no content type")
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ConfigurationError(f"{request.url!r} is no URL that can be read: {error}") from None
    except httpx.HTTPError as error:
        raise _PassingError(
            f"{request.url} cannot be reached ({type(error).__name__}). Check that the API"
            " is up, and the host of the connection."
        ) from error
    try:
        return msgspec.json.decode(content), link
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SourceError(
            f"{request.url} answered with {kind}, which is not JSON."
            " Check the endpoint, and whether a login page or a proxy answers in its place."
        ) from None


async def _content(request: HttpRequest, response: httpx.Response) -> bytes:
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > request.max_page_bytes:
            raise SourceError(
                f"{request.url} sent a page of more than max_page_bytes={request.max_page_bytes} bytes."
                " Ask for smaller pages, or raise the bound."
            )
    return bytes(content)


def _records(request: HttpRequest, body: Any) -> list[dict[str, Any]]:
    records = at_path(body, request.records_path)
    if isinstance(records, dict) and records:
        keys = ", ".join(map(repr, list(records)[:20]))
        raise SourceError(
            f"{request.url} holds no list at records_path={request.records_path!r}, but an"
            f" object with the keys {keys}. Set records_path to the one that holds the rows."
        )
    if not isinstance(records, list):
        keys = ", ".join(map(repr, list(body)[:20])) if isinstance(body, dict) else type(body).__name__
        raise SourceError(
            f"{request.url} holds no list at records_path={request.records_path!r}. The"
            f" answer has: {keys}."
        )
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise SourceError(
                f"{request.url}: record {number} of a page is a {type(record).__name__}, not an"
                " object with columns. Set records_path to a list of objects."
            )
    return records


def _next_url(request: HttpRequest, url: str) -> httpx.URL:
    """Return the URL of the next page, which must be on the same host: the key travels along."""
    start, following = httpx.URL(request.url), httpx.URL(request.url).join(url)
    if (following.scheme, following.host, following.port) != (start.scheme, start.host, start.port):
        raise SourceError(
            f"{request.url} names a next page on another host, {following.host!r}; the credentials"
            " are not sent there."
        )
    return following


class _PassingError(SourceUnavailableError):
    """A failure that may pass; ``wait`` is what the API asks for, in seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def _refusal(request: HttpRequest, response: httpx.Response) -> SourceError:
    status = response.status_code
    if status in _PASSING:
        return _PassingError(
            f"{request.url} answered with status {status}. Retry later, or lower the load.",
            _asked_wait(response.headers.get("retry-after")),
        )
    way_out = {
        401: "The credentials of the connection are missing or wrong.",
        403: "The credentials of the connection may not read this.",
        404: "Check the endpoint and the host of the connection.",
    }.get(status, "Check the endpoint and the query.")
    if response.is_redirect:
        way_out = "It redirects elsewhere; set the connection to the final URL."
    return SourceError(f"{request.url} answered with status {status}. {way_out}")


def _asked_wait(header: str | None) -> float:
    """Return the seconds that ``Retry-After`` asks for, given as seconds or as a date (RFC 9110)."""
    if not header:
        return 0.0
    try:
        return float(header)
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, _PassingError) else 0.0
    return max(asked, _BACKOFF(state))


def _shown(query: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in query.items()) or "the query"

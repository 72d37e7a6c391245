"""One request and its answer: what is an error, what may pass, and where the key may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.sources.inflating import DamagedError, Inflater
from kimi_provider.sources.retry import PASSING_STATUS, PassingError, asked_wait

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from kimi_provider.sources.request import HttpRequest


@dataclass(frozen=True)
class Answer:
    """What came.

    :ivar content: the body; empty for 204, ``None`` for 304.
    :ivar next_link: the URL of the ``Link`` with rel=next.
    :ivar etag: validator of the page, by ``ETag``.
    :ivar modified: the same, by ``Last-Modified``.
    :ivar charset: the encoding that the answer says its text has.
    :ivar is_page: whether it says that it is an HTML page.
    """

    content: bytes | None
    next_link: str | None = None
    etag: str | None = None
    modified: str | None = None
    charset: str | None = None
    is_page: bool = False


async def ask(
    client: httpx.AsyncClient,
    request: HttpRequest,
    url: httpx.URL,
    conditions: Mapping[str, str] | None = None,
) -> Answer:
    """Ask once.

    :param conditions: headers that ask for the page only if it has changed.
    :raises PassingError: if the failure may pass.
    :raises SourceError: if the API refuses, or sends too much.
    :raises ConfigurationError: if the request itself is malformed.
    """
    content = bytearray()
    try:
        async with client.stream("GET", url, headers=conditions) as response:
            if response.status_code == httpx.codes.NO_CONTENT:
                return Answer(b"")
            if response.status_code == httpx.codes.NOT_MODIFIED and conditions:
                return Answer(None)
            if response.status_code != httpx.codes.OK:
                raise _refusal(request, response)
            inflater = _inflater(request, response)
            async for part in response.aiter_raw():
                content += inflater.take(part)
                if len(content) > request.max_page_bytes:
                    raise SourceError(
                        f"{request.url} sent a page larger than max_page_bytes={request.max_page_bytes} "
                        "allows. Ask for smaller pages, or raise the bound."
                    )
            inflater.end()
            return Answer(
                bytes(content),
                response.links.get("next", {}).get("url"),
                response.headers.get("etag"),
                response.headers.get("last-modified"),
                response.charset_encoding,
                response.headers.get("content-type", "").lower().startswith("text/html"),
            )
    except DamagedError as error:
        raise PassingError(
            f"{request.url} sent a body whose {response.headers['content-encoding']} is damaged or ends "
            "too early. Check the API, or a proxy before it."
        ) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
        raise ConfigurationError(f"{request.url} cannot be asked: {type(error).__name__}.") from None
    except httpx.TimeoutException as error:
        raise PassingError(
            f"{request.url} did not answer within {request.timeout:g} s ({type(error).__name__}). Ask "
            "for less at once, or raise the timeout."
        ) from error
    except httpx.HTTPError as error:
        raise PassingError(
            f"{request.url} cannot be reached ({type(error).__name__}). Check that the API is up, and "
            "the host of the connection."
        ) from error


def _inflater(request: HttpRequest, response: httpx.Response) -> Inflater:
    encoding = response.headers.get("content-encoding", "")
    try:
        return Inflater(encoding)
    except ValueError:
        raise SourceError(
            f"{request.url} sent a body packed by {encoding[:40]!r}, which was not asked for. Check the "
            "Accept-Encoding in headers, or a proxy before the API."
        ) from None


def _refusal(request: HttpRequest, response: httpx.Response) -> Exception:
    status = response.status_code
    if status in PASSING_STATUS:
        return PassingError(
            f"{request.url} answered with status {status}. Retry later, or lower the load on the API.",
            asked_wait(response.headers.get("retry-after")),
        )
    way_out = {
        401: "The credentials of the connection are missing or wrong.",
        403: "The credentials of the connection may not read this.",
        404: "Check the endpoint and the host of the connection.",
    }.get(status, "Check the endpoint and the query.")
    if response.has_redirect_location:
        # A followed redirect would carry the key along.
        way_out = "It redirects; set the connection to the final URL."
    return SourceError(f"{request.url} answered with status {status}. {way_out}")


def next_url(request: HttpRequest, url: str) -> httpx.URL:
    """Return the URL of the next page, which must be of the same origin: the key travels along.

    :raises SourceError: if it is not, or is no URL.
    """
    try:
        following = request.full_url.join(url)
    except httpx.InvalidURL:
        raise SourceError(f"{request.url} names a next page whose URL cannot be read.") from None
    start = request.full_url
    if (following.scheme, following.host, following.port) != (start.scheme, start.host, start.port):
        origin = f"{following.scheme}://{following.netloc.decode('ascii', 'replace')}"
        raise SourceError(
            f"{request.url} names a next page at another place, {origin}; the credentials are not sent "
            "there. Set the connection to the host and scheme that the API itself uses."
        )
    # The API does not choose the login either.
    return following.copy_with(userinfo=start.userinfo)


def hide_queries(record: logging.LogRecord) -> bool:
    """Take the query out of the URLs that httpx logs at INFO: some APIs want their key there."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            arg.copy_with(query=None, userinfo=b"") if isinstance(arg, httpx.URL) else arg
            for arg in record.args
        )
    return True

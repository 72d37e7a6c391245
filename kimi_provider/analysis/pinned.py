"""Connections that go only where they may: to hosts that are named, at addresses that are public.

A host name is resolved once, every answer must be a public address, and the connection goes to that
very address: a name that resolves differently a moment later changes nothing. The certificate and
the ``Host`` header stay those of the name. No proxy is used, whatever the environment says.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import httpcore
import httpx

from kimi_provider.analysis.addresses import is_public
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAX_URL = 2_000
_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
)


class FetchRefusedError(Exception):
    """The URL may not be fetched; the text tells the model why."""


class Guard:
    """Decides which URLs may be fetched, and to which address a connection goes."""

    def __init__(self, allowed: Sequence[str], private: Sequence[str], resolver: Resolver) -> None:
        if isinstance(allowed, str) or isinstance(private, str):
            raise ConfigurationError("The allowed hosts are a text; give a list of host names.")
        for host in allowed:
            if host != "*" and not _HOST.fullmatch(host.lower().removeprefix("*.")):
                raise ConfigurationError(
                    f"The allowed host {host!r} is no host name; give names such as example.com, "
                    "*.example.com or *, without scheme, port and path."
                )
        self._allowed = tuple(host.lower() for host in allowed)
        self._private = {host.lower() for host in private}
        self._resolver = resolver

    def check(self, url: str, *, base: httpx.URL | None = None) -> httpx.URL:
        """Return the URL if it may be fetched.

        :param url: absolute, or relative to ``base``.
        :raises FetchRefusedError: if not.
        """
        if len(url) > _MAX_URL or not url.isprintable() or "\\" in url or " " in url:
            raise FetchRefusedError("the URL is malformed.")
        try:
            parsed = base.join(url) if base else httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise FetchRefusedError("the URL is malformed.") from None
        if parsed.scheme not in _PORTS:
            raise FetchRefusedError("only http and https URLs are allowed.")
        if parsed.userinfo or not parsed.host:
            raise FetchRefusedError("the URL has no host, or a user name before it.")
        host = _host_of(parsed)
        port = _PORTS[parsed.scheme] if parsed.port is None else parsed.port
        if self._is_private(host, port):
            return parsed
        if port not in _PORTS.values():
            raise FetchRefusedError("only the ports 80 and 443 are allowed.")
        if not _HOST.fullmatch(host) or _is_number(host.rpartition(".")[2]):
            raise FetchRefusedError("the host must be a name, not an address.")
        if not any(_matches(pattern, host) for pattern in self._allowed):
            raise FetchRefusedError(f"the host {host} is not in the list of allowed hosts.")
        return parsed

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Resolve ``host``; a connection to it goes to one of these addresses and no other.

        :raises FetchRefusedError: if any address of the host is not public.
        """
        host = host.lower().rstrip(".")
        addresses = await self._resolver(host, port)
        if not self._is_private(host, port) and not all(map(is_public, addresses)):
            raise FetchRefusedError(f"the host {host} is not on the public internet.")
        return addresses

    def _is_private(self, host: str, port: int) -> bool:
        if f"{host}:{port}" in self._private:
            return True
        return host in self._private and port in _PORTS.values()


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the checked address; certificate and ``Host`` stay those of the name."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 — httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failed: Exception | None = None
        for address in await self._guard.addresses(host, port):
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError("the name does not resolve")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class PinnedTransport(httpx.AsyncBaseTransport):
    """httpx over a pool of httpcore's that connects through the guard, without any proxy."""

    def __init__(self, guard: Guard, context: ssl.SSLContext) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, network_backend=_PinnedBackend(guard), max_connections=2
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over a checked connection.

        :raises FetchRefusedError: if the host's address may not be connected to.
        :raises httpx.ConnectError: if the connection fails.
        """
        try:
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            OSError,
        ) as error:
            raise httpx.ConnectError(type(error).__name__) from error
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of an answer, with httpcore's errors as httpx's."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._answer.aiter_stream():
                yield part
        except _FAILURES as error:
            raise httpx.ReadError(type(error).__name__) from error

    async def aclose(self) -> None:
        await self._answer.aclose()


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return a host's addresses, as the system resolves it.

    :raises httpcore.ConnectError: if it does not.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise httpcore.ConnectError("the name does not resolve") from error
    return [str(address[0]) for *_, address in found]


def _host_of(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").lower().rstrip(".")


def _is_number(label: str) -> bool:
    """Whether resolvers may take a name with this last label for an address (decimal, octal, hex)."""
    return label.isdigit() or re.fullmatch(r"0x[0-9a-f]*", label) is not None


def _matches(pattern: str, host: str) -> bool:
    if pattern == "*":
        return "." in host
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern

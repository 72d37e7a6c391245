"""Bytes to and from the host: pools, time-outs, size bounds; nothing of the chat protocol.

httpx's pool does work with the square of what is in it, so that one client with thousands of calls
in flight stalls; many small ones that share an SSL context do not. Redirects are not followed: they
would take the key, or the prompt, to another host.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
import zlib
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx

from kimi_provider import __version__
from kimi_provider.exceptions import APIConnectionError, APITimeoutError, ResponseValidationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from kimi_provider.client.config import ClientConfig

# Measured with 2,000 calls in flight: 16 costs two thirds of the CPU time of 64.
SHARD_SIZE = 16
ERROR_BYTES = 1 << 20
_KEEPALIVE = httpx.Limits(
    max_connections=SHARD_SIZE, max_keepalive_connections=SHARD_SIZE, keepalive_expiry=30.0
)
_PIECE = 1 << 16
_ERROR_SECONDS = 10.0


@lru_cache(maxsize=8)
def _ssl_context(verify: bool | str) -> ssl.SSLContext:
    """Build an SSL context: 18 ms, so once in a process."""
    if isinstance(verify, str):
        return ssl.create_default_context(cafile=verify)
    return httpx.create_ssl_context(verify=verify)


class Transport:
    """Sends requests to one host through as many small pools as the calls in flight need."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._context: ssl.SSLContext | None = None
        self._shards: list[httpx.AsyncClient] = []
        self._load: list[int] = []

    async def open(self) -> None:
        """Prepare what is slow to build, outside the event loop's thread.

        :raises APIConnectionError: if the CA file cannot be read.
        """
        if self._context is not None:
            return
        if self._config.base_url.startswith("http://"):
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            return
        try:
            self._context = await asyncio.to_thread(_ssl_context, self._config.verify)
        except OSError as error:
            raise APIConnectionError(
                f"The CA file {self._config.verify!r} cannot be read ({type(error).__name__})."
            ) from None

    async def close(self) -> None:
        """Close all connections."""
        shards, self._shards, self._load = self._shards, [], []
        for shard in shards:
            await shard.aclose()

    @asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        *,
        idle: float,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        files: dict[str, tuple[str, bytes, str]] | None = None,
        data: dict[str, str] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request and give its answer while its connection is held.

        :param idle: seconds without a byte after which the call is given up.
        :raises APIConnectionError: if the host cannot be reached or the connection breaks, inside
            the block too.
        :raises APITimeoutError: if nothing came for ``idle`` seconds.
        """
        await self.open()
        host = self._config.host.name
        number = self._pick()
        shard = self._shards[number]
        connect = self._config.connect_timeout
        timeout = httpx.Timeout(idle, connect=connect, write=max(60.0, connect), pool=None)
        self._load[number] += 1
        try:
            request = shard.build_request(
                method,
                path,
                content=content,
                headers=headers,
                params=params,
                files=files,
                data=data,
                timeout=timeout,
            )
            response = await shard.send(request, stream=True)
            try:
                yield response
            finally:
                await response.aclose()
        # "from None": the cause holds the request, and with it the key and the prompt.
        except httpx.ConnectTimeout:
            raise APITimeoutError(f"{host} did not accept a connection in {connect:g} s.") from None
        except httpx.TimeoutException:
            raise APITimeoutError(
                f"{host} sent nothing for {idle:g} s; a later try may help, or a longer idle_timeout."
            ) from None
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise APIConnectionError(
                f"{host} cannot be reached at {request.url.host} ({_reason(error)}); check base_url, "
                "network and proxy."
            ) from None
        except (httpx.TransportError, httpx.StreamError) as error:
            raise APIConnectionError(
                f"The connection to {host} broke ({type(error).__name__}); a later try helps."
            ) from None
        finally:
            if number < len(self._load):
                self._load[number] -= 1

    def _pick(self) -> int:
        """Return the first pool with room: it has the warm connections."""
        for number, load in enumerate(self._load):
            if load < SHARD_SIZE:
                return number
        config = self._config
        self._shards.append(
            httpx.AsyncClient(
                base_url=config.base_url,
                headers={
                    "User-Agent": f"airflow-provider-kimi/{__version__}",
                    **config.headers,
                    "Authorization": f"Bearer {config.api_key}",
                },
                verify=self._context or True,
                limits=_KEEPALIVE,
                follow_redirects=False,
            )
        )
        self._load.append(0)
        return len(self._shards) - 1


def _reason(error: Exception) -> str:
    """Say why in words that hold no address the user did not give."""
    text = str(error)
    return text[:120] if "CERTIFICATE" in text or "resolution" in text else type(error).__name__


async def body_of(response: httpx.Response, max_bytes: int) -> bytes:
    """Read a whole body.

    :raises ResponseValidationError: if it is larger than ``max_bytes`` after decompression.
    """
    return b"".join([piece async for piece in packets(response, max_bytes)])


async def error_body(response: httpx.Response) -> bytes:
    """Read an error's body as far as it helps; what is wrong with the body must not hide the error."""
    try:
        async with asyncio.timeout(_ERROR_SECONDS):
            return await body_of(response, ERROR_BYTES)
    except (ResponseValidationError, httpx.TransportError, TimeoutError):
        return b""


async def packets(
    response: httpx.Response, max_bytes: int, *, idle: float | None = None
) -> AsyncIterator[bytes]:
    """Give the body's bytes, decompressed in bounded pieces (a small one can hold gigabytes).

    :param idle: seconds after which a body of nothing but blanks, as some gateways send to keep a
        connection alive, is given up.
    :raises ResponseValidationError: if they are more than ``max_bytes``, or in an unknown encoding.
    :raises APITimeoutError: if only blanks came for ``idle`` seconds.
    """
    decode = _decoder(response)
    total = 0
    started = time.monotonic()
    blank = idle is not None
    async for raw in response.aiter_raw():
        for piece in (raw,) if decode is None else decode(raw):
            total += len(piece)
            if total > max_bytes:
                raise _too_large(max_bytes)
            if blank and piece.strip():
                blank = False
            yield piece
        if blank and idle is not None and time.monotonic() - started > idle:
            raise APITimeoutError(f"The host sent nothing but blanks for {idle:g} s.")


def event_packets(response: httpx.Response) -> AsyncIterator[bytes]:
    """Give an event stream's bytes, decompressed, as they come; the reader keeps the bound.

    Nothing is put between the reader and httpx's own stream where nothing is compressed: a packet
    may hold one event, and each generator on the way costs as much as decoding it.
    """
    if _decoder(response) is None and isinstance(response.stream, httpx.AsyncByteStream):
        return aiter(response.stream)
    return packets(response, sys.maxsize)


def _too_large(max_bytes: int) -> ResponseValidationError:
    error = ResponseValidationError(
        f"The answer is larger than {max_bytes} bytes; raise max_response_bytes if that is meant."
    )
    error.retryable = False
    return error


class _Inflate:
    """Decompresses gzip and zlib in pieces of bounded size."""

    def __init__(self) -> None:
        # 32 more window bits: gzip or zlib, whichever the header says.
        self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)

    def __call__(self, raw: bytes) -> Iterator[bytes]:
        while raw:
            try:
                piece = self._stream.decompress(raw, _PIECE)
            except zlib.error:
                raise ResponseValidationError("The answer's compression is damaged.") from None
            if piece:
                yield piece
            raw = self._stream.unconsumed_tail
            if self._stream.eof:
                return


def _decoder(response: httpx.Response) -> _Inflate | None:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip", "deflate"}:
        return _Inflate()
    raise ResponseValidationError(
        f"The host answered with content-encoding {encoding[:40]!r}, which was not asked for."
    )

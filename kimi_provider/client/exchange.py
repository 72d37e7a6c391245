"""One call of the chat endpoint: send, look at what kind of answer it is, read it.

A stream request can be answered by a stream, by one JSON answer, by a JSON error with status 200, or
by an HTML page; each is told apart by its content type and, where that lies, by its first byte.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from kimi_provider.client.chunk import Chunk, lenient_chunk
from kimi_provider.client.errors import Answer, request_ids, status_error
from kimi_provider.client.payload import has_error, page_title
from kimi_provider.client.response import too_large
from kimi_provider.client.sse import Event, EventStream
from kimi_provider.client.transport import error_body, event_packets, packets
from kimi_provider.exceptions import APITimeoutError, ResponseValidationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kimi_provider.client.response import Assembler

# A stream's wire form is far larger than its text: every token is wrapped in some 250 bytes.
_WIRE = 16
# Seconds to wait for what may come after [DONE], and after a finish reason (usage, [DONE]).
_DRAIN = 1.0
_GRACE = 10.0
# What gateways call the end of an answer whose maker failed in the middle of it.
_FAILED = {"error", "network_error", "insufficient_system_resource"}
_BROKEN_OFF = "the model's provider failed in the middle of the answer"
_BOM = b"\xef\xbb\xbf"
# As much of a body as tells an event stream ("event:") from JSON.
_TELLING = 6
_decode = msgspec.json.Decoder(Chunk).decode


class Exchange:
    """Reads one answer into an :class:`Assembler`.

    :param answer: for errors: who answered whom.
    :param idle: seconds without content after which a stream is given up.
    :param max_bytes: bound of the answer in memory.
    """

    def __init__(self, assembler: Assembler, answer: Answer, *, idle: float, max_bytes: int) -> None:
        self.started = time.monotonic()
        self.first_token: float | None = None
        self.request_ids: tuple[str, ...] = ()
        self._assembler = assembler
        self._answer = answer
        self._idle = idle
        self._max_bytes = max_bytes
        self._headers: httpx.Headers | None = None

    async def read(self, response: httpx.Response) -> None:
        """Read the answer to its end.

        :raises APIStatusError: for an error, with whatever status it came.
        :raises ResponseValidationError: for an answer that is none.
        :raises APITimeoutError: for a stream without content for too long.
        """
        self._headers = response.headers
        self.request_ids = request_ids(response.headers)
        if not response.is_success:
            raise status_error(
                response.status_code, response.headers, await error_body(response), self._answer
            )
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            await self._stream(event_packets(response))
        else:
            await self._told_apart(response, kind)
        if self._assembler.failure or self._assembler.finish_reason in _FAILED:
            raise self._error({"error": self._assembler.failure or {"message": _BROKEN_OFF}})

    async def _told_apart(self, response: httpx.Response, kind: str) -> None:
        """Read a body that does not say that it is an event stream, but may be one."""
        source = packets(response, self._max_bytes * _WIRE, idle=self._idle)
        head = b""
        async for packet in source:
            head = (head + packet).lstrip().removeprefix(_BOM)
            if len(head) >= _TELLING:
                break
        if head.startswith((b"data:", b"event:", b":", b"id:", b"retry:")):
            await self._stream(source, head)
            return
        pieces, size = [head], len(head)
        async for packet in source:
            pieces.append(packet)
            size += len(packet)
            if size > self._max_bytes:
                raise too_large()
        self._whole(b"".join(pieces), kind)

    async def _stream(self, source: AsyncIterator[bytes], head: bytes = b"") -> None:
        events = EventStream(self._max_bytes)
        assembler = self._assembler
        self._take(events.feed(head))
        waited, room = 0.0, self._max_bytes * _WIRE
        before = time.monotonic()
        async for packet in source:
            now = time.monotonic()
            # Only time spent waiting counts, so that a slow reader of events is not taken for a
            # silent host; only content counts as progress, or keep-alives would defeat the limit.
            waited += now - before
            assembler.progressed = False
            self._take(events.feed(packet))
            room -= len(packet)
            if assembler.progressed:
                waited = 0.0
                if self.first_token is None:
                    self.first_token = now - self.started
                if assembler.finish_reason is not None:
                    break
            elif waited > self._idle:
                raise APITimeoutError(
                    f"{self._answer.host} kept the stream alive without content for {self._idle:g} s; a "
                    "later try may help, or a longer idle_timeout.",
                    request_ids=self.request_ids,
                )
            if events.done:
                break
            if room < 0:
                raise too_large()
            before = time.monotonic()
        await self._drain(source, events, room)
        self._take(events.close())
        if not events.events and events.stray:
            self._whole(bytes(events.stray), "text/event-stream")

    async def _drain(self, source: AsyncIterator[bytes], events: EventStream, room: int) -> None:
        """Read what follows the finish reason (usage), and the rest, so that the connection is free.

        A host that does not close, or breaks off, takes nothing from an answer that is whole.
        """
        try:
            while room >= 0:
                async with asyncio.timeout(_DRAIN if events.done else min(_GRACE, self._idle)):
                    packet = await anext(source, None)
                if packet is None:
                    return
                room -= len(packet)
                if not events.done:
                    self._take(events.feed(packet))
        except (TimeoutError, httpx.TransportError):
            return

    def _take(self, events: list[Event]) -> None:
        add = self._assembler.add
        for event in events:
            if isinstance(event, ResponseValidationError):
                if self._assembler.finish_reason is not None:
                    return
                raise event
            if isinstance(event, dict):
                raise self._error(event)
            if event.error is not None and event.error not in ("", {}, []):
                raise self._error({"error": event.error, "type": event.type, "code": event.code})
            if event.message and event.choices is None:
                if isinstance(event.message, dict):
                    raise self._other_protocol()
                raise self._error({"message": event.message, "type": event.type, "code": event.code})
            add(event)

    def _whole(self, body: bytes, kind: str) -> None:
        """Take in an answer that came in one piece.

        :raises ResponseValidationError: if it is a page, or no JSON of the protocol.
        :raises APIStatusError: if it is an error.
        """
        host = self._answer.host
        if body.lstrip()[:1] == b"<" or kind == "text/html":
            title = page_title(body.decode("utf-8", "replace"))
            raise ResponseValidationError(
                f"{host} answered with {title[:200]} instead of JSON; check base_url.",
                request_ids=self.request_ids,
            )
        value: Any = None
        try:
            chunk = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            try:
                value = json.loads(body.decode("utf-8", "replace"), parse_constant=lambda _: None)
            except (ValueError, RecursionError):
                raise ResponseValidationError(
                    f"{host} answered with {len(body)} bytes of {kind[:40] or 'unknown type'} that "
                    "are no whole JSON; a later try may help.",
                    request_ids=self.request_ids,
                ) from None
            if isinstance(value, list) and value and has_error(value[0]):
                value = value[0]
            if not isinstance(value, dict):
                raise ResponseValidationError(
                    f"{host} answered with JSON that is no object; check base_url.",
                    request_ids=self.request_ids,
                ) from None
            chunk = lenient_chunk(value)
        if not chunk.choices:
            value = value if value is not None else json.loads(body)
            if has_error(value):
                raise self._error(value)
            if value.get("object") == "response" or value.get("type") == "message":
                raise self._other_protocol()
        self._take([chunk])

    def _other_protocol(self) -> ResponseValidationError:
        error = ResponseValidationError(
            f"{self._answer.host} answered in another protocol than that of chat completions; correct "
            "base_url: /chat/completions is put behind it.",
            request_ids=self.request_ids,
        )
        error.retryable = False
        return error

    def _error(self, body: dict[str, Any]) -> Exception:
        headers = self._headers if self._headers is not None else {}
        return status_error(200, headers, json.dumps(body).encode(), self._answer)

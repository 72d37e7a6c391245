"""How a fault acts on the wire: answers that replace the real one, and changes to it as it leaves."""

from __future__ import annotations

import asyncio
import gzip
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.testing.faults import ERRORS, PAGES, error_body, page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from kimi_provider.testing.faults import Fault

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_EMPTY_EVENT = (
    b'data: {"id":"","object":"chat.completion.chunk","created":0,"model":"","choices":[]}\n\n'
)
_BODYLESS = (204, 304)
BOMB_BYTES = 256 * 1024 * 1024
_FINISH = re.compile(rb'"finish_reason":"\w+"')


class ClientLeftError(Exception):
    """The connection is gone, by the client's will or by a fault's."""


async def send_whole(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    """Send a complete answer."""
    pairs = {k.lower(): v for k, v in headers.items()}
    if status not in _BODYLESS:
        pairs["content-length"] = str(len(body))
    raw = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in pairs.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def until_disconnect(receive: Receive, seconds: float | None = None) -> bool:
    """Wait until the client leaves; return false if the given seconds passed first."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


async def abort(transport: asyncio.Transport, receive: Receive) -> None:
    """Cut the connection without a goodbye."""
    transport.abort()
    await until_disconnect(receive)
    raise ClientLeftError


async def answer_instead(
    fault: Fault, path: str, transport: asyncio.Transport, receive: Receive, send: Send
) -> bool:
    """Answer in the place of the service, where the fault is of that sort; return whether it was."""
    if fault.kind == "close_before":
        await abort(transport, receive)
    elif fault.kind == "stall_before":
        if not await until_disconnect(receive, fault.seconds):
            await abort(transport, receive)
        raise ClientLeftError
    elif fault.kind == "comments_only":
        await _comments_only(fault, transport, send)
    elif (replacement := await _replacement(fault, path)) is not None:
        await send_whole(send, *replacement)
    else:
        return False
    return True


async def _replacement(fault: Fault, path: str) -> tuple[int, bytes, dict[str, str]] | None:
    kind = fault.kind
    json_type = {"Content-Type": "application/json; charset=utf-8"}
    if kind in ERRORS:
        status, error_type, message = ERRORS[kind]
        body = msgspec.json.encode(error_body(path, error_type, message))
        return status, body, json_type | fault.retry_after_header()
    if kind in PAGES:
        status, title = PAGES[kind]
        return status, page(title).encode(), {"Content-Type": "text/html"} | fault.retry_after_header()
    if kind == "error_in_200":
        error = error_body(path, "server_error", "Upstream failed, please try again later")
        return 200, msgspec.json.encode(error), json_type
    if kind == "redirect":
        return 307, b"", {"Location": fault.body or "http://127.0.0.1:9/elsewhere"}
    if kind == "gzip_bomb":
        return 200, await asyncio.to_thread(_bomb), json_type | {"Content-Encoding": "gzip"}
    return (fault.status, fault.body.encode(), fault.headers) if kind == "answer" else None


@cache
def _bomb() -> bytes:
    return gzip.compress(b" " * BOMB_BYTES, 1)


async def _comments_only(fault: Fault, transport: asyncio.Transport, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while not transport.is_closing():
        await send({"type": "http.response.body", "body": b": keep-alive\n\n", "more_body": True})
        await asyncio.sleep(fault.delay)
    raise ClientLeftError


class Effect:
    """A ``send`` that changes the answer on its way, as the fault says.

    A part is one body message of the answer: one event of a stream, or all of a plain answer.
    """

    def __init__(self, fault: Fault, transport: asyncio.Transport, receive: Receive, send: Send) -> None:
        self._fault = fault
        self._transport = transport
        self._receive = receive
        self._send = send
        self._parts = 0
        self._start: Message = {}
        self._held = b""

    async def __call__(self, message: Message) -> None:
        """Pass a message on, changed or not."""
        if message["type"] == "http.response.start":
            await self._on_start(message)
        else:
            body, more = message.get("body", b""), message.get("more_body", False)
            await self._on_part(body, more)
            self._parts += 1

    async def _on_start(self, message: Message) -> None:
        kind = self._fault.kind
        # What `close_after` and its kin do to a client is decided once the service has taken the call.
        if kind in {"close_after", "error_after", "stall_after"}:
            self._start = message
            return
        if kind != "stall" and self._changes_length():
            headers = [(k, v) for k, v in message["headers"] if k.lower() != b"content-length"]
            message = {**message, "headers": headers}
        await self._send(message)

    def _changes_length(self) -> bool:
        # A cut answer has to keep the length it promised, or the client would take it for whole.
        return self._fault.kind not in {"cut", "slow"}

    async def _pass(self, body: bytes, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _on_part(self, body: bytes, more: bool) -> None:
        handler = getattr(self, f"_{self._fault.kind}", None)
        if handler is None:
            await self._rewritten(body, more)
        else:
            await handler(body, more)

    @property
    def _due(self) -> bool:
        return self._parts >= self._fault.at_event

    async def _cut(self, body: bytes, more: bool) -> None:
        if not self._due:
            await self._pass(body, more)
            return
        await self._pass(body[: len(body) // 2], more=True)
        # Give the half time to leave: an abort throws away what is still in the buffer.
        await asyncio.sleep(0.02)
        await abort(self._transport, self._receive)

    async def _end_early(self, body: bytes, more: bool) -> None:
        if self._due:
            await self._pass(b"", more=False)
            raise ClientLeftError
        await self._pass(body, more)

    async def _error_event(self, body: bytes, more: bool) -> None:
        """Break the answer off with an error, in an event of the stream or instead of the whole."""
        if not self._due:
            await self._pass(body, more)
            return
        status, error_type, message = ERRORS["overloaded"]
        error = msgspec.json.encode(error_body("", error_type, message) | {"status": status})
        streamed = body.startswith(b"data:")
        await self._pass(b"data: " + error + b"\n\n" if streamed else error, more=False)
        raise ClientLeftError

    async def _stall(self, body: bytes, more: bool) -> None:
        if self._parts == self._fault.at_event and await until_disconnect(
            self._receive, self._fault.seconds
        ):
            raise ClientLeftError
        await self._pass(body, more)

    async def _slow(self, body: bytes, more: bool) -> None:
        await asyncio.sleep(self._fault.delay)
        await self._pass(body, more)

    async def _keep_alives(self, body: bytes, more: bool) -> None:
        await self._pass(b": keep-alive\n\n" if more else b"", more=True)
        await self._pass(body, more)

    async def _tiny_packets(self, body: bytes, more: bool) -> None:
        for start in range(0, len(body), 7):
            await self._pass(body[start : start + 7], more=True)
            await asyncio.sleep(0)
        await self._pass(b"", more)

    async def _glued(self, body: bytes, more: bool) -> None:
        """Send two events without the blank line between them, as gateways were seen to do."""
        if more and not self._held:
            self._held = body.rstrip(b"\n")
            return
        await self._pass(self._held + body, more)
        self._held = b""

    async def _empty_choices(self, body: bytes, more: bool) -> None:
        if self._parts == 0 and more:
            await self._pass(_EMPTY_EVENT, more=True)
        await self._pass(body, more)

    async def _close_after(self, _body: bytes, more: bool) -> None:
        if not more:
            await abort(self._transport, self._receive)

    async def _stall_after(self, _body: bytes, more: bool) -> None:
        if not more:
            await until_disconnect(self._receive, self._fault.seconds)
            raise ClientLeftError

    async def _error_after(self, _body: bytes, more: bool) -> None:
        if not more:
            title = f"{self._fault.status} Error"
            await send_whole(
                self._send, self._fault.status, page(title).encode(), {"Content-Type": "text/html"}
            )

    async def _rewritten(self, body: bytes, more: bool) -> None:
        kind = self._fault.kind
        done, event = body.startswith(b"data: [DONE]"), body.startswith(b"data:")
        if (kind == "no_done" and done) or (kind == "no_finish" and event and _FINISH.search(body)):
            body = b""
        elif kind == "no_finish":
            body = _FINISH.sub(b'"finish_reason":null', body)
        elif kind == "malformed_json" and self._due and not done:
            body = body[: len(body) // 2] + (b"\n\n" if event else b"")
        elif kind == "error_finish":
            # How gateways say that the model's host failed in the middle of its answer.
            body = _FINISH.sub(b'"finish_reason":"error"', body)
        elif kind == "crlf":
            body = body.replace(b"\n", b"\r\n")
        elif kind == "split_data" and event:
            # One event over two `data:` lines, broken where JSON allows white space.
            body = body.replace(b',"choices"', b',\ndata: "choices"', 1)
        await self._pass(body, more)

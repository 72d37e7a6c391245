"""A host that answers as fast as the loopback interface takes it, from bytes rendered beforehand.

Run as a program it serves until its standard input ends, and prints its port first. Where a call goes
is told by the path: ``/stream``, ``/plain``, or ``/held``, which answers as ``/plain`` does but after
``--delay`` seconds. ``GET /peak`` tells how many calls were held at once since it was last asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from functools import partial

WORDS = [
    "the",
    "mean",
    "delay",
    "at",
    "Newark",
    "rose",
    "to",
    "23.4",
    "—",
    "«Kraków»",
    "and",
    "東京",
    "flat,",
]
MODEL = "kimi-k2-thinking"


def texts(events: int) -> tuple[list[str], list[str]]:
    """Return the pieces of reasoning and of text in a stream of ``events`` events with content."""
    pieces = [f"{WORDS[number % len(WORDS)]} " for number in range(events)]
    thoughts = events // 9
    return pieces[:thoughts], pieces[thoughts:]


def plain_text() -> str:
    """Return the text of the plain answer."""
    return "".join(texts(180)[1])


def _event(fields: dict[str, object], finish: str | None = None, **more: object) -> bytes:
    # The shape, the order and the spelling of Moonshot's own chunks: some 230 bytes for a word.
    choice = {"index": 0, "delta": fields, "finish_reason": finish, **more}
    value = {
        "id": "chatcmpl-7117912c-7176-9997-b5bf-7b4bc0b1659b",
        "object": "chat.completion.chunk",
        "created": 1787762066,
        "model": MODEL,
        "choices": [choice],
        "system_fingerprint": "fpv0_1a2b3c4d",
    }
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _usage(output: int) -> dict[str, int]:
    return {"prompt_tokens": 12, "completion_tokens": output, "total_tokens": output + 12}


def stream_answer(events: int) -> bytes:
    """Return a streamed answer; as hosts send it, each event is an HTTP chunk of its own."""
    thoughts, words = texts(events)
    parts = [
        _event({"role": "assistant", "content": ""}),
        *(_event({"reasoning_content": piece}) for piece in thoughts),
        *(_event({"content": piece}) for piece in words),
        _event({}, "stop", usage=_usage(events)),
        b"data: [DONE]\n\n",
    ]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + chunks + b"0\r\n\r\n"


def plain_answer() -> bytes:
    """Return an answer in one piece, of about a kilobyte."""
    message = {"role": "assistant", "content": plain_text(), "reasoning_content": "Think."}
    value = {
        "id": "chatcmpl-5f3c",
        "object": "chat.completion",
        "created": 1787762066,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(160),
    }
    body = json.dumps(value, ensure_ascii=False).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Host:
    """The answers, and how many calls are held."""

    def __init__(self, events: int, delay: float) -> None:
        self.stream = stream_answer(events)
        self.plain = plain_answer()
        self.delay = delay
        self.held = 0
        self.peak = 0


class Connection(asyncio.Protocol):
    """One connection; its requests come one after the other."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.received = bytearray()
        self.held = False
        self.timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self._release()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = bytes(self.received).partition(b"\r\n\r\n")
        if not found:
            return
        _, named, length = head.lower().partition(b"content-length:")
        if len(body) < (int(length.split(b"\r\n", 1)[0]) if named else 0):
            return
        self.received.clear()
        host, path = self.host, head.split(b" ", 2)[1]
        if path.startswith(b"/stream"):
            self.transport.write(host.stream)
        elif path.startswith(b"/held"):
            self.held = True
            host.held += 1
            host.peak = max(host.peak, host.held)
            self.timer = asyncio.get_running_loop().call_later(host.delay, self._answer_held)
        elif path.startswith(b"/peak"):
            peak, host.peak = str(host.peak).encode(), host.held
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(peak), peak))
        else:
            self.transport.write(host.plain)

    def _answer_held(self) -> None:
        self._release()
        self.transport.write(self.host.plain)

    def _release(self) -> None:
        self.host.held -= self.held
        self.held = False


def allow_files(count: int = 8192) -> None:
    """Let this process hold thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(events: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    make = partial(Connection, Host(events, delay))
    server = await loop.create_server(make, "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--delay", type=float, required=True)
    given = parser.parse_args()
    allow_files()
    asyncio.run(_serve(given.events, given.delay))


if __name__ == "__main__":
    main()

"""A loopback HTTP server that answers byte for byte as a test scripts it, and what tests share."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tenacity.wait import wait_fixed

from kimi_provider.client import retry
from kimi_provider.client.config import ClientConfig

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
KEY = "sk-planted-key-0123456789"


@dataclass
class Seen:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Reply:
    """What the server sends: bytes as they are, and numbers of seconds to wait between them."""

    pieces: tuple[bytes | float, ...]
    abort: bool = False
    hold: bool = False

    @classmethod
    def of(cls, status=200, body=b"", kind="application/json", headers=(), length=True):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", *headers]
        if length:
            lines.append(f"Content-Length: {len(raw)}")
        else:
            lines.append("Connection: close")
        return cls(("\r\n".join(lines).encode() + b"\r\n\r\n" + raw,))

    @classmethod
    def stream(cls, *pieces, abort=False, hold=False, headers=()):
        # Without a promised length, a connection that breaks looks like one that ends.
        promised = ["Content-Length: 9999999"] if abort else []
        lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Connection: close"]
        head = "\r\n".join([*lines, *promised, *headers])
        return cls((head.encode() + b"\r\n\r\n", *pieces), abort=abort, hold=hold)


@dataclass
class Server:
    """A scripted host; the last reply repeats. ``routes`` answers by path before ``replies``."""

    replies: list[Reply]
    routes: dict[str, Reply] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    async def handle(self, reader, writer):
        self.connections += 1
        try:
            while True:
                try:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                except (asyncio.IncompleteReadError, ConnectionError):
                    return
                first, *lines = head.strip().split("\r\n")
                headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split(" ")
                self.seen.append(Seen(method, path, headers, body))
                reply = self.routes.get(path.split("?")[0])
                if reply is None:
                    reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                for piece in reply.pieces:
                    if isinstance(piece, bytes):
                        writer.write(piece)
                        await writer.drain()
                    else:
                        await asyncio.sleep(piece)
                if reply.abort:
                    writer.transport.abort()
                    return
                if reply.hold:
                    await asyncio.sleep(60)
                if b"Connection: close" in reply.pieces[0]:
                    return
        except (ConnectionError, asyncio.CancelledError):
            # The test is over; asyncio would log the cancellation as an error.
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(*replies, routes=None):
    """Serve ``replies`` in turn on a free port."""
    server = Server(list(replies) or [Reply.of(500)], routes or {})
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    tasks_before = asyncio.all_tasks()
    try:
        yield server
    finally:
        listener.close()
        for task in asyncio.all_tasks() - tasks_before:
            task.cancel()


def chunk(delta=None, finish=None, **more):
    """One event of a stream."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "model": "kimi-k3", "choices": [choice], **more}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def config(url="http://127.0.0.1:1/v1", **extra):
    """Settings that fail fast."""
    fast = {"host": "moonshot", "idle_timeout": 0.5, "timeout": 0.5, "max_attempts": 3}
    model = extra.pop("model", "kimi-k3")
    return ClientConfig.from_mapping(base_url=url, api_key=KEY, model=model, extra=fast | extra)


@pytest.fixture(autouse=True)
def _fast_backoff(monkeypatch):
    monkeypatch.setattr(retry, "_backoff", wait_fixed(0.01))


@dataclass(frozen=True)
class Kit:
    """What test modules use of this one (test folders are no packages)."""

    reply: type[Reply] = Reply
    serving: object = staticmethod(serving)
    chunk: object = staticmethod(chunk)
    config: object = staticmethod(config)
    key: str = KEY
    done: bytes = b"data: [DONE]\n\n"
    recordings: Path = RECORDINGS


@pytest.fixture
def kit():
    return Kit()

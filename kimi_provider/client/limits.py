"""Rate limits inside one process, shared by all clients of one host and key.

Moonshot's limits hold for the whole organization; across processes, Airflow pools keep them.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kimi_provider.client.config import ClientConfig

_WINDOW = 60.0
# English prose has four to five bytes a token, CJK three to five, digits one to three.
BYTES_PER_TOKEN = 3


class Entry:
    """One call in the window: when it starts, and the tokens it is charged with."""

    __slots__ = ("start", "tokens")

    def __init__(self, start: float, tokens: int) -> None:
        self.start = start
        self.tokens = tokens


class RateLimiter:
    """Lets calls start so that no minute holds more of them, or of their tokens, than allowed.

    First come, first served: a call reserves its start at once and sleeps until then. It is bound
    to no event loop, so that clients in several threads can share it.

    :param requests: calls a minute.
    :param tokens: tokens a minute, counted as prompt plus ``max_tokens``, the way Moonshot charges.
    :param concurrency: calls in flight.
    :param clock: seconds, rising.
    """

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        concurrency: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = requests
        self._tokens = tokens
        self._free = concurrency
        self._clock = clock
        self._window: deque[Entry] = deque()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._lock = threading.Lock()

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[Entry | None]:
        """Wait for a place, and hold it for as long as the block runs.

        :param tokens: what the call is charged with; set the entry's afterwards to what it was.
        :raises ConfigurationError: if the call alone is over the limit.
        """
        if self._tokens is not None and tokens > self._tokens:
            raise ConfigurationError(
                f"A call of {tokens} tokens (prompt and max_tokens) never fits tokens_per_minute = "
                f"{self._tokens}; lower max_tokens or shorten the prompt."
            )
        await self._enter()
        try:
            entry = None
            if self._requests is not None or self._tokens is not None:
                entry = self._reserve(tokens)
                try:
                    await asyncio.sleep(max(0.0, entry.start - self._clock()))
                except asyncio.CancelledError:
                    with self._lock:
                        self._window.remove(entry)
                    raise
            yield entry
        finally:
            self._leave()

    def _reserve(self, tokens: int) -> Entry:
        with self._lock:
            now = self._clock()
            window = self._window
            while window and window[0].start <= now - _WINDOW:
                window.popleft()
            # The last entry may start in the future; nobody overtakes it.
            start = max(now, window[-1].start) if window else now
            count, used = len(window), sum(entry.tokens for entry in window)
            for entry in window:
                if entry.start <= start - _WINDOW or (
                    (self._requests is not None and count >= self._requests)
                    or (self._tokens is not None and used + tokens > self._tokens)
                ):
                    start = max(start, entry.start + _WINDOW)
                    count, used = count - 1, used - entry.tokens
                else:
                    break
            entry = Entry(start, tokens)
            window.append(entry)
            return entry

    async def _enter(self) -> None:
        if self._free is None:
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append((loop, turn))
        try:
            await turn
        except asyncio.CancelledError:
            with self._lock:
                handed = (loop, turn) not in self._waiting
                if not handed:
                    self._waiting.remove((loop, turn))
            if handed:
                self._leave()
            raise

    def _leave(self) -> None:
        """Hand the place to the next in line, or free it."""
        if self._free is None:
            return
        with self._lock:
            while self._waiting:
                loop, turn = self._waiting.popleft()
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_wake, turn)
                    return
            self._free += 1


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


_limiters: dict[tuple[object, ...], RateLimiter] = {}


def limiter_for(config: ClientConfig) -> RateLimiter | None:
    """Return the limiter that all clients with this host, key and limits share, if there are limits."""
    limits = (config.requests_per_minute, config.tokens_per_minute, config.max_concurrency)
    if limits == (None, None, None):
        return None
    key = (config.base_url, hashlib.sha256(config.api_key.encode()).digest(), limits)
    return _limiters.setdefault(key, RateLimiter(*limits))

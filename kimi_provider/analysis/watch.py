"""Stops a query that takes too long, or whose memory grows where DuckDB's own limit does not look."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_STATM = Path("/proc/self/statm")
_PAGE = 4096
_INTERVAL = 0.02


class Watch(threading.Thread):
    """Calls ``interrupt`` once when a limit is met; use as a context manager around the query.

    DuckDB counts what its operators hold, but not what functions build within a batch of rows: lists
    made in lambdas, texts made of texts. So the memory of the whole process is measured, where the
    system tells it (Linux); elsewhere only the time is bounded.

    :param interrupt: stops the query; DuckDB heeds it between batches and operators.
    :param timeout: seconds.
    :param growth: bytes by which the process may grow meanwhile.
    """

    def __init__(self, interrupt: Callable[[], None], *, timeout: float, growth: int) -> None:
        super().__init__(name="kimi-query-watch", daemon=True)
        self.met: Literal["time", "memory"] | None = None
        self._interrupt = interrupt
        self._until = time.monotonic() + timeout
        self._most = _resident() + growth
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Begin to watch."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it; no interrupt comes afterwards, which would hit the next query."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look at the limits until one is met or the query is over."""
        while not self._over.wait(min(_INTERVAL, max(self._until - time.monotonic(), 0))):
            if time.monotonic() >= self._until:
                self.met = "time"
            elif _resident() > self._most:
                self.met = "memory"
            if self.met:
                self._interrupt()
                return


def _resident() -> int:
    """Return the bytes of memory that the process holds; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0

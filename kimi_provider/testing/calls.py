"""What the simulator was asked: one entry a call, by which a test proves that nothing was paid twice."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Call:
    """One call, as the simulator saw it.

    :param number: position in order of arrival, from 1.
    :param at: seconds since the epoch at arrival.
    :param fingerprint: hash of method, path, query and body (JSON bodies by value, not by spelling).
    :param key_hash: hash of the bearer key, so that calls can be told apart; the key is not kept.
    :param model: model asked for, where the body names one.
    :param status: HTTP status answered; 0 while the answer is open, and where none was given.
    :param outcome: ``open``, ``complete``, ``disconnected`` (the client left), or ``fault:{kind}``.
    """

    number: int
    at: float
    method: str
    path: str
    fingerprint: str
    key_hash: str
    model: str | None = None
    status: int = 0
    outcome: str = "open"


@dataclass
class Calls:
    """All calls in order, counted and found; safe to read from any thread.

    ``in_flight`` is how many are being answered now, ``peak`` the most there ever were at once.
    """

    in_flight: int = 0
    peak: int = 0
    _calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __iter__(self) -> Iterator[Call]:
        """Iterate over a copy, in order of arrival."""
        with self._lock:
            return iter(list(self._calls))

    def __len__(self) -> int:
        """Return how many calls there were."""
        return len(self._calls)

    def select(self, path: str = "", *, fingerprint: str | None = None) -> list[Call]:
        """Return the calls whose path holds ``path``, and whose fingerprint is the given one."""
        return [c for c in self if path in c.path and fingerprint in (None, c.fingerprint)]

    def count(self, path: str = "", *, fingerprint: str | None = None) -> int:
        """Return how many calls :meth:`select` finds."""
        return len(self.select(path, fingerprint=fingerprint))

    def by_fingerprint(self, path: str = "") -> dict[str, int]:
        """Return how often each distinct call was made."""
        return dict(Counter(c.fingerprint for c in self.select(path)))

    def repeated(self, path: str = "") -> int:
        """Return how many calls had been made before, exactly so: what was paid twice."""
        return sum(count - 1 for count in self.by_fingerprint(path).values())

    def open(
        self, method: str, path: str, query: bytes, key: str, body: bytes, *, own: bool = False
    ) -> Call:
        """Enter a call; ``own`` pages of the simulator are not kept. For the server."""
        value = _decoded(body)
        canonical = msgspec.json.encode(value, order="sorted") if value is not None else body
        digest = hashlib.sha256(b"\0".join((method.encode(), path.encode(), query, canonical)))
        model = value.get("model") if isinstance(value, dict) else None
        with self._lock:
            call = Call(
                number=len(self._calls) + 1,
                at=time.time(),
                method=method,
                path=path,
                fingerprint=digest.hexdigest()[:32],
                key_hash=hashlib.sha256(key.encode()).hexdigest()[:12] if key else "",
                model=model if isinstance(model, str) else None,
            )
            if not own:
                self._calls.append(call)
                self.in_flight += 1
                self.peak = max(self.peak, self.in_flight)
        return call

    def close(self, call: Call, *, own: bool = False) -> None:
        """Note that a call has been answered, or never will be; for the server."""
        if not own:
            with self._lock:
                self.in_flight -= 1
        if call.outcome == "open":
            call.outcome = "complete"

    def clear(self) -> None:
        """Forget all calls; those in flight stay counted as such."""
        with self._lock:
            self._calls.clear()
            self.peak = self.in_flight


def _decoded(body: bytes) -> Any:
    if not body.startswith((b"{", b"[")):
        return None
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None

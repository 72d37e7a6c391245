"""Putting streamed tool calls together, whatever a host leaves out.

Hosts drop ``index``, repeat ``id`` and ``name`` on every piece, give every call index 0, or give two
calls one id. Ids are opaque and stay as they are.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kimi_provider.client.messages import ToolCall

if TYPE_CHECKING:
    from kimi_provider.client.chunk import CallDelta


class OpenCall:
    """A call that is being streamed."""

    __slots__ = ("announced", "id", "index", "name", "pieces")

    def __init__(self, call_id: str | None, index: int | None) -> None:
        self.id = call_id
        self.index = index
        self.name = ""
        self.pieces: list[str] = []
        self.announced = False

    def complete(self) -> bool:
        """Whether the arguments so far are whole JSON."""
        text = "".join(self.pieces)
        if not text.rstrip().endswith("}"):
            return False
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
        return True


class CallAssembly:
    """The tool calls of one answer, in the order in which they began."""

    def __init__(self) -> None:
        self.calls: list[OpenCall] = []
        # Where the calls began that the last header-bearing delta opened: pieces that have neither
        # index nor id belong to them by position.
        self._batch = 0

    def add(self, deltas: list[CallDelta], *, whole: bool) -> list[tuple[int, str]]:
        """Take in the pieces of one delta; return for each its call's position and new arguments.

        :param whole: each piece is a call of its own (an answer that is not streamed).
        """
        before = len(self.calls)
        added = []
        for position, delta in enumerate(deltas):
            function = delta.function
            name = (function.name if function else None) or ""
            found = None if whole else self._find(delta, position, len(deltas), name)
            if found is None:
                found = len(self.calls)
                self.calls.append(OpenCall(delta.id or None, delta.index))
            call = self.calls[found]
            if call.id is None:
                call.id = delta.id or None
            if name and name != call.name:
                call.name += name
            piece = (function.arguments if function else None) or ""
            if piece:
                call.pieces.append(piece)
            added.append((found, piece))
        if len(self.calls) > before:
            self._batch = before
        return added

    def finished(self) -> tuple[ToolCall, ...]:
        """Return the calls; one without an id gets the model's native form."""
        return tuple(
            ToolCall(call.id or f"functions.{call.name}:{position}", call.name, "".join(call.pieces))
            for position, call in enumerate(self.calls)
        )

    def _find(self, delta: CallDelta, position: int, count: int, name: str) -> int | None:  # noqa: PLR0911 — one answer a rule
        """Return the call that ``delta`` goes on with, ``None`` where it begins one."""
        calls = self.calls
        if delta.index is not None:
            for found in range(len(calls) - 1, -1, -1):
                call = calls[found]
                if call.index == delta.index:
                    other = bool(delta.id and name and call.id and delta.id != call.id)
                    return None if other else found
            return None
        if delta.id:
            for found in range(len(calls) - 1, -1, -1):
                if calls[found].id == delta.id:
                    # Whoever repeats id and name on every piece may end with an empty one.
                    more = delta.function is not None and delta.function.arguments
                    return None if name and more and calls[found].complete() else found
            return None
        if name and (not calls or calls[-1].complete()):
            return None
        if not calls:
            return None
        found = self._batch + position if count > 1 else len(calls) - 1
        return found if found < len(calls) else None

r"""Server-sent events, from bytes to the JSON of each chunk.

Bytes are split at ``\n``, ``\r\n`` and ``\r`` only: ``aiter_lines`` of httpx also splits at U+2028,
which JSON may hold. What gateways do to streams is expected: two chunks glued together, an event
spread over several ``data:`` lines, ``NaN``, no ``[DONE]``, a last event without its blank line.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import msgspec

from kimi_provider.client.chunk import Chunk, lenient_chunk
from kimi_provider.exceptions import ResponseValidationError

_BOM = b"\xef\xbb\xbf"
_BLANK = " \t\r\n\x00"
_decode = msgspec.json.Decoder(Chunk).decode
_loads = json.JSONDecoder(parse_constant=lambda _: None).raw_decode

# An error is told in its place, so that what came before it in the same packet is not lost.
Event: TypeAlias = Chunk | dict[str, Any] | ResponseValidationError


class EventStream:
    """Turns packets of bytes into chunks.

    A ``dict`` is an error that the host sent as an event, a :class:`ResponseValidationError` an
    event that is no JSON.

    :param max_bytes: bound of one event, in bytes.
    """

    def __init__(self, max_bytes: int) -> None:
        self.done = False
        self.stray = bytearray()
        self.events = 0
        self._max_bytes = max_bytes
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._carriage_return = False
        self._first = True
        self._error = False

    def feed(self, packet: bytes) -> list[Event]:
        """Return the events that ``packet`` completes.

        :raises ResponseValidationError: for an event over the bound.
        """
        if self._carriage_return and packet:
            packet = packet.removeprefix(b"\n")
            self._carriage_return = False
        if b"\r" in packet:
            self._carriage_return = packet.endswith(b"\r")
            packet = packet.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = packet.split(b"\n")
        if len(lines) == 1:
            self._keep(lines[0])
            return []
        if self._rest:
            self._rest.append(lines[0])
            lines[0] = b"".join(self._rest)
            self._rest.clear()
            self._rest_size = 0
        last = lines.pop()
        if last:
            self._keep(last)
        return self._events(lines)

    def close(self) -> list[Event]:
        """Return what the end of the stream completes; half an event is a cut stream, not an error."""
        lines = [b"".join(self._rest)] if self._rest else []
        self._rest = []
        events = self._events(lines) + self._dispatch()
        return [event for event in events if not isinstance(event, ResponseValidationError)]

    def _keep(self, piece: bytes) -> None:
        self._rest.append(piece)
        self._rest_size += len(piece)
        self._check(self._rest_size)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            error = ResponseValidationError(
                f"One event of the stream is larger than {self._max_bytes} bytes; raise "
                "max_response_bytes if that is meant."
            )
            error.retryable = False
            raise error

    def _events(self, lines: list[bytes]) -> list[Event]:  # noqa: C901 — one pass, run for each line
        events: list[Event] = []
        for line in lines:
            if not line:
                if self._data or self._error:
                    events += self._dispatch()
                continue
            if self._first:
                self._first = False
                line = line.removeprefix(_BOM)  # noqa: PLW2901 — the mark is no part of the line
            if line.startswith(b"data:"):
                if not self._data and not self._error:
                    # Nearly every event is one line of one JSON object: decoded without waiting for
                    # the blank line, which also takes apart events that nothing separates.
                    try:
                        events.append(_decode(line[5:]))
                    except (msgspec.DecodeError, UnicodeDecodeError):
                        pass
                    else:
                        self.events += 1
                        continue
                self._data.append(line[5:])
                self._data_size += len(line)
                self._check(self._data_size)
            elif line.startswith(b"event:"):
                self._error = line[6:].strip() == b"error"
            elif not line.startswith((b":", b"id:", b"retry:")) and len(self.stray) < 1 << 16:
                # Some gateways answer an event stream with a bare error body.
                self.stray += line + b"\n"
        return events

    def _dispatch(self) -> list[Event]:
        lines, self._data, self._data_size = self._data, [], 0
        named_error, self._error = self._error, False
        text = b"\n".join(lines).decode("utf-8", "replace").strip(_BLANK)
        if not text:
            return []
        if named_error:
            self.events += 1
            return [_error_event(text)]
        events: list[Event] = []
        position = 0
        while position < len(text):
            rest = text[position:].lstrip(_BLANK)
            rest = rest.removeprefix("data:").lstrip(_BLANK)
            if not rest:
                break
            if rest.startswith("[DONE]"):
                self.done = True
                position = len(text) - len(rest) + len("[DONE]")
                continue
            try:
                value, length = _loads(rest)
            except (ValueError, RecursionError):
                damaged = (
                    "An event of the stream is no JSON; the connection or a gateway damaged it. A later "
                    "try helps."
                )
                return [*events, ResponseValidationError(damaged)]
            events.append(_event(value))
            self.events += 1
            position = len(text) - len(rest) + length
        return events


def _error_event(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    return value if isinstance(value, dict) and value.get("error") else {"error": value}


def _event(value: object) -> Event:
    if isinstance(value, dict):
        return lenient_chunk(value)
    return ResponseValidationError(
        "An event of the stream is no JSON object; the host breaks its protocol."
    )

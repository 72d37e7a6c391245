"""The parts of an answer that matter, as :mod:`msgspec` reads them from JSON.

Decoding into these costs a seventh of ``json.loads``. What does not fit them (a number where a text
belongs, arguments as an object) goes through :func:`lenient_chunk`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_THINKING = ("reasoning", "thinking")


class Function(msgspec.Struct):
    """Name and arguments of a tool call, or a piece of them."""

    name: str | None = None
    arguments: str | None = None


class CallDelta(msgspec.Struct):
    """A tool call, or a piece of one; hosts leave out ``index`` or ``id``."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct):
    """What a chunk adds to the answer, or the whole message; ``refusal`` is said instead of it."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: Any = None
    tool_calls: list[CallDelta] | None = None


class Choice(msgspec.Struct):
    """One of the answers; ``usage`` is where Moonshot puts it, ``error`` where OpenRouter does."""

    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


class Chunk(msgspec.Struct):
    """One event of a stream, or a whole answer; ``message`` and on are those of a bare error."""

    id: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    system_fingerprint: str | None = None
    error: Any = None
    message: Any = None
    type: Any = None
    code: Any = None


def lenient_chunk(value: dict[str, Any]) -> Chunk:
    """Read a chunk whose types are not those of the protocol; what makes no sense is left out."""
    choices = value.get("choices")
    return Chunk(
        id=_text(value.get("id")),
        model=_text(value.get("model")),
        choices=[_choice(item) for item in choices if isinstance(item, dict)]
        if isinstance(choices, list)
        else None,
        usage=_object(value.get("usage")),
        system_fingerprint=_text(value.get("system_fingerprint")),
        error=value.get("error"),
        message=value.get("message"),
        type=value.get("type"),
        code=value.get("code"),
    )


def _choice(value: dict[str, Any]) -> Choice:
    return Choice(
        index=_whole(value.get("index")),
        delta=_delta(value.get("delta")),
        message=_delta(value.get("message")),
        finish_reason=_text(value.get("finish_reason")),
        usage=_object(value.get("usage")),
        error=value.get("error"),
    )


def _delta(value: object) -> Delta | None:
    if not isinstance(value, dict):
        return None
    calls = value.get("tool_calls")
    return Delta(
        content=_parts(value.get("content")),
        refusal=_text(value.get("refusal")),
        reasoning_content=_parts(value.get("reasoning_content")),
        reasoning=_parts(value.get("reasoning")),
        reasoning_details=value.get("reasoning_details"),
        tool_calls=[_call(item) for item in calls if isinstance(item, dict)]
        if isinstance(calls, list)
        else None,
    )


def _call(value: dict[str, Any]) -> CallDelta:
    function = value.get("function")
    inner = None
    if isinstance(function, dict):
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        inner = Function(_text(function.get("name")), arguments)
    call_id = value.get("id")
    return CallDelta(_whole(value.get("index")), str(call_id) if call_id is not None else None, inner)


def _parts(value: object) -> str | None:
    """Join the list form of content (``[{"type": "text", "text": …}]``), but for thinking in it."""
    if isinstance(value, list):
        pieces = [
            item.get("text")
            for item in value
            if isinstance(item, dict) and item.get("type") not in _THINKING
        ]
        return "".join(piece for piece in pieces if isinstance(piece, str))
    return _text(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _object(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None

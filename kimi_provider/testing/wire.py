"""Puts an answer on the wire, in the shape of the recorded traffic: one body, or a stream of events."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.testing.answers import Answer, ToolRequest

FINGERPRINT = "fp_simulator"
_encode = msgspec.json.encode
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a host writes what the protocol leaves open.

    :param reasoning_key: key that carries reasoning, both ways.
    :param indexed: whether tool-call deltas carry their index.
    :param usage_in_choice: whether the finish event carries the usage, as Moonshot's does.
    :param null_content: whether a plain answer with tool calls has ``null`` for content, not ``""``.
    """

    reasoning_key: str = "reasoning_content"
    indexed: bool = True
    usage_in_choice: bool = True
    null_content: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all parts of one answer share."""

    model: str
    tool_offset: int
    usage: dict[str, Any]
    choices: int
    include_usage: bool
    dialect: Dialect

    def tool_id(self, position: int, tool: ToolRequest) -> str:
        """Return a call's id in the family's style; its counter runs over the conversation."""
        number = self.tool_offset + position
        if self.model.startswith("kimi-k3"):
            return f"{tool.name}_{number}"
        return f"functions.{tool.name}:{number}"


def body(answer: Answer, envelope: Envelope) -> bytes:
    """Return an answer as one JSON body."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.content}
    if answer.reasoning:
        message[envelope.dialect.reasoning_key] = answer.reasoning
    if answer.tools:
        if envelope.dialect.null_content and not answer.content:
            message["content"] = None
        message["tool_calls"] = [
            {
                "index": position,
                "id": envelope.tool_id(position, tool),
                "type": "function",
                "function": {"name": tool.name, "arguments": tool.arguments},
            }
            for position, tool in enumerate(answer.tools)
        ]
    return _encode(
        {
            "id": f"chatcmpl-{uuid.uuid4().hex[:24]}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": envelope.model,
            "choices": [
                {"index": index, "message": message, "finish_reason": answer.finish_reason}
                for index in range(envelope.choices)
            ],
            "usage": envelope.usage,
            "system_fingerprint": FINGERPRINT,
        }
    )


def events(answer: Answer, envelope: Envelope) -> Iterator[bytes]:
    """Yield an answer as server-sent events, in the order of the recorded streams."""
    opening = _encode(
        {
            "id": f"chatcmpl-{uuid.uuid4().hex[:24]}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": envelope.model,
        }
    )
    head = b"data: " + opening[:-1] + b',"choices":['
    tail = b'],"system_fingerprint":"' + FINGERPRINT.encode() + b'"'
    usage = b',"usage":' + _encode(envelope.usage)
    in_choice = usage if envelope.dialect.usage_in_choice else b""
    for index in range(envelope.choices):
        start = head + b'{"index":%d,"delta":' % index
        end = b',"finish_reason":null}' + tail + b"}\n\n"
        for delta in _deltas(answer, envelope):
            yield start + delta + end
        finish = b'{},"finish_reason":' + _encode(answer.finish_reason)
        yield start + finish + in_choice + b"}" + tail + b"}\n\n"
    if envelope.include_usage:
        yield head + tail + usage + b"}\n\n"
    yield DONE


def _deltas(answer: Answer, envelope: Envelope) -> Iterator[bytes]:
    yield b'{"role":"assistant","content":""}'
    if answer.reasoning:
        key = b'{"' + envelope.dialect.reasoning_key.encode() + b'":'
        for piece in _words(answer.reasoning, answer.words_per_event):
            yield key + _encode(piece) + b"}"
        yield key + b'""}'
    size = answer.slice_length
    for start in range(0, len(answer.content), size):
        yield b'{"content":' + _encode(answer.content[start : start + size]) + b"}"
    for position, tool in enumerate(answer.tools):
        index = {"index": position} if envelope.dialect.indexed else {}
        header = {
            **index,
            "id": envelope.tool_id(position, tool),
            "type": "function",
            "function": {"name": tool.name, "arguments": ""},
        }
        yield _encode({"tool_calls": [header]})
        for start in range(0, len(tool.arguments), size):
            arguments = {"arguments": tool.arguments[start : start + size]}
            yield _encode({"tool_calls": [{**index, "function": arguments}]})


def _words(text: str, count: int) -> list[str]:
    # White space before the first word has to survive too, so that the pieces join to the text.
    return re.findall(rf"(?:\s*\S+){{1,{count}}}|\s+", text)

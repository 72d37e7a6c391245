"""Messages as the protocol has them."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.client.messages import Message

LIST_KEY = "reasoning_details[]"
_NATIVE_ID = re.compile(r"functions\.[^:]+:\d+")


def wire_messages(
    messages: Sequence[Message],
    *,
    key: str | None,
    default_key: str,
    fill_reasoning: bool,
    native_ids: bool,
) -> list[dict[str, Any]]:
    """Return ``messages`` as JSON values.

    :param key: field for reasoning whatever field it came in, ``None`` for the one it came in.
    :param default_key: field where a message does not say.
    :param fill_reasoning: give tool-call messages that have no reasoning an empty one; a thinking
        Kimi answers 400 "reasoning_content is missing" without, and an empty text counts.
    :param native_ids: rewrite foreign tool-call ids to the model's ``functions.name:index``.
    """
    ids = _NativeIds() if native_ids else None
    wired = []
    for message in messages:
        if message.role == "assistant":
            if not (message.content or message.tool_calls or message.partial):
                # It says nothing, and Moonshot answers 400 "must not be empty".
                continue
            wired.append(_assistant(message, key, default_key, ids, fill=fill_reasoning))
            continue
        fields: dict[str, Any] = {"role": message.role, "content": message.content or ""}
        if message.tool_call_id is not None:
            fields["tool_call_id"] = ids.result(message.tool_call_id) if ids else message.tool_call_id
        if message.name is not None:
            fields["name"] = message.name
        wired.append(fields)
    return wired


def _assistant(
    message: Message, key: str | None, default_key: str, ids: _NativeIds | None, *, fill: bool
) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": "assistant"}
    # "text content is empty" is a 400 beside tool calls; the field has to go.
    if message.content or not message.tool_calls:
        fields["content"] = message.content or ""
    reasoning = message.reasoning
    if reasoning is None and fill and message.tool_calls:
        reasoning = ""
    if reasoning is not None:
        name = key or message.reasoning_key or default_key
        if name == LIST_KEY:
            fields["reasoning_details"] = [{"type": "reasoning.text", "text": reasoning}]
        else:
            fields[name] = reasoning
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": ids.call(call.id, call.name) if ids else call.id,
                "type": "function",
                # Hosts parse what comes back, and nothing at all is not JSON.
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
    if message.name is not None:
        fields["name"] = message.name
    if message.partial:
        fields["partial"] = True
    return fields


class _NativeIds:
    """Renames tool-call ids; the index runs over the whole conversation, as the model counts."""

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[str, deque[str]] = {}

    def call(self, call_id: str, name: str) -> str:
        native = call_id if _NATIVE_ID.fullmatch(call_id) else f"functions.{name}:{self._count}"
        self._count += 1
        self._open.setdefault(call_id, deque()).append(native)
        return native

    def result(self, call_id: str) -> str:
        """Two calls may share an id; their results come in the order of the calls."""
        waiting = self._open.get(call_id)
        return waiting.popleft() if waiting else call_id

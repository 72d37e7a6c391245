"""Refuses conversations as the real API would: roles, contents, tool calls and their results."""

from __future__ import annotations

from typing import Any

from kimi_provider.testing.refusal import RefusalError

_ROLES = ("system", "user", "assistant", "tool")
_KEYS = {
    "role", "content", "name", "partial", "tool_calls", "tool_call_id", "tools",
    "reasoning_content", "reasoning", "reasoning_details",
}  # fmt: skip
_PARTS = {"text": "text", "image_url": "image_url", "video_url": "video_url"}


def check_messages(messages: object, *, thinks: bool, reasoning_key: str) -> None:
    """Check a conversation.

    :param thinks: whether the model thinks, so that reasoning has to be sent back.
    :param reasoning_key: key under which reasoning has to be sent back; empty text is present.
    :raises RefusalError: with the text of the real API.
    """
    if not isinstance(messages, list) or not messages:
        raise RefusalError("Invalid request: messages must not be empty")
    pending: dict[str, None] = {}
    for index, message in enumerate(messages):
        _check_shape(message, index)
        role = message["role"]
        if role == "tool":
            _take_result(message, pending)
            continue
        _refuse_pending(pending)
        if role == "assistant" and message.get("tool_calls"):
            if thinks and not isinstance(message.get(reasoning_key), str):
                raise RefusalError(
                    "thinking is enabled but reasoning_content is missing in assistant tool call message"
                    f" at index {index}"
                )
            pending.update(dict.fromkeys(_check_calls(message["tool_calls"])))
        elif not message.get("content") and not message.get("tools"):
            raise RefusalError(
                f"Invalid request: the message at position {index} with role '{role}' must not be empty"
            )
        if message.get("partial") and (role != "assistant" or index != len(messages) - 1):
            raise RefusalError("Invalid request: partial is only allowed in the last assistant message")
    _refuse_pending(pending)


def texts(messages: list[dict[str, Any]], *roles: str) -> list[str]:
    """Return the text of each message of the given roles, in order."""
    return [text_of(message) for message in messages if message["role"] in roles]


def text_of(message: dict[str, Any]) -> str:
    """Return a message's text, its parts joined."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content)


def mentions_json(messages: list[dict[str, Any]]) -> bool:
    """Tell whether the prompt speaks of JSON, as ``json_object`` asks for."""
    return any("json" in text.lower() for text in texts(messages, *_ROLES))


def _check_shape(message: object, index: int) -> None:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise RefusalError(f"Invalid request: the message at position {index} has an invalid role")
    if unknown := sorted(set(message) - _KEYS):
        raise RefusalError(
            f"Invalid request: the message at position {index} has an unknown field: {unknown[0]}"
        )
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            _check_part(part, index)
    elif not isinstance(content, str | None):
        raise RefusalError(
            f"Invalid request: content of the message at position {index} must be text or parts"
        )
    if content == "" and (message.get("tool_calls") or message["role"] == "tool"):
        raise RefusalError("Invalid request: text content is empty")


def _check_part(part: object, index: int) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or kind not in _PARTS or _PARTS[kind] not in part:
        raise RefusalError(
            f"Invalid request: the message at position {index} has an invalid content part"
        )
    if kind == "text" and not part["text"]:
        raise RefusalError("Invalid request: text content is empty")


def _check_calls(calls: object) -> list[str]:
    if not isinstance(calls, list):
        raise RefusalError("Invalid request: tool_calls must be an array")
    ids: list[str] = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str) or not call["id"]:
            raise RefusalError("Invalid request: tool_calls must hold an id and a function")
        if not isinstance(function.get("name"), str) or not isinstance(function.get("arguments"), str):
            raise RefusalError(
                "Invalid request: tool_calls.function needs a name, and arguments as a JSON string"
            )
        if call["id"] in ids:
            raise RefusalError(f"Invalid request: tool_call_id {call['id']} is duplicated")
        ids.append(call["id"])
    return ids


def _take_result(message: dict[str, Any], pending: dict[str, None]) -> None:
    call_id = message.get("tool_call_id")
    if not call_id or call_id not in pending:
        raise RefusalError(f"Invalid request: tool_call_id {call_id or ''} is not found")
    del pending[call_id]


def _refuse_pending(pending: dict[str, None]) -> None:
    if pending:
        raise RefusalError(
            "Invalid request: an assistant message with 'tool_calls' must be followed by tool messages"
            " responding"
            " to each 'tool_call_id'. The following tool_call_ids did not have response messages:"
            f" {', '.join(pending)}"
        )

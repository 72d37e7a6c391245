"""Plausible token counts, and a prefix cache that is true to what was sent before."""

from __future__ import annotations

import math
from typing import Any

import msgspec

_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123)) + b" "
_DIGITS = b"0123456789"
_HIGH = bytes(range(128, 256))
MESSAGE_OVERHEAD = 4

# Moonshot caches prompts above this many tokens; shorter ones never report a hit.
CACHE_MINIMUM = 256
_BLOCK_BYTES = 512
_MAX_BLOCKS = 500_000


def count_tokens(text: str) -> int:
    """Estimate a text's tokens by class of character.

    Prose has about four letters a token, numbers and punctuation about two characters; other
    scripts about two bytes of UTF-8.
    """
    data = text.encode("utf-8", "replace")
    high = len(data) - len(data.translate(None, _HIGH))
    letters = len(data) - len(data.translate(None, _LETTERS))
    digits = len(data) - len(data.translate(None, _DIGITS))
    other = len(data) - high - letters - digits
    return math.ceil(letters / 4.2 + digits / 2.2 + other / 1.6 + high / 2.4)


def prompt_blob(body: dict[str, Any]) -> bytes:
    """Return what the model would read of a request, in the order in which a cache sees it."""
    return msgspec.json.encode([body.get("tools"), body.get("response_format"), body.get("messages")])


def count_prompt(body: dict[str, Any]) -> int:
    """Estimate the prompt tokens of a chat request: messages, tools and response schema."""
    messages = body.get("messages") or []
    total = sum(MESSAGE_OVERHEAD + _count_message(message) for message in messages)
    for extra in ("tools", "response_format"):
        if body.get(extra):
            total += count_tokens(msgspec.json.encode(body[extra]).decode())
    return total


def _count_message(message: dict[str, Any]) -> int:
    content = message.get("content") or ""
    text = content if isinstance(content, str) else msgspec.json.encode(content).decode()
    total = count_tokens(text)
    if reasoning := message.get("reasoning_content"):
        total += count_tokens(reasoning)
    if calls := message.get("tool_calls"):
        total += count_tokens(msgspec.json.encode(calls).decode())
    return total


class PromptCache:
    """Remembers prompts by blocks, so that a later prompt's common beginning is counted as cached."""

    def __init__(self) -> None:
        self._blocks: set[int] = set()

    def read_and_store(self, owner: str, blob: bytes, tokens: int) -> int:
        """Return how many of a prompt's tokens were cached, and remember the prompt.

        :param owner: what separates caches: the key's hash and the model.
        """
        if len(self._blocks) > _MAX_BLOCKS:
            self._blocks.clear()
        state, common, unbroken = hash(owner), 0, True
        for start in range(0, len(blob) - _BLOCK_BYTES + 1, _BLOCK_BYTES):
            state = hash((state, blob[start : start + _BLOCK_BYTES]))
            if unbroken and state in self._blocks:
                common += _BLOCK_BYTES
            else:
                unbroken = False
                self._blocks.add(state)
        cached = tokens * common // len(blob) if blob else 0
        return cached if cached > CACHE_MINIMUM else 0

    def clear(self) -> None:
        """Forget all prompts."""
        self._blocks.clear()

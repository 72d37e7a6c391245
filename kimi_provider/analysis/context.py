"""Keeping a long conversation within the model's window.

Moonshot's own practice, from cheap to dear: hide what old tools returned (the calls and the thinking
stay), then let the model sum up the older part, then leave it out. A cut never falls between a call
and its result. Each cut throws away the host's prefix cache, so they are few and large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kimi_provider.analysis.tokens import estimate_message
from kimi_provider.client.messages import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = "[The result of this older call was removed to save space. Call the tool again if needed.]"
SUMMARY_REQUEST = (
    "The conversation is about to outgrow your context window. Write notes from which you can go on "
    "without it: the task, what was found so far with the ids of figures, what was tried in vain, and "
    "what remains to be done. Do not call tools now."
)
_NOTES = "The older part of this conversation was replaced by your own notes on it:\n\n"
_LEFT_OUT = "The older part of this conversation was left out to save space. Go on from here."

# Kimi's own command line tools cut at these marks.
_FULL_SHARE = 0.85
_FREE_TOKENS = 50_000
_FREE_SHARE = 0.2

# Turns whose tool results stay when older ones are hidden.
_KEPT_TURNS = 3


def is_full(used: int, window: int | None, answer: int | None) -> bool:
    """Whether the next call needs room made first.

    :param used: tokens of all messages so far.
    :param window: tokens of the model's window; ``None`` where not known, which is never full.
    :param answer: tokens that the answer may take, where the caller insists on them.
    """
    if window is None:
        return False
    free = max(min(_FREE_TOKENS, int(window * _FREE_SHARE)), answer or 0)
    return used >= window * _FULL_SHARE or used + free >= window


def size_of(messages: Sequence[Message]) -> int:
    """Estimate the tokens of messages."""
    return sum(map(estimate_message, messages))


def hide_outputs(messages: Sequence[Message], kept_turns: int = _KEPT_TURNS) -> list[Message]:
    """Blank the results of tools, except those of the last turns."""
    turns = [i for i, message in enumerate(messages) if message.tool_calls]
    first_kept = turns[-kept_turns] if len(turns) >= kept_turns else 0
    return [
        msgspec.structs.replace(message, content=HIDDEN)
        if message.role == "tool" and i < first_kept and len(message.content or "") > len(HIDDEN)
        else message
        for i, message in enumerate(messages)
    ]


def has_older_part(messages: Sequence[Message], head: int) -> bool:
    """Whether there is anything between the question and the last turn."""
    return _last_answer(messages, head) > head


def with_notes(messages: Sequence[Message], head: int, notes: str | None) -> list[Message]:
    """Put notes in place of the older part; ``None`` leaves it out without any.

    :param head: how many messages are the question itself, which always stays. So does the last
        answer of the model with the results of its calls.
    """
    last = _last_answer(messages, head)
    if last <= head:
        return list(messages)
    text = _NOTES + notes if notes else _LEFT_OUT
    return [*messages[:head], Message.user(text), *messages[last:]]


def _last_answer(messages: Sequence[Message], head: int) -> int:
    return max((i for i, m in enumerate(messages) if m.role == "assistant"), default=head)

"""An answer of the simulated model, before it goes on the wire."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kimi_provider.testing.tokens import count_tokens

_REASONING = (
    "This is the simulator thinking, not Kimi. I answer from what the prompt holds, and nothing else."
)


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A call of a tool, as the model asks for it; ``arguments`` is text, which need not be JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says.

    :param finish: ``stop``, ``length`` or ``tool_calls``; ``""`` works it out.
    :param chunk_delay: seconds between events; ``None`` for the simulator's own pace.
    :param words_per_event: how much reasoning an event carries.
    :param slice_length: how many characters of text an event carries.
    """

    content: str = ""
    reasoning: str = _REASONING
    tools: tuple[ToolRequest, ...] = ()
    finish: str = ""
    chunk_delay: float | None = None
    words_per_event: int = 2
    slice_length: int = 16

    @property
    def finish_reason(self) -> str:
        """Why the answer ends."""
        return self.finish or ("tool_calls" if self.tools else "stop")

    def reasoning_tokens(self) -> int:
        """Count the tokens spent on thinking."""
        return count_tokens(self.reasoning)

    def completion_tokens(self) -> int:
        """Count all tokens of the answer."""
        calls = sum(count_tokens(tool.name) + count_tokens(tool.arguments) for tool in self.tools)
        return max(1, self.reasoning_tokens() + count_tokens(self.content) + calls)

    def shaped(self, *, thinks: bool, stops: tuple[str, ...], limit: int) -> Answer:
        """Return the answer as the request bounds it: no thinking, stop sequences, token limit."""
        answer = self if thinks else replace(self, reasoning="")
        for stop in stops:
            if stop and stop in answer.content:
                answer = replace(answer, content=answer.content.partition(stop)[0], tools=())
        return answer if answer.completion_tokens() <= limit else _cut(answer, limit)


def _cut(answer: Answer, limit: int) -> Answer:
    thinking = answer.reasoning_tokens()
    if thinking >= limit:
        kept = answer.reasoning[: len(answer.reasoning) * limit // thinking]
        return replace(answer, reasoning=kept, content="", tools=(), finish="length")
    left = limit - thinking
    text = count_tokens(answer.content)
    if text >= left:
        return replace(
            answer,
            content=answer.content[: len(answer.content) * left // text],
            tools=(),
            finish="length",
        )
    whole: list[ToolRequest] = []
    left -= text
    for tool in answer.tools:
        size = count_tokens(tool.name) + count_tokens(tool.arguments)
        if size > left:
            whole.append(replace(tool, arguments=tool.arguments[: len(tool.arguments) * left // size]))
            break
        whole.append(tool)
        left -= size
    return replace(answer, tools=tuple(whole), finish="length")


def usage(
    answer: Answer, prompt: int, cached: int, choices: int, *, cache_writes: bool
) -> dict[str, Any]:
    """Return the usage of a call, as the API reports it."""
    completion = answer.completion_tokens() * choices
    report: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens() * choices},
    }
    details = {}
    if cached:
        report["cached_tokens"] = cached
        details["cached_tokens"] = cached
    if cache_writes:
        details["cache_write_tokens"] = prompt - cached
    if details:
        report["prompt_tokens_details"] = details
    return report

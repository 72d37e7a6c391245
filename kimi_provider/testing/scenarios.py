"""Scripted behavior of the simulated model.

A scenario looks at nothing but the conversation it is sent, so a client that was killed and started
again meets the same continuation.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing.answers import Answer, ToolRequest
from kimi_provider.testing.brief import read_brief
from kimi_provider.testing.liar import LIES, tell_lies
from kimi_provider.testing.strict_messages import texts
from kimi_provider.testing.wire import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBER = re.compile(r"(\d+)$")
_SIGNED = "This is the simulator, not Kimi."
_PLANNING = (
    "This is the simulator thinking, not Kimi. The script asks for a call of a tool, so I make it."
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One script.

    :param kind: one of :data:`KINDS`.
    :param match: text that has to occur in the prompt for the script to apply; empty for always.
    :param options: what the kind takes.
    """

    kind: str
    match: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a script may look at."""

    body: dict[str, Any]
    step: int
    normal: Callable[[], Answer]

    @property
    def offers_tools(self) -> bool:
        return bool(self.body.get("tools")) and self.body.get("tool_choice") != "none"

    def call(self, tool: str | None, arguments: Any, step: int) -> ToolRequest:
        name = tool or self.body["tools"][0]["function"]["name"]
        chosen = (
            arguments[step % len(arguments)] if isinstance(arguments, list) and arguments else arguments
        )
        text = chosen if isinstance(chosen, str) else json.dumps(chosen or {}, ensure_ascii=False)
        return ToolRequest(name, text.replace("{step}", str(step)))

    def last(self, final: str | None) -> Answer:
        """Return the final answer: a function of the tool results in the conversation."""
        if self.body.get("response_format"):
            return self.normal()
        results = texts(self.body["messages"], "tool")
        digest = hashlib.sha256("\0".join(results).encode()).hexdigest()[:16]
        text = final or f"{_SIGNED} {{results}} tool results, digest {{digest}}."
        return Answer(content=text.replace("{results}", str(len(results))).replace("{digest}", digest))


def _tools(
    turn: _Turn, *, steps: int = 3, tool: str | None = None, arguments: Any = None, per_turn: int = 1,
    final: str | None = None,
) -> Answer:  # fmt: skip
    """Call tools for ``steps`` turns, ``per_turn`` calls each; ``{step}`` in arguments counts them."""
    if not turn.offers_tools or turn.step >= steps * per_turn:
        return turn.last(final)
    calls = tuple(turn.call(tool, arguments, turn.step + n) for n in range(per_turn))
    return Answer(reasoning=_PLANNING, tools=calls)


def _repeat(
    turn: _Turn,
    *,
    tool: str | None = None,
    arguments: Any = None,
    times: int | None = None,
    final: str | None = None,
) -> Answer:
    """Make the same call again and again, ``times`` or until no tools are offered."""
    if not turn.offers_tools or (times is not None and turn.step >= times):
        return turn.last(final)
    return Answer(reasoning=_PLANNING, tools=(turn.call(tool, arguments, 0),))


def _bad_arguments(
    turn: _Turn,
    *,
    tool: str | None = None,
    arguments: Any = None,
    bad: str = '{"sql": ',
    final: str | None = None,
) -> Answer:
    """Call with the text ``bad`` for arguments, then, told of the error, with good ones."""
    if not turn.offers_tools or turn.step > 1:
        return turn.last(final)
    return Answer(
        reasoning=_PLANNING, tools=(turn.call(tool, bad if turn.step == 0 else arguments, turn.step),)
    )


def _unknown_tool(
    turn: _Turn, *, unknown: str = "no_such_tool", tool: str | None = None, arguments: Any = None,
    final: str | None = None,
) -> Answer:  # fmt: skip
    """Call a tool that does not exist, then, told so, one that does."""
    if not turn.offers_tools or turn.step > 1:
        return turn.last(final)
    return Answer(
        reasoning=_PLANNING,
        tools=(turn.call(unknown if turn.step == 0 else tool, arguments, turn.step),),
    )


def _truncated_call(
    turn: _Turn, *, tool: str | None = None, arguments: Any = None, until_max_tokens: int | None = None,
    final: str | None = None,
) -> Answer:  # fmt: skip
    """Break off within a call (``length``), until the request allows ``until_max_tokens``."""
    if not turn.offers_tools or turn.step > 0:
        return turn.last(final)
    call = turn.call(tool, arguments, 0)
    if _allows(turn.body, until_max_tokens):
        return Answer(reasoning=_PLANNING, tools=(call,))
    half = ToolRequest(call.name, call.arguments[: len(call.arguments) // 2])
    return Answer(reasoning=_PLANNING, tools=(half,), finish="length")


def _leaked(
    turn: _Turn, *, tool: str | None = None, arguments: Any = None, place: str = "content",
    think: bool = False, finish: str = "stop", final: str | None = None,
) -> Answer:  # fmt: skip
    """Write a call as the model's own markers into ``content`` or ``reasoning``, as leaking hosts do."""
    if not turn.offers_tools or turn.step > 0 or texts(turn.body["messages"], "tool"):
        return turn.last(final)
    call = turn.call(tool, arguments, 0)
    markers = (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.{call.name}:0<|tool_call_argument_begin|>"
        f"{call.arguments}<|tool_call_end|><|tool_calls_section_end|>"
    )
    if place == "reasoning":
        return Answer(reasoning=_PLANNING + markers, finish=finish)
    if think:
        return Answer(content=f"<think>{_PLANNING}</think>{markers}", reasoning="", finish=finish)
    return Answer(content=markers, reasoning=_PLANNING, finish=finish)


def _think_tags(turn: _Turn) -> Answer:
    """Write the reasoning into the text between ``<think>`` tags, as hosts without a parser do."""
    answer = turn.normal()
    return Answer(
        content=f"<think>{answer.reasoning}</think>{answer.content}", reasoning="", tools=answer.tools
    )


def _empty(turn: _Turn, *, finish: str = "length", until_max_tokens: int | None = None) -> Answer:
    """Think, and answer nothing, until the request allows ``until_max_tokens``."""
    if _allows(turn.body, until_max_tokens):
        return turn.normal()
    return Answer(content="", finish=finish)


def _answers(turn: _Turn, *, answers: list[dict[str, Any]]) -> Answer:
    """Give these answers, one for each turn of the model; the last one again and again."""
    spoken = sum(message["role"] == "assistant" for message in turn.body["messages"])
    chosen = dict(answers[min(spoken, len(answers) - 1)])
    calls = tuple(ToolRequest(call["name"], call["arguments"]) for call in chosen.pop("tools", ()))
    return Answer(**chosen, tools=calls)


def _long(
    turn: _Turn,
    *,
    reasoning_events: int = 1000,
    content_events: int = 100,
    chunk_delay: float | None = None,
) -> Answer:
    """Stream so many events of reasoning and of text."""
    del turn
    return Answer(
        content="text " * content_events,
        reasoning=" thinking" * reasoning_events,
        chunk_delay=chunk_delay,
        words_per_event=1,
        slice_length=5,
    )


def _misfit(turn: _Turn, *, content: str = '{"unexpected": true}', once: bool = True) -> Answer:
    """Answer with a text that does not fit the schema; ``once``, so that the repair succeeds."""
    return turn.normal() if once and _repaired(turn.body) else Answer(content=content)


def _liar(
    turn: _Turn, *, seed: int = 0, kinds: tuple[str, ...] = LIES, lies: int = 1, once: bool = True
) -> Answer:
    """Put lies into the analysis; ``once``, so that the repair turn is honest."""
    honest = turn.normal()
    brief = read_brief("\n".join(texts(turn.body["messages"], "system", "user")))
    if brief is None or (once and _repaired(turn.body)):
        return honest
    lying = tell_lies(json.loads(honest.content), brief, seed=seed, kinds=tuple(kinds), lies=lies)
    return Answer(content=json.dumps(lying, ensure_ascii=False), reasoning=honest.reasoning)


_SCRIPTS: dict[str, Callable[..., Answer]] = {
    "tools": _tools,
    "repeat": _repeat,
    "bad_arguments": _bad_arguments,
    "unknown_tool": _unknown_tool,
    "truncated_call": _truncated_call,
    "leaked": _leaked,
    "think_tags": _think_tags,
    "empty": _empty,
    "answers": _answers,
    "long": _long,
    "misfit": _misfit,
    "liar": _liar,
}
KINDS = (*_SCRIPTS, "dialect")


class Scenarios:
    """The scripts in force; the latest that matches a conversation answers."""

    def __init__(self) -> None:
        self._scenarios: list[Scenario] = []
        self._lock = threading.Lock()
        self.dialect = Dialect()

    def add(self, kind: str, *, match: str = "", **options: Any) -> None:
        """Put a script in force; the functions of this module say what each kind takes.

        :param kind: one of :data:`KINDS`; ``dialect`` takes the fields of :class:`Dialect`.
        :param match: text that has to occur in the prompt for the script to apply.
        :raises ConfigurationError: if the kind or an option is not known.
        """
        if kind not in KINDS:
            raise ConfigurationError(
                f"Scenario {kind!r} is not known; choose one of {', '.join(KINDS)}."
            )
        try:
            if kind == "dialect":
                self.dialect = Dialect(**options)
                return
        except TypeError as error:
            raise ConfigurationError(f"Scenario {kind!r}: {error}.") from error
        if unknown := sorted(set(options) - set(inspect.signature(_SCRIPTS[kind]).parameters)):
            raise ConfigurationError(f"Scenario {kind!r} has no option {unknown[0]!r}.")
        with self._lock:
            self._scenarios.append(Scenario(kind, match, options))

    def clear(self) -> None:
        """Withdraw all scripts."""
        with self._lock:
            self._scenarios.clear()
        self.dialect = Dialect()

    def answer(self, body: dict[str, Any], normal: Callable[[], Answer]) -> Answer | None:
        """Return what the scripts make of a request, or ``None``; for the server."""
        with self._lock:
            scenarios = list(self._scenarios)
        if not scenarios:
            return None
        prompt = "\n".join(texts(body["messages"], "system", "user"))
        for scenario in reversed(scenarios):
            if scenario.match in prompt:
                turn = _Turn(body, calls_made(body), normal)
                return _SCRIPTS[scenario.kind](turn, **scenario.options)
        return None


def calls_made(body: dict[str, Any]) -> int:
    """Return how many tool calls the conversation has seen, those included that were cut from it.

    The ids count over the whole conversation, so the last one tells, whatever a client left out.
    """
    ids = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or ()]
    numbers = [int(found.group(1)) + 1 for one in ids if (found := _NUMBER.search(one))]
    return max([len(ids), *numbers])


def _allows(body: dict[str, Any], needed: int | None) -> bool:
    asked: int = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return needed is not None and asked >= needed


def _repaired(body: dict[str, Any]) -> bool:
    messages: list[dict[str, Any]] = body["messages"]
    return len([message for message in messages if message["role"] == "user"]) > 1

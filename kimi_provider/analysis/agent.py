"""The tool loop: the model thinks and calls tools until it answers, or a limit is met.

A run can be killed at any moment and started again with the same journal: it makes the same requests,
finds their answers and the results of tools there, and goes on at the first step that was not done. At
most the one call of the model and the tools that were under way at the kill are made again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from kimi_provider.analysis.context import size_of
from kimi_provider.analysis.dialogue import Dialogue
from kimi_provider.analysis.permissions import Policy
from kimi_provider.analysis.repeats import STOP, Repeats
from kimi_provider.analysis.telemetry import agent_span
from kimi_provider.analysis.toolbox import Answered, Toolbox
from kimi_provider.analysis.tools import ToolOutput, builtin_tool, failure
from kimi_provider.analysis.transcript import (
    ApprovalNeeded,
    ToolRecord,
    Transcript,
    pack_facts,
    save_transcript,
    unpack_facts,
)
from kimi_provider.client.messages import Message
from kimi_provider.exceptions import (
    BudgetExceededError,
    EmptyAnswerError,
    ToolLoopLimitError,
    TruncatedAnswerError,
)
from kimi_provider.schemas import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.permissions import Approval
    from kimi_provider.analysis.tools import Tool
    from kimi_provider.client.messages import ChatRequest, ChatResult, ToolCall
    from kimi_provider.schemas import Fact

# Bounds of the final answer, in tokens, where the budget does not allow the usual one.
_SMALLER_ANSWERS = (16_000, 4_000)


@dataclass(frozen=True)
class AgentLimits:
    """Bounds of one run. At the first one met, the model is asked for its answer without tools.

    :param max_steps: calls of the model that may ask for tools.
    :param max_tool_calls: calls of tools.
    :param max_tokens: prompt and answer tokens of this run, summed; the last call may pass it.
    :param max_cost_usd: cost of this run; the last call may pass it. The caller's budget never is.
    :param max_seconds: time after which no further step is begun, in this attempt.
    :param max_concurrent_tools: tools that run at the same time.
    """

    max_steps: int = 400
    max_tool_calls: int = 1_000
    max_tokens: int | None = None
    max_cost_usd: Decimal | float | None = None
    max_seconds: float | None = None
    max_concurrent_tools: int = 8


@dataclass(frozen=True)
class AgentResult:
    """The answer of a run.

    ``messages`` is the whole conversation, ready to be continued. ``usage`` is this run's alone, calls
    found in the journal included. ``facts`` are the figures that tools gave ids to. ``limit`` says
    which limit ended the run, ``None`` where the model finished by itself.
    """

    text: str
    answer: ChatResult
    messages: tuple[Message, ...]
    usage: Usage
    steps: int
    tool_calls: tuple[ToolRecord, ...]
    facts: tuple[Fact, ...]
    limit: str | None = None


async def run_agent(
    caller: Caller,
    request: ChatRequest,
    tools: Sequence[Tool],
    *,
    limits: AgentLimits | None = None,
    policy: Policy | None = None,
    approvals: Mapping[str, Approval] | None = None,
    resume: Transcript | None = None,
) -> AgentResult | ApprovalNeeded:
    """Let the model work with tools until it answers.

    :param caller: makes the calls; its journal is what a killed run resumes from.
    :param request: the question and the parameters of each call; its ``tool_choice`` is set here,
        and its ``tools`` but for the host's built-in ones.
    :param tools: what the model may call.
    :param limits: bounds of this run, within the caller's budget.
    :param policy: which calls are allowed, asked about or denied; else each tool's own setting.
    :param approvals: what persons decided, by :class:`ApprovalRequest`'s key. They are kept in the
        journal, so that a later attempt need not be told again.
    :param resume: where a run that waited for a person stood.
    :returns: the answer, or, if a person has to be asked first, what about.
    :raises ConfigurationError: if the tools do not fit together, or one asks without a journal.
    :raises BudgetExceededError: if not even the final answer fits the caller's budget.
    :raises ContextLengthError: if the question itself does not fit the window.
    :raises TruncatedAnswerError: if an answer stays cut off with more room too.
    :raises EmptyAnswerError: if an answer stays empty with more room too.
    :raises ToolLoopLimitError: if a limit was met and the model gave no answer then.
    :raises APIError: if a call fails.
    """
    limits = limits or AgentLimits()
    builtins = [builtin_tool(spec) for spec in request.tools if spec.builtin]
    toolbox = Toolbox(
        [*builtins, *tools],
        policy or Policy(),
        approvals or {},
        caller,
        max_concurrent=limits.max_concurrent_tools,
    )
    further = (spec for spec in request.tools if not spec.builtin)
    request = msgspec.structs.replace(request, tools=(*further, *toolbox.specs))
    name = caller.fingerprint(request)
    request = msgspec.structs.replace(request, cache_key=request.cache_key or name[:32])
    messages = list(request.messages)
    state = resume or Transcript(run=name, messages=messages, head=len(messages))
    with agent_span():
        return await _Run(caller, Dialogue(caller, request, state), toolbox, limits, state).go()


@dataclass
class _Run:
    """One run. All that decides its course lies in ``state``, so that it can be repeated."""

    caller: Caller
    dialogue: Dialogue
    toolbox: Toolbox
    limits: AgentLimits
    state: Transcript
    limit: str | None = None
    began: float = field(default_factory=time.monotonic)

    async def go(self) -> AgentResult | ApprovalNeeded:
        while True:
            if self.state.pending:
                waiting = await self._call_tools(self.state.pending)
                if waiting is not None:
                    return waiting
            self.limit = self.limit or self._limit_met()
            if self.limit is not None:
                return self._finished(await self._last_answer())
            try:
                answer = await self.dialogue.ask()
            except BudgetExceededError as error:
                self.limit = "the task's budget"
                return self._finished(await self._last_answer(error))
            self.state.steps += 1
            if not answer.tool_calls:
                return self._finished(answer)
            self.state.messages.append(answer.message)
            names = ", ".join(sorted({call.name for call in answer.tool_calls}))
            self.caller.on_progress(
                f"Step {self.state.steps}: {len(answer.tool_calls)} tool calls ({names})"
            )

    # --- tools ---

    async def _call_tools(self, calls: Sequence[ToolCall]) -> ApprovalNeeded | None:
        state = self.state
        repeats = Repeats(state, calls)
        left = self.limits.max_tool_calls - state.tool_calls
        if repeats.stop:
            self.limit = f"{STOP} identical tool calls"
            answered = self._unmade(calls, 0, "you have made it too often")
        else:
            answered, waiting = await self.toolbox.answer(
                calls[:left], run=state.run, first=state.tool_calls
            )
            if waiting:
                return await self._wait(waiting)
            if len(calls) > left:
                answered += self._unmade(calls[left:], left, "the limit of tool calls is reached")
        repeats.commit()
        results = [
            Message.tool(one.call.id, one.call.name, one.output.text + repeats.reminder(position))
            for position, one in enumerate(answered)
        ]
        state.messages += results
        state.tool_calls += len(calls)
        state.context_tokens += size_of(results)
        for one in answered:
            state.facts += pack_facts(one.output.facts)
            state.records.append(ToolRecord(one.number, one.call.name, one.decision, one.output.failed))
        return None

    def _unmade(self, calls: Sequence[ToolCall], offset: int, reason: str) -> list[Answered]:
        output: ToolOutput = failure(f"this call was not made: {reason}")
        first = self.state.tool_calls + offset
        return [Answered(first + i, call, output, "not made") for i, call in enumerate(calls)]

    async def _wait(self, waiting: Sequence[object]) -> ApprovalNeeded:
        journal = self.caller.journal
        assert journal is not None  # noqa: S101 — the toolbox refuses tools that ask without one
        path = journal.folder / f"transcript-{self.state.run[:16]}-{self.state.steps}.json"
        needed = ApprovalNeeded.model_validate(
            {
                "transcript_uri": await save_transcript(self.state, path),
                "requests": waiting,
                "usage": self.state.spent,
                "steps": self.state.steps,
            }
        )
        for request in needed.requests:
            self.caller.trace.add("approval", key=request.key, tool=request.tool, reason=request.reason)
        return needed

    # --- the end ---

    async def _last_answer(self, error: BudgetExceededError | None = None) -> ChatResult:
        """Ask for the answer without tools, now that a limit is met."""
        self.caller.on_progress(f"A limit is met ({self.limit}); asking for the answer")
        self.caller.trace.add("limit", limit=self.limit)
        self.state.messages.append(
            Message.user(
                f"A limit of this run is met: {self.limit}. No more tools can be called. Give your "
                "final answer now from what you have, and say plainly what is missing."
            )
        )
        for bound in (None, *_SMALLER_ANSWERS):
            try:
                return await self.dialogue.ask(final=True, bound=bound)
            except BudgetExceededError as refused:
                error = refused
            except (TruncatedAnswerError, EmptyAnswerError):
                raise ToolLoopLimitError(
                    f"The run met a limit ({self.limit}) after {self.state.steps} steps and "
                    f"{self.state.tool_calls} tool calls, and the model gave no answer when asked for "
                    "it. Raise the limit, or give it less to do."
                ) from None
        raise error or BudgetExceededError("The final answer does not fit the budget.")

    def _limit_met(self) -> str | None:
        """Name the limit that leaves room for no more than the final answer."""
        limits, spent, last = self.limits, self.state.spent, Usage.model_validate(self.state.last)
        # The next step and the final answer each take about what the last step took.
        tokens = spent.input_tokens + spent.output_tokens + 2 * (last.input_tokens + last.output_tokens)
        cost = (spent.cost_usd or Decimal(0)) + 2 * (last.cost_usd or Decimal(0))
        elapsed = time.monotonic() - self.began
        most_cost = None if limits.max_cost_usd is None else Decimal(str(limits.max_cost_usd))
        met = {
            f"{limits.max_steps} steps": self.state.steps >= limits.max_steps,
            f"{limits.max_tool_calls} tool calls": self.state.tool_calls >= limits.max_tool_calls,
            f"{limits.max_tokens} tokens": limits.max_tokens is not None and tokens > limits.max_tokens,
            f"{most_cost} USD": most_cost is not None and cost > most_cost,
            f"{limits.max_seconds} seconds": limits.max_seconds is not None
            and elapsed >= limits.max_seconds,
        }
        return next((name for name, is_met in met.items() if is_met), None)

    def _finished(self, answer: ChatResult) -> AgentResult:
        # A host that ignores tool_choice may ask for tools all the same; a call without a result
        # would make the conversation invalid.
        message = msgspec.structs.replace(answer.message, tool_calls=())
        return AgentResult(
            text=answer.text,
            answer=answer,
            messages=(*self.state.messages, message),
            usage=self.state.spent,
            steps=self.state.steps,
            tool_calls=tuple(self.state.records),
            facts=unpack_facts(self.state.facts),
            limit=self.limit,
        )

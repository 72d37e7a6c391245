"""Making the tool calls of one turn: permitted, from the journal where possible, at the same time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from kimi_provider.analysis.journal import fingerprint
from kimi_provider.analysis.permissions import Approval, Decision
from kimi_provider.analysis.telemetry import tool_span
from kimi_provider.analysis.tools import Invocation, ToolOutput, failure
from kimi_provider.analysis.transcript import ApprovalRequest, pack_facts, unpack_facts
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.permissions import Policy
    from kimi_provider.analysis.tools import Tool
    from kimi_provider.client.messages import ToolCall, ToolSpec

_RESULT, _APPROVAL = "tool", "approval"


@dataclass(frozen=True)
class Answered:
    """A tool call and what came of it. ``decision`` is ``invalid`` where it could not be judged."""

    number: int
    call: ToolCall
    output: ToolOutput
    decision: str
    reason: str = ""


class Toolbox:
    """The tools of one run.

    :param tools: what the model may call; names must differ.
    :param policy: which calls are allowed, asked about or denied.
    :param approvals: what persons decided, by key.
    :param caller: whose journal and trace are used.
    :param max_concurrent: tools that run at the same time.
    :raises ConfigurationError: if two tools have one name, or a tool asks and there is no journal.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        policy: Policy,
        approvals: Mapping[str, Approval],
        caller: Caller,
        *,
        max_concurrent: int,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        if len(self._tools) < len(tools):
            names = sorted({t.name for t in tools if sum(o.name == t.name for o in tools) > 1})
            raise ConfigurationError(f"Several tools are named {names[0]!r}; give each its own name.")
        asks = [rule.decision for rule in policy.rules] + [tool.permission for tool in tools]
        if caller.journal is None and Decision.ASK in asks:
            raise ConfigurationError(
                "A tool asks a person, so the run may have to wait and go on later; that needs a "
                "journal. Give the run a folder in storage."
            )
        self._policy = policy
        self._approvals = approvals
        self._journal = caller.journal
        self._trace = caller.trace
        self._slots = asyncio.Semaphore(max_concurrent)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told, in a stable order, so that the host's prefix cache holds."""
        return tuple(tool.spec for tool in self._tools.values())

    async def answer(
        self, calls: Sequence[ToolCall], *, run: str, first: int
    ) -> tuple[list[Answered], list[ApprovalRequest]]:
        """Make the calls of one turn, as far as nobody has to be asked.

        :param run: names the run.
        :param first: how many calls the run made before.
        :returns: what was made, and what waits for a person.
        :raises BudgetExceededError: where a tool itself asks the model and may not.
        """
        made = await asyncio.gather(
            *(self._answer(call, run, first + i) for i, call in enumerate(calls)),
            return_exceptions=True,
        )
        answered: list[Answered] = []
        waiting: list[ApprovalRequest] = []
        for one in made:
            if isinstance(one, BaseException):
                raise one
            if isinstance(one, ApprovalRequest):
                waiting.append(one)
            else:
                answered.append(one)
                self._record(one)
        return answered, waiting

    async def _answer(self, call: ToolCall, run: str, number: int) -> Answered | ApprovalRequest:
        tool = self._tools.get(call.name)
        if tool is None:
            names = ", ".join(self._tools) or "none"
            output = failure(f"there is no tool {call.name[:64]!r}; there are: {names}")
            return Answered(number, call, output, "invalid")
        try:
            arguments = tool.parse(call.arguments)
        except ValueError as error:
            return Answered(number, call, failure(str(error)), "invalid")
        key = fingerprint([run, number, call.id, call.name, call.arguments])
        # Judged as the tool will see them, not as they were written: "5" may have become 5, and what
        # is left out takes its default.
        plain = _plain(arguments)
        verdict = self._policy.decide(tool.name, {**_plain(tool.defaults), **plain}, tool.permission)
        decision, reason = str(verdict.decision), verdict.reason
        if verdict.decision is Decision.DENY:
            output = failure(f"this call is not permitted ({reason}); go on without it")
            return Answered(number, call, output, decision, reason)
        if verdict.decision is Decision.ASK:
            approval = await self._approval(key)
            if approval is None:
                return ApprovalRequest(key=key, tool=tool.name, arguments=plain, reason=reason)
            reason = f"{reason}; by {approval.by or 'a person'}: {approval.note}".rstrip(": ")
            decision = "approved" if approval.approved else "refused"
            if not approval.approved:
                note = f": {approval.note}" if approval.note else ""
                output = failure(f"a person refused this call{note}; go on without it")
                return Answered(number, call, output, decision, reason)
        async with self._slots:
            with tool_span(call.name, call.id) as failed:
                output = await self._run(tool, Invocation(arguments, call.arguments, number), key)
                if output.failed:
                    failed("tool_error")
        return Answered(number, call, output, decision, reason)

    async def _approval(self, key: str) -> Approval | None:
        """Return the decision of a call; a new one is kept, so that a retry does not ask again."""
        given = self._approvals.get(key)
        if self._journal is None:
            return given
        if given is not None:
            content = {"approved": given.approved, "by": given.by, "note": given.note}
            await self._journal.put(_APPROVAL, key, content)
            return given
        kept = await self._journal.get(_APPROVAL, key)
        if kept is None or not isinstance(kept.get("approved"), bool):
            return None
        return Approval(kept["approved"], str(kept.get("by", "")), str(kept.get("note", "")))

    async def _run(self, tool: Tool, invocation: Invocation, key: str) -> ToolOutput:
        kept = await self._journal.get(_RESULT, key) if self._journal else None
        if kept is not None and (output := _unpacked(kept)) is not None:
            return output
        output = await tool.invoke(invocation)
        if self._journal is not None:
            facts = pack_facts(output.facts)
            content = {"text": output.text, "facts": facts, "failed": output.failed}
            await self._journal.put(_RESULT, key, content)
        return output

    def _record(self, one: Answered) -> None:
        self._trace.add(
            "tool",
            number=one.number,
            name=one.call.name,
            arguments=one.call.arguments,
            decision=one.decision,
            reason=one.reason,
            failed=one.output.failed,
            text=one.output.text,
        )


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = to_jsonable_python(arguments, fallback=str, inf_nan_mode="strings")
    return plain


def _unpacked(kept: dict[str, Any]) -> ToolOutput | None:
    """Read a result from the journal; one that this version cannot read is none."""
    try:
        return ToolOutput(str(kept["text"]), unpack_facts(kept["facts"]), bool(kept["failed"]))
    except (KeyError, TypeError, ValueError):
        return None


def canonical(call: ToolCall) -> str:
    """Name a call by tool and arguments, whatever the order and spacing of its JSON."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = call.arguments
    return fingerprint([call.name, arguments])

"""Ask the model for an analysis until what it says stands on the facts, or say why it does not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from kimi_provider.analysis.draft import NO_REMARK, REPAIR, REVISE, SCHEMA_NAME, AnalysisDraft
from kimi_provider.analysis.grounding import check
from kimi_provider.analysis.grounding_policy import GroundingPolicy, Policy
from kimi_provider.analysis.grounding_treatment import treated
from kimi_provider.analysis.tokens import TokenEstimator
from kimi_provider.client.messages import ChatRequest, ChatResult, Message
from kimi_provider.client.request import model_of
from kimi_provider.client.typed_answer import structured
from kimi_provider.exceptions import ModelOutputError, UngroundedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.grounding import Violation
    from kimi_provider.schemas import FactSheet, Grounding

MAX_GROUNDING_REPAIRS = 1


@dataclass
class Answering:
    """Gets one grounded answer from the model.

    :param caller: calls the model; its trace gets what was found in the answers.
    :param sheet: the facts that may be cited.
    :param period: name of the period, which may stand in the text.
    :param dates: the days that may be named.
    :param source: what the prompt is called in messages.
    :param on_progress: gets one line at a time about what is going on.
    :param policy: what each check leads to.
    :param entities: names that the text may hold beside those of the data and the prompt.
    """

    caller: Caller
    sheet: FactSheet
    period: str | None
    dates: Sequence[date]
    source: str
    on_progress: Callable[[str], None]
    policy: GroundingPolicy = field(default_factory=GroundingPolicy)
    entities: Sequence[str] = ()
    asked: list[ChatRequest] = field(default_factory=list)
    grounding: Grounding | None = None
    repairs: int = 0
    request_ids: list[str] = field(default_factory=list)
    said: tuple[Message, ...] = ()

    async def grounded(self, request: ChatRequest) -> tuple[AnalysisDraft, ChatResult]:
        """Ask until the answer holds nothing but what the facts do, or until the repairs are used up.

        What is still objected to then is dropped, marked or left, as the policy says; ``grounding``
        has what was found, ``repairs`` and ``request_ids`` how the answer came about.

        :raises UngroundedError: if a strict check objects after the repair too, and the policy says
            ``fail``, or nothing would be left of the answer.
        :raises ModelOutputError: if no answer can be read.
        """
        vocabulary = [
            # What the model said before proves nothing about what it says now.
            *(m.content or "" for m in request.messages if m.role != "assistant" or m not in self.said),
            *self.entities,
            *self.policy.names,
        ]
        earlier: list[Violation] = []
        for repairs_left in reversed(range(MAX_GROUNDING_REPAIRS + 1)):
            draft, result = await self._ask(request)
            self.request_ids += result.request_ids
            violations = await asyncio.to_thread(
                check,
                draft,
                self.sheet,
                period=self.period,
                dates=self.dates,
                vocabulary=vocabulary,
            )
            self._record(violations)
            fatal = [violation for violation in violations if self._is_strict(violation)]
            if not fatal or (not repairs_left and self.policy.on_failure == "drop"):
                self.said = (*request.messages, result.message)
                return await self._treated(draft, violations, earlier), result
            self.on_progress(
                f"The answer says {len(fatal)} things that the facts do not hold: {_summary(fatal)}"
                + ("; asking for a repair" if repairs_left else "")
            )
            if not repairs_left:
                break
            earlier += violations
            self.repairs += 1
            problems = "\n".join(f"- {violation}" for violation in violations)
            self.caller.trace.add("repair", reason="grounding", violations=len(violations))
            repair = Message.user(REPAIR.format(problems=problems))
            request = msgspec.structs.replace(
                request, messages=(*request.messages, result.message, repair)
            )
        await self._forget()
        raise UngroundedError(
            f"The answer is not grounded in the facts after {MAX_GROUNDING_REPAIRS} repair: "
            f"{_summary(fatal)}. What it said is in the trace; run the task again, or ask for less "
            f"in {self.source}."
        )

    async def revised(self, request: ChatRequest, remark: str) -> tuple[AnalysisDraft, ChatResult]:
        """Ask for another version of the answer that :meth:`grounded` gave, in the same conversation.

        :param request: the one that the first answer was asked for by.
        :param remark: what a person wants otherwise. Names in it may be written; figures may not.
        :raises UngroundedError: as :meth:`grounded` does; the earlier answer stays in the journal.
        :raises ModelOutputError: if no answer can be read.
        """
        self.asked = []
        self.caller.trace.add("revision", remark=remark)
        wanted = Message.user(REVISE.format(remark=remark.strip() or NO_REMARK))
        return await self.grounded(msgspec.structs.replace(request, messages=(*self.said, wanted)))

    def _is_strict(self, violation: Violation) -> bool:
        return violation.fatal and self.policy.of(violation.kind.check) is Policy.STRICT

    async def _treated(
        self, draft: AnalysisDraft, violations: Sequence[Violation], earlier: Iterable[Violation]
    ) -> AnalysisDraft:
        """Return the answer as it goes on: without, or with a mark at, what is objected to."""
        still = {(violation.kind, violation.where, violation.excerpt) for violation in violations}
        repaired = [v for v in earlier if (v.kind, v.where, v.excerpt) not in still]
        try:
            kept = treated(draft, violations, self.sheet, self.policy, repaired=repaired)
        except UngroundedError:
            await self._forget()
            raise
        self.grounding = kept.grounding
        dropped = sum(issue.action == "dropped" for issue in kept.grounding.issues)
        if dropped:
            self.on_progress(f"Left out what the facts do not hold: {_summary(violations)}")
        return kept.draft

    def _record(self, violations: Iterable[Violation]) -> None:
        for violation in violations:
            self.caller.trace.add(
                "violation",
                violation=violation.kind.value,
                where=violation.where,
                excerpt=violation.excerpt,
                hint=violation.hint,
            )

    async def _ask(self, request: ChatRequest) -> tuple[AnalysisDraft, ChatResult]:
        model = model_of(request, self.caller.client.config)
        tokens = TokenEstimator().estimate(request)
        self.on_progress(f"Asking {model} (about {tokens:,} prompt tokens)")
        try:
            answer = await structured(
                self._complete,
                request,
                AnalysisDraft,
                native_schema=self.caller.client.native_schema(model),
                name=SCHEMA_NAME,
            )
        except ModelOutputError:
            await self._forget()
            raise
        result = answer.results[-1]
        self.on_progress(_answered(result, answer.value))
        return answer.value, result

    async def _complete(self, request: ChatRequest) -> ChatResult:
        self.asked.append(request)
        return await self.caller.complete(request)

    async def _forget(self) -> None:
        """Let a retry ask anew: it would else find in the journal what could not be used."""
        for request in self.asked:
            await self.caller.reject(request)


def _summary(violations: Iterable[Violation]) -> str:
    """Say what was found and where, without a word of the reply."""
    places: dict[str, list[str]] = {}
    for violation in violations:
        places.setdefault(violation.kind.value, []).append(violation.where)
    return "; ".join(f"{kind} in {', '.join(dict.fromkeys(where))}" for kind, where in places.items())


def _answered(result: ChatResult, draft: AnalysisDraft) -> str:
    usage = result.usage
    cost = "price unknown" if usage.cost_usd is None else f"{usage.cost_usd:.4f} USD"
    return (
        f"{result.model} answered with {len(draft.findings)} findings: {usage.input_tokens:,} tokens in,"
        f" {usage.output_tokens:,} out, of them {usage.reasoning_tokens:,} reasoning; {cost}"
    )

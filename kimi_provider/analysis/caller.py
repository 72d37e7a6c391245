"""The single door through which an analysis calls the model: paid once, within budget, on record."""

from __future__ import annotations

import logging
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.analysis.budget import Need, check_window
from kimi_provider.analysis.call_log import log_call, price_of
from kimi_provider.analysis.elsewhere import PendingCall
from kimi_provider.analysis.journal import fingerprint
from kimi_provider.analysis.progress import Progress
from kimi_provider.analysis.telemetry import call_span
from kimi_provider.analysis.tokens import TokenEstimator
from kimi_provider.client.messages import ChatResult
from kimi_provider.client.request import max_tokens, model_of
from kimi_provider.exceptions import APIError, InterruptedCallError
from kimi_provider.schemas import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kimi_provider.analysis.budget import Budget
    from kimi_provider.analysis.elsewhere import Elsewhere
    from kimi_provider.analysis.journal import Interruption, Journal
    from kimi_provider.analysis.telemetry import CallReport
    from kimi_provider.analysis.trace import Trace
    from kimi_provider.client.client import KimiClient
    from kimi_provider.client.messages import ChatRequest, Message

log = logging.getLogger(__name__)

_KIND = "call"

# From this share of the window on, the host's own count (where it has one) decides, not our estimate.
_CLOSE_TO_FULL = 0.8

# Below this a thinking model tends to answer nothing at all, in tokens (Moonshot's own advice).
_LEAST_ANSWER = 16_000

# What a call is taken to answer at most where no bound is sent, in tokens.
_ASSUMED_ANSWER = 32_768


def _ignore(_: object) -> None:
    """Take news that nobody wants."""


class Caller:
    """Calls the model on behalf of one task.

    :param client: an open client.
    :param budget: what the task may spend, over all its attempts.
    :param trace: gets each request (new messages only), reasoning, answer and usage.
    :param journal: what was already paid for; ``None`` pays anew at each attempt.
    :param on_progress: gets short sentences, and the end of what the model thinks; never of prompts
        or answers.
    :param repeat_interrupted: whether a call that was under way when an earlier process was killed is
        made again; it may have been billed.
    :param elsewhere: takes the calls that the journal does not have, where this process is not to
        wait for the model itself.
    :param on_call: gets a report of each call that was made, also of one that failed.

    For each call: journal look-up → window and budget check → client → journal → log and trace. The
    same request asked again in one run is a second question, and gets a second answer.
    """

    def __init__(
        self,
        client: KimiClient,
        *,
        budget: Budget,
        trace: Trace,
        journal: Journal | None = None,
        on_progress: Callable[[str], None] = _ignore,
        repeat_interrupted: bool = True,
        elsewhere: Elsewhere | None = None,
        on_call: Callable[[CallReport], None] = _ignore,
    ) -> None:
        self.client = client
        self.budget = budget
        self.trace = trace
        self.journal = journal
        self.on_progress = on_progress
        self._estimator = TokenEstimator()
        self._asked: defaultdict[str, set[int]] = defaultdict(set)
        self._without_window: set[str] = set()
        self._shown: set[Message] = set()
        self._counted = journal is None
        self._repeat_interrupted = repeat_interrupted
        self._elsewhere = elsewhere
        self._on_call = on_call
        self._active = 0

    @property
    def usage(self) -> Usage:
        """Everything this task has spent, with what earlier attempts did."""
        return self.budget.spent

    async def complete(self, request: ChatRequest) -> ChatResult:
        """Answer a request from the journal, or by a call that fits the budget.

        :raises BudgetExceededError: if the call does not fit; it was not made.
        :raises InterruptedCallError: if an earlier process was killed in it, and it is not repeated.
        :raises JournalError: if the journal cannot be read.
        :raises APIError: if the call fails.
        :raises HandedOver: where it is to be made elsewhere.
        """
        await self._count_earlier_attempts()
        key = self.fingerprint(request)
        occurrence = self._claim(key)
        self._active += 1
        try:
            return await self._answer(request, key, occurrence)
        except BaseException:
            # The next try of the same request is the same question, not a second one.
            self._asked[key].discard(occurrence)
            raise
        finally:
            self._active -= 1

    @property
    def hands_over(self) -> bool:
        """Whether another process waits for the model."""
        return self._elsewhere is not None

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Say that a call is about to be asked for, so that it is handed over with the others."""
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    async def make(self, call: PendingCall) -> ChatResult:
        """Make a call that was handed over, unless it has been made meanwhile; see :meth:`complete`."""
        await self._count_earlier_attempts()
        return await self._answer(call.request, self.fingerprint(call.request), call.occurrence)

    async def reject(self, request: ChatRequest) -> None:
        """Say that the last answer to this request cannot be used, so that a retry asks anew.

        What it cost stays counted. Without this a retry would find the unusable answer again.
        """
        key = self.fingerprint(request)
        if self._asked[key]:
            last = max(self._asked[key])
            self._asked[key].discard(last)
            if self.journal is not None:
                await self.journal.reject(_KIND, key, last)

    def fingerprint(self, request: ChatRequest) -> str:
        """Name what is asked: messages, model, parameters, tools, schema; no key, no time-out."""
        config = self.client.config
        asked = msgspec.to_builtins(request)
        for field in ("stream", "cache_key"):
            asked.pop(field, None)
        asked["model"] = model_of(request, config)
        for field in ("max_tokens", "temperature", "thinking", "effort"):
            asked.setdefault(field, getattr(config, field))
        return fingerprint(asked)

    async def _count_earlier_attempts(self) -> None:
        if self._counted or self.journal is None:
            return
        self._counted = True
        earlier = await self.journal.spent()
        self.budget.add(earlier)
        for begun in await self.journal.interrupted():
            self.trace.add("interrupted", begun=begun)
        if earlier.calls:
            log.info(
                "The journal holds %d calls of earlier attempts, %s", earlier.calls, price_of(earlier)
            )

    def _claim(self, key: str) -> int:
        taken = self._asked[key]
        occurrence = next(number for number in range(len(taken) + 1) if number not in taken)
        taken.add(occurrence)
        return occurrence

    async def _answer(self, request: ChatRequest, key: str, occurrence: int) -> ChatResult:
        result = await self._stored(key, occurrence)
        if result is not None:
            self._estimator.observe(request, result.usage.input_tokens)
            self.trace.add("journal", call=key, occurrence=occurrence, found=True)
            self._record(request, key, result)
            return result
        if self._elsewhere is not None:
            await self._elsewhere.take(PendingCall(request, occurrence), key, lambda: self._active)
        fitted, need = await self._fit(request)
        with self.budget.reserve(need):
            result = await self._call(fitted, key, occurrence)
        self._estimator.observe(request, result.usage.input_tokens)
        self._record(request, key, result)
        return result

    async def _stored(self, key: str, occurrence: int) -> ChatResult | None:
        """Return the answer in the journal; one that this version cannot read is none."""
        stored = await self.journal.get(_KIND, key, occurrence) if self.journal else None
        if stored is None:
            return None
        try:
            return ChatResult.from_dict(stored["result"])
        except (KeyError, TypeError, ValueError):
            log.warning("The journal's answer to call %s is of another version and not used", key[:16])
            return None

    async def _call(self, request: ChatRequest, key: str, occurrence: int) -> ChatResult:
        """Make a call, marked in the journal from its beginning to its end."""
        if self.journal is None:
            result = await self._ask(request)
            self.budget.add(result.usage)
            return result
        interrupted = await self.journal.begin(_KIND, key, occurrence)
        if interrupted is not None:
            try:
                self._interrupted(key, interrupted)
            except InterruptedCallError:
                # It has been told; who clears the task wants the call.
                await self.journal.end(_KIND, key, occurrence)
                raise
        try:
            result = await self._ask(request)
        except Exception:
            await self.journal.end(_KIND, key, occurrence)
            raise
        self.budget.add(result.usage)
        content = {"result": result.as_dict(), "usage": result.usage.model_dump(mode="json")}
        await self.journal.put(_KIND, key, content, occurrence)
        await self.journal.end(_KIND, key, occurrence)
        return result

    async def _ask(self, request: ChatRequest) -> ChatResult:
        with call_span(request, self.client.config, self._ended) as answered:
            result = await self.client.complete(request, on_event=Progress(self.on_progress))
            answered(result)
        return result

    def _ended(self, report: CallReport) -> None:
        log_call(report, self.usage)
        self._on_call(report)

    def _interrupted(self, key: str, interrupted: Interruption) -> None:
        repeats = self._repeat_interrupted or interrupted.by_person
        self.budget.add(Usage(repeated_calls=1))
        self.trace.add("interrupted", call=key, begun=interrupted.begun, repeated=repeats)
        found = "A call was under way when its process was killed, and may have been billed"
        if not repeats:
            raise InterruptedCallError(
                f"{found}. on_restart is 'fail', so it is not made again: clear the task to make it, or"
                " set on_restart='resubmit'."
            )
        log.warning("%s; it is made again", found)

    async def _fit(self, request: ChatRequest) -> tuple[ChatRequest, Need]:
        """Return the request to send, and what it can take at most.

        Where the request leaves the answer's bound open, the model's default is lowered to what the
        window and the budget leave, as long as that is enough to think.
        """
        config = self.client.config
        model = model_of(request, config)
        window, price = config.profile(model).context_window, config.price(model)
        bound = max_tokens(request, config)
        answer = bound or _ASSUMED_ANSWER
        prompt = self._estimator.estimate(request)
        if window is None and model not in self._without_window:
            self._without_window.add(model)
            log.warning(
                "The window of model %s is not known, so that a call that does not fit it is made all "
                "the same; set models.%s.context_window in the connection's extra",
                model,
                model,
            )
        if window and prompt + answer > window * _CLOSE_TO_FULL:
            prompt = await self._host_estimate(request, prompt)
        if request.max_tokens is None:
            room = self.budget.room(prompt, price)
            if window:
                room = min(room, window - prompt)
            if min(answer, _LEAST_ANSWER) <= room < answer:
                answer = bound = int(room)
                request = msgspec.structs.replace(request, max_tokens=bound)
        cost = price.cost(Usage(input_tokens=prompt, output_tokens=answer)) if price else None
        need = Need(model, prompt, answer, cost)
        check_window(need, window)
        return request, need

    async def _host_estimate(self, request: ChatRequest, estimate: int) -> int:
        if not self.client.config.host.side_endpoints:
            return estimate
        try:
            return await self.client.estimate_tokens(request)
        except APIError:
            return estimate

    def _record(self, request: ChatRequest, key: str, result: ChatResult) -> None:
        """Put a call into the trace; messages that are there already are not repeated."""
        fresh: list[Any] = []
        for message in request.messages:
            if message not in self._shown:
                self._shown.add(message)
                fresh.append(msgspec.to_builtins(message))
        self._shown.add(result.message)
        self.trace.add(
            "request",
            call=key,
            model=model_of(request, self.client.config),
            messages=len(request.messages),
            new_messages=fresh,
            tools=[tool.name for tool in request.tools],
            max_tokens=request.max_tokens,
        )
        if result.reasoning:
            self.trace.add("reasoning", call=key, text=result.reasoning)
        self.trace.add(
            "answer",
            call=key,
            text=result.text,
            tool_calls=msgspec.to_builtins(result.tool_calls),
            finish_reason=result.finish_reason,
            model=result.model,
            request_ids=list(result.request_ids),
        )
        self.trace.add(
            "usage",
            call=key,
            **result.usage.model_dump(mode="json"),
            time_to_first_token=result.time_to_first_token,
            tokens_per_second=result.tokens_per_second,
        )

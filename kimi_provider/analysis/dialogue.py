"""The model's side of a tool loop: its next answer, whole, from a window kept from overflowing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from kimi_provider.analysis.context import (
    SUMMARY_REQUEST,
    has_older_part,
    hide_outputs,
    is_full,
    size_of,
    with_notes,
)
from kimi_provider.client.messages import Message
from kimi_provider.client.request import max_tokens, model_of
from kimi_provider.exceptions import (
    BudgetExceededError,
    ContextLengthError,
    EmptyAnswerError,
    ModelOutputError,
    TruncatedAnswerError,
)

if TYPE_CHECKING:
    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.transcript import Transcript
    from kimi_provider.client.messages import ChatRequest, ChatResult

# What an answer is taken to be bounded by where nothing is sent, in tokens.
_ASSUMED_ANSWER = 32_768

# Tries of one step whose answer was cut off or empty, each with twice the room.
_MAX_TRIES = 3

# Cuts of one step whose prompt the host found too long.
_MAX_CUTS = 3

# A cut that frees less than this share is none; after one that leaves more than the other, the next
# would follow within a few steps, so notes are taken at once.
_LEAST_CUT = 0.05
_STILL_FULL = 0.6


@dataclass
class Dialogue:
    """Asks the model for the next answer to a transcript.

    :param caller: makes the calls.
    :param request: the parameters of each call; its messages are replaced by the transcript's.
    :param state: the transcript; its messages are cut here, and what calls take is counted there.
    """

    caller: Caller
    request: ChatRequest
    state: Transcript

    async def ask(self, *, final: bool = False, bound: int | None = None) -> ChatResult:
        """Return the next answer, making room in the window before, or when the host says so.

        :param final: ask for an answer without tools.
        :param bound: tokens that the answer may take; else the request's.
        :raises TruncatedAnswerError: if it stays cut off with more room too.
        :raises EmptyAnswerError: if it stays empty with more room too.
        :raises BudgetExceededError: if the call does not fit the budget.
        :raises ContextLengthError: if no cut makes it fit the window.
        """
        await self._make_room()
        for _ in range(_MAX_CUTS):
            try:
                return await self._usable(self._next_request(final=final, bound=bound), final=final)
            except ContextLengthError:
                if not await self._cut():
                    raise
        return await self._usable(self._next_request(final=final, bound=bound), final=final)

    def _next_request(self, *, final: bool, bound: int | None = None) -> ChatRequest:
        return msgspec.structs.replace(
            self.request,
            messages=tuple(self.state.messages),
            # Changing the tools would throw away the host's prefix cache; the choice does not.
            tool_choice="none" if final and self.request.tools else self.request.tool_choice,
            max_tokens=bound or self.request.max_tokens,
        )

    async def _usable(self, request: ChatRequest, *, final: bool) -> ChatResult:
        """Ask until the answer is whole, with twice the room where it was cut off or left empty."""
        asked: list[ChatRequest] = []
        error: ModelOutputError | None = None
        while len(asked) < _MAX_TRIES:
            try:
                answer = await self.caller.complete(request)
            except BudgetExceededError:
                if error is None:
                    raise
                break
            asked.append(request)
            self._count(answer)
            # Nothing is executed of a cut answer: its last call may lack half of its arguments.
            error = _unusable(answer, final=final)
            if error is None:
                return answer
            self.caller.trace.add("retry", reason=type(error).__name__)
            larger = self._with_more_room(request, answer)
            if larger is None:
                break
            request = larger
        for one in reversed(asked):
            await self.caller.reject(one)
        raise error or EmptyAnswerError("The model gave no answer.")

    def _with_more_room(self, request: ChatRequest, answer: ChatResult) -> ChatRequest | None:
        if answer.finish_reason in {None, "abort"}:
            return request  # the stream was cut; more room would not have helped
        if answer.finish_reason == "content_filter":
            return None
        config = self.caller.client.config
        profile = config.profile(model_of(request, config))
        bound = max_tokens(request, config) or _ASSUMED_ANSWER
        largest = profile.max_output_tokens or 2 * bound
        if profile.context_window:
            prompt = answer.usage.input_tokens or size_of(request.messages)
            largest = min(largest, profile.context_window - int(prompt * (1 + _LEAST_CUT)))
        larger = min(2 * bound, largest)
        return msgspec.structs.replace(request, max_tokens=larger) if larger > bound else None

    @property
    def _window(self) -> int | None:
        config = self.caller.client.config
        return config.profile(model_of(self.request, config)).context_window

    async def _make_room(self) -> None:
        window = self._window
        if not is_full(self.state.context_tokens, window, self.request.max_tokens):
            return
        self._replace(hide_outputs(self.state.messages))
        if window and self.state.context_tokens > window * _STILL_FULL:
            await self._take_notes()

    async def _cut(self) -> bool:
        """Shorten a conversation that the host found too long; ``False`` if that cannot be done."""
        before = size_of(self.state.messages)
        self._replace(hide_outputs(self.state.messages, kept_turns=1))
        if size_of(self.state.messages) > before * (1 - _LEAST_CUT):
            await self._take_notes()
        return size_of(self.state.messages) <= before * (1 - _LEAST_CUT)

    async def _take_notes(self) -> None:
        """Let the model sum up what is then left out; if that does not fit, leave it out without."""
        if not has_older_part(self.state.messages, self.state.head):
            return
        request = self._next_request(final=True)
        messages = (*request.messages, Message.user(SUMMARY_REQUEST))
        notes = None
        try:
            answer = await self.caller.complete(msgspec.structs.replace(request, messages=messages))
        except (ContextLengthError, BudgetExceededError):
            pass
        else:
            self.state.count(answer.usage)
            notes = answer.text.strip() or None
        self._replace(with_notes(self.state.messages, self.state.head, notes))

    def _replace(self, messages: list[Message]) -> None:
        freed = size_of(self.state.messages) - size_of(messages)
        if freed > 0:
            self.caller.trace.add("context", freed_tokens=freed, messages=len(messages))
            self.caller.on_progress(f"The context was cut by about {freed} tokens")
        self.state.messages = messages
        self.state.context_tokens = max(self.state.context_tokens - freed, 0)

    def _count(self, answer: ChatResult) -> None:
        self.state.count(answer.usage)
        reported = answer.usage.input_tokens + answer.usage.output_tokens
        self.state.context_tokens = reported or size_of([*self.state.messages, answer.message])


def _unusable(answer: ChatResult, *, final: bool) -> ModelOutputError | None:
    """Say what is wrong with an answer, ``None`` where nothing is."""
    if answer.truncated:
        return TruncatedAnswerError(
            f"The answer is not whole ({answer.cut_by}), after further tries with more room where the "
            "model allows it. Raise max_tokens, or ask for less."
        )
    if not answer.text.strip() and (final or not answer.tool_calls):
        return EmptyAnswerError(
            "The answer has neither text nor a tool call, after further tries with more room where the "
            "model allows it; usually the thinking used up max_tokens. Raise it."
        )
    return None

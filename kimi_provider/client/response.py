"""From chunks, or one whole answer, to a :class:`ChatResult`. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kimi_provider.client.calls import CallAssembly
from kimi_provider.client.healing import Healed, Holdback, heal
from kimi_provider.client.messages import (
    ChatResult,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from kimi_provider.client.usage import read_usage
from kimi_provider.client.wire import LIST_KEY
from kimi_provider.exceptions import ResponseValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from kimi_provider.client.chunk import Chunk, Delta
    from kimi_provider.client.models import Price


class Assembler:
    """Puts the pieces of one answer together.

    :param model: model id that was asked for, where the host does not say which answered.
    :param tools: names of the declared tools.
    :param leaks: whether the host may leak markers into the text.
    :param max_chars: bound of the text kept.
    :param emit: is told each piece as it comes; without it none is made.
    """

    def __init__(
        self,
        model: str,
        *,
        tools: Collection[str] = (),
        leaks: bool = False,
        max_chars: int = 64 << 20,
        emit: Callable[[StreamEvent], None] | None = None,
    ) -> None:
        self.started = False
        self.progressed = False
        self.finish_reason: str | None = None
        self.failure: Any = None
        self._model = model
        self._tools = frozenset(tools)
        self._leaks = leaks
        self._room = max_chars
        self._emit = emit
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._reasoning_key: str | None = None
        self._key_of_text = False
        self._calls = CallAssembly()
        self._usage: dict[str, Any] | None = None
        self._id: str | None = None
        self._index: int | None = None
        self._fingerprint: str | None = None
        self._hold = Holdback() if leaks and emit else None
        self._shown = 0

    def add(self, chunk: Chunk) -> None:  # noqa: C901, PLR0912 — one pass, run for each event
        """Take in one chunk; ``progressed`` is set if it had content, ``failure`` if that is an error.

        :raises ResponseValidationError: if the answer outgrows its bound.
        """
        if chunk.usage:
            self._keep_usage(chunk.usage)
        if not self._id:
            # The first chunk may hold nothing but what a filter of the gateway says.
            self._id = chunk.id
            self._model = chunk.model or self._model
        if chunk.system_fingerprint is not None:
            self._fingerprint = chunk.system_fingerprint
        choices = chunk.choices
        if not choices:
            return
        self.started = True
        choice = choices[0]
        if len(choices) > 1:
            choice = next((item for item in choices if not item.index), choice)
        if choice.index != self._index:
            if self._index is not None and choice.index is not None:
                return  # a piece of another answer, which nobody asked for
            self._index = choice.index
        delta = choice.delta or choice.message
        if delta is not None:
            if (
                delta.reasoning_content is not None
                or delta.reasoning is not None
                or delta.reasoning_details is not None
            ):
                self._add_reasoning(delta)
            text = delta.content or delta.refusal
            if text:
                self.progressed = True
                self._text.append(text)
                self._take(len(text))
                if self._emit is not None:
                    self._show(text)
            if delta.tool_calls:
                self._add_calls(delta, whole=choice.delta is None)
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
            self.failure = choice.error
            self.progressed = True
        if choice.usage:
            self._keep_usage(choice.usage)

    def result(
        self,
        *,
        request_ids: tuple[str, ...],
        price: Price | None,
        first_token: float | None = None,
        duration: float | None = None,
        attempts: int = 1,
    ) -> ChatResult:
        """Return what came.

        :param request_ids: ids from the answer's headers.
        :param price: what the model costs here, ``None`` where not known.
        :param first_token: seconds from the request to the first content.
        :param duration: seconds from the request to the end.
        :param attempts: how often the call was tried.
        :raises ResponseValidationError: if there was no answer at all, not even an empty one.
        """
        if not self.started:
            raise ResponseValidationError(
                "The host answered without a single choice; a later try may help.",
                request_ids=request_ids,
            )
        healed = self._healed()
        thought = Healed("", "", (), 0)
        reasoning = "".join(self._reasoning) if self._reasoning_key is not None else None
        if self._leaks and reasoning:
            thought = heal(reasoning, self._tools, thoughts=False)
            reasoning = thought.text
        if healed.thought:
            reasoning = (reasoning or "") + healed.thought
        leaked = healed.calls + thought.calls
        finish = self.finish_reason
        usage = read_usage(self._usage, price)
        elapsed = duration - first_token if duration is not None and first_token is not None else 0.0
        result = ChatResult(
            text=healed.text,
            reasoning=reasoning,
            reasoning_key=self._reasoning_key,
            tool_calls=self._calls.finished() + leaked,
            # The host did not see the calls, so its word for them is wrong; a cut answer stays cut.
            finish_reason="tool_calls" if leaked and finish == "stop" else finish,
            usage=usage,
            model=self._model,
            request_ids=(*request_ids, self._id) if self._id else request_ids,
            system_fingerprint=self._fingerprint,
            time_to_first_token=first_token,
            tokens_per_second=usage.output_tokens / elapsed
            if elapsed > 0 and usage.output_tokens
            else None,
            healed=healed.found + thought.found,
            attempts=attempts,
        )
        if self._emit is not None:
            self._show_rest(result, leaked=len(leaked))
            self._emit(Finished(result))
        return result

    def _keep_usage(self, usage: dict[str, Any]) -> None:
        """Take the last usage that says something: it comes in two places, and is never summed."""
        if self._usage is None or any(isinstance(n, (int, float)) and n > 0 for n in usage.values()):
            self._usage = usage

    def _healed(self) -> Healed:
        text = "".join(self._text)
        if not self._leaks:
            return Healed(text, "", (), 0)
        return heal(text, self._tools, thoughts=True, enveloped=self._reasoning_key is None)

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise too_large()

    def _add_reasoning(self, delta: Delta) -> None:
        """Take the first field that holds text; an empty one counts as present (kimi-code's rule)."""
        details = delta.reasoning_details
        listed = isinstance(details, list)
        key, text = None, None
        for name, value in (
            ("reasoning_content", delta.reasoning_content),
            (LIST_KEY, None) if listed else ("reasoning_details", details),
            ("reasoning", delta.reasoning),
        ):
            if isinstance(value, str) and (text is None or (value and not text)):
                key, text = name, value
        if not text and listed:
            pieces = [
                item.get("text") or item.get("summary") for item in details if isinstance(item, dict)
            ]
            joined = "".join(piece for piece in pieces if isinstance(piece, str))
            if joined or text is None:
                key, text = LIST_KEY, joined
        if key is None or text is None:
            return
        if self._reasoning_key is None or (text and not self._key_of_text):
            self._reasoning_key, self._key_of_text = key, bool(text)
        if text:
            self.progressed = True
            self._reasoning.append(text)
            self._take(len(text))
            if self._emit is not None:
                self._emit(ReasoningDelta(text))

    def _add_calls(self, delta: Delta, *, whole: bool) -> None:
        for index, piece in self._calls.add(delta.tool_calls or [], whole=whole):
            call = self._calls.calls[index]
            if piece or not call.announced:
                self.progressed = True
                self._take(len(piece) + len(call.name))
                if self._emit is not None:
                    self._emit(ToolCallDelta(index, call.id or "", call.name, piece))
            call.announced = True

    def _show(self, text: str) -> None:
        if self._emit is None:
            return
        if self._hold is not None:
            text = self._hold.feed(text)
        if text:
            self._shown += len(text)
            self._emit(TextDelta(text))

    def _show_rest(self, result: ChatResult, *, leaked: int) -> None:
        """Tell what was held back, now that it is known what of it is text."""
        if self._emit is None or self._hold is None:
            return
        if len(result.text) > self._shown and "".join(self._text).startswith(result.text[: self._shown]):
            self._emit(TextDelta(result.text[self._shown :]))
        first = len(result.tool_calls) - leaked
        for index, call in enumerate(result.tool_calls[first:], start=first):
            self._emit(ToolCallDelta(index, call.id, call.name, call.arguments))


def too_large() -> ResponseValidationError:
    """Return the error for an answer over its bound; another try would be as large."""
    error = ResponseValidationError(
        "The answer is larger than max_response_bytes; raise it if that is meant."
    )
    error.retryable = False
    return error

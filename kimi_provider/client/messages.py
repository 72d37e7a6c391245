"""What is asked of the model and what comes back: plain frozen values, no I/O.

The nouns are the field's (kosong, OpenAI's chat protocol). :mod:`msgspec` structs, because defining
one costs a thirtieth of a pydantic model and DAG files pay for every import.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 — msgspec resolves annotations at run time
from typing import Any, Literal, TypeAlias

import msgspec

from kimi_provider.schemas import Usage

# "max_tokens" and "model_length" are other protocols' words that gateways pass on; "abort" is vLLM's.
_CUT = frozenset({None, "length", "max_tokens", "model_length", "content_filter", "abort"})

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the model wants made.

    ``id`` is opaque and goes back verbatim. ``arguments`` is the JSON text as the model wrote it,
    which need not be valid JSON.
    """

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation.

    ``reasoning`` is the model's thinking, ``None`` where there was none; an empty string counts as
    present and goes back to the host too. ``reasoning_key`` is the field it came in (and returns
    in); ``reasoning_details[]`` stands for the list form of that field. ``partial`` marks an
    assistant message that the model shall continue.
    """

    role: Role
    content: str | None = None
    reasoning: str | None = None
    reasoning_key: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    partial: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """All that it says: text, thinking, and the arguments of its calls."""
        said = (self.content, self.reasoning, *(call.arguments for call in self.tool_calls))
        return tuple(text for text in said if text)

    @classmethod
    def system(cls, text: str) -> Message:
        """Make a system message."""
        return cls(role="system", content=text)

    @classmethod
    def user(cls, text: str) -> Message:
        """Make a user message."""
        return cls(role="user", content=text)

    @classmethod
    def assistant(
        cls,
        text: str | None = None,
        *,
        reasoning: str | None = None,
        reasoning_key: str | None = None,
        tool_calls: tuple[ToolCall, ...] = (),
        name: str | None = None,
        partial: bool = False,
    ) -> Message:
        """Make an assistant message, as the model sent it or as the start it shall continue."""
        return cls(
            role="assistant",
            content=text,
            reasoning=reasoning,
            reasoning_key=reasoning_key,
            tool_calls=tool_calls,
            name=name,
            partial=partial,
        )

    @classmethod
    def tool(cls, call_id: str, name: str, text: str) -> Message:
        """Make the result of a tool call."""
        return cls(role="tool", content=text, tool_call_id=call_id, name=name)


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool that the model may call; ``parameters`` is a JSON Schema, normalized when sent.

    A ``builtin`` tool (Moonshot's ``$web_search``) is sent by name alone.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    builtin: bool = False


class ResponseSchema(msgspec.Struct, frozen=True):
    """The schema that the answer shall have; sent as ``response_format: json_schema``."""

    name: str
    schema: dict[str, Any]


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of the model.

    ``model`` is a host's model id (``None``: the connection's). ``tool_choice`` is ``auto``,
    ``none`` or ``required``. ``max_tokens`` bounds reasoning and answer together (``None``: the
    connection's, else the family's default). ``thinking`` and ``effort`` (``low``, ``high``,
    ``max``) apply where the model has such a switch. ``cache_key`` is stable over calls that share
    a prefix. ``extra_body`` is merged into the body last, for what this class does not know.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    response_schema: ResponseSchema | None = None
    json_object: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    thinking: bool | None = None
    effort: str | None = None
    stop: tuple[str, ...] = ()
    cache_key: str | None = None
    stream: bool = True
    extra_body: Mapping[str, Any] = {}


class ChatResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the model answered, whole or cut.

    ``reasoning`` is ``None`` where the host sent none. ``finish_reason`` is the host's word, ``None``
    where the answer ended without one. ``usage`` counts one call. ``model`` is the id that the host
    answered with. Times are in seconds; ``tokens_per_second`` counts output from the first token
    on; both are ``None`` where the answer was not streamed. ``healed`` counts tool calls and
    thoughts that the host had leaked into the text, ``attempts`` how often the call was tried.
    """

    text: str
    reasoning: str | None = None
    reasoning_key: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None
    usage: Usage
    model: str
    request_ids: tuple[str, ...] = ()
    system_fingerprint: str | None = None
    time_to_first_token: float | None = None
    tokens_per_second: float | None = None
    healed: int = 0
    attempts: int = 1

    @property
    def truncated(self) -> bool:
        """Whether the answer ended before it was finished; its tool calls must not be run."""
        return self.finish_reason in _CUT

    @property
    def cut_by(self) -> str:
        """Why a truncated answer ended, in words."""
        if self.finish_reason is None:
            return "the stream broke off"
        if self.finish_reason == "content_filter":
            return "the host's content filter cut it"
        return "the host gave it up" if self.finish_reason == "abort" else "max_tokens was reached"

    @property
    def simulated(self) -> bool:
        """Whether no model wrote it: the simulator signs its answers by their fingerprint."""
        return self.system_fingerprint == "fp_simulator"

    @property
    def message(self) -> Message:
        """The assistant message to send back in the next request."""
        return Message.assistant(
            self.text,
            reasoning=self.reasoning,
            reasoning_key=self.reasoning_key,
            tool_calls=self.tool_calls,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values, for a journal."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        fields["usage"] = self.usage.model_dump(mode="json")
        fields["tool_calls"] = [msgspec.to_builtins(call) for call in self.tool_calls]
        fields["request_ids"] = list(self.request_ids)
        return fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChatResult:
        """Make a result from :meth:`as_dict`'s values.

        :raises ValueError: if the values are not those of a result (pydantic's and msgspec's
            validation errors are ``ValueError``).
        """
        usage = Usage.model_validate(data.get("usage"))
        return msgspec.convert(dict(data) | {"usage": usage}, cls)


class ReasoningDelta(msgspec.Struct, frozen=True):
    """A piece of the model's thinking."""

    text: str


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of the answer."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A piece of a tool call; ``index`` numbers the calls of this answer from 0."""

    index: int
    id: str
    name: str
    arguments: str


class Restarted(msgspec.Struct, frozen=True):
    """The call failed and starts anew: what was streamed so far is void. ``attempt`` is from 2."""

    attempt: int


class Finished(msgspec.Struct, frozen=True):
    """The answer is complete; ``result`` is what counts."""

    result: ChatResult


StreamEvent: TypeAlias = ReasoningDelta | TextDelta | ToolCallDelta | Restarted | Finished

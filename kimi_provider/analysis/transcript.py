"""Where an agent run stands: kept in storage while it waits for a person, and resumed from there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.client.messages import Message, ToolCall  # noqa: TC001 — msgspec resolves annotations at run time
from kimi_provider.exceptions import JournalError
from kimi_provider.schemas import Fact, Usage, Value
from kimi_provider.storage import read_bytes, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kimi_provider.storage import StoragePath


class ToolRecord(msgspec.Struct, frozen=True):
    """A tool call of the run: which, what was decided, and whether it gave an error."""

    number: int
    name: str
    decision: str
    failed: bool


class Transcript(msgspec.Struct, kw_only=True):
    """State of a run. The messages end with the answer whose tool calls are still to be made.

    ``run`` names what was asked at first, with the first ``head`` messages; ``tool_calls`` counts the
    calls that are answered; ``usage`` is what this run alone took, ``last`` what its last call did;
    ``context_tokens`` is how full the window is with all messages; ``seen`` and ``repeats`` tell of
    identical calls.
    """

    run: str
    messages: list[Message]
    head: int
    steps: int = 0
    tool_calls: int = 0
    usage: dict[str, Any] = msgspec.field(default_factory=dict)
    last: dict[str, Any] = msgspec.field(default_factory=dict)
    context_tokens: int = 0
    seen: set[str] = msgspec.field(default_factory=set)
    repeats: dict[str, int] = msgspec.field(default_factory=dict)
    records: list[ToolRecord] = msgspec.field(default_factory=list)
    facts: list[dict[str, Any]] = msgspec.field(default_factory=list)

    @property
    def spent(self) -> Usage:
        """What this run took."""
        return Usage.model_validate(self.usage)

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """The calls that have no result yet."""
        return self.messages[-1].tool_calls if self.messages else ()

    def count(self, usage: Usage) -> None:
        """Add what a call took."""
        self.usage = (self.spent + usage).model_dump(mode="json")
        self.last = usage.model_dump(mode="json")


class ApprovalRequest(Value):
    """A tool call that waits for a person.

    ``key`` is what the decision is given under; it names the call, its arguments and its place in
    the run. ``reason`` says why the policy asks.
    """

    key: str
    tool: str
    arguments: dict[str, Any]
    reason: str


class ApprovalNeeded(Value):
    """What a run returns instead of an answer when it waits for a person.

    Plain JSON by ``model_dump(mode="json")``, so that it can cross a deferral. The run goes on with
    ``resume=await load_transcript(path of transcript_uri)`` and the decisions by ``key``.
    """

    transcript_uri: str
    requests: tuple[ApprovalRequest, ...]
    usage: Usage
    steps: int


async def save_transcript(transcript: Transcript, path: StoragePath) -> str:
    """Write a transcript and return its URI.

    :raises JournalError: if the storage refuses; the run could not be resumed.
    """
    try:
        await asyncio.to_thread(write_bytes, path, msgspec.json.encode(transcript))
    except OSError as error:
        raise JournalError(
            f"The transcript {path.name} cannot be written ({type(error).__name__}), so nobody can be "
            "asked; check the storage and retry."
        ) from error
    return path.as_uri()


async def load_transcript(path: StoragePath) -> Transcript:
    """Read a transcript.

    :raises JournalError: if it is not there or not whole.
    """
    try:
        return msgspec.json.decode(await asyncio.to_thread(read_bytes, path), type=Transcript)
    except (OSError, msgspec.DecodeError) as error:
        raise JournalError(
            f"The transcript {path.name} cannot be read ({type(error).__name__}); run the task from "
            "its start: what is in the journal is not paid for again."
        ) from error


def pack_facts(facts: Iterable[Fact]) -> list[dict[str, Any]]:
    """Return facts as JSON, those of one query sharing their lineage."""
    packed: list[dict[str, Any]] = []
    for fact in facts:
        lineage = fact.lineage.model_dump(mode="json")
        row = fact.model_dump(mode="json", exclude={"lineage"}, exclude_defaults=True)
        if not packed or packed[-1]["lineage"] != lineage:
            packed.append({"lineage": lineage, "facts": []})
        packed[-1]["facts"].append(row)
    return packed


def unpack_facts(packed: Sequence[dict[str, Any]]) -> tuple[Fact, ...]:
    """Return the facts that :func:`pack_facts` was given."""
    return tuple(
        Fact.model_validate({**row, "lineage": group["lineage"]})
        for group in packed
        for row in group["facts"]
    )

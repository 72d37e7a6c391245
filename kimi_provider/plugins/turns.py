"""A trace as people read it: turns of the model, tool calls, queries, and what happened beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Entry = dict[str, Any]

_TURN = {"request", "reasoning", "answer", "usage"}
_BAD = {"error", "violation", "fallback", "interrupted", "limit", "no_data", "refused"}
_TITLES = {
    "prompt": "The prompt template was read",
    "facts": "The facts were computed",
    "strategy": "How the data reaches the model was chosen",
    "journal": "An earlier try had this answer already",
    "repair": "The model was asked to repair its answer",
    "violation": "The answer says what the facts do not hold",
    "retry": "The question was asked again",
    "interrupted": "A call was under way when its process was killed",
    "error": "The analysis failed",
    "fallback": "The facts alone stand in for the model's text",
    "connection": "The host answered",
    "explored": "The model has asked the data",
    "approval": "A person has to decide",
    "limit": "A limit ended the run",
    "context": "Old messages made room",
    "plan": "The text was cut into parts",
    "no_data": "There was nothing to write about",
}


@dataclass(frozen=True)
class Message:
    """One message that the model was sent."""

    role: str
    text: str


@dataclass(frozen=True)
class Item:
    """One thing of the timeline.

    :param kind: ``turn``, ``tool``, ``sql`` or ``note``.
    :param number: of a turn, from 1.
    :param notes: names and values, as they stand in the trace.
    :param seconds: how long a turn took, as far as the host's speed tells.
    """

    kind: Literal["turn", "tool", "sql", "note"]
    at: str
    title: str
    number: int = 0
    messages: tuple[Message, ...] = ()
    reasoning: str = ""
    text: str = ""
    tool_calls: tuple[tuple[str, str], ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    notes: tuple[tuple[str, str], ...] = ()
    bad: bool = False


@dataclass(frozen=True)
class Totals:
    """What all turns of a trace took."""

    turns: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: Decimal | None


def timeline(trace: object) -> tuple[Item, ...]:
    """Return what a trace tells, in order.

    :param trace: the JSON of a trace; whatever is not of its form is passed over or shown as it is.
    """
    entries = trace.get("entries") if isinstance(trace, dict) else None
    items: list[Item] = []
    turn: list[Entry] = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        kind = entry.get("kind")
        if turn and (kind not in _TURN or kind == "request"):
            items.append(_turn(turn, items))
            turn = []
        if kind in _TURN:
            turn.append(entry)
        else:
            items.append(_single(entry))
    return (*items, _turn(turn, items)) if turn else tuple(items)


def totals(items: Iterable[Item]) -> Totals:
    """Sum what the turns took; the cost is unknown where that of one is."""
    turns = [item for item in items if item.kind == "turn"]
    costs = [item.usage.get("cost_usd") for item in turns]
    known = [Decimal(str(cost)) for cost in costs if cost is not None]
    return Totals(
        turns=len(turns),
        input_tokens=sum(item.usage["input_tokens"] for item in turns),
        output_tokens=sum(item.usage["output_tokens"] for item in turns),
        reasoning_tokens=sum(item.usage["reasoning_tokens"] for item in turns),
        cost_usd=sum(known, Decimal(0)) if len(known) == len(costs) else None,
    )


def _turn(entries: list[Entry], before: list[Item]) -> Item:
    found = {str(entry.get("kind")): entry for entry in entries}
    request, answer = found.get("request", {}), found.get("answer", {})
    usage = _usage(found.get("usage", {}))
    number = 1 + sum(item.kind == "turn" for item in before)
    sent = request.get("new_messages")
    calls = answer.get("tool_calls")
    speed, first = _number(found.get("usage", {}).get("tokens_per_second")), usage["first_token"]
    told = first + usage["output_tokens"] / speed if first is not None and speed else None
    return Item(
        kind="turn",
        at=str(entries[0].get("at", "")),
        title=str(answer.get("model") or request.get("model") or "model"),
        number=number,
        messages=tuple(
            Message(str(one.get("role", "")), _text(one.get("content")))
            for one in (sent if isinstance(sent, list) else ())
            if isinstance(one, dict)
        ),
        reasoning=_text(found.get("reasoning", {}).get("text")),
        text=_readable(answer.get("text")),
        tool_calls=tuple(
            (str(one.get("name", "")), _readable(one.get("arguments")))
            for one in (calls if isinstance(calls, list) else ())
            if isinstance(one, dict)
        ),
        usage=usage,
        seconds=told,
        notes=_notes(answer, ("finish_reason", "request_ids")),
        bad=answer.get("finish_reason") == "length",
    )


def _single(entry: Entry) -> Item:
    kind, at = str(entry.get("kind", "")), str(entry.get("at", ""))
    if kind == "sql":
        metric = f"Query of {entry.get('metric', '')}"
        return Item(kind="sql", at=at, title=metric, text=_text(entry.get("sql")))
    if kind == "tool":
        return Item(
            kind="tool",
            at=at,
            title=str(entry.get("name", "")),
            tool_calls=((str(entry.get("name", "")), _arguments(entry.get("arguments"))),),
            text=_text(entry.get("text")),
            notes=_notes(entry, ("decision", "reason")),
            bad=bool(entry.get("failed")),
        )
    named = [name for name in entry if name not in {"at", "kind"}]
    title = _TITLES.get(kind, kind)
    return Item(kind="note", at=at, title=title, notes=_notes(entry, named), bad=kind in _BAD)


def _notes(entry: Entry, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    found = ((name, entry.get(name)) for name in names)
    return tuple((name.replace("_", " "), _readable(value)) for name, value in found if value)


def _arguments(value: object) -> str:
    """Print a tool's arguments; a query by itself, since that is what people look for."""
    try:
        given = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return _text(value)
    if isinstance(given, dict) and list(given) == ["sql"]:
        return _text(given["sql"])
    return _readable(value)


def _readable(value: object) -> str:
    """Print JSON over several lines, and anything else as it is."""
    if isinstance(value, str):
        if not value.startswith(("{", "[")):
            return value
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _text(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else _readable(value)


def _usage(entry: Entry) -> dict[str, Any]:
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")
    return {
        **{name: int(_number(entry.get(name)) or 0) for name in names},
        "cost_usd": _number(entry.get("cost_usd")),
        "first_token": _number(entry.get("time_to_first_token")),
    }


def _number(value: object) -> float | None:
    """Return a number that is not negative or endless, ``None`` for anything else."""
    fits = isinstance(value, int | float) and 0 <= value < float("inf")
    return value if fits else None  # type: ignore[return-value]  # checked above

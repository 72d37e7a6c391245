"""``airflow kimi trace``: what a task asked, thought, computed and paid, from its trace in storage."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kimi_provider.cli.console import command, note, show
from kimi_provider.cli.results import run_named, tasks_of
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.storage import instance_folder
from kimi_provider.storage import exists, read_text

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Mapping, Sequence

_FILE = "trace.json"
_CUT = 160
# What a table shows in columns of its own, or what only tools read.
_APART = {"at", "kind", "call", "new_messages", "request_ids", "cost_usd"}
_TEXTS = ("text", "sql", "message", "arguments")
_TOKENS = ("input_tokens", "output_tokens")


@command
def trace(args: Namespace) -> int:
    """Show a trace; see ``airflow kimi trace --help``."""
    run_id = run_named(args.dag_id, args.run_id)
    task_id, map_index = _task(args.dag_id, run_id, args.task_id, args.map_index)
    entries = _read(args.dag_id, run_id, task_id, map_index)["entries"]
    if args.output in {"json", "yaml"}:
        show(entries, args.output)
        return 0
    show(rows_of(entries, cut=None if args.full else _CUT), args.output)
    note(f"{args.dag_id} · {run_id} · {task_id}: {totals(entries)}")
    return 0


def rows_of(entries: Iterable[Mapping[str, Any]], *, cut: int | None) -> list[dict[str, Any]]:
    """Return a trace as rows of a table.

    :param entries: as :class:`kimi_provider.analysis.trace.Trace` writes them.
    :param cut: after how many characters a text is cut; ``None`` keeps it whole.
    :returns: ``turn`` counts the calls of the model; ``seconds`` have passed since the first entry.
    """
    rows: list[dict[str, Any]] = []
    turn, begun = 0, None
    for entry in entries:
        at = datetime.fromisoformat(entry["at"])
        begun = begun or at
        turn += entry["kind"] == "request"
        tokens = [entry[name] for name in _TOKENS if isinstance(entry.get(name), int)]
        cost = entry.get("cost_usd")
        rows.append(
            {
                "turn": turn or None,
                "seconds": f"{(at - begun).total_seconds():.1f}",
                "kind": entry["kind"],
                "what": _shortened(_what(entry), cut),
                "tokens": sum(tokens) if tokens else None,
                "usd": f"{cost:.5f}" if isinstance(cost, int | float) else None,
            }
        )
    return rows


def totals(entries: Sequence[Mapping[str, Any]]) -> str:
    """Say in a sentence what a trace comes to; calls that an earlier try has paid for are in it."""
    spent = [entry for entry in entries if entry["kind"] == "usage"]
    tokens = sum(int(entry.get(name) or 0) for entry in spent for name in _TOKENS)
    known = all(entry.get("cost_usd") is not None for entry in spent)
    cost = f"{sum(float(entry['cost_usd']) for entry in spent):.4f} US dollars" if known else None
    cut_off = sum(entry["kind"] == "interrupted" for entry in entries)
    more = f"; {cut_off} cut off by a killed process, at a cost not known" if cut_off else ""
    return f"{len(spent)} calls, {tokens:,} tokens, {cost or 'price unknown'}{more}"


def _what(entry: Mapping[str, Any]) -> str:
    """Say what an entry is about: its text where it has one, else all that it tells."""
    told = {
        name: value for name, value in entry.items() if name not in _APART and value not in (None, [])
    }
    if entry["kind"] == "request":
        told["messages"] = _asked(entry)
    if entry["kind"] == "answer" and entry.get("tool_calls"):
        told["tool_calls"] = ", ".join(
            f"{call.get('name')}({call.get('arguments')})" for call in entry["tool_calls"]
        )
    texts = [str(told.pop(name)) for name in _TEXTS if told.get(name)]
    rest = " ".join(f"{name}={value}" for name, value in told.items() if value != "")
    return " ".join(filter(None, (rest, *texts))) if texts else rest


def _asked(entry: Mapping[str, Any]) -> str:
    """Say how many messages went out, and what the last new one says."""
    fresh = entry.get("new_messages") or []
    last = fresh[-1] if fresh else {}
    text = last.get("content") or "" if isinstance(last, dict) else ""
    return f"{entry.get('messages')} ({len(fresh)} new, the last: {str(text)[-_CUT:]})"


def _shortened(text: str, cut: int | None) -> str:
    line = " ".join(text.split())
    return line if cut is None or len(line) <= cut else f"{line[: cut - 1]}…"


def _task(dag_id: str, run_id: str, task_id: str | None, map_index: int) -> tuple[str, int]:
    """Return the task asked for, or the only one of the run that has a trace."""
    if task_id is not None:
        return task_id, map_index
    traced = [
        (task, index)
        for task, index in tasks_of(dag_id, run_id)
        if exists(instance_folder(dag_id, run_id, task, index) / _FILE)
    ]
    if len(traced) == 1:
        return traced[0]
    named = ", ".join(task if index < 0 else f"{task} {index}" for task, index in traced)
    raise ConfigurationError(
        f"Several tasks of the run have a trace; name one: {named}."
        if traced
        else f"No task of {dag_id!r}, run {run_id!r}, has a trace in storage. It may have expired, or"
        " storage_path in the section kimi is not what the workers have."
    )


def _read(dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    file = instance_folder(dag_id, run_id, task_id, map_index) / _FILE
    try:
        told: dict[str, Any] = json.loads(read_text(file))
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no trace at {file.as_uri()}. Tasks that ask no model have none, and old ones"
            " expire; leave the task out to take the one that has one."
        ) from None
    except ValueError:
        raise ConfigurationError(f"The trace at {file.as_uri()} is damaged: it is no JSON.") from None
    return told

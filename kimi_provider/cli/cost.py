"""``airflow kimi cost``: what the model has cost, from what tasks have left in Airflow's database."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from kimi_provider.cli.console import command, note, show
from kimi_provider.cli.results import Returned, usages
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import Usage

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Sequence

_DAYS = 30
_BY = ("day", "dag", "model", "task")


@command
def cost(args: Namespace) -> int:
    """Show what was spent; see ``airflow kimi cost --help``."""
    last = _day("--until", args.until) or datetime.now(UTC).date()
    first = _day("--since", args.since) or last - timedelta(days=_DAYS - 1)
    if first > last:
        raise ConfigurationError(f"--since {first} is after --until {last}.")
    by = _columns(args.by)
    begin = datetime.combine(first, time(), UTC)
    end = datetime.combine(last + timedelta(days=1), time(), UTC)
    spent = list(usages(begin, end))
    show(summed(spent, by), args.output)
    if args.output == "table" and spent:
        total = sum((usage for _, _, usage in spent), Usage())
        note(f"{first} to {last}: {total.calls:,} calls, {_dollars(total)}{_repeated(total)}")
    return 0


def summed(spent: Iterable[tuple[Returned, str, Usage]], by: Sequence[str]) -> list[dict[str, Any]]:
    """Sum what tasks have taken.

    :param spent: where, by which model, and how much.
    :param by: the columns to sum by: any of ``day``, ``dag``, ``model`` and ``task``.
    :returns: a row for each group, in order; ``cost_usd`` is ``None`` where a price is not known, and
        does not hold what calls had taken whose process was killed (``repeated_calls``).
    """
    groups: defaultdict[tuple[str, ...], list[Usage]] = defaultdict(list)
    for place, model, usage in spent:
        names = {
            "day": place.at.astimezone(UTC).date().isoformat(),
            "dag": place.dag_id,
            "model": model,
            "task": place.task_id,
        }
        groups[tuple(names[column] for column in by)].append(usage)
    rows = []
    for key, parts in sorted(groups.items()):
        total = sum(parts, Usage())
        rows.append(
            {
                **dict(zip(by, key, strict=True)),
                "tasks": len(parts),
                "calls": total.calls,
                "input_tokens": total.input_tokens,
                "cached_tokens": total.cache_read_tokens,
                "output_tokens": total.output_tokens,
                "reasoning_tokens": total.reasoning_tokens,
                "repeated_calls": total.repeated_calls,
                "cost_usd": None if total.cost_usd is None else round(float(total.cost_usd), 6),
            }
        )
    return rows


def _dollars(usage: Usage) -> str:
    if usage.cost_usd is None:
        return "of which some have no known price (set it in the connection's extra)"
    return f"{usage.cost_usd:.4f} US dollars"


def _repeated(usage: Usage) -> str:
    count = usage.repeated_calls
    return f"; {count:,} cut off by a killed process, at a cost not known" if count else ""


def _columns(text: str) -> list[str]:
    columns = [column.strip() for column in text.split(",") if column.strip()]
    wrong = [column for column in columns if column not in _BY]
    if wrong or not columns:
        raise ConfigurationError(f"--by {text!r} must be any of {', '.join(_BY)}, with commas between.")
    return list(dict.fromkeys(columns))


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{option} must be a day such as 2026-11-30; got {text!r}.") from None

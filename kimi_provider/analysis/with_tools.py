"""Data too large for a prompt: the model asks it by SQL, and cites the cells of what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kimi_provider.analysis.agent import AgentLimits, AgentResult, run_agent
from kimi_provider.analysis.partial import csv_of
from kimi_provider.analysis.query_facts import QueryFacts
from kimi_provider.analysis.sanitize import fenced
from kimi_provider.analysis.sql_tool import sql_tool
from kimi_provider.analysis.tokens import estimate_tokens
from kimi_provider.client.messages import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.database import Database
    from kimi_provider.analysis.request import DatasetView
    from kimi_provider.client.messages import ChatRequest
    from kimi_provider.schemas import DatasetRef

LIMITS = AgentLimits(max_steps=24, max_tool_calls=60, max_concurrent_tools=2)
"""Enough to look at a dataset from all sides; a run that needs more has lost its question."""

MAX_ROWS = 30
"""Rows that one query gives back: enough to rank by, too few to list."""

_PROFILE_TOKENS = 2_000
"""What the profile of the columns takes of the prompt at most, of all datasets together."""

RULES = """\
Queries
- Beside the facts you may cite the cells of what the tool query_data gave you, by their ids, such as \
[[q0.r0.flights]]. A table of such a result may be drawn as a chart by its name, such as q0.
- The block <columns> is the profile of the datasets: their columns, types, and what is in them.
- Let SQL calculate and compare; the datasets can be joined.
"""
EXPLORE = (
    "First look at the data with the tool query_data: what the facts leave open, and what stands out. "
    "A few good queries are better than many. When you know enough, say so in one short sentence; do "
    "not write the report yet."
)
WRITE = "Now write the whole analysis, as the rules say, from the facts and the results of your queries."


async def explored(
    caller: Caller,
    request: ChatRequest,
    database: Database,
    datasets: Mapping[str, DatasetRef],
    *,
    period: str | None,
) -> tuple[ChatRequest, QueryFacts]:
    """Let the model query the data; return the request for its analysis, and what it may cite.

    :param request: the analysis as it would be asked for without tools.
    :param database: open over the datasets.
    :raises BudgetExceededError: if not even the last answer fits the budget.
    :raises ModelOutputError: if the model gives no answer.
    :raises APIError: if a call fails.
    """
    tool = sql_tool(database, datasets, max_rows=MAX_ROWS, period=period)
    *before, last = request.messages
    question = msgspec.structs.replace(last, content=f"{last.content}\n{EXPLORE}")
    asked = msgspec.structs.replace(request, messages=(*before, question))
    found = await run_agent(caller, asked, [tool], limits=LIMITS)
    assert isinstance(found, AgentResult)  # noqa: S101 — the tool is allowed, so nobody is asked
    caller.trace.add("explored", steps=found.steps, tool_calls=len(found.tool_calls), limit=found.limit)
    messages = (*found.messages, Message.user(WRITE))
    return msgspec.structs.replace(request, messages=messages), QueryFacts.of(found.facts)


def columns_block(views: Mapping[str, DatasetView]) -> str:
    """Return the profile of the datasets as a block of the prompt; no rows are in it.

    What a dataset is called, and how many rows it has, stands beside its first column alone. However
    many columns there are, the block stays bounded: the later ones are named only, and the last counted.
    """
    rows: list[Sequence[object]] = [
        ("dataset", "rows", "column", "type", "nulls", "distinct", "minimum", "maximum")
    ]
    notes = []
    for name, view in views.items():
        left = _PROFILE_TOKENS // len(views)
        for number, column in enumerate(view.columns):
            about = ("", "") if number else (name, view.rows)
            full = (*about, column.name, column.type, column.nulls, column.distinct, column.minimum,
                    column.maximum)  # fmt: skip
            row = full if left > _PROFILE_TOKENS // len(views) // 3 else full[:4]
            left -= estimate_tokens(csv_of([row]))
            if left < 0 and number:
                look = f"SELECT COLUMNS('a part of the name') FROM {name} LIMIT 1"  # noqa: S608
                more = len(view.columns) - number
                notes.append(f"[{name} has {more} further columns; {look} finds them.]\n")
                break
            rows.append(row)
    return "\n".join((fenced("columns", csv_of(rows)), *notes))

"""What the model has cost: by day, DAG and model, and how near tasks came to their budgets."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Response  # noqa: TID253 — only the API server loads this

from kimi_provider.plugins.access import READ, ReadableDags
from kimi_provider.plugins.pages import render
from kimi_provider.plugins.report_list import day
from kimi_provider.plugins.spending import Line, Spent, budgets, lines, spending, summary

router = APIRouter(dependencies=READ)

_DAYS = 30
_MOST_DAYS = 366
_DRAWN = 92  # bars that can be told apart


@router.get("/costs")
def costs(
    session: SessionDep, dag_ids: ReadableDags, first: str = "", last: str = "", dag_id: str = ""
) -> Response:
    """Show the costs of a time: by default the last 30 days."""
    until = (day(last) or datetime.now(UTC)).date()
    since = (day(first) or datetime.combine(until, datetime.min.time(), UTC)).date()
    if not day(first) or since > until or (until - since).days >= _MOST_DAYS:
        since = until - timedelta(days=_DAYS - 1)
    spent = spending(session, {dag_id} & dag_ids if dag_id else dag_ids, since, until)
    by_day = {line.name: line for line in lines(spent, _day, lambda line: line.name)}
    days = [(since + timedelta(days=n)).isoformat() for n in range((until - since).days + 1)]
    none = summary("", [])
    return render(
        "costs",
        first=since.isoformat(),
        last=until.isoformat(),
        dag_id=dag_id,
        total=summary("", (one.usage for one in spent)),
        days=[(name, by_day.get(name, none)) for name in days[-_DRAWN:]],
        by_dag=lines(spent, lambda one: one.dag_id, _dearest),
        by_model=lines(spent, lambda one: one.model, _dearest),
        budgets=budgets(session, spent),
    )


def _day(one: Spent) -> str:
    return one.at.astimezone(UTC).date().isoformat()


def _dearest(line: Line) -> tuple[Decimal, str]:
    return -line.cost, line.name

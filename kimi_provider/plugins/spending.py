"""What tasks have taken, as they left it in Airflow's database, and what they were allowed to take."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from pydantic import ValidationError
from sqlalchemy import and_, exists, null, select
from sqlalchemy.orm import aliased

from kimi_provider.hooks.usage import USAGE_KEY
from kimi_provider.schemas import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from sqlalchemy.orm import Session

_FIELDS = frozenset(Usage.model_fields)
_MOST_DAGS = 50  # whose budgets are looked up: each is read as a whole DAG


@dataclass(frozen=True)
class Spent:
    """What one task instance has taken, over all its tries."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    at: datetime
    model: str
    usage: Usage


@dataclass(frozen=True)
class Line:
    """A sum. ``cost`` is that of the calls with a known price; ``unpriced`` counts the others.

    What calls had taken whose process was killed, and of which there are ``repeated``, nobody knows.

    :param share: of the largest line's cost, from 0 to 1.
    """

    name: str
    tasks: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    unpriced: int
    repeated: int
    share: float = 0.0


@dataclass(frozen=True)
class Budget:
    """What a task may take in one run, and what its dearest run in the time has taken."""

    dag_id: str
    task_id: str
    limit: Decimal
    highest: Decimal
    runs: int

    @property
    def share(self) -> float:
        """How much of the budget the dearest run has used, 1 for all of it."""
        return float(self.highest / self.limit) if self.limit else 1.0


def spending(session: Session, dag_ids: Collection[str], first: date, last: date) -> list[Spent]:
    """Return what was taken in a time, each task instance once.

    :param dag_ids: the DAGs that the user may read.
    :param first: a day in UTC; ``last`` is the last one.
    """
    begin = datetime.combine(first, time(), UTC)
    end = datetime.combine(last + timedelta(days=1), time(), UTC)
    found = []
    # What a task has pushed also counts tries that failed; an analysis carries its own usage.
    for statement in (_pushed(), _analyses()):
        rows = session.execute(
            statement.where(
                XComModel.dag_id.in_(dag_ids), XComModel.timestamp >= begin, XComModel.timestamp < end
            )
        )
        for dag, run, task, index, at, model, value in rows:
            fields = _plain(value)
            usage = _usage(fields)
            if usage is not None:
                name = str(model or fields.get("model") or "unknown")
                found.append(Spent(dag, run, task, index, at, name, usage))
    return found


def lines(
    spent: Iterable[Spent], name: Callable[[Spent], str], order: Callable[[Line], Any]
) -> list[Line]:
    """Sum by a name."""
    groups: defaultdict[str, list[Usage]] = defaultdict(list)
    for one in spent:
        groups[name(one)].append(one.usage)
    summed = [summary(key, parts) for key, parts in groups.items()]
    most = max((line.cost for line in summed), default=Decimal(0)) or Decimal(1)
    scaled = [Line(**{**vars(line), "share": float(line.cost / most)}) for line in summed]
    return sorted(scaled, key=order)


def summary(name: str, parts: Iterable[Usage]) -> Line:
    """Sum what some tasks have taken."""
    used = list(parts)
    return Line(
        name=name,
        tasks=len(used),
        calls=sum(one.calls for one in used),
        input_tokens=sum(one.input_tokens for one in used),
        output_tokens=sum(one.output_tokens for one in used),
        cost=sum((one.cost_usd for one in used if one.cost_usd is not None), Decimal(0)),
        unpriced=sum(one.calls for one in used if one.cost_usd is None),
        repeated=sum(one.repeated_calls for one in used),
    )


def budgets(session: Session, spent: Iterable[Spent]) -> list[Budget]:
    """Return the budgets of tasks that have taken anything, the nearest to its end first.

    :param spent: what was taken; of its dearest DAGs the budgets are looked up.
    """
    by_task: defaultdict[tuple[str, str], list[Decimal]] = defaultdict(list)
    by_dag: defaultdict[str, Decimal] = defaultdict(Decimal)
    for one in spent:
        cost = one.usage.cost_usd or Decimal(0)
        by_task[one.dag_id, one.task_id].append(cost)
        by_dag[one.dag_id] += cost
    dearest = sorted(by_dag, key=lambda dag: -by_dag[dag])[:_MOST_DAGS]
    found = []
    for serialized in SerializedDagModel.get_latest_serialized_dags(dag_ids=dearest, session=session):
        for task_id, limit in _limits(serialized.data):
            costs = by_task.get((serialized.dag_id, task_id))
            if costs:
                found.append(Budget(serialized.dag_id, task_id, limit, max(costs), len(costs)))
    return sorted(found, key=lambda one: -one.share)


def _pushed() -> Any:
    return select(*_columns(XComModel), null(), XComModel.value).where(XComModel.key == USAGE_KEY)


def _analyses() -> Any:
    pushed = aliased(XComModel)
    told = exists().where(
        pushed.dag_run_id == XComModel.dag_run_id,
        pushed.task_id == XComModel.task_id,
        pushed.map_index == XComModel.map_index,
        pushed.key == USAGE_KEY,
    )
    return (
        select(*_columns(XComModel), XComModel.value["model"].as_string(), XComModel.value["usage"])
        .join(
            TaskInstance,
            and_(
                XComModel.dag_id == TaskInstance.dag_id,
                XComModel.run_id == TaskInstance.run_id,
                XComModel.task_id == TaskInstance.task_id,
                XComModel.map_index == TaskInstance.map_index,
            ),
        )
        .where(
            XComModel.key == XCOM_RETURN_KEY,
            TaskInstance.operator.in_(("KimiAnalyzeOperator", "KimiAgentOperator")),
            ~told,
        )
    )


def _columns(of: Any) -> tuple[Any, ...]:
    return (of.dag_id, of.run_id, of.task_id, of.map_index, of.timestamp)


def _plain(value: Any) -> dict[str, Any]:
    try:
        fields = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _usage(fields: dict[str, Any]) -> Usage | None:
    try:
        return (
            Usage.model_validate({n: v for n, v in fields.items() if n in _FIELDS}) if fields else None
        )
    except ValidationError:
        return None


def _limits(dag: Any) -> Iterator[tuple[str, Decimal]]:
    """Yield the budget of each task that has one, as far as it stands in the DAG as a number."""
    for task in (dag or {}).get("dag", {}).get("tasks", ()):
        fields = task.get("__var", {})
        fields = {**(fields.get("partial_kwargs") or {}), **fields}
        try:
            limit = Decimal(str(fields["max_cost_usd"]))
        except (InvalidOperation, KeyError):
            continue
        if limit.is_finite() and limit > 0:
            yield str(fields.get("task_id", "")), limit

"""What tasks have left in Airflow's database: their usage, their analyses, the runs they belong to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from airflow.utils.session import create_session
from pydantic import ValidationError
from sqlalchemy import String, cast, select

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.usage import USAGE_KEY
from kimi_provider.schemas import Analysis, Usage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime


@dataclass(frozen=True)
class Returned:
    """What a task instance has left under a key, and when; ``value`` is plain JSON."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    at: datetime
    value: Any


def usages(begin: datetime, end: datetime) -> Iterator[tuple[Returned, str, Usage]]:
    """Yield what each task instance has taken, with its model: once, whatever it has left of it.

    :param begin: from when on.
    :param end: until when, itself excluded.
    """
    counted = set()
    # What a task has pushed also counts attempts that failed; an analysis carries its own usage.
    for key, holding in ((USAGE_KEY, None), (XCOM_RETURN_KEY, "trace_uri")):
        for one in _left(key, holding=holding, begin=begin, end=end):
            place = (one.dag_id, one.run_id, one.task_id, one.map_index)
            value = one.value
            if place in counted or not isinstance(value, dict):
                continue
            usage = _usage(value if key == USAGE_KEY else value.get("usage"))
            if usage is None:
                continue  # another task's value under the same name
            counted.add(place)
            yield one, str(value.get("model") or ""), usage


def last_analysis(dag_id: str, task_ids: Collection[str] = ()) -> tuple[Returned, Analysis] | None:
    """Return the newest analysis that a DAG's tasks have returned, ``None`` where there is none.

    :param dag_id: the DAG.
    :param task_ids: whose it may be; empty means any task's.
    """
    for one in _left(XCOM_RETURN_KEY, holding="facts_uri", dag_id=dag_id, newest_first=True):
        if task_ids and one.task_id not in task_ids:
            continue
        try:
            return one, Analysis.model_validate(one.value)
        except ValidationError:
            continue
    return None


def run_named(dag_id: str, run_id: str) -> str:
    """Return a run's id, ``latest`` standing for the newest.

    :raises ConfigurationError: if there is no such run.
    """
    query = select(DagRun.run_id).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc())
    if run_id != "latest":
        query = query.where(DagRun.run_id == run_id)
    with create_session() as session:
        found = session.scalar(query.limit(1))
    if found is None:
        named = "no run" if run_id == "latest" else f"no run {run_id!r}"
        raise ConfigurationError(f"The DAG {dag_id!r} has {named}. See: airflow dags list-runs {dag_id}")
    return str(found)


def tasks_of(dag_id: str, run_id: str) -> list[tuple[str, int]]:
    """Return the task instances of a run: task and map index."""
    from airflow.models.taskinstance import TaskInstance

    query = select(TaskInstance.task_id, TaskInstance.map_index).where(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
    )
    with create_session() as session:
        return sorted((str(task), int(index)) for task, index in session.execute(query))


def _left(
    key: str,
    *,
    holding: str | None = None,
    dag_id: str | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
    newest_first: bool = False,
) -> Iterator[Returned]:
    """Yield what tasks have left under a key, oldest first where not told otherwise.

    :param holding: a word that the value has in it, so that the database leaves out the rest.
    """
    columns = (
        XComModel.dag_id,
        XComModel.run_id,
        XComModel.task_id,
        XComModel.map_index,
        XComModel.timestamp,
        XComModel.value,
    )
    order = XComModel.timestamp.desc() if newest_first else XComModel.timestamp
    query = select(*columns).where(XComModel.key == key).order_by(order)
    if holding:
        query = query.where(cast(XComModel.value, String).contains(holding))
    if dag_id is not None:
        query = query.where(XComModel.dag_id == dag_id)
    if begin is not None:
        query = query.where(XComModel.timestamp >= begin)
    if end is not None:
        query = query.where(XComModel.timestamp < end)
    with create_session() as session:
        for dag, run, task, map_index, at, value in session.execute(query):
            yield Returned(dag, run, task, map_index, at, _plain(value))


def _usage(fields: Any) -> Usage | None:
    if not isinstance(fields, dict):
        return None
    try:
        return Usage.model_validate({n: v for n, v in fields.items() if n in Usage.model_fields})
    except ValidationError:
        return None


def _plain(value: Any) -> Any:
    """Read a value as JSON only: Airflow's own decoder would make instances of what an XCom names."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None

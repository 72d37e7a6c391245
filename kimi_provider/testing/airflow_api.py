"""Airflow's REST API, as far as a report on pipelines reads it: runs and task instances of two weeks.

The shape is that of ``/api/v2`` of Airflow 3: ``dag_runs`` and ``task_instances`` with
``total_entries``, ``limit`` up to 100 and ``offset``, filtered by ``run_after_gte`` and
``run_after_lte``. The runs are made up, the same every time: five pipelines, hourly or daily, of which
one fails often on the eighth of February, one is slow then, and one is cured by retries.
"""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from kimi_provider.testing.exchange import Exchange

Row = dict[str, Any]

FIRST, LAST = datetime(2013, 1, 27, tzinfo=UTC), datetime(2013, 2, 8, tzinfo=UTC)
BAD_DAY = LAST.date()
MAX_LIMIT = 100
_DEFAULT_LIMIT = 50


class _Pipeline(NamedTuple):
    name: str
    hours: int
    tasks: tuple[str, ...]
    seconds: int
    failing: float = 0.02  # share of runs that fail, and on the bad day
    failing_badly: float = 0.02
    slower: float = 1.0  # on the bad day
    retried: float = 0.05


_PIPELINES = (
    _Pipeline("ingest_orders", 1, ("fetch", "check", "load"), 240, failing_badly=0.5),
    _Pipeline("ingest_clicks", 1, ("fetch", "load"), 90, retried=0.4),
    _Pipeline("build_marts", 6, ("stage", "build", "test", "publish"), 1500, slower=3.2),
    _Pipeline("train_model", 24, ("prepare", "train", "evaluate"), 5400),
    _Pipeline("send_reports", 24, ("render", "send"), 45),
)


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


@cache
def _history() -> tuple[list[Row], list[Row]]:
    rng = random.Random(20130208)  # noqa: S311 — repeatable on purpose
    runs: list[Row] = []
    tasks: list[Row] = []
    for pipeline in _PIPELINES:
        moment = FIRST
        while moment < LAST + timedelta(days=1):
            run, its_tasks = _run(pipeline, moment, rng)
            runs.append(run)
            tasks += its_tasks
            moment += timedelta(hours=pipeline.hours)
    order = sorted(range(len(runs)), key=lambda i: (runs[i]["run_after"], runs[i]["dag_id"]))
    return [runs[i] for i in order], sorted(tasks, key=lambda t: (t["run_after"], t["dag_id"]))


def _run(pipeline: _Pipeline, due: datetime, rng: random.Random) -> tuple[Row, list[Row]]:
    bad = due.date() == BAD_DAY
    fails = rng.random() < (pipeline.failing_badly if bad else pipeline.failing)
    at = rng.randrange(len(pipeline.tasks)) if fails else len(pipeline.tasks)
    begun = due + timedelta(seconds=rng.uniform(1, 6))
    moment, tasks = begun, []
    for position, name in enumerate(pipeline.tasks):
        took = pipeline.seconds / len(pipeline.tasks) * rng.uniform(0.7, 1.4)
        took *= pipeline.slower if bad else 1.0
        state = "success" if position < at else "failed" if position == at else "upstream_failed"
        tries = 3 if state == "failed" else 2 if rng.random() < pipeline.retried else 1
        tasks.append(
            _task(pipeline, due, rng, name=name, state=state, begun=moment, took=took, tries=tries)
        )
        if state != "upstream_failed":
            moment += timedelta(seconds=took)
    run: Row = {
        "dag_run_id": f"scheduled__{due.isoformat()}",
        "dag_id": pipeline.name,
        "logical_date": _stamp(due),
        "queued_at": _stamp(due + timedelta(seconds=0.4)),
        "start_date": _stamp(begun),
        "end_date": _stamp(moment),
        "duration": (moment - begun).total_seconds(),
        "data_interval_start": _stamp(due - timedelta(hours=pipeline.hours)),
        "data_interval_end": _stamp(due),
        "run_after": _stamp(due),
        "last_scheduling_decision": _stamp(moment),
        "run_type": "scheduled",
        "state": "failed" if fails else "success",
        "triggered_by": "timetable",
        "triggering_user_name": None,
        "conf": {},
        "note": None,
        "dag_versions": [],
        "bundle_version": None,
        "dag_display_name": pipeline.name,
        "partition_key": None,
        "partition_date": None,
    }
    return run, tasks


def _task(
    pipeline: _Pipeline,
    due: datetime,
    rng: random.Random,
    *,
    name: str,
    state: str,
    begun: datetime,
    took: float,
    tries: int,
) -> Row:
    ran = state != "upstream_failed"
    waited = timedelta(seconds=rng.uniform(0.2, 3))
    return {
        "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "task_id": name,
        "dag_id": pipeline.name,
        "dag_run_id": f"scheduled__{due.isoformat()}",
        "map_index": -1,
        "logical_date": _stamp(due),
        "run_after": _stamp(due),
        "start_date": _stamp(begun if ran else None),
        "end_date": _stamp(begun + timedelta(seconds=took) if ran else None),
        "duration": took if ran else None,
        "state": state,
        "try_number": tries if ran else 0,
        "max_tries": 2,
        "task_display_name": name,
        "dag_display_name": pipeline.name,
        "hostname": "worker-1" if ran else "",
        "unixname": "airflow",
        "pool": "default_pool",
        "pool_slots": 1,
        "queue": "default",
        "priority_weight": 1,
        "operator": "PythonOperator",
        "operator_name": "PythonOperator",
        "queued_when": _stamp(begun - waited if ran else None),
        "scheduled_when": _stamp(begun - waited if ran else None),
        "pid": 4000 + rng.randrange(900) if ran else None,
        "executor": None,
        "executor_config": "{}",
        "note": None,
        "rendered_map_index": None,
        "rendered_fields": {},
        "trigger": None,
        "triggerer_job": None,
        "dag_version": None,
    }


async def dag_runs(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /api/v2/dags/{dag_id}/dagRuns``; ``~`` stands for all."""
    return _page(exchange, "dag_runs", _history()[0])


async def task_instances(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances``; ``~`` stands for all."""
    return _page(exchange, "task_instances", _history()[1])


def _page(exchange: Exchange, name: str, rows: list[Row]) -> tuple[int, Any]:
    if exchange.bearer.startswith("wrong"):
        return 401, {"detail": "Invalid JWT token"}
    wanted, query = exchange.path_values, exchange.query
    try:
        limit = min(_whole(query, "limit", _DEFAULT_LIMIT), MAX_LIMIT)
        offset = _whole(query, "offset", 0)
        first = _moment(query.get("run_after_gte"), FIRST)
        last = _moment(query.get("run_after_lte"), LAST + timedelta(days=1))
    except ValueError as error:
        return 422, {"detail": [{"type": "parsing", "loc": ["query"], "msg": str(error)}]}
    chosen = [
        row
        for row in rows
        if all(value == "~" or row[key] == value for key, value in wanted.items())
        and first <= _moment(row["run_after"], first) <= last
    ]
    return 200, {name: chosen[offset : offset + limit], "total_entries": len(chosen)}


def _whole(query: dict[str, str], name: str, default: int) -> int:
    value = int(query.get(name, default))
    if value < 0:
        raise ValueError(f"{name} should be greater than or equal to 0")
    return value


def _moment(text: str | None, default: datetime) -> datetime:
    if not text:
        return default
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

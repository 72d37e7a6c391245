"""The index of reports: Airflow's own database, in the order of its runs, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from pydantic import BaseModel
from sqlalchemy import String, and_, cast, false, func, or_, select

from kimi_provider.plugins.places import Place, as_model
from kimi_provider.schemas import AlertResult, DeliveryStatus, ReportRef

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

PAGE = 50

_FIRST_RUNS, _MOST_AT_ONCE, _MOST_RUNS = 200, 5_000, 50_000

_REPORT, _ALERT = "ReportOperator", "AlertOperator"
_WORKING = ("queued", "running", "deferred", "up_for_retry", "up_for_reschedule", "restarting")
_FAILED = ("failed", "upstream_failed")
STATUSES = ("complete", "incomplete", "no data", "failed", "in progress")


@dataclass(frozen=True)
class Wanted:
    """Which reports are asked for.

    :param text: to be found in subject, period or DAG id, in any case.
    :param status: one of ``STATUSES``, or empty for any.
    :param dag_id: of one DAG, or empty for all.
    :param first: no run before this time.
    :param last: no run after this day.
    :param after: the cursor at which the page before ended, or empty.
    """

    text: str = ""
    status: str = ""
    dag_id: str = ""
    first: datetime | None = None
    last: datetime | None = None
    after: str = ""


@dataclass(frozen=True)
class Row:
    """A report, or a report task that has made none.

    :param run_number: the number that the database gives its run.
    :param recipients: how many mails of the run are in which state.
    """

    place: Place
    at: datetime
    status: str
    ref: ReportRef | None
    run_number: int
    recipients: dict[DeliveryStatus, int] = field(default_factory=dict)


class _Cursor(BaseModel):
    """Where a page ended: at a report, or, where ``task`` is ``None``, after all of a run."""

    at: datetime
    run: int
    task: str | None = None
    index: int = -1


def reports(session: Session, dag_ids: Collection[str], wanted: Wanted) -> tuple[list[Row], str]:
    """Return a page of reports, the latest run first, and the cursor of the next page if there is one.

    Runs are gone through from the latest on, some at a time: so a page costs the same whatever is
    stored behind it, and the database sorts no more than that. Where few runs have what is wanted, a
    page ends after 50,000 of them, with fewer reports.

    :param dag_ids: the DAGs that the user may read.
    """
    cursor = _Cursor.model_validate_json(wanted.after) if wanted.after else None
    found: list[Any] = []
    looked_at, size = 0, _FIRST_RUNS
    while True:
        runs = session.execute(_runs(dag_ids, wanted, cursor, bool(found) or looked_at > 0, size)).all()
        statement = _narrowed(_statement([run for run, _ in runs]), wanted)
        if not looked_at and cursor is not None:
            statement = statement.where(_after(cursor))
        found += session.execute(statement.limit(PAGE + 1 - len(found))).all() if runs else []
        looked_at += len(runs)
        ended = len(runs) < size
        if runs:
            last_run, last_at = runs[-1]
            cursor = _Cursor(at=last_at, run=last_run)
        if len(found) > PAGE or ended or looked_at >= _MOST_RUNS:
            break
        size = min(size * 2, _MOST_AT_ONCE)
    rows = [
        Row(Place(dag, run, task, index, _REPORT, state), at, _status(ref, state), ref, run_number)
        for dag, run, task, index, state, at, run_number, value in found[:PAGE]
        for ref in (as_model(value, ReportRef),)
    ]
    after = ""
    if len(found) > PAGE:
        last = found[PAGE - 1]
        cursor = _Cursor(at=last[5], run=last[6], task=last[2], index=last[3])
    if cursor and (len(found) > PAGE or not ended):
        after = cursor.model_dump_json()
    return _with_recipients(session, rows), after


def _runs(
    dag_ids: Collection[str], wanted: Wanted, cursor: _Cursor | None, past: bool, size: int
) -> Select[int, datetime]:
    """Select the next runs.

    :param past: whether the cursor's run itself has been looked at whole.
    """
    statement = select(DagRun.id, DagRun.run_after).order_by(DagRun.run_after.desc(), DagRun.id.desc())
    if wanted.dag_id:
        statement = statement.where(DagRun.dag_id.in_({wanted.dag_id} & set(dag_ids)))
    else:
        # A bare column would have the database go DAG by DAG and sort all there is, instead of going
        # along its index on run_after.
        statement = statement.where(func.coalesce(DagRun.dag_id, "").in_(dag_ids))
    if wanted.first:
        statement = statement.where(DagRun.run_after >= wanted.first)
    if wanted.last:
        statement = statement.where(DagRun.run_after < wanted.last + timedelta(days=1))
    if cursor is not None:
        older = DagRun.id < cursor.run if past or cursor.task is None else DagRun.id <= cursor.run
        statement = statement.where(
            DagRun.run_after <= cursor.at,
            or_(DagRun.run_after < cursor.at, and_(DagRun.run_after == cursor.at, older)),
        )
    return statement.limit(size)


def _after(cursor: _Cursor) -> ColumnElement[bool]:
    """Leave out, of the cursor's own run, the reports that the page before had."""
    return or_(
        DagRun.id != cursor.run,
        TaskInstance.task_id > (cursor.task or ""),
        and_(TaskInstance.task_id == cursor.task, TaskInstance.map_index > cursor.index),
    )


def _status(ref: ReportRef | None, state: str | None) -> str:
    if ref is None:
        return "failed" if state in _FAILED or state == "success" else "in progress"
    if ref.empty:
        return "no data"
    return "incomplete" if ref.failures else "complete"


def _statement(runs: Sequence[int]) -> Select[Any]:
    made = XComModel.value.is_not(None)
    return (
        select(
            TaskInstance.dag_id,
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            DagRun.run_after,
            DagRun.id,
            XComModel.value,
        )
        .select_from(DagRun)
        .join(
            TaskInstance,
            and_(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id),
        )
        .outerjoin(
            XComModel,
            and_(
                XComModel.dag_run_id == DagRun.id,
                XComModel.task_id == TaskInstance.task_id,
                XComModel.map_index == TaskInstance.map_index,
                XComModel.key == XCOM_RETURN_KEY,
            ),
        )
        .where(
            DagRun.id.in_(runs),
            TaskInstance.operator == _REPORT,
            # Without the index on states, which would lead through all that ever failed.
            or_(made, func.coalesce(TaskInstance.state, "").in_((*_WORKING, *_FAILED))),
        )
        .order_by(
            DagRun.run_after.desc(), DagRun.id.desc(), TaskInstance.task_id, TaskInstance.map_index
        )
    )


def _narrowed(statement: Select[Any], wanted: Wanted) -> Select[Any]:
    value = XComModel.value
    if wanted.text:
        pattern = f"%{_literal(wanted.text.lower())}%"
        texts = (value["subject"].as_string(), value["period"].as_string(), TaskInstance.dag_id)
        statement = statement.where(
            or_(*(func.lower(text).like(pattern, escape="\\") for text in texts))
        )
    if wanted.status:
        statement = statement.where(_has_status(wanted.status))
    return statement


def _has_status(status: str) -> ColumnElement[bool]:
    value, made = XComModel.value, XComModel.value.is_not(None)
    # Reports of an earlier version may lack either.
    empty = func.coalesce(value["empty"].as_boolean(), false())
    # An empty list is two characters, however the database spaces a full one.
    broken = func.coalesce(func.length(cast(value["failures"], String)), 0) > len("[]")
    return {
        "complete": and_(made, ~empty, ~broken),
        "incomplete": and_(made, ~empty, broken),
        "no data": and_(made, empty),
        "failed": and_(~made, TaskInstance.state.in_(_FAILED)),
        "in progress": and_(~made, TaskInstance.state.in_(_WORKING)),
    }.get(status, made)


def _literal(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return text


def _with_recipients(session: Session, rows: Sequence[Row]) -> list[Row]:
    """Count the mails of each report: those of the alerts of its run, group and map index."""
    runs = {row.run_number for row in rows}
    if not runs:
        return []
    told = session.execute(
        select(
            TaskInstance.dag_id,
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            XComModel.value,
        )
        .join(
            XComModel,
            and_(
                XComModel.dag_id == TaskInstance.dag_id,
                XComModel.task_id == TaskInstance.task_id,
                XComModel.run_id == TaskInstance.run_id,
                XComModel.map_index == TaskInstance.map_index,
                XComModel.key == XCOM_RETURN_KEY,
            ),
        )
        .where(XComModel.dag_run_id.in_(runs), TaskInstance.operator == _ALERT)
    ).all()
    alerts: dict[tuple[str, str], list[tuple[Place, AlertResult]]] = {}
    for dag, run, task, index, state, value in told:
        result = as_model(value, AlertResult)
        if result is not None:
            place = Place(dag, run, task, index, _ALERT, state)
            alerts.setdefault((dag, run), []).append((place, result))
    return [replace(row, recipients=_counted(row.place, alerts)) for row in rows]


def _counted(
    place: Place, alerts: dict[tuple[str, str], list[tuple[Place, AlertResult]]]
) -> dict[DeliveryStatus, int]:
    counts: dict[DeliveryStatus, int] = {}
    for alert, result in alerts.get((place.dag_id, place.run_id), ()):
        if alert.goes_with(place):
            for receipt in result.receipts:
                counts[receipt.status] = counts.get(receipt.status, 0) + 1
    return counts


def recipients_of(session: Session, place: Place) -> dict[DeliveryStatus, int]:
    """Count the mails of one report by state."""
    number = session.scalar(
        select(DagRun.id).where(DagRun.dag_id == place.dag_id, DagRun.run_id == place.run_id)
    )
    rows = [] if number is None else [Row(place, datetime.now(UTC), "", None, number)]
    return next((row.recipients for row in _with_recipients(session, rows)), {})


def cursor_is_sound(text: str) -> bool:
    """Whether a text from outside is a cursor."""
    try:
        return _Cursor.model_validate_json(text).at.tzinfo is not None
    except ValueError:
        return False

"""The index of reports: Airflow's own database, in the order of its runs, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from pydantic import BaseModel
from sqlalchemy import String, and_, cast, func, or_, select, tuple_

from kimi_provider.plugins.places import Place, as_model
from kimi_provider.schemas import AlertResult, DeliveryStatus, ReportRef

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

PAGE = 50

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

    :param recipients: how many mails of the run are in which state.
    """

    place: Place
    at: datetime
    status: str
    ref: ReportRef | None
    recipients: dict[DeliveryStatus, int] = field(default_factory=dict)


class _Cursor(BaseModel):
    at: datetime
    run: int
    task: str
    index: int


def reports(session: Session, dag_ids: Collection[str], wanted: Wanted) -> tuple[list[Row], str]:
    """Return a page of reports, the latest run first, and the cursor of the next page if there is one.

    :param dag_ids: the DAGs that the user may read.
    """
    statement = _narrowed(_statement(dag_ids), wanted).limit(PAGE + 1)
    found = session.execute(statement).all()
    rows = [
        Row(Place(dag, run, task, index, _REPORT, state), at, _status(ref, state), ref)
        for dag, run, task, index, state, at, _, value in found[:PAGE]
        for ref in (as_model(value, ReportRef),)
    ]
    after = ""
    if len(found) > PAGE:
        last = found[PAGE - 1]
        after = _Cursor(at=last[5], run=last[6], task=last[2], index=last[3]).model_dump_json()
    return _with_recipients(session, rows), after


def _status(ref: ReportRef | None, state: str | None) -> str:
    if ref is None:
        return "failed" if state in _FAILED or state == "success" else "in progress"
    if ref.empty:
        return "no data"
    return "incomplete" if ref.failures else "complete"


def _statement(dag_ids: Collection[str]) -> Select[Any]:
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
            TaskInstance.operator == _REPORT,
            DagRun.dag_id.in_(dag_ids),
            or_(made, TaskInstance.state.in_((*_WORKING, *_FAILED))),
        )
        # Along the index on run_after, so that the database stops after a page.
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
    if wanted.dag_id:
        statement = statement.where(DagRun.dag_id == wanted.dag_id)
    if wanted.first:
        statement = statement.where(DagRun.run_after >= wanted.first)
    if wanted.last:
        statement = statement.where(DagRun.run_after < wanted.last + timedelta(days=1))
    if wanted.after:
        cursor = _Cursor.model_validate_json(wanted.after)
        earlier = tuple_(DagRun.run_after, DagRun.id) < tuple_(cursor.at, cursor.run)
        same = and_(DagRun.run_after == cursor.at, DagRun.id == cursor.run)
        later_task = or_(
            TaskInstance.task_id > cursor.task,
            and_(TaskInstance.task_id == cursor.task, TaskInstance.map_index > cursor.index),
        )
        # The first condition is what the index serves; the second is exact.
        statement = statement.where(DagRun.run_after <= cursor.at, or_(earlier, and_(same, later_task)))
    return statement


def _has_status(status: str) -> ColumnElement[bool]:
    value, made = XComModel.value, XComModel.value.is_not(None)
    empty = value["empty"].as_boolean()
    # An empty list is two characters, however the database spaces a full one.
    broken = func.length(cast(value["failures"], String)) > len("[]")
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
    runs = {(row.place.dag_id, row.place.run_id) for row in rows}
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
        .where(
            tuple_(TaskInstance.dag_id, TaskInstance.run_id).in_(sorted(runs)),
            TaskInstance.operator == _ALERT,
        )
    ).all()
    alerts: dict[tuple[str, str], list[tuple[Place, AlertResult]]] = {}
    for dag, run, task, index, state, value in told:
        result = as_model(value, AlertResult)
        if result is not None:
            place = Place(dag, run, task, index, _ALERT, state)
            alerts.setdefault((dag, run), []).append((place, result))
    return [Row(row.place, row.at, row.status, row.ref, _counted(row.place, alerts)) for row in rows]


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
    row = Row(place, datetime.min, "", None)  # noqa: DTZ901 — not read
    return _with_recipients(session, [row])[0].recipients


def cursor_is_sound(text: str) -> bool:
    """Whether a text from outside is a cursor."""
    try:
        return _Cursor.model_validate_json(text).at.tzinfo is not None
    except ValueError:
        return False

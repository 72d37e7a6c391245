"""Where alerts keep their state, and what people have said about them, in Airflow's terms."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import conf

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.storage import storage_root, task_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from kimi_provider.alerts.settings import AlertSettings
    from kimi_provider.alerts.silences import Notes
    from kimi_provider.alerts.state import Attention, Moment
    from kimi_provider.alerts.store import Store
    from kimi_provider.alerts.wording import Place
    from kimi_provider.schemas import ReportRef

SILENCES_VARIABLE = "kimi_silences"
ACKNOWLEDGED_VARIABLE = "kimi_acknowledged"

log = logging.getLogger(__name__)


def alert_store(context: Context) -> Store:
    """Return the book of this task's alerts: ``{storage}/alerts/{dag}/{task}``, the same for each run.

    :param context: the context that Airflow gives to ``execute``.
    """
    from kimi_provider.alerts.store import Store

    task = task_folder(context)
    map_index = context["ti"].map_index
    mapped = map_index is not None and map_index >= 0
    # {root}/{dag}/{run}/{task}[/{map index}] → {root}/alerts/{dag}/{task}[/{map index}]
    own = task.parent if mapped else task
    folder = storage_root() / "alerts" / own.parent.parent.name / own.name
    return Store(folder / task.name if mapped else folder)


def alert_notes() -> Notes:
    """Return the silences and acknowledgements in storage, which all DAGs share."""
    from kimi_provider.alerts.silences import Notes

    return Notes(storage_root() / "alerts")


def moment_of(context: Context) -> Moment:
    """Return the run as alerts see it: by its logical date, or when it was to run."""
    from kimi_provider.alerts.state import Moment

    ti: Any = context["ti"]
    run: Any = context.get("dag_run")
    now = datetime.now(UTC)
    at = getattr(run, "logical_date", None) or getattr(run, "run_after", None) or now
    place = {"dag_id": str(ti.dag_id), "task_id": str(ti.task_id)}
    if ti.map_index is not None and ti.map_index >= 0:
        place["map_index"] = str(ti.map_index)
    kind = getattr(run, "run_type", None)
    return Moment(at, now, place, backfill=str(getattr(kind, "value", kind)) == "backfill")


def attention(settings: AlertSettings, moment: Moment) -> Attention:
    """Return what people have said: in the DAG, in storage, and in two Airflow Variables.

    ``kimi_silences`` and ``kimi_acknowledged`` hold JSON; see :mod:`kimi_provider.alerts.silences`. A
    malformed one is reported and passed over, because an alert matters more than its silence; the others
    hold.
    """
    from kimi_provider.alerts.silences import acknowledgements_from_json, silences_from_json
    from kimi_provider.alerts.state import Attention

    notes = alert_notes()
    stored = _read(lambda: notes.silences(passed_over=_passed_over), ())
    silences = [*settings.silences, *stored]
    acknowledged = dict(_read(notes.acknowledged, {}))
    text = _variable(SILENCES_VARIABLE)
    if text:
        where = f"Airflow's Variable {SILENCES_VARIABLE}"
        silences += _read(lambda: silences_from_json(text, where, passed_over=_passed_over), ())
    said = _variable(ACKNOWLEDGED_VARIABLE)
    if said:
        where = f"Airflow's Variable {ACKNOWLEDGED_VARIABLE}"
        acknowledged |= _read(lambda: acknowledgements_from_json(said, where), {})

    def silenced(labels: Mapping[str, str]) -> str | None:
        covering = [one.until for one in silences if one.covers(labels, moment.now)]
        return max(covering, default=None, key=datetime.fromisoformat)

    return Attention(silenced, acknowledged)


def place_of(
    context: Context, moment: Moment, report: ReportRef | None, report_task: str | None
) -> Place:
    """Return the run as the readers of a notification know it.

    :param context: the context that Airflow gives to ``execute``.
    :param moment: the run.
    :param report: the report, where there is one.
    :param report_task: the task that made it, for the link to its page in Airflow.
    """
    from kimi_provider.alerts.wording import Place

    ti = context["ti"]
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    run = f"{quote(ti.dag_id, safe='')}/{quote(ti.run_id, safe='')}"
    # In a mapped task group, the report of a slice has the same index.
    index = -1 if ti.map_index is None else ti.map_index
    page = f"{base}/kimi/reports/{run}/{quote(report_task, safe='')}/{index}" if report_task else None
    return Place(
        labels=moment.place,
        run_id=ti.run_id,
        logical_date=moment.at.isoformat(),
        report_url=page if report and base else None,
        report_subject=report.subject if report else None,
        log_url=getattr(ti, "log_url", None),
    )


def _variable(name: str) -> str | None:
    from airflow.sdk import Variable

    try:
        value = Variable.get(name, default=None)
    except Exception as error:  # noqa: BLE001 — whatever a secrets backend raises, alerts go on
        log.warning("Airflow's Variable %s cannot be read: %s.", name, type(error).__name__)
        return None
    return value if isinstance(value, str) else None


def _read(read: Any, otherwise: Any) -> Any:
    try:
        return read()
    except (ConfigurationError, OSError, ValueError) as error:
        _passed_over(error)
        return otherwise


def _passed_over(error: Exception) -> None:
    log.warning("A silence or an acknowledgement is passed over: %s", error)

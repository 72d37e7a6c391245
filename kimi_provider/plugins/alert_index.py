"""The alert tasks that there are, and what each knows of its alerts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import and_, select

from kimi_provider.alerts.book import AlertState, Book
from kimi_provider.exceptions import AlertError
from kimi_provider.hooks.alert_state import alert_store
from kimi_provider.plugins.places import Place

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.sdk import Context
    from sqlalchemy.orm import Session

_LOOKED_BACK = timedelta(days=90)
_MOST = 100
_AT_ONCE = 8  # an object store answers slowly, and many at once


@dataclass(frozen=True)
class Watch:
    """One alert task with its book.

    :param place: its latest run.
    :param problem: why the book cannot be read, where it cannot.
    """

    place: Place
    book: Book
    problem: str = ""

    @property
    def firing(self) -> list[tuple[str, AlertState]]:
        """The alerts that fire, the worst first, by their keys."""
        return self._sorted(firing=True)

    @property
    def quiet(self) -> list[tuple[str, AlertState]]:
        """The alerts that are known and do not fire."""
        return self._sorted(firing=False)

    def _sorted(self, *, firing: bool) -> list[tuple[str, AlertState]]:
        found = [(key, one) for key, one in self.book.alerts.items() if one.firing is firing]
        return sorted(found, key=lambda pair: (-pair[1].severity.rank, pair[1].rule))


def alert_tasks(session: Session, dag_ids: Collection[str]) -> list[Place]:
    """Return each alert task that has run in the last 90 days, by its latest run.

    :param dag_ids: the DAGs that the user may read.
    """
    rows = session.execute(
        select(
            TaskInstance.dag_id,
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.operator,
            TaskInstance.state,
        )
        .select_from(DagRun)
        .join(
            TaskInstance,
            and_(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id),
        )
        .where(
            DagRun.run_after >= datetime.now(UTC) - _LOOKED_BACK,
            DagRun.dag_id.in_(dag_ids),
            TaskInstance.operator == "AlertOperator",
        )
        .order_by(DagRun.run_after.desc())
    )
    latest: dict[tuple[str, str, int], Place] = {}
    for row in rows:
        place = Place(*row)
        latest.setdefault((place.dag_id, place.task_id, place.map_index), place)
    return sorted(latest.values(), key=lambda one: (one.dag_id, one.task_id, one.map_index))


def watches(places: Sequence[Place]) -> list[Watch]:
    """Read the books of alert tasks, the ones with firing alerts first; of too many the first ones."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(watch, places[:_MOST]))
    return sorted(found, key=lambda one: -len(one.firing))


def watch(place: Place) -> Watch:
    """Read the book of an alert task."""
    context: Any = {"ti": place}
    try:
        return Watch(place, alert_store(cast("Context", context)).read())
    except (AlertError, OSError) as error:
        return Watch(place, Book(), f"The alerts' state cannot be read: {type(error).__name__}.")

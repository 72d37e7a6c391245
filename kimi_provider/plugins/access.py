"""Who may see what: Airflow's own permissions, as its API asks them."""

from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends  # noqa: TID253 — only the API server loads this

from kimi_provider.plugins.places import Place, find_place

ADDRESS = "/{dag_id}/{run_id}/{task_id}/{map_index}"
"""How the address of a page about one task instance ends."""

# A report, its trace and its figures are what a task has returned. Where the address names a DAG, the
# right is asked for that DAG; where it names none, for any, and the list is narrowed by ReadableDags.
READ = [Depends(requires_access_dag("GET", DagAccessEntity.XCOM))]
# Who may change a DAG (pause it, say) may quiet its alerts.
CHANGE = [Depends(requires_access_dag("PUT"))]


def auth_manager() -> Any:
    """Return Airflow's auth manager; its own dependency looks into a state that we do not share."""
    return get_auth_manager()


def _readable_dags(user: GetUserDep) -> set[str]:
    return set(auth_manager().get_authorized_dag_ids(user=user, method="GET"))


ReadableDags = Annotated[set[str], Depends(_readable_dags)]
"""Ids of the DAGs that the user may read."""


def _place(dag_id: str, run_id: str, task_id: str, map_index: str, session: SessionDep) -> Place | None:
    return find_place(session, dag_id, run_id, task_id, map_index)


FoundPlace = Annotated[Place | None, Depends(_place)]
"""The task instance that the address names, ``None`` where there is no such."""

"""The task instances that pages are about: found in Airflow's database, never by a path from outside."""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from pydantic import BaseModel, ValidationError
from sqlalchemy import select

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.approval import REPORT_KEY
from kimi_provider.hooks.storage import open_uri, storage_root, task_folder
from kimi_provider.storage import local_path, read_bytes

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from kimi_provider.storage import StoragePath

M = TypeVar("M", bound=BaseModel)

# Airflow's web UI leaves the placeholder as it is for a task that is not mapped.
_NOT_MAPPED = {"{MAP_INDEX}", "-1"}
_MAP_INDEX = re.compile("[0-9]{1,9}")  # what the database's integer holds


@dataclass(frozen=True)
class Place:
    """A task instance, as Airflow's database has it.

    :param operator: name of the operator's class.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    operator: str | None = None
    state: str | None = None

    @property
    def path(self) -> str:
        """The part of a page's address that names it."""
        ids = "/".join(quote(name, safe="") for name in (self.dag_id, self.run_id, self.task_id))
        return f"{ids}/{self.map_index}"

    @property
    def group(self) -> str:
        """Id of the task group that the task lies in; empty where it lies in none."""
        return self.task_id.rpartition(".")[0]

    @property
    def folder(self) -> StoragePath:
        """Where the task's files lie in the provider's storage."""
        return task_folder(cast("Context", {"ti": self}))

    def goes_with(self, other: Place) -> bool:
        """Whether two tasks of one run are stages of the same report: by their group and map index."""
        alike = -1 in {self.map_index, other.map_index} or self.map_index == other.map_index
        return self.group == other.group and alike


def map_index_of(text: str) -> int | None:
    """Return the map index that an address names, ``None`` where it names none."""
    if text in _NOT_MAPPED:
        return -1
    return int(text) if _MAP_INDEX.fullmatch(text) else None


def find_place(session: Session, dag_id: str, run_id: str, task_id: str, map_index: str) -> Place | None:
    """Return the task instance that an address names, ``None`` where there is no such."""
    index = map_index_of(map_index)
    if index is None:
        return None
    row = session.execute(
        select(TaskInstance.operator, TaskInstance.state).filter_by(
            dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=index
        )
    ).first()
    return Place(dag_id, run_id, task_id, index, *row) if row else None


def places_of_run(session: Session, dag_id: str, run_id: str) -> list[Place]:
    """Return all task instances of a run."""
    rows = session.execute(
        select(
            TaskInstance.task_id, TaskInstance.map_index, TaskInstance.operator, TaskInstance.state
        ).filter_by(dag_id=dag_id, run_id=run_id)
    )
    return [Place(dag_id, run_id, *row) for row in rows]


def returned(session: Session, place: Place, model: type[M]) -> M | None:
    """Return what a task returned, or is about to send, ``None`` where that is nothing of this kind."""
    values = session.scalars(
        select(XComModel.value)
        .filter_by(
            dag_id=place.dag_id,
            run_id=place.run_id,
            task_id=place.task_id,
            map_index=place.map_index,
        )
        .where(XComModel.key.in_((XCOM_RETURN_KEY, REPORT_KEY)))
    )
    return next(filter(None, (as_model(value, model) for value in values)), None)


def as_model(value: Any, model: type[M]) -> M | None:
    """Read the value of an XCom, ``None`` where it is nothing of this kind."""
    try:
        # Plain JSON only: Airflow's own decoder would make instances of classes that an XCom names.
        return model.model_validate(json.loads(value) if isinstance(value, str) else value)
    except (ValidationError, ValueError):
        return None


def stored_json(path: StoragePath) -> Any:
    """Return a JSON file of a task's folder, ``None`` where there is none that can be read."""
    inside = within_storage(path.as_uri())
    if inside is None:
        return None
    try:
        return json.loads(read_bytes(inside))
    except (OSError, ValueError, RecursionError):
        return None


def within_storage(uri: str) -> StoragePath | None:
    """Return the path that a URI names, ``None`` where it does not lie in the provider's storage.

    Whoever writes a DAG can put any URI into an XCom, and the API server can read files that DAG
    authors may not (its own configuration, with the signing keys).
    """
    try:
        root, named = storage_root(), open_uri(uri).as_uri()
    except (ConfigurationError, ValueError):
        return None
    prefix = f"{root.as_uri().rstrip('/')}/"
    below = named.removeprefix(prefix)
    if below == named or posixpath.normpath(below) != below or below.startswith(("/", "..")):
        return None
    path = root / below  # from the root, since a URI does not say by which connection it is opened
    here, home = local_path(path), local_path(root)
    if here is not None and home is not None and not here.resolve().is_relative_to(home.resolve()):
        return None  # a link that leads out
    return path

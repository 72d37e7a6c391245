"""One person's address in what Airflow's database has of our tasks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kimi_provider.get_provider_info import get_provider_info
from kimi_provider.hooks.erasure import ERASED, address_pattern

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator


def erase_records(address: str, *, dry_run: bool) -> dict[str, int]:
    """Blot out an address in what our tasks returned, were given and asked people.

    Other tasks' records are not ours to change: those of ours are known by their operators' names.

    :returns: how many records had it, by what they are.
    """
    from airflow.utils.session import create_session
    from sqlalchemy import String, cast, func, or_, select

    pattern, wanted = address_pattern(address), address.lower()
    found: dict[str, int] = {}
    with create_session() as session:
        for place, model, names, is_ours in _places():
            columns = [getattr(model, name) for name in names]
            has_it = [
                func.lower(cast(column, String)).contains(wanted, autoescape=True) for column in columns
            ]
            found.setdefault(place, 0)
            for row in session.scalars(select(model).where(or_(*has_it), is_ours)):
                before = {name: getattr(row, name) for name in names}
                after = _blotted(before, pattern)
                found[place] += after != before
                if not dry_run:
                    for name, value in after.items():
                        setattr(row, name, value)
    return found


def _places() -> Iterator[tuple[str, Any, tuple[str, ...], Any]]:
    """Yield what may have it: its name, its table, the columns, and which rows are our tasks'."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.hitl_history import HITLDetailHistory
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from airflow.models.xcom import XComModel
    from sqlalchemy import exists

    ours = TaskInstance.operator.in_(_operators())

    def of_an_instance(model: Any) -> Any:
        keys = ("dag_id", "run_id", "task_id", "map_index")
        same = [getattr(model, key) == getattr(TaskInstance, key) for key in keys]
        return exists().where(*same, ours)

    yield "what tasks returned", XComModel, ("value",), of_an_instance(XComModel)
    given = RenderedTaskInstanceFields
    yield "what tasks were given", given, ("rendered_fields",), of_an_instance(given)
    asked = ("subject", "body", "params", "params_input")
    now = exists().where(TaskInstance.id == HITLDetail.ti_id, ours)
    yield "what people were asked", HITLDetail, asked, now
    tried = TaskInstanceHistory.task_instance_id == HITLDetailHistory.ti_history_id
    before = exists().where(tried, TaskInstanceHistory.operator.in_(_operators()))
    yield "what people were asked", HITLDetailHistory, asked, before


def _operators() -> list[str]:
    """Return the names by which Airflow knows our operators."""
    from airflow.sdk import BaseOperator

    info = get_provider_info()
    modules = [name for entry in info["operators"] for name in entry["python-modules"]]
    modules += [entry["class-name"].rpartition(".")[0] for entry in info["task-decorators"]]
    classes = [one for name in modules for one in vars(import_module(name)).values()]
    return sorted(
        {
            one.__name__
            for one in classes
            if isinstance(one, type)
            and issubclass(one, BaseOperator)
            and one.__module__.startswith("kimi_provider.")
        }
    )


def _blotted(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(ERASED, value)
    if isinstance(value, list):
        return [_blotted(one, pattern) for one in value]
    if isinstance(value, dict):
        return {key: _blotted(one, pattern) for key, one in value.items()}
    return value

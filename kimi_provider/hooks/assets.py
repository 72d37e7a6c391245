"""Asset events: a dataset or a report that was stored can start what waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.definitions.asset import AssetRef

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import BaseOperator, Context

    from kimi_provider.schemas import DatasetRef, ReportRef


def dataset_asset(dag_id: str, task_id: str) -> Asset:
    """Return the asset that a fetch or report task updates where it names no outlets.

    :returns: ``x-kimi://{dag_id}/{task_id}``, by name and URI. Airflow leaves the URIs of schemes in
        ``x-`` as they are, and looks no provider up for them while it parses a DAG.
    """
    uri = f"x-kimi://{quote(dag_id, safe='')}/{quote(task_id, safe='')}"
    return Asset(name=uri, uri=uri)


def default_outlets(task: BaseOperator) -> list[Asset]:
    """Return the outlets of a fetch or report task that names none.

    A mapped task gets none: Airflow knows a mapped task's outlets only from ``partial(outlets=...)``.
    """
    has_dag = task.has_dag()  # type: ignore[no-untyped-call]
    return [dataset_asset(task.dag_id, task.task_id)] if has_dag else []


def announce_dataset(context: Context, outlets: Iterable[object], dataset: DatasetRef) -> None:
    """Tell the task's asset events what was stored; Airflow emits them when the task succeeds.

    :param context: the context that Airflow gives to ``execute``.
    :param outlets: of the task. An asset alias among them gets an event for an asset at the dataset's
        URI.
    :param dataset: ``uri``, ``rows``, ``sha256`` and ``watermark`` become the events' extra.
    """
    extra = {
        "uri": dataset.uri,
        "rows": dataset.rows,
        "sha256": dataset.sha256,
        "watermark": dataset.watermark,
    }
    _announce(context, outlets, dataset.uri, extra)


def announce_report(context: Context, outlets: Iterable[object], report: ReportRef) -> None:
    """Tell the task's asset events what was reported; Airflow emits them when the task succeeds.

    :param context: the context that Airflow gives to ``execute``.
    :param outlets: of the task. An asset alias among them gets an event for an asset at the page's URI.
    :param report: where it lies, its period, severity, hash, cost (US dollars), grounding score, whether
        it is empty and what failed become the events' extra.
    """
    told = report.model_dump(mode="json")
    names = ("period", "severity", "sha256", "cost_usd", "grounding_score", "empty", "failures")
    extra = {"uri": report.page_uri, **{name: told[name] for name in names}}
    _announce(context, outlets, report.page_uri, extra)


def _announce(context: Context, outlets: Iterable[object], uri: str, extra: dict[str, Any]) -> None:
    events = context.get("outlet_events")
    if events is None:  # a task that is executed by hand has no events
        return
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            events[outlet].add(Asset(uri=uri), extra=extra)
        elif isinstance(outlet, Asset | AssetRef):
            events[outlet].extra.update(extra)

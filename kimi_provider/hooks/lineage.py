"""Lineage from a source over its dataset and the analysis to the report, as a task knows it.

One description serves both of Airflow's ways to tell it: the hook lineage that any listener may collect
(:func:`collect`), and OpenLineage (:mod:`kimi_provider.hooks.openlineage`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit

from kimi_provider.schemas import Analysis, DatasetRef, ReportRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.sdk.lineage import LineageContext


@dataclass(frozen=True)
class Place:
    """Where data is read from, or written to.

    :param uri: without credentials and query values.
    :param dataset: the profile, where it is a table of ours.
    """

    uri: str
    dataset: DatasetRef | None = None


@dataclass(frozen=True)
class Query:
    """A statement that was run in a database; its parameters are nobody's business."""

    conn_id: str
    sql: str


@dataclass(frozen=True)
class Lineage:
    """What a task read and wrote, and what is to be told of it beside.

    :param facets: what is told of the run, by name; values are plain JSON.
    :param query: what was asked of a database, which knows its tables by itself.
    """

    inputs: tuple[Place, ...] = ()
    outputs: tuple[Place, ...] = ()
    facets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    query: Query | None = None


def place_of_url(url: str) -> Place:
    """Return the place that a URL names, without what opens it and without its query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return Place(urlunsplit((parts.scheme, host, parts.path, "", "")))


def places_of_datasets(datasets: Any) -> tuple[Place, ...]:
    """Return the places of datasets as operators are given them: by name, as JSON.

    What is none yet, since Airflow has not rendered it, is left out.
    """
    given: Iterable[Any] = datasets.values() if hasattr(datasets, "values") else ()
    refs = [DatasetRef.model_validate(one) for one in given if isinstance(one, dict | DatasetRef)]
    return tuple(Place(ref.uri, ref) for ref in refs)


def places_of_analysis(analysis: Any) -> tuple[Place, ...]:
    """Return the place of an analysis' facts, as operators are given it."""
    if not isinstance(analysis, dict | Analysis):
        return ()
    uri = Analysis.model_validate(analysis).facts_uri
    return (Place(uri),) if uri else ()


def places_of_report(report: Any) -> tuple[Place, ...]:
    """Return the places of a report, its page first, as operators are given it."""
    if not isinstance(report, dict | ReportRef):
        return ()
    made = ReportRef.model_validate(report)
    return (Place(made.page_uri), *(Place(one.uri) for one in made.attachments))


def told_of_analysis(analysis: Analysis) -> dict[str, Any]:
    """Return what is told of an analysis: how it was made and how it stands, nothing of its text."""
    grounding = analysis.grounding
    return {
        "model": analysis.model,
        "strategy": analysis.strategy,
        "language": analysis.language,
        "period": analysis.period,
        "severity": analysis.severity.value,
        "findings": len(analysis.findings),
        "failure": analysis.failure,
        "simulated": analysis.simulated,
        "groundingScore": grounding.score if grounding else None,
        "groundingIssues": len(grounding.issues) if grounding else None,
    }


def told_of_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of tokens and money, in OpenLineage's way to write names."""
    return {
        "calls": usage["calls"],
        "inputTokens": usage["input_tokens"],
        "cacheReadTokens": usage["cache_read_tokens"],
        "outputTokens": usage["output_tokens"],
        "reasoningTokens": usage["reasoning_tokens"],
        "repeatedCalls": usage["repeated_calls"],
        "costUsd": usage["cost_usd"],
    }


def told_of_report(report: ReportRef) -> dict[str, Any]:
    """Return what is told of a report, nothing of its text."""
    told = report.model_dump(mode="json")
    return {
        "period": told["period"],
        "severity": told["severity"],
        "sha256": told["sha256"],
        "groundingScore": told["grounding_score"],
        "costUsd": told["cost_usd"],
        "empty": told["empty"],
        "failures": len(told["failures"]),
    }


def collect(source: object, lineage: Lineage) -> None:
    """Tell hook lineage, for listeners other than OpenLineage; free where there is none.

    :param source: the task, which stands for the hooks that it used.
    """
    from airflow.sdk.lineage import get_hook_lineage_collector

    collector = get_hook_lineage_collector()
    # Airflow's type names hooks and paths alone; the collector takes any object, by its identity.
    context = cast("LineageContext", source)
    for place in lineage.inputs:
        collector.add_input_asset(context, uri=place.uri)
    for place in lineage.outputs:
        collector.add_output_asset(context, uri=place.uri)

"""Airflow's metrics: calls of the model, mails, alerts and what became of the reports.

They go where Airflow's own go: ``[metrics]`` sets up StatsD or OpenTelemetry. Tags are ``dag_id`` and
``task_id``, and those named below; none has an address, a prompt or a text from the data.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kimi_provider.alerts.desk import Opening
    from kimi_provider.analysis.telemetry import CallReport
    from kimi_provider.schemas import Analysis, DatasetRef, DeliveryReceipt, ReportRef, Usage

_MICRO = 1_000_000


def tags_of(ti: Any) -> dict[str, str]:
    """Return the tags that all metrics of a task have.

    :param ti: the task instance, in whatever form Airflow has it; ``None`` where there is none.
    """
    told = {name: getattr(ti, name, None) for name in ("dag_id", "task_id")}
    return {name: str(value) for name, value in told.items() if value is not None}


def calls_of(ti: Any, *, triggerer: bool = False) -> Callable[[CallReport], None]:
    """Return what counts the calls of a task as they end.

    ``kimi.call`` (tags ``model``, ``provider``, ``outcome``), ``kimi.call.retries``, and the timings
    ``kimi.call.duration`` and ``kimi.call.first_token``; of answers also ``kimi.call.input_tokens``,
    ``.cache_read_tokens``, ``.output_tokens``, ``.reasoning_tokens`` and ``.cost_microusd``.

    :param triggerer: whether this is the triggerer, which sets up the server's metrics, not a task's.
    """
    common = tags_of(ti)

    def count(report: CallReport) -> None:
        stats = _of_the_server() if triggerer else _of_a_task()
        tags = common | {"model": report.model, "provider": report.provider}
        stats.incr("kimi.call", tags=tags | {"outcome": report.error or "answered"})
        stats.timing("kimi.call.duration", timedelta(seconds=report.seconds), tags=tags)
        for name, number in _counters(report).items():
            if number > 0:
                stats.incr(f"kimi.call.{name}", number, tags=tags)
        if report.result is not None and report.result.time_to_first_token is not None:
            first = timedelta(seconds=report.result.time_to_first_token)
            stats.timing("kimi.call.first_token", first, tags=tags)

    return count


def measure_usage(ti: Any, model: str | None, usage: Usage) -> None:
    """Set the gauges of what all attempts of a task took: ``kimi.calls``, ``kimi.cost_usd`` and more."""
    tags = tags_of(ti) | {"model": model or ""}
    _gauge("kimi.calls", usage.calls, tags)
    _gauge("kimi.input_tokens", usage.input_tokens, tags)
    _gauge("kimi.output_tokens", usage.output_tokens, tags)
    _gauge("kimi.repeated_calls", usage.repeated_calls, tags)
    if usage.cost_usd is not None:
        _gauge("kimi.cost_usd", float(usage.cost_usd), tags)


def measure_dataset(ti: Any, dataset: DatasetRef) -> None:
    """Tell of a dataset: ``kimi.fetch`` counts it, ``kimi.fetch.rows`` and ``.bytes`` are its size."""
    tags = tags_of(ti)
    _add("kimi.fetch", 1, tags)
    _gauge("kimi.fetch.rows", dataset.rows, tags)
    _gauge("kimi.fetch.bytes", dataset.bytes, tags)


def measure_analysis(ti: Any, analysis: Analysis) -> None:
    """Tell of an analysis: ``kimi.analysis`` (tag ``outcome``), and how far it stands on facts.

    ``kimi.grounding_score`` is from 0 to 1; ``kimi.grounding_issues`` counts, by the tags ``kind`` and
    ``action``, what the checks found.
    """
    tags = tags_of(ti)
    _add("kimi.analysis", 1, tags | {"outcome": analysis.failure or "written"})
    if analysis.grounding is None:
        return
    _gauge("kimi.grounding_score", analysis.grounding.score, tags)
    for issue in analysis.grounding.issues:
        _add("kimi.grounding_issues", 1, tags | {"kind": issue.kind, "action": issue.action})


def measure_report(ti: Any, report: ReportRef) -> None:
    """Tell of a report: ``kimi.report`` (tags ``severity`` and ``empty``), ``kimi.report.failures``."""
    tags = tags_of(ti)
    empty = str(report.empty).lower()
    _add("kimi.report", 1, tags | {"severity": report.severity.value, "empty": empty})
    _add("kimi.report.failures", len(report.failures), tags)


def measure_alerts(ti: Any, opening: Opening) -> None:
    """Tell of alerts: ``kimi.alert`` (tags ``rule``, ``severity``, ``status``), ``.held_back``.

    What an earlier try of the run decided is not counted again.
    """
    if opening.resumed:
        return
    tags = tags_of(ti)
    for event in opening.events:
        told = {"rule": event.rule, "severity": event.severity.value, "status": event.status}
        _add("kimi.alert", 1, tags | told)
    _add("kimi.alert.held_back", sum(not one.tell for one in opening.decisions), tags)


def count_notification(ti: Any, receiver: str, outcome: str) -> None:
    """Tell of a receiver that is no mail: ``kimi.notification`` (tags ``receiver`` and ``outcome``)."""
    _add("kimi.notification", 1, tags_of(ti) | {"receiver": receiver, "outcome": outcome})


def mails_of(ti: Any) -> Callable[[Iterable[DeliveryReceipt]], None]:
    """Return what counts mails as they leave or do not: ``kimi.mail`` (tag ``status``)."""
    common = tags_of(ti)

    def count(receipts: Iterable[DeliveryReceipt]) -> None:
        counts: dict[str, int] = {}
        for receipt in receipts:
            counts[receipt.status.value] = counts.get(receipt.status.value, 0) + 1
        for status, number in counts.items():
            _add("kimi.mail", number, common | {"status": status})

    return count


def _counters(report: CallReport) -> dict[str, int]:
    counters = {"retries": report.attempts - 1}
    if report.result is None:
        return counters
    usage = report.result.usage
    return counters | {
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        # A counter counts whole things, and a call may cost less than a cent.
        "cost_microusd": round((usage.cost_usd or Decimal(0)) * _MICRO),
    }


def _add(name: str, number: int, tags: Mapping[str, str]) -> None:
    if number > 0:
        _of_a_task().incr(name, number, tags=dict(tags))


def _gauge(name: str, value: float, tags: Mapping[str, str]) -> None:
    _of_a_task().gauge(name, value, tags=dict(tags))


def _of_a_task() -> Any:
    from airflow.sdk.observability import stats

    return stats


def _of_the_server() -> Any:
    from airflow.observability import stats

    return stats

"""What a task took, where people look for it: an XCom beside the result, and Airflow's metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kimi_provider.schemas import Usage

USAGE_KEY = "kimi_usage"
"""Key of the XCom: a :class:`~kimi_provider.schemas.Usage` as JSON, with the ``model``."""


def report_usage(ti: Any, model: str | None, usage: Usage) -> None:
    """Tell what all attempts of a task have taken so far, also where the task fails.

    :param ti: the task instance that Airflow gives to ``execute``.
    :param model: the model that was asked for.
    """
    if not (usage.calls or usage.repeated_calls):
        return
    from airflow.sdk.observability import stats

    ti.xcom_push(key=USAGE_KEY, value={"model": model, **usage.model_dump(mode="json")})
    tags = {"dag_id": ti.dag_id, "task_id": ti.task_id, "model": model or ""}
    stats.gauge("kimi.calls", usage.calls, tags=tags)
    stats.gauge("kimi.input_tokens", usage.input_tokens, tags=tags)
    stats.gauge("kimi.output_tokens", usage.output_tokens, tags=tags)
    stats.gauge("kimi.repeated_calls", usage.repeated_calls, tags=tags)
    if usage.cost_usd is not None:
        stats.gauge("kimi.cost_usd", float(usage.cost_usd), tags=tags)

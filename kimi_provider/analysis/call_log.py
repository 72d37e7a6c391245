"""A line of the log for each call of the model, with fields for who collects logs as JSON."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from structlog.contextvars import bound_contextvars

if TYPE_CHECKING:
    from kimi_provider.analysis.telemetry import CallReport
    from kimi_provider.schemas import Usage

log = logging.getLogger(__name__)


def log_call(report: CallReport, before: Usage) -> None:
    """Write the line of a call that has ended.

    :param report: of the call.
    :param before: what the task took until then.

    The fields, which Airflow puts beside the line: ``kimi_model``, ``kimi_provider``,
    ``kimi_request_ids``, ``kimi_seconds``, ``kimi_attempts``, and either ``kimi_error`` or the tokens
    and the cost.
    """
    fields: dict[str, Any] = {
        "kimi_model": report.model,
        "kimi_provider": report.provider,
        "kimi_request_ids": list(report.request_ids),
        "kimi_seconds": round(report.seconds, 3),
        "kimi_attempts": report.attempts,
    }
    ids = ", ".join(report.request_ids) or "without id"
    result = report.result
    if result is None:
        with bound_contextvars(**fields, kimi_error=report.error):
            log.warning("Kimi call failed (%s): %s; request %s", report.model, report.error, ids)
        return
    usage = result.usage
    spent = before + usage
    fields |= {
        "kimi_input_tokens": usage.input_tokens,
        "kimi_cache_read_tokens": usage.cache_read_tokens,
        "kimi_output_tokens": usage.output_tokens,
        "kimi_reasoning_tokens": usage.reasoning_tokens,
        "kimi_cost_usd": None if usage.cost_usd is None else float(usage.cost_usd),
    }
    with bound_contextvars(**fields):
        log.info(
            "Kimi call %d (%s): %d prompt tokens (%d cached), %d answer tokens (%d reasoning), %s; "
            "so far %s; request %s",
            spent.calls,
            result.model,
            usage.input_tokens,
            usage.cache_read_tokens,
            usage.output_tokens,
            usage.reasoning_tokens,
            price_of(usage),
            price_of(spent),
            ids,
        )


def price_of(usage: Usage) -> str:
    """Say what a usage costs, where that is known."""
    return "price unknown" if usage.cost_usd is None else f"{usage.cost_usd:.4f} USD"

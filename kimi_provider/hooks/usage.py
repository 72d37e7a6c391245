"""What a task took, where people look for it: an XCom beside the result, and Airflow's metrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kimi_provider.schemas import Usage

log = logging.getLogger(__name__)

USAGE_KEY = "kimi_usage"
"""Key of the XCom: a :class:`~kimi_provider.schemas.Usage` as JSON, with the ``model``."""


def report_usage(ti: Any, model: str | None, usage: Usage) -> None:
    """Tell what all attempts of a task have taken so far, also where the task fails.

    :param ti: the task instance that Airflow gives to ``execute``.
    :param model: the model that was asked for.
    """
    if not (usage.calls or usage.repeated_calls):
        return
    from kimi_provider.hooks.metrics import measure_usage

    try:
        ti.xcom_push(key=USAGE_KEY, value={"model": model, **usage.model_dump(mode="json")})
    except Exception as error:  # noqa: BLE001 — what was paid for is not lost over telling its price
        log.warning("The usage cannot be kept (%s)", type(error).__name__)
    measure_usage(ti, model, usage)

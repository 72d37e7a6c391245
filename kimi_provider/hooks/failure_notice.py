"""The notice that a task failed, drawn by the template ``failure`` of ``templates/alerts``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kimi_provider.exceptions import KimiProviderError

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from kimi_provider.alerts.notice import Notice
    from kimi_provider.reports.notice import Notice as Drawn

log = logging.getLogger(__name__)


async def draw_failure(notice: Notice, dag: DAG | None) -> Drawn | None:
    """Draw the notice of a task that failed.

    :param notice: what failed.
    :param dag: the DAG, whose template folders come first.
    :returns: ``None`` where no task failed, or the template cannot be drawn: the owner has to be told of
        the task, not of a template.
    """
    from datetime import UTC, datetime

    from kimi_provider.hooks.templates import template_search_path
    from kimi_provider.reports.alert_document import Failure
    from kimi_provider.reports.notice import build_notice

    if notice.task_id is None or notice.error is None:
        return None
    mapped = f" (index {notice.map_index})" if notice.map_index is not None else ""
    linked = (notice.log_url or "").startswith(("https://", "http://"))
    failure = Failure(
        task=f"{notice.task_id}{mapped}",
        dag=notice.dag_id,
        run=notice.run_id or "",
        error=notice.error,
        at=datetime.now(UTC),
        attempt=notice.try_number or 0,
        steps=(notice.advice,) if notice.advice else (),
        log_url=(notice.log_url or "") if linked else "",
    )
    try:
        return await build_notice(
            "failure",
            failure,
            search_path=(*template_search_path("alerts", dag), *template_search_path("reports", dag)),
            now=failure.at,
        )
    except (KimiProviderError, OSError) as error:
        log.warning("The failure's notice is sent plain: %s", error)
        return None

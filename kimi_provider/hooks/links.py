"""Links from a task in Airflow's UI to what the provider's pages show of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class _PageLink(BaseOperatorLink):
    """Leads to a page inside Airflow's UI; made on the worker when a task ends, however it ends."""

    page: ClassVar[str]

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 — Airflow gives it
        """Return the page of a task instance.

        :param operator: the task.
        :param ti_key: its DAG, run, task and map index.
        """
        index = -1 if ti_key.map_index is None else ti_key.map_index
        ids = "/".join(quote(name, safe="") for name in (ti_key.dag_id, ti_key.run_id, ti_key.task_id))
        base = conf.get("api", "base_url", fallback="").rstrip("/")
        # The first "kimi" is the plugin's place in the UI's menu, the second where its pages are served.
        return f"{base}/plugin/kimi/kimi/{self.page}/{ids}/{index}"


class KimiReportLink(_PageLink):
    """Leads from a report task to its report."""

    name = "Report"
    page = "view"


class KimiTraceLink(_PageLink):
    """Leads from a task that asks Kimi to what was asked, thought, answered and paid."""

    name = "Trace"
    page = "traces"


class KimiLineageLink(_PageLink):
    """Leads from an analysis to the SQL behind each figure of its text."""

    name = "Lineage"
    page = "lineage"


class KimiAlertsLink(_PageLink):
    """Leads from an alert task to the state and history of its alerts."""

    name = "Alerts"
    page = "alerts"

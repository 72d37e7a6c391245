"""Every night: what the reports have left behind goes when its time is over.

How long that is says the setting ``retention_days`` of the section ``kimi``; see ``airflow kimi clean``.
"""

from datetime import UTC, datetime

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,  # it deletes, so somebody has to want it
    params={
        "days": Param("", type="string", description="In place of the setting: 30, report=365"),
        "dry_run": Param(default=False, type="boolean", description="Only say what would go"),
    },
    tags=["kimi"],
)
def kimi_maintenance() -> None:
    """Remove expired journals, traces, datasets, reports and ledgers."""

    @task(retries=2)
    def remove_expired(params: dict[str, object] | None = None) -> dict[str, dict[str, int]]:
        """Return how many files and bytes of each kind went."""
        from kimi_provider.hooks.retention import Retention, expire, summary

        given = params or {}
        days = str(given.get("days") or "")
        retention = Retention.parse(days) if days else Retention.configured()
        if not retention.days:
            raise AirflowSkipException("retention_days of the section kimi is empty: all is kept.")
        return summary(expire(retention, dry_run=bool(given.get("dry_run"))))

    remove_expired()


kimi_maintenance()

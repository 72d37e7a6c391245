"""The chain once for each part of Airflow that a test kills; tasks wait where the test wants them to."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Context

from kimi_provider.alerts.rules import Always
from kimi_provider.operators.alert import AlertOperator
from kimi_provider.operators.analyze import KimiAnalyzeOperator
from kimi_provider.operators.fetch import HttpFetchOperator
from kimi_provider.operators.report import ReportOperator
from kimi_provider.sources.pagination import PagePagination


def wait_to_tell(context: Context, result: Any) -> None:
    """Wait with the work done and its result not told, as long as a file of the test says so."""
    del result
    ti = context["ti"]
    hold = Path(os.environ["AIRFLOW_HOME"], f"hold-{ti.dag_id}-{ti.task_id}")
    while hold.exists():
        hold.with_name(f"{hold.name}-reached-{os.getpid()}").touch()
        time.sleep(0.1)


def fetch(name: str, **query: str) -> HttpFetchOperator:
    return HttpFetchOperator(
        task_id=f"fetch_{name}",
        http_conn_id="flights_api",
        endpoint=f"data/{name}",
        query=query,
        records_path="data",
        pagination=PagePagination(),
    )


RETRIES = {"retries": 8, "retry_delay": timedelta(seconds=1)}

for dag_id, deferrable in {
    "restarts": True,
    "restarts_triggerer": True,
    "restarts_api-server": True,
    "restarts_scheduler": False,
    "restarts_worker": False,
}.items():
    with DAG(dag_id, schedule=None, default_args=RETRIES):
        last_week = {"from": "{{ macros.ds_add(ds, -7) }}", "to": "{{ ds }}"}
        analysis = KimiAnalyzeOperator(
            task_id="analyze",
            prompt="flight_on_time",
            datasets={
                "flights": fetch("flights", **last_week).output,
                "weather": fetch("weather", **last_week).output,
                "airlines": fetch("airlines").output,
            },
            parameters={"day": "{{ ds }}"},
            deferrable=deferrable,
        ).output
        report = ReportOperator(
            task_id="report",
            analysis=analysis,
            template="daily_brief",
            title="New York flights",
            post_execute=wait_to_tell,
        ).output
        AlertOperator(
            task_id="alert",
            analysis=analysis,
            report=report,
            rules=[Always()],
            to="ann@example.com, bob@example.com",
            post_execute=wait_to_tell,
        )

with DAG("restarts_mailing", schedule=None, default_args=RETRIES):
    AlertOperator(
        task_id="alert", rules=[Always()], to="ann@example.com, bob@example.com, cat@example.com"
    )

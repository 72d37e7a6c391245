"""Airflow DAGs whose mail waits for a person: a whole report, and alerts that nobody answers."""

from datetime import timedelta

from airflow.sdk import DAG

from kimi_provider.alerts.approval import Approval
from kimi_provider.alerts.rules import Always
from kimi_provider.operators.alert import AlertOperator
from kimi_provider.operators.kimi_report import kimi_report
from kimi_provider.sources.pagination import PagePagination


def _from_api(endpoint: str, **query: str) -> dict[str, dict[str, object]]:
    return {
        "http": {
            "http_conn_id": "flights_api",
            "endpoint": endpoint,
            "query": query,
            "records_path": "data",
            "pagination": PagePagination(),
        }
    }


with DAG("approvals", schedule=None):
    last_week = {"from": "{{ macros.ds_add(ds, -7) }}", "to": "{{ ds }}"}
    kimi_report(
        None,
        sources={
            "flights": _from_api("data/flights", **last_week),
            "weather": _from_api("data/weather", **last_week),
            "airlines": _from_api("data/airlines"),
        },
        prompt="flight_on_time",
        parameters={"day": "{{ ds }}"},
        title="New York flights",
        to="ann@example.com, bob@example.com",
        owner="owner@example.com",
        require_approval="always",
    )

for default in ("approve", "reject"):
    with DAG(f"unanswered_{default}", schedule=None):
        AlertOperator(
            task_id="alert",
            rules=[Always()],
            to=f"{default}@example.com",
            require_approval=Approval(timeout=timedelta(seconds=8), default=default),
        )

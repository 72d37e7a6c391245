"""A report that a person reads before anyone else does, with one notice to its owner if it fails."""

from datetime import timedelta

from airflow.sdk import dag

from kimi_provider.alerts.approval import Approval
from kimi_provider.operators.kimi_report import kimi_report
from kimi_provider.sources.pagination import PagePagination


@dag(schedule=None)
def example_reviewed_report() -> None:
    """Fetch, analyze and report; mail it when somebody has approved it."""

    def from_api(endpoint: str, **query: str) -> dict[str, dict[str, object]]:
        return {
            "http": {
                "http_conn_id": "flights_api",
                "endpoint": endpoint,
                "query": query,
                "records_path": "data",
                "pagination": PagePagination(),
            }
        }

    last_week = {"from": "{{ macros.ds_add(ds, -7) }}", "to": "{{ ds }}"}
    kimi_report(
        "report",
        sources={
            "flights": from_api("data/flights", **last_week),
            "weather": from_api("data/weather", **last_week),
            "airlines": from_api("data/airlines"),
        },
        prompt="flight_on_time",
        parameters={"day": "{{ ds }}"},
        title="New York flights",
        to="operations@example.com",
        owner="data-team@example.com",
        require_approval=Approval("always", timeout=timedelta(hours=4), default="reject"),
    )


example_reviewed_report()

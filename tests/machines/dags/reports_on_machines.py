"""The chain twice: the model is waited for in a worker, and in a triggerer."""

from airflow.sdk import DAG

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


for where in ("worker", "triggerer"):
    with DAG(f"waits_in_{where}", schedule=None):
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
            to=f"ann@{where}.example, bob@{where}.example",
            formats=["xlsx"],
            analyze={"deferrable": where == "triggerer"},
        )

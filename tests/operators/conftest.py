"""A simulator, its connections, and the context that Airflow would give to a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from kimi_provider.alerts.rules import Always
from kimi_provider.operators.alert import AlertOperator
from kimi_provider.operators.analyze import KimiAnalyzeOperator
from kimi_provider.operators.fetch import HttpFetchOperator
from kimi_provider.operators.report import ReportOperator
from kimi_provider.sources.pagination import PagePagination
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAY = "2013-02-08"
WEEK_BEFORE = "2013-02-01"


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(
    running_simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Simulator:
    running_simulator.reset()
    for name, value in running_simulator.connections().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", (tmp_path / "storage").as_uri())
    return running_simulator


@dataclass
class Chain:
    """Runs operators one by one, as the tasks of one DAG run."""

    dag: DAG
    run_id: str = "manual__2013-02-08T00:00:00+00:00"
    values: dict[str, Any] = field(default_factory=dict)

    def run(self, operator_class: Callable[..., Any], task_id: str, **arguments: Any) -> Any:
        """Make a task and execute it; a second time with the same id is a retry."""
        dag = DAG(self.dag.dag_id, schedule=None, template_searchpath=self.dag.template_searchpath)
        operator = operator_class(task_id=task_id, dag=dag, **arguments)
        ti = SimpleNamespace(
            dag_id=dag.dag_id,
            run_id=self.run_id,
            task_id=task_id,
            map_index=-1,
            try_number=1,
            xcom_push=dict,
        )
        self.values[task_id] = operator.execute({"ti": ti})
        return self.values[task_id]

    def fetch(self, name: str, **arguments: Any) -> Any:
        query = {} if name in {"airlines", "hostile"} else {"from": WEEK_BEFORE, "to": DAY}
        settings = {
            "http_conn_id": "flights_api",
            "endpoint": f"data/{name}",
            "query": query,
            "records_path": "data",
            "pagination": PagePagination(),
        }
        return self.run(HttpFetchOperator, f"fetch_{name}", **settings | arguments)

    def analyze(self, **arguments: Any) -> Any:
        settings = {"prompt": "flight_on_time", "parameters": {"day": DAY}}
        if "datasets" not in arguments:
            settings["datasets"] = {
                name: self.values.get(f"fetch_{name}") or self.fetch(name)
                for name in ("flights", "weather", "airlines")
            }
        return self.run(KimiAnalyzeOperator, "analyze", **settings | arguments)

    def report(self, **arguments: Any) -> Any:
        settings = {"analysis": self.values["analyze"], "title": "New York flights"}
        return self.run(ReportOperator, "report", **settings | arguments)

    def alert(self, **arguments: Any) -> Any:
        settings = {
            "analysis": self.values["analyze"],
            "report": self.values.get("report"),
            "rules": [Always()],
            "to": "ann@example.com, bob@example.com",
        }
        return self.run(AlertOperator, "alert", **settings | arguments)


@pytest.fixture
def chain(simulator: Simulator, tmp_path: Path) -> Chain:
    templates = tmp_path / "templates"
    (templates / "prompts").mkdir(parents=True)
    return Chain(DAG("flight_report", schedule=None, template_searchpath=[str(templates)]))

"""The bundled templates as tasks: fetched by an operator, analyzed with nothing but a name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kimi_provider.operators.fetch import HttpFetchOperator
from kimi_provider.reports.format import Formatter
from kimi_provider.schemas import Fact
from kimi_provider.sources.pagination import OffsetPagination
from kimi_provider.testing import airflow_api


def sheet_of(analysis: dict) -> dict:
    sheet = json.loads(Path(analysis["facts_uri"].removeprefix("file://")).read_text())
    return {fact["id"]: fact for fact in sheet["facts"]}


@pytest.mark.parametrize("language", ["en", "pl"])
def test_an_executive_summary_of_whatever_was_fetched(chain, simulator, language):
    flights = chain.fetch("flights")
    analysis = chain.analyze(
        prompt="executive_summary", datasets={"flights": flights}, parameters={"language": language}
    )
    facts = sheet_of(analysis)
    assert facts["flights.rows"]["value"] == flights["rows"]
    assert facts["flights_day.rows"]["period"] == "2013-02-08"
    assert facts["flights_day.dep_delay"]["comparisons"][0]["direction"] == "up"
    assert analysis["language"] == language
    assert len(json.dumps(analysis)) < 48_000, "it travels through XCom"

    chain.report(locale=language)
    chain.alert()
    mail = simulator.mailbox.messages[0]
    assert Formatter(language).fact(Fact.model_validate(facts["flights_day.dep_delay"])) in mail.text
    assert ("dzień wcześniej" if language == "pl" else "the day before") in mail.text


def test_pipeline_health_of_an_airflow(chain):
    def fetch(task_id, endpoint, records):
        return chain.run(
            HttpFetchOperator,
            task_id,
            http_conn_id="flights_api",
            endpoint=f"api/v2/dags/~/dagRuns{endpoint}",
            query={"run_after_gte": "2013-01-31T00:00:00Z", "run_after_lte": "2013-02-08T23:59:59Z"},
            records_path=records,
            pagination=OffsetPagination(limit=airflow_api.MAX_LIMIT, total_path="total_entries"),
        )

    analysis = chain.analyze(
        prompt="pipeline_health",
        parameters={"day": "2013-02-08"},
        datasets={
            "runs": fetch("runs", "", "dag_runs"),
            "tasks": fetch("tasks", "/~/taskInstances", "task_instances"),
        },
    )
    facts = sheet_of(analysis)
    assert facts["day.runs"]["value"] == 54
    assert facts["failing.ingest_orders.failed"]["value"] > 1
    assert facts["slow.build_marts.times_usual"]["value"] > 2
    assert facts["day.failed"]["lineage"]["datasets"].keys() == {"runs"}
    assert analysis["period"] == "2013-02-08"

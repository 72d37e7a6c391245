"""Lineage from source to report: as OpenLineage's provider takes it, and for any other listener."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.sdk import lineage as airflow_lineage
from airflow.utils.state import TaskInstanceState
from openlineage.client.serde import Serde

from kimi_provider.operators.analyze import KimiAnalyzeOperator
from kimi_provider.operators.fetch_files import FileFetchOperator
from kimi_provider.operators.fetch_sql import SqlFetchOperator


@pytest.fixture
def told(chain, monkeypatch):
    """Run the chain; return what OpenLineage would get of each task when it ends, by task id."""
    events = {}
    run = chain.run

    def run_and_ask(operator_class, task_id, **arguments):
        made = []

        def make(**kwargs):
            made.append(operator_class(**kwargs))
            return made[0]

        try:
            return run(make, task_id, **arguments)
        finally:
            events[task_id] = extracted(made[0], TaskInstanceState.SUCCESS)

    monkeypatch.setattr(chain, "run", run_and_ask)
    return events


def extracted(task, state):
    """Return what the provider's own manager takes of a task, as the JSON that it would send."""
    run, ti = SimpleNamespace(run_id="r"), SimpleNamespace(task=task)
    found = ExtractorManager().extract_metadata(run, task, state, task_instance=ti)
    return json.loads(Serde.to_json(found))


def names(datasets):
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def test_the_chain_is_one_graph_from_the_api_to_the_report(chain, simulator, told):
    chain.analyze()
    chain.report()
    chain.alert()
    fetch, analyze, report, alert = (told[t] for t in ("fetch_flights", "analyze", "report", "alert"))

    (source,) = names(fetch["inputs"])
    assert source == (simulator.url.rstrip("/"), "/data/flights")
    assert names(fetch["outputs"])[0] in names(analyze["inputs"])
    assert len(analyze["inputs"]) == 3
    assert names(analyze["outputs"]) == names(report["inputs"])
    page = ("file", chain.values["report"]["page_uri"].removeprefix("file://"))
    assert names(report["outputs"])[0] == page
    assert page in names(alert["inputs"])


def test_a_dataset_has_its_schema_version_and_size_and_a_name_for_all_runs(chain, told):
    value = chain.fetch("flights")
    (dataset,) = told["fetch_flights"]["outputs"]
    facets = dataset["facets"]

    fields = {field["name"]: field["type"] for field in facets["schema"]["fields"]}
    assert fields == {column["name"]: column["type"] for column in value["columns"]}
    assert facets["version"]["datasetVersion"] == value["sha256"]
    assert facets["storage"]["fileFormat"] == "parquet"
    assert dataset["outputFacets"]["outputStatistics"]["rowCount"] == value["rows"]
    (link,) = facets["symlinks"]["identifiers"]
    assert (link["namespace"], link["name"]) == ("x-kimi", "flight_report/fetch_flights")


def test_runs_tell_what_they_took_and_nothing_of_texts_and_people(chain, simulator, told):
    analysis = chain.analyze()
    chain.report()
    chain.alert()

    took = told["analyze"]["run_facets"]["kimi_usage"]
    assert took["calls"] == analysis["usage"]["calls"] > 0
    assert took["inputTokens"] == analysis["usage"]["input_tokens"]
    assert took["costUsd"] == analysis["usage"]["cost_usd"]
    made = told["analyze"]["run_facets"]["kimi_analysis"]
    assert made["groundingScore"] == analysis["grounding"]["score"]
    assert made["model"] == analysis["model"]
    assert told["report"]["run_facets"]["kimi_report"]["sha256"] == chain.values["report"]["sha256"]
    assert told["alert"]["run_facets"]["kimi_alert"]["receipts"] == {"queued": 2}
    everything = json.dumps(told)
    assert "@example.com" not in everything
    assert analysis["headline"] not in everything


def test_before_it_runs_a_task_says_what_it_will_read(chain):
    datasets = {"flights": chain.fetch("flights")}
    task = KimiAnalyzeOperator(task_id="t", dag=chain.dag, prompt="p", datasets=datasets)
    planned = extracted(task, TaskInstanceState.RUNNING)

    assert names(planned["inputs"]) == [("file", datasets["flights"]["uri"].removeprefix("file://"))]
    assert planned["outputs"] == []


def test_a_failure_tells_what_was_paid(chain, simulator, told):
    chain.fetch("flights")
    simulator.faults.add("/v1/chat", "content_filter")
    with pytest.raises(Exception, match="content"):
        chain.analyze()
    assert told["analyze"]["run_facets"]["kimi_usage"]["calls"] == 0
    assert len(told["analyze"]["inputs"]) == 3


def test_a_secret_in_a_url_is_told_to_nobody(chain, simulator, told, monkeypatch):
    host = simulator.url.replace("http://", "http://user:sesame@").rstrip("/")
    monkeypatch.setenv("AIRFLOW_CONN_OPEN", json.dumps({"conn_type": "http", "host": host}))
    value = chain.fetch("airlines", http_conn_id="open")
    assert value["rows"]
    assert "sesame" not in json.dumps(told)
    assert names(told["fetch_airlines"]["inputs"])[0][1] == "/data/airlines"


def test_the_tables_of_a_statement_are_its_inputs(chain, told, monkeypatch, tmp_path, postgres):
    import psycopg

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS lineage_orders")
        connection.execute("CREATE TABLE lineage_orders AS SELECT 1 AS id")
    sql = "SELECT o.id FROM lineage_orders o JOIN public.lineage_orders p USING (id) WHERE o.id < %s"
    chain.run(SqlFetchOperator, "fetch_sql", sql=sql, conn_id="warehouse", parameters=(4711,))
    event = told["fetch_sql"]

    ((namespace, name),) = names(event["inputs"])
    assert namespace.startswith("postgres://")
    assert name.endswith(".public.lineage_orders")
    assert "lineage_orders" in event["job_facets"]["sql"]["query"]
    assert "4711" not in json.dumps(event)
    assert len(event["outputs"]) == 1


def test_a_database_whose_provider_tells_nothing_is_still_named(chain, told, monkeypatch, tmp_path):
    import sqlite3
    from contextlib import closing

    file = tmp_path / "sales.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE sales AS SELECT 1 AS id")
        connection.commit()
    monkeypatch.setenv("AIRFLOW_CONN_SALES", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    chain.run(SqlFetchOperator, "fetch_sql", sql="SELECT id FROM sales", conn_id="sales")
    assert names(told["fetch_sql"]["inputs"]) == [("sqlite", f"{file}.sales")]


def test_files_are_named_one_by_one(chain, told, tmp_path):
    for day in ("01", "02"):
        (tmp_path / f"sales-{day}.csv").write_text("id\n1\n")
    chain.run(FileFetchOperator, "fetch_files", path=f"{tmp_path}/sales-*.csv")
    found = names(told["fetch_files"]["inputs"])
    assert found == [("file", f"{tmp_path}/sales-01.csv"), ("file", f"{tmp_path}/sales-02.csv")]
    task = FileFetchOperator(task_id="f", dag=chain.dag, path=f"{tmp_path}/sales-*.csv")
    assert names(extracted(task, TaskInstanceState.RUNNING)["inputs"]) == [("file", str(tmp_path))]


@pytest.fixture
def collector(monkeypatch):
    """Return a collector as it is where a plugin has registered a reader."""
    made = airflow_lineage.HookLineageCollector()
    monkeypatch.setattr(airflow_lineage, "get_hook_lineage_collector", lambda: made)
    return made


def test_any_listener_gets_the_hook_lineage(chain, simulator, collector):
    chain.analyze()
    chain.report()
    collected = collector.collected_assets
    read = {one.asset.uri for one in collected.inputs}
    written = {one.asset.uri for one in collected.outputs}

    assert f"{simulator.url.rstrip('/')}/data/flights" in read
    assert chain.values["fetch_flights"]["uri"] in read & written
    assert chain.values["analyze"]["facts_uri"] in read & written
    assert chain.values["report"]["page_uri"] in written


def test_a_statement_is_told_without_its_parameters(chain, collector, monkeypatch, tmp_path):
    import sqlite3

    sqlite3.connect(tmp_path / "s.db").close()
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "s.db")}
    monkeypatch.setenv("AIRFLOW_CONN_SALES", json.dumps(connection))
    monkeypatch.setattr(
        "airflow.providers.common.sql.hooks.lineage.get_hook_lineage_collector", lambda: collector
    )
    chain.run(SqlFetchOperator, "f", sql="SELECT ? AS id", conn_id="sales", parameters=(4711,))
    (told,) = [one for one in collector.collected_assets.extra if one.key == "sql_job"]
    assert told.value == {"sql": "SELECT ? AS id", "row_count": 1}


def test_a_listener_that_fails_fails_no_task(chain, collector, monkeypatch):
    def broken(*_, **__):
        raise ValueError("no such asset")

    monkeypatch.setattr(collector, "add_output_asset", broken)
    assert chain.fetch("airlines")["rows"]


def test_without_openlineage_nothing_is_told_and_nothing_breaks(chain, monkeypatch):
    for name in [
        n for n in sys.modules if n.split(".")[0] == "openlineage" or "providers.openlineage" in n
    ]:
        monkeypatch.setitem(sys.modules, name, None)
    made = []

    def make(**arguments):
        made.append(KimiAnalyzeOperator(**arguments))
        return made[0]

    datasets = {name: chain.fetch(name) for name in ("flights", "weather", "airlines")}
    chain.run(
        make, "analyze", prompt="flight_on_time", parameters={"day": "2013-02-08"}, datasets=datasets
    )
    assert made[0].get_openlineage_facets_on_start() is None
    assert made[0].get_openlineage_facets_on_complete(None) is None
    assert made[0].get_openlineage_facets_on_failure(None) is None

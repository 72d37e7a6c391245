"""Strategies, fallbacks and empty data, as a DAG sees them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import duckdb  # noqa: TID253 — makes the data
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from kimi_provider.exceptions import ConfigurationError, RateLimitError
from kimi_provider.operators.analyze import KimiAnalyzeOperator
from kimi_provider.operators.map_reduce import KimiPlanOperator
from kimi_provider.operators.report import ReportOperator

CHAT = "chat/completions"
SHOP = """\
---
needs: [day.orders]
metrics:
  - id: day
    sql: SELECT count(*) AS orders, sum(amount) AS revenue FROM orders
    columns: {orders: {label: Orders, unit: count, kpi: true}}
---
Report on the shop.
"""
TICKETS = """\
---
strategy: map_reduce
text: {column: body, chunk_tokens: 1500}
metrics:
  - {id: tickets, sql: "SELECT count(*) AS tickets FROM tickets", columns: {tickets: {unit: count}}}
---
Write what customers write about.
"""


@pytest.fixture
def shop(simulator, tmp_path):
    """Write templates and data; return what a fetch would."""
    prompts = tmp_path / "templates" / "prompts"
    prompts.mkdir(parents=True)
    (prompts / "shop.md.j2").write_text(SHOP)
    (prompts / "tickets.md.j2").write_text(TICKETS)

    def write(name, select):
        path = tmp_path / f"{name}.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
            (rows,) = connection.execute(f"SELECT count(*) FROM '{path}'").fetchone()
        reference = {
            "uri": path.as_uri(),
            "rows": rows,
            "bytes": path.stat().st_size,
            "sha256": f"{len(name):064d}",
            "source": "test",
            "columns": [],
        }
        return {name: reference}

    return write


@pytest.fixture
def dag(tmp_path):
    return DAG("shop", schedule=None, template_searchpath=[str(tmp_path / "templates")])


ORDERS = "SELECT i AS number, i * 2 AS amount FROM range(1, 9) AS r(i)"
NONE = f"{ORDERS} WHERE i > 99"


def analyze(dag, *, tries=(1, 0), task_id="analyze", **arguments):
    number, most = tries
    dag = DAG("shop", schedule=None, template_searchpath=dag.template_searchpath)
    operator = KimiAnalyzeOperator(task_id=task_id, dag=dag, **{"prompt": "shop", **arguments})
    ti = SimpleNamespace(
        dag_id="shop", run_id="r", task_id=task_id, map_index=-1, try_number=number, max_tries=most
    )
    return operator.execute({"ti": ti})


def report(dag, analysis):
    operator = ReportOperator(task_id="report", dag=dag, analysis=analysis, title="The shop")
    ti = SimpleNamespace(
        dag_id="shop", run_id="r", task_id="report", map_index=-1, try_number=1, max_tries=0
    )
    return operator.execute({"ti": ti})


def text_of(reference):
    return Path(reference["text_uri"].removeprefix("file://")).read_text()


# --- the model fails -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("quota", "no_balance"),
        ("tpd", "daily_limit"),
        ("content_filter", "content_filter"),
        ("unauthorized", "access_denied"),
    ],
)
def test_a_fallback_says_the_facts_alone_and_is_marked(shop, dag, simulator, fault, word):
    simulator.faults.add("/v1/chat", fault, times=None)
    # No retry helps against these, so the first try of three falls back.
    analysis = analyze(dag, datasets=shop("orders", ORDERS), on_llm_failure="fallback", tries=(1, 2))
    assert (analysis["failure"], analysis["model"]) == (word, "")
    assert analysis["headline"] == "Orders: [[day.orders]]"
    assert {finding["severity"] for finding in analysis["findings"]} == {"info"}
    shown = text_of(report(dag, analysis))
    assert "Orders: 8" in shown
    assert "72" in shown
    assert "[[" not in shown


def test_a_budget_that_is_too_small_falls_back_too(shop, dag, simulator):
    analysis = analyze(
        dag, datasets=shop("orders", ORDERS), on_llm_failure="fallback", max_cost_usd="0.000001"
    )
    assert analysis["failure"] == "over_budget"
    assert simulator.calls.count(CHAT) == 0


def test_what_a_retry_may_mend_fails_until_the_last_try(shop, dag, simulator, monkeypatch):
    connection = json.loads(simulator.connections()["AIRFLOW_CONN_KIMI_DEFAULT"])
    connection["extra"] = {**connection.get("extra", {}), "max_attempts": 1}
    monkeypatch.setenv("AIRFLOW_CONN_KIMI_DEFAULT", json.dumps(connection))
    simulator.faults.add("/v1/chat", "rate_limit", times=None)
    datasets = shop("orders", ORDERS)
    with pytest.raises(RateLimitError):
        analyze(dag, datasets=datasets, on_llm_failure="fallback", tries=(1, 1))
    analysis = analyze(dag, datasets=datasets, on_llm_failure="fallback", tries=(2, 1))
    assert analysis["failure"] == "rate_limited"


def test_a_failure_can_skip_or_fail(shop, dag, simulator):
    simulator.faults.add("/v1/chat", "quota", times=None)
    datasets = shop("orders", ORDERS)
    with pytest.raises(AirflowSkipException, match="QuotaExceededError"):
        analyze(dag, datasets=datasets, on_llm_failure="skip")
    with pytest.raises(AirflowFailException, match="QuotaExceededError"):
        analyze(dag, datasets=datasets)


def test_a_wrong_setting_is_no_failure_of_the_model(shop, dag):
    datasets = shop("orders", ORDERS)
    with pytest.raises(AirflowFailException, match="ConfigurationError"):
        analyze(dag, datasets=datasets, on_llm_failure="fallback", parameters={"nobody": 1})
    with pytest.raises(AirflowFailException, match="strategy='guess'"):
        analyze(dag, datasets=datasets, strategy="guess")
    with pytest.raises(ConfigurationError, match="on_llm_failure='perhaps'"):
        analyze(dag, datasets=datasets, on_llm_failure="perhaps")


# --- no data ---------------------------------------------------------------------------------------


def test_no_data_fails_is_reported_or_skips(shop, dag, simulator):
    datasets = shop("orders", NONE)
    with pytest.raises(AirflowFailException, match="nothing to analyze"):
        analyze(dag, datasets=datasets)
    with pytest.raises(AirflowSkipException, match="nothing to analyze"):
        analyze(dag, datasets=datasets, on_no_data="skip")
    analysis = analyze(dag, datasets=datasets, on_no_data="report")
    assert analysis["failure"] == "no_data"
    assert analysis["findings"] == []
    mail = report(dag, analysis)
    assert mail["empty"]
    assert len(text_of(mail)) < 3_000
    assert simulator.calls.count(CHAT) == 0


# --- many machines ---------------------------------------------------------------------------------

BODIES = """
SELECT i AS ticket, 'Ticket about ' || ['delivery', 'invoices', 'passwords'][1 + i % 3] ||
       ' that came. ' || repeat('Please look into it soon. ', 4) AS body
FROM range(200) AS r(i)
"""


MANY_MACHINES = """
import json, pathlib
from airflow.sdk import DAG, task
from kimi_provider.operators.analyze import KimiAnalyzeOperator
from kimi_provider.operators.map_reduce import KimiMapOperator, KimiPlanOperator

TEXT = {{"prompt": "tickets", "datasets": {datasets!r}}}
with DAG("many_machines", schedule=None, template_searchpath=[{templates!r}]):
    plan = KimiPlanOperator(task_id="plan", **TEXT)
    parts = KimiMapOperator.partial(task_id="read", **TEXT).expand(chunk=plan.output)
    analysis = KimiAnalyzeOperator(task_id="analyze", partials=parts.output, **TEXT)

    @task
    def keep(value):
        pathlib.Path({kept!r}).write_text(json.dumps(value))

    keep(analysis.output)
"""


def told_usages(run_id):
    """Return what the tasks of a run have told where costs are looked for."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(XComModel).where(XComModel.run_id == run_id, XComModel.key == "kimi_usage")
        return [
            row.value if isinstance(row.value, dict) else json.loads(row.value)
            for row in session.scalars(query)
        ]


def test_parts_are_read_by_mapped_tasks_and_counted_by_one(airflow_db, shop, tmp_path, simulator):
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    assert airflow_db.exists()
    kept, folder = tmp_path / "kept.json", tmp_path / "dags"
    folder.mkdir()
    text = MANY_MACHINES.format(
        datasets=shop("tickets", BODIES), templates=str(tmp_path / "templates"), kept=str(kept)
    )
    (folder / "many_machines.py").write_text(text)
    bag = DagBag(folder, bundle_name="dags-folder")
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    run = bag.dags["many_machines"].test()
    assert str(run.state) == "success"
    value = json.loads(kept.read_text())
    parts_read = simulator.calls.count(CHAT) - 2
    assert parts_read > 3
    assert value["strategy"] == "map_reduce"
    assert value["usage"]["calls"] == parts_read + 2
    assert sum(usage["calls"] for usage in told_usages(run.run_id)) == parts_read + 2
    sheet = json.loads(Path(value["facts_uri"].removeprefix("file://")).read_text())
    values = {fact["id"]: fact["value"] for fact in sheet["facts"]}
    table = next(table for table in sheet["tables"] if table["id"] == "themes")
    counts = {row[0]: values[row[1]] for row in table["rows"]}
    assert values["texts.records"] == 200
    assert set(counts) == {"Delivery", "Invoices", "Passwords"}
    assert counts["Invoices"] == len([i for i in range(200) if i % 3 == 1])


def test_a_plan_that_is_too_dear_fails_with_nothing_paid(shop, dag, simulator):
    operator = KimiPlanOperator(
        task_id="plan", dag=dag, prompt="tickets", datasets=shop("tickets", BODIES), max_cost_usd="0.1"
    )
    with pytest.raises(AirflowFailException, match=r"max_cost_usd=0\.1"):
        operator.execute({})
    assert simulator.calls.count(CHAT) == 0

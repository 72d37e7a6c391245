from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from kimi_provider.hooks.storage import storage_root
from kimi_provider.schemas import ReportRef, Severity
from kimi_provider.storage import write_text

PAGE = "<!doctype html><title>Flights</title><p>Grüße: <script>alert(1)</script></p>"

# What a hostile model, source or colleague might write wherever a text can stand.
TRICK = """"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}</style></pre>' ../../x"""

# Airflow knows a task's kind by the name of its class alone, so these stand in for the real ones and
# leave behind what they are told to.
DAG = """
import json
from datetime import datetime, timedelta, UTC

from airflow.sdk import DAG, BaseOperator, task

from kimi_provider.alerts.book import Book
from kimi_provider.hooks.alert_state import alert_store
from kimi_provider.hooks.storage import task_folder
from kimi_provider.storage import write_text

given = json.loads({given!r})


class Told(BaseOperator):
    template_fields = ("max_cost_usd",)

    def __init__(self, *, name, max_cost_usd=None, **kwargs):
        super().__init__(**kwargs)
        self.name = name
        self.max_cost_usd = max_cost_usd

    def execute(self, context):
        told = given[self.name]
        for file, content in told.get("files", {{}}).items():
            write_text(task_folder(context) / file, json.dumps(content))
        if "usage" in told:
            context["ti"].xcom_push(key="kimi_usage", value=told["usage"])
        if "book" in told:
            book = Book.model_validate(told["book"])
            alert_store(context).update(lambda _: (book, None))
        return told.get("value")


class ReportOperator(Told):
    pass


class KimiAnalyzeOperator(Told):
    pass


class AlertOperator(Told):
    pass


class HttpFetchOperator(Told):
    pass


with DAG("reports", schedule=None):
    for name, value in json.loads({values!r}).items():
        task(task_id=name)(lambda value=value: value)()

    @task
    def mapped(value):
        return value

    mapped.expand(value=json.loads({expanded!r}))

with DAG("chain", schedule=None):
    HttpFetchOperator(task_id="fetch", name="fetch")
    KimiAnalyzeOperator(task_id="analyze", name="analyze", max_cost_usd=0.5)
    ReportOperator(task_id="report", name="report")
    AlertOperator(task_id="alert", name="alert")

with DAG("secret", schedule=None):
    KimiAnalyzeOperator(task_id="analyze", name="analyze")
    ReportOperator(task_id="report", name="report")
    AlertOperator(task_id="alert", name="alert")
"""


def ref(page_uri, **changes):
    return ReportRef(
        **{
            "subject": "Flights",
            "html_uri": page_uri,
            "page_uri": page_uri,
            "text_uri": page_uri,
            "severity": Severity.INFO,
            "sha256": hashlib.sha256(PAGE.encode()).hexdigest(),
            "created_at": datetime(2013, 2, 8, tzinfo=UTC),
        }
        | changes
    ).model_dump(mode="json")


def left_behind(root):
    """Return what the tasks of the chain leave, each of their texts a trick."""
    page, pdf = root / "chain" / "page.html", root / "chain" / "report.pdf"
    write_text(page, PAGE)
    write_text(pdf, "%PDF")
    usage = {
        "calls": 2, "input_tokens": 900, "output_tokens": 100, "cache_read_tokens": 0,
        "reasoning_tokens": 20, "repeated_calls": 1, "cost_usd": 0.25,
    }  # fmt: skip
    fact = {
        "id": "day.flights", "label": f"Flights {TRICK}", "value": 930, "unit": "count", "period": TRICK,
        "lineage": {"sql": f"SELECT 1 -- {TRICK}", "datasets": {TRICK: "c" * 64}},
    }  # fmt: skip
    analysis = {
        "headline": f"[[day.flights]] flights {TRICK}",
        "summary": f"Nothing of [[gone.fact]] {TRICK} [[~note:unverified]].",
        "findings": [{"title": TRICK, "detail": "[[day.flights]]", "severity": "critical"}],
        "facts": [fact],
        "facts_uri": "file:///etc/passwd",
        "trace_uri": "file:///etc/passwd",
        "model": f"kimi {TRICK}",
        "grounding": {
            "score": 0.5, "sentences": 2, "audit_uri": "file:///etc/passwd",
            "issues": [
                {"kind": TRICK, "where": TRICK, "excerpt": TRICK, "action": "repaired"}
            ],
        },
        "usage": usage,
    }  # fmt: skip
    at = "2013-02-08T00:00:00+00:00"
    entries = [
        {"at": at, "kind": "sql", "metric": TRICK, "sql": TRICK},
        {"at": at, "kind": "request", "model": TRICK, "new_messages": [
            {"role": TRICK, "content": f"a prompt {TRICK}"}]},
        {"at": at, "kind": "reasoning", "text": f"a thought {TRICK}"},
        {"at": at, "kind": "answer", "text": f"an answer {TRICK}", "model": TRICK, "tool_calls": [
            {"name": TRICK, "arguments": json.dumps({"sql": f"SELECT 2 -- {TRICK}"})}]},
        {"at": at, "kind": "usage", **usage, "time_to_first_token": 0.5, "tokens_per_second": 50.0},
        {"at": at, "kind": "tool", "name": TRICK, "arguments": "{", "text": TRICK, "failed": True},
        {"at": TRICK, "kind": TRICK, TRICK: TRICK},
        "no entry", {"kind": 3}, {"kind": "request", "new_messages": "none"},
    ]  # fmt: skip
    event = {"rule": f"bad day {TRICK}", "severity": "critical", "reason": TRICK,
             "labels": {"carrier": TRICK}}  # fmt: skip
    state = event | {
        "firing": True, "since": at, "runs": "0011", "acknowledged": TRICK,
        "told": {TRICK: {"firing": True, "severity": "critical", "at": at, "count": 2}},
    }  # fmt: skip
    item = {
        "id": "1", "receiver": TRICK, "dedup_key": "k", "keys": ["abc123"], "events": [event],
        "group_firing": True, "progress": "failed", "detail": TRICK,
    }  # fmt: skip
    book = {
        "alerts": {"abc123": state}, "newest": at,
        "plans": [{"run_id": TRICK, "at": at, "made_at": at, "items": [item]}],
    }  # fmt: skip
    receipts = [
        {"recipient": f"person{n}@example.com", "status": status}
        for n, status in enumerate(["queued", "queued", "rejected"])
    ]
    file = {"name": f"../{TRICK}.pdf", "uri": pdf.as_uri(), "media_type": "text/html", "bytes": 4}
    outside = file | {"uri": "file:///etc/passwd"}
    dataset = {"uri": page.as_uri(), "rows": 7013, "bytes": 1, "sha256": "c" * 64, "source": TRICK,
               "columns": []}  # fmt: skip
    return {
        "fetch": {"value": dataset},
        "analyze": {"value": analysis, "usage": {"model": f"kimi {TRICK}", **usage}, "files": {
            "trace.json": {"version": 1, "entries": entries},
            "audit.json": {"template": {"name": TRICK}},
            "facts.json": {"facts": [fact], "tables": []},
        }},
        "report": {"value": ref(
            page.as_uri(), subject=f"Report {TRICK}", period=TRICK, failures=(TRICK,),
            severity="critical", attachments=(file, outside), grounding_score=0.5, cost_usd=0.25,
        )},
        "alert": {
            "value": {"events": [event], "receipts": receipts}, "book": book, "files": {"alert.json": {
                "rules": [event | {"fired": True, "saw": {}}],
                "decisions": [{"rule": TRICK, "receiver": TRICK, "told": True, "why": TRICK}],
            }},
        },
    }  # fmt: skip


@pytest.fixture(scope="session")
def reports(airflow_db, airflow_home, tmp_path_factory):
    """Run DAGs whose tasks return reports, good and hostile; return the ids of the first run."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import timezone

    root = storage_root()
    page = root / "d" / "page.html"
    write_text(page, PAGE)
    outside = tmp_path_factory.mktemp("elsewhere") / "secret.html"
    outside.write_text("secret")
    (airflow_home / "kimi" / "link.html").symlink_to(outside)
    values = {
        "report": ref(page.as_uri()),
        "gone": ref((root / "d" / "gone.html").as_uri()),
        "outside": ref(outside.as_uri()),
        "config": ref((airflow_home / "airflow.cfg").as_uri()),
        "climbing": ref(f"{root.as_uri()}/d/../../airflow.cfg"),
        "link": ref(f"{root.as_uri()}/link.html"),
        "folder": ref(f"{root.as_uri()}/d"),
        "root": ref(root.as_uri()),
        "strange": ref("gopher://example.test/x"),
        "number": 3,
        "text": "hello",
        "almost": {**ref(page.as_uri()), "extra": 1},
    }
    dags = tmp_path_factory.mktemp("dags")
    (dags / "reports_dag.py").write_text(
        DAG.format(
            given=json.dumps(left_behind(root)),
            values=json.dumps(values),
            expanded=json.dumps([values["number"], values["report"]]),
        )
    )
    bag = DagBag(dags, bundle_name="dags-folder")
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    runs = {}
    for dag_id in ("reports", "chain", "secret"):
        run = bag.dags[dag_id].test(logical_date=timezone.datetime(2013, 2, 8))
        assert str(run.state) == "success"
        runs[dag_id] = run.run_id
    return {"dag_id": "reports", "run_id": runs["reports"], "runs": runs}


@pytest.fixture(scope="session")
def server(reports):
    """Airflow's own API server application, in this process, with the plugin in it."""
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from starlette.testclient import TestClient

    purge_cached_app()
    return TestClient(create_app(apps="core"), follow_redirects=False)


@pytest.fixture(scope="session")
def token(server):
    """Return a token of a user with this role."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def make(role):
        return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=f"a {role}", role=role))

    return make

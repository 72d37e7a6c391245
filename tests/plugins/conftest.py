from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from kimi_provider.hooks.storage import storage_root
from kimi_provider.schemas import ReportRef, Severity
from kimi_provider.storage import write_text

PAGE = "<!doctype html><title>Flights</title><p>Grüße: <script>alert(1)</script></p>"


def ref(page_uri):
    return ReportRef(
        subject="Flights",
        html_uri=page_uri,
        page_uri=page_uri,
        text_uri=page_uri,
        severity=Severity.INFO,
        sha256=hashlib.sha256(PAGE.encode()).hexdigest(),
        created_at=datetime(2013, 2, 8, tzinfo=UTC),
    ).model_dump(mode="json")


@pytest.fixture(scope="session")
def reports(airflow_db, airflow_home, tmp_path_factory):
    """Run a DAG whose tasks return reports, good and hostile; return its ids."""
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
        f"""
from airflow.sdk import DAG, task

with DAG("reports", schedule=None):
    for name, value in {values!r}.items():
        task(task_id=name)(lambda value=value: value)()

    @task
    def mapped(value):
        return value

    mapped.expand(value=[{values["number"]!r}, {values["report"]!r}])
"""
    )
    bag = DagBag(dags, bundle_name="dags-folder")
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    run = bag.dags["reports"].test(logical_date=timezone.datetime(2013, 2, 8))
    assert str(run.state) == "success"
    return {"dag_id": "reports", "run_id": run.run_id}


@pytest.fixture(scope="session")
def server(reports):
    """Airflow's own API server application, in this process, with the plugin in it."""
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from starlette.testclient import TestClient

    purge_cached_app()
    return TestClient(create_app(apps="core"))


@pytest.fixture(scope="session")
def token(server):
    """Return a token of a user with this role."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def make(role):
        return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=f"a {role}", role=role))

    return make

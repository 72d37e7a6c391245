"""HTTP fetches as tasks: authentication, formats, watermarks, validators and asset events."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64encode
from contextlib import closing
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.assets import announce_dataset, dataset_asset
from kimi_provider.hooks.http import http_endpoint
from kimi_provider.hooks.protection import column_guard, hash_key
from kimi_provider.operators.fetch import HttpFetchOperator
from kimi_provider.schemas import DatasetRef
from kimi_provider.sources.incremental import Incremental
from kimi_provider.sources.pagination import PagePagination
from kimi_provider.sources.protect import Columns
from kimi_provider.sources.request import HttpRequest

API = {"http_conn_id": "flights_api", "records_path": "data", "pagination": PagePagination()}
DAY = {"from": "2013-02-08", "to": "2013-02-08"}


@pytest.fixture
def connection(monkeypatch):
    def define(**fields):
        given = {"conn_type": "http", "host": "api.example.com", **fields}
        monkeypatch.setenv("AIRFLOW_CONN_API", json.dumps(given))
        return http_endpoint("api")

    return define


class TestAuthentication:
    def test_basic(self, connection):
        token = b64encode(b"ann:pa:ss").decode()
        assert connection(login="ann", password="pa:ss").headers == {"Authorization": f"Basic {token}"}

    def test_bearer(self, connection):
        assert connection(password="t0ken").headers == {"Authorization": "Bearer t0ken"}

    def test_header(self, connection):
        assert connection(extra={"X-API-Key": "k3y", "X-Version": 2}).headers == {
            "X-API-Key": "k3y", "X-Version": "2",
        }  # fmt: skip

    def test_a_header_goes_before_login_and_password(self, connection):
        endpoint = connection(login="ann", password="x", extra={"authorization": "Token t"})
        assert endpoint.headers == {"authorization": "Token t"}

    def test_options_are_no_headers(self, connection):
        endpoint = connection(
            extra={
                "verify": False, "cert": ["a.pem", "a.key"], "proxies": {"http": "http://proxy:3128"},
                "timeout": 5, "stream": True, "check_response": False, "max_redirects": 3,
                "allow_redirects": "no", "trust_env": True, "nested": {"a": 1}, "X-Key": "k",
            }
        )  # fmt: skip
        assert endpoint.headers == {"X-Key": "k"}
        assert endpoint.options == {
            "verify": False, "cert": ("a.pem", "a.key"), "proxy": "http://proxy:3128", "timeout": 5.0,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("written", "verify"), [("false", False), ("True", True), ("ca.pem", "ca.pem")]
    )
    def test_verify_may_be_written_as_text(self, connection, written, verify):
        assert connection(extra={"verify_ssl": written}).options == {"verify": verify}

    def test_what_is_not_supported_is_refused(self, connection):
        with pytest.raises(ConfigurationError, match="srv_lookup"):
            connection(extra={"srv_lookup": "true"})

    def test_a_certificate_that_is_not_there_is_named_by_its_setting(self):
        for settings in ({"verify": "/nowhere/ca.pem"}, {"cert": "/nowhere/a.pem"}):
            with pytest.raises(ConfigurationError, match="verify or cert"):
                _ = HttpRequest(base_url="https://x", **settings).tls

    def test_nothing_secret_is_shown(self, connection):
        endpoint = connection(password="s3cr3t", extra={"proxy": "http://u:s3cr3t@proxy"})
        assert "s3cr3t" not in repr(endpoint)
        assert "s3cr3t" not in repr(HttpRequest(base_url="http://x", **endpoint.options))


class TestKey:
    def test_is_the_configured_one(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW__KIMI__HASH_KEY", "a long and secret text")
        assert hash_key() == b"a long and secret text"

    def test_is_made_from_the_fernet_key(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "first,second")
        first = hash_key()
        assert len(first) == 32
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "first")
        assert hash_key() == first
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "second")
        assert hash_key() != first

    def test_is_needed_only_for_hashing(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
        assert column_guard(Columns(drop=["a"]))
        with pytest.raises(ConfigurationError, match="hash_key"):
            column_guard(Columns(hash=["a"]))


class TestIncremental:
    def test_each_run_reads_what_came_since(self, chain):
        def run(name, last):
            chain.run_id = name
            return chain.fetch(
                "flights",
                query={"from": "2013-02-01", "to": last},
                incremental=Incremental("time_hour", "since"),
            )

        first, second = run("one", "2013-02-01"), run("two", "2013-02-02")
        again, third = run("one", "2013-02-02"), run("three", "2013-02-02")
        two_days = chain.run(
            HttpFetchOperator, "two", endpoint="data/flights",
            query={"from": "2013-02-01", "to": "2013-02-02"}, **API,
        )  # fmt: skip
        assert first["rows"] + second["rows"] == two_days["rows"]
        assert again["sha256"] == first["sha256"]
        assert (third["rows"], third["watermark"]) == (0, second["watermark"])
        assert first["watermark"] < second["watermark"] == "2013-02-03T04:00:00Z"

    def test_is_not_conditional(self):
        with pytest.raises(ConfigurationError, match="exclude each other"):
            HttpFetchOperator(
                task_id="t", endpoint="x", incremental=Incremental("a", "b"), conditional=True
            )


class TestConditional:
    def test_the_next_run_gets_the_same_dataset(self, chain, simulator, capsys):
        first = chain.fetch("flights", query=DAY, conditional=True)
        chain.run_id = "the next"
        assert chain.fetch("flights", query=DAY, conditional=True) == first
        assert "has not changed since" in capsys.readouterr().out
        assert simulator.calls.count("data/flights") == 2

    def test_it_is_off_by_itself(self, chain):
        first = chain.fetch("airlines")
        chain.run_id = "the next"
        assert chain.fetch("airlines")["uri"] != first["uri"]


class TestProtection:
    def test_is_applied_and_said(self, chain):
        dataset = chain.fetch(
            "flights", query=DAY, columns=Columns(drop=["dest"], hash=["tailnum"], detect=True)
        )
        columns = {column["name"]: column for column in dataset["columns"]}
        assert dataset["dropped"] == ["dest"]
        assert "dest" not in columns
        assert columns["tailnum"]["protected"] == "hash"
        assert all(len(top["value"]) == 64 for top in columns["tailnum"]["top"])
        assert columns["carrier"]["protected"] is None


def test_lines_and_csv_are_read_too(monkeypatch, tmp_path, chain):
    csv = b"id,day\r\n1,2013-02-08\r\n"
    for kind, body in (("jsonl", b'{"id":1,"day":"2013-02-08"}\n'), ("csv", csv)):
        monkeypatch.setattr("kimi_provider.sources.http.ask", _answering(body))
        dataset = chain.run(
            HttpFetchOperator, kind, endpoint="x", http_conn_id="flights_api", format=kind,
            limits={"max_bytes": 1_000},
        )  # fmt: skip
        assert [(c["name"], c["type"]) for c in dataset["columns"]] == [
            ("id", "BIGINT"),
            ("day", "DATE"),
        ]


def _answering(body):
    from kimi_provider.sources.exchange import Answer

    async def ask(client, request, url, conditions=None):
        return Answer(body)

    return ask


# --- asset events ---------------------------------------------------------------------------------


def test_outlets_are_those_of_the_task_or_one_by_its_name():
    with DAG("fetching", schedule=None):
        own = HttpFetchOperator(task_id="own", endpoint="x", outlets=[Asset("flights")])
        default = HttpFetchOperator(task_id="default", endpoint="x")
    assert own.outlets == [Asset("flights")]
    assert default.outlets == [Asset(name="x-kimi://fetching/default", uri="x-kimi://fetching/default")]
    assert dataset_asset("ład", "a/b").name == "x-kimi://%C5%82ad/a%2Fb"
    assert HttpFetchOperator(task_id="alone", endpoint="x").outlets == []


def test_a_dataset_says_what_it_is_in_the_events():
    dataset = DatasetRef(
        uri="s3://b/x.parquet", rows=3, bytes=1, sha256="ab", source="s", columns=(), watermark="7"
    )
    asset, alias = Asset("flights"), AssetAlias("any")
    events = OutletEventAccessors()
    announce_dataset({"outlet_events": events}, [asset, alias, "something else"], dataset)
    extra = {"uri": "s3://b/x.parquet", "rows": 3, "sha256": "ab", "watermark": "7"}
    assert events[asset].extra == extra
    [event] = events[alias].asset_alias_events
    assert (event.dest_asset_key.uri, event.extra) == ("s3://b/x.parquet", extra)
    announce_dataset({"ti": SimpleNamespace()}, [asset], dataset)


def test_airflow_stores_the_events(airflow_db, simulator, tmp_path):
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import timezone

    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "fetching_dag.py").write_text(
        """
from airflow.sdk import DAG, Asset, AssetAlias
from kimi_provider.operators.fetch import HttpFetchOperator

API = {"http_conn_id": "flights_api", "records_path": "data"}
with DAG("fetching", schedule=None):
    HttpFetchOperator(task_id="default", endpoint="data/airlines", **API)
    HttpFetchOperator(
        task_id="own", endpoint="data/airlines", outlets=[Asset("airlines"), AssetAlias("all")], **API
    )
    HttpFetchOperator.partial(task_id="mapped", **API).expand(endpoint=["data/airlines"])
    HttpFetchOperator.partial(task_id="mapped_own", outlets=[Asset("mapped")], **API).expand(
        endpoint=["data/airlines"]
    )
"""
    )
    bag = DagBag(tmp_path / "dags", bundle_name="dags-folder")
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    run = bag.dags["fetching"].test(logical_date=timezone.datetime(2013, 2, 8))
    assert str(run.state) == "success"
    with closing(sqlite3.connect(airflow_db)) as connection:
        events = connection.execute(
            "SELECT a.name, e.source_task_id, e.extra "
            "FROM asset_event e JOIN asset a ON a.id = e.asset_id "
            "WHERE e.source_dag_id = 'fetching' ORDER BY e.source_task_id, a.name"
        ).fetchall()
    extras = [json.loads(extra) for _, _, extra in events]
    assert [(name, task) for name, task, _ in events] == [
        ("x-kimi://fetching/default", "default"),
        ("mapped", "mapped_own"),
        ("airlines", "own"),
        (extras[3]["uri"], "own"),
    ]
    assert {(extra["rows"], extra["watermark"]) for extra in extras} == {(16, None)}
    assert len({extra["sha256"] for extra in extras}) == 1

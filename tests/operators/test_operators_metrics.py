"""Airflow's metrics, as a StatsD server on this machine gets them."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from types import SimpleNamespace

import pytest
from airflow.observability import stats as of_the_server
from airflow.observability.metrics import stats_utils as server_utils
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils

from kimi_provider.alerts.rules import Always
from kimi_provider.analysis.telemetry import CallReport
from kimi_provider.hooks.metrics import calls_of
from kimi_provider.operators.alert import AlertOperator


@pytest.fixture
def statsd(monkeypatch):
    """Set Airflow up to send to a server of our own; return what reads all that has come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")  # it has tags

        def read():
            lines = []
            try:
                while True:
                    lines += server.recv(65_535).decode().splitlines()
            except TimeoutError:
                return [Line(line) for line in lines if ".kimi." in line]

        for module, utils in ((stats, stats_utils), (of_the_server, server_utils)):
            module.initialize(factory=utils.get_stats_factory(), export_legacy_names=False)
        yield read
    monkeypatch.undo()
    for module, utils in ((stats, stats_utils), (of_the_server, server_utils)):
        module.initialize(factory=utils.get_stats_factory(), export_legacy_names=False)


class Line:
    """One line of StatsD's protocol with tags: ``airflow.kimi.mail,status=queued:2|c``."""

    def __init__(self, line):
        named, _, measured = line.rpartition(":")
        value, _, self.kind = measured.partition("|")
        self.value = float(value)
        name, *tags = named.split(",")
        self.name = name.removeprefix("airflow.")
        self.tags = dict(tag.split("=", 1) for tag in tags)


def sums(lines, name, *tags):
    counted = Counter()
    for line in lines:
        if line.name == name:
            counted[tuple(line.tags.get(tag) for tag in tags)] += line.value
    return dict(counted)


def test_the_chain_counts_calls_tokens_reports_alerts_and_mails(chain, simulator, statsd):
    analysis = chain.analyze()
    report = chain.report()
    chain.alert()
    lines, usage = statsd(), analysis["usage"]

    assert sums(lines, "kimi.call", "task_id", "outcome") == {("analyze", "answered"): usage["calls"]}
    for kind in ("input", "output"):
        assert sums(lines, f"kimi.call.{kind}_tokens") == {(): usage[f"{kind}_tokens"]}
    (cost,) = sums(lines, "kimi.call.cost_microusd").values()
    assert cost == pytest.approx(usage["cost_usd"] * 1e6, abs=usage["calls"])
    for timing in ("kimi.call.duration", "kimi.call.first_token"):
        assert [line.kind for line in lines if line.name == timing] == ["ms"] * usage["calls"]
    rows = sums(lines, "kimi.fetch.rows", "task_id")
    assert rows[("fetch_flights",)] == chain.values["fetch_flights"]["rows"]
    assert sums(lines, "kimi.grounding_score") == {(): analysis["grounding"]["score"]}
    assert sums(lines, "kimi.analysis", "outcome") == {("written",): 1}
    assert sums(lines, "kimi.report", "severity", "empty") == {(report["severity"], "false"): 1}
    assert sums(lines, "kimi.alert", "rule", "status") == {("always", "firing"): 1}
    assert sums(lines, "kimi.mail", "task_id", "status") == {("alert", "queued"): 2}


def test_metrics_name_no_person_and_the_readme_names_all_of_them(chain, statsd, pytestconfig):
    chain.analyze()
    chain.report()
    chain.alert()
    lines = statsd()
    told = json.dumps([line.tags for line in lines])
    assert "dag_id" in told
    assert "@" not in told
    named = set(re.findall(r"`(kimi\.[a-z_.]+)`", (pytestconfig.rootpath / "README.md").read_text()))
    assert {line.name for line in lines} <= named


def test_retries_and_failures_are_counted_by_their_kind(chain, simulator, statsd):
    simulator.faults.add("/v1/chat", "rate_limit", times=1)
    chain.analyze()
    assert sums(statsd(), "kimi.call.retries") == {(): 1}
    chain.run_id = "another"
    simulator.faults.add("/v1/chat", "content_filter")
    with pytest.raises(Exception, match="content"):
        chain.analyze()
    assert sums(statsd(), "kimi.call", "outcome") == {("ContentFilterError",): 1}


def test_a_retry_of_the_task_counts_no_mail_and_no_alert_twice(chain, statsd):
    chain.analyze()
    chain.report()
    chain.alert()
    statsd()
    chain.alert()
    again = statsd()
    assert sums(again, "kimi.mail") == {}
    assert sums(again, "kimi.alert") == {}


def test_mails_that_are_not_known_to_be_queued_are_counted_too(chain, simulator, statsd):
    chain.analyze()
    chain.report()
    simulator.faults.add("/v3/mail/send", "close_after")
    with pytest.raises(Exception, match="known"):
        chain.alert(to="ann@example.com")
    statuses = sums(statsd(), "kimi.mail", "status")
    assert statuses == {("ambiguous",): 1}


def test_a_receiver_that_is_no_mail_is_counted(chain, statsd):
    from airflow.sdk import BaseNotifier

    from kimi_provider.alerts.routing import Route
    from kimi_provider.alerts.settings import AlertSettings

    class Chat(BaseNotifier):
        def notify(self, context):
            assert context["kimi_alert"]

    settings = AlertSettings(receivers={"chat": Chat()}, route=Route(receiver="chat"))
    chain.run(AlertOperator, "alert", rules=[Always()], settings=settings)
    assert sums(statsd(), "kimi.notification", "receiver", "outcome") == {("chat", "sent"): 1}


def test_the_triggerer_tells_by_what_the_server_has_set_up(statsd, monkeypatch):
    monkeypatch.setattr(stats, "incr", None)  # the task's is not set up there
    monkeypatch.setattr(stats, "timing", None)
    ti = SimpleNamespace(dag_id="d", task_id="t")
    report = CallReport("m", "moonshot", 1.5, 3, (), None, "RateLimitError")
    calls_of(ti, triggerer=True)(report)
    lines = statsd()
    assert sums(lines, "kimi.call", "dag_id", "task_id", "outcome") == {("d", "t", "RateLimitError"): 1}
    assert sums(lines, "kimi.call.retries") == {(): 2}
    (duration,) = [line.value for line in lines if line.name == "kimi.call.duration"]
    assert duration == 1500

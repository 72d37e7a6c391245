"""Each thing that can be wrong ends in one clear error that names it, and in no mail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.alerts.rules import Threshold
from kimi_provider.exceptions import SourceUnavailableError, UngroundedError

PROMPT = """---
parameters: {day: date}
metrics:
  - id: day
    sql: SELECT count(*) AS flights, avg(dep_delay) AS delay FROM flights WHERE flight_date = $day
---
How was the day?
"""


@pytest.fixture(autouse=True)
def _no_mail(simulator):
    yield
    assert not simulator.mailbox.messages


def _write(chain, text: str) -> str:
    folder = Path(chain.dag.template_searchpath[0])
    (folder / "prompts" / "own.md.j2").write_text(text)
    return "own"


def _connection(monkeypatch, name: str, **changes: object) -> None:
    import os

    variable = f"AIRFLOW_CONN_{name}"
    monkeypatch.setenv(variable, json.dumps(json.loads(os.environ[variable]) | changes))


def test_a_date_without_data(chain):
    with pytest.raises(AirflowFailException, match=r"no rows for from=2013-06-01.*allow_empty"):
        chain.fetch("flights", query={"from": "2013-06-01", "to": "2013-06-01"})


def test_an_api_that_cannot_be_reached_is_retried_by_airflow(chain, monkeypatch, unused_port):
    monkeypatch.setenv("AIRFLOW_CONN_FLIGHTS_API", f"http://127.0.0.1:{unused_port}")
    with pytest.raises(
        SourceUnavailableError, match=r"127\.0\.0\.1.*cannot be reached.*host of the connection"
    ):
        chain.fetch("flights", limits={"tries": 2})


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_wrong_key(chain, monkeypatch):
    _connection(monkeypatch, "KIMI_DEFAULT", password="wrong-key-0123456789")
    with pytest.raises(AirflowFailException, match="AuthenticationError") as caught:
        chain.analyze()
    assert "wrong-key" not in str(caught.value)


def test_an_unknown_model_names_those_that_there_are(chain):
    with pytest.raises(AirflowFailException, match=r"kimi-k9.*kimi-k3"):
        chain.analyze(model="kimi-k9")


def test_an_unknown_prompt_template_names_those_that_there_are(chain):
    with pytest.raises(AirflowFailException, match="flight_on_time"):
        chain.analyze(prompt="flights_on_tim")


def test_an_undefined_name_in_a_template(chain, simulator):
    prompt = _write(chain, PROMPT + "It was {{ perod }}.\n")
    with pytest.raises(AirflowFailException, match=r"own.*perod.*period"):
        chain.analyze(prompt=prompt)
    assert simulator.calls.count("chat/completions") == 0


def test_a_missing_column_in_a_metric(chain, simulator):
    prompt = _write(chain, PROMPT.replace("avg(dep_delay)", "avg(departure_delay)"))
    with pytest.raises(AirflowFailException, match=r"day.*departure_delay.*dep_delay"):
        chain.analyze(prompt=prompt)
    assert simulator.calls.count("chat/completions") == 0


def test_a_missing_parameter(chain):
    with pytest.raises(AirflowFailException, match="day"):
        chain.analyze(parameters={})


def test_a_missing_connection(chain):
    with pytest.raises(Exception, match="nowhere"):
        chain.analyze(kimi_conn_id="nowhere")


def test_a_rule_for_a_fact_that_there_is_not(chain):
    chain.analyze()
    chain.report()
    with pytest.raises(AirflowFailException, match=r"day\.canceled_share.*day\.cancelled_share"):
        chain.alert(rules=[Threshold("day.canceled_share", above=0.1)])


def test_a_stray_digit_is_repaired_by_one_more_turn(chain, simulator):
    simulator.script("liar", kinds=["number"], once=True)
    analysis = chain.analyze()
    assert simulator.calls.count("chat/completions") == 2
    assert analysis["usage"]["calls"] == 2


def test_lies_that_go_on_fail_without_being_quoted(chain, simulator):
    simulator.script("liar", kinds=["unknown_id"], once=False)
    with pytest.raises((UngroundedError, AirflowFailException)) as caught:
        chain.analyze()
    assert "unknown" in str(caught.value)


def test_something_else_than_an_analysis_is_refused(chain):
    chain.values["analyze"] = {"headline": "no"}
    with pytest.raises(ValueError, match="Analysis"):
        chain.report()

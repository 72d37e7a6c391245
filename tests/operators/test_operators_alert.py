"""The alert task: what it remembers, what it says, and what it does without a model."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.alerts import Always, Band, NoData, Threshold, rules_from_yaml
from kimi_provider.alerts.routing import Route
from kimi_provider.alerts.settings import AlertSettings, Mail
from kimi_provider.alerts.silences import Silence
from kimi_provider.exceptions import ConfigurationError, RuleError
from kimi_provider.hooks.alert_state import alert_notes
from kimi_provider.operators.alert import AlertOperator

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ONE = [Threshold("day.late", above=5, name="late")]


def sheet(late: float | None) -> dict:
    fact = {"id": "day.late", "label": "Late", "value": late, "lineage": {"sql": "SELECT 1"}}
    return {"facts": [fact]}


def alert(late: float | None, day: int = 0, *, backfill: bool = False, map_index: int = -1, **more):
    """Run the task of one day."""
    arguments = {"facts": sheet(late), "rules": ONE, "to": "ann@example.com", **more}
    operator = AlertOperator(task_id="alert", dag=DAG("watch", schedule=None), **arguments)
    at = START + day * DAY
    ti = SimpleNamespace(
        dag_id="watch", run_id=f"run{day}", task_id="alert", map_index=map_index, try_number=1
    )
    run = SimpleNamespace(logical_date=at, run_type="backfill" if backfill else "scheduled")
    return operator.execute({"ti": ti, "dag_run": run})


def subjects(simulator) -> list[str]:
    return [mail.subject for mail in simulator.mailbox.messages]


def test_beginning_repeat_and_end_are_mailed(simulator):
    for day, late in enumerate([1, 9, 9, 1, 1]):
        alert(late, day)
    assert subjects(simulator) == ["[Warning] late (day.late)"] * 2 + ["[Resolved] late (day.late)"]
    text = simulator.mailbox.messages[0].text
    assert "Late (day.late) is 9, which is above 5." in text
    assert "watch, task alert, run run1" in text


def test_a_retry_mails_nobody_twice_and_has_the_same_receipts(simulator, tmp_path):
    first, second = alert(9), alert(9)
    assert len(simulator.mailbox.messages) == 1
    (explanation,) = tmp_path.rglob("alert.json")
    assert json.loads(explanation.read_text())["decisions"][0]["why"] == "firing"
    assert [r["message_id"] for r in first["receipts"]] == [r["message_id"] for r in second["receipts"]]
    assert first["events"] == second["events"] != []


@pytest.mark.parametrize(("settings", "again"), [({}, 0), ({"tell_cleared": True}, 1)])
def test_a_run_cleared_long_after_tells_nobody_again_unless_told(
    simulator, monkeypatch, settings, again
):
    monkeypatch.setattr("kimi_provider.alerts.book._PLANS", 3)
    told = []

    class Pager(BaseNotifier):
        def notify(self, context):
            told.append(context["kimi_alert"])

    receivers = {"pager": Pager(), "all": Mail("bob@example.com")}
    more = {
        "rules": [Always(name="page"), Always(name="daily")],
        "settings": AlertSettings(
            route=Route("pager", routes=[Route("all", match=["rule=daily"])]),
            receivers=receivers,
            repeat_interval=timedelta(0),
            **settings,
        ),
    }
    for day in range(5):
        alert(1, day, **more)
    assert (len(told), len(simulator.mailbox)) == (5, 5)
    alert(1, 0, **more)
    assert (len(told), len(simulator.mailbox)) == (5 + again, 5 + again)


def test_a_backfill_mails_nobody(simulator):
    alert(1, 5)
    alert(9, 6, backfill=True)
    alert(9, 3)
    assert not simulator.mailbox.messages


def test_a_mail_that_failed_is_sent_by_the_retry(simulator):
    from kimi_provider.exceptions import DeliveryError

    simulator.faults.add("/v3/mail/send", "answer", status=401, times=None)
    with pytest.raises((DeliveryError, AirflowFailException)):
        alert(9)
    simulator.faults.clear()
    alert(9)
    alert(9, 1, settings=AlertSettings(repeat_interval=None))
    assert subjects(simulator) == ["[Warning] late (day.late)"]


def test_a_band_is_made_of_what_earlier_runs_saw(simulator):
    for day, late in enumerate([10, 11, 10, 9, 10, 11, 10, 40]):
        alert(late, day, rules=[Band("day.late", name="unusual")])
    assert subjects(simulator) == ["[Warning] unusual (day.late)"]


def test_a_silence_in_storage_in_a_variable_and_in_the_dag(simulator, monkeypatch, caplog):
    alert_notes().silence(Silence(["rule=late"], until="2999-01-01T00:00:00+00:00", author="ann"))
    alert(9)
    assert not simulator.mailbox.messages
    alert_notes().lift(alert_notes().silences()[0].id)

    entry = {"match": ["rule=late"], "until": "2999-01-01T00:00:00+00:00"}
    monkeypatch.setenv("AIRFLOW_VAR_KIMI_SILENCES", json.dumps([entry]))
    alert(9, 1)
    assert not simulator.mailbox.messages

    caplog.set_level(logging.WARNING)
    monkeypatch.setenv("AIRFLOW_VAR_KIMI_SILENCES", "[{}]")
    alert(9, 2, settings=AlertSettings(silences=[Silence(**entry)]))
    assert not simulator.mailbox.messages
    assert "kimi_silences, entry 1 must have match and until" in caplog.text

    alert(9, 3)
    assert len(simulator.mailbox.messages) == 1


def test_an_acknowledged_alert_is_not_repeated(simulator, tmp_path):
    alert(9)
    book = max((tmp_path / "storage" / "alerts" / "watch" / "alert").iterdir())
    (key,) = json.loads(book.read_text())["alerts"]
    alert_notes().acknowledge(key, "ann")
    alert(9, 1)
    assert len(simulator.mailbox.messages) == 1


def test_routes_to_other_mails_and_none_to_nobody(simulator):
    settings = AlertSettings(
        route=Route("mail", routes=[Route("chief", "severity=critical")]),
        receivers={"chief": Mail("chief@example.com")},
    )
    rules = [*ONE, Threshold("day.late", above=8, severity="critical", name="very late")]
    alert(9, rules=rules, settings=settings)
    assert {m.to: m.subject for m in simulator.mailbox.messages} == {
        ("ann@example.com",): "[Warning] late (day.late)",
        ("chief@example.com",): "[Critical] very late (day.late)",
    }
    with pytest.raises((ConfigurationError, AirflowFailException), match="mail without recipients"):
        alert(9, 1, to="", settings=AlertSettings(repeat_interval=DAY))


def test_the_explanation_lies_beside_the_result_and_in_the_log(simulator, tmp_path, capsys):
    alert(3, rules=[*ONE, "day.late > 100%", NoData("day.late")])
    (file,) = tmp_path.rglob("alert.json")
    rows = json.loads(file.read_text())["rules"]
    assert [(row["rule"], row["fired"]) for row in rows] == [
        ("late", False),
        ("day.late > 100%", True),
        ("no data for day.late", False),
    ]
    assert rows[0]["saw"] == {"day.late": 3.0}
    logged = capsys.readouterr().out
    assert "no     warning   late" in logged
    assert "ann@example.com" not in logged + file.read_text()


def test_what_the_task_returns_stays_small(simulator):
    facts = [
        {"id": f"t.{n}.x", "label": "X", "value": n, "lineage": {"sql": "SELECT 1"}} for n in range(300)
    ]
    rules = [
        Threshold("t.*.x", above=-1, name="any"),
        Threshold("t.299.x", above=1, severity="critical", name="worst"),
    ]
    result = alert(0, facts={"facts": facts}, rules=rules)
    assert len(json.dumps(result)) < 20_000
    assert result["events"][0]["rule"] == "worst"
    assert "and 281 more, which wait for the next run" in simulator.mailbox.messages[0].text


def test_a_mapped_task_keeps_a_state_for_each_index(simulator):
    alert(9, map_index=0)
    alert(9, map_index=1)
    alert(9, map_index=0)
    assert len(simulator.mailbox.messages) == 2


def test_rules_from_yaml_and_in_words(simulator):
    rules = rules_from_yaml("rules:\n  - {when: day.late > 5, severity: critical, name: late}\n")
    alert(9, rules=rules)
    assert subjects(simulator) == ["[Critical] late"]
    with pytest.raises(RuleError, match="character 11"):
        alert(9, rules=["day.late >"])
    with pytest.raises(ConfigurationError, match="Two rules are called 'always'"):
        alert(9, rules=[Always(), Always("critical")])


def test_a_report_that_everyone_gets_is_marked_by_the_worst_that_fires(chain, simulator):
    chain.analyze()
    chain.report()
    rules = [Always(), Threshold("day.cancelled_share", at_least=0.1, severity="critical")]
    for run in ("one", "two"):
        chain.run_id = run
        chain.alert(rules=rules, to="ann@example.com")
    assert [subject[:10] for subject in subjects(simulator)] == ["[Critical]"] * 2


def test_the_state_says_nothing_about_recipients(simulator, tmp_path):
    alert(9)
    for file in (tmp_path / "storage" / "alerts").rglob("*.json"):
        assert "ann@example.com" not in Path(file).read_text()

"""What the alert's mails look like: the report with its files, or a notice of its own."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.alerts.recipients_from import FromFile, FromVariable
from kimi_provider.alerts.routing import Route
from kimi_provider.alerts.rules import Always, Threshold
from kimi_provider.alerts.settings import AlertSettings, Mail
from kimi_provider.operators.alert import AlertOperator


def test_the_files_of_a_report_come_with_the_mail(chain, simulator):
    chain.analyze()
    chain.report(formats=["csv"])
    chain.alert(rules=[Always()], to="ann@example.com")
    (mail,) = simulator.mailbox
    attached = [file for file in mail.attachments if not file.content_id]

    assert {file.media_type.partition(";")[0] for file in attached} == {"text/csv"}
    assert [file.filename for file in attached] == [
        file["name"] for file in chain.values["report"]["attachments"]
    ]
    assert all(
        len(file.content) == file_bytes
        for file, file_bytes in zip(
            attached, [f["bytes"] for f in chain.values["report"]["attachments"]], strict=True
        )
    )


def test_an_alert_without_a_report_is_a_notice(chain, simulator):
    chain.analyze()
    rule = Threshold("day.cancelled_share", at_least=0.1, severity="critical")
    chain.alert(report=None, rules=[rule], to="ann@example.com")
    (mail,) = simulator.mailbox

    assert mail.subject == "[Critical] day.cancelled_share at least 0.1"
    assert 'role="presentation"' in mail.html
    assert "day.cancelled_share" in mail.text


def test_a_notice_speaks_the_language_of_the_settings(chain, simulator):
    chain.analyze()
    rule = Threshold("day.cancelled_share", at_least=0.1, severity="critical")
    settings = AlertSettings(locale="pl", timezone="Europe/Warsaw")
    chain.alert(report=None, rules=[rule], to="ann@example.com", settings=settings)
    (mail,) = simulator.mailbox

    assert 'lang="pl"' in mail.html


def test_recipients_can_be_kept_elsewhere(chain, simulator, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_READERS", '["ann@example.com", "ANN@example.com"]')
    path = tmp_path / "board.csv"
    path.write_text("name,email\nBob,bob@example.com\n")
    settings = AlertSettings(
        route=Route("mail", routes=[Route("board", continue_=True), Route("mail")]),
        receivers={"board": Mail(to=[FromFile(str(path)), "eve@example.com"])},
    )
    chain.analyze()
    chain.alert(report=None, rules=[Always()], to=FromVariable("readers"), settings=settings)

    assert sorted(mail.to[0] for mail in simulator.mailbox) == [
        "ann@example.com",
        "bob@example.com",
        "eve@example.com",
    ]


def test_rules_hold_figures_of_the_data_without_a_model(chain, simulator):
    flights = chain.fetch("flights")
    arguments = {
        "datasets": {"flights": flights},
        "metrics": {
            "day": "SELECT count(*) AS flights, avg((dep_time IS NULL)::INT) AS share FROM flights",
            "by_origin": {
                "sql": "SELECT origin, count(*) AS n FROM flights GROUP BY 1",
                "key": ["origin"],
            },
        },
        "rules": ["day.flights > 10 and day.share > 1%", Threshold("by_origin.*.n", above=1)],
        "to": "ann@example.com",
    }
    result = chain.run(AlertOperator, "alert", **arguments)

    assert "day.flights > 10 and day.share > 1%" in {event["rule"] for event in result["events"]}
    assert {event["labels"].get("fact") for event in result["events"]} > {"by_origin.EWR.n"}
    assert len(simulator.mailbox.messages) == 1


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ({"day": "SELECT nothing FROM flights"}, "day"),
        ({"day": {"key": ["a"]}}, "'day': sql: Field required"),
        ({"a day": "SELECT 1"}, "'a day': id"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_named(chain, metrics, says):
    arguments = {"datasets": {"flights": chain.fetch("flights")}, "to": "ann@example.com"}
    with pytest.raises(AirflowFailException, match=says):
        chain.run(AlertOperator, "alert", rules=["day > 1"], metrics=metrics, **arguments)

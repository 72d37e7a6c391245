"""The chain from the API to the mailbox, figure by figure."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pandas as pd  # noqa: TID253 — the independent count
import pytest

import kimi_provider.testing
from kimi_provider.alerts.rules import FindingSeverity, Threshold

DATA = Path(kimi_provider.testing.__file__).parent / "data"


@pytest.fixture(scope="module")
def day() -> pd.DataFrame:
    """The flights of the day, read without any code of the package."""
    flights = pd.read_csv(DATA / "flights-2013-02.csv.gz")
    return flights[flights["day"] == 8]


@pytest.fixture(scope="module")
def day_before() -> pd.DataFrame:
    flights = pd.read_csv(DATA / "flights-2013-02.csv.gz")
    return flights[flights["day"] == 7]


def _sheet(analysis: dict) -> dict:
    return json.loads(Path(analysis["facts_uri"].removeprefix("file://")).read_text())


def test_every_figure_of_the_day_is_that_of_the_raw_data(chain, day, day_before):
    sheet = _sheet(chain.analyze())
    facts = {fact["id"]: fact["value"] for fact in sheet["facts"]}

    expected = {
        "day.flights": len(day),
        "day.cancelled": day["dep_time"].isna().sum(),
        "day.cancelled_share": day["dep_time"].isna().mean(),
        "day.on_time_share": (day["arr_delay"] < 15).mean(),
        "day.avg_dep_delay": day["dep_delay"].mean(),
        "day.avg_arr_delay": day["arr_delay"].mean(),
        "day.flights.day_before": len(day_before),
        "day.flights.day_before.delta": len(day) - len(day_before),
        "day.avg_dep_delay.day_before": day_before["dep_delay"].mean(),
        "day.avg_dep_delay.day_before.percent": day["dep_delay"].mean() / day_before["dep_delay"].mean()
        - 1,
    }
    assert {name: facts[name] for name in expected} == pytest.approx(expected)


def test_every_cell_by_carrier_is_that_of_the_raw_data(chain, day):
    sheet = _sheet(chain.analyze())
    facts = {fact["id"]: fact["value"] for fact in sheet["facts"]}
    table = next(table for table in sheet["tables"] if table["id"] == "by_carrier")
    names = pd.read_csv(DATA / "airlines.csv").set_index("carrier")["name"]
    expected = (
        day.assign(name=day["carrier"].map(names))
        .groupby("name")
        .agg(
            flights=("day", "size"),
            cancelled_share=("dep_time", lambda v: v.isna().mean()),
            avg_dep_delay=("dep_delay", "mean"),
        )
    )
    columns = [column["name"] for column in table["columns"]]
    rows = {row[0]: dict(zip(columns, row, strict=True)) for row in table["rows"]}

    assert rows.keys() == set(expected.index)
    for name, row in expected.iterrows():
        for column in expected.columns:
            value = facts[rows[name][column]]
            assert (value is None and pd.isna(row[column])) or value == pytest.approx(row[column])


def test_the_mail_has_the_figures_charts_and_both_parts(chain, simulator, day):
    chain.analyze()
    chain.report()
    result = chain.alert()

    recipients = sorted(mail.to for mail in simulator.mailbox.messages)
    assert recipients == [("ann@example.com",), ("bob@example.com",)], "one mail each"
    mail = simulator.mailbox.messages[0]
    for part in (mail.text, mail.html):
        assert f"{len(day):,}" in part
        assert f"{day['dep_time'].isna().mean():.1%}" in part
        assert "simulator" in part
    inline = [file for file in mail.attachments if file.content_id]
    assert mail.html.count('src="cid:') == len(inline) >= 2
    assert {receipt["status"] for receipt in result["receipts"]} == {"queued"}
    assert all(receipt["message_id"] for receipt in result["receipts"])


def test_each_stage_returns_small_plain_json(chain):
    chain.analyze()
    chain.report()
    chain.alert()

    sizes = {task_id: len(json.dumps(value)) for task_id, value in chain.values.items()}  # noqa: PD011 — no data frame
    assert max(sizes.values()) < 40_000, sizes


def test_a_bad_day_marks_the_subject(chain, simulator):
    chain.analyze()
    chain.report()
    chain.alert(rules=[Threshold("day.cancelled_share", at_least=0.1, severity="critical")])

    assert {mail.subject[:10] for mail in simulator.mailbox.messages} == {"[Critical]"}


def test_nobody_is_told_when_no_rule_fires(chain, simulator):
    chain.analyze()
    chain.report()
    result = chain.alert(rules=[Threshold("day.cancelled_share", above=0.9, severity="critical")])

    assert result == {"events": [], "receipts": []}
    assert not simulator.mailbox.messages


def test_findings_can_fire(chain):
    analysis = chain.analyze()
    chain.report()
    result = chain.alert(rules=[FindingSeverity(at_least="critical")])

    assert bool(result["events"]) == ("critical" in {f["severity"] for f in analysis["findings"]})
    assert result["events"]


def test_a_retry_pays_for_nothing_twice(chain, simulator):
    first = chain.analyze()
    second = chain.analyze()

    assert simulator.calls.count("chat/completions") == 1
    assert second["headline"] == first["headline"]
    assert second["usage"] == first["usage"]


def test_a_retry_mails_nobody_twice(chain, simulator):
    chain.analyze()
    chain.report()
    first = chain.alert()
    second = chain.alert()

    assert len(simulator.mailbox.messages) == 2
    assert [r["message_id"] for r in second["receipts"]] == [r["message_id"] for r in first["receipts"]]


def test_the_trace_tells_everything_but_the_key(chain, simulator):
    analysis = chain.analyze()
    text = Path(analysis["trace_uri"].removeprefix("file://")).read_text()
    kinds = {entry["kind"] for entry in json.loads(text)["entries"]}

    assert {"request", "reasoning", "answer", "usage"} <= kinds
    assert "count(*)" in text
    assert json.loads(simulator.connections()["AIRFLOW_CONN_KIMI_DEFAULT"])["password"] not in text


def test_logs_hold_no_key_prompt_reply_or_recipient(chain, simulator, caplog):
    caplog.set_level(logging.INFO)
    analysis = chain.analyze()
    chain.report()
    chain.alert()

    logged = caplog.text
    assert "kimi-k2-thinking" in logged, "the log says which model was asked"
    for planted in (
        json.loads(simulator.connections()["AIRFLOW_CONN_KIMI_DEFAULT"])["password"],
        json.loads(simulator.connections()["AIRFLOW_CONN_SENDGRID_DEFAULT"])["password"],
        "ann@example.com",
        "Carriers with few",
        analysis["summary"][:60],
    ):
        assert planted not in logged


@pytest.mark.parametrize(
    ("language", "mark"), [("en", "no model wrote this report"), ("pl", "nie napisał żaden model")]
)
def test_a_report_without_a_model_says_so_in_each_of_its_forms(chain, simulator, language, mark):
    from pypdf import PdfReader

    simulator.faults.add("/v1/chat", "quota", times=None)
    parameters = {"day": "2013-02-08", "language": language}
    analysis = chain.analyze(on_llm_failure="fallback", parameters=parameters)
    assert analysis["failure"] == "no_balance"
    report = chain.report(locale=language, formats=["pdf"])
    chain.alert()
    mail = simulator.mailbox.messages[0]
    files = {name: report[name] for name in ("html_uri", "page_uri", "text_uri", "markdown_uri")}
    forms = {name: Path(uri.removeprefix("file://")).read_text() for name, uri in files.items()}
    (pdf,) = (file for file in mail.attachments if file.media_type == "application/pdf")
    pages = PdfReader(io.BytesIO(pdf.content)).pages
    forms |= {
        "pdf": " ".join(page.extract_text() for page in pages),
        "mail": mail.text,
        "mail_html": mail.html,
    }
    for name, text in forms.items():
        assert mark in " ".join(text.split()), name
    if language == "pl":
        assert "gorzej niż dzień wcześniej" in " ".join(mail.text.split())
        assert "the day before" not in "".join(forms.values())

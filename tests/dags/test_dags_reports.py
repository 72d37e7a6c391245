"""Reports made by one call or by YAML, run from end to end: whole, by slices, and failing."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pandas as pd  # noqa: TID253 — the independent count
import pytest

import kimi_provider.testing

DATA = Path(kimi_provider.testing.__file__).parent / "data"
DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="module")
def by_carrier():
    """Flights of the day by carrier, counted without any code of the package."""
    flights = pd.read_csv(DATA / "flights-2013-02.csv.gz")
    return flights[flights["day"] == 8].groupby("carrier").size().to_dict()


def _yaml(folder, text):
    folder.mkdir(exist_ok=True)
    shutil.copy(DAGS / "example_yaml_reports.py", folder)
    (folder / "a_report.yaml").write_text(textwrap.dedent(text))
    return folder


SOURCES = """\
sources:
  flights:
    http: &api
      http_conn_id: flights_api
      endpoint: data/flights
      records_path: data
      pagination: page
      query: {from: "2013-02-01", to: "2013-02-08"}
  weather: {http: {<<: *api, endpoint: data/weather}}
  airlines: {http: {<<: *api, endpoint: data/airlines, query: {}}}
prompt: flight_on_time
parameters: {day: "{{ ds }}"}
owner: owner@example.com
"""


def test_each_carrier_gets_its_own_figures_and_the_model_is_asked_once(run_dag, by_carrier):
    ran = run_dag("example_carriers", "2013-02-08")

    assert ran["state"] == "success", ran["log"][-3000:]
    assert ran["calls"] == 1
    got = {mail["to"][0]: mail for mail in ran["mails"]}
    assert got.keys() == {
        "united@example.com",
        "delta@example.com",
        "jetblue@example.com",
        "ops@example.com",
    }
    for address, carrier in (("united@example.com", "UA"), ("delta@example.com", "DL")):
        mail = got[address]
        assert str(by_carrier[carrier]) in mail["text"]
        assert carrier in mail["text"]
    united = got["united@example.com"]
    assert "930" not in united["text"], "the whole's figures are not a carrier's business"
    assert "Delta" not in united["text"]


def test_each_slice_can_have_a_model_call_of_its_own(run_dag, tmp_path, by_carrier):
    dags = _yaml(
        tmp_path / "dags",
        SOURCES
        + """\
id: each
title: On time
slice_by: carrier
ask: each
recipients: {UA: united@example.com, DL: delta@example.com, ZZ: nobody@example.com}
""",
    )
    ran = run_dag("each", "2013-02-08", dags=dags)

    assert ran["state"] == "success", ran["log"][-3000:]
    assert ran["calls"] == 2
    assert sorted(mail["to"][0] for mail in ran["mails"]) == ["delta@example.com", "united@example.com"]
    delta = next(mail for mail in ran["mails"] if mail["to"] == ["delta@example.com"])
    assert str(by_carrier["DL"]) in delta["text"]
    assert {name for name in ran["tasks"] if name.startswith("each.alert")} == {
        "each.alert[0]",
        "each.alert[1]",
    }


def test_a_failed_slice_keeps_no_other_from_its_readers_and_the_owner_is_told_once(run_dag, tmp_path):
    dags = _yaml(
        tmp_path / "dags",
        SOURCES
        + """\
id: failing
slice_by: carrier
recipients: {UA: united@example.com, DL: "not an address", AA: "neither"}
""",
    )
    ran = run_dag("failing", "2013-02-08", dags=dags)

    assert ran["state"] == "failed"
    tasks = {name: state for name, state in ran["tasks"].items() if "alert" in name}
    assert sorted(tasks.values()) == ["failed", "failed", "success"]
    owners = [mail for mail in ran["mails"] if mail["to"] == ["owner@example.com"]]
    assert len(owners) == 1, "two slices failed, and the owner has one notice"
    assert [mail["to"] for mail in ran["mails"] if mail not in owners] == [["united@example.com"]]


def test_a_failed_stage_tells_the_owner_what_to_do_and_the_readers_nothing(run_dag, tmp_path):
    text = SOURCES.replace("data/weather", "data/nothing").replace("data/airlines", "data/neither")
    dags = _yaml(tmp_path / "dags", text + "id: broken\nto: reader@example.com\n")
    ran = run_dag("broken", "2013-02-08", dags=dags)

    assert ran["state"] == "failed"
    assert [ran["tasks"][f"fetch_{name}[-1]"] for name in ("weather", "airlines")] == ["failed"] * 2
    (mail,) = ran["mails"]
    assert mail["to"] == ["owner@example.com"]
    for part in ("broken", "fetch_", "SourceError", "readers of the report were told nothing", "Clear"):
        assert part.lower() in mail["text"].lower(), part
    assert ran["calls"] == 0


def test_a_whole_report_from_fifteen_lines(run_dag, tmp_path):
    (tmp_path / "readers.csv").write_text("name,email\nBea,b@example.com\n")
    to = f"[a@example.com, {{file: {tmp_path}/readers.csv}}]"
    dags = _yaml(tmp_path / "dags", SOURCES + f"id: whole\nto: {to}\n")
    assert len((dags / "a_report.yaml").read_text().splitlines()) <= 15
    ran = run_dag("whole", "2013-02-08", dags=dags)

    assert ran["state"] == "success"
    assert sorted(mail["to"][0] for mail in ran["mails"]) == ["a@example.com", "b@example.com"]
    assert "930" in ran["mails"][0]["text"]

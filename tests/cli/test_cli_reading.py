"""What the commands tell of a run: its cost, its trace, its connections."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from kimi_provider.cli.cost import summed
from kimi_provider.cli.results import Returned
from kimi_provider.cli.trace import rows_of, totals
from kimi_provider.hooks.storage import instance_folder
from kimi_provider.schemas import Usage

DAG_ID = "example_flight_report"
TODAY = datetime.now(UTC).date()


# --- check ----------------------------------------------------------------------------------------


def test_check_asks_everything_that_a_report_needs(chain, kimi):
    calls = chain.simulator.calls
    before = calls.count("/v1/chat/completions")
    ran = kimi("check", "--kimi-conn-id", "kimi_default", "--call", "-o", "json")
    rows = {row["check"]: row for row in ran.rows}
    assert ran.code == 0
    assert {"storage", "connection", "models", "call", "permissions"} <= set(rows)
    assert all(row["ok"] is True for row in ran.rows)
    assert "1 out" in rows["call"]["detail"]
    assert calls.count("/v1/chat/completions") == before + 1
    assert "sk-simulator" not in ran.out + ran.err


def test_check_finds_the_connections_that_there_are_and_asks_no_model_unless_told(chain, kimi):
    ran = kimi("check", "-o", "json")
    assert {(row["check"], row["connection"]) for row in ran.rows} >= {
        ("connection", "kimi_default"),
        ("permissions", "sendgrid_default"),
    }
    assert "call" not in {row["check"] for row in ran.rows}


def test_what_is_wrong_is_named_and_the_exit_code_says_so(chain, kimi, monkeypatch):
    broken = {"conn_type": "kimi", "host": chain.simulator.kimi_url, "password": "wrong-key-planted"}
    monkeypatch.setenv(
        "AIRFLOW_CONN_KIMI_WRONG", json.dumps({**broken, "extra": {"model": "kimi-k2-thinking"}})
    )
    ran = kimi("check", "--kimi-conn-id", "kimi_wrong", "--kimi-conn-id", "kimi_absent", "-o", "json")
    failed = {(row["check"], row["connection"]): row for row in ran.rows if not row["ok"]}
    assert ran.code == 1
    assert "AuthenticationError" in failed["models", "kimi_wrong"]["detail"]
    assert "kimi_absent" in failed["connection", "kimi_absent"]["detail"]
    assert "wrong-key-planted" not in ran.out + ran.err


def test_a_storage_that_other_machines_do_not_reach_is_wrong(chain, kimi, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    ran = kimi("check", "-o", "json")
    (row,) = [row for row in ran.rows if row["check"] == "storage"]
    assert (ran.code, row["ok"]) == (1, False)
    assert "CeleryExecutor" in row["detail"]


def test_a_storage_that_cannot_be_written_is_no_crash(chain, kimi, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", (tmp_path / "file").as_uri())
    ran = kimi("check", "-o", "json")
    (row,) = [row for row in ran.rows if row["check"] == "storage"]
    assert ran.code == 1
    assert not row["ok"]


# --- cost -----------------------------------------------------------------------------------------


def test_cost_counts_what_the_run_has_taken(chain, kimi):
    ran = kimi("cost", "--by", "dag,task", "-o", "json")
    (row,) = [row for row in ran.rows if row["dag"] == DAG_ID]
    assert ran.code == 0
    assert row["task"] == "analyze"
    assert row["calls"] >= 1
    assert row["input_tokens"] > 100


def test_cost_of_days_before_the_run_is_nothing(chain, kimi):
    ran = kimi("cost", "--since", "2020-01-01", "--until", "2020-01-31", "-o", "json")
    assert (ran.code, ran.rows) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "--since must be a day"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "is after --until"),
        (["--by", "dag,colour"], "--by 'dag,colour' must be any of day, dag, model, task"),
    ],
)
def test_what_cost_cannot_do_is_said_with_code_2(chain, kimi, arguments, said):
    ran = kimi("cost", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert not ran.out


def test_sums_keep_unknown_prices_unknown_and_days_in_utc():
    late = datetime(2026, 11, 1, 1, tzinfo=UTC) - timedelta(hours=2)

    def one(dag, usd, at=late):
        usage = Usage(calls=1, input_tokens=10, output_tokens=5, repeated_calls=dag == "a", cost_usd=usd)
        return Returned(dag, "r", "t", -1, at, None), "kimi-k3", usage

    rows = summed([one("a", 0.25), one("a", 0.5), one("b", None)], ["day", "dag"])
    assert [(r["day"], r["dag"], r["calls"], r["repeated_calls"], r["cost_usd"]) for r in rows] == [
        ("2026-10-31", "a", 2, 2, 0.75),
        ("2026-10-31", "b", 1, 0, None),
    ]


# --- trace ----------------------------------------------------------------------------------------


def test_trace_shows_turns_reasoning_sql_and_tokens_of_the_latest_run(chain, kimi):
    ran = kimi("trace", DAG_ID, "latest")
    assert ran.code == 0
    for word in ("reasoning", "answer", "sql", "usage", "SELECT"):
        assert word in ran.out
    assert f"{DAG_ID} · {chain.run_id} · analyze: " in ran.err


def test_trace_in_json_is_the_whole_trace(chain, kimi):
    ran = kimi("trace", DAG_ID, chain.run_id, "analyze", "-o", "json")
    stored = (instance_folder(DAG_ID, chain.run_id, "analyze") / "trace.json").read_text()
    assert ran.rows == json.loads(stored)["entries"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such_dag", "latest"], "The DAG 'no_such_dag' has no run"),
        ([DAG_ID, "no_such_run"], "has no run 'no_such_run'"),
        ([DAG_ID, "latest", "report"], "There is no trace at"),
    ],
)
def test_a_trace_that_is_not_there_is_said(chain, kimi, arguments, said):
    ran = kimi("trace", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_rows_count_turns_and_cut_what_is_long():
    at = "2026-11-01T08:00:0{}.000+00:00"
    entries = [
        {"at": at.format(0), "kind": "strategy", "strategy": "tools"},
        {"at": at.format(1), "kind": "request", "messages": 2, "new_messages": [{"content": "Ask"}]},
        {"at": at.format(2), "kind": "reasoning", "text": "hm\n" * 200},
        {"at": at.format(3), "kind": "tool", "name": "sql", "arguments": '{"sql": "SELECT 7"}'},
        {"at": at.format(4), "kind": "usage", "input_tokens": 9, "output_tokens": 3, "cost_usd": 0.5},
        {"at": at.format(5), "kind": "request", "messages": 4, "new_messages": []},
        {"at": at.format(6), "kind": "usage", "input_tokens": 1, "output_tokens": 1, "cost_usd": None},
    ]
    rows = rows_of(entries, cut=50)
    assert [row["turn"] for row in rows] == [None, 1, 1, 1, 1, 2, 2]
    assert rows[4]["tokens"] == 12
    assert rows[4]["seconds"] == "4.0"
    assert len(rows[2]["what"]) == 50
    assert rows[2]["what"].endswith("…")
    assert "SELECT 7" in rows[3]["what"]
    assert len(rows_of(entries, cut=None)[2]["what"]) > 500
    assert totals(entries) == "2 calls, 14 tokens, price unknown"
    assert totals(entries[:5]) == "1 calls, 12 tokens, 0.5000 US dollars"
    killed = {"at": at.format(3), "kind": "interrupted", "call": "abc", "repeated": True}
    assert "; 1 cut off by a killed process" in totals([killed, *entries])

from __future__ import annotations

import json
import logging
import os
from datetime import date
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

import pytest
from airflow.sdk.exceptions import AirflowFailException
from pydantic import BaseModel

from kimi_provider.exceptions import EmptyAnswerError, InvalidOutputError, TruncatedAnswerError
from kimi_provider.hooks.storage import task_folder
from kimi_provider.operators.chat import KimiChatOperator
from kimi_provider.storage import read_text
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-planted-key-4711"
CHAT = "/chat/completions"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulator:
    running.reset()
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", tmp_path.as_uri())
    connection = {"conn_type": "kimi", "host": running.kimi_url, "password": KEY}
    connection["extra"] = {"model": "kimi-k2-thinking", "max_attempts": 1}
    monkeypatch.setenv("AIRFLOW_CONN_KIMI_DEFAULT", json.dumps(connection))
    return running


@pytest.fixture
def context() -> dict:
    ti = SimpleNamespace(
        dag_id="d", run_id="manual__2013-02-08", task_id="ask", map_index=-1, xcom_push=dict
    )
    return {"ti": ti}


def ask(**parameters: object) -> KimiChatOperator:
    return KimiChatOperator(task_id="ask", **{"prompt": "planted-prompt-4711", **parameters})


def trace(context: dict) -> list[dict]:
    return json.loads(read_text(task_folder(context) / "trace.json"))["entries"]


def test_a_prompt_gives_a_text(simulator: Simulator, context) -> None:
    assert "You wrote: planted-prompt-4711" in ask().execute(context)


def test_the_system_message_comes_first(simulator: Simulator, context) -> None:
    simulator.script("answers", match="Be brief.", answers=[{"content": "Brief."}])
    assert ask(system="Be brief.").execute(context) == "Brief."
    request = next(entry for entry in trace(context) if entry["kind"] == "request")
    assert [message["role"] for message in request["new_messages"]] == ["system", "user"]


def test_a_retry_does_not_ask_again(simulator: Simulator, context) -> None:
    first = ask().execute(context)
    assert ask().execute(context) == first
    assert simulator.calls.count(CHAT) == 1


def test_another_prompt_or_another_run_asks_anew(simulator: Simulator, context) -> None:
    ask().execute(context)
    ask(prompt="Something else").execute(context)
    context["ti"].run_id = "manual__2013-02-09"
    ask().execute(context)
    assert simulator.calls.count(CHAT) == 3


def test_mapped_tasks_do_not_share_answers(simulator: Simulator, context) -> None:
    for context["ti"].map_index in (0, 1):
        ask().execute(context)
    assert simulator.calls.count(CHAT) == 2


def test_an_empty_answer_is_not_kept(simulator: Simulator, context) -> None:
    simulator.script("empty", finish="stop")
    with pytest.raises(EmptyAnswerError, match="max_tokens"):
        ask().execute(context)
    simulator.clear_scripts()
    assert "planted-prompt" in ask().execute(context)


def test_a_cut_answer_fails_and_the_trace_has_it(simulator: Simulator, context) -> None:
    with pytest.raises(TruncatedAnswerError, match="length"):
        ask(max_tokens=4).execute(context)
    assert next(e for e in trace(context) if e["kind"] == "answer")["finish_reason"] == "length"


@pytest.mark.parametrize("fault", ["unauthorized", "quota", "content_filter", "tpd"])
def test_what_no_retry_can_heal_fails_the_task_for_good(simulator, context, fault) -> None:
    simulator.faults.add("/v1/chat", fault)
    with pytest.raises(AirflowFailException):
        ask().execute(context)


def test_a_call_over_budget_is_not_made(simulator: Simulator, context) -> None:
    with pytest.raises(AirflowFailException, match="max_cost_usd"):
        ask(max_cost_usd="0.000001").execute(context)
    assert simulator.calls.count(CHAT) == 0


# --- typed values ---------------------------------------------------------------------------------


class Mood(BaseModel):
    mood: Literal["good", "bad"]
    since: date
    why: str | None = None


GOOD = {"mood": "good", "since": "2013-02-08", "why": None}


@pytest.mark.parametrize("native", [True, False], ids=["json_schema", "json_object"])
def test_a_value_of_the_given_type(simulator, context, native, monkeypatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_KIMI_DEFAULT"])
    connection["extra"] |= {"model": "kimi-k2.6", "host_options": {"json_schema": native}}
    monkeypatch.setenv("AIRFLOW_CONN_KIMI_DEFAULT", json.dumps(connection))
    simulator.script("answers", answers=[{"content": json.dumps(GOOD)}])
    assert ask(output_type=Mood).execute(context) == GOOD
    assert ask(output_type=Mood).execute(context) == GOOD
    assert simulator.calls.count(CHAT) == 1


def test_the_type_by_its_dotted_path(simulator, context) -> None:
    value = ask(output_type="kimi_provider.schemas.TopValue").execute(context)
    assert value == {"value": "simulated", "count": 0}


def test_an_answer_that_does_not_fit_is_repaired(simulator, context) -> None:
    answers = [{"content": '{"mood": "planted-reply-4711"}'}, {"content": json.dumps(GOOD)}]
    simulator.script("answers", answers=answers)
    assert ask(output_type=Mood).execute(context) == GOOD
    assert simulator.calls.count(CHAT) == 2


def test_after_a_misfit_the_retry_asks_anew(simulator, context) -> None:
    simulator.script("misfit", content='{"mood": "planted-reply-4711"}', once=False)
    with pytest.raises(InvalidOutputError) as caught:
        ask(output_type=Mood).execute(context)
    assert "4711" not in str(caught.value)
    assert simulator.calls.count(CHAT) == 2
    simulator.script("answers", answers=[{"content": json.dumps(GOOD)}])
    assert ask(output_type=Mood).execute(context) == GOOD
    assert simulator.calls.count(CHAT) == 3


@pytest.mark.parametrize(
    "wrong", [dict, "plain", "no.such.Type", "kimi_provider.schemas.Nothing", "builtins.dict"]
)
def test_what_is_no_type_is_refused_before_it_is_paid(simulator, context, wrong) -> None:
    with pytest.raises(AirflowFailException, match="output_type"):
        ask(output_type=wrong).execute(context)
    assert len(simulator.calls) == 0


def test_a_fallback_answers_where_the_host_is_down(simulator, context, monkeypatch) -> None:
    dead = {"conn_type": "kimi", "host": "http://127.0.0.1:9/v1", "password": KEY}
    dead["extra"] = {"model": "kimi-k2-thinking", "max_attempts": 1}
    monkeypatch.setenv("AIRFLOW_CONN_DEAD", json.dumps(dead))
    operator = ask(kimi_conn_id="dead", fallback_conn_ids=["kimi_default"])
    assert "planted-prompt" in operator.execute(context)
    assert {"answered": "kimi_default"}.items() <= next(
        entry for entry in trace(context) if entry["kind"] == "connection"
    ).items()


def test_neither_key_nor_prompt_nor_reply_is_logged(simulator, context, caplog, capsys) -> None:
    caplog.set_level(logging.INFO)
    simulator.script("answers", answers=[{"content": "planted-reply-4711"}])
    assert ask().execute(context) == "planted-reply-4711"
    assert ask().execute(context) == "planted-reply-4711"
    assert "Kimi call 1" in caplog.text
    printed = capsys.readouterr().out  # Airflow's own loggers print
    assert "KimiChatOperator" in printed
    assert "4711" not in caplog.text + printed
    assert KEY not in json.dumps(trace(context))

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.exceptions import EmptyAnswerError, TruncatedAnswerError
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
    ti = SimpleNamespace(dag_id="d", run_id="manual__2013-02-08", task_id="ask", map_index=-1)
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


def test_neither_key_nor_prompt_nor_reply_is_logged(simulator, context, caplog) -> None:
    caplog.set_level(logging.INFO)
    simulator.script("answers", answers=[{"content": "planted-reply-4711"}])
    assert ask().execute(context) == "planted-reply-4711"
    assert ask().execute(context) == "planted-reply-4711"
    assert "Kimi call 1" in caplog.text
    assert "4711" not in caplog.text
    assert KEY not in json.dumps(trace(context))

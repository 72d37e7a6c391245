from __future__ import annotations

import json
import logging
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from msgspec import structs

from kimi_provider.client.batches import Batches
from kimi_provider.exceptions import APIError, JournalError, ServerError
from kimi_provider.hooks.storage import open_uri, task_folder
from kimi_provider.operators.batch import KimiBatchOperator
from kimi_provider.storage import read_text
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPTS = {"a": "planted-prompt-4711 a", "b": "planted-prompt-4711 b"}


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulator:
    running.reset()
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", tmp_path.as_uri())
    connection = {"conn_type": "kimi", "host": running.kimi_url, "password": "sk-planted-4711"}
    connection["extra"] = {
        "model": "kimi-k2.6",
        "max_attempts": 1,
        "host_options": {"side_endpoints": True},
        "prices": {"kimi-k2.6": {"miss": 1, "output": 4}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_KIMI_DEFAULT", json.dumps(connection))
    return running


@pytest.fixture
def context() -> dict:
    pushed: dict = {}
    ti = SimpleNamespace(
        dag_id="d",
        run_id="manual__2013-02-08",
        task_id="batch",
        map_index=-1,
        pushed=pushed,
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    return {"ti": ti}


def batch(**parameters: object) -> KimiBatchOperator:
    settings = {"prompts": PROMPTS, "poll_interval": 0.01, "deferrable": False, **parameters}
    return KimiBatchOperator(task_id="batch", **settings)


def submitted(simulator: Simulator) -> int:
    return sum(call.method == "POST" for call in simulator.calls.select("/v1/batches"))


def lines(result: dict) -> list[dict]:
    text = read_text(open_uri(result["results_uri"]))
    return [json.loads(line) for line in text.splitlines()]


def test_the_answers_lie_in_storage_in_order_and_are_counted(simulator, context) -> None:
    result = batch().execute(context)
    assert result["counts"] == {"total": 2, "answered": 2, "truncated": 0, "failed": 0}
    found = lines(result)
    assert [line["id"] for line in found] == ["a", "b"]
    for line in found:
        assert f"planted-prompt-4711 {line['id']}" in line["text"]
    usage = result["usage"]
    assert usage["calls"] == 2
    full = (usage["input_tokens"] - usage["cache_read_tokens"]) * 1 + usage["output_tokens"] * 4
    full += usage["cache_read_tokens"] * 1
    assert usage["cost_usd"] == pytest.approx(0.6 * full / 1e6)
    assert "4711" not in json.dumps(result)


def test_what_it_cost_is_told_where_costs_are_looked_for(simulator, context) -> None:
    result = batch().execute(context)
    told = context["ti"].pushed["kimi_usage"]
    assert told == {"model": "kimi-k2.6", **result["usage"]}


def test_a_price_that_cannot_be_told_costs_no_answer(simulator, context, caplog) -> None:
    del context["ti"].xcom_push
    assert batch().execute(context)["counts"]["answered"] == 2
    assert "usage cannot be kept" in caplog.text


def test_a_list_is_numbered_and_the_system_message_goes_along(simulator, context) -> None:
    simulator.script("answers", match="Be brief.", answers=[{"content": "Brief."}])
    result = batch(prompts=["one", "two"], system="Be brief.").execute(context)
    assert [(line["id"], line["text"]) for line in lines(result)] == [("0", "Brief."), ("1", "Brief.")]


def test_a_retry_finds_the_batch_again(simulator, context, monkeypatch) -> None:
    async def fails(*_) -> None:
        raise ServerError("down", status=500)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "get", fails)
        with pytest.raises(ServerError):
            batch(poll_interval=0.001).execute(context)
    first = batch().execute(context)
    assert batch().execute(context) == first
    assert submitted(simulator) == 1
    assert simulator.calls.count("/v1/files") - simulator.calls.count("/content") == 1


def test_a_worker_killed_after_the_submission_does_not_pay_twice(
    simulator, context, monkeypatch
) -> None:
    create = Batches.create

    async def killed(self: Batches, *args, **kwargs):
        await create(self, *args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            batch().execute(context)
    known = json.loads(read_text(task_folder(context) / "batch.json"))
    assert known["batch_id"] is None
    assert batch().execute(context)["counts"]["answered"] == 2
    assert submitted(simulator) == 1


def test_a_submission_without_an_answer_is_looked_for(simulator, context) -> None:
    simulator.faults.add("/v1/batches", "close_after")
    with pytest.raises(APIError):
        batch().execute(context)
    assert batch().execute(context)["counts"]["answered"] == 2
    assert submitted(simulator) == 1


def test_a_host_that_drops_the_metadata_is_not_paid_twice(simulator, context, monkeypatch) -> None:
    listed = Batches.list

    async def without(self: Batches, **kwargs):
        return [structs.replace(one, metadata=None) for one in await listed(self, **kwargs)]

    monkeypatch.setattr(Batches, "list", without)
    simulator.faults.add("/v1/batches", "close_after")
    with pytest.raises(APIError):
        batch().execute(context)
    assert batch().execute(context)["counts"]["answered"] == 2
    assert submitted(simulator) == 1


def test_a_damaged_note_of_the_batch_stops_before_a_second_one(simulator, context) -> None:
    batch().execute(context)
    path = task_folder(context) / "batch.json"
    path.write_text(path.read_text()[:20])
    with pytest.raises(JournalError, match="is damaged"):
        batch().execute(context)
    assert submitted(simulator) == 1


def test_a_worker_killed_before_the_submission_submits(simulator, context) -> None:
    simulator.faults.add("/v1/batches", "close_before")
    with pytest.raises(APIError):
        batch().execute(context)
    assert batch().execute(context)["counts"]["answered"] == 2


def test_the_batch_of_another_task_is_not_taken(simulator, context) -> None:
    first = batch().execute(context)
    context["ti"].task_id = "other"
    second = batch().execute(context)
    assert first["batch_id"] != second["batch_id"]
    assert submitted(simulator) == 2


def test_other_prompts_are_another_batch(simulator, context, caplog) -> None:
    first = batch().execute(context)
    second = batch(prompts=["something else"]).execute(context)
    assert first["batch_id"] != second["batch_id"]
    assert f"batch {first['batch_id']}, which is left to itself" in caplog.text


def test_a_deferrable_task_leaves_the_worker_and_comes_back_by_the_id(simulator, context) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        batch(deferrable=True).execute(context)
    stored = deferred.value.trigger.serialize()[1]
    assert "4711" not in json.dumps(stored)
    event = {"batch_id": stored["batch_id"], "status": "completed"}
    resume = getattr(batch(deferrable=True), deferred.value.method_name)
    result = resume(context, event=event)
    assert result["batch_id"] == stored["batch_id"]
    assert len(lines(result)) == 2
    assert submitted(simulator) == 1


def test_a_deferred_task_that_is_woken_too_early_waits_on(simulator, context) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        batch(deferrable=True).execute(context)
    batch_id = deferred.value.trigger.batch_id
    simulator.faults.add("/v1/batches/", "unauthorized")
    event = {"batch_id": batch_id, "status": "unknown"}
    with pytest.raises(AirflowFailException, match="AuthenticationError"):
        batch(deferrable=True).execute_complete(context, event)
    assert submitted(simulator) == 1


def test_prompts_that_failed_are_counted_and_named(simulator, context) -> None:
    prompts = {"good": "Hello", "long": "word " * 300_000}
    result = batch(prompts=prompts).execute(context)
    assert result["counts"] == {"total": 2, "answered": 1, "truncated": 0, "failed": 1}
    good, long = lines(result)
    assert "text" in good
    assert long["error"].startswith("ContextLengthError")


def test_a_batch_without_any_answer_fails_and_the_retry_submits_anew(simulator, context) -> None:
    simulator.balance = 0
    with pytest.raises(AirflowFailException, match="QuotaExceededError"):
        batch().execute(context)
    simulator.balance = 10
    assert batch().execute(context)["counts"]["answered"] == 2
    assert submitted(simulator) == 2


def test_a_model_that_batches_do_not_take_fails_for_good(simulator, context) -> None:
    with suppress(APIError, AirflowFailException):  # told at the submission, or when looked at
        batch(model="kimi-k3").execute(context)
    with pytest.raises(AirflowFailException, match="refused batch"):
        batch(model="kimi-k3").execute(context)


@pytest.mark.parametrize(
    ("prompts", "named"),
    [
        ("a text", "prompts is str"),
        (None, "prompts is NoneType"),
        ([], "without a request"),
        (["fine", ""], "Prompt 1"),
        ({"a": 4711}, "Prompt 'a' is int"),
        ({1: "x", "1": "y"}, "Prompt '1'"),
    ],
)
def test_what_cannot_be_a_batch_is_refused_before_anything_is_sent(
    simulator, context, prompts, named
) -> None:
    with pytest.raises(AirflowFailException, match=named) as caught:
        batch(prompts=prompts).execute(context)
    assert "4711" not in str(caught.value)
    assert len(simulator.calls) == 0


def test_a_host_without_batches_says_so(simulator, context, monkeypatch) -> None:
    connection = {"conn_type": "kimi", "host": simulator.kimi_url, "password": "x"}
    connection["extra"] = {"model": "kimi-k2.6"}
    monkeypatch.setenv("AIRFLOW_CONN_KIMI_DEFAULT", json.dumps(connection))
    with pytest.raises(AirflowFailException, match="batch endpoint"):
        batch().execute(context)


def test_nothing_secret_is_logged(simulator, context, caplog, capsys) -> None:
    caplog.set_level(logging.INFO)
    batch().execute(context)
    batch().execute(context)
    assert "is submitted" in caplog.text
    assert "not submitted again" in caplog.text
    printed = capsys.readouterr().out  # Airflow's own loggers print
    assert "results.jsonl" in printed
    assert "4711" not in caplog.text + printed

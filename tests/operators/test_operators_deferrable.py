"""Waiting in the triggerer: the worker leaves, the trigger asks, the worker comes back to an answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from blockbuster import blockbuster_ctx
from pydantic import BaseModel

from kimi_provider.analysis.elsewhere import CONCURRENT
from kimi_provider.analysis.tools import tool
from kimi_provider.exceptions import ConfigurationError, ServerError
from kimi_provider.hooks.storage import open_uri
from kimi_provider.operators.agent import KimiAgentOperator
from kimi_provider.operators.analyze import KimiAnalyzeOperator
from kimi_provider.operators.chat import KimiChatOperator
from kimi_provider.operators.fetch_files import FileFetchOperator
from kimi_provider.storage import read_text
from kimi_provider.triggers.calls import KimiCallTrigger

CALLS = "chat/completions"
ROOT = Path(__file__).parents[2]


class Mood(BaseModel):
    mood: str


def context(run_id="run"):
    return {
        "ti": SimpleNamespace(
            id=uuid4(),
            dag_id="waiting",
            run_id=run_id,
            task_id="ask",
            map_index=-1,
            try_number=1,
            xcom_push=dict,
        )
    }


def ask(operator_class=KimiChatOperator, **arguments):
    return operator_class(
        task_id="ask",
        prompt="Say hello.",
        dag=DAG("waiting", schedule=None),
        deferrable=True,
        **arguments,
    )


def deferral(operator, event=None):
    """Run the worker's part until it leaves; return where to."""
    with pytest.raises(TaskDeferred) as left:
        operator.execute(context()) if event is None else operator.execute_complete(context(), event)
    assert left.value.method_name == "execute_complete"
    return left.value.trigger


def fire(trigger):
    """Run a trigger as the triggerer would: made again from what Airflow stored of it."""
    path, stored = trigger.serialize()
    assert path == "kimi_provider.triggers.calls.KimiCallTrigger"

    async def events():
        trigger = KimiCallTrigger(**json.loads(json.dumps(stored)))
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(events())
    return event


def test_the_worker_asks_nothing_and_the_trigger_asks_once(simulator):
    trigger = deferral(ask())
    assert simulator.calls.count(CALLS) == 0
    event = fire(trigger)
    assert simulator.calls.count(CALLS) == 1
    text = ask().execute_complete(context(), event)

    assert "simulator" in text
    assert simulator.calls.count(CALLS) == 1
    assert event["usage"]["calls"] == 1
    assert event["failures"] == {}


def test_what_airflow_stores_and_logs_holds_no_prompt_answer_or_key(simulator):
    trigger = deferral(ask(system="A secret plan."))
    event = fire(trigger)
    text = ask(system="A secret plan.").execute_complete(context(), event)
    told = json.dumps([trigger.serialize(), event])

    assert len(json.dumps(trigger.serialize())) < 1_000
    for private in ("Say hello", "secret plan", text, "sk-simulator"):
        assert private not in told


def test_a_repair_goes_to_the_triggerer_too(simulator):
    simulator.script("misfit")
    operator = ask(output_type=Mood)
    repair = deferral(operator, fire(deferral(operator)))
    event = fire(repair)

    assert set(operator.execute_complete(context(), event)) == {"mood"}
    assert simulator.calls.count(CALLS) == event["usage"]["calls"] == 2


def test_a_failure_is_raised_on_the_worker_as_what_it_was(simulator):
    simulator.faults.add("/v1/chat", "server_error", times=50)
    event = fire(deferral(ask()))
    with pytest.raises(ServerError) as failed:
        ask().execute_complete(context(), event)
    assert failed.value.status == 500


def test_a_refusal_fails_the_task_for_good(simulator):
    simulator.faults.add("/v1/chat", "unauthorized", times=50)
    event = fire(deferral(ask()))
    with pytest.raises(AirflowFailException, match="AuthenticationError"):
        ask().execute_complete(context(), event)


def test_the_budget_holds_in_the_triggerer(simulator):
    event = fire(deferral(ask(max_cost_usd="0.000001")))
    with pytest.raises(AirflowFailException, match="max_cost_usd"):
        ask().execute_complete(context(), event)
    assert simulator.calls.count(CALLS) == 0


def test_a_trigger_that_is_started_again_asks_nothing_twice(simulator):
    trigger = deferral(ask())
    assert fire(trigger)["usage"] == fire(trigger)["usage"]
    assert simulator.calls.count(CALLS) == 1


def test_tools_run_on_the_worker_and_the_model_in_the_triggerer(simulator):
    ran = []

    @tool
    def look_up(name: str) -> str:
        """Look a name up.

        :param name: the name.
        """
        ran.append(name)
        return f"{name} is known"

    simulator.script("tools", steps=2, tool="look_up", arguments={"name": "n{step}"})
    operator = ask(KimiAgentOperator, tools=[look_up])
    trigger, seen = deferral(operator), []
    for _ in range(2):
        event = fire(trigger)
        seen.append(list(ran))
        trigger = deferral(operator, event)
    result = operator.execute_complete(context(), fire(trigger))

    assert seen == [[], ["n0"]]
    assert (result["tool_calls"], ran) == (2, ["n0", "n1"])
    assert simulator.calls.count(CALLS) == 3


def test_nothing_blocks_the_loop_of_the_triggerer(simulator):
    trigger = deferral(ask())
    # What the first run of a process imports is no file of ours.
    fire(deferral(ask(system="warm up")))

    async def run():
        with blockbuster_ctx():
            return [event async for event in trigger.run()]

    assert asyncio.run(run())[0].payload["failures"] == {}


def test_an_unknown_way_to_restart_is_refused():
    with pytest.raises(ConfigurationError, match="resubmit"):
        ask(on_restart="perhaps")


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("way", ["cancelled", "cleanup", "on_kill"])
def test_a_trigger_that_is_dropped_closes_its_stream(simulator, way):
    trigger = deferral(ask())
    simulator.script("long", chunk_delay=0.05)

    async def run():
        events = trigger.run()
        firing = asyncio.create_task(anext(events))
        await asyncio.to_thread(until, lambda: simulator.calls.in_flight)
        if way == "cancelled":
            firing.cancel()
        else:
            await getattr(trigger, way)()
        with pytest.raises(asyncio.CancelledError):
            await firing
        await trigger.cleanup()  # as the triggerer does at every end

    asyncio.run(run())
    until(lambda: simulator.calls.in_flight == 0, seconds=5)
    assert simulator.calls.count(CALLS) == 1


def test_a_worker_that_is_told_to_end_closes_its_stream(simulator):
    operator = ask()
    operator.deferrable = False
    simulator.script("long", chunk_delay=0.05)
    with ThreadPoolExecutor() as pool:
        working = pool.submit(operator.execute, context())
        until(lambda: simulator.calls.in_flight)
        operator.on_kill()
        # Airflow takes it for a failure, and lets the task run again where it may.
        with pytest.raises(asyncio.CancelledError):
            working.result(timeout=60)
    until(lambda: simulator.calls.in_flight == 0, seconds=5)
    simulator.clear_scripts()
    operator.on_kill()  # after the end there is nothing to end
    assert "simulator" in operator.execute(context())
    assert simulator.calls.count(CALLS) == 2


@pytest.mark.parametrize(("state", "calls"), [("deferred", 1), ("queued", 2), (None, 2)])
def test_who_clears_a_task_wants_its_call_and_a_hand_over_is_no_person(
    simulator, monkeypatch, state, calls
):
    told = {"run": {"ask": state}} if state else {}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **_: told)
    operator = ask(on_restart="fail")
    trigger = deferral(operator)
    trigger.task_instance = SimpleNamespace(dag_id="waiting", run_id="run", task_id="ask", map_index=-1)
    simulator.script("long", chunk_delay=0.05)

    async def run():
        firing = asyncio.create_task(anext(trigger.run()))
        await asyncio.to_thread(until, lambda: simulator.calls.in_flight)
        firing.cancel("user-action")
        with pytest.raises(asyncio.CancelledError):
            await firing
        await trigger.on_kill()

    asyncio.run(run())
    simulator.clear_scripts()
    event = fire(deferral(operator))
    assert simulator.calls.count(CALLS) == calls
    assert bool(event["failures"]) == (state == "deferred")
    assert event["usage"]["repeated_calls"] == 1


def test_airflow_settings_decide_who_waits_in_the_triggerer():
    """The default is read when the operators are imported, so in a process of its own."""
    code = """
from kimi_provider.operators import agent, analyze, batch, chat
made = [chat.KimiChatOperator(task_id="a", prompt="p"), agent.KimiAgentOperator(task_id="b", prompt="p"),
        analyze.KimiAnalyzeOperator(task_id="c", prompt="p", datasets={}),
        batch.KimiBatchOperator(task_id="d", prompts=["p"])]
print([one.deferrable for one in made])
"""
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines()[-1] == "[True, True, True, True]"


def test_an_analysis_waits_in_the_triggerer_and_is_the_same(simulator, chain):
    here = chain.analyze()
    chain.run_id = "another"
    asked = simulator.calls.count(CALLS)
    datasets = {name: chain.values[f"fetch_{name}"] for name in ("flights", "weather", "airlines")}
    operator = KimiAnalyzeOperator(
        task_id="analyze",
        dag=chain.dag,
        prompt="flight_on_time",
        parameters={"day": "2013-02-08"},
        datasets=datasets,
        deferrable=True,
    )
    trigger = deferral(operator)
    assert simulator.calls.count(CALLS) == asked
    event = fire(trigger)
    there = operator.execute_complete(context(), event)

    assert simulator.calls.count(CALLS) == asked + 1
    told = ("headline", "summary", "findings", "actions", "charts", "facts")
    assert [there[name] for name in told] == [here[name] for name in told]
    entries = json.loads(read_text(open_uri(there["trace_uri"])))["entries"]
    assert "error" not in [entry["kind"] for entry in entries]


def test_an_analysis_falls_back_after_what_failed_in_the_triggerer(simulator, chain):
    simulator.faults.add("/v1/chat", "server_error", times=50)
    operator = KimiAnalyzeOperator(
        task_id="analyze",
        dag=chain.dag,
        prompt="flight_on_time",
        parameters={"day": "2013-02-08"},
        datasets={name: chain.fetch(name) for name in ("flights", "weather", "airlines")},
        on_llm_failure="fallback",
        deferrable=True,
    )
    result = operator.execute_complete(context(), fire(deferral(operator)))
    assert result["failure"]
    assert result["facts"]


def test_the_parts_of_a_text_go_to_the_triggerer_together(simulator, tmp_path):
    prompts = tmp_path / "templates" / "prompts"
    prompts.mkdir(parents=True)
    (prompts / "parts.md.j2").write_text(
        "---\nextends: text_themes\ntext: {column: comment, question: what is said, chunk_tokens: 1000}"
        "\n---\n"
    )
    source = tmp_path / "texts.jsonl"
    rows = [{"id": n, "comment": f"Delivery {n} was late. " * 40} for n in range(60)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dag = DAG("texts", schedule=None, template_searchpath=[str(prompts.parent)])
    dataset = FileFetchOperator(task_id="fetch", dag=dag, path=source.as_uri()).execute(context())
    operator = KimiAnalyzeOperator(
        task_id="analyze", dag=dag, prompt="parts", datasets={"texts": dataset}, deferrable=True
    )
    trigger = deferral(operator)
    parts = len(json.loads(read_text(open_uri(trigger.calls_uri))))
    assert parts > CONCURRENT
    assert simulator.calls.count(CALLS) == 0
    event = fire(trigger)
    assert simulator.calls.count(CALLS) == event["usage"]["calls"] == parts


KILLED = """
import asyncio, json, sys
from kimi_provider.triggers.calls import KimiCallTrigger
async def main():
    async for event in KimiCallTrigger(**json.loads(sys.argv[1])).run():
        pass
asyncio.run(main())
"""


@pytest.mark.parametrize("on_restart", ["resubmit", "fail"])
def test_a_killed_triggerer_is_told_of_and_its_call_repeated_as_told(simulator, on_restart):
    operator = ask(on_restart=on_restart)
    trigger = deferral(operator)
    simulator.script("long", chunk_delay=0.05)
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, json.dumps(trigger.serialize()[1])], cwd=ROOT, env=os.environ
    )
    end = time.monotonic() + 60
    while simulator.calls.count(CALLS) < 1 and time.monotonic() < end:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    simulator.clear_scripts()
    event = fire(trigger)

    assert event["usage"]["repeated_calls"] == 1
    if on_restart == "resubmit":
        assert "simulator" in operator.execute_complete(context(), event)
        (path,) = Path(open_uri(trigger.calls_uri).path).parent.glob("trace.json")
        marks = [e for e in json.loads(path.read_text())["entries"] if e["kind"] == "interrupted"]
        assert [mark["begun"] < mark["at"] for mark in marks] == [True]
        assert simulator.calls.count(CALLS) == 2
    else:
        with pytest.raises(AirflowFailException, match="on_restart"):
            operator.execute_complete(context(), event)
        assert simulator.calls.count(CALLS) == 1
        # Who clears the task wants the call.
        event = fire(deferral(operator))
        assert "simulator" in operator.execute_complete(context(), event)
        assert simulator.calls.count(CALLS) == 2

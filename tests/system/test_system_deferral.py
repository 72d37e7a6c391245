"""Waiting in a real triggerer: tools on workers, tasks that a person ends, many at once in a pool."""

from __future__ import annotations

import json
import os
from functools import partial

import pytest

HELD = 600
"""Seconds for which a call is held: until somebody closes its stream."""
ANSWER = 1.0


@pytest.fixture
def run(airflow):
    """Return a function that starts a run and gives what asks for its tasks' states."""

    def start(dag_id):
        run_id = airflow.trigger(dag_id)
        return run_id, partial(airflow.task_states, dag_id, run_id)

    return start


def test_tools_run_on_workers_and_a_batch_is_waited_for(airflow, run):
    connection = {
        "connection_id": "kimi_batches",
        "conn_type": "kimi",
        "host": f"{airflow.simulator.base_url}/v1",
        "password": "sk-simulator",
        "extra": json.dumps({"model": "kimi-k2.6", "host_options": {"side_endpoints": True}}),
    }
    assert airflow.api.post("/api/v2/connections", json=connection).status_code == 201
    airflow.script(kind="tools", match="Look names up", steps=2, tool="look_up",
                   arguments={"name": "n{step}"})  # fmt: skip
    triggerer = {process.pid for process in airflow.processes("triggerer")}
    asked = airflow.calls()
    run_id, _ = run("deferral")
    assert airflow.finish("deferral", run_id) == "success"

    assert airflow.xcom("deferral", run_id, "agent")["tool_calls"] == 2
    assert airflow.calls() == asked + 3
    looked_up = [line.split() for line in (airflow.home / "looked-up.txt").read_text().splitlines()]
    assert [name for name, _ in looked_up] == ["n0", "n1"]
    # Each turn of the tools is a task's process of its own.
    pids = {int(pid) for _, pid in looked_up}
    assert len(pids) == 2
    assert not pids & triggerer
    batch = airflow.xcom("deferral", run_id, "batch")
    assert batch["counts"] == {"total": 2, "answered": 2, "truncated": 0, "failed": 0}


def in_flight(airflow):
    """Return how many calls the model is answering."""
    return airflow.simulator.get("/_simulator/calls").json()["in_flight"]


def test_a_person_ends_a_waiting_task_and_clears_it(airflow, run):
    airflow.disturb("/v1/chat", "stall", at_event=5, seconds=HELD)
    asked = airflow.calls()
    run_id, states = run("careful")
    airflow.wait("the call", lambda: airflow.calls() > asked and in_flight(airflow))
    assert states()["ask"] == "deferred"
    task = f"/api/v2/dags/careful/dagRuns/{run_id}/taskInstances/ask"
    airflow.api.patch(task, json={"new_state": "failed"}).raise_for_status()
    airflow.wait("the end of the stream", lambda: not in_flight(airflow))
    assert states()["ask"] == "failed"
    assert airflow.calls() == asked + 1

    clear = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": ["ask"]}
    airflow.api.post("/api/v2/dags/careful/clearTaskInstances", json=clear).raise_for_status()
    airflow.wait("the end", lambda: states()["ask"] in {"success", "failed"})
    # on_restart="fail" is for what happens by itself: who clears the task wants the call.
    assert states()["ask"] == "success"
    assert airflow.calls() == asked + 2


def test_a_call_that_is_not_to_be_repeated_fails_its_task(airflow, run):
    airflow.disturb("/v1/chat", "stall", at_event=5, seconds=HELD)
    asked = airflow.calls()
    run_id, _ = run("careful")
    airflow.wait("the call", lambda: airflow.calls() > asked and in_flight(airflow))
    airflow.kill("triggerer")
    airflow.start("triggerer")
    assert airflow.finish("careful", run_id) == "failed"
    assert airflow.calls() == asked + 1
    usage = airflow.api.get(
        f"/api/v2/dags/careful/dagRuns/{run_id}/taskInstances/ask/xcomEntries/kimi_usage"
        "?deserialize=true"
    )
    assert usage.json()["value"]["repeated_calls"] == 1


def test_a_pool_holds_for_what_waits_in_the_triggerer(airflow):
    """A handful of mapped tasks; with MAPPED_CALLS=200 in the environment it takes minutes."""
    many, asked = int(os.environ.get("MAPPED_CALLS", "12")), airflow.calls()
    pool = {"name": "kimi", "slots": max(3, many // 10), "include_deferred": True}
    assert airflow.api.post("/api/v2/pools", json=pool).status_code == 201
    airflow.simulator.post("/_simulator/settings", json={"answer_delay": ANSWER}).raise_for_status()
    try:
        run_id = airflow.trigger("many")
        assert airflow.finish("many", run_id, seconds=2.0 * HELD) == "success"
    finally:
        airflow.simulator.post("/_simulator/settings", json={"answer_delay": 0.0}).raise_for_status()
    calls = airflow.simulator.get("/_simulator/calls?path=chat/completions").json()["calls"][asked:]
    assert len(calls) == many
    # No call lasts less than its answer's delay, so these were under way together.
    together = [sum(0 <= other["at"] - one["at"] < ANSWER for other in calls) for one in calls]
    assert max(together) <= pool["slots"]

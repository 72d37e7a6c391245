"""Thinking without a worker: in the triggerer, also when that is killed."""

from __future__ import annotations

import json
from functools import partial

DAG = "long_thinking"


def test_a_killed_triggerer_is_taken_over_and_one_call_is_repeated_at_most(airflow):
    airflow.script(kind="long", match="Think long", reasoning_events=300, chunk_delay=0.1)
    before = airflow.calls()
    run_id = airflow.trigger(DAG)
    airflow.wait("the call", lambda: airflow.calls() > before)
    state = partial(airflow.task_states, DAG, run_id)
    assert state()["ask"] == "deferred"

    airflow.kill("triggerer")
    airflow.start("triggerer")
    assert airflow.finish(DAG, run_id) == "success"
    assert airflow.calls() == before + 2
    assert "text" in airflow.xcom(DAG, run_id, "ask")
    (trace,) = (airflow.home / "kimi" / DAG).rglob("trace.json")
    kinds = [entry["kind"] for entry in json.loads(trace.read_text())["entries"]]
    assert kinds.count("interrupted") == 1

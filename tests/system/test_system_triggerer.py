"""Thinking without a worker: in the triggerer, also when that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

DAG = "long_thinking"


def calls(airflow):
    """Return how many calls of the model there were."""
    return airflow.simulator.get("/_simulator/calls?path=chat/completions").json()["total"]


def processes(airflow, part):
    """Return the ids of Airflow's processes of one part, by its command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text().split("\0")
            environment = (entry / "environ").read_text()
        except OSError:
            continue
        if part in words and f"AIRFLOW_HOME={airflow.home}\0" in environment:
            found.append(int(entry.name))
    return found


def start(airflow, part, like):
    """Start another process of a part, with the environment of one that runs."""
    environment = dict(
        pair.split("=", 1)
        for pair in Path(f"/proc/{like}/environ").read_text().split("\0")
        if "=" in pair
    )
    log = (airflow.home / f"second-{part}.log").open("w")
    return subprocess.Popen(
        [sys.executable, "-m", "airflow", part, "--skip-serve-logs"],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def test_a_killed_triggerer_is_taken_over_and_one_call_is_repeated_at_most(airflow):
    airflow.script(kind="long", match="Think long", reasoning_events=300, chunk_delay=0.1)
    before = calls(airflow)
    run_id = airflow.trigger(DAG)
    airflow.wait("the call", lambda: calls(airflow) > before)
    state = partial(airflow.task_states, DAG, run_id)
    assert state()["ask"] == "deferred"

    running = processes(airflow, "triggerer")
    second = start(airflow, "triggerer", like=running[0])
    try:
        for process in running:
            os.kill(process, signal.SIGKILL)
        assert airflow.finish(DAG, run_id) == "success"
        assert calls(airflow) == before + 2
        assert "text" in airflow.xcom(DAG, run_id, "ask")
        (trace,) = (airflow.home / "kimi" / DAG).rglob("trace.json")
        kinds = [entry["kind"] for entry in json.loads(trace.read_text())["entries"]]
        assert kinds.count("interrupted") == 1
    finally:
        os.killpg(second.pid, signal.SIGTERM)
        second.wait(60)

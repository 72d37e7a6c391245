"""Measures what thinking costs in workers' slots, on a whole Airflow; prints the figures as JSON.

    python tests/bench/slots.py SUBJECT REPORTS THINKING

REPORTS mapped tasks ask the simulator at once, and each answer takes THINKING seconds. While they run,
Airflow's pool says how many slots are taken; the sum over the time is what is printed. Every subject may
have as many workers as it has tasks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from waiting import script, simulator

from kimi_provider.testing.services import airflow_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK = 0.5
_START = 300  # seconds
_DAG = """
from airflow.sdk import dag
{imports}

@dag(schedule=None, max_active_tasks=1000)
def slots():
    {operator}.expand(prompt=[f"Think about the number {{n}}." for n in range({count})])

slots()
"""
_SUBJECTS = {
    "deferrable": (
        "from kimi_provider.operators.chat import KimiChatOperator",
        "KimiChatOperator.partial(task_id='ask', deferrable=True)",
    ),
    "worker": (
        "from kimi_provider.operators.chat import KimiChatOperator",
        "KimiChatOperator.partial(task_id='ask', deferrable=False)",
    ),
    "common-ai": (
        "from airflow.providers.common.ai.operators.llm import LLMOperator",
        "LLMOperator.partial(task_id='ask', llm_conn_id='peer', model_id='moonshotai:kimi-k2-thinking')",
    ),
}


def _port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _airflow(home: Path, workers: int) -> Iterator[httpx.Client]:
    """Start a whole Airflow; give its REST API, signed in, once it knows the DAG."""
    port = _port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        **airflow_environment(str(home), str(home / "dags"), (home / "kimi").as_uri()),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": str(workers),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(_port()),
    }
    command = [sys.executable, "-m", "airflow", "standalone"]
    with (
        (home / "airflow.log").open("w") as log,
        subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
        httpx.Client(base_url=url, timeout=60) as api,
    ):
        try:
            end = time.monotonic() + _START
            while not _ready(api):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"Airflow did not start; see {log.name}")
                time.sleep(1)
            yield api
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _ready(api: httpx.Client) -> bool:
    try:
        if "Authorization" not in api.headers:
            token = api.get("/auth/token").json()["access_token"]
            api.headers["Authorization"] = f"Bearer {token}"
        return api.get("/api/v2/dags/slots").status_code == httpx.codes.OK
    except (httpx.TransportError, json.JSONDecodeError, KeyError):
        return False


def _measure(api: httpx.Client) -> dict[str, Any]:
    """Run the DAG once, and sum the slots that it takes over the time."""
    runs = "/api/v2/dags/slots/dagRuns"
    answer = api.post(runs, json={"logical_date": None}).raise_for_status()
    run = answer.json()["dag_run_id"]
    began = looked = time.monotonic()
    taken, most, state = 0.0, 0, "queued"
    while state in {"queued", "running"}:
        time.sleep(_LOOK)
        slots = api.get("/api/v2/pools/default_pool").raise_for_status().json()["running_slots"]
        now = time.monotonic()
        taken, most, looked = taken + slots * (now - looked), max(most, slots), now
        state = api.get(f"{runs}/{run}").raise_for_status().json()["state"]
    if state != "success":
        raise RuntimeError(f"the run ended as {state}")
    return {"slot_s": taken, "most": most, "wall": looked - began}


def main() -> None:
    """Measure one subject once."""
    subject, count, thinking = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    imports, operator = _SUBJECTS[subject]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, simulator() as url:
        home = Path(folder)
        (home / "dags").mkdir()
        (home / "dags" / "slots.py").write_text(
            _DAG.format(imports=imports, operator=operator, count=count)
        )
        connection = json.loads(os.environ["AIRFLOW_CONN_KIMI_DEFAULT"])
        peer = {
            "conn_type": "pydanticai",
            "host": connection["host"],
            "password": connection["password"],
        }
        os.environ["AIRFLOW_CONN_PEER"] = json.dumps(peer)
        # Streamed answers think an event a second; whole ones come after the same time.
        script(url, kind="long", reasoning_events=thinking - 1, content_events=1, chunk_delay=1)
        settings = json.dumps({"answer_delay": thinking}).encode()
        httpx.post(f"{url}/_simulator/settings", content=settings).raise_for_status()
        with _airflow(home, workers=count) as api:
            figures = _measure(api)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()

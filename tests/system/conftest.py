"""A whole Airflow in processes of its own: API server, scheduler, DAG processor, triggerer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = 300.0
"""Seconds that a start may take on a busy machine."""
RUN = 300.0
ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}


@dataclass
class Airflow:
    """A running Airflow, by its REST API, and the simulator beside it."""

    api: httpx.Client
    simulator: httpx.Client
    home: Path
    process: subprocess.Popen[str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Parts in place of those that were killed."""

    def trigger(self, dag_id: str, logical_date: str | None = None) -> str:
        """Start a run; return its id."""
        day = f"{logical_date}T00:00:00Z" if logical_date else None
        answer = self.api.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": day})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return each task's state by its id."""
        found = self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return {ti["task_id"]: ti["state"] for ti in found["task_instances"]}

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
        return self.get(f"{path}/return_value?deserialize=true")["value"]

    def log_in(self) -> bool:
        """Take a fresh token; return whether the API server gave one."""
        try:
            answer = self.api.get("/auth/token")
        except httpx.TransportError:
            return False
        if answer.status_code not in {200, 201}:
            return False
        self.api.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return True

    def get(self, path: str) -> Any:
        answer = self.api.get(path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def wait(self, what: str, condition: Callable[[], object], seconds: float = RUN) -> Any:
        """Wait until a condition gives something true; return that."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert self.process.poll() is None, f"Airflow ended while {what} was waited for"
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
            time.sleep(0.5)
        return found

    def finish(self, dag_id: str, run_id: str, seconds: float = RUN) -> str:
        """Wait for the end of a run; return its state."""
        ended = f"the end of {run_id}"
        self.wait(ended, lambda: self.run_state(dag_id, run_id) in ENDED, seconds)
        return self.run_state(dag_id, run_id)

    def has_seen_worker_leave(self, run_id: str, task: str = "", times: int = 1) -> bool:
        """Whether the scheduler knows that so many of the run's workers, or of a task's, have ended."""
        said = "Received executor event with state success"
        log = (self.home / "standalone.log").read_text()
        left = [line for line in log.splitlines() if said in line and run_id in line and task in line]
        return len(left) >= times

    def mails(self) -> list[dict[str, Any]]:
        return list(self.simulator.get("/_simulator/mailbox").json()["messages"])

    def calls(self, path: str = "chat/completions") -> int:
        """Return how many calls of a service there were; by default of the model."""
        return int(self.simulator.get(f"/_simulator/calls?path={path}").json()["total"])

    def script(self, **scenario: Any) -> None:
        """Tell the simulated model what to do."""
        self.simulator.post("/_simulator/scenario", json=scenario).raise_for_status()

    def disturb(self, path_prefix: str, kind: str, **options: Any) -> None:
        """Let calls of a service go wrong, as :class:`kimi_provider.testing.Fault` says."""
        fault = {"path_prefix": path_prefix, "kind": kind, **options}
        self.simulator.post("/_simulator/faults", json=fault).raise_for_status()

    def kill(self, part: str) -> None:
        """Kill a part of Airflow, but not the workers that a scheduler has started."""
        for process in self.processes(part):
            helpers = process.children() if part != "scheduler" else []
            for one in (process, *helpers):
                one.kill()

    def kill_worker(self, ti: str, *, whole: bool) -> None:
        """Kill the process of a task instance; with ``whole`` also the one that watches over it."""
        found = [one for one in self._all() if ti in _title(one)]
        watching = [one for one in found if "LocalExecutor" in _title(one) and one.children()]
        assert watching, f"no worker has {ti}"
        tasks = [task for one in watching for task in one.children()]
        for one in (*(watching if whole else ()), *tasks):
            one.kill()

    def start(self, part: str) -> None:
        """Start a part of Airflow, with the environment that all of them have."""
        (standalone,) = psutil.Process(self.process.pid).children()
        log = (self.home / f"{part}-{len(self.started)}.log").open("w")
        self.started.append(
            subprocess.Popen(
                [sys.executable, "-m", "airflow", part],
                env=standalone.environ(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )

    def stop(self) -> None:
        """End all processes."""
        everything = self._all()
        self.process.send_signal(signal.SIGTERM)
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        self.process.wait(60)
        for one in psutil.wait_procs(everything, timeout=10)[1]:
            one.kill()

    def processes(self, part: str) -> list[psutil.Process]:
        """Return a part's own processes, of the first and of later starts."""
        (standalone,) = psutil.Process(self.process.pid).children()
        mine = {process.pid for process in self.started}
        roots = [*standalone.children(), *(one for one in self._all() if one.pid in mine)]
        names = (f"airflow {part}", f"airflow {part.replace('-', '_')}")
        return [one for one in roots if any(name in _title(one) for name in names)]

    def _all(self) -> list[psutil.Process]:
        """Return all processes of this Airflow, with workers whose scheduler is gone."""
        groups = {psutil.Process(self.process.pid).children()[0].pid, *(p.pid for p in self.started)}
        found = []
        for one in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(one.pid) in groups or os.getsid(one.pid) in groups:
                    found.append(one)
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Start everything once for all tests of a session."""
    home = tmp_path_factory.mktemp("standalone")
    here = Path(__file__).parent
    dags = home / "dags"
    shutil.copytree(here / "dags", dags)
    shutil.copy(here.parents[1] / "dags" / "example_flight_report.py", dags)
    port = free_port()
    log = home / "standalone.log"
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        # Another Airflow on this machine may have the usual ones.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        # A triggerer that is killed is missed soon.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
        # So are a scheduler and a worker.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        # Workers outlive the time in which another API server starts.
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "20",
    }
    # A database of the unit tests must not be this one's.
    environment.pop("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", None)
    command = [sys.executable, "-m", "kimi_provider.testing.standalone"]
    with (
        log.open("w") as out,
        subprocess.Popen(
            [*command, "--port", str(port), "--dags", str(dags)],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as api,
        httpx.Client(timeout=120) as simulator,
    ):
        running = Airflow(api, simulator, home, process)
        try:
            mailbox = _eventually(
                lambda: re.search(r"(http://\S+)/mailbox", log.read_text()), process, log
            )
            simulator.base_url = mailbox.group(1)
            wanted = {path.stem for path in dags.glob("*.py")}
            _eventually(running.log_in, process, log)
            _eventually(lambda: wanted <= _dag_ids(api), process, log)
            yield running
        finally:
            running.stop()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _dag_ids(api: httpx.Client) -> set[str]:
    answer = api.get("/api/v2/dags")
    return {dag["dag_id"] for dag in answer.json()["dags"]} if answer.status_code == 200 else set()


def _eventually(condition: Callable[[], Any], process: subprocess.Popen[str], log: Path) -> Any:
    end = time.monotonic() + START
    while not (found := condition()):
        if process.poll() is not None or time.monotonic() > end:
            tail = "\n".join(log.read_text().splitlines()[-40:])
            pytest.fail(f"Airflow did not start within {START:g} s:\n{tail}")
        time.sleep(0.5)
    return found

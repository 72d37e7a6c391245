"""Airflow on several machines: CeleryExecutor, two workers, two triggerers, all storage in S3.

    .venv/bin/python tests/machines/machines.py

starts PostgreSQL, Redis, an S3-compatible store, the simulator and Airflow's parts on loopback, tells
where they are, and stops them all at Ctrl+C. Each part has a home folder of its own, as if it were a
machine, so what they share is the database, the broker and the bucket. It needs the packages of the
dependency group "machines" (make .venv/.machines), redis-server and PostgreSQL.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import servers

from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUCKET = "reports"
START = 420.0
"""Seconds that a start may take on a busy machine."""
RUN = 420.0
_STOP = 8.0
ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}

_HERE = Path(__file__).parent
_PARTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "worker-1": ("celery", "worker", "-H", "worker-1", "--skip-serve-logs", "--without-gossip"),
    "worker-2": ("celery", "worker", "-H", "worker-2", "--skip-serve-logs", "--without-gossip"),
    "triggerer-1": ("triggerer", "--skip-serve-logs"),
    "triggerer-2": ("triggerer", "--skip-serve-logs"),
}


class Machines:
    """Airflow's parts, each a process with a home of its own.

    :param folder: where the homes go.
    :param environment: what all machines have in common.
    """

    def __init__(
        self, folder: Path, environment: dict[str, str], api: httpx.Client, simulator: Simulator, s3: str
    ) -> None:
        self.folder = folder
        self.api = api
        self.simulator = simulator
        self.s3 = s3
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Switch a machine on."""
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", *_PARTS[name]],
                env=self._of(name),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """Pull a machine's plug: no process on it can say or write anything any more."""
        process = self._running.pop(name)
        everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for act in (psutil.Process.suspend, psutil.Process.kill):
            for (
                one
            ) in everything:  # all stand still first, so that no parent sees its child die, and tells
                with suppress(psutil.NoSuchProcess):
                    act(one)
        process.wait(30)

    def stop(self) -> None:
        """Switch all machines off."""
        roots = [
            psutil.Process(process.pid) for process in self._running.values() if process.poll() is None
        ]
        everything = [one for root in roots for one in (root, *root.children(recursive=True))]
        for root in roots:
            root.terminate()
        for one in psutil.wait_procs(everything, _STOP)[1]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        for process in self._running.values():
            process.wait(30)
        self._running.clear()

    def airflow(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Airflow's, on a machine of its own."""
        return subprocess.run(
            [sys.executable, "-m", "airflow", *words],
            env=self._of("terminal"), capture_output=True, text=True, check=False,
        )  # fmt: skip

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def wait(self, what: str, condition: Callable[[], Any], seconds: float = RUN) -> Any:
        """Wait until a condition gives something true; return that."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise AssertionError(f"{name} ended before {what}:\n{self._tail(name)}")
            if time.monotonic() > end:
                tails = "\n".join(f"--- {name}\n{self._tail(name, 15)}" for name in self._running)
                raise AssertionError(f"{what}: not within {seconds:g} s\n{tails}")
            time.sleep(0.5)
        return found

    def get(self, path: str) -> Any:
        answer = self.api.get(path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def trigger(self, dag_id: str, logical_date: str) -> str:
        """Start a run; return its id."""
        day = f"{logical_date}T00:00:00Z"
        answer = self.api.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": day})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["dag_run_id"])

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        )
        return found

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
        return self.get(f"{path}/return_value?deserialize=true")["value"]

    def finish(self, dag_id: str, run_id: str) -> str:
        """Wait for the end of a run; return its state."""

        def ended() -> str | None:
            state = str(self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])
            return state if state in ENDED else None

        return str(self.wait(f"the end of {run_id}", ended))

    def connect(self, conn_id: str, connection: dict[str, Any]) -> None:
        """Keep a connection in Airflow's database, which all machines ask for it."""
        body = dict(connection) | {"connection_id": conn_id}
        if "extra" in body:
            body["extra"] = json.dumps(body["extra"])
        answer = self.api.post("/api/v2/connections", json=body)
        assert answer.status_code == 201, answer.text

    def log_in(self) -> bool:
        try:
            answer = self.api.get("/auth/token")
        except httpx.TransportError:
            return False
        if answer.status_code not in {200, 201}:
            return False
        self.api.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return True

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.get("/api/v2/dags")["dags"]}

    def triggerers(self) -> set[str]:
        """Return the names of those that have said that they live."""
        jobs = self.get("/api/v2/jobs?job_type=TriggererJob&is_alive=true")["jobs"]
        return {job["hostname"] for job in jobs}

    def workers(self) -> set[str]:
        """Return the names of those that wait for tasks."""
        names = (name for name in self._running if name.startswith("worker"))
        return {name for name in names if f"{name} ready" in self.log(name).read_text()}

    def _of(self, name: str) -> dict[str, str]:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        return {**self._environment, "AIRFLOW_HOME": str(home), "KIMI_MACHINE": name}

    def _tail(self, name: str, lines: int = 40) -> str:
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def machines(database: str, broker: str, s3: str) -> Iterator[Machines]:
    """Start everything; stop it in the end.

    :param database: URL of an empty PostgreSQL database.
    :param broker: URL of a Redis.
    :param s3: URL of an S3-compatible store with the bucket.
    """
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        tempfile.TemporaryDirectory(prefix="kimi-machines-") as folder,
        httpx.Client(base_url=url, timeout=60) as api,
        Simulator() as simulator,
    ):
        environment = _environment(database, broker, url)
        all_of_them = Machines(Path(folder), environment, api, simulator, s3)
        try:
            made = all_of_them.airflow("db", "migrate")
            assert made.returncode == 0, made.stderr[-2000:]
            for name in _PARTS:
                all_of_them.start(name)
            all_of_them.wait("the API server", all_of_them.log_in, START)
            for conn_id, connection in _connections(simulator, s3).items():
                all_of_them.connect(conn_id, connection)
            wanted = {"waits_in_worker", "waits_in_triggerer"}
            all_of_them.wait("the DAGs", lambda: wanted <= all_of_them.dag_ids(), START)
            two = {"triggerer-1", "triggerer-2"}
            all_of_them.wait("two triggerers", lambda: two <= all_of_them.triggerers(), START)
            all_of_them.wait("two workers", lambda: len(all_of_them.workers()) == 2, START)
            yield all_of_them
        finally:
            all_of_them.stop()


def _environment(database: str, broker: str, url: str) -> dict[str, str]:
    from cryptography.fernet import Fernet

    with_driver = database.replace("postgresql://", "postgresql+psycopg2://", 1)
    foreign = ("AIRFLOW", "AWS_", "KIMI_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    settings = {
        "CORE__EXECUTOR": "CeleryExecutor",
        "CORE__DAGS_FOLDER": str(_HERE / "dags"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "CORE__HOSTNAME_CALLABLE": "own_name.own_name",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__DEFAULT_TASK_RETRIES": "2",
        "CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "API__HOST": "127.0.0.1",
        "API__PORT": url.rpartition(":")[2],
        "API__BASE_URL": url,
        "API__SECRET_KEY": secrets.token_hex(32),
        "API__WORKERS": "1",
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "DATABASE__SQL_ALCHEMY_CONN": with_driver,
        "CELERY__BROKER_URL": broker,
        "CELERY__RESULT_BACKEND": f"db+{with_driver}",
        "CELERY__WORKER_CONCURRENCY": "2",
        "CELERY__SYNC_PARALLELISM": "1",
        "CELERY__OPERATION_TIMEOUT": "20",
        # A machine that is gone is missed soon.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
        "KIMI__STORAGE_PATH": f"s3://aws_default@{BUCKET}/kimi",
    }
    return kept | {
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        "PYTHONPATH": str(_HERE),
        "PYTHONUNBUFFERED": "1",
        # Airflow starts its parts by the name "airflow".
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def _connections(simulator: Simulator, s3: str) -> dict[str, dict[str, Any]]:
    found = {
        name.removeprefix("AIRFLOW_CONN_").lower(): json.loads(value)
        for name, value in simulator.connections().items()
    }
    found["aws_default"] = {
        "conn_type": "aws",
        "login": servers.S3_USER,
        "password": "no-secret",
        "extra": {"endpoint_url": s3, "region_name": "us-east-1"},
    }
    return found


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        suppress(KeyboardInterrupt),
        servers.postgres() as database,
        servers.redis() as broker,
        servers.object_store(BUCKET) as s3,
        machines(database, broker, s3) as running,
    ):
        sys.stdout.write(
            f"Airflow      {running.api.base_url}  (no login)\nSimulator    {running.simulator.url}\n"
            f"Storage      {s3}/{BUCKET}\nLogs         {running.folder}\nCtrl+C stops them all.\n"
        )
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()

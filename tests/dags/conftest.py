"""Runs DAGs from end to end, each in a process and an Airflow of its own, against the simulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"

_RUN = """
import json, os, sys
from datetime import datetime, timezone
from kimi_provider.testing import Simulator
from kimi_provider.testing.services import airflow_environment

home, dags, dag_id, day, scripts, out = sys.argv[1:]
with Simulator() as simulator:
    os.environ |= airflow_environment(home, dags, "file://" + home + "/kimi") | simulator.connections()
    for script in json.loads(scripts):
        kind = script.pop("kind")
        simulator.faults.add(**script) if kind == "fault" else simulator.script(kind, **script)
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    bag = DagBag(dags, bundle_name="dags-folder")
    if dag_id not in bag.dags:
        raise SystemExit(str(bag.import_errors))
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    run = bag.dags[dag_id].test(logical_date=datetime.fromisoformat(day).replace(tzinfo=timezone.utc))
    tasks = {f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in run.get_task_instances()}
    mails = [
        {"to": list(mail.to), "subject": mail.subject, "text": mail.text, "html": mail.html}
        for mail in simulator.mailbox.messages
    ]
    calls = simulator.calls.count("chat/completions")
    result = {"state": str(run.state), "tasks": tasks, "mails": mails, "calls": calls}
    open(out, "w").write(json.dumps(result))
"""


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of an Airflow with a database."""
    home = tmp_path_factory.mktemp("airflow")
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=_environment(home),
        capture_output=True,
        check=True,
        timeout=180,
    )
    return home


@pytest.fixture
def run_dag(airflow_home: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a DAG for a day, and gives its tasks' states, mails and calls."""

    def run(dag_id: str, day: str, *, dags: Path = DAGS, scripts: tuple[Any, ...] = ()) -> Any:
        out = tmp_path / "out.json"
        arguments = [str(airflow_home), str(dags), dag_id, day, json.dumps(scripts), str(out)]
        done = subprocess.run(
            [sys.executable, "-c", _RUN, *arguments],
            env=_environment(airflow_home),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return {**json.loads(out.read_text()), "log": done.stdout + done.stderr}

    return run


def _environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {**clean, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}

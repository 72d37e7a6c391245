"""A run of the example DAG against the simulator, and the commands as Airflow's parser calls them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from kimi_provider.testing import Simulator

ROOT = Path(__file__).parents[2]
DAG_ID = "example_flight_report"


@dataclass(frozen=True)
class Chain:
    """The run, the simulator that it ran against, and the DAG's file."""

    run_id: str
    simulator: Simulator
    file: Path


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def rows(self):
        return json.loads(self.out)


@pytest.fixture
def kimi(capsys):
    """Run ``airflow kimi …`` in this process; return what it printed."""
    from airflow.cli.cli_parser import get_parser

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        args = get_parser().parse_args(["kimi", *arguments])
        code = 0
        try:
            args.func(args)
        except SystemExit as error:
            code = error.code
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture
def chain(ran_chain, monkeypatch):
    """Give the one run of the example DAG, with the simulator's connections for this test alone."""
    for name, value in ran_chain.simulator.connections().items():
        monkeypatch.setenv(name, value)
    return ran_chain


@pytest.fixture(scope="session")
def ran_chain(airflow_db, tmp_path_factory):
    """Run the example DAG once."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import timezone

    folder = tmp_path_factory.mktemp("cli-dags")
    file = folder / "flights.py"
    shutil.copy(ROOT / "dags" / "example_flight_report.py", file)
    # Undone before the first test: later ones, of other folders too, must not find these connections.
    with Simulator() as simulator, pytest.MonkeyPatch.context() as patch:
        for name, value in simulator.connections().items():
            patch.setenv(name, value)
        bag = DagBag(folder, bundle_name="dags-folder")
        assert not bag.import_errors
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)
        run = bag.dags[DAG_ID].test(logical_date=timezone.datetime(2013, 2, 8))
        assert str(run.state) == "success"
        patch.undo()
        yield Chain(run.run_id, simulator, file)


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """An empty storage of its own; return its folder."""
    root = tmp_path / "storage"
    root.mkdir()
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", root.as_uri())
    return root


@pytest.fixture
def put(storage):
    """Write a file into the storage, some days old."""
    import time

    def write(path: str, text: str = "x", *, days: float = 0) -> Path:
        file = storage / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        at = time.time() - days * 86_400
        os.utime(file, (at, at))
        return file

    return write

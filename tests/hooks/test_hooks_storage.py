"""Where files lie, and how their names are found again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.storage import memory_folder, open_uri, storage_root, task_folder
from kimi_provider.storage import read_text, write_text


def _context(run_id="manual__2013-02-08T00:00:00+00:00", map_index=-1):
    return {"ti": SimpleNamespace(dag_id="d", run_id=run_id, task_id="t", map_index=map_index)}


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", f"{tmp_path.as_uri()}/storage")
    return tmp_path / "storage"


def test_what_is_written_is_found_by_its_uri(root):
    path = task_folder(_context()) / "x.txt"
    write_text(path, "text")

    assert read_text(open_uri(path.as_uri())) == "text"
    assert len([file for file in root.rglob("*") if file.is_file()]) == 1


def test_each_task_instance_has_a_folder_of_its_own():
    folders = {
        task_folder(_context(run_id, index)).as_uri()
        for run_id in ("a:b", "a_b", "a+b", "..")
        for index in (-1, 0, 1)
    }
    assert len(folders) == 12
    assert all(folder.startswith(storage_root().as_uri() + "/d/") for folder in folders)


def test_the_connection_of_the_root_is_kept(monkeypatch):
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", "file://vault@/data/kimi")
    root = storage_root()

    assert getattr(root, "conn_id", None) == "vault"
    assert getattr(open_uri(f"{root.as_uri()}/d/x.txt"), "conn_id", None) == "vault"


def test_a_uri_cannot_climb_out_with_the_roots_connection(monkeypatch):
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", "file://vault@/data/kimi")
    climbing = open_uri(f"{storage_root().as_uri()}/../secrets/x.txt")

    assert getattr(climbing, "conn_id", None) is None


@pytest.mark.parametrize(
    "executor",
    [
        "CeleryExecutor",
        "LocalExecutor,KubernetesExecutor",
        "LocalExecutor,far:airflow.providers.celery.executors.celery_executor.CeleryExecutor",
        "LocalExecutor;team=CeleryExecutor",
    ],
)
@pytest.mark.parametrize("folder", [task_folder, memory_folder])
def test_a_local_folder_is_refused_where_tasks_run_elsewhere(monkeypatch, executor, folder):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    with pytest.raises(
        ConfigurationError, match=r"storage_path is file://.*allow_local_storage"
    ) as refused:
        folder(_context())
    assert executor.rpartition(".")[2].rpartition(",")[2].rpartition("=")[2] in str(refused.value)


def test_a_local_folder_is_refused_in_a_pod_that_takes_itself_for_the_scheduler(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    with pytest.raises(ConfigurationError, match=r"KubernetesExecutor .*allow_local_storage"):
        task_folder(_context())


def test_a_mounted_folder_can_be_allowed(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__KIMI__ALLOW_LOCAL_STORAGE", "True")
    assert task_folder(_context()).name == "t"


def test_an_object_store_is_taken_everywhere(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", "memory://reports/kimi")
    assert task_folder(_context()).as_uri().startswith("memory://")


@pytest.mark.parametrize("executor", ["LocalExecutor", "SequentialExecutor"])
def test_a_local_folder_is_taken_on_one_machine(monkeypatch, executor):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    assert task_folder(_context()).name == "t"

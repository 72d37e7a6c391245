"""Where the provider's files lie: ``[kimi] storage_path``, one folder a task instance."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

from airflow.sdk import ObjectStoragePath, conf

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.storage import local_path

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kimi_provider.storage import StoragePath

# Their tasks run on the scheduler's own machine; any other executor may run them on others.
_ONE_MACHINE = {"LocalExecutor", "SequentialExecutor", "DebugExecutor", "InProcessExecutor"}
_YES = {"true", "t", "1"}  # as Airflow reads a setting that says yes
# KubernetesExecutor sets it in each of its pods, whose own setting often says LocalExecutor.
_IN_A_POD = "AIRFLOW_IS_K8S_EXECUTOR_POD"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.=-]+")


def storage_root() -> StoragePath:
    """Return the root folder: ``[kimi] storage_path``, by default ``kimi`` under ``AIRFLOW_HOME``.

    Workers on several machines need a place that all of them reach (``s3://…``, ``gs://…``).
    """
    configured = conf.get("kimi", "storage_path", fallback="")
    if not configured:
        # Reading it from the environment would miss Airflow's default.
        from airflow.configuration import AIRFLOW_HOME

        configured = (Path(AIRFLOW_HOME) / "kimi").as_uri()
    return _opened(configured)


def open_uri(uri: str) -> StoragePath:
    """Return the path that a URI in an XCom names.

    A URI does not say by which connection it is opened (``s3://connection@bucket`` becomes
    ``s3://bucket``), so what lies below the root is opened from the root.
    """
    root = storage_root()
    below = uri.removeprefix(f"{root.as_uri().rstrip('/')}/")
    if below != uri and ".." not in below.split("/"):
        return root / below
    return _opened(uri)


def task_folder(context: Context) -> StoragePath:
    """Return the folder of this task instance; the same for each of its tries.

    :param context: the context that Airflow gives to ``execute``.
    :raises ConfigurationError: if tasks run on several machines, and files would stay on this one.
    """
    ti = context["ti"]
    check_reach()
    return instance_folder(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)


def instance_folder(dag_id: str, run_id: str, task_id: str, map_index: int | None = None) -> StoragePath:
    """Return the folder of a task instance, for whoever looks at it from outside.

    :param map_index: ``None``, or below 0, for a task that is not mapped.
    """
    folder = storage_root() / _segment(dag_id) / _segment(run_id) / _segment(task_id)
    return _mapped(folder, map_index)


def run_folder(context: Context) -> StoragePath:
    """Return the folder of what concerns a whole run, whichever of its tasks writes it.

    :param context: the context that Airflow gives to ``execute`` and to callbacks.
    """
    ti = context["ti"]
    # No task's folder has this name, as with memory_folder.
    return storage_root() / _segment(ti.dag_id) / _segment(ti.run_id) / "@run"


def memory_folder(context: Context) -> StoragePath:
    """Return the folder of what a task remembers from run to run; all of its runs share it.

    :param context: the context that Airflow gives to ``execute``.
    :raises ConfigurationError: if tasks run on several machines, and files would stay on this one.
    """
    ti = context["ti"]
    check_reach()
    # No run's folder has this name: "@" is not among the characters that a segment may have.
    folder = storage_root() / _segment(ti.dag_id) / "@memory" / _segment(ti.task_id)
    return _mapped(folder, ti.map_index)


def check_reach() -> None:
    """Refuse a storage that only this machine sees where tasks may run on several.

    :raises ConfigurationError: names executor and storage, and the ways out; nothing was paid.
    """
    if conf.get("kimi", "allow_local_storage", fallback="").strip().lower() in _YES:
        return
    named = re.split(r"[,;]", conf.get("core", "executor", fallback="LocalExecutor"))
    # "alias:path.to.Executor" and "team=…" may stand there as well as plain names.
    kinds = {one.strip().rpartition("=")[2].rpartition(":")[2].rpartition(".")[2] for one in named}
    if os.environ.get(_IN_A_POD):
        kinds.add("KubernetesExecutor")
    remote = sorted(kinds - _ONE_MACHINE - {""})
    root = storage_root()
    if not remote or local_path(root) is None:
        return
    raise ConfigurationError(
        f"Tasks run by {', '.join(remote)} on machines of their own, but [kimi] storage_path is"
        f" {root.as_uri()}, which each machine has for itself. Set [kimi] storage_path to a URL that all"
        " workers, triggerers and API servers reach (s3://…, gs://…, abfs://…), or, where the folder is"
        " on a file system that all of them mount, [kimi] allow_local_storage = True."
    )


def _opened(uri: str) -> StoragePath:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return cast("StoragePath", ObjectStoragePath(uri))
    # Opening S3 runs an event loop of its own, which a thread that runs one already refuses. A trigger
    # must not wait here, since the thread asks its loop for the connection: it opens in a thread itself.
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(_connected, uri).result()


def _connected(uri: str) -> StoragePath:
    path = cast("StoragePath", ObjectStoragePath(uri))
    if local_path(path) is None:
        path.fs  # type: ignore[attr-defined]  # noqa: B018 — Airflow keeps what it opens here
    return path


def _mapped(folder: StoragePath, map_index: int | None) -> StoragePath:
    return folder if map_index is None or map_index < 0 else folder / str(map_index)


def _segment(name: str) -> str:
    """Return a name fit for every file system and object store; two names never give the same."""
    safe = _UNSAFE.sub("_", name)[:100]
    if safe == name and name.strip("."):
        return safe
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

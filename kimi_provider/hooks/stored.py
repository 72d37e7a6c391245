"""What lies in storage: the files of each task instance, by what they are kept for."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kimi_provider.hooks.storage import storage_root
from kimi_provider.storage import exists, only_os_errors, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kimi_provider.storage import StoragePath


class Kind(StrEnum):
    """What a file is kept for."""

    JOURNAL = "journal"  # what was paid for, for retries
    TRACE = "trace"  # what was asked, thought and decided
    DATASET = "dataset"
    REPORT = "report"  # with the facts and the audit that it stands on
    LEDGER = "ledger"  # whose mail has left


_NAMES = {
    "trace.json": Kind.TRACE,
    "alert.json": Kind.TRACE,
    "approval.json": Kind.TRACE,
    "batch.json": Kind.JOURNAL,
    "results.jsonl": Kind.JOURNAL,
    "part.json": Kind.JOURNAL,
    "facts.json": Kind.REPORT,
    "audit.json": Kind.REPORT,
    "recipe.json": Kind.REPORT,
    "window.json": Kind.DATASET,
}
_FOLDERS = {"journal": Kind.JOURNAL, "ledger": Kind.LEDGER}
_CALLS = re.compile(r"calls-[0-9a-f]+\.json")
# Besides these a report has files that people have named, so what lies beside its page is its own.
_PAGE = "page.html"
# Where the ledger of a mail is looked up, and that an owner was told once.
_MAIL = re.compile(r"@mails/[0-9A-Za-z_-]+\.(ledger|batch)")
_TOLD = "owner-told-"
# The root's own folders, and what tasks remember from run to run, do not grow old.
_LASTING = re.compile(r"alerts/|@|[^/]+/@memory/")
# The last reading of a task that asks conditionally; its dataset is that of runs to come, too.
_REMEMBERED = re.compile(r"[^/]+/@memory/.+/pages\.json")
_DEPTH = 4  # DAG, run, task, and a file at least


@dataclass(frozen=True)
class FileGroup:
    """The files of one kind of one task instance.

    :param folder: the task instance's, below the root: ``dag/run/task``.
    :param paths: below the root.
    :param bytes: of all of them.
    :param newest: when the newest was written.
    """

    kind: Kind
    folder: str
    paths: tuple[str, ...]
    bytes: int
    newest: datetime


def stored_files(root: StoragePath | None = None) -> tuple[FileGroup, ...]:
    """List what the provider's tasks have stored, in the order of its folders. It blocks.

    Files that this provider does not know, alerts' books and what tasks remember are not among it.

    :param root: where to look; by default the provider's storage.
    :raises OSError: if the storage does not answer.
    """
    root = root or storage_root()
    found = listing(root)
    lasting = _remembered(root, found)
    reports = {_parent(path) for path in found if path.rpartition("/")[2] == _PAGE}
    groups: defaultdict[tuple[str, Kind], list[str]] = defaultdict(list)
    for path in found:
        place = _place(path, reports)
        if place is not None and path not in lasting:
            groups[place].append(path)
    return tuple(
        FileGroup(
            kind=kind,
            folder=folder,
            paths=tuple(sorted(paths)),
            bytes=sum(int(found[path].get("size") or 0) for path in paths),
            newest=max(modified(found[path]) for path in paths),
        )
        for (folder, kind), paths in sorted(groups.items())
    )


def at(root: StoragePath, path: str) -> StoragePath:
    """Return what lies below a root."""
    for part in path.split("/"):
        root = root / part
    return root


def listing(root: StoragePath) -> dict[str, dict[str, Any]]:
    """Return each file's details by its path below the root; no link is followed. It blocks."""
    store: Any = root.fs  # type: ignore[attr-defined]  # storage_root gives Airflow's paths
    base = str(root.path).rstrip("/")  # type: ignore[attr-defined]  # the same
    if not exists(root):  # it forgets what the store remembers, too
        return {}
    with only_os_errors():
        found = store.find(base, detail=True)
    return {
        path.removeprefix(base).lstrip("/"): details
        for path, details in found.items()
        if not details.get("islink")
    }


def _place(path: str, reports: set[str]) -> tuple[str, Kind] | None:
    """Return a file's task folder and kind, ``None`` for what is not to expire."""
    if _MAIL.fullmatch(path):
        return path, Kind.LEDGER
    *folders, name = path.split("/")
    if len(folders) < _DEPTH - 1 or _LASTING.match(path):
        return None
    for position, folder in enumerate(folders[_DEPTH - 1 :], _DEPTH - 1):
        if folder in _FOLDERS:
            return "/".join(folders[:position]), _FOLDERS[folder]
    kind = Kind.LEDGER if name.startswith(_TOLD) else _NAMES.get(name)
    if name.endswith(".tmp") or _CALLS.fullmatch(name):
        kind = Kind.JOURNAL  # what a killed process has left half written, and what was handed over
    elif name.endswith(".parquet"):
        kind = Kind.DATASET
    elif kind is None and "/".join(folders) in reports:
        kind = Kind.REPORT
    return None if kind is None else ("/".join(folders), kind)


def _remembered(root: StoragePath, paths: Iterable[str]) -> set[str]:
    """Return the datasets that the next run may take as they are, where the source has not changed."""
    named = set()
    for path in filter(_REMEMBERED.fullmatch, paths):
        try:
            uri = str(json.loads(read_bytes(at(root, path)))["dataset"]["uri"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue  # of another version or damaged: then nobody takes it
        named.add(uri.removeprefix(f"{root.as_uri().rstrip('/')}/"))
    return named


def modified(details: Mapping[str, Any]) -> datetime:
    """Return when a file was written; each store of fsspec has a name of its own for it."""
    names = ("mtime", "LastModified", "last_modified", "updated", "created")
    value = next((details[name] for name in names if details.get(name) is not None), None)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    # Unknown is not old.
    return datetime.now(UTC)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]

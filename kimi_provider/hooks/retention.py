"""How long files are kept, and how they go.

Files of one task instance and kind go together, once the newest of them is old enough: so a journal that
a run still writes keeps its older half, and no report loses its pictures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.storage import storage_root
from kimi_provider.hooks.stored import FileGroup, Kind, stored_files
from kimi_provider.storage import local_path, only_os_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kimi_provider.storage import StoragePath

# The most that S3 removes by one request.
_AT_ONCE = 1000
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class Retention:
    """How many days files are kept.

    :param days: by kind; a kind that is not in it is kept for good.
    """

    days: Mapping[Kind, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Retention:
        """Read ``30``, ``30, report=365`` or ``journal=7, ledger=never``.

        :raises ConfigurationError: if a kind or a number is none; names it.
        """
        days: dict[Kind, float | None] = {}
        exact: dict[Kind, float | None] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, equals, number = (piece.strip() for piece in part.rpartition("="))
            if not equals:
                days = dict.fromkeys(Kind, _days(number))
            elif name in set(Kind):
                exact[Kind(name)] = _days(number)
            else:
                raise ConfigurationError(
                    f"retention_days names {name!r}, which is no kind of file. There are "
                    f"{', '.join(Kind)}."
                )
        return cls({kind: limit for kind, limit in (days | exact).items() if limit is not None})

    @classmethod
    def configured(cls) -> Retention:
        """Read the setting ``[kimi] retention_days``; without it nothing expires.

        :raises ConfigurationError: if it is malformed.
        """
        return cls.parse(conf.get("kimi", "retention_days", fallback=""))

    def expired(self, files: FileGroup, now: datetime) -> bool:
        """Whether these files have been kept for long enough."""
        limit = self.days.get(files.kind)
        return limit is not None and files.newest < now - timedelta(days=limit)


def expire(
    retention: Retention,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    root: StoragePath | None = None,
) -> tuple[FileGroup, ...]:
    """Remove what has been kept for long enough; return it. It blocks.

    :param retention: how long that is.
    :param now: the time, with its offset; by default the clock's.
    :param dry_run: whether to remove nothing.
    :param root: where to look; by default the provider's storage.
    :raises OSError: if the storage refuses; what was removed until then is gone.
    """
    root = root or storage_root()
    now = now or datetime.now(UTC)
    old = tuple(files for files in stored_files(root) if retention.expired(files, now))
    if not dry_run:
        _remove(root, [path for files in old for path in files.paths])
    return old


def summary(groups: Iterable[FileGroup]) -> dict[str, dict[str, int]]:
    """Count files and bytes by kind, as JSON; a kind without files is left out."""
    told: dict[str, dict[str, int]] = {}
    for files in groups:
        kind = told.setdefault(files.kind.value, {"files": 0, "bytes": 0})
        kind["files"] += len(files.paths)
        kind["bytes"] += files.bytes
    return told


def _remove(root: StoragePath, paths: Sequence[str]) -> None:
    """Remove files, and the folders that are empty then; object stores have none."""
    home = local_path(root)
    if home is None:
        store: Any = root.fs  # type: ignore[attr-defined]  # only Airflow's paths are not local
        base = str(root.path).rstrip("/")  # type: ignore[attr-defined]  # the same
        for start in range(0, len(paths), _AT_ONCE):
            with only_os_errors():
                store.rm([f"{base}/{path}" for path in paths[start : start + _AT_ONCE]])
        return
    for path in paths:
        (home / path).unlink(missing_ok=True)
    folders = {folder for path in paths for folder in PurePath(path).parents if folder.name}
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        try:
            (home / folder).rmdir()
        except OSError:  # it holds something else
            continue


def _days(text: str) -> float | None:
    if text == "never":
        return None
    if not _NUMBER.fullmatch(text):
        raise ConfigurationError(
            f"retention_days has {text!r}; allowed are a number of days and never, such as "
            "'30, report=365, ledger=never'."
        )
    return float(text)

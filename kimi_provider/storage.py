"""Reading and writing files in object storage, whole or not at all.

Four rooms write files that another process may read at any moment (datasets, journals, reports,
the delivery ledger) and may not import each other, so the one way to do it lies beneath them. A
path is anything with the interface of :mod:`pathlib`: ``pathlib.Path`` in tests, Airflow's
``ObjectStoragePath`` in tasks.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class StoragePath(Protocol):
    """The part of :mod:`pathlib`'s interface that this package uses."""

    @property
    def name(self) -> str:
        """Last part of the path."""

    @property
    def parent(self) -> Self:
        """The folder that holds the path."""

    def __truediv__(self, other: str) -> Self:
        """Path of something below this one."""

    def open(self, mode: str = "r") -> IO[Any]:
        """Open the file."""

    def exists(self) -> bool:
        """Whether something is there."""

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the folder; object stores need none."""

    def iterdir(self) -> Iterable[Self]:
        """List what lies directly in the folder."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""

    def as_uri(self) -> str:
        """Return the path with its scheme, as other tasks and machines name it."""


def local_path(path: StoragePath) -> Path | None:
    """Return the path in this machine's file system, or ``None`` where it lies elsewhere."""
    if isinstance(path, Path):
        return path
    if getattr(path, "protocol", None) in {"", "file", "local"}:
        return Path(str(getattr(path, "path", path)))
    return None


@contextmanager
def writing(path: StoragePath) -> Iterator[Path]:
    """Give a scratch file to fill; what is in it appears at ``path`` at once, or never.

    :param path: where the file goes; its folder is made.
    :raises OSError: if the storage refuses; nothing is then at ``path``, or what was there before.

    Local files are renamed into place; object stores show an object only when its upload is whole.
    """
    target = local_path(path)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            yield scratch
            _flush_to_disk(scratch)
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="kimi-") as folder:
        scratch = Path(folder) / path.name
        yield scratch
        with scratch.open("rb") as source, path.open("wb") as sink:
            shutil.copyfileobj(source, sink, length=1 << 20)


def write_bytes(path: StoragePath, data: bytes) -> None:
    """Write a small file, whole or not at all.

    :raises OSError: if the storage refuses.
    """
    with writing(path) as scratch:
        scratch.write_bytes(data)


def write_text(path: StoragePath, text: str) -> None:
    """Write a small UTF-8 file, whole or not at all.

    :raises OSError: if the storage refuses.
    """
    write_bytes(path, text.encode())


# Where fsspec's "create" is one conditional request; the other stores look first and write then.
_EXCLUSIVE_PROTOCOLS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl"})


def create_bytes(path: StoragePath, data: bytes) -> None:
    """Write a small file that must not be there yet, whole or not at all.

    :raises FileExistsError: if something is there; of several writers at once, all but one see this
        (see :func:`creates_exclusively`).
    :raises OSError: if the storage refuses.
    """
    target = local_path(path)
    if target is None:
        store = path.fs  # type: ignore[attr-defined]  # only Airflow's paths are not local
        store.pipe_file(path.path, data, mode="create")  # type: ignore[attr-defined]  # see above
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        scratch.write_bytes(data)
        _flush_to_disk(scratch)
        # A link appears with its whole content, and not where a file is; a rename would replace it.
        os.link(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


def creates_exclusively(path: StoragePath) -> bool:
    """Whether :func:`create_bytes` holds against writers at the same time: local, S3, GCS, Azure."""
    return local_path(path) is not None or getattr(path, "protocol", None) in _EXCLUSIVE_PROTOCOLS


def read_bytes(path: StoragePath) -> bytes:
    """Read a small file.

    :raises FileNotFoundError: if nothing is there.
    """
    with path.open("rb") as file:
        data: bytes = file.read()
    return data


def read_text(path: StoragePath) -> str:
    """Read a small UTF-8 file.

    :raises FileNotFoundError: if nothing is there.
    """
    return read_bytes(path).decode()


@contextmanager
def reading(path: StoragePath) -> Iterator[Path]:
    """Give the file as a local one: itself where it is local, else a copy for as long as needed.

    :raises FileNotFoundError: if nothing is there.
    """
    here = local_path(path)
    if here is not None:
        if not here.exists():
            raise FileNotFoundError(here)
        yield here
        return
    with tempfile.TemporaryDirectory(prefix="kimi-") as folder:
        scratch = Path(folder) / path.name
        with path.open("rb") as source, scratch.open("wb") as sink:
            shutil.copyfileobj(source, sink, length=1 << 20)
        yield scratch


def _flush_to_disk(file: Path) -> None:
    """Make the content durable before its name is; else a crash can leave an empty file."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())

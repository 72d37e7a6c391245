"""Reading and writing files in object storage, whole or not at all.

Four rooms write files that another process may read at any moment (datasets, journals, reports,
the delivery ledger) and may not import each other, so the one way to do it lies beneath them. A
path is anything with the interface of :mod:`pathlib`: ``pathlib.Path`` in tests, Airflow's
``ObjectStoragePath`` in tasks.

Object stores are asked by their fsspec file system itself, in one request where one does. It remembers
listings, and looks things up in them; since other machines write as well, nothing is answered from
memory here. What it raises besides :class:`OSError` (each vendor's client has errors of its own) becomes
one, so that whoever must not go on without the storage needs to know no vendor.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    store, place = _remote(path)
    with tempfile.TemporaryDirectory(prefix="kimi-") as folder:
        scratch = Path(folder) / path.name
        yield scratch
        with only_os_errors():
            store.put_file(str(scratch), place)


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
        store, place = _remote(path)
        try:
            with only_os_errors():
                store.pipe_file(place, data, mode="create")
        except FileExistsError:
            raise
        except OSError:
            # Not every store that speaks S3 says why it refuses; that something is there tells.
            if exists(path):
                raise FileExistsError(place) from None
            raise
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
    here = local_path(path)
    if here is not None:
        return here.read_bytes()
    store, place = _remote(path)
    with only_os_errors():
        data: bytes = store.cat_file(place)
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
    store, place = _remote(path)
    with tempfile.TemporaryDirectory(prefix="kimi-") as folder:
        scratch = Path(folder) / path.name
        with only_os_errors():
            store.get_file(place, str(scratch))
        yield scratch


def exists(path: StoragePath) -> bool:
    """Whether something is there now.

    :raises OSError: if the storage does not answer.
    """
    here = local_path(path)
    if here is not None:
        return here.exists()
    store, place = _remote(path)
    try:
        with only_os_errors():
            store.info(place)
    except FileNotFoundError:
        return False
    return True


def children(folder: StoragePath) -> list[StoragePath]:
    """List what lies directly in a folder now, by name; nothing where there is no folder.

    :raises OSError: if the storage does not answer.
    """
    here = local_path(folder)
    try:
        if here is not None:
            names = [child.name for child in here.iterdir()]
        else:
            store, place = _remote(folder)
            with only_os_errors():
                found = store.ls(place, detail=False)
            # A console's empty object for the folder itself is listed as well.
            base = f"{place.strip('/')}/"
            names = [
                name for one in found if (name := one.strip("/").removeprefix(base)) and "/" not in name
            ]
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names)]


def remove(path: StoragePath) -> None:
    """Remove a file; that none is there is no error.

    :raises OSError: if the storage refuses.
    """
    here = local_path(path)
    if here is not None:
        here.unlink(missing_ok=True)
        return
    store, place = _remote(path)
    with suppress(FileNotFoundError), only_os_errors():
        store.rm(place)


def _remote(path: StoragePath) -> tuple[Any, str]:
    """Return an object store's file system, which has forgotten what it knew, and the place in it."""
    store: Any = path.fs  # type: ignore[attr-defined]  # only Airflow's paths are not local
    place = str(path.path)  # type: ignore[attr-defined]  # the same
    store.invalidate_cache()
    return store, place


@contextmanager
def only_os_errors() -> Iterator[None]:
    """Turn what a vendor's client raises into an OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"The storage did not answer ({type(error).__name__}).") from error


def _flush_to_disk(file: Path) -> None:
    """Make the content durable before its name is; else a crash can leave an empty file."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())

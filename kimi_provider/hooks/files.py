"""Files in object storage, by a path with wildcards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from airflow.sdk import ObjectStoragePath

from kimi_provider.exceptions import ConfigurationError, SourceUnavailableError
from kimi_provider.hooks.storage import open_uri
from kimi_provider.storage import exists, only_os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.storage import StoragePath

_WILD = re.compile(r"[*?\[]")
_PASSWORD = re.compile(r"(?<=://)[^/@:]*:[^/@]*@")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def matching_files(path: str, *, conn_id: str | None = None) -> dict[str, StoragePath]:
    """Return the files that a path names, by their names below its part without wildcards.

    :param path: an absolute path or a URI (``s3://bucket/2013/*/flights-*.csv.gz``); ``*`` and ``?``
        stand for characters of a name, ``[…]`` for one of several, ``**`` for any folders.
    :param conn_id: the connection that opens it, where the URI names none (``s3://connection@bucket``).
    :returns: none where nothing matches; in the order of their paths.
    :raises ConfigurationError: if the path is relative, climbs by ``..``, names a folder, or its scheme
        is unknown.
    :raises SourceUnavailableError: if the storage cannot be reached.
    """
    scheme = _SCHEME.match(path)
    if scheme is None and not path.startswith("/"):
        raise ConfigurationError(
            f"path is {path!r}, which is relative, and workers share no folder. Give an absolute path, "
            "or a URI such as s3://bucket/flights/*.csv."
        )
    start = scheme.end() if scheme else 0
    parts = path[start:].split("/")
    if ".." in parts:
        raise ConfigurationError(
            f"path is {path!r}, and '..' could lead out of its folder. Write the path without it."
        )
    wild = next((place for place, part in enumerate(parts) if _WILD.search(part)), None)
    fixed = len(parts) - 1 if wild is None else wild
    base = _open(path[:start] + "/".join(parts[:fixed]), conn_id)
    try:
        return dict(_matches(base, "/".join(parts[fixed:]), wild=wild is not None))
    except OSError as error:
        reason = str(error)[:200].rstrip(".") or type(error).__name__
        raise SourceUnavailableError(f"The files {shown(path)} cannot be listed: {reason}.") from error


def place_of_path(path: str) -> str:
    """Return the URI of the file that a path names, or of the folder in which its wildcards begin."""
    scheme = _SCHEME.match(path)
    wild = _WILD.search(path)
    fixed = path if wild is None else path[: wild.start()].rpartition("/")[0]
    return shown(fixed) if scheme else f"file://{fixed}"


def shown(path: str) -> str:
    """Return a path as it may be shown: without a password."""
    return _PASSWORD.sub("", path)


def _open(uri: str, conn_id: str | None) -> StoragePath:
    try:
        if conn_id is None:
            return open_uri(uri or "/")
        return cast("StoragePath", ObjectStoragePath(uri or "/", conn_id=conn_id))
    except ValueError as error:
        raise ConfigurationError(
            f"path {shown(uri)!r} cannot be opened: {str(error).rstrip('.')}. Install the "
            "Airflow provider of its storage, such as apache-airflow-providers-amazon[s3fs], or correct "
            "the scheme."
        ) from error


def _matches(base: StoragePath, pattern: str, *, wild: bool) -> Iterator[tuple[str, StoragePath]]:
    root = cast("ObjectStoragePath", base)
    _ = root.fs  # a connection that is not there is told as Airflow tells it
    with only_os_errors():
        found = list(root.glob(pattern)) if wild else [root / pattern]
    for file in sorted(found, key=lambda file: str(file.path)):
        with only_os_errors():
            folder = file.is_dir()
        # The path's own answer is "no" where the store refuses one.
        there = wild or exists(cast("StoragePath", file))
        if folder and not wild:
            raise ConfigurationError(f"path names the folder {file}; add what to read in it: /*.csv.")
        if there and not folder:
            yield file.path.removeprefix(root.path).lstrip("/"), cast("StoragePath", file)

"""The book in storage: read, change, and write only if nobody else wrote meanwhile.

Each version is a file of its own, ``{version}.json``, which one writer alone can create. Who finds that
another was faster reads again and decides again, so two runs at once cannot both tell the same.

Airflow's asset state store would be the other place for it. It has no compare-and-swap (``set``
overwrites), needs the task to declare an asset, and cannot be reached by coroutines in ``dag.test()``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from kimi_provider.alerts.book import Book
from kimi_provider.exceptions import AlertError
from kimi_provider.storage import children, create_bytes, creates_exclusively, read_bytes, remove

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.storage import StoragePath

log = logging.getLogger(__name__)

T = TypeVar("T")

_KEPT = 5
_TRIES = 50


class Store:
    """One alert task's book. Its methods block.

    :param folder: the book's folder; all runs of the task must see the same.
    """

    def __init__(self, folder: StoragePath) -> None:
        self._folder = folder

    def read(self) -> Book:
        """Return the latest book; an empty one where there is none yet.

        :raises AlertError: if it cannot be understood; says which file to remove.
        :raises OSError: if the storage does not answer.
        """
        return self._load()[1]

    def update(self, change: Callable[[Book], tuple[Book, T]]) -> T:
        """Change the book; the change is made again on the newer book if another writer was faster.

        :param change: returns the new book, and what the caller wants to know. Must have no effects.
        :raises AlertError: if the book cannot be understood, or others write without end.
        :raises OSError: if the storage refuses; then nothing was changed.
        """
        if not creates_exclusively(self._folder):
            log.warning(
                "The storage of %s cannot keep two writers apart, so two runs at the same moment could "
                "both tell of one alert. Local files, S3, Google Cloud Storage and Azure can.",
                self._folder.as_uri(),
            )
        for _ in range(_TRIES):
            version, book = self._load()
            after, result = change(book)
            if after == book or self._create(version + 1, after):
                return result
        raise AlertError(
            f"{_TRIES} tries to write the alerts' state at {self._folder.as_uri()} met other writers. "
            "Let fewer runs of this task go at once."
        )

    def _load(self) -> tuple[int, Book]:
        for _ in range(_TRIES):
            versions = self._versions()
            if not versions:
                return 0, Book()
            try:
                return versions[-1], Book.model_validate_json(read_bytes(self._path(versions[-1])))
            except FileNotFoundError:  # another writer has tidied up; there is a newer one
                continue
            except ValidationError as error:
                raise AlertError(
                    f"The alerts' state at {self._path(versions[-1]).as_uri()} cannot be understood "
                    f"({error.error_count()} errors). Remove the file to go on from the version before."
                ) from None
        raise AlertError(f"The alerts' state at {self._folder.as_uri()} vanishes while it is read.")

    def _create(self, version: int, book: Book) -> bool:
        try:
            create_bytes(self._path(version), book.model_dump_json(indent=1).encode())
        except FileExistsError:
            return False
        versions = self._versions()
        if versions and versions[-1] > version and version + _KEPT <= versions[-1]:
            # The place was free because others have been there and tidied up: this was no last word.
            remove(self._path(version))
            return False
        for old in versions[:-_KEPT]:
            remove(self._path(old))
        return True

    def _versions(self) -> list[int]:
        names = [path.name for path in children(self._folder)]
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def _path(self, version: int) -> StoragePath:
        return self._folder / f"{version:012d}.json"

"""What a task remembers between its runs: how far it read, and the validators of its pages."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.exceptions import SourceError
from kimi_provider.schemas import DatasetRef
from kimi_provider.sources.window import Window, latest
from kimi_provider.storage import exists, read_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kimi_provider.sources.incremental import Incremental
    from kimi_provider.storage import StoragePath


class Progress:
    """How far an incremental reading has come.

    :param incremental: what it goes by.
    :param task: folder that all runs of the task share.
    :param run: folder of this run.
    :ivar window: what this run reads; the same for each of its tries, and when it is cleared.
    :ivar types: DuckDB types of the columns of the reading before, for a dataset without rows.
    :raises SourceError: if what is kept cannot be read.
    """

    def __init__(self, incremental: Incremental, *, task: StoragePath, run: StoragePath) -> None:
        self._kept = task / "watermark.json"
        self._seen = run / "window.json"
        kept = _load(self._kept)
        if kept.get("column", incremental.column) != incremental.column:
            kept = {}  # the watermark of another column says nothing of this one
        self.types: Mapping[str, str] = kept.get("types", {})
        seen = _load(self._seen)
        if seen.get("column") != incremental.column:
            since = kept.get("watermark", incremental.initial)
            seen = asdict(Window(incremental.column, since))
            # Before the first row is asked for, so that a retry begins where this try does.
            _save(self._seen, seen)
        self.window = Window(incremental.column, seen["since"], seen["until"])
        self._parameter = incremental.parameter

    @property
    def query(self) -> dict[str, str]:
        """The query parameter that tells the API where to begin."""
        return {} if self.window.since is None else {self._parameter: self.window.since}

    def stored(self, dataset: DatasetRef) -> None:
        """Move the watermark, now that the dataset is where it belongs."""
        window, reached = self.window, dataset.watermark
        if reached is None:
            return
        if window.until is None:
            # Cleared from here on, the run ends here again.
            _save(self._seen, asdict(Window(window.column, window.since, reached)))
        kept = _load(self._kept)
        untouched = kept.get("watermark") in {None, window.since}
        # A run that is repeated moves nothing, unless it was killed before it could.
        if window.until is None or untouched:
            if not untouched and kept.get("column") == window.column:
                # Another run came further meanwhile, or not as far.
                kind = next(c.type for c in dataset.columns if c.name == window.column)
                reached = latest((kept["watermark"], reached), kind)
            types = {column.name: column.type for column in dataset.columns} if dataset.rows else {}
            _save(
                self._kept,
                {"column": window.column, "watermark": reached, "types": types or self.types},
            )


@dataclass(frozen=True)
class Validator:
    """What an API said of a page, by which it can later say that the page has not changed.

    :param query: the page's own parameters.
    """

    query: Mapping[str, str]
    etag: str | None = None
    modified: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a conditional request (RFC 9110)."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True)
class Recollection:
    """The last reading of a task: its dataset, and the validators of all pages.

    :param task: folder that all runs of the task share.
    :param open_uri: opens the dataset that a URI names.
    """

    task: StoragePath
    open_uri: Callable[[str], StoragePath]

    def recall(self, fingerprint: str) -> tuple[DatasetRef, list[Validator]] | None:
        """Return the last reading, if it asked for the same and its dataset is still there."""
        try:
            kept = _load(self._file)
            if kept.get("fingerprint") != fingerprint:
                return None
            dataset = DatasetRef.model_validate(kept["dataset"])
            pages = [Validator(**page) for page in kept["pages"]]
        except (SourceError, ValueError, KeyError, TypeError):
            return None  # of another version or damaged; all that is lost is one saving
        return (dataset, pages) if exists(self.open_uri(dataset.uri)) else None

    def keep(self, fingerprint: str, dataset: DatasetRef, pages: Sequence[Validator]) -> bool:
        """Remember a reading; return whether each page had a validator, for else there is no use."""
        if not all(page.headers for page in pages):
            return False
        _save(
            self._file,
            {
                "fingerprint": fingerprint,
                "dataset": dataset.model_dump(mode="json"),
                "pages": [asdict(page) for page in pages],
            },
        )
        return True

    @property
    def _file(self) -> StoragePath:
        return self.task / "pages.json"


def _load(file: StoragePath) -> dict[str, Any]:
    try:
        state = msgspec.json.decode(read_bytes(file), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError:
        raise SourceError(
            f"{file.as_uri()} is damaged, though it is written whole. Restore it, or remove it to begin "
            "anew."
        ) from None
    return state


def _save(file: StoragePath, state: Mapping[str, Any]) -> None:
    write_text(file, json.dumps(state))

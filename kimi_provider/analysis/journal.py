"""What was already paid for: finished model calls, tool results and decisions, in object storage.

One entry is one file: a line with the SHA-256 of the rest, and a JSON object. It is written whole or
not at all, and an entry that does not match its hash is no hit, so the worst that a crash can do is
one repeated call. The folder belongs to one task instance without its try number, so that a retry
finds what the attempts before it paid for.

Before a call of the model begins, a mark says so; it goes when the call has ended, well or not. A mark
that is found was left by a process that was killed meanwhile, and what its call took is not known. Where
a person has ended the task, its marks say that too, so that nobody is asked twice whether to go on.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from socket import gethostname
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import JournalError
from kimi_provider.schemas import Usage
from kimi_provider.storage import children, read_bytes, remove, write_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kimi_provider.storage import StoragePath

log = logging.getLogger(__name__)

_ENTRY = re.compile(r"[a-z]+-[0-9a-f]{64}-\d+\.entry")
_MARK = re.compile(r"[a-z]+-[0-9a-f]{64}-\d+\.begun")
_REJECTED, _INTERRUPTED = "rejected", "interrupted"

# Reads in flight while the folder is loaded: object stores answer in tens of milliseconds each.
_PARALLEL_READS = 8


def fingerprint(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON, as 64 hexadecimal digits."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class Interruption:
    """A call that was under way when its process ended.

    :param begun: when it had begun, empty where that cannot be read.
    :param by_person: whether a person had ended the task, by clearing or marking it.
    """

    begun: str = ""
    by_person: bool = False


class Journal:
    """Entries in one folder, each under a kind, a fingerprint and an occurrence.

    :param folder: where the entries lie; made when the first is written.

    The folder is read once, at first use. Entries are kept in memory from then on, since a resumed
    run asks for nearly all of them.
    """

    def __init__(self, folder: StoragePath) -> None:
        self.folder = folder
        self._entries: dict[str, dict[str, Any]] | None = None
        self._marks: set[str] = set()
        self._loading = asyncio.Lock()

    async def get(self, kind: str, key: str, occurrence: int = 0) -> dict[str, Any] | None:
        """Return the entry's content, or ``None`` where there is none, or none that is whole.

        :raises JournalError: if the folder cannot be read.
        """
        return (await self._loaded()).get(_name(kind, key, occurrence))

    async def put(self, kind: str, key: str, content: Mapping[str, object], occurrence: int = 0) -> None:
        """Write an entry; ``usage`` in its content is what it cost.

        A storage that refuses is a warning and no error: what the entry says has been paid for, and
        failing here would pay for it again for certain.
        """
        entries = await self._loaded()
        name = _name(kind, key, occurrence)
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        body = text.encode("utf-8", "surrogatepass")
        data = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        entries[name] = json.loads(body)
        try:
            await asyncio.to_thread(write_bytes, self.folder / name, data)
        except OSError as error:
            log.warning(
                "The journal entry %s could not be written (%s); a retry would pay for it again",
                name,
                type(error).__name__,
            )

    async def begin(self, kind: str, key: str, occurrence: int = 0) -> Interruption | None:
        """Mark that a call begins; return what is known of an earlier one of the same, if interrupted.

        What an interrupted call took is counted as a call repeated, since nobody knows it.
        """
        await self._loaded()
        mark = _mark(kind, key, occurrence)
        interrupted = None
        if mark in self._marks:
            self._marks.discard(mark)
            interrupted = await asyncio.to_thread(_read_mark, self.folder / mark)
            usage = Usage(repeated_calls=1).model_dump(mode="json")
            told = {"of": mark, "begun": interrupted.begun, "usage": usage}
            await self.put(_INTERRUPTED, fingerprint(uuid.uuid4().hex), told)
        begun = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": gethostname()})
        try:
            await asyncio.to_thread(write_text, self.folder / mark, begun)
        except OSError as error:
            log.warning("The mark %s could not be written (%s)", mark, type(error).__name__)
        return interrupted

    async def end(self, kind: str, key: str, occurrence: int = 0) -> None:
        """Take the mark of a call away, which has ended."""
        mark = _mark(kind, key, occurrence)
        try:
            await asyncio.to_thread(remove, self.folder / mark)
        except OSError as error:
            log.warning("The mark %s could not be removed (%s)", mark, type(error).__name__)

    async def ended_by_person(self) -> None:
        """Say of the calls under way that a person has ended them."""
        await self._loaded()
        for mark in self._marks:
            path = self.folder / mark
            begun = (await asyncio.to_thread(_read_mark, path)).begun
            try:
                await asyncio.to_thread(write_text, path, json.dumps({"at": begun, "by_person": True}))
            except OSError as error:
                log.warning("The mark %s could not be written (%s)", mark, type(error).__name__)

    async def interrupted(self) -> list[str]:
        """Return when each call had begun that was interrupted in earlier attempts."""
        entries = await self._loaded()
        return [
            str(content.get("begun", ""))
            for name, content in entries.items()
            if name.startswith(f"{_INTERRUPTED}-")
        ]

    async def reject(self, kind: str, key: str, occurrence: int = 0) -> None:
        """Make an entry no hit any more, while what it cost still counts as spent.

        For an answer that was paid for and cannot be used: else every retry would find it again.
        """
        entries = await self._loaded()
        name = _name(kind, key, occurrence)
        content = entries.pop(name, None)
        if content is None:
            return
        await self.put(_REJECTED, fingerprint(uuid.uuid4().hex), {"usage": content.get("usage")})
        try:
            await asyncio.to_thread(remove, self.folder / name)
        except OSError as error:
            log.warning("The journal entry %s could not be removed (%s)", name, type(error).__name__)

    async def spent(self) -> Usage:
        """Sum what all entries cost, those of earlier attempts included.

        :raises JournalError: if the folder cannot be read.
        """
        entries = await self._loaded()
        total = Usage()
        for content in entries.values():
            if content.get("usage"):
                total += Usage.model_validate(content["usage"])
        return total

    async def _loaded(self) -> dict[str, dict[str, Any]]:
        async with self._loading:
            if self._entries is None:
                self._entries = await self._load()
            return self._entries

    async def _load(self) -> dict[str, dict[str, Any]]:
        slots = asyncio.Semaphore(_PARALLEL_READS)

        async def load(path: StoragePath) -> tuple[str, dict[str, Any] | None]:
            async with slots:
                return path.name, _decode(path.name, await asyncio.to_thread(read_bytes, path))

        try:
            paths = await asyncio.to_thread(children, self.folder)
            entries = [path for path in paths if _ENTRY.fullmatch(path.name)]
            loaded = await asyncio.gather(*(load(path) for path in entries))
        except OSError as error:
            raise JournalError(
                f"The journal at {self.folder} cannot be read ({type(error).__name__}); "
                "going on would pay again for what is in it. Check the storage and retry."
            ) from error
        self._marks = {path.name for path in paths if _MARK.fullmatch(path.name)}
        return {name: content for name, content in loaded if content is not None}


def _name(kind: str, key: str, occurrence: int) -> str:
    return f"{kind}-{key}-{occurrence}.entry"


def _mark(kind: str, key: str, occurrence: int) -> str:
    return f"{kind}-{key}-{occurrence}.begun"


def _read_mark(path: StoragePath) -> Interruption:
    """Return what a mark says; a storage that refuses, or a mark cut off, says nothing."""
    try:
        told = json.loads(read_bytes(path))
        return Interruption(str(told["at"]), told.get("by_person") is True)
    except (OSError, ValueError, KeyError, TypeError):
        return Interruption()


def _decode(name: str, data: bytes) -> dict[str, Any] | None:
    """Return an entry's content, or ``None`` where it is cut, changed, or none of this version's."""
    checksum, _, body = data.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        log.warning("The journal entry %s is damaged and not used", name)
        return None
    try:
        content = json.loads(body)
        Usage.model_validate(content.get("usage") or {})
    except (ValueError, AttributeError):
        log.warning("The journal entry %s is of another version and not used", name)
        return None
    return content if isinstance(content, dict) else None

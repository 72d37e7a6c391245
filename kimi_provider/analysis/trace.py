"""The full record of one analysis: what was asked, thought, answered, computed and paid."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kimi_provider.storage import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

    from kimi_provider.storage import StoragePath

SECRET = "***"  # noqa: S105 — what stands where a secret stood
VERSION = 1


class Trace:
    """Entries in the order in which things happened, each with its time (UTC) and kind.

    :param secrets: texts that must not be written, such as the connection's key. Each occurrence, in
        any field, is replaced by ``***``; empty ones are ignored.

    The kinds in use: ``prompt``, ``facts``, ``sql``, ``request``, ``reasoning``, ``answer``,
    ``retry``, ``journal``, ``usage``, ``interrupted``, ``violation``, ``repair``, ``error``. A reader
    shows kinds that it does not know as they are.

    A trace holds prompts and replies in full, so it goes to storage and never to a log::

        trace = Trace(secrets=[connection.password])
        trace.add("request", model="kimi-k3", messages=3)
        trace.write(folder / "trace.json")
    """

    def __init__(self, *, secrets: Iterable[str] = ()) -> None:
        # Longest first: a secret that contains another would else leave its rest behind.
        self._secrets = sorted({s for s in secrets if s}, key=len, reverse=True)
        self._entries: list[dict[str, JsonValue]] = []

    def add(self, kind: str, **fields: JsonValue) -> None:
        """Append an entry, stamped with the present time.

        :param kind: what happened.
        :param fields: anything that JSON can hold; ``kind`` is taken, and ``at`` is always the time.
        """
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        hidden = {name: self._hide(value) for name, value in fields.items() if name != "at"}
        self._entries.append({"at": stamp, "kind": kind, **hidden})

    def as_dict(self) -> dict[str, JsonValue]:
        """Return the trace as JSON: ``{"version": 1, "entries": [{"at", "kind", …}, …]}``."""
        return {"version": VERSION, "entries": [*self._entries]}

    def write(self, path: StoragePath) -> None:
        """Write the trace as a JSON file, whole or not at all.

        :raises OSError: if the storage refuses.
        """
        write_text(path, json.dumps(self.as_dict(), ensure_ascii=False, indent=1) + "\n")

    def _hide(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, SECRET)
            return value
        if isinstance(value, dict):
            return {key: self._hide(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._hide(inner) for inner in value]
        return value

"""Calls of the model that a task hands over to the triggerer, in object storage."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.elsewhere import PendingCall
    from kimi_provider.storage import StoragePath


def store_calls(calls: Sequence[PendingCall], folder: StoragePath) -> StoragePath:
    """Write calls to a file of the task's folder; the same calls always to the same file.

    Airflow stores a trigger's arguments in plain text, so the prompts go here.
    """
    import msgspec

    from kimi_provider.storage import write_bytes

    data = msgspec.json.encode(list(calls))
    path = folder / f"calls-{hashlib.sha256(data).hexdigest()[:16]}.json"
    write_bytes(path, data)
    return path


def load_calls(path: StoragePath) -> list[PendingCall]:
    """Read the calls that :func:`store_calls` wrote."""
    import msgspec

    from kimi_provider.analysis.elsewhere import PendingCall
    from kimi_provider.storage import read_bytes

    return msgspec.json.decode(read_bytes(path), type=list[PendingCall])

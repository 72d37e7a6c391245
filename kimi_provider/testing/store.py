"""Files and batches that the simulated Kimi account holds."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class StoredFile:
    """An uploaded file, or one that a batch wrote; ``about`` is what the API says of it."""

    about: dict[str, Any]
    content: bytes


@dataclass(slots=True)
class Batch:
    """A submitted batch: what the API says of it, its lines, and whose it is."""

    about: dict[str, Any]
    lines: list[dict[str, Any]]
    owner: str


@dataclass
class FileStore:
    """All files and batches, by id."""

    files: dict[str, StoredFile] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_file(self, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        """Keep a file, and return what the API says of it."""
        about: dict[str, Any] = {
            "id": f"file-{uuid.uuid4().hex[:20]}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "ok",
            "status_details": "",
        }
        with self.lock:
            self.files[about["id"]] = StoredFile(about, content)
        return about

    def clear(self) -> None:
        """Forget all files and batches."""
        with self.lock:
            self.files.clear()
            self.batches.clear()

"""Which ledger knows a mail: by the message's id, which comes with events, or by a batch's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.hooks.storage import open_uri, storage_root
from kimi_provider.hooks.stored import listing, modified
from kimi_provider.storage import read_text, write_text

if TYPE_CHECKING:
    from datetime import datetime

    from kimi_provider.storage import StoragePath


def remember_mail(message_id: str, ledger: StoragePath) -> None:
    """Write down where the ledger of a message lies, if it lies in the provider's storage. Blocks.

    :param message_id: of letters and digits.
    :param ledger: the folder that has a folder of the message's name.
    :raises OSError: if the storage refuses.
    """
    root = storage_root().as_uri().rstrip("/")
    if ledger.as_uri().startswith(f"{root}/"):
        write_text(_folder() / f"{message_id}.ledger", ledger.as_uri())


def ledger_of_mail(message_id: str) -> StoragePath | None:
    """Return the folder of the ledger that knows a message, ``None`` if none does. Blocks."""
    uri = _read(f"{message_id}.ledger")
    return None if uri is None else open_uri(uri)


def recent_mails(since: datetime) -> dict[str, StoragePath]:
    """Return the messages that were sent since a time, each with the folder of its ledger. Blocks.

    :raises OSError: if the storage does not answer.
    """
    found = {}
    for name, details in sorted(listing(_folder()).items()):
        message_id, dot, kind = name.rpartition(".")
        if dot and kind == "ledger" and modified(details) >= since:
            folder = ledger_of_mail(message_id)
            if folder is not None:
                found[message_id] = folder
    return found


def remember_batch(batch_id: str, message_id: str) -> None:
    """Write down which message is taken back by a batch id. Blocks."""
    write_text(_folder() / f"{batch_id}.batch", message_id)


def mail_of_batch(batch_id: str) -> str | None:
    """Return the id of the message that a batch id takes back, ``None`` if it is not known. Blocks."""
    return _read(f"{batch_id}.batch")


def _folder() -> StoragePath:
    # No DAG's folder has this name: "@" is not among the characters that a segment may have.
    return storage_root() / "@mails"


def _read(name: str) -> str | None:
    try:
        return read_text(_folder() / name).strip()
    except FileNotFoundError:
        return None

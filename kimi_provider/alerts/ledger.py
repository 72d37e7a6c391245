"""The ledger: what is known of each recipient's mail, written before and after each request.

Two small files a recipient and try, so that names carry no address and an event of the mail service,
which tells the message's id and the address, finds them. Before a request leaves,
``{message id}/{hash of the address}.{try}.claim`` is created, which only one process can: of two runs at
once, one sends. ``{hash of the address}.json`` says what came of the latest try.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import DeliveryReceipt, DeliveryStatus, Value
from kimi_provider.storage import create_bytes, read_bytes, write_text

if TYPE_CHECKING:
    from kimi_provider.alerts.addresses import Recipient
    from kimi_provider.alerts.verdict import Verdict
    from kimi_provider.storage import StoragePath

_CUT_OFF = (
    "Another process is sending it, or was cut off while it was sending: the mail may or may not have "
    "left. Look for it in SendGrid's activity before sending it again."
)
_UNREADABLE = "The ledger's entry cannot be read, so it is not known whether the mail left."


def message_id(*scope: str | int, content: str) -> str:
    """Return the id of a message: the same for each try, another for other content.

    :param scope: what the message belongs to: DAG, run, task and map index; never the try number.
    :param content: hash of what is sent.
    """
    return hashlib.sha256(json.dumps([*scope, content]).encode()).hexdigest()[:32]


class Entry(Value):
    """What the ledger knows of one recipient's mail."""

    recipient: str
    status: DeliveryStatus | Literal["sending"]
    tries: int = 0
    service_id: str | None = None
    detail: str = ""
    updated_at: datetime

    @property
    def known(self) -> DeliveryStatus:
        """The status; a ``sending`` that nobody finished is ambiguous."""
        return DeliveryStatus.AMBIGUOUS if self.status == "sending" else self.status

    def after(self, verdict: Verdict, service_id: str | None) -> Entry:
        """Return the entry with what came of the request."""
        return Entry(
            recipient=self.recipient,
            status=verdict.status,
            tries=self.tries,
            service_id=service_id,
            detail=verdict.detail,
            updated_at=datetime.now(UTC),
        )

    def receipt(self, uri: str) -> DeliveryReceipt:
        """Return the entry as a receipt, with where it lies."""
        left = self.known in {DeliveryStatus.QUEUED, DeliveryStatus.AMBIGUOUS}
        return DeliveryReceipt(
            recipient=self.recipient,
            status=self.known,
            message_id=self.service_id,
            sent_at=self.updated_at if left else None,
            detail=_CUT_OFF if self.status == "sending" else self.detail,
            ledger_uri=uri,
        )


class Ledger:
    """The entries of one message. Its methods block; call them in a thread.

    :param folder: folder of the ledger; the message gets one of its own in it.
    :param message_id: id of the message, see :func:`message_id`.
    """

    def __init__(self, folder: StoragePath, message_id: str) -> None:
        if not message_id.isalnum() or not message_id.isascii():
            raise ConfigurationError(
                f"A message id must be ASCII letters and digits; got {message_id!r}."
            )
        self._folder = folder / message_id

    def uri(self, recipient: Recipient, entry: Entry) -> str:
        """Where the recipient's entry lies; tells no address."""
        sending = entry.status == "sending"
        path = self._claim(recipient, entry.tries) if sending else self._path(recipient)
        return path.as_uri()

    def read(self, recipient: Recipient) -> Entry | None:
        """Return what is known of a recipient's mail, ``None`` if nothing was ever tried.

        :raises OSError: if the storage does not answer.
        """
        known = self._read(self._path(recipient), recipient)
        # A claim beyond the latest outcome is a try that has not ended, or never will.
        while claimed := self._read(self._claim(recipient, _tries(known) + 1), recipient):
            if known is not None and known.detail == _UNREADABLE:
                known = known.model_copy(update={"tries": claimed.tries})
            else:
                known = claimed
        return known

    def begin(self, recipient: Recipient, before: Entry | None) -> Entry:
        """Claim the next try, and write that a request for the recipient is about to leave.

        :raises FileExistsError: if another process has claimed it; then this one may not send.
        :raises OSError: if the storage refuses; then nothing may be sent.
        """
        tries = _tries(before) + 1
        entry = Entry(
            recipient=recipient.address, status="sending", tries=tries, updated_at=datetime.now(UTC)
        )
        create_bytes(self._claim(recipient, tries), entry.model_dump_json(indent=1).encode())
        return entry

    def write(self, recipient: Recipient, entry: Entry) -> Entry:
        """Write an entry in place of the one before.

        :raises OSError: if the storage refuses.
        """
        write_text(self._path(recipient), entry.model_dump_json(indent=1))
        return entry

    def _read(self, path: StoragePath, recipient: Recipient) -> Entry | None:
        try:
            return Entry.model_validate_json(read_bytes(path))
        except FileNotFoundError:
            return None
        except ValidationError:
            return Entry(
                recipient=recipient.address,
                status=DeliveryStatus.AMBIGUOUS,
                # The name of a claim tells the try; of an outcome that cannot be read, nothing does.
                tries=int(path.name.split(".")[1]) if path.name.endswith(".claim") else 0,
                detail=_UNREADABLE,
                updated_at=datetime.now(UTC),
            )

    def _path(self, recipient: Recipient) -> StoragePath:
        return self._folder / f"{_name(recipient)}.json"

    def _claim(self, recipient: Recipient, tries: int) -> StoragePath:
        return self._folder / f"{_name(recipient)}.{tries}.claim"


def _name(recipient: Recipient) -> str:
    return hashlib.sha256(recipient.key.encode()).hexdigest()[:32]


def _tries(entry: Entry | None) -> int:
    return entry.tries if entry else 0

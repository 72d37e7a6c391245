"""The ledger: what is known of each recipient's mail, written before and after each request.

Two small files a recipient and try, and one an event, so that names carry no address and an event of
the mail service, which tells the message's id and the address, finds them. Before a request leaves,
``{message id}/{hash of the address}.{try}.claim`` is created, which only one process can: of two runs at
once, one sends. ``{hash of the address}.json`` says what came of the latest try, and
``{hash of the address}.events/`` what the service told later. ``schedule.json`` and ``canceled.json``
are about all mails of a message that was scheduled.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from kimi_provider.alerts.addresses import Recipient
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import DeliveryReceipt, DeliveryStatus, Value
from kimi_provider.storage import children, create_bytes, exists, read_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.alerts.verdict import Verdict
    from kimi_provider.storage import StoragePath

_CUT_OFF = (
    "Another process is sending it, or was cut off while it was sending: the mail may or may not have "
    "left. Look for it in SendGrid's activity before sending it again."
)
_TAKEN_BACK = "It was taken back before it left."
_ON_THE_WAY = frozenset({DeliveryStatus.QUEUED, DeliveryStatus.AMBIGUOUS, DeliveryStatus.DROPPED})
_UNREADABLE = "The ledger's entry cannot be read, so it is not known whether the mail left."


def message_id(*scope: str | int, content: str) -> str:
    """Return the id of a message: the same for each try, another for other content.

    :param scope: what the message belongs to: DAG, run, task and map index; never the try number.
    :param content: hash of what is sent.
    """
    return hashlib.sha256(json.dumps([*scope, content]).encode()).hexdigest()[:32]


class Happening(Value):
    """What the service told of a mail after it took it; ``id`` is a file name."""

    id: str
    status: DeliveryStatus
    at: datetime
    detail: str = ""
    service_id: str | None = None


class Schedule(Value):
    """When the mails of a message leave, and by which id they can be taken back until shortly before."""

    batch_id: str
    send_at: datetime


# A server that put a mail off may be told of after one that took it; of ends, the latest counts.
_FINAL = {
    DeliveryStatus.QUEUED: 0,
    DeliveryStatus.DEFERRED: 1,
    DeliveryStatus.DROPPED: 2,
    DeliveryStatus.DELIVERED: 2,
    DeliveryStatus.BOUNCED: 2,
    DeliveryStatus.SPAM: 3,
}
# Which of two events at the same second came later.
_COURSE = (
    DeliveryStatus.QUEUED,
    DeliveryStatus.DEFERRED,
    DeliveryStatus.DROPPED,
    DeliveryStatus.DELIVERED,
    DeliveryStatus.BOUNCED,
    DeliveryStatus.SPAM,
)


class Entry(Value):
    """What the ledger knows of one recipient's mail."""

    recipient: str
    status: DeliveryStatus | Literal["sending"]
    tries: int = 0
    service_id: str | None = None
    detail: str = ""
    updated_at: datetime
    send_at: datetime | None = None
    batch_id: str | None = None

    @property
    def known(self) -> DeliveryStatus:
        """The status; a ``sending`` that nobody finished is ambiguous."""
        return DeliveryStatus.AMBIGUOUS if self.status == "sending" else self.status

    def after(self, verdict: Verdict, service_id: str | None) -> Entry:
        """Return the entry with what came of the request."""
        return self.model_copy(
            update={
                "status": verdict.status,
                "service_id": service_id,
                "detail": verdict.detail,
                "updated_at": datetime.now(UTC),
            }
        )

    def with_happenings(self, happenings: Sequence[Happening]) -> Entry:
        """Return the entry as the service's events have it; they are the better witnesses."""
        if not happenings:
            return self
        last = max(
            happenings, key=lambda one: (_FINAL.get(one.status, 0), one.at, _COURSE.index(one.status))
        )
        ids = (one.service_id for one in happenings if one.service_id)
        return self.model_copy(
            update={
                "status": last.status,
                "detail": last.detail,
                "service_id": self.service_id or next(ids, None),
            }
        )

    def receipt(self, uri: str) -> DeliveryReceipt:
        """Return the entry as a receipt, with where it lies."""
        left = self.known.may_have_left
        return DeliveryReceipt(
            recipient=self.recipient,
            status=self.known,
            message_id=self.service_id,
            sent_at=self.updated_at if left else None,
            detail=_CUT_OFF if self.status == "sending" else self.detail,
            ledger_uri=uri,
            send_at=self.send_at,
            batch_id=self.batch_id,
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
        known = self._latest(recipient)
        if known is None:
            return None
        known = known.with_happenings(self._happenings(recipient))
        taken_back = known.batch_id is not None and known.status in {"sending", *_ON_THE_WAY}
        if taken_back and self.canceled:
            return known.model_copy(update={"status": DeliveryStatus.CANCELED, "detail": _TAKEN_BACK})
        return known

    def entries(self) -> dict[str, tuple[Recipient, Entry]]:
        """Return what is known of each mail, by its recipient's key.

        Those whose address is no longer in the ledger are not among them.

        :raises OSError: if the storage does not answer.
        """
        found = {}
        for file in children(self._folder):
            if not file.name.endswith((".json", ".claim")):
                continue
            with suppress(ValidationError, FileNotFoundError):
                person = Recipient(Entry.model_validate_json(read_bytes(file)).recipient)
                # The file of an address that was blotted out keeps its name, which is not the blot's.
                if file.name.startswith(_name(person)) and person.key not in found:
                    known = self.read(person)
                    if known is not None:
                        found[person.key] = person, known
        return found

    def _latest(self, recipient: Recipient) -> Entry | None:
        known = self._read(self._path(recipient), recipient)
        # A claim beyond the latest outcome is a try that has not ended, or never will.
        while claimed := self._read(self._claim(recipient, _tries(known) + 1), recipient):
            if known is not None and known.detail == _UNREADABLE:
                known = known.model_copy(update={"tries": claimed.tries})
            else:
                known = claimed
        return known

    def add(self, recipient: Recipient, happening: Happening) -> bool:
        """Write down what the service told of a recipient's mail.

        :returns: whether it was new; not if it is known already, or nothing was ever sent to them.
        :raises OSError: if the storage does not answer.
        """
        path = self._events(recipient) / f"{happening.id}.json"
        if exists(path) or self._latest(recipient) is None:
            return False
        try:
            create_bytes(path, happening.model_dump_json(indent=1).encode())
        except FileExistsError:
            return False
        return True

    @property
    def schedule(self) -> Schedule | None:
        """When the message leaves, ``None`` if at once."""
        try:
            return Schedule.model_validate_json(read_bytes(self._folder / "schedule.json"))
        except FileNotFoundError:
            return None

    def keep_schedule(self, schedule: Schedule) -> Schedule:
        """Write the schedule down; return the one that counts, which is that of the first try."""
        with suppress(FileExistsError):
            create_bytes(self._folder / "schedule.json", schedule.model_dump_json(indent=1).encode())
        return self.schedule or schedule

    @property
    def canceled(self) -> bool:
        """Whether the message was taken back."""
        return exists(self._folder / "canceled.json")

    def cancel(self) -> None:
        """Write down that the service was told to take the message back, and agreed."""
        at = json.dumps({"canceled_at": datetime.now(UTC).isoformat()})
        with suppress(FileExistsError):
            create_bytes(self._folder / "canceled.json", at.encode())

    def begin(
        self,
        recipient: Recipient,
        before: Entry | None,
        *,
        send_at: datetime | None = None,
        batch_id: str | None = None,
    ) -> Entry:
        """Claim the next try, and write that a request for the recipient is about to leave.

        :param send_at: when the service is to send it, if not at once.
        :param batch_id: by which it can be taken back until then.
        :raises FileExistsError: if another process has claimed it; then this one may not send.
        :raises OSError: if the storage refuses; then nothing may be sent.
        """
        tries = _tries(before) + 1
        entry = Entry(
            recipient=recipient.address,
            status="sending",
            tries=tries,
            updated_at=datetime.now(UTC),
            send_at=send_at,
            batch_id=batch_id,
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

    def _happenings(self, recipient: Recipient) -> list[Happening]:
        found = []
        for file in children(self._events(recipient)):
            # What was cut off while it was written is under another name; what is no event is none.
            with suppress(ValidationError, FileNotFoundError):
                found.append(Happening.model_validate_json(read_bytes(file)))
        return found

    def _events(self, recipient: Recipient) -> StoragePath:
        return self._folder / f"{_name(recipient)}.events"

    def _path(self, recipient: Recipient) -> StoragePath:
        return self._folder / f"{_name(recipient)}.json"

    def _claim(self, recipient: Recipient, tries: int) -> StoragePath:
        return self._folder / f"{_name(recipient)}.{tries}.claim"


def _name(recipient: Recipient) -> str:
    return hashlib.sha256(recipient.key.encode()).hexdigest()[:32]


def _tries(entry: Entry | None) -> int:
    return entry.tries if entry else 0

"""What the mail service tells later: signed events, checked, and written beside the ledger's entries.

Protocol facts: SendGrid's documentation of the Event Webhook and of its signature (ECDSA with SHA-256
over the timestamp and the body), and the official library's ``EventWebhook``. Custom arguments of a mail
are top-level fields of its events. Events come out of order, in part twice, and for up to 24 hours again
where they were not answered with 2xx.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.addresses import Recipient, one_line
from kimi_provider.alerts.ledger import Happening, Ledger
from kimi_provider.alerts.payload import MESSAGE_ID_ARG
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kimi_provider.storage import StoragePath

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"
# SendGrid tries again for a day. A replay within it changes nothing: each event is kept once, by its id.
MAX_AGE = timedelta(hours=24)
MAX_AHEAD = timedelta(minutes=5)  # clocks differ

# Events of readers (open, click, unsubscribe) tell nothing of delivery.
_STATUS = {
    "processed": DeliveryStatus.QUEUED,
    "deferred": DeliveryStatus.DEFERRED,
    "delivered": DeliveryStatus.DELIVERED,
    "bounce": DeliveryStatus.BOUNCED,
    "dropped": DeliveryStatus.DROPPED,
    "spamreport": DeliveryStatus.SPAM,
}
_ADDRESS = re.compile(r"[^\s<>\"'(),:;]+@[^\s<>\"'(),:;]+")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_LONGEST_REASON = 300


@dataclass(frozen=True)
class MailEvent:
    """One event of one recipient's mail.

    :param message_id: ours; see :func:`kimi_provider.alerts.ledger.message_id`.
    :param recipient: whose mail.
    :param happening: what happened.
    """

    message_id: str
    recipient: Recipient
    happening: Happening


class SignatureCheck:
    """Tells SendGrid's posts from others'.

    :param public_keys: the webhook's verification keys (base64, as SendGrid shows them); several while
        one is being replaced.
    :raises ConfigurationError: if there is none, or one is no key.
    """

    def __init__(self, public_keys: Sequence[str]) -> None:
        from sendgrid import EventWebhook

        if not public_keys or not all(_bare(key) for key in public_keys):
            raise ConfigurationError("There is no public key to check the events of SendGrid by.")
        self._hooks = []
        for key in public_keys:
            try:
                self._hooks.append(EventWebhook(_bare(key)))
            except (ValueError, TypeError):
                raise ConfigurationError(
                    "The public key for SendGrid's events is none: copy the verification key from "
                    "SendGrid's Mail Settings, Signed Event Webhook."
                ) from None

    def accepts(self, body: bytes, signature: str, timestamp: str, *, now: datetime) -> bool:
        """Whether the body was signed by one of the keys, and lately.

        :param body: as it came, byte by byte.
        :param signature: the header ``X-Twilio-Email-Event-Webhook-Signature``.
        :param timestamp: the header ``X-Twilio-Email-Event-Webhook-Timestamp``, Unix seconds.
        :param now: with its offset.
        """
        if not re.fullmatch(r"[0-9]{1,12}", timestamp):
            return False
        age = now - datetime.fromtimestamp(int(timestamp), UTC)
        if not -MAX_AHEAD <= age <= MAX_AGE:
            return False
        try:
            text = body.decode()
            return any(hook.verify_signature(text, signature, timestamp) for hook in self._hooks)
        except (UnicodeDecodeError, binascii.Error, ValueError):
            return False


def parse_events(body: bytes) -> tuple[MailEvent, ...]:
    """Return the events of mails of ours that tell of delivery; of others there may be any number.

    :raises ValueError: if the body is no list of events.
    """
    events = json.loads(body)
    if not isinstance(events, list):
        raise ValueError("SendGrid's events are a JSON array.")  # noqa: TRY004 — of what was sent
    return mail_events(one for one in events if isinstance(one, dict))


def mail_events(told: Iterable[dict[str, Any]]) -> tuple[MailEvent, ...]:
    """Return what tells of the delivery of mails of ours.

    :param told: events as the webhook has them.
    """
    found = (_event(one) for one in told)
    return tuple(event for event in found if event is not None)


def record(
    events: Iterable[MailEvent], find: Callable[[str], StoragePath | None]
) -> Counter[DeliveryStatus]:
    """Write events beside the ledger's entries, but none twice, and none of a mail that is not there.

    Blocks.

    :param find: returns the folder of the ledger that has a message, ``None`` where none does.
    :returns: how many were new, by what they say.
    :raises OSError: if the storage does not answer; then the events should be sent again.
    """
    new: Counter[DeliveryStatus] = Counter()
    ledgers: dict[str, Ledger | None] = {}
    for event in events:
        if event.message_id not in ledgers:
            folder = find(event.message_id)
            ledgers[event.message_id] = None if folder is None else Ledger(folder, event.message_id)
        ledger = ledgers[event.message_id]
        if ledger is not None and ledger.add(event.recipient, event.happening):
            new[event.happening.status] += 1
    return new


def _event(raw: dict[str, Any]) -> MailEvent | None:
    status = _STATUS.get(str(raw.get("event")))
    message_id, address, at = raw.get(MESSAGE_ID_ARG), raw.get("email"), raw.get("timestamp")
    if status is None or not isinstance(address, str) or not isinstance(message_id, str):
        return None
    if not _MESSAGE_ID.fullmatch(message_id) or not isinstance(at, int | float):
        return None
    reason = raw.get("reason") or raw.get("response") or ""
    told = _ADDRESS.sub("(address)", one_line(str(reason)))[:_LONGEST_REASON]
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    service_id = str(raw.get("sg_message_id") or "").partition(".")[0]
    happening = Happening(
        id=_id(raw), status=status, at=moment, detail=told, service_id=service_id or None
    )
    return MailEvent(message_id, Recipient(address), happening)


def _id(raw: dict[str, Any]) -> str:
    """Return a name for the event's file: by SendGrid's own id, where it gave one."""
    own = raw.get("sg_event_id")
    text = own if isinstance(own, str) and own else json.dumps(raw, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _bare(key: str) -> str:
    """Return a key as the library wants it: without the lines that PEM puts around it."""
    lines = [line.strip() for line in key.strip().splitlines()]
    return "".join(line for line in lines if not line.startswith("-----"))

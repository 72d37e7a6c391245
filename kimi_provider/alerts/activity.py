"""What the mail service tells when it is asked: for those whose servers its events do not reach.

Protocol facts: SendGrid's OpenAPI description (``tsg_email_activity_v3``) and "Getting Started with
the Email Activity Feed API". A list says of each mail ``processed``, ``delivered`` or
``not_delivered``, the newest first and at most 1000; what happened says only the mail itself, by its
``msg_id``. Six requests a minute are answered, and for regional subusers in the EU nothing is kept.
Custom arguments are called ``unique_args`` there.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.addresses import Recipient
from kimi_provider.alerts.events import mail_events, record
from kimi_provider.alerts.ledger import Ledger
from kimi_provider.alerts.payload import MESSAGE_ID_ARG
from kimi_provider.exceptions import DeliveryError
from kimi_provider.schemas import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from kimi_provider.alerts.ledger import Entry
    from kimi_provider.alerts.verdict import Answer
    from kimi_provider.storage import StoragePath

    LookUp = Callable[..., Awaitable[tuple[Answer, dict[str, Any]]]]

_MOST_ROWS = 1000
_BEGIN = "2009-01-01T00:00:00Z"  # before any mail
_TRIES = 6
_WAIT = 10.0  # seconds; six requests a minute
_LONGEST_WAIT = 60.0
_OK, _TOO_MANY, _SERVER_ERROR = 200, 429, 500
_OPEN = frozenset({DeliveryStatus.QUEUED, DeliveryStatus.DEFERRED, DeliveryStatus.AMBIGUOUS})
# What the webhook calls differently.
_WEBHOOK_NAMES = {"bounced": "bounce", "spam_report": "spamreport"}
_MSG_ID = re.compile(r"[A-Za-z0-9._-]{1,200}")
_NO_ACCESS = (
    "Asking what became of mails needs SendGrid's add-on Additional Email Activity History, and an API "
    "key with the permission Email Activity (messages.read). Without them, the event webhook tells."
)


async def catch_up(
    look_up: LookUp, ledgers: Mapping[str, StoragePath], *, details: int
) -> Counter[DeliveryStatus]:
    """Ask what became of the mails whose end is not known, and write it beside the ledger's entries.

    One request a message, and one more for each mail that has come to an end, since only that tells when
    and why. Where requests are too many for the service, it waits.

    :param look_up: asks the service; see :meth:`kimi_provider.alerts.sendgrid.SendGridClient.look_up`.
    :param ledgers: the folder of the ledger by message.
    :param details: mails to ask for one by one, at most; beyond them ``delivered`` is taken from the
        list, and what was not delivered is left to the next time. Those come first.
    :returns: how many events were new, by what they say.
    :raises DeliveryError: if the service does not answer or refuses; what was written until then stays.
    :raises OSError: if the storage does not answer.
    """
    new: Counter[DeliveryStatus] = Counter()
    for message_id, folder in ledgers.items():
        known = await asyncio.to_thread(Ledger(folder, message_id).entries)
        waiting = {key: entry for key, (_, entry) in known.items() if _is_open(entry)}
        if not waiting:
            continue
        rows = [row for row in await _rows(look_up, message_id) if _is_news(row, waiting)]
        for row in sorted(rows, key=lambda row: row["status"] == "delivered"):
            if row["status"] != "processed" and details > 0:
                details -= 1
                told = await _happenings(look_up, row)
            elif row["status"] == "not_delivered":
                continue
            else:
                told = [_event(row, row["status"], row["last_event_time"])]
            events = mail_events({**one, MESSAGE_ID_ARG: message_id} for one in told)
            new += await asyncio.to_thread(record, events, ledgers.get)
    return new


def _is_open(entry: Entry) -> bool:
    left = entry.send_at is None or entry.send_at <= datetime.now(UTC)
    return left and entry.known in _OPEN


def _is_news(row: Mapping[str, Any], waiting: Mapping[str, Entry]) -> bool:
    entry = waiting.get(Recipient(row["to_email"]).key)
    if entry is None:
        return False
    # That the service took it is known but of those of whom nothing is.
    return row["status"] != "processed" or entry.known is DeliveryStatus.AMBIGUOUS


async def _rows(look_up: LookUp, message_id: str) -> Iterable[dict[str, Any]]:
    """Return the service's line on each mail of a message."""
    found: dict[str, dict[str, Any]] = {}
    mine = f"(unique_args['{MESSAGE_ID_ARG}']=\"{message_id}\")"
    query = mine
    while True:
        body = await _ask(look_up, query=query, limit=_MOST_ROWS)
        page = [row for row in body.get("messages") or () if _is_row(row)]
        before = len(found)
        found |= {row["msg_id"]: row for row in page}
        if len(page) < _MOST_ROWS:
            return found.values()
        # There are no pages: the next one is what happened no later than the last of this one, or
        # before it, where that second alone fills an answer.
        until = min(at for row in page if (at := _moment(row["last_event_time"])))
        if len(found) == before:
            until -= timedelta(seconds=1)
        end = until.astimezone(UTC).isoformat().replace("+00:00", "Z")
        query = f'{mine} AND last_event_time BETWEEN TIMESTAMP "{_BEGIN}" AND TIMESTAMP "{end}"'


def _is_row(row: Any) -> bool:
    names = ("msg_id", "to_email", "status", "last_event_time")
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in names):
        return False
    # Both go into a request.
    return bool(_MSG_ID.fullmatch(row["msg_id"])) and _moment(row["last_event_time"]) is not None


async def _happenings(look_up: LookUp, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the events of one mail, as the webhook would have told them."""
    body = await _ask(look_up, row["msg_id"])
    events = body.get("events")
    return [
        _event(row, str(one.get("event_name")), one.get("processed"), one.get("reason"))
        for one in (events if isinstance(events, list) else ())
        # That the service took it says its end, too.
        if isinstance(one, dict) and one.get("event_name") != "processed"
    ]


def _event(row: Mapping[str, Any], name: str, at: Any, reason: Any = None) -> dict[str, Any]:
    moment = _moment(at)
    return {
        "event": _WEBHOOK_NAMES.get(name, name),
        "email": row["to_email"],
        "timestamp": None if moment is None else moment.timestamp(),
        "reason": reason,
        "sg_message_id": row["msg_id"],
        # It has no id here, and is the same at each asking.
        "sg_event_id": f"activity:{row['msg_id']}:{name}:{at}",
    }


async def _ask(look_up: LookUp, *path: str, **query: str | int) -> dict[str, Any]:
    for tries_left in reversed(range(_TRIES)):
        answer, body = await look_up(*path, **query)
        if answer.status == _OK:
            return body
        passing = answer.status is None or answer.status == _TOO_MANY or answer.status >= _SERVER_ERROR
        if not passing or not tries_left:
            break
        wait = _WAIT if answer.retry_after is None else answer.retry_after
        await asyncio.sleep(min(wait, _LONGEST_WAIT))
    said = f": {answer.detail}" if answer.detail else "."
    told = (
        f"SendGrid answered {answer.status}{said}" if answer.status else f"SendGrid did not answer{said}"
    )
    raise DeliveryError(told if passing else f"{told} {_NO_ACCESS}", retryable=passing)


def _moment(at: Any) -> datetime | None:
    """Return a time of the service, ``None`` where it is none."""
    try:
        moment = datetime.fromisoformat(at)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

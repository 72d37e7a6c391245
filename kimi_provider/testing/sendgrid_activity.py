"""SendGrid's Email Activity API: what became of the mails in the mailbox.

Who begins with ``bounced``, ``dropped``, ``deferred`` or ``spam`` before the ``@`` has that end; all
others have theirs delivered at once. Of its query language the simulator knows equalities and times,
joined by ``AND``, and refuses all else.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kimi_provider.testing.sendgrid_api import errors, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kimi_provider.testing.exchange import Exchange
    from kimi_provider.testing.mailbox import Mail

MAX_LIMIT = 1000
_AND = re.compile(r"\s+AND\s+(?!TIMESTAMP\b)")
_EQUAL = re.compile(r"(\w+)(?:\['([^']+)'\])?\s*=\s*\"([^\"]*)\"")
_BETWEEN = re.compile(r'last_event_time BETWEEN TIMESTAMP "([^"]+)" AND TIMESTAMP "([^"]+)"')
_FIELDS = frozenset({"msg_id", "to_email", "from_email", "subject", "status", "last_event_time"})
# What follows on processed, by how the address begins.
_ENDS = {
    "bounced": (("bounced", "550 5.1.1 The email account that you tried to reach does not exist"),),
    "dropped": (("dropped", "Bounced Address"),),
    "deferred": (("deferred", "451 4.7.1 Try again later"),),
    "spam": (("delivered", "250 OK"), ("spam_report", "")),
}
_DELIVERED = (("delivered", "250 OK"),)
_NOT_DELIVERED = frozenset({"bounced", "dropped"})


async def list_messages(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v3/messages``: the mails that a query asks for, the newest first."""
    if no := refused(exchange):
        return no
    query, limit = exchange.query.get("query"), exchange.query.get("limit", "10")
    if not query:
        return 400, errors("query is required", field="query")
    if not limit.isdigit() or not 1 <= int(limit) <= MAX_LIMIT:
        return 400, errors(f"limit must be between 1 and {MAX_LIMIT}", field="limit")
    try:
        wanted = [_condition(one) for one in _AND.split(query)]
    except ValueError as error:
        return 400, errors(f"invalid syntax: {error}")
    rows = [
        {name: value for name, value in message.items() if name not in {"unique_args", "events"}}
        for message in _messages(exchange)
        if all(holds(message) for holds in wanted)
    ]
    rows.sort(key=lambda row: str(row["last_event_time"]), reverse=True)
    return 200, {"messages": rows[: int(limit)]}


async def read_message(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v3/messages/{msg_id}``: one mail with its events."""
    if no := refused(exchange):
        return no
    for message in _messages(exchange):
        if message["msg_id"] == exchange.path_values["id"]:
            counts = {"opens_count", "clicks_count", "last_event_time"}
            return 200, {name: value for name, value in message.items() if name not in counts}
    return 404, errors("message not found")


def _messages(exchange: Exchange) -> Iterator[dict[str, Any]]:
    for mail in exchange.state.mailbox.messages:
        if mail.status == "queued":
            for number, address in enumerate(mail.recipients):
                yield _message(mail, f"{mail.message_id}.filter-{mail.number}-{number}", address)


def _message(mail: Mail, msg_id: str, address: str) -> dict[str, Any]:
    local = address.partition("@")[0].lower()
    ends = next((end for name, end in _ENDS.items() if local.startswith(name)), _DELIVERED)
    events = [
        {"event_name": name, "processed": _stamp(mail.received_at, after), "reason": reason}
        for after, (name, reason) in enumerate((("processed", ""), *ends))
    ]
    names = {event["event_name"] for event in events}
    status = "not_delivered" if names & _NOT_DELIVERED else "processed"
    return {
        "from_email": mail.sender,
        "msg_id": msg_id,
        "subject": mail.subject,
        "to_email": address,
        "status": "delivered" if "delivered" in names else status,
        "opens_count": 0,
        "clicks_count": 0,
        "last_event_time": events[-1]["processed"],
        "unique_args": mail.custom_args,
        "events": events,
    }


def _stamp(at: datetime, after: int) -> str:
    return (at.astimezone(UTC) + timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(text: str) -> Callable[[dict[str, Any]], bool]:
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    if between := _BETWEEN.fullmatch(text):
        first, last = between.groups()
        return lambda message: first <= str(message["last_event_time"]) <= last
    equal = _EQUAL.fullmatch(text)
    if equal is None:
        raise ValueError(f"{text!r} is not a condition")
    name, argument, value = equal.groups()
    if argument is not None and name == "unique_args":
        return lambda message: message["unique_args"].get(argument) == value
    if argument is not None or name not in _FIELDS:
        raise ValueError(f"'{name}' is not a known field")
    return lambda message: message[name] == value

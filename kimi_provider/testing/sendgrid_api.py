"""SendGrid's v3 API: sending, batch ids, scheduled sends, scopes."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.testing.sendgrid_rules import MAX_BYTES, check_mail

if TYPE_CHECKING:
    from kimi_provider.testing.exchange import Exchange

SCOPES = (
    "mail.batch.create",
    "mail.batch.read",
    "mail.send",
    "messages.read",
    "user.scheduled_sends.create",
)
_UNVERIFIED = "unverified"


def errors(*messages: str, field: str | None = None) -> dict[str, Any]:
    """Return an answer's body that names errors."""
    return {"errors": [{"message": message, "field": field, "help": None} for message in messages]}


def refused(exchange: Exchange) -> tuple[int, Any] | None:
    """Return the answer to a request without a good key, ``None`` for one with it."""
    key = exchange.bearer
    if not key:
        return 401, errors("Permission denied, wrong credentials")
    if key.startswith("wrong"):
        return 401, errors("The provided authorization grant is invalid, expired, or revoked")
    return None


def _json_body(exchange: Exchange) -> tuple[dict[str, Any], tuple[int, Any] | None]:
    if exchange.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return {}, (415, errors("Content-Type should be application/json."))
    if len(exchange.body) > MAX_BYTES:
        return {}, (413, errors("Payload Too Large: the message is larger than 30MB"))
    try:
        body = msgspec.json.decode(exchange.body)
    except msgspec.DecodeError:
        body = None
    if not isinstance(body, dict):
        return {}, (400, errors("Bad Request"))
    return body, None


async def send(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``POST /v3/mail/send``; 202 means queued."""
    if no := refused(exchange):
        return no
    body, problem = _json_body(exchange)
    if problem:
        return problem
    if problems := check_mail(body, exchange.state.mail_batches):
        return 400, {"errors": problems}
    if body["from"]["email"].startswith(_UNVERIFIED):
        return 403, errors(
            "The from address does not match a verified Sender Identity. Mail cannot be sent until"
            " this error is"
            " resolved.",
            field="from",
        )
    if ((body.get("mail_settings") or {}).get("sandbox_mode") or {}).get("enable"):
        return 200, b""
    message_id = uuid.uuid4().hex[:22]
    exchange.state.mailbox.accept(message_id, body)
    exchange.reply_headers["X-Message-Id"] = message_id
    return 202, b""


async def create_batch(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``POST /v3/mail/batch``."""
    if no := refused(exchange):
        return no
    batch_id = uuid.uuid4().hex
    exchange.state.mail_batches.add(batch_id)
    return 201, {"batch_id": batch_id}


async def read_batch(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v3/mail/batch/{id}``."""
    if no := refused(exchange):
        return no
    batch_id = exchange.path_values["id"]
    if batch_id not in exchange.state.mail_batches:
        return 400, errors("invalid batch id", field="batch_id")
    return 200, {"batch_id": batch_id}


async def scopes(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v3/scopes``."""
    return refused(exchange) or (200, {"scopes": list(SCOPES)})


async def schedule(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``POST /v3/user/scheduled_sends``: cancel or pause what a batch still holds."""
    if no := refused(exchange):
        return no
    body, problem = _json_body(exchange)
    if problem:
        return problem
    batch_id, status = body.get("batch_id"), body.get("status")
    if batch_id not in exchange.state.mail_batches:
        return 400, errors("invalid batch id", field="batch_id")
    if status not in {"cancel", "pause"}:
        return 400, errors("status must be cancel or pause", field="status")
    exchange.state.mailbox.set_schedule(batch_id, "canceled" if status == "cancel" else "paused")
    exchange.state.schedules[batch_id] = status
    return 201, {"batch_id": batch_id, "status": status}


async def read_schedule(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v3/user/scheduled_sends/{id}``."""
    if no := refused(exchange):
        return no
    batch_id = exchange.path_values["id"]
    status = exchange.state.schedules.get(batch_id)
    return 200, [{"batch_id": batch_id, "status": status}] if status else []


async def unschedule(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``DELETE /v3/user/scheduled_sends/{id}``: let the batch go out after all."""
    if no := refused(exchange):
        return no
    batch_id = exchange.path_values["id"]
    if exchange.state.schedules.pop(batch_id, None) is None:
        return 404, errors("batch id not found", field="batch_id")
    exchange.state.mailbox.set_schedule(batch_id, "scheduled")
    return 204, b""

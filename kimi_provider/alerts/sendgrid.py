"""SendGrid as a mail service: one call, by the official library, and what came of it.

Protocol facts: SendGrid's OpenAPI description (``twilio/sendgrid-oai``); 202 means queued, there is no
idempotency header, 429 comes with ``X-RateLimit-Reset`` (Unix seconds) and sometimes ``Retry-After``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

from kimi_provider.alerts.addresses import everyone
from kimi_provider.alerts.delivery import deliver
from kimi_provider.alerts.ledger import Ledger, Schedule
from kimi_provider.alerts.payload import build_requests
from kimi_provider.alerts.transport import Transport
from kimi_provider.alerts.verdict import Answer, judge
from kimi_provider.exceptions import ConfigurationError, DeliveryError
from kimi_provider.schemas import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from http.client import HTTPMessage

    from kimi_provider.alerts.account import SendGridConfig
    from kimi_provider.alerts.delivery import DeliveryPolicy
    from kimi_provider.alerts.message import Message
    from kimi_provider.schemas import DeliveryReceipt
    from kimi_provider.storage import StoragePath

# SendGrid's documentation of scheduled sends: what is nearer to its time may not be stopped any more.
CANCEL_MARGIN = timedelta(minutes=10)

_ADDRESS = re.compile(r"[^\s<>\"'(),:;]+@[^\s<>\"'(),:;]+")


class SendGridClient:
    """One account's API by the official library.

    :param config: the account's settings.
    """

    def __init__(self, config: SendGridConfig) -> None:
        from sendgrid import SendGridAPIClient

        # At DEBUG the library's transport logs whole requests: the key, the recipients, the mail.
        logging.getLogger("python_http_client").setLevel(logging.INFO)
        api = SendGridAPIClient(config.api_key, host=config.host, impersonate_subuser=config.subuser)
        headers = api.client.request_headers
        self._client = Transport(config.host, headers, version=3, timeout=config.timeout)
        self.config = config

    async def deliver(
        self,
        message: Message,
        to: str | Iterable[str],
        *,
        message_id: str,
        ledger: StoragePath,
        policy: DeliveryPolicy | None = None,
        cc: str | Iterable[str] = (),
        bcc: str | Iterable[str] = (),
        undo_window: timedelta | None = None,
        on_sent: Callable[[Sequence[DeliveryReceipt]], None] = lambda _: None,
    ) -> tuple[DeliveryReceipt, ...]:
        """Send a message to each recipient once; see :func:`kimi_provider.alerts.delivery.deliver`.

        :param to: the recipients as people write them; only those in the account's allowed domains.
        :param cc: who gets a copy. Unless the message is shared, of their own, which shows nobody else.
        :param bcc: who gets a copy that nobody sees; the same.
        :param undo_window: for how long all of it can be taken back by :meth:`cancel`. The mails leave
            ten minutes after that, because SendGrid may not stop one that is nearer to its time. Also a
            message with a ``send_at`` and without a ``batch_id`` gets one with this, and keeps its time
            if that is later.
        :param on_sent: gets the receipts of this run alone, without those that the ledger had.
        :raises ConfigurationError: if a recipient is malformed or not allowed, or the message is beyond
            a limit; nothing was sent.
        :raises DeliveryError: if any mail is not known to be queued.
        """
        people = everyone(to, cc, bcc, allowed_domains=self.config.allowed_domains)
        if undo_window is not None and message.batch_id is None:
            message = await asyncio.to_thread(
                self._scheduled, message, Ledger(ledger, message_id), undo_window
            )
        return await deliver(
            message,
            people,
            message_id=message_id,
            send=self.send,
            ledger=ledger,
            policy=policy,
            on_sent=on_sent,
        )

    def _scheduled(self, message: Message, ledger: Ledger, undo_window: timedelta) -> Message:
        """Return the message with the schedule that its first try was given."""
        if undo_window <= timedelta(0):
            raise ConfigurationError(f"undo_window must be above 0; got {undo_window}.")
        schedule = ledger.schedule
        if schedule is None:
            earliest = datetime.now(UTC) + undo_window + CANCEL_MARGIN
            send_at = max(message.send_at or earliest, earliest)
            build_requests(replace(message, send_at=send_at), (), message_id="check")
            batch_id = self.create_batch()
            schedule = ledger.keep_schedule(Schedule(batch_id=batch_id, send_at=send_at))
        return replace(message, send_at=schedule.send_at, batch_id=schedule.batch_id)

    def create_batch(self) -> str:
        """Ask for an id by which mails that are scheduled can be taken back (``POST /v3/mail/batch``).

        :raises DeliveryError: if SendGrid gives none; nothing was sent.
        """
        reply = self._call(self._client.mail.batch.post)
        if isinstance(reply, _Reply) and reply.status == HTTPStatus.CREATED:
            batch_id = _json(reply.body).get("batch_id")
            if isinstance(batch_id, str) and batch_id.isalnum():
                return batch_id
        verdict = judge(_answer(reply))
        raise DeliveryError(
            f"SendGrid gave no batch id, so nothing was sent. {verdict.detail}",
            retryable=verdict.retry or verdict.status is DeliveryStatus.AMBIGUOUS,
        )

    def cancel(self, batch_id: str) -> None:
        """Take back the mails of a batch (``POST /v3/user/scheduled_sends``); those that left have left.

        :param batch_id: from a receipt.
        :raises DeliveryError: if SendGrid does not say that it will; retryable, since it is safe to ask
            again.
        """
        body = {"batch_id": batch_id, "status": "cancel"}
        reply = self._call(lambda: self._client.user.scheduled_sends.post(request_body=body))
        if isinstance(reply, _Reply) and reply.status == HTTPStatus.CREATED:
            return
        answer = _answer(reply)
        if isinstance(reply, _Reply) and reply.status == HTTPStatus.BAD_REQUEST:
            # What was asked before, and answered, is refused when asked again.
            said = self._call(lambda: self._client.user.scheduled_sends._(batch_id).get())
            if isinstance(said, _Reply) and b'"cancel"' in (said.body or b"").replace(b" ", b""):
                return
        verdict = judge(answer)
        raise DeliveryError(
            f"SendGrid did not agree to take the batch back, so its mails may leave. {verdict.detail}",
            retryable=verdict.status is not DeliveryStatus.REJECTED,
        )

    async def send(self, body: Mapping[str, Any]) -> Answer:
        """Post one mail and say what came of it; raises nothing for what a network can do."""
        return await asyncio.to_thread(self.send_blocking, body)

    def send_blocking(self, body: Mapping[str, Any]) -> Answer:
        """Post one mail from the calling thread; see :meth:`send`."""
        return _answer(self._call(lambda: self._client.mail.send.post(request_body=dict(body))))

    async def look_up(self, *path: str, **query: str | int) -> tuple[Answer, dict[str, Any]]:
        """Ask for mails that the account has sent (``GET /v3/messages``), from a thread.

        :param path: the id of one, or nothing.
        :param query: which ones, and how many.
        :returns: what came of the question, and the answer's JSON.
        """
        asked = self._client.messages
        for part in path:
            asked = asked._(part)
        reply = await asyncio.to_thread(self._call, lambda: asked.get(query_params=query or None))
        return _answer(reply), {} if isinstance(reply, Answer) else _json(reply.body)

    def check(self) -> tuple[bool, str]:
        """Ask which permissions the key has (``GET /v3/scopes``); sends nothing.

        :returns: whether mail can be sent, and a sentence about it.
        """
        reply = self._call(self._client.scopes.get)
        if isinstance(reply, Answer) or reply.status != HTTPStatus.OK:
            return False, judge(_answer(reply)).detail
        scopes = _json(reply.body).get("scopes")
        if not isinstance(scopes, list):
            return False, f"{self.config.host} did not answer as SendGrid does. Is the host right?"
        if "mail.send" not in scopes:
            return False, "The key works, but lacks the permission Mail Send (mail.send)."
        return True, f"The key may send mail by {self.config.host}."

    def _call(self, request: Callable[[], Any]) -> _Reply | Answer:
        from python_http_client.exceptions import HTTPError

        try:
            response = request()
        except HTTPError as error:
            return _Reply(error.status_code, error.headers, error.body)
        except URLError as error:
            # Raised while connecting and while sending only: with part of a request missing, the
            # service cannot have taken it.
            return Answer(status=None, sent=False, detail=f"{self.config.host}: {error.reason}")
        except (OSError, HTTPException) as error:
            detail = f"{self.config.host}: {error or type(error).__name__}"
            return Answer(status=None, sent=True, detail=detail)
        return _Reply(response.status_code, response.headers, response.body)


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: HTTPMessage
    body: bytes


def _answer(reply: _Reply | Answer) -> Answer:
    if isinstance(reply, Answer):
        return reply
    errors = _json(reply.body).get("errors")
    told = [e.get("message") for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    said = " ".join(text for text in told if isinstance(text, str))
    return Answer(
        status=reply.status,
        sent=True,
        message_id=reply.headers.get("X-Message-Id"),
        retry_after=_retry_after(reply.headers),
        detail=_ADDRESS.sub("(address)", said)[:500],
    )


def _json(body: bytes | None) -> dict[str, Any]:
    try:
        data = json.loads(body or b"")
    except ValueError:  # proxies answer in HTML
        return {}
    return data if isinstance(data, dict) else {}


def _retry_after(headers: HTTPMessage) -> float | None:
    """Return the seconds that the service asks to wait: RFC 9110's header first, then SendGrid's own."""
    asked, reset = headers.get("Retry-After"), headers.get("X-RateLimit-Reset")
    try:
        if asked is not None and asked.strip().isdigit():
            return float(asked)
        if asked is not None:
            return max(parsedate_to_datetime(asked).timestamp() - time.time(), 0.0)
        return max(float(reset) - time.time(), 0.0) if reset is not None else None
    except (TypeError, ValueError):
        return None

"""The web application that takes SendGrid's signed events; runs in Airflow's API server only."""

import asyncio
import logging
import time
from collections import Counter
from datetime import UTC, datetime

from airflow.models.connection import Connection
from airflow.sdk import conf
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import FastAPI, Request, Response  # noqa: TID253 — only the API server loads this

from kimi_provider.alerts.events import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    SignatureCheck,
    parse_events,
    record,
)
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.mail_index import ledger_of_mail
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.schemas import DeliveryStatus

# SendGrid posts at least each 768 KB; anybody may post here, and the signature is over the whole.
_MOST_BYTES = 4 << 20
_KEYS_KEPT = 60.0  # seconds; a stranger's posts should cost no query each

log = logging.getLogger(__name__)


def create_app() -> FastAPI:
    """Make the application. Its one route asks for no sign-in, since the signature says who posts."""
    app = FastAPI(title="Kimi mail events", docs_url=None, redoc_url=None, openapi_url=None)
    keys = _Keys()

    @app.post("/events")
    async def events(request: Request) -> Response:
        """Take events: 204 when they are in the ledger, 503 when SendGrid should send them again."""
        body = await _body(request)
        if body is None:
            return _answer(413, "Too large.")
        try:
            check = await asyncio.to_thread(keys.check)
        except ConfigurationError as error:
            log.warning("SendGrid's events cannot be checked: %s", error)
            return _answer(404, "This Airflow takes no events of SendGrid.")
        signature = request.headers.get(SIGNATURE_HEADER, "")
        timestamp = request.headers.get(TIMESTAMP_HEADER, "")
        if not check.accepts(body, signature, timestamp, now=datetime.now(UTC)):
            return _answer(403, "The signature is not SendGrid's, or too old.")
        try:
            new = await asyncio.to_thread(_record, body)
        except ValueError:
            return _answer(400, "These are no events.")
        except Exception as error:  # noqa: BLE001 — object stores raise what their libraries do
            log.warning("Events of SendGrid could not be written (%s).", type(error).__name__)
            return _answer(503, "Send them again later.")
        told = ", ".join(f"{count} {status.value}" for status, count in new.items())
        log.info("SendGrid's events: %s.", told or "nothing new")
        return Response(status_code=204)

    return app


class _Keys:
    """The check by the keys of now, made anew each minute."""

    def __init__(self) -> None:
        self._made: tuple[float, SignatureCheck] | None = None

    def check(self) -> SignatureCheck:
        """Return the check.

        :raises ConfigurationError: if there is no key, or one is none.
        """
        now = time.monotonic()
        if self._made is None or now - self._made[0] > _KEYS_KEPT:
            self._made = (now, SignatureCheck(_public_keys()))
        return self._made[1]


def _public_keys() -> list[str]:
    told = conf.get("kimi", "sendgrid_webhook_public_key", fallback="")
    if not told:
        try:
            connection = Connection.get_connection_from_secrets(SendGridHook.default_conn_name)
        except AirflowNotFoundException:
            return []
        told = str(connection.extra_dejson.get("webhook_public_key") or "")
    return [key.strip() for key in told.split(",") if key.strip()]


def _record(body: bytes) -> Counter[DeliveryStatus]:
    return record(parse_events(body), ledger_of_mail)


async def _body(request: Request) -> bytes | None:
    """Read the body as it came, ``None`` where it is larger than SendGrid's."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > _MOST_BYTES:
            return None
    return bytes(parts)


def _answer(status: int, text: str) -> Response:
    return Response(f"{text}\n", status_code=status, media_type="text/plain; charset=utf-8")

"""The hook for SendGrid: from an Airflow connection to a client."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from kimi_provider.exceptions import ConfigurationError, DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow.sdk import Connection

    from kimi_provider.alerts.account import SendGridConfig
    from kimi_provider.alerts.delivery import DeliveryPolicy
    from kimi_provider.alerts.message import Message
    from kimi_provider.alerts.sendgrid import SendGridClient
    from kimi_provider.alerts.verdict import Answer
    from kimi_provider.schemas import DeliveryReceipt
    from kimi_provider.storage import StoragePath

POLLED_DAYS = 7.0
POLLED_DETAILS = 60  # ten minutes at SendGrid's pace


class SendGridHook(BaseHook):
    """Sends mail by SendGrid's v3 API.

    The connection (type ``sendgrid``): ``password`` is the API key, which needs the permission Mail
    Send; ``host`` replaces the API's base URL. In ``extra``: ``region`` (``global`` or ``eu``),
    ``from_email``, ``from_name``, ``reply_to``, ``allowed_domains``, ``timeout`` (seconds), ``subuser``,
    ``sandbox_mode`` (mails are only checked), ``webhook_public_key`` (checks SendGrid's later events).

    :param sendgrid_conn_id: id of the connection.

    Example::

        hook = SendGridHook()
        client = await hook.aget_conn()
        message = client.config.message(subject="Hello", html="<p>Hello</p>", text="Hello")
        receipts = await hook.deliver(message, "ann@example.org", message_id="a1", ledger=folder)
    """

    conn_name_attr = "sendgrid_conn_id"
    default_conn_name = "sendgrid_default"
    conn_type = "sendgrid"
    hook_name = "SendGrid"

    def __init__(self, sendgrid_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.sendgrid_conn_id = sendgrid_conn_id
        self._client: SendGridClient | None = None

    def get_conn(self) -> SendGridClient:
        """Return the client for the connection.

        :raises AirflowNotFoundException: if there is no such connection.
        :raises ConfigurationError: if a value of the connection cannot work; names the connection.
        """
        if self._client is None:
            from airflow.sdk.log import mask_secret

            connection = self.get_connection(self.sendgrid_conn_id)
            config = self._config(connection, connection.extra_dejson)
            mask_secret(config.api_key)
            self._client = _client(config)
        return self._client

    async def aget_conn(self) -> SendGridClient:
        """Return the client for the connection, from within an event loop; see :meth:`get_conn`."""
        if self._client is None:
            from airflow.sdk.log import amask_secret

            connection = await self.aget_connection(self.sendgrid_conn_id)
            config = self._config(connection, await connection.aextra_dejson())
            await amask_secret(config.api_key)
            self._client = _client(config)
        return self._client

    def send(self, payload: Mapping[str, Any]) -> Answer:
        """Post one payload of ``/v3/mail/send`` once, and return what is known of it.

        Neither retries nor keeps a ledger; :meth:`deliver` does. What the connection says of allowed
        domains and of the sandbox holds here too.

        :param payload: the JSON of the request.
        :raises ConfigurationError: if it would go to a domain that is not allowed; nothing was sent.
        """
        from kimi_provider.alerts.payload import held

        client = self.get_conn()
        return client.send_blocking(held(payload, client.config))

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
        """Send a message to each recipient once; see :meth:`SendGridClient.deliver`.

        Where the ledger lies in the provider's storage, SendGrid's later events find it.
        """
        from kimi_provider.hooks.mail_index import remember_mail

        client = await self.aget_conn()
        await asyncio.to_thread(remember_mail, message_id, ledger)
        try:
            return await client.deliver(
                message,
                to,
                message_id=message_id,
                ledger=ledger,
                policy=policy,
                cc=cc,
                bcc=bcc,
                undo_window=undo_window,
                on_sent=on_sent,
            )
        finally:
            if undo_window is not None:
                await asyncio.to_thread(_remember_schedule, message_id, ledger)

    def cancel(self, batch_id: str) -> None:
        """Take back mails that were sent with an ``undo_window``; their ledger says so then.

        :param batch_id: from a receipt.
        :raises ConfigurationError: if it is no batch id.
        :raises DeliveryError: if SendGrid does not agree, or it is less than ten minutes before they
            leave, so that nobody can say whether they do.
        """
        from kimi_provider.alerts.ledger import Ledger
        from kimi_provider.alerts.sendgrid import CANCEL_MARGIN
        from kimi_provider.hooks.mail_index import ledger_of_mail, mail_of_batch

        if not batch_id.isalnum() or not batch_id.isascii():
            raise ConfigurationError(f"batch_id is {batch_id!r}, which is none of SendGrid's.")
        message_id = mail_of_batch(batch_id)
        folder = None if message_id is None else ledger_of_mail(message_id)
        ledger = Ledger(folder, message_id) if folder is not None and message_id is not None else None
        schedule = ledger.schedule if ledger is not None else None
        late = schedule is not None and datetime.now(UTC) > schedule.send_at - CANCEL_MARGIN
        self.get_conn().cancel(batch_id)
        if late:
            raise DeliveryError(
                "SendGrid agreed to take the mails back, but their time is nearer than ten minutes, or "
                "past: some may have left. The ledger does not call them canceled."
            )
        if ledger is not None:
            ledger.cancel()

    async def acancel(self, batch_id: str) -> None:
        """Take back mails from within an event loop; see :meth:`cancel`."""
        await self.aget_conn()
        await asyncio.to_thread(self.cancel, batch_id)

    def poll(self, *, days: float = POLLED_DAYS, details: int = POLLED_DETAILS) -> dict[str, int]:
        """Ask SendGrid what became of mails whose end the ledgers do not know; see :meth:`apoll`."""
        self.get_conn()  # a connection from Airflow's database can be read outside of a loop alone
        return asyncio.run(self.apoll(days=days, details=details))

    async def apoll(self, *, days: float = POLLED_DAYS, details: int = POLLED_DETAILS) -> dict[str, int]:
        """Ask SendGrid what became of mails whose end the ledgers do not know, and write it into them.

        For those whose API server SendGrid's event webhook cannot reach. It needs SendGrid's add-on
        Additional Email Activity History and an API key with the permission Email Activity. SendGrid
        answers six such requests a minute: one a message, and one a mail that has come to an end. What
        comes after a mail was delivered, such as that it was called spam, only the webhook tells.

        :param days: how long ago a message was sent at most; SendGrid knows of 30 days.
        :param details: mails to ask for one by one, at most; what else has failed waits for the next
            time.
        :returns: how many events were new, by what they say: delivered, bounced and so on.
        :raises ConfigurationError: if the account is in the EU, where SendGrid keeps no such records.
        :raises DeliveryError: if SendGrid does not answer or refuses; what was written stays.
        """
        from kimi_provider.alerts.account import HOSTS
        from kimi_provider.alerts.activity import catch_up
        from kimi_provider.hooks.mail_index import recent_mails

        client = await self.aget_conn()
        if client.config.host == HOSTS["eu"]:
            raise ConfigurationError(
                f"Connection {self.sendgrid_conn_id!r}: SendGrid keeps no email activity for the region "
                "eu, so that only its event webhook tells what became of mails."
            )
        since = datetime.now(UTC) - timedelta(days=days)
        ledgers = await asyncio.to_thread(recent_mails, since)
        found = await catch_up(client.look_up, ledgers, details=details)
        return {status.value: count for status, count in sorted(found.items())}

    def test_connection(self) -> tuple[bool, str]:
        """Ask SendGrid which permissions the key has; sends no mail.

        :returns: whether mail can be sent, and a sentence about it.
        """
        try:
            return self.get_conn().check()
        except ConfigurationError as error:
            return False, str(error)

    def _config(self, connection: Connection, extra: Mapping[str, Any]) -> SendGridConfig:
        from kimi_provider.alerts.account import SendGridConfig

        try:
            return SendGridConfig.from_connection(
                password=connection.password, host=_base_url(connection), extra=extra
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"Connection {self.sendgrid_conn_id!r}: {error}") from None


def _client(config: SendGridConfig) -> SendGridClient:
    from kimi_provider.alerts.sendgrid import SendGridClient

    return SendGridClient(config)


def _remember_schedule(message_id: str, ledger: StoragePath) -> None:
    from kimi_provider.alerts.ledger import Ledger
    from kimi_provider.hooks.mail_index import remember_batch

    schedule = Ledger(ledger, message_id).schedule
    if schedule is not None:
        remember_batch(schedule.batch_id, message_id)


def _base_url(connection: Connection) -> str | None:
    """Put together what Airflow takes apart: a connection given as a URI has host, port and schema."""
    host = connection.host
    if not host:
        return None
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    return f"{url.rstrip('/')}:{connection.port}" if connection.port else url

"""The hook for SendGrid: from an Airflow connection to a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.sdk import Connection

    from kimi_provider.alerts.account import SendGridConfig
    from kimi_provider.alerts.delivery import DeliveryPolicy
    from kimi_provider.alerts.message import Message
    from kimi_provider.alerts.sendgrid import SendGridClient
    from kimi_provider.alerts.verdict import Answer
    from kimi_provider.schemas import DeliveryReceipt
    from kimi_provider.storage import StoragePath


class SendGridHook(BaseHook):
    """Sends mail by SendGrid's v3 API.

    The connection (type ``sendgrid``): ``password`` is the API key, which needs the permission Mail
    Send; ``host`` replaces the API's base URL. In ``extra``: ``region`` (``global`` or ``eu``),
    ``from_email``, ``from_name``, ``reply_to``, ``allowed_domains``, ``timeout`` (seconds), ``subuser``.

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

        Neither retries nor keeps a ledger; :meth:`deliver` does.

        :param payload: the JSON of the request.
        """
        return self.get_conn().send_blocking(payload)

    async def deliver(
        self,
        message: Message,
        to: str | Iterable[str],
        *,
        message_id: str,
        ledger: StoragePath,
        policy: DeliveryPolicy | None = None,
    ) -> tuple[DeliveryReceipt, ...]:
        """Send a message to each recipient once; see :meth:`SendGridClient.deliver`."""
        client = await self.aget_conn()
        return await client.deliver(message, to, message_id=message_id, ledger=ledger, policy=policy)

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


def _base_url(connection: Connection) -> str | None:
    """Put together what Airflow takes apart: a connection given as a URI has host, port and schema."""
    host = connection.host
    if not host:
        return None
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    return f"{url.rstrip('/')}:{connection.port}" if connection.port else url

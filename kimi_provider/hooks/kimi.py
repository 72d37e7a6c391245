"""The hook for Kimi: from an Airflow connection to a client, and to calls that are paid once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from kimi_provider.exceptions import APIError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from airflow.sdk import Connection

    from kimi_provider.analysis.budget import Budget
    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.trace import Trace
    from kimi_provider.client import ChatRequest, ChatResult, ClientConfig, KimiClient
    from kimi_provider.storage import StoragePath


class KimiHook(BaseHook):
    """Talks to a Kimi model on any host with an OpenAI-compatible API.

    The connection (type ``kimi``): ``password`` is the API key, ``host`` the base URL. In ``extra``:
    ``model``, ``host`` (a preset's name, where no base URL is given) and every other parameter of
    :class:`kimi_provider.client.ClientConfig`.

    :param kimi_conn_id: id of the connection.
    :param model: model id, in place of the connection's.

    Example::

        result = KimiHook().complete(ChatRequest(messages=(Message.user("Say hello."),)))
        print(result.text, result.usage.cost_usd)
    """

    conn_name_attr = "kimi_conn_id"
    default_conn_name = "kimi_default"
    conn_type = "kimi"
    hook_name = "Kimi"

    def __init__(self, kimi_conn_id: str = default_conn_name, *, model: str | None = None) -> None:
        super().__init__()
        self.kimi_conn_id = kimi_conn_id
        self.model = model
        self._config: ClientConfig | None = None

    def get_conn(self) -> KimiClient:
        """Return a client for the connection; open it with ``async with``.

        :raises AirflowNotFoundException: if there is no such connection.
        :raises ConfigurationError: if a value of the connection cannot work; names the connection.
        """
        if self._config is None:
            from airflow.sdk.log import mask_secret

            connection = self.get_connection(self.kimi_conn_id)
            self._config = self._read(connection, connection.extra_dejson)
            mask_secret(self._config.api_key)
        return _client(self._config)

    async def aget_conn(self) -> KimiClient:
        """Return a client for the connection, from within an event loop; see :meth:`get_conn`."""
        if self._config is None:
            from airflow.sdk.log import amask_secret

            connection = await self.aget_connection(self.kimi_conn_id)
            self._config = self._read(connection, await connection.aextra_dejson())
            await amask_secret(self._config.api_key)
        return _client(self._config)

    def complete(self, request: ChatRequest) -> ChatResult:
        """Ask the model and wait for the whole answer; not from within an event loop.

        :raises APIError: if the call fails; its class says whether a retry helps.
        """
        client = self.get_conn()

        async def ask() -> ChatResult:
            async with client:
                return await client.complete(request)

        return asyncio.run(ask())

    async def acomplete(self, request: ChatRequest) -> ChatResult:
        """Ask the model, from within an event loop; see :meth:`complete`."""
        async with await self.aget_conn() as client:
            return await client.complete(request)

    @asynccontextmanager
    async def caller(
        self,
        folder: StoragePath,
        *,
        trace: Trace,
        budget: Budget,
        on_progress: Callable[[str], None],
    ) -> AsyncIterator[Caller]:
        """Open a client whose calls are kept in a journal, counted and traced.

        Call :meth:`get_conn` or :meth:`aget_conn` first where the connection must be read in a certain
        way; what was read is kept.

        :param folder: the task instance's folder; a retry finds there what was paid for.
        :param trace: gets every message.
        :param budget: what all attempts together may spend.
        :param on_progress: gets short sentences, without content.
        """
        from kimi_provider.analysis.caller import Caller
        from kimi_provider.analysis.journal import Journal

        async with await self.aget_conn() as client:
            yield Caller(
                client,
                journal=Journal(folder / "journal"),
                budget=budget,
                trace=trace,
                on_progress=on_progress,
            )

    def test_connection(self) -> tuple[bool, str]:
        """List the host's models and look for the configured one; costs nothing.

        :returns: whether it is there, and a sentence about it.
        """
        try:
            client = self.get_conn()
            return asyncio.run(_check(client))
        except (ConfigurationError, APIError) as error:
            return False, f"{type(error).__name__}: {error}"

    def _read(self, connection: Connection, extra: Mapping[str, Any]) -> ClientConfig:
        from kimi_provider.client import ClientConfig
        from kimi_provider.hooks.http import base_url

        try:
            config = ClientConfig.from_mapping(
                base_url=base_url(connection, default_scheme="https"),
                api_key=connection.password,
                model=self.model,
                extra={name: value for name, value in extra.items() if value not in ("", None)},
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"Connection {self.kimi_conn_id!r}: {error}") from None
        if config.model is None:
            raise ConfigurationError(
                f"Connection {self.kimi_conn_id!r} names no model. Set 'model' in its extra, or give the"
                " operator a model; the connection test lists the ids that the host has."
            )
        return config


def _client(config: ClientConfig) -> KimiClient:
    from kimi_provider.client import KimiClient

    return KimiClient(config)


async def _check(client: KimiClient) -> tuple[bool, str]:
    model = client.config.model
    async with client:
        listed = sorted(info.id for info in await client.models())
        if model not in listed:
            return False, f"The host does not list {model!r}. It lists {', '.join(listed)}."
        if not client.config.host.side_endpoints:
            return True, f"The host lists {model!r}."
        balance = await client.balance()
    if balance.available <= 0:
        return False, f"The host lists {model!r}, but the account has no balance left; top it up."
    return True, f"The host lists {model!r}, and the account has {balance.available} left."

"""A client that goes on with the next connection where a host is down."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec

from kimi_provider.client.client import KimiClient
from kimi_provider.client.messages import Restarted
from kimi_provider.exceptions import APIConnectionError, APIError, OverloadedError, ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType

    from kimi_provider.client.config import ClientConfig
    from kimi_provider.client.messages import ChatRequest, ChatResult, StreamEvent

log = logging.getLogger(__name__)

# What says that the host is down. A refusal is an answer: another host must not be asked to overrule it.
_DOWN = (APIConnectionError, ServerError, OverloadedError)


class FallbackClient(KimiClient):
    """The client of the first connection, with others to ask when its host is down.

    A host counts as down after all of its client's own tries. The one that answered stays the first
    to be asked as long as the client is open: a long run does not wait for a dead host at each step.
    A fallback is asked for the model that its own connection names, where it names one. Only
    questions fall back; balance, files and batches belong to the first connection's account.

    :param configs: settings by connection id, in order; at least one.
    :param on_answer: told the id of the connection that answered, for each question.
    """

    def __init__(
        self, configs: Mapping[str, ClientConfig], *, on_answer: Callable[[str], None] | None = None
    ) -> None:
        first, *_ = configs.values()
        super().__init__(first)
        self._configs = dict(configs)
        self._order = list(configs)
        self._own = self._order[0]
        self._others: dict[str, KimiClient] = {}
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._on_answer = on_answer or (lambda _: None)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections of all clients."""
        try:
            await self._open.aclose()
        finally:
            await super().__aexit__(kind, error, trace)

    def native_schema(self, model: str | None = None) -> bool:
        """Whether every host that may have to answer takes ``response_schema``."""
        own = super().native_schema(model)
        return own and all(
            config.native_schema(config.model or model)
            for conn_id, config in self._configs.items()
            if conn_id != self._own
        )

    async def complete(
        self, request: ChatRequest, *, on_event: Callable[[StreamEvent], None] | None = None
    ) -> ChatResult:
        """Ask the model and return the whole answer; see :meth:`KimiClient.complete`.

        :raises APIError: the refusal of the first host that is up, or the last error if all are down.
        """
        down: dict[str, APIError] = {}
        for conn_id in tuple(self._order):
            if down and on_event is not None:
                on_event(Restarted(len(down) + 1))
            try:
                if conn_id == self._own:
                    result = await super().complete(request, on_event=on_event)
                else:
                    other = await self._other(conn_id)
                    result = await other.complete(self._fitted(request, conn_id), on_event=on_event)
            except _DOWN as error:
                down[conn_id] = error
                self._pass_over(conn_id, error)
            else:
                self._on_answer(conn_id)
                return result
        raise _all(down)

    async def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """Ask the model and yield each piece as it comes; see :meth:`KimiClient.stream`.

        :raises APIError: as :meth:`complete` does, or if the connection breaks after the first piece.
        """
        down: dict[str, APIError] = {}
        for conn_id in tuple(self._order):
            if conn_id == self._own:
                events = super().stream(request)
            else:
                events = (await self._other(conn_id)).stream(self._fitted(request, conn_id))
            begun = False
            try:
                async for event in events:
                    begun = True
                    yield event
            except _DOWN as error:
                down[conn_id] = error
                self._pass_over(conn_id, error)
                if begun:
                    raise
            else:
                self._on_answer(conn_id)
                return
        raise _all(down)

    async def _other(self, conn_id: str) -> KimiClient:
        async with self._opening:
            if conn_id not in self._others:
                client = KimiClient(self._configs[conn_id])
                self._others[conn_id] = await self._open.enter_async_context(client)
        return self._others[conn_id]

    def _fitted(self, request: ChatRequest, conn_id: str) -> ChatRequest:
        """Ask for the model as the other host calls it."""
        if self._configs[conn_id].model is None:
            return request
        return msgspec.structs.replace(request, model=None)

    def _pass_over(self, conn_id: str, error: APIError) -> None:
        if self._order[0] == conn_id:
            self._order.append(self._order.pop(0))
        log.warning("Connection %r is down: %s", conn_id, type(error).__name__)


def _all(down: Mapping[str, APIError]) -> APIError:
    """Return the last error, with a note of all: the first tells as much about what is wrong."""
    error = [*down.values()][-1]
    tried = ", ".join(f"{conn_id!r} ({type(failed).__name__})" for conn_id, failed in down.items())
    error.add_note(f"All hosts are down. Connections tried: {tried}.")
    return error

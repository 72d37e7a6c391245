"""The Kimi client: asks a model, streamed by default, and gives back the whole answer."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Self

from kimi_provider.client import endpoints
from kimi_provider.client.api import Api
from kimi_provider.client.batches import Batches
from kimi_provider.client.errors import Answer
from kimi_provider.client.exchange import Exchange
from kimi_provider.client.formulas import Formulas
from kimi_provider.client.limits import BYTES_PER_TOKEN, limiter_for
from kimi_provider.client.messages import Restarted
from kimi_provider.client.request import build_body, encode, max_tokens, model_of
from kimi_provider.client.response import Assembler
from kimi_provider.client.retry import with_retries
from kimi_provider.exceptions import APIError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from kimi_provider.client.config import ClientConfig
    from kimi_provider.client.endpoints import Balance, FileInfo, FilePurpose, ModelInfo
    from kimi_provider.client.messages import ChatRequest, ChatResult, StreamEvent

logger = logging.getLogger("kimi_provider.client")

# TPM is charged on prompt plus bound; what a host takes where no bound is sent is not known.
_ASSUMED_MAX_TOKENS = 32_768
_STREAM_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
_PLAIN_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}


class KimiClient:
    """Calls Kimi at one host, with one key. Use it as an asynchronous context manager.

    ::

        async with KimiClient(config) as client:
            result = await client.complete(ChatRequest(messages=(Message.user("Hello"),)))

    :param config: see :meth:`ClientConfig.from_mapping`.

    ``batches`` and ``formulas`` are Moonshot's batch and tool endpoints. One client serves any
    number of calls at once; it belongs to the event loop it was opened in. Calls are retried in
    here (``max_attempts``) and nowhere else.
    """

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self._api = Api(config)
        self.batches = Batches(self._api)
        self.formulas = Formulas(self._api)
        self._limiter = limiter_for(config)
        self._warned: set[str] = set()

    async def __aenter__(self) -> Self:
        """Open the client.

        :raises ConfigurationError: if the CA file cannot be read.
        """
        await self._api.transport.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self._api.transport.close()

    def __repr__(self) -> str:
        """Show where the client points, never the key."""
        return f"KimiClient({self.config!r})"

    def native_schema(self, model: str | None = None) -> bool:
        """Whether ``response_schema`` can be sent to ``model`` (default: the connection's)."""
        return self.config.native_schema(model)

    async def complete(
        self, request: ChatRequest, *, on_event: Callable[[StreamEvent], None] | None = None
    ) -> ChatResult:
        """Ask the model and return the whole answer.

        :param request: what to ask.
        :param on_event: told each piece as it comes; after a :class:`Restarted` the earlier ones
            are void.
        :returns: the answer; a cut one has ``truncated`` set, it is not an error here.
        :raises ConfigurationError: if the request cannot be sent to this model; nothing was paid.
        :raises APIError: if the last attempt failed; its class says whether a retry helps.
        """
        return await self._ask(request, on_event, restart=True)

    async def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """Ask the model and yield each piece as it comes; the last is :class:`Finished`.

        A failure before the first piece is retried; one after it is raised, since pieces that are
        out cannot be taken back.

        :raises ConfigurationError: if the request cannot be sent to this model; nothing was paid.
        :raises APIError: if the call failed.
        """
        # Read in a task of its own: a slow consumer must not keep the host waiting.
        events: asyncio.Queue[StreamEvent | None] = asyncio.Queue()
        asking = asyncio.create_task(self._ask(request, events.put_nowait, restart=False))
        asking.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def models(self) -> list[ModelInfo]:
        """List the models that the key may use.

        :raises APIError: if the host does not answer as it should.
        """
        return await endpoints.models(self._api)

    async def balance(self) -> Balance:
        """Return the account's balance (Moonshot).

        :raises ConfigurationError: if the host has no such endpoint.
        :raises APIError: if the host does not answer as it should.
        """
        return await endpoints.balance(self._api)

    async def estimate_tokens(self, request: ChatRequest) -> int:
        """Return how many tokens the prompt of ``request`` has, as the host counts (Moonshot).

        :raises ConfigurationError: if the host has no such endpoint.
        :raises APIError: if the host does not answer as it should.
        """
        return await endpoints.estimate_tokens(self._api, request)

    async def upload_file(
        self, name: str, content: bytes, purpose: FilePurpose = "file-extract"
    ) -> FileInfo:
        """Upload a file (Moonshot); its extracted text is at :meth:`file_content`.

        :raises ConfigurationError: if the host has no such endpoint, or the file is over 100 MB.
        :raises APIError: if the host does not answer as it should.
        """
        return await endpoints.upload_file(self._api, name, content, purpose)

    async def file_content(self, file_id: str) -> bytes:
        """Return a file's content, or the text extracted from it (Moonshot).

        :raises ConfigurationError: if the host has no such endpoint.
        :raises APIError: if the host does not answer as it should.
        """
        return await endpoints.file_content(self._api, file_id)

    async def _ask(
        self,
        request: ChatRequest,
        on_event: Callable[[StreamEvent], None] | None,
        *,
        restart: bool,
    ) -> ChatResult:
        """Make a call, with retries; without ``restart`` only until something was told."""
        body = encode(build_body(request, self.config))
        model = model_of(request, self.config)
        told = False
        attempts = 0

        def tell(event: StreamEvent) -> None:
            nonlocal told
            told = True
            if on_event is not None:
                on_event(event)

        async def attempt(number: int) -> ChatResult:
            nonlocal attempts
            attempts = number
            if number > 1 and on_event is not None and told:
                on_event(Restarted(number))
            return await self._attempt(request, model, body, tell if on_event else None, number)

        try:
            return await with_retries(
                attempt, self.config, model=model, repeatable=lambda: restart or not told
            )
        except NotFoundError as error:
            raise await self._explained(error, model) from None
        except APIError as error:
            error.attempts = attempts
            raise

    async def _attempt(
        self,
        request: ChatRequest,
        model: str,
        body: bytes,
        emit: Callable[[StreamEvent], None] | None,
        number: int,
    ) -> ChatResult:
        """Make one call, the ``number``-th try of it."""
        config = self.config
        assembler = Assembler(
            model,
            tools=[tool.name for tool in request.tools],
            leaks=config.host.leaks,
            max_chars=config.max_response_bytes,
            emit=emit,
        )
        bound = max_tokens(request, config) or _ASSUMED_MAX_TOKENS
        texts = tuple(text for message in request.messages for text in message.texts)
        idle = config.idle_timeout if request.stream else config.timeout
        slot = (
            self._limiter.slot(len(body) // BYTES_PER_TOKEN + bound) if self._limiter else nullcontext()
        )
        async with slot as entry:
            exchange = Exchange(
                assembler,
                Answer(config.host.name, model, config.api_key, texts),
                idle=idle,
                max_bytes=config.max_response_bytes,
            )
            headers = _STREAM_HEADERS if request.stream else _PLAIN_HEADERS
            async with self._api.transport.send(
                "POST", "/chat/completions", idle=idle, content=body, headers=headers
            ) as response:
                await exchange.read(response)
            result = assembler.result(
                request_ids=exchange.request_ids,
                price=self._api.price(model),
                first_token=exchange.first_token,
                duration=time.monotonic() - exchange.started,
                attempts=number,
            )
            if entry is not None and result.usage.input_tokens:
                # Moonshot charges the true prompt and the whole bound.
                entry.tokens = result.usage.input_tokens + bound
        if result.healed:
            logger.info(
                "%s %s leaked %d tool calls or thoughts into the text; they were taken out",
                config.host.name,
                model,
                result.healed,
            )
        return result

    async def _explained(self, error: NotFoundError, model: str) -> NotFoundError:
        """Name the models that the host does have: ids are retired without notice."""
        try:
            listed = [info.id for info in await self.models()]
        except APIError:
            return error
        if not listed or model in listed:
            return error
        return endpoints.unknown_model(error, self.config.host.name, model, listed)

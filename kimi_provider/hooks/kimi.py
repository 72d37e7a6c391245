"""The hook for Kimi: from an Airflow connection to a client, and to calls that are paid once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook

from kimi_provider.exceptions import APIError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence

    from airflow.sdk import Connection

    from kimi_provider.analysis.agent import AgentResult
    from kimi_provider.analysis.budget import Budget
    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.elsewhere import Elsewhere
    from kimi_provider.analysis.telemetry import CallReport
    from kimi_provider.analysis.tools import Tool
    from kimi_provider.analysis.trace import Trace
    from kimi_provider.analysis.transcript import ApprovalNeeded
    from kimi_provider.client import ChatRequest, ChatResult, ClientConfig, KimiClient
    from kimi_provider.client.endpoints import Balance, FileInfo, FilePurpose, ModelInfo
    from kimi_provider.client.messages import StreamEvent
    from kimi_provider.storage import StoragePath

T = TypeVar("T")


class KimiHook(BaseHook):
    """Talks to a Kimi model on any host with an OpenAI-compatible API.

    The connection (type ``kimi``): ``password`` is the API key, ``host`` the base URL. In ``extra``:
    ``model``, ``host`` (a preset's name, where no base URL is given), ``fallback_conn_ids``, and every
    other parameter of :class:`kimi_provider.client.ClientConfig`.

    :param kimi_conn_id: id of the connection.
    :param model: model id, in place of the connection's.
    :param fallback_conn_ids: connections to ask, in order, where the host is down (unreachable,
        overloaded, 5xx) after its own retries; never where it refuses. A list, or a text with commas;
        ``None`` takes the connection's, an empty list has none. Each asks for its own model.

    Example::

        result = KimiHook().complete(ChatRequest(messages=(Message.user("Say hello."),)))
        print(result.text, result.usage.cost_usd)

    Each method without ``a`` opens a client and an event loop of its own, so it must not be called
    from within an event loop; its twin with ``a`` is awaited there.
    """

    conn_name_attr = "kimi_conn_id"
    default_conn_name = "kimi_default"
    conn_type = "kimi"
    hook_name = "Kimi"

    def __init__(
        self,
        kimi_conn_id: str = default_conn_name,
        *,
        model: str | None = None,
        fallback_conn_ids: Sequence[str] | str | None = None,
    ) -> None:
        super().__init__()
        self.kimi_conn_id = kimi_conn_id
        self.model = model
        self.fallback_conn_ids = fallback_conn_ids
        self._configs: dict[str, ClientConfig] | None = None

    def get_conn(self) -> KimiClient:
        """Return a client for the connection, and its fallbacks; open it with ``async with``.

        :raises AirflowNotFoundException: if one of the connections does not exist.
        :raises ConfigurationError: if a value of a connection cannot work; names the connection.
        """
        if self._configs is None:
            from airflow.sdk.log import mask_secret

            first = self.get_connection(self.kimi_conn_id)
            extra = first.extra_dejson
            configs = {self.kimi_conn_id: self._read(self.kimi_conn_id, first, extra)}
            for conn_id in self._fallbacks(extra):
                connection = self.get_connection(conn_id)
                configs[conn_id] = self._read(conn_id, connection, connection.extra_dejson)
            for config in configs.values():
                mask_secret(config.api_key)
            self._configs = configs
        return _client(self._configs)

    async def aget_conn(self) -> KimiClient:
        """Return a client for the connection, from within an event loop; see :meth:`get_conn`."""
        return _client(await self._aread())

    def complete(self, request: ChatRequest) -> ChatResult:
        """Ask the model and wait for the whole answer.

        :raises APIError: if the call fails; its class says whether a retry helps.
        """
        return self._run(lambda client: client.complete(request))

    async def acomplete(self, request: ChatRequest) -> ChatResult:
        """Ask the model, from within an event loop; see :meth:`complete`."""
        return await self._arun(lambda client: client.complete(request))

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """Ask the model and yield each piece as it comes; the last is :class:`Finished`.

        The event loop stands still between two pieces: taking one must not last as long as the
        connection's ``idle_timeout``.

        :raises APIError: if the call fails; before the first piece only after retries.
        """
        self.get_conn()
        pieces: asyncio.Queue[StreamEvent] = asyncio.Queue(maxsize=1)

        async def pump() -> None:
            async for event in self.astream(request):
                await pieces.put(event)

        async def next_piece(pumping: asyncio.Task[None]) -> StreamEvent | None:
            getting = asyncio.create_task(pieces.get())
            await asyncio.wait({getting, pumping}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
            getting.cancel()
            return pumping.result()

        # One task reads all: time-outs belong to the task that they began in.
        with asyncio.Runner() as runner:
            pumping = runner.get_loop().create_task(pump())
            while (event := runner.run(next_piece(pumping))) is not None:
                yield event

    async def astream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """Ask the model piece by piece, from within an event loop; see :meth:`stream`."""
        async with await self.aget_conn() as client:
            async for event in client.stream(request):
                yield event

    def models(self) -> list[ModelInfo]:
        """List the models that the key may use.

        :raises APIError: if the host does not answer as it should.
        """
        return self._run(lambda client: client.models())

    async def amodels(self) -> list[ModelInfo]:
        """List the models, from within an event loop; see :meth:`models`."""
        return await self._arun(lambda client: client.models())

    def balance(self) -> Balance:
        """Return the account's balance (Moonshot).

        :raises ConfigurationError: if the host has no such endpoint.
        :raises APIError: if the host does not answer as it should.
        """
        return self._run(lambda client: client.balance())

    async def abalance(self) -> Balance:
        """Return the account's balance, from within an event loop; see :meth:`balance`."""
        return await self._arun(lambda client: client.balance())

    def estimate_tokens(self, request: ChatRequest) -> int:
        """Return how many tokens the prompt of ``request`` has, as the host counts (Moonshot).

        :raises ConfigurationError: if the host has no such endpoint.
        :raises APIError: if the host does not answer as it should.
        """
        return self._run(lambda client: client.estimate_tokens(request))

    async def aestimate_tokens(self, request: ChatRequest) -> int:
        """Count the prompt's tokens, from within an event loop; see :meth:`estimate_tokens`."""
        return await self._arun(lambda client: client.estimate_tokens(request))

    def upload_file(self, name: str, content: bytes, purpose: FilePurpose = "file-extract") -> FileInfo:
        """Upload a file of at most 100 MB (Moonshot).

        :param name: its name, with the extension that tells its kind.
        :raises ConfigurationError: if the host has no such endpoint, or the file is too large.
        :raises APIError: if the host does not answer as it should.
        """
        return self._run(lambda client: client.upload_file(name, content, purpose))

    async def aupload_file(
        self, name: str, content: bytes, purpose: FilePurpose = "file-extract"
    ) -> FileInfo:
        """Upload a file, from within an event loop; see :meth:`upload_file`."""
        return await self._arun(lambda client: client.upload_file(name, content, purpose))

    def run_agent(
        self, request: ChatRequest, tools: Sequence[Tool], *, folder: StoragePath, **options: Any
    ) -> AgentResult | ApprovalNeeded:
        """Let the model work with tools until it answers; :class:`KimiAgentOperator` does so in a task.

        :param request: the question.
        :param tools: what the model may call.
        :param folder: where finished calls are kept; the same folder again goes on where it stood.
        :param options: ``limits``, ``policy``, ``approvals`` and ``resume`` of
            :func:`kimi_provider.analysis.agent.run_agent`, whose errors are raised.
        :returns: the answer, or what a person has to decide first.
        """
        self.get_conn()
        return asyncio.run(self.arun_agent(request, tools, folder=folder, **options))

    async def arun_agent(
        self, request: ChatRequest, tools: Sequence[Tool], *, folder: StoragePath, **options: Any
    ) -> AgentResult | ApprovalNeeded:
        """Let the model work with tools, from within an event loop; see :meth:`run_agent`."""
        from kimi_provider.analysis.agent import run_agent
        from kimi_provider.analysis.budget import Budget
        from kimi_provider.analysis.trace import Trace

        async with self.caller(
            folder, trace=Trace(), budget=Budget(), on_progress=self.log.info
        ) as caller:
            return await run_agent(caller, request, tools, **options)

    @asynccontextmanager
    async def caller(
        self,
        folder: StoragePath,
        *,
        trace: Trace,
        budget: Budget,
        on_progress: Callable[[str], None],
        repeat_interrupted: bool = True,
        elsewhere: Elsewhere | None = None,
        on_call: Callable[[CallReport], None] = lambda _: None,
    ) -> AsyncIterator[Caller]:
        """Open a client whose calls are kept in a journal, counted and traced.

        Call :meth:`get_conn` or :meth:`aget_conn` first where the connection must be read in a certain
        way; what was read is kept. The budget checks a call by the first connection's prices, and
        counts what the connection that answered takes.

        :param folder: the task instance's folder; a retry finds there what was paid for.
        :param trace: gets every message, and which connection answered where there are several.
        :param budget: what all attempts together may spend.
        :param on_progress: gets short sentences, and the end of what the model thinks.
        :param repeat_interrupted: whether a call is made again in which an earlier process was killed.
        :param elsewhere: takes the calls that are not in the journal, where this process is not to
            wait for the model itself.
        :param on_call: gets a report of each call that was made, also of one that failed.
        """
        from kimi_provider.analysis.caller import Caller
        from kimi_provider.analysis.journal import Journal

        def answered(conn_id: str) -> None:
            trace.add("connection", answered=conn_id)

        async with _client(await self._aread(), answered) as client:
            yield Caller(
                client,
                journal=Journal(folder / "journal"),
                budget=budget,
                trace=trace,
                on_progress=on_progress,
                repeat_interrupted=repeat_interrupted,
                elsewhere=elsewhere,
                on_call=on_call,
            )

    def test_connection(self) -> tuple[bool, str]:
        """List the host's models, look for the configured one, and at the balance; costs nothing.

        :returns: whether the connection can be used, and a sentence about it.
        """
        alone = KimiHook(self.kimi_conn_id, model=self.model, fallback_conn_ids=())
        try:
            return asyncio.run(_check(alone.get_conn()))
        except (ConfigurationError, APIError) as error:
            return False, f"{type(error).__name__}: {error}"

    def _run(self, call: Callable[[KimiClient], Coroutine[Any, Any, T]]) -> T:
        # Read out here: Airflow's async connections do not work under dag.test().
        self.get_conn()
        return asyncio.run(self._arun(call))

    async def _arun(self, call: Callable[[KimiClient], Coroutine[Any, Any, T]]) -> T:
        async with await self.aget_conn() as client:
            return await call(client)

    async def _aread(self) -> dict[str, ClientConfig]:
        if self._configs is None:
            from airflow.sdk.log import amask_secret

            first = await self.aget_connection(self.kimi_conn_id)
            extra = await first.aextra_dejson()
            configs = {self.kimi_conn_id: self._read(self.kimi_conn_id, first, extra)}
            for conn_id in self._fallbacks(extra):
                connection = await self.aget_connection(conn_id)
                configs[conn_id] = self._read(conn_id, connection, await connection.aextra_dejson())
            for config in configs.values():
                await amask_secret(config.api_key)
            self._configs = configs
        return self._configs

    def _fallbacks(self, extra: Mapping[str, Any]) -> list[str]:
        """Return the other connections, each once."""
        given = self.fallback_conn_ids
        if given is None:
            given = extra.get("fallback_conn_ids") or ()
        ids = given.split(",") if isinstance(given, str) else given
        if not isinstance(ids, list | tuple) or not all(isinstance(conn_id, str) for conn_id in ids):
            raise ConfigurationError(
                f"Connection {self.kimi_conn_id!r}: fallback_conn_ids is {given!r}; allowed is a list of"
                " connection ids, or a text with commas between them."
            )
        named = dict.fromkeys(conn_id.strip() for conn_id in ids)
        return [conn_id for conn_id in named if conn_id and conn_id != self.kimi_conn_id]

    def _read(self, conn_id: str, connection: Connection, extra: Mapping[str, Any]) -> ClientConfig:
        from kimi_provider.client import ClientConfig
        from kimi_provider.hooks.http import base_url

        settings = {name: value for name, value in extra.items() if value not in ("", None)}
        settings.pop("fallback_conn_ids", None)
        try:
            config = ClientConfig.from_mapping(
                base_url=base_url(connection, default_scheme="https"),
                api_key=connection.password,
                # Hosts name the same model differently, so a fallback asks for its own.
                model=self.model
                if conn_id == self.kimi_conn_id
                else settings.get("model") or self.model,
                extra=settings,
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"Connection {conn_id!r}: {error}") from None
        if config.model is None:
            raise ConfigurationError(
                f"Connection {conn_id!r} names no model. Set 'model' in its extra, or give the"
                " operator a model; the connection test lists the ids that the host has."
            )
        return config


def _client(
    configs: Mapping[str, ClientConfig], on_answer: Callable[[str], None] | None = None
) -> KimiClient:
    if len(configs) > 1:
        from kimi_provider.hooks.fallback import FallbackClient

        return FallbackClient(configs, on_answer=on_answer)
    from kimi_provider.client import KimiClient

    (config,) = configs.values()
    return KimiClient(config)


async def _check(client: KimiClient) -> tuple[bool, str]:
    model = client.config.model
    async with client:
        listed = sorted(info.id for info in await client.models())
        if model not in listed:
            return False, f"The host does not list {model!r}. It lists {', '.join(listed)}."
        if not client.config.host.side_endpoints:
            return True, f"The host lists {model!r}."
        try:
            balance = await client.balance()
        except APIError as error:
            # Gateways in front of a host, and keys with few rights, do not always show it.
            return True, f"The host lists {model!r}; it tells no balance ({type(error).__name__})."
    if balance.available <= 0:
        return False, f"The host lists {model!r}, but the account has no balance left; top it up."
    return True, f"The host lists {model!r}, and the account has {balance.available} left."

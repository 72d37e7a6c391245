"""The clients that are compared: each asks the same, and gives back the answer's text.

A peer's library is imported where it is used, so that a process pays for one of them only.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from loopback import MODEL

if TYPE_CHECKING:
    from types import TracebackType

    from openai import AsyncOpenAI

QUESTION = "How late were the flights?"
KEY = "sk-bench"
# Seconds, where a peer is not taken as it ships.
PATIENCE = 300.0


class Peer(ABC):
    """A client at one base URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @abstractmethod
    async def plain(self) -> str:
        """Ask for the answer in one piece."""

    @abstractmethod
    async def stream(self) -> str:
        """Ask for a stream, and look at each event."""


class Kimi(Peer):
    """This client; ``stream`` gives each event to the caller."""

    async def __aenter__(self) -> Self:
        from kimi_provider.client import ChatRequest, ClientConfig, KimiClient, Message, TextDelta

        config = ClientConfig.from_mapping(
            base_url=self.url,
            api_key=KEY,
            model=MODEL,
            # One attempt, so that a failure is counted and not mended.
            extra={"host": "moonshot", "max_attempts": 1},
        )
        self.client = await KimiClient(config).__aenter__()
        self.streamed = ChatRequest(messages=(Message.user(QUESTION),))
        self.whole = ChatRequest(messages=(Message.user(QUESTION),), stream=False)
        self.delta = TextDelta
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.client.__aexit__(kind, error, trace)

    async def plain(self) -> str:
        return (await self.client.complete(self.whole)).text

    async def stream(self) -> str:
        events = self.client.stream(self.streamed)
        return "".join([event.text async for event in events if type(event) is self.delta])


class KimiWhole(Kimi):
    """This client as the operators use it: streamed, and the whole answer given back."""

    async def stream(self) -> str:
        return (await self.client.complete(self.streamed)).text


class Httpx(Peer):
    """Bare httpx: ``aiter_lines`` and ``json.loads``, nothing checked."""

    async def __aenter__(self) -> Self:
        import httpx

        # As it ships (100 connections, five seconds for everything) no call survives being held.
        self.client = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {KEY}"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
            timeout=PATIENCE,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.client.aclose()

    def _body(self, *, stream: bool) -> dict[str, object]:
        messages = [{"role": "user", "content": QUESTION}]
        return {"model": MODEL, "messages": messages, "stream": stream}

    async def plain(self) -> str:
        response = await self.client.post("/chat/completions", json=self._body(stream=False))
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"]

    async def stream(self) -> str:
        pieces = []
        body = self._body(stream=True)
        async with self.client.stream("POST", "/chat/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                delta = json.loads(line[6:])["choices"][0]["delta"]
                if delta.get("content"):
                    pieces.append(delta["content"])
        return "".join(pieces)


class OpenAI(Peer):
    """The openai SDK as it ships: at most 1,000 connections, five seconds to connect."""

    async def __aenter__(self) -> Self:
        self.client = self._client()
        return self

    def _client(self) -> AsyncOpenAI:
        import openai

        return openai.AsyncOpenAI(base_url=self.url, api_key=KEY, max_retries=0)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.client.close()

    async def plain(self) -> str:
        answer = await self.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}]
        )
        return answer.choices[0].message.content

    async def stream(self) -> str:
        chunks = await self.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        deltas = [chunk.choices[0].delta.content async for chunk in chunks if chunk.choices]
        return "".join(filter(None, deltas))


class OpenAIRaised(OpenAI):
    """The openai SDK with room and time for all calls at once."""

    def _client(self) -> AsyncOpenAI:
        import openai

        # Newer releases are built on httpx2.
        make = getattr(openai, "DefaultAsyncHttpx2Client", openai.DefaultAsyncHttpxClient)
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=None, max_keepalive_connections=100
        )
        return openai.AsyncOpenAI(
            base_url=self.url,
            api_key=KEY,
            max_retries=0,
            timeout=PATIENCE,
            http_client=make(limits=limits, timeout=PATIENCE),
        )


class PydanticAI(Peer):
    """pydantic-ai's model layer, without an agent around it."""

    async def __aenter__(self) -> Self:
        from pydantic_ai import direct
        from pydantic_ai.messages import ModelRequest, PartDeltaEvent, TextPart
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        self.direct, self.part, self.delta = direct, TextPart, PartDeltaEvent
        self.model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=self.url, api_key=KEY))
        self.messages = [ModelRequest.user_text_prompt(QUESTION)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.model.client.close()

    def _text(self, parts: object) -> str:
        return "".join(part.content for part in parts if isinstance(part, self.part))

    async def plain(self) -> str:
        answer = await self.direct.model_request(self.model, self.messages)
        return self._text(answer.parts)

    async def stream(self) -> str:
        async with self.direct.model_request_stream(self.model, self.messages) as events:
            seen = 0
            async for event in events:
                seen += isinstance(event, self.delta)
        return self._text(events.get().parts)


PEERS: dict[str, type[Peer]] = {
    "kimi": Kimi,
    "kimi-whole": KimiWhole,
    "httpx": Httpx,
    "openai": OpenAI,
    "openai-raised": OpenAIRaised,
    "pydantic-ai": PydanticAI,
}

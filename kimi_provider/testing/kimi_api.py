"""The Kimi API: chat, models, tokens, balance."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.testing import mind, wire
from kimi_provider.testing.answers import usage
from kimi_provider.testing.effects import ClientLeftError, send_whole
from kimi_provider.testing.faults import OUT_OF_BALANCE
from kimi_provider.testing.models import listing
from kimi_provider.testing.refusal import RefusalError
from kimi_provider.testing.scenarios import calls_made
from kimi_provider.testing.strict import check_chat, find_model, max_tokens
from kimi_provider.testing.tokens import count_prompt, prompt_blob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.testing.answers import Answer
    from kimi_provider.testing.effects import Receive, Send
    from kimi_provider.testing.exchange import Exchange
    from kimi_provider.testing.state import State

# Unpaced streams let others have a turn after so many events.
_YIELD_EVERY = 32
_EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
]


def authorize(exchange: Exchange) -> str:
    """Return the bearer key's hash.

    :raises RefusalError: 401 if the key is absent, or begins with ``wrong``.
    """
    key = exchange.bearer
    if not key:
        raise RefusalError(
            "Invalid Authentication", status=401, error_type="invalid_authentication_error"
        )
    if key.startswith("wrong"):
        raise RefusalError(
            "Incorrect API key provided", status=401, error_type="incorrect_api_key_error"
        )
    return exchange.call.key_hash


def decode_object(content: bytes) -> dict[str, Any]:
    """Return the JSON object of a request.

    :raises RefusalError: 400 if it is none.
    """
    try:
        value = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise RefusalError(f"Invalid request: the body is no valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusalError("Invalid request: the body must be a JSON object")
    return value


def complete(body: dict[str, Any], state: State, owner: str) -> tuple[Answer, wire.Envelope]:
    """Return the answer to a chat request, and what it is sent in.

    :param owner: whose prompt cache it uses: the key's hash.
    :raises RefusalError: if the API would refuse the request.
    """
    dialect = state.scenarios.dialect
    body, model, prompt = check_chat(body, reasoning_key=dialect.reasoning_key)
    if state.balance <= 0:
        raise RefusalError(OUT_OF_BALANCE, status=429, error_type="exceeded_current_quota_error")
    stop = body.get("stop") or ()
    answer = mind.answer(body, model, state.scenarios).shaped(
        thinks=model.thinks(body),
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        limit=max_tokens(body, model),
    )
    choices = body.get("n") or 1
    cached = state.cache.read_and_store(f"{owner}/{model.id}", prompt_blob(body), prompt)
    options = body.get("stream_options") or {}
    envelope = wire.Envelope(
        model=model.id,
        tool_offset=calls_made(body),
        usage=usage(answer, prompt, cached, choices, cache_writes=model.id == "kimi-k3"),
        choices=choices,
        include_usage=bool(options.get("include_usage")),
        dialect=dialect,
    )
    return answer, envelope


async def chat(exchange: Exchange, receive: Receive, send: Send) -> None:
    """Answer ``POST /v1/chat/completions``."""
    del receive
    owner = authorize(exchange)
    body = decode_object(exchange.body)
    answer, envelope = complete(body, exchange.state, owner)
    ids = {"Msh-Request-Id": str(uuid.uuid4()), "X-Msh-Trace-Id": uuid.uuid4().hex}
    if not body.get("stream"):
        if exchange.state.answer_delay:
            await asyncio.sleep(exchange.state.answer_delay)
        await send_whole(
            send,
            200,
            wire.body(answer, envelope),
            {"Content-Type": "application/json; charset=utf-8", **ids},
        )
        return
    headers = [*_EVENT_STREAM, *((name.lower().encode(), value.encode()) for name, value in ids.items())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    delay = exchange.state.chunk_delay if answer.chunk_delay is None else answer.chunk_delay
    await _stream(wire.events(answer, envelope), delay, exchange.transport, send)


async def _stream(
    events: Iterator[bytes], delay: float, transport: asyncio.Transport, send: Send
) -> None:
    for number, event in enumerate(events):
        if delay:
            await asyncio.sleep(delay)
        elif number % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
        if transport.is_closing():
            raise ClientLeftError
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def models(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v1/models``."""
    authorize(exchange)
    return 200, listing()


async def estimate(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``POST /v1/tokenizers/estimate-token-count``."""
    authorize(exchange)
    body = decode_object(exchange.body)
    find_model(body.get("model"))
    if not isinstance(body.get("messages"), list):
        raise RefusalError("Invalid request: messages must not be empty")
    return 200, {"data": {"total_tokens": count_prompt(body)}}


async def balance(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v1/users/me/balance``."""
    authorize(exchange)
    amount = exchange.state.balance
    data = {"available_balance": amount, "voucher_balance": 0.0, "cash_balance": amount}
    return 200, {"code": 0, "data": data, "scode": "0x0", "status": True}

"""OpenTelemetry: a span and two measurements for each call of the model, a span for each tool.

Names and attributes are those of OpenTelemetry's semantic conventions for generative AI (1.41). Where
nobody collects telemetry, the API's no-op tracer and meter make this nearly free.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from kimi_provider.client.request import max_tokens, model_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Span

    from kimi_provider.client.config import ClientConfig
    from kimi_provider.client.messages import ChatRequest, ChatResult, Message

CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The conventions' switch for prompts and answers in spans; without it there is none of either."""

_SCOPE = "kimi_provider"

# Boundaries that the conventions advise, in tokens and in seconds.
_TOKENS = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576)
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)


@contextmanager
def call_span(request: ChatRequest, config: ClientConfig) -> Iterator[Callable[[ChatResult], None]]:
    """Wrap a call of the model in a span; call what is given with the result.

    :param request: what is asked.
    :param config: the connection's settings, for the model and the host.
    """
    from opentelemetry import trace
    from opentelemetry.trace import SpanKind

    model, host = model_of(request, config), urlsplit(config.base_url)
    common: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": config.host.name,
        "gen_ai.request.model": model,
        "server.address": host.hostname or "",
    }
    if host.port:
        common["server.port"] = host.port
    asked = {"gen_ai.request.max_tokens": max_tokens(request, config), "gen_ai.request.stream": True}
    attributes = common | {name: value for name, value in asked.items() if value is not None}
    began = time.monotonic()
    error: dict[str, Any] = {}
    tracer = trace.get_tracer(_SCOPE)
    started = tracer.start_as_current_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes)
    with started as span:
        if _captures_content():
            span.set_attribute("gen_ai.input.messages", _json(request.messages))

        def answered(result: ChatResult) -> None:
            common["gen_ai.response.model"] = result.model
            _describe(span, result)
            _count_tokens(result, common)

        try:
            yield answered
        except BaseException as failure:
            error = {"error.type": type(failure).__name__}
            span.set_attributes(error)
            raise
        finally:
            _histogram("gen_ai.client.operation.duration", "s", _SECONDS).record(
                time.monotonic() - began, common | error
            )


@contextmanager
def tool_span(name: str, call_id: str) -> Iterator[None]:
    """Wrap a tool that the model calls in a span."""
    from opentelemetry import trace

    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.id": call_id,
    }
    with trace.get_tracer(_SCOPE).start_as_current_span(f"execute_tool {name}", attributes=attributes):
        yield


def _describe(span: Span, result: ChatResult) -> None:
    usage = result.usage
    span.set_attributes(
        {
            "gen_ai.response.model": result.model,
            "gen_ai.response.finish_reasons": [result.finish_reason or "unknown"],
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
            "kimi.request_ids": list(result.request_ids),
        }
    )
    if result.request_ids:
        span.set_attribute("gen_ai.response.id", result.request_ids[-1])
    if result.time_to_first_token is not None:
        span.set_attribute("gen_ai.response.time_to_first_chunk", result.time_to_first_token)
    if usage.cost_usd is not None:
        span.set_attribute("kimi.cost_usd", float(usage.cost_usd))
    if _captures_content():
        span.set_attribute("gen_ai.output.messages", _json((result.message,)))


def _count_tokens(result: ChatResult, common: dict[str, Any]) -> None:
    histogram = _histogram("gen_ai.client.token.usage", "{token}", _TOKENS)
    for kind, tokens in (
        ("input", result.usage.input_tokens),
        ("output", result.usage.output_tokens),
    ):
        histogram.record(tokens, common | {"gen_ai.token.type": kind})


def _histogram(name: str, unit: str, boundaries: tuple[float, ...]) -> Any:
    from opentelemetry import metrics

    # The API returns the same instrument for the same name.
    return metrics.get_meter(_SCOPE).create_histogram(
        name, unit=unit, explicit_bucket_boundaries_advisory=boundaries
    )


def _captures_content() -> bool:
    return os.environ.get(CAPTURE_CONTENT, "").strip().lower() in {"true", "1"}


def _json(messages: tuple[Message, ...]) -> str:
    """Write messages in the form of the conventions: a role, and parts."""
    return msgspec.json.encode([{"role": m.role, "parts": _parts(m)} for m in messages]).decode()


def _parts(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": message.content}]
    parts: list[dict[str, Any]] = []
    if message.reasoning:
        parts.append({"type": "reasoning", "content": message.reasoning})
    if message.content:
        parts.append({"type": "text", "content": message.content})
    parts += [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]
    return parts

"""OpenTelemetry: a span and measurements for each call of the model, a span for each tool and agent.

Names and attributes are those of OpenTelemetry's semantic conventions for generative AI (1.41). Where
nobody collects telemetry, the API's no-op tracer and meter make this nearly free.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class CallReport:
    """What is told of a call that has ended; nothing of what was asked and answered.

    ``error`` is the name of the exception's class, ``result`` is there where there is none.
    ``attempts`` says how often the call was tried, ``seconds`` how long all of it took.
    """

    model: str
    provider: str
    seconds: float
    attempts: int
    request_ids: tuple[str, ...]
    result: ChatResult | None = None
    error: str | None = None


@contextmanager
def call_span(
    request: ChatRequest, config: ClientConfig, on_end: Callable[[CallReport], None]
) -> Iterator[Callable[[ChatResult], None]]:
    """Wrap a call of the model in a span; call what is given with the result.

    :param request: what is asked.
    :param config: the connection's settings, for the model and the host.
    :param on_end: gets the call's report, however it ended.
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
    got: ChatResult | None = None
    last: object = None
    tracer = trace.get_tracer(_SCOPE)
    started = tracer.start_as_current_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes)
    with started as span:
        if _captures_content():
            span.set_attribute("gen_ai.input.messages", _json(request.messages))

        def answered(result: ChatResult) -> None:
            nonlocal got
            got = result
            common["gen_ai.response.model"] = result.model
            _describe(span, result)
            _measure(result, common)

        try:
            yield answered
        except BaseException as failure:
            last, error = failure, {"error.type": type(failure).__name__}
            span.set_attributes(error)
            raise
        finally:
            seconds = time.monotonic() - began
            _histogram("gen_ai.client.operation.duration", "s", _SECONDS).record(seconds, common | error)
            report = CallReport(
                model=model,
                provider=config.host.name,
                seconds=seconds,
                attempts=getattr(got or last, "attempts", 1),
                request_ids=tuple(getattr(got or last, "request_ids", ())),
                result=got,
                error=error.get("error.type"),
            )
            span.set_attribute("kimi.attempts", report.attempts)
            if report.request_ids:
                span.set_attribute("kimi.request_ids", report.request_ids)
            on_end(report)


@contextmanager
def agent_span() -> Iterator[None]:
    """Wrap a run with tools in a span: the parent of its calls and tools."""
    from opentelemetry import trace

    attributes = {"gen_ai.operation.name": "invoke_agent"}
    with trace.get_tracer(_SCOPE).start_as_current_span("invoke_agent", attributes=attributes):
        yield


@contextmanager
def tool_span(name: str, call_id: str) -> Iterator[Callable[[str], None]]:
    """Wrap a tool that the model calls in a span; call what is given with what went wrong.

    What went wrong is a word, since what a tool says goes to the model and may be of the data.
    """
    from opentelemetry import trace

    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.id": call_id,
    }
    tracer = trace.get_tracer(_SCOPE)
    with tracer.start_as_current_span(f"execute_tool {name}", attributes=attributes) as span:

        def failed(kind: str) -> None:
            span.set_attribute("error.type", kind)
            span.set_status(trace.StatusCode.ERROR)

        yield failed


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


def _measure(result: ChatResult, common: dict[str, Any]) -> None:
    if result.time_to_first_token is not None:
        first = _histogram("gen_ai.client.operation.time_to_first_chunk", "s", _SECONDS)
        first.record(result.time_to_first_token, common)
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

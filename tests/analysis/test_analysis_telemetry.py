"""Spans and measurements of calls, as a collector would get them."""

from __future__ import annotations

import asyncio
import json

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kimi_provider.analysis.agent import run_agent
from kimi_provider.analysis.budget import Budget
from kimi_provider.analysis.caller import Caller
from kimi_provider.analysis.telemetry import CAPTURE_CONTENT
from kimi_provider.analysis.tools import tool
from kimi_provider.analysis.trace import Trace
from kimi_provider.client import ChatRequest, ClientConfig, KimiClient, Message
from kimi_provider.exceptions import BadRequestError
from kimi_provider.testing import Simulator


@pytest.fixture
def collected(monkeypatch):
    """Collect for one test, whatever a process-wide provider is."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", tracers.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", meters.get_meter)
    monkeypatch.delenv(CAPTURE_CONTENT, raising=False)
    return exporter, reader


@pytest.fixture
def simulator():
    with Simulator() as simulator:
        yield simulator


def run(simulator, work):
    async def main():
        config = ClientConfig.from_mapping(
            base_url=simulator.kimi_url, api_key="sk-any", model="kimi-k2-thinking", extra={}
        )
        async with KimiClient(config) as client:
            return await work(Caller(client, budget=Budget(), trace=Trace()))

    return asyncio.run(main())


def ask(text="A private question."):
    return ChatRequest(messages=(Message.user(text),))


def test_a_call_is_a_span_with_what_it_took_and_without_its_content(collected, simulator):
    result = run(simulator, lambda caller: caller.complete(ask()))
    (span,) = collected[0].get_finished_spans()

    assert span.name == "chat kimi-k2-thinking"
    assert span.attributes["gen_ai.operation.name"] == "chat"
    assert span.attributes["gen_ai.request.model"] == "kimi-k2-thinking"
    assert span.attributes["gen_ai.usage.input_tokens"] == result.usage.input_tokens
    assert span.attributes["gen_ai.usage.output_tokens"] == result.usage.output_tokens
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert span.attributes["kimi.request_ids"] == result.request_ids
    assert span.attributes["server.address"] == "127.0.0.1"
    told = span.to_json()
    assert "private question" not in told
    assert result.text not in told
    assert "sk-any" not in told


def test_content_is_there_when_asked_for(collected, simulator, monkeypatch):
    monkeypatch.setenv(CAPTURE_CONTENT, "true")
    result = run(simulator, lambda caller: caller.complete(ask()))
    (span,) = collected[0].get_finished_spans()

    (asked,) = json.loads(span.attributes["gen_ai.input.messages"])
    assert asked == {"role": "user", "parts": [{"type": "text", "content": "A private question."}]}
    assert result.text in span.attributes["gen_ai.output.messages"]


def test_tokens_and_seconds_are_measured(collected, simulator):
    result = run(simulator, lambda caller: caller.complete(ask()))
    data = collected[1].get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    measured = {metric.name: metric.data.data_points for metric in data}

    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in measured["gen_ai.client.token.usage"]}
    assert tokens == {"input": result.usage.input_tokens, "output": result.usage.output_tokens}
    (duration,) = measured["gen_ai.client.operation.duration"]
    assert duration.count == 1
    assert duration.sum > 0


def test_a_failure_names_its_kind(collected, simulator):
    simulator.faults.add("/v1/chat", "content_filter")
    with pytest.raises(BadRequestError):
        run(simulator, lambda caller: caller.complete(ask()))
    (span,) = collected[0].get_finished_spans()

    assert span.attributes["error.type"] == "ContentFilterError"
    assert not span.status.is_ok


def test_a_tool_is_a_span_of_its_own(collected, simulator):
    @tool
    def look_up(name: str) -> str:
        """Look a name up.

        :param name: the name.
        """
        return f"{name} is known"

    simulator.script("tools", steps=1, tool="look_up", arguments={"name": "n"})
    run(simulator, lambda caller: run_agent(caller, ask(), [look_up]))
    names = [span.name for span in collected[0].get_finished_spans()]

    chat = "chat kimi-k2-thinking"
    assert names == [chat, "execute_tool look_up", chat, "invoke_agent"]
    *parts, whole = collected[0].get_finished_spans()
    assert {span.parent.span_id for span in parts} == {whole.context.span_id}

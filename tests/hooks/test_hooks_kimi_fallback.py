from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest

from kimi_provider.analysis.budget import Budget
from kimi_provider.analysis.trace import Trace
from kimi_provider.client import ChatRequest, Finished, Message, Restarted, TextDelta
from kimi_provider.exceptions import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    OverloadedError,
    RateLimitError,
    ServerError,
)
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESTION = ChatRequest(messages=(Message.user("planted-prompt-4711"),))
CHAT = "/chat/completions"
DEAD = "http://127.0.0.1:9/v1"


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Simulator, Simulator]]:
    with Simulator() as first, Simulator() as second:
        yield first, second


@pytest.fixture
def hosts(running, monkeypatch: pytest.MonkeyPatch) -> tuple[Simulator, Simulator]:
    for name, simulator in zip(("FIRST", "SECOND"), running, strict=True):
        simulator.reset()
        set_connection(monkeypatch, name, simulator.kimi_url)
    set_connection(monkeypatch, "DEAD", DEAD)
    return running


def set_connection(monkeypatch, name: str, url: str, key: str = "sk-planted-4711", **extra: object):
    extra = {"model": "kimi-k2-thinking", "max_attempts": 1, **extra}
    connection = {"conn_type": "kimi", "host": url, "password": key, "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


@pytest.mark.parametrize(
    "fault", ["overloaded", "server_error", "html_502", "close_before", "unavailable"]
)
def test_a_host_that_is_down_is_passed_over(hosts, fault: str, caplog) -> None:
    first, second = hosts
    first.faults.add("/v1/chat", fault, times=None)
    result = KimiHook("first", fallback_conn_ids=["dead", "second"]).complete(QUESTION)
    assert "planted-prompt" in result.text
    assert (first.calls.count(CHAT), second.calls.count(CHAT)) == (1, 1)
    assert "Connection 'first' is down" in caplog.text
    assert "Connection 'dead' is down" in caplog.text


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("unauthorized", AuthenticationError),
        ("content_filter", BadRequestError),
        ("rate_limit", RateLimitError),
        ("quota", RateLimitError),
        ("html_200", APIError),
    ],
)
def test_a_host_that_refuses_has_answered(hosts, fault: str, error: type[APIError]) -> None:
    first, second = hosts
    first.faults.add("/v1/chat", fault)
    with pytest.raises(error):
        KimiHook("first", fallback_conn_ids="second").complete(QUESTION)
    assert second.calls.count(CHAT) == 0


def test_the_hosts_own_retries_come_first(hosts, monkeypatch) -> None:
    first, second = hosts
    set_connection(monkeypatch, "FIRST", first.kimi_url, max_attempts=2)
    first.faults.add("/v1/chat", "server_error")
    KimiHook("first", fallback_conn_ids="second").complete(QUESTION)
    assert (first.calls.count(CHAT), second.calls.count(CHAT)) == (2, 0)


def test_the_connection_can_name_its_fallbacks(hosts, monkeypatch) -> None:
    _, second = hosts
    set_connection(monkeypatch, "DEAD", DEAD, fallback_conn_ids="dead, second")
    assert "planted-prompt" in KimiHook("dead").complete(QUESTION).text
    with pytest.raises(APIConnectionError):
        KimiHook("dead", fallback_conn_ids=[]).complete(QUESTION)
    assert second.calls.count(CHAT) == 1


def test_a_fallback_asks_for_its_own_model(hosts, monkeypatch) -> None:
    _, second = hosts
    set_connection(monkeypatch, "SECOND", second.kimi_url, model="kimi-k2.6")
    hook = KimiHook("dead", model="kimi-k2-thinking", fallback_conn_ids=["second"])
    assert hook.complete(QUESTION).model == "kimi-k2.6"
    request = ChatRequest(messages=QUESTION.messages, model="kimi-k2-thinking-turbo")
    assert hook.complete(request).model == "kimi-k2.6"


def test_if_all_are_down_the_error_names_them(hosts) -> None:
    first, second = hosts
    first.faults.add("/v1/chat", "overloaded")
    second.faults.add("/v1/chat", "server_error")
    with pytest.raises(ServerError) as caught:
        KimiHook("first", fallback_conn_ids=["second"]).complete(QUESTION)
    (note,) = caught.value.__notes__
    assert "'first' (OverloadedError), 'second' (ServerError)" in note
    assert "4711" not in note


def test_a_missing_or_wrong_fallback_is_found_before_it_is_needed(hosts, monkeypatch) -> None:
    set_connection(monkeypatch, "SECOND", DEAD, key="")
    with pytest.raises(ConfigurationError, match="'second'"):
        KimiHook("first", fallback_conn_ids=["second"]).get_conn()
    with pytest.raises(ConfigurationError, match="fallback_conn_ids"):
        KimiHook("first", fallback_conn_ids=[4711]).get_conn()  # type: ignore[list-item]


def test_the_one_that_answered_is_asked_first_from_then_on_and_traced(hosts, tmp_path: Path) -> None:
    first, second = hosts
    first.faults.add("/v1/chat", "overloaded")
    hook = KimiHook("first", fallback_conn_ids=["second"])
    trace = Trace()

    async def go() -> None:
        async with hook.caller(
            tmp_path, trace=trace, budget=Budget(), on_progress=lambda _: None
        ) as caller:
            for number in range(3):
                await caller.complete(ChatRequest(messages=(Message.user(f"{number}?"),)))

    asyncio.run(go())
    assert (first.calls.count(CHAT), second.calls.count(CHAT)) == (1, 3)
    entries = trace.as_dict()["entries"]
    assert [e["answered"] for e in entries if e["kind"] == "connection"] == ["second"] * 3


def test_what_was_streamed_by_a_host_that_broke_off_is_void(hosts) -> None:
    first, _ = hosts
    first.faults.add("/v1/chat", "cut", at_event=3)
    events: list = []

    async def go():
        async with KimiHook("first", fallback_conn_ids=["second"]).get_conn() as client:
            return await client.complete(QUESTION, on_event=events.append)

    result = asyncio.run(go())
    restart = next(n for n, event in enumerate(events) if isinstance(event, Restarted))
    assert "".join(e.text for e in events[restart:] if isinstance(e, TextDelta)) == result.text


def test_a_stream_falls_back_until_its_first_piece(hosts) -> None:
    first, second = hosts
    hook = KimiHook("first", fallback_conn_ids=["second"])

    async def read() -> list:
        return [event async for event in hook.astream(QUESTION)]

    first.faults.add("/v1/chat", "overloaded")
    events = asyncio.run(read())
    assert isinstance(events[-1], Finished)
    assert second.calls.count(CHAT) == 1
    first.faults.add("/v1/chat", "cut", at_event=3)
    with pytest.raises(APIConnectionError):
        asyncio.run(read())
    assert second.calls.count(CHAT) == 1


def test_a_schema_is_sent_only_where_all_hosts_take_it(hosts, monkeypatch) -> None:
    first, second = hosts
    takes_it = {"host_options": {"json_schema": True}, "model": "kimi-k2.6"}
    set_connection(monkeypatch, "FIRST", first.kimi_url, **takes_it)
    assert KimiHook("first").get_conn().native_schema()
    assert not KimiHook("first", fallback_conn_ids=["second"]).get_conn().native_schema()
    set_connection(monkeypatch, "SECOND", second.kimi_url, **takes_it)
    assert KimiHook("first", fallback_conn_ids=["second"]).get_conn().native_schema()


def test_nothing_secret_is_logged(hosts, caplog) -> None:
    caplog.set_level(logging.INFO)
    KimiHook("dead", fallback_conn_ids=["second"]).complete(QUESTION)
    assert "is down" in caplog.text
    assert "4711" not in caplog.text


def test_overload_is_what_the_retry_policy_sees(hosts) -> None:
    first, _ = hosts
    first.faults.add("/v1/chat", "overloaded", retry_after=600)
    with pytest.raises(OverloadedError) as caught:
        KimiHook("dead", fallback_conn_ids=["first"]).complete(QUESTION)
    assert caught.value.retry_after == 600

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from kimi_provider.client import ChatRequest, Message, TextDelta
from kimi_provider.exceptions import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
)
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-planted-key-4711"
QUESTION = ChatRequest(messages=(Message.user("planted-prompt-4711"),))


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    running.reset()
    return running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, simulator: Simulator):
    def set_connection(*, extra: dict | None = None, **parts: object) -> KimiHook:
        values = {"conn_type": "kimi", "password": KEY, "host": simulator.kimi_url, **parts}
        values["extra"] = {"model": "kimi-k2-thinking", "max_attempts": 1, **(extra or {})}
        monkeypatch.setenv("AIRFLOW_CONN_KIMI_DEFAULT", json.dumps(values))
        return KimiHook()

    return set_connection


def test_importing_the_hook_loads_nothing_but_airflow() -> None:
    code = (
        "import sys; from airflow.sdk import BaseOperator; before = set(sys.modules);"
        "import kimi_provider.hooks.kimi; new = set(sys.modules) - before;"
        "print(sorted(m for m in new if not m.startswith(('airflow', 'kimi_provider'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_connection_as_json_gives_a_client_that_answers(connect, simulator: Simulator) -> None:
    result = connect().complete(QUESTION)
    assert "planted-prompt-4711" in result.text
    assert result.model == "kimi-k2-thinking"
    assert simulator.calls.count("/chat/completions") == 1


@pytest.mark.parametrize("whole_url", [True, False], ids=["whole url", "parts"])
def test_a_connection_as_a_uri_gives_the_same(
    monkeypatch, simulator: Simulator, whole_url: bool
) -> None:
    host = quote(simulator.kimi_url, safe="") if whole_url else simulator.url.removeprefix("http://")
    extra = quote(json.dumps({"model": "kimi-k2.6"}))
    monkeypatch.setenv("AIRFLOW_CONN_KIMI_DEFAULT", f"kimi://:{KEY}@{host}/http?__extra__={extra}")
    client = KimiHook().get_conn()
    assert client.config.base_url == (simulator.kimi_url if whole_url else simulator.url)
    assert (client.config.api_key, client.config.model) == (KEY, "kimi-k2.6")


def test_within_an_event_loop_the_hook_is_awaited(connect) -> None:
    hook = connect()
    assert "planted-prompt-4711" in asyncio.run(hook.acomplete(QUESTION)).text


@pytest.mark.parametrize(
    ("preset", "url"),
    [
        ("cometapi", "https://api.cometapi.com/v1"),
        ("moonshot", "https://api.moonshot.ai/v1"),
        ("openrouter", "https://openrouter.ai/api/v1"),
    ],
)
def test_a_preset_fills_in_the_url(connect, preset: str, url: str) -> None:
    config = connect(host=None, extra={"host": preset}).get_conn().config
    assert (config.host.name, config.base_url) == (preset, url)


def test_the_hooks_model_wins_over_the_connections(connect) -> None:
    connect()
    assert KimiHook(model="kimi-k2.6").get_conn().config.model == "kimi-k2.6"


def test_empty_form_fields_count_as_absent(connect) -> None:
    config = connect(extra={"host": "", "max_concurrency": None, "idle_timeout": ""}).get_conn().config
    assert config.idle_timeout == 300
    assert config.max_concurrency is None


def test_airflow_finds_the_hook_by_the_connections_type(connect) -> None:
    connect()
    assert isinstance(BaseHook.get_hook("kimi_default"), KimiHook)


def test_a_missing_connection_is_airflows_own_error() -> None:
    with pytest.raises(AirflowNotFoundException):
        KimiHook("nowhere").get_conn()


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"extra": {"max_attempts": "many"}}, "max_attempts"),
        ({"extra": {"modle": "x"}}, "model"),
        ({"extra": {"model": ""}}, "names no model"),
        ({"password": ""}, "password"),
        ({"host": "ftp://somewhere.test"}, "base_url"),
    ],
)
def test_a_wrong_connection_is_named_before_anything_is_asked(connect, parts, named, simulator) -> None:
    with pytest.raises(ConfigurationError, match="'kimi_default'") as caught:
        connect(**parts).complete(QUESTION)
    assert named in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(simulator.calls) == 0


def test_the_key_is_masked_in_logs(connect, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow.sdk.log.mask_secret", lambda secret, *_: masked.append(secret))
    # Airflow masks the password as it stands; what is sent has its blanks taken off.
    connect(password=f" {KEY}\n").get_conn()
    assert KEY in masked


def test_neither_key_nor_prompt_nor_reply_is_logged_or_raised(connect, simulator, caplog) -> None:
    caplog.set_level(logging.INFO)
    hook = connect(extra={"max_attempts": 2, "host_options": {"side_endpoints": True}})
    simulator.script("answers", answers=[{"content": "planted-reply-4711"}])
    simulator.faults.add("/v1/chat", "rate_limit", retry_after=0)
    assert hook.complete(QUESTION).text == "planted-reply-4711"
    simulator.faults.add("/v1/chat", "unauthorized")
    with pytest.raises(AuthenticationError) as refused:
        hook.complete(QUESTION)
    for text in (caplog.text, str(refused.value), repr(hook.get_conn())):
        assert "4711" not in text
    assert "attempt 1 of 2" in caplog.text


# --- the connection test --------------------------------------------------------------------------


def test_the_connection_test_finds_the_model(connect, simulator: Simulator) -> None:
    ok, message = connect().test_connection()
    assert ok, message
    assert "kimi-k2-thinking" in message
    assert simulator.calls.count("/chat") == 0


def test_the_connection_test_tells_of_a_wrong_key(connect) -> None:
    ok, message = connect(password="wrong-key-4711").test_connection()
    assert not ok
    assert "AuthenticationError" in message
    assert "key" in message
    assert "4711" not in message


def test_the_connection_test_lists_what_there_is_in_place_of_an_unknown_model(connect) -> None:
    ok, message = connect(extra={"model": "kimi-k9"}).test_connection()
    assert not ok
    assert "'kimi-k9'" in message
    assert "kimi-k2-thinking" in message


def test_the_connection_test_tells_of_an_empty_account(connect, simulator: Simulator) -> None:
    hook = connect(extra={"host_options": {"side_endpoints": True}})
    assert "49.58" in hook.test_connection()[1]
    simulator.balance = 0
    ok, message = hook.test_connection()
    assert not ok
    assert "balance" in message


def test_the_connection_test_tells_of_a_host_that_is_down(connect) -> None:
    ok, message = connect(host="http://127.0.0.1:9/v1").test_connection()
    assert not ok
    assert "APIConnectionError" in message


def test_an_unknown_model_names_those_that_the_host_has(connect) -> None:
    with pytest.raises(NotFoundError, match="kimi-k2-thinking"):
        connect(extra={"model": "kimi-k2-thinkin"}).complete(QUESTION)


def test_the_connection_test_does_without_a_balance(connect, simulator: Simulator) -> None:
    simulator.faults.add("/v1/users/me/balance", "not_found")
    ok, message = connect(extra={"host_options": {"side_endpoints": True}}).test_connection()
    assert ok
    assert "tells no balance (NotFoundError)" in message


def test_the_connection_test_is_about_this_connection_alone(connect) -> None:
    hook = connect(extra={"fallback_conn_ids": ["nowhere"]})
    assert hook.test_connection()[0]
    with pytest.raises(AirflowNotFoundException):
        hook.get_conn()


# --- the host's other endpoints -------------------------------------------------------------------


def test_a_stream_ends_with_the_whole_answer(connect) -> None:
    hook = connect()

    async def read() -> list:
        return [event async for event in hook.astream(QUESTION)]

    for events in (asyncio.run(read()), [*hook.stream(QUESTION)]):
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert "planted-prompt-4711" in text
        assert events[-1].result.text == text


def test_a_stream_that_breaks_gives_what_came_and_then_the_error(connect, simulator) -> None:
    simulator.faults.add("/v1/chat", "cut", at_event=6)
    stream = connect().stream(QUESTION)
    assert next(stream)
    with pytest.raises(APIConnectionError):
        list(stream)


def test_a_stream_left_early_is_closed(connect, simulator: Simulator) -> None:
    simulator.script("long", reasoning_events=5000, chunk_delay=0.01)
    stream = connect().stream(QUESTION)
    next(stream)
    stream.close()
    deadline = time.monotonic() + 10
    while simulator.calls.in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    assert simulator.calls.in_flight == 0


def test_the_other_endpoints_from_outside_and_from_within_an_event_loop(connect) -> None:
    hook = connect(extra={"host_options": {"side_endpoints": True}})

    async def ask() -> tuple:
        return (
            await hook.amodels(),
            await hook.abalance(),
            await hook.aestimate_tokens(QUESTION),
            (await hook.aupload_file("a.txt", b"text")).bytes,
        )

    outside = (
        hook.models(),
        hook.balance(),
        hook.estimate_tokens(QUESTION),
        hook.upload_file("a.txt", b"text").bytes,
    )
    assert outside == asyncio.run(ask())
    models, balance, tokens, size = outside
    assert "kimi-k2-thinking" in {model.id for model in models}
    assert float(balance.available) == 49.58
    assert tokens > 0
    assert size == 4


def test_a_host_without_an_endpoint_says_so(connect) -> None:
    with pytest.raises(ConfigurationError, match="balance endpoint"):
        connect().balance()

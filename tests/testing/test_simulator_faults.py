"""Faults on the wire: each kind does to a bare client what it says."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing import Fault
from kimi_provider.testing.effects import BOMB_BYTES
from kimi_provider.testing.faults import ERRORS, KINDS, PAGES

CHAT = "/v1/chat/completions"
BODY = {"model": "kimi-k2-thinking", "messages": [{"role": "user", "content": "Hello"}]}
STREAM = {**BODY, "stream": True}
MAIL = {
    "personalizations": [{"to": [{"email": "a@example.com"}]}],
    "from": {"email": "reports@example.com"},
    "subject": "Report",
    "content": [{"type": "text/plain", "value": "x"}],
}


def streamed(kimi: httpx.Client) -> bytes:
    with kimi.stream("POST", "/chat/completions", json=STREAM) as response:
        return b"".join(response.iter_raw())


def gather(response: httpx.Response, into: bytearray) -> None:
    for part in response.iter_raw():
        into += part


def send(simulator, **options) -> httpx.Response:
    headers = {"Authorization": "Bearer SG.key"}
    return httpx.post(f"{simulator.sendgrid_url}/v3/mail/send", json=MAIL, headers=headers, **options)


@pytest.mark.parametrize("kind", sorted(ERRORS))
@pytest.mark.parametrize("body", [BODY, STREAM], ids=["plain", "streamed"])
def test_errors_in_the_services_own_words(simulator, kimi, kind, body):
    simulator.faults.add(CHAT, kind)
    response = kimi.post("/chat/completions", json=body)
    status, error_type, message = ERRORS[kind]
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["message"]) == (status, error_type, message)
    assert "retry-after" not in response.headers
    assert kimi.post("/chat/completions", json=BODY).status_code == 200
    assert next(iter(simulator.calls)).outcome == f"fault:{kind}"


@pytest.mark.parametrize("kind", sorted(PAGES))
def test_pages_of_a_proxy(simulator, kimi, kind):
    simulator.faults.add(CHAT, kind)
    response = kimi.post("/chat/completions", json=BODY)
    assert response.status_code == PAGES[kind][0]
    assert response.headers["content-type"] == "text/html"
    assert response.text.startswith("<html>")


def test_retry_after_in_seconds_and_as_a_date(simulator, kimi):
    simulator.faults.add(CHAT, "rate_limit", retry_after=2)
    assert kimi.post("/chat/completions", json=BODY).headers["retry-after"] == "2"
    simulator.faults.add(CHAT, "overloaded", retry_after="date")
    header = kimi.post("/chat/completions", json=BODY).headers["retry-after"]
    assert 0 < parsedate_to_datetime(header).timestamp() - time.time() <= 2


def test_each_service_words_errors_in_its_own_form(simulator):
    simulator.faults.add("/v3/", "rate_limit")
    simulator.faults.add("/data/", "unavailable", retry_after=1)
    assert send(simulator).json()["errors"][0]["message"]
    response = httpx.get(f"{simulator.data_url}/flights")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json() == {"error": "Service temporarily unavailable"}


def test_times_and_after_choose_the_calls(simulator, kimi):
    simulator.faults.add(CHAT, "server_error", times=2, after=1)
    statuses = [kimi.post("/chat/completions", json=BODY).status_code for _ in range(5)]
    assert statuses == [200, 500, 500, 200, 200]
    assert kimi.get("/models").status_code == 200
    simulator.faults.add(CHAT, "server_error", times=None)
    assert {kimi.post("/chat/completions", json=BODY).status_code for _ in range(3)} == {500}


def test_an_error_inside_a_200(simulator, kimi):
    simulator.faults.add(CHAT, "error_in_200")
    response = kimi.post("/chat/completions", json=STREAM)
    assert response.status_code == 200
    assert response.json()["error"]["message"]


def test_an_answer_of_the_tests_own(simulator, kimi):
    body = '{"error":{"code":"","message":"model name is required"}}'
    simulator.faults.add(CHAT, "answer", status=418, body=body, headers={"X-Own": "1"})
    response = kimi.post("/chat/completions", json=BODY)
    assert (response.status_code, response.text, response.headers["x-own"]) == (418, body, "1")


def test_a_redirect_to_another_host(simulator, kimi):
    simulator.faults.add(CHAT, "redirect", body="http://127.0.0.1:1/stolen")
    response = kimi.post("/chat/completions", json=BODY)
    assert (response.status_code, response.headers["location"]) == (307, "http://127.0.0.1:1/stolen")


def test_a_gzip_bomb_is_small_on_the_wire_and_large_in_memory(simulator, kimi):
    simulator.faults.add(CHAT, "gzip_bomb")
    with kimi.stream("POST", "/chat/completions", json=BODY) as response:
        assert response.headers["content-encoding"] == "gzip"
        assert int(response.headers["content-length"]) < BOMB_BYTES / 100


@pytest.mark.parametrize("path", ["models", "chat/completions"])
def test_a_connection_closed_before_any_answer(simulator, kimi, path):
    simulator.faults.add("/v1/", "close_before")
    with pytest.raises(httpx.RemoteProtocolError):
        kimi.request(
            "GET" if path == "models" else "POST", f"/{path}", json=None if path == "models" else BODY
        )


def test_silence_instead_of_an_answer(simulator, kimi):
    simulator.faults.add(CHAT, "stall_before")
    with pytest.raises(httpx.ReadTimeout):
        kimi.post("/chat/completions", json=BODY, timeout=0.2)
    simulator.faults.add(CHAT, "stall_before", seconds=0.05)
    with pytest.raises(httpx.RemoteProtocolError):
        kimi.post("/chat/completions", json=BODY)


def test_comments_are_all_that_comes(simulator, kimi):
    simulator.faults.add(CHAT, "comments_only", delay=0.01)
    with kimi.stream("POST", "/chat/completions", json=STREAM) as response:
        lines = response.iter_lines()
        seen = [next(lines) for _ in range(10)]
    assert set(seen) == {": keep-alive", ""}


def test_a_stream_cut_within_an_event(simulator, kimi):
    simulator.faults.add(CHAT, "cut", at_event=3)
    received = bytearray()
    with (
        kimi.stream("POST", "/chat/completions", json=STREAM) as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        gather(response, received)
    assert received.count(b"\n\n") == 3
    assert not received.endswith(b"\n\n")


def test_a_plain_answer_cut_in_the_middle(simulator, kimi):
    simulator.faults.add(CHAT, "cut")
    with pytest.raises(httpx.RemoteProtocolError):
        kimi.post("/chat/completions", json=BODY)


def test_a_stream_that_ends_in_good_order_but_too_early(simulator, kimi):
    simulator.faults.add(CHAT, "end_early", at_event=4)
    text = streamed(kimi)
    assert text.count(b"data: ") == 4
    assert b'finish_reason":"' not in text


def test_a_stream_that_stalls(simulator, kimi):
    simulator.faults.add(CHAT, "stall", at_event=2)
    with (
        kimi.stream("POST", "/chat/completions", json=STREAM, timeout=0.3) as response,
        pytest.raises(httpx.ReadTimeout),
    ):
        list(response.iter_raw())
    simulator.faults.add(CHAT, "stall", at_event=2, seconds=0.05)
    assert streamed(kimi).endswith(b"data: [DONE]\n\n")


def test_a_missing_done_and_a_missing_finish_reason(simulator, kimi):
    simulator.faults.add(CHAT, "no_done")
    text = streamed(kimi)
    assert b"[DONE]" not in text
    assert b'"finish_reason":"stop"' in text
    simulator.faults.add(CHAT, "no_finish")
    text = streamed(kimi)
    assert b"[DONE]" in text
    assert b'"finish_reason":"stop"' not in text
    simulator.faults.add(CHAT, "no_finish")
    (choice,) = kimi.post("/chat/completions", json=BODY).json()["choices"]
    assert (choice["finish_reason"], bool(choice["message"]["content"])) == (None, True)


def test_an_answer_broken_off_by_an_error(simulator, kimi):
    simulator.faults.add(CHAT, "error_event", at_event=3)
    text = streamed(kimi)
    assert text.count(b"data: ") == 4
    assert b"engine_overloaded_error" in text.split(b"\n\n")[3]
    simulator.faults.add(CHAT, "error_event")
    response = kimi.post("/chat/completions", json=BODY)
    assert (response.status_code, [*response.json()]) == (200, ["error", "status"])
    simulator.faults.add(CHAT, "error_finish", times=2)
    assert b'"finish_reason":"error"' in streamed(kimi)
    assert kimi.post("/chat/completions", json=BODY).json()["choices"][0]["finish_reason"] == "error"


def test_malformed_json_streamed_and_not(simulator, kimi):
    simulator.faults.add(CHAT, "malformed_json", at_event=2)
    third = streamed(kimi).split(b"\n\n")[2]
    with pytest.raises(json.JSONDecodeError):
        json.loads(third.removeprefix(b"data: "))
    simulator.faults.add(CHAT, "malformed_json")
    response = kimi.post("/chat/completions", json=BODY)
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_events_glued_together_lose_nothing_but_the_line_between(simulator, kimi):
    whole = streamed(kimi)
    simulator.faults.add(CHAT, "glued")
    glued = streamed(kimi)
    assert b"}data: {" in glued
    assert glued.count(b"data: ") == whole.count(b"data: ")


@pytest.mark.parametrize(
    "kind", ["keep_alives", "crlf", "split_data", "tiny_packets", "slow", "empty_choices"]
)
def test_harmless_oddities_keep_the_whole_answer(simulator, kimi, kind):
    simulator.faults.add(CHAT, kind, delay=0.001)
    text = streamed(kimi)
    signs = {
        "keep_alives": b": keep-alive\n\n",
        "crlf": b"\r\n\r\n",
        "split_data": b',\ndata: "choices"',
        "empty_choices": b'"choices":[]',
    }
    assert signs.get(kind, b"data: ") in text
    lines = text.replace(b"\r", b"").replace(b",\ndata: ", b",").split(b"\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
    content = "".join(delta.get("content", "") for delta in deltas)
    assert content == "This is the simulator, not Kimi. You wrote: Hello"


def test_a_mail_taken_and_the_answer_lost(simulator):
    simulator.faults.add("/v3/mail/send", "close_after")
    with pytest.raises(httpx.RemoteProtocolError):
        send(simulator)
    simulator.faults.add("/v3/mail/send", "error_after", status=502)
    assert send(simulator).status_code == 502
    simulator.faults.add("/v3/mail/send", "stall_after")
    with pytest.raises(httpx.ReadTimeout):
        send(simulator, timeout=0.2)
    assert len(simulator.mailbox) == 3


def test_a_mail_not_taken(simulator):
    simulator.faults.add("/v3/mail/send", "close_before")
    with pytest.raises(httpx.RemoteProtocolError):
        send(simulator)
    simulator.faults.add("/v3/mail/send", "rate_limit")
    assert send(simulator).status_code == 429
    assert len(simulator.mailbox) == 0


def test_a_client_that_leaves_is_noticed(simulator, kimi):
    simulator.script("long", reasoning_events=2000, chunk_delay=0.005)
    with kimi.stream("POST", "/chat/completions", json=STREAM) as response:
        next(response.iter_raw())
    deadline = time.monotonic() + 5
    while simulator.calls.in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [call.outcome for call in simulator.calls] == ["disconnected"]


def test_faults_over_http(simulator, kimi):
    url = f"{simulator.url}/_simulator/faults"
    kimi.post(url, json={"path_prefix": "/v1/chat", "kind": "quota", "times": 1})
    assert kimi.post("/chat/completions", json=BODY).status_code == 429
    assert kimi.get(url).json()["faults"][0]["met"] == 1
    kimi.delete(url)
    assert kimi.get(url).json() == {"faults": []}
    assert kimi.post(url, json={"path_prefix": "/v1", "kind": "flood"}).status_code == 400
    assert kimi.post(url, json={"kind": "quota"}).status_code == 400


def test_faults_that_do_not_exist_are_refused(simulator):
    with pytest.raises(ConfigurationError, match="'flood' is not known; choose one of answer, "):
        simulator.faults.add("/v1", "flood")
    with pytest.raises(ConfigurationError, match="timez"):
        simulator.faults.add("/v1", "quota", timez=3)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_gone_after_a_reset(simulator, kimi, kind):
    assert isinstance(simulator.faults.add(CHAT, kind, times=None), Fault)
    simulator.reset()
    assert kimi.post("/chat/completions", json=BODY).status_code == 200

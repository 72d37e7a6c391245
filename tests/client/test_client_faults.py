"""Each fault of a host, streamed and not: what the caller gets is named in the test's id."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging

import pytest

from kimi_provider import exceptions
from kimi_provider.client.client import KimiClient
from kimi_provider.client.messages import ChatRequest, Finished, Message, ToolCall, ToolSpec

PROMPT = "PLANTED-PROMPT about the quarterly numbers"
TOOL = ToolSpec(
    "get_weather", "Weather.", {"type": "object", "properties": {"city": {"type": "string"}}}
)
ANSWER = {
    "id": "chatcmpl-1",
    "model": "kimi-k3",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
}
NO_REDIRECT = "https://elsewhere.example/v1/chat/completions?token=PLANTED"


def error(message="broken", type_=None, code=None, **more):
    body = {"message": message}
    body |= {"type": type_} if type_ else {}
    body |= {"code": code} if code is not None else {}
    return {"error": body | more}


OVERLOAD = error("The engine is currently overloaded, please try again later", "engine_overloaded_error")
RPM = error(
    "Your account org-x<ak-y> request reached organization max RPM: 3, please try again after 0 seconds",
    "rate_limit_reached_error",
)
TPD = error(
    "Your account org-x<ak-y> request reached organization TPD rate limit,current:9, limit:8",
    "rate_limit_reached_error",
)
NESTED = error(
    "Provider returned error",
    code=400,
    metadata={
        "raw": json.dumps(
            error("thinking is enabled but reasoning_content is missing", "invalid_request_error")
        ),
        "provider_name": "Moonshot AI",
    },
)
PAGE = b"<html><head><title>504 Gateway Time-out</title></head></html>"

# name: (expected outcome, calls made, (status, body, content type, headers)…)
STATUS_FAULTS = {
    "overloaded once": ("answer", 2, (429, OVERLOAD), (200, ANSWER)),
    "overloaded for long": ("OverloadedError", 3, (429, OVERLOAD)),
    "overloaded as 503": ("OverloadedError", 3, (503, error("down", "server_unavailable"))),
    "RPM with wait in the text": ("answer", 2, (429, RPM), (200, ANSWER)),
    "RPM for long": ("RateLimitError", 3, (429, RPM)),
    "TPD": ("DailyLimitError", 1, (429, TPD)),
    "quota by type": ("QuotaExceededError", 1, (429, error("no", "exceeded_current_quota_error"))),
    "quota by wording": (
        "QuotaExceededError",
        1,
        (429, error("Please check your account balance", "rate_limit_reached_error")),
    ),
    "quota as 403 of a gateway": (
        "QuotaExceededError",
        1,
        (403, error("no", code="insufficient_user_quota")),
    ),
    "wait longer than allowed": (
        "RateLimitError",
        1,
        (429, RPM, "application/json", ("Retry-After: 3600",)),
    ),
    "wrong key": (
        "AuthenticationError",
        1,
        (401, error("Invalid Authentication", "invalid_authentication_error")),
    ),
    "not permitted": ("PermissionDeniedError", 1, (403, error("no", "permission_denied_error"))),
    "malformed request": ("BadRequestError", 1, (400, error("bad", "invalid_request_error"))),
    "CometAPI's 500 for a bad request": (
        "BadRequestError",
        1,
        (500, error("...", "comet_api_error", "invalid_request", param="")),
    ),
    "nested in metadata.raw": ("BadRequestError", 1, (400, NESTED)),
    "type <nil>": (
        "BadRequestError",
        1,
        (
            400,
            {
                "error": {
                    "type": "<nil>",
                    "message": "reasoning_content is missing (request id: 2026ABC)",
                },
                "type": "error",
            },
        ),
    ),
    "window exceeded": (
        "ContextLengthError",
        1,
        (
            400,
            error(
                "Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)",
                "invalid_request_error",
            ),
        ),
    ),
    "content filter": ("ContentFilterError", 1, (400, error("high risk", "content_filter"))),
    "500 once": ("answer", 2, (500, error("oops", "server_error")), (200, ANSWER)),
    "500 for long": ("ServerError", 3, (500, error("oops", "unexpected_output"))),
    "504 page": ("ServerError", 3, (504, PAGE, "text/html")),
    "closed by the client": ("APIStatusError", 1, (499, error("closed", "client_closed_request"))),
    "redirect": ("NotFoundError", 1, (301, b"", "text/html", (f"Location: {NO_REDIRECT}",))),
    "error inside a 200": ("OverloadedError", 3, (200, OVERLOAD)),
    "quota inside a 200": ("QuotaExceededError", 1, (200, error("no", "exceeded_current_quota_error"))),
    "error without wrapping": (
        "ServerError",
        3,
        (200, {"object": "error", "message": "oops", "type": "x", "code": 500}),
    ),
    "HTML inside a 200": (
        "ResponseValidationError",
        3,
        (200, b"<!doctype html><title>Console</title>", "text/html"),
    ),
    "HTML called JSON": ("ResponseValidationError", 3, (200, b"<html><title>Console</title>")),
    "half a JSON": ("ResponseValidationError", 3, (200, b'{"id": "x", "choices": [{"mess')),
    "nothing": ("ResponseValidationError", 3, (200, b"")),
    "a list": ("ResponseValidationError", 3, (200, b"[1, 2]")),
    "no choices": ("ResponseValidationError", 3, (200, {**ANSWER, "choices": []})),
    "null choices": ("ResponseValidationError", 3, (200, {**ANSWER, "choices": None})),
    "NaN": (
        "answer",
        1,
        (200, json.dumps(ANSWER).replace('"total_tokens": 12', '"total_tokens": NaN').encode()),
    ),
    "error in a list": ("BadRequestError", 1, (200, [error("no", "invalid_request_error")])),
    "Anthropic's protocol": (
        "ResponseValidationError",
        1,
        (200, {"id": "msg", "type": "message", "content": [{"type": "text", "text": "hi"}]}),
    ),
    "protocol of Responses": ("ResponseValidationError", 1, (200, {"object": "response", "output": []})),
    "choice that is an error": (
        "ServerError",
        3,
        (
            200,
            {
                "choices": [
                    {
                        "message": {"content": "half"},
                        "finish_reason": "error",
                        "error": {"code": 502, "message": "the provider hung up"},
                    }
                ]
            },
        ),
    ),
    "error as finish reason": (
        "ServerError",
        3,
        (200, {"choices": [{"message": {"content": "half"}, "finish_reason": "error"}]}),
    ),
    "byte order mark": ("answer", 1, (200, b"\xef\xbb\xbf" + json.dumps(ANSWER).encode())),
    "unknown encoding": (
        "ResponseValidationError",
        3,
        (200, b"x", "application/json", ("Content-Encoding: br",)),
    ),
    "damaged gzip": (
        "ResponseValidationError",
        3,
        (200, b"no gzip", "application/json", ("Content-Encoding: gzip",)),
    ),
    "gzip": (
        "answer",
        1,
        (
            200,
            gzip.compress(json.dumps(ANSWER).encode()),
            "application/json",
            ("Content-Encoding: gzip",),
        ),
    ),
    "gzip bomb": (
        "ResponseValidationError",
        1,
        (200, gzip.compress(b" " * (32 << 20)), "application/json", ("Content-Encoding: gzip",)),
    ),
    "gzip bomb as error": (
        "ServerError",
        3,
        (500, gzip.compress(b" " * (32 << 20)), "application/json", ("Content-Encoding: gzip",)),
    ),
}


def run(kit, replies, *, stream, routes=None, **extra):
    """Make one call; return the outcome's name, the result, the requests and what was said."""

    async def main():
        async with kit.serving(*replies, routes=routes) as server:
            settings = kit.config(server.url, max_response_bytes=1 << 20, **extra)
            async with KimiClient(settings) as client:
                request = ChatRequest(messages=(Message.user(PROMPT),), stream=stream, tools=(TOOL,))
                try:
                    result = await asyncio.wait_for(client.complete(request), 10)
                except exceptions.KimiProviderError as caught:
                    return type(caught).__name__, caught, server
                return "answer", result, server

    return asyncio.run(main())


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", STATUS_FAULTS, ids=lambda name: f"{name} -> {STATUS_FAULTS[name][0]}")
def test_status_fault(kit, caplog, name, stream):
    caplog.set_level(logging.INFO)
    expected, calls, *replies = STATUS_FAULTS[name]
    outcome, value, server = run(kit, [kit.reply.of(*reply) for reply in replies], stream=stream)
    assert outcome == expected
    assert len([seen for seen in server.seen if seen.method == "POST"]) == calls
    said = f"{value} {value!r} {caplog.text}" if outcome != "answer" else caplog.text
    assert kit.key not in said
    assert "PLANTED" not in said
    assert "org-x" not in said


CALL = {
    "index": 0,
    "id": "get_weather_0",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}


@pytest.mark.parametrize("delay", [None, 0.0], ids=["one packet", "packet by packet"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "fine"),
        ("comments between", "fine"),
        ("no [DONE]", "fine"),
        ("no [DONE], left open", "fine"),
        ("reset after the finish reason", "fine"),
        ("last event without blank line", "fine"),
        ("glued on one line", "fine"),
        ("glued without blank line", "fine"),
        ("event over two data lines", "fine"),
        ("CRLF", "fine"),
        ("CR alone", "fine"),
        ("byte order mark", "fine"),
        ("NaN in an event", "fine"),
        ("no space after data:", "fine"),
        ("line separators inside", "fi\u2028\u0085ne"),
        ("no content type", "fine"),
    ],
)
def test_odd_stream_is_read_whole(kit, name, expected, delay):
    half, other = kit.chunk({"content": "fi"}), kit.chunk({"content": "ne"})
    end = kit.chunk(finish="stop", usage={"prompt_tokens": 1, "completion_tokens": 2})
    usual = half + other + end + kit.done
    pieces = {
        "comments between": b": hello\n\n" + half + b":\n\n: x\n" + other + end + kit.done,
        "no [DONE]": half + other + end,
        "no [DONE], left open": half + other + end,
        "reset after the finish reason": half + other + end,
        "last event without blank line": half + other + end.rstrip(),
        "glued on one line": half.rstrip() + other + end + kit.done,
        "glued without blank line": half.rstrip() + b"\n" + other + end + kit.done,
        "event over two data lines": half.replace(b", ", b",\ndata: ", 1) + other + end + kit.done,
        "CRLF": usual.replace(b"\n", b"\r\n"),
        "CR alone": usual.replace(b"\n", b"\r"),
        "byte order mark": b"\xef\xbb\xbf" + usual,
        "NaN in an event": half.replace(b'"index": 0', b'"logprob": NaN, "index": 0') + other + end,
        "no space after data:": usual.replace(b"data: ", b"data:"),
        "line separators inside": kit.chunk({"content": "fi\u2028\u0085"}) + other + end + kit.done,
    }.get(name, usual)
    packets = [pieces] if delay is None else []
    if delay is not None:
        packets = [pieces[i : i + 3] for i in range(0, len(pieces), 3)]
    reply = kit.reply.stream(*packets, hold="left open" in name, abort="reset" in name)
    if name == "no content type":
        head = reply.pieces[0].replace(b"Content-Type: text/event-stream\r\n", b"")
        reply = kit.reply((head, *reply.pieces[1:]))
    outcome, result, server = run(kit, [reply], stream=True)
    assert outcome == "answer"
    assert (result.text, result.finish_reason, result.usage.output_tokens) == (
        expected,
        "stop",
        2,
    )
    assert len(server.seen) == 1


def test_cut_stream_is_truncated_and_not_invented(kit):
    outcome, result, server = run(kit, [kit.reply.stream(kit.chunk({"content": "half"}))], stream=True)
    assert outcome == "answer"
    assert (result.text, result.finish_reason, result.truncated) == ("half", None, True)
    assert result.usage.cost_usd is None
    assert len(server.seen) == 1


def test_done_without_finish_reason_is_truncated(kit):
    reply = kit.reply.stream(kit.chunk({"content": "half"}), kit.done)
    outcome, result, _ = run(kit, [reply], stream=True)
    assert (outcome, result.finish_reason, result.truncated) == ("answer", None, True)


@pytest.mark.parametrize(
    ("name", "expected", "calls"),
    [
        ("reset in the middle", "answer", 2),
        ("reset before the answer", "answer", 2),
        ("error event in the middle", "answer", 2),
        ("error as finish reason", "answer", 2),
        ("events of another protocol", "ResponseValidationError", 1),
        ("named error event", "answer", 2),
        ("quota event in the middle", "QuotaExceededError", 1),
        ("damaged event", "answer", 2),
        ("bare error as event stream", "answer", 2),
        ("empty stream", "answer", 2),
        ("only comments", "answer", 2),
        ("JSON instead of a stream", "answer", 1),
        ("silence", "APITimeoutError", 3),
        ("comments without end", "APITimeoutError", 3),
        ("empty deltas without end", "APITimeoutError", 3),
        ("silence after the first piece", "APITimeoutError", 3),
        ("event over the bound", "ResponseValidationError", 1),
        ("text over the bound", "ResponseValidationError", 1),
    ],
    ids=str,
)
def test_stream_fault(kit, name, expected, calls):
    half = kit.chunk({"content": "half"})
    good = kit.reply.stream(kit.chunk({"content": "fine"}), kit.chunk(finish="stop"), kit.done)
    stream = kit.reply.stream
    big = b"x" * (1 << 20)
    reply = {
        "reset in the middle": stream(half, abort=True),
        "reset before the answer": kit.reply((b"",), abort=True),
        "error event in the middle": stream(half, b"data: " + json.dumps(OVERLOAD).encode() + b"\n\n"),
        "events of another protocol": stream(
            b'event: message_start\ndata: {"type": "message_start", "message": {"id": "msg"}}\n\n'
        ),
        "error as finish reason": stream(half, kit.chunk(finish="error"), kit.done),
        "named error event": stream(
            half, b'event: error\ndata: {"message": "oops", "type": "server_error"}\n\n'
        ),
        "quota event in the middle": stream(
            half, b'data: {"error": {"type": "exceeded_current_quota_error", "message": "no"}}\n\n'
        ),
        "damaged event": stream(half, b'data: {"id": "x", "choi\n\n', half),
        "bare error as event stream": stream(json.dumps(OVERLOAD).encode()),
        "empty stream": stream(),
        "only comments": stream(b": hello\n\n", b": bye\n\n"),
        "JSON instead of a stream": kit.reply.of(200, {**ANSWER}),
        "silence": stream(hold=True),
        "comments without end": stream(*[b": wait\n\n", 0.1] * 20),
        "empty deltas without end": stream(*[kit.chunk({"content": ""}), 0.1] * 20),
        "silence after the first piece": stream(half, hold=True),
        "event over the bound": stream(b"data: " + big, big),
        "text over the bound": stream(kit.chunk({"content": "x" * 600_000}) * 2),
    }[name]
    if name == "reset before the answer":
        reply = kit.reply((b"H",), abort=True)
    replies = [reply, good] if expected == "answer" and calls == 2 else [reply]
    outcome, value, server = run(kit, replies, stream=True)
    assert outcome == expected
    assert len(server.seen) == calls
    if outcome == "answer":
        assert (value.text, value.finish_reason) == ("fine", "stop")


def test_retired_model_names_the_ids_that_the_host_lists(kit):
    gone = kit.reply.of(
        404,
        error("Not found the model kimi-k2-thinking or Permission denied", "resource_not_found_error"),
    )
    listed = {
        "object": "list",
        "data": [
            {"id": "kimi-k2.6"},
            {"id": "kimi-k3", "context_length": 1048576},
            {"id": "moonshot-v1"},
        ],
    }
    outcome, value, server = run(
        kit,
        [gone],
        stream=True,
        model="kimi-k2-thinking",
        routes={"/v1/models": kit.reply.of(200, listed)},
    )
    assert outcome == "NotFoundError"
    assert "kimi-k2.6" in str(value)
    assert "kimi-k3" in str(value)
    assert [seen.path for seen in server.seen] == ["/v1/chat/completions", "/v1/models"]


def test_unreachable_host(kit):
    async def main():
        async with KimiClient(kit.config("http://127.0.0.1:9/v1")) as client:
            await client.complete(ChatRequest(messages=(Message.user(PROMPT),)))

    with pytest.raises(exceptions.APIConnectionError, match="cannot be reached"):
        asyncio.run(main())


def test_stream_retries_only_before_the_first_piece(kit):
    good = [kit.chunk({"content": "fine"}), kit.chunk(finish="stop"), kit.done]

    async def main(*replies):
        seen = []
        async with kit.serving(*replies) as server:
            async with KimiClient(kit.config(server.url)) as client:
                try:
                    async for event in client.stream(ChatRequest(messages=(Message.user("hi"),))):
                        seen.append(event)  # noqa: PERF401 — what came before the error counts
                except exceptions.APIConnectionError as caught:
                    seen.append(caught)
            return seen, len(server.seen)

    events, calls = asyncio.run(main(kit.reply.of(429, OVERLOAD), kit.reply.stream(*good)))
    assert calls == 2
    assert isinstance(events[-1], Finished)
    assert events[-1].result.text == "fine"
    broken = kit.reply.stream(kit.chunk({"content": "fi"}), 0.05, abort=True)
    events, calls = asyncio.run(main(broken, kit.reply.stream(*good)))
    assert calls == 1
    assert isinstance(events[-1], exceptions.APIConnectionError)


def test_redirect_never_carries_the_key_elsewhere(kit):
    async def main():
        async with kit.serving(kit.reply.of(200, ANSWER)) as other:
            moved = kit.reply.of(307, b"", headers=(f"Location: {other.url}/chat/completions",))
            async with kit.serving(moved) as server, KimiClient(kit.config(server.url)) as client:
                with pytest.raises(exceptions.NotFoundError, match="redirects"):
                    await client.complete(ChatRequest(messages=(Message.user("hi"),)))
            return other.seen

    assert asyncio.run(main()) == []


def test_on_event_is_told_of_a_restart(kit):
    events = []

    async def main():
        broken = kit.reply.stream(
            kit.chunk({"content": "fi"}), kit.chunk({"content": "x"}), b"data: {]\n\n"
        )
        good = kit.reply.stream(kit.chunk({"content": "fine"}), kit.chunk(finish="stop"), kit.done)
        async with kit.serving(broken, good) as server, KimiClient(kit.config(server.url)) as client:
            await client.complete(ChatRequest(messages=(Message.user("hi"),)), on_event=events.append)

    asyncio.run(main())
    names = [type(event).__name__ for event in events]
    assert names.index("Restarted") < names.index("Finished")
    assert [e.text for e in events[names.index("Restarted") :] if type(e).__name__ == "TextDelta"] == [
        "fine"
    ]


def test_cancelled_calls_and_abandoned_streams_free_their_connection(kit):
    request = ChatRequest(messages=(Message.user("hi"),))

    async def main():
        reply = kit.reply.stream(kit.chunk({"content": "fi"}), hold=True)
        async with kit.serving(reply) as server, KimiClient(kit.config(server.url)) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.complete(request), 0.1)
            stream = client.stream(request)
            first = await anext(stream)
            await stream.aclose()
            return first.text, sum(client._api.transport._load), len(server.seen)

    assert asyncio.run(main()) == ("fi", 0, 2)


def test_connection_is_used_again_after_a_stream(kit):
    events = kit.chunk({"content": "fine"}) + kit.chunk(finish="stop") + kit.done
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = kit.reply((head, b"%x\r\n%s\r\n" % (len(events), events), 0.01, b"0\r\n\r\n"))

    async def main():
        async with kit.serving(reply) as server, KimiClient(kit.config(server.url)) as client:
            for _ in range(3):
                await client.complete(ChatRequest(messages=(Message.user("hi"),)))
            return len(server.seen), server.connections

    assert asyncio.run(main()) == (3, 1)


def test_hundreds_of_calls_at_once_through_small_pools(kit):
    events = kit.chunk({"content": "fine"}) + kit.chunk(finish="stop") + kit.done
    reply = kit.reply.stream(0.3, events)

    async def main():
        async with (
            kit.serving(reply) as server,
            KimiClient(kit.config(server.url, idle_timeout=20)) as client,
        ):
            request = ChatRequest(messages=(Message.user("hi"),))
            results = await asyncio.gather(*[client.complete(request) for _ in range(200)])
            return (
                {result.text for result in results},
                len(client._api.transport._shards),
                server.connections,
            )

    texts, shards, connections = asyncio.run(main())
    assert texts == {"fine"}
    assert connections == 200
    assert shards > 10


def test_error_whose_body_never_ends(kit):
    reply = kit.reply(
        (b"HTTP/1.1 401 X\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",), hold=True
    )
    outcome, _, server = run(kit, [reply], stream=True)
    assert (outcome, len(server.seen)) == ("AuthenticationError", 1)


@pytest.mark.parametrize("where", ["reasoning", "arguments"])
def test_what_the_model_said_does_not_come_back_in_an_error(kit, where):
    said = "PLANTED is what the model thought of it"
    call = ToolCall("get_weather:0", "get_weather", json.dumps({"city": said}))
    history = Message.assistant(reasoning=said if where == "reasoning" else "", tool_calls=(call,))
    request = ChatRequest(messages=(Message.user(PROMPT), history), stream=False)

    async def main():
        reply = kit.reply.of(400, error(f"Invalid request: '{said}' at index 1"))
        async with kit.serving(reply) as server, KimiClient(kit.config(server.url)) as client:
            with pytest.raises(exceptions.BadRequestError) as caught:
                await client.complete(request)
            return str(caught.value)

    assert "PLANTED" not in asyncio.run(main())

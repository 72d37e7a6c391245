"""Models, balance, token estimate, files, batches and formulas, over a real socket."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest

from kimi_provider.client.client import KimiClient
from kimi_provider.client.messages import ChatRequest, Message
from kimi_provider.exceptions import (
    APIError,
    ConfigurationError,
    OverloadedError,
    QuotaExceededError,
    ResponseValidationError,
)

ASK = ChatRequest(messages=(Message.user("hi"),), max_tokens=9)
ERROR = {"error": {"message": "overloaded", "type": "engine_overloaded_error"}}


def use(kit, routes, action, **extra):
    """Run ``action`` with a client of a host that answers by ``routes``; give what it saw too."""

    async def main():
        made = {f"/v1{path}": reply for path, reply in routes.items()}
        async with (
            kit.serving(routes=made) as server,
            KimiClient(kit.config(server.url, **extra)) as client,
        ):
            return await action(client), server.seen

    return asyncio.run(main())


def test_models(kit):
    data = [
        {"id": "kimi-k3", "context_length": 1048576, "supports_reasoning": True},
        {"id": "odd", "context_length": "big"},
        {},
    ]
    models, seen = use(
        kit, {"/models": kit.reply.of(200, {"object": "list", "data": data})}, lambda c: c.models()
    )
    assert [(m.id, m.context_length) for m in models] == [("kimi-k3", 1048576), ("odd", None)]
    assert seen[0].headers["authorization"] == f"Bearer {kit.key}"


@pytest.mark.parametrize("body", [{"object": "list"}, b"<html>", b"[]", {"data": "x"}], ids=str)
def test_models_of_something_else(kit, body):
    with pytest.raises(ResponseValidationError, match="base_url"):
        use(kit, {"/models": kit.reply.of(200, body)}, lambda c: c.models())


def test_balance(kit):
    data = {"available_balance": 49.58894, "voucher_balance": 46.58893, "cash_balance": 3.00001}
    body = {"code": 0, "data": data, "scode": "0x0", "status": True}
    balance, _ = use(kit, {"/users/me/balance": kit.reply.of(200, body)}, lambda c: c.balance())
    assert (balance.available, balance.cash) == (Decimal("49.58894"), Decimal("3.00001"))


def test_token_estimate_sends_what_counts(kit):
    reply = kit.reply.of(200, {"data": {"total_tokens": 8}})
    tokens, seen = use(
        kit, {"/tokenizers/estimate-token-count": reply}, lambda c: c.estimate_tokens(ASK)
    )
    assert tokens == 8
    assert seen[0].json == {"model": "kimi-k3", "messages": [{"role": "user", "content": "hi"}]}


def test_upload_and_content(kit):
    routes = {
        "/files": kit.reply.of(
            200,
            {
                "id": "file-1",
                "object": "file",
                "bytes": 3,
                "filename": "a.txt",
                "purpose": "file-extract",
            },
        ),
        "/files/file-1/content": kit.reply.of(200, b"text", "text/plain"),
    }

    async def action(client):
        file = await client.upload_file("a.txt", b"abc")
        return file, await client.file_content(file.id)

    (file, content), seen = use(kit, routes, action)
    assert (file.id, file.bytes, content) == ("file-1", 3, b"text")
    assert b'name="purpose"' in seen[0].body
    assert b"file-extract" in seen[0].body
    assert b'filename="a.txt"' in seen[0].body


def test_side_endpoints_are_moonshots(kit):
    with pytest.raises(ConfigurationError, match="side_endpoints"):
        use(kit, {}, lambda c: c.balance(), host="cometapi")


@pytest.mark.parametrize(("status", "calls"), [(429, 3), (500, 1), (503, 3)])
def test_what_may_have_taken_effect_is_not_repeated(kit, status, calls):
    seen = []

    async def action(client):
        try:
            await client.upload_file("a.txt", b"abc")
        except APIError as caught:
            return caught

    caught, seen = use(kit, {"/files": kit.reply.of(status, {"error": {"message": "x"}})}, action)
    assert isinstance(caught, APIError)
    assert len(seen) == calls


def test_formula_tools_and_runs(kit):
    function = {
        "name": "web_search",
        "description": "Search.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    }
    routes = {
        "/formulas/moonshot/web-search:latest/tools": kit.reply.of(
            200, {"tools": [{"type": "function", "function": function}]}
        ),
        "/formulas/moonshot/web-search:latest/fibers": kit.reply.of(
            200, {"status": "succeeded", "context": {"encrypted_output": "----ENC"}}
        ),
    }

    async def action(client):
        tools = await client.formulas.tools("moonshot/web-search:latest")
        return tools, await client.formulas.run("moonshot/web-search:latest", "web_search", '{"q": "x"}')

    (tools, result), seen = use(kit, routes, action)
    assert (tools[0].name, tools[0].parameters) == ("web_search", function["parameters"])
    assert (result.text, result.failed) == ("----ENC", False)
    assert seen[1].json == {"name": "web_search", "arguments": '{"q": "x"}'}


@pytest.mark.parametrize(
    ("body", "text", "failed"),
    [
        ({"status": "succeeded", "context": {"output": "4"}}, "4", False),
        ({"status": "succeeded", "context": {"output": ""}}, "", False),
        ({"status": "failed", "error": "bad q"}, "bad q", True),
        ({"status": "failed", "error": {"message": "bad q"}}, "bad q", True),
        ({"status": "failed", "context": {"error": "no"}}, "no", True),
        ({}, "The tool failed without a reason.", True),
    ],
    ids=str,
)
def test_formula_outcomes(kit, body, text, failed):
    routes = {"/formulas/moonshot/x:latest/fibers": kit.reply.of(200, body)}
    result, _ = use(kit, routes, lambda c: c.formulas.run("moonshot/x:latest", "x", "{}"))
    assert (result.text, result.failed) == (text, failed)


def line(custom_id, status=200, **body):
    return json.dumps(
        {
            "custom_id": custom_id,
            "response": {"status_code": status, "request_id": "r", "body": body},
            "error": None,
        }
    )


def test_batch_from_requests_to_results(kit):
    made = {
        "id": "b-1",
        "status": "validating",
        "object": "batch",
        "request_counts": {"total": 2},
        "metadata": {"run": "r1"},
    }
    answer = {
        "model": "kimi-k2.6",
        "choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0},
    }
    routes = {
        "/files": kit.reply.of(200, {"id": "file-1"}),
        "/batches": kit.reply.of(200, made),
        "/batches/b-1": kit.reply.of(
            200, made | {"status": "completed", "output_file_id": "out", "error_file_id": "err"}
        ),
        "/batches/b-1/cancel": kit.reply.of(200, made | {"status": "cancelling"}),
        "/files/out/content": kit.reply.of(200, (line("a", **answer) + "\n").encode()),
        "/files/err/content": kit.reply.of(200, line("b", 429, **ERROR).encode()),
    }

    async def action(client):
        batch = await client.batches.create({"a": ASK, "b": ASK}, metadata={"run": "r1"})
        done = await client.batches.get(batch.id)
        return batch, done, await client.batches.results(done), await client.batches.cancel(batch.id)

    (batch, done, results, cancelled), seen = use(kit, routes, action, model="kimi-k2.6")
    assert (batch.ended, done.ended, cancelled.status) == (False, True, "cancelling")
    assert results["a"].text == "fine"
    assert results["a"].usage.cost_usd == Decimal("0.57")
    assert isinstance(results["b"], OverloadedError)
    lines = [
        json.loads(part)
        for part in seen[0].body.split(b"\r\n")
        for part in part.split(b"\n")
        if part.startswith(b'{"custom')
    ]
    assert lines[0]["url"] == "/v1/chat/completions"
    assert "stream" not in lines[0]["body"]
    assert [one["custom_id"] for one in lines] == ["a", "b"]
    assert seen[1].json["input_file_id"] == "file-1"
    assert seen[1].json["metadata"] == {"run": "r1"}


def test_batch_list(kit):
    body = {"object": "list", "data": [{"id": "b-1", "status": "failed", "errors": {"data": []}}]}
    found, seen = use(kit, {"/batches": kit.reply.of(200, body)}, lambda c: c.batches.list(limit=5))
    assert [(one.id, one.ended) for one in found] == [("b-1", True)]
    assert seen[0].path == "/v1/batches?limit=5"


def test_batch_of_several_models(kit):
    other = ChatRequest(messages=ASK.messages, model="kimi-k2.6")
    with pytest.raises(ConfigurationError, match="one a file"):
        use(
            kit,
            {"/files": kit.reply.of(200, {"id": "f"})},
            lambda c: c.batches.create({"a": ASK, "b": other}),
        )


def test_quota_at_an_endpoint(kit):
    body = {"error": {"type": "exceeded_current_quota_error", "message": "check your account balance"}}
    with pytest.raises(QuotaExceededError):
        use(kit, {"/models": kit.reply.of(429, body)}, lambda c: c.models())

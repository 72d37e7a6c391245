"""Rate limits in one process, waits that hosts ask for, and the one owner of retries."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from kimi_provider.client import limits
from kimi_provider.client.client import KimiClient
from kimi_provider.client.errors import Answer, status_error
from kimi_provider.client.limits import RateLimiter, limiter_for
from kimi_provider.client.messages import ChatRequest, Message
from kimi_provider.client.retry_after import retry_after
from kimi_provider.exceptions import ConfigurationError, RateLimitError


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def starts(limiter, clock, calls):
    """When each of ``(time, tokens)`` may start."""
    found = []
    for now, tokens in calls:
        clock.now = now
        found.append(limiter._reserve(tokens).start)
    return found


def test_requests_per_minute():
    clock = Clock()
    limiter = RateLimiter(requests=2, clock=clock)
    assert starts(limiter, clock, [(0, 1), (10, 1), (11, 1), (12, 1), (13, 1), (200, 1)]) == [
        0,
        10,
        60,
        70,
        120,
        200,
    ]


def test_tokens_per_minute_count_prompt_and_bound():
    clock = Clock()
    limiter = RateLimiter(tokens=100, clock=clock)
    assert starts(limiter, clock, [(0, 60), (1, 40), (2, 1), (3, 60), (4, 39)]) == [0, 1, 60, 61, 61]


def test_no_minute_ever_holds_more_than_allowed():
    clock = Clock()
    limiter = RateLimiter(requests=3, tokens=50, clock=clock)
    calls = [(i * 0.7, 5 + i * 7 % 30) for i in range(40)]
    found = list(zip(starts(limiter, clock, calls), [tokens for _, tokens in calls], strict=True))
    for start, _ in found:
        minute = [tokens for at, tokens in found if start <= at < start + 60]
        assert len(minute) <= 3
        assert sum(minute) <= 50


def test_call_that_never_fits_is_refused():
    async def main():
        async with RateLimiter(tokens=100).slot(101):
            pass

    with pytest.raises(ConfigurationError, match="lower max_tokens"):
        asyncio.run(main())


def test_true_usage_replaces_the_estimate():
    async def main():
        limiter = RateLimiter(tokens=100)
        async with limiter.slot(90) as entry:
            entry.tokens = 20
        async with asyncio.timeout(1), limiter.slot(80):
            return True

    assert asyncio.run(main())


def test_concurrency_first_come_first_served_and_cancellable():
    limiter = RateLimiter(concurrency=2)
    running, most, order = 0, 0, []

    async def call(number):
        nonlocal running, most
        async with limiter.slot(1):
            running += 1
            most = max(most, running)
            order.append(number)
            try:
                await asyncio.sleep(0.01)
            finally:
                running -= 1

    async def main():
        tasks = [asyncio.create_task(call(number)) for number in range(8)]
        await asyncio.sleep(0.005)
        tasks[3].cancel()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert most == 2
    assert order == [0, 1, 2, 4, 5, 6, 7]
    # The places are free again, in another event loop too.
    asyncio.run(main())
    assert most == 2


def test_clients_of_one_key_share_limits(kit, monkeypatch):
    monkeypatch.setattr(limits, "_limiters", {})
    one = limiter_for(kit.config("http://a/v1", max_concurrency=3))
    assert limiter_for(kit.config("http://a/v1", max_concurrency=3)) is one
    assert limiter_for(kit.config("http://b/v1", max_concurrency=3)) is not one
    assert limiter_for(kit.config("http://a/v1")) is None
    assert kit.key not in repr(limits._limiters)


def test_client_keeps_to_its_concurrency(kit, monkeypatch):
    monkeypatch.setattr(limits, "_limiters", {})
    seen = []

    async def main():
        reply = kit.reply.stream(0.02, kit.chunk({"content": "x"}), kit.chunk(finish="stop"), kit.done)
        async with (
            kit.serving(reply) as server,
            KimiClient(kit.config(server.url, max_concurrency=2)) as client,
        ):
            request = ChatRequest(messages=(Message.user("hi"),))
            tasks = [asyncio.create_task(client.complete(request)) for _ in range(6)]
            while not all(task.done() for task in tasks):
                seen.append(sum(client._api.transport._load))
                await asyncio.sleep(0.002)
            await asyncio.gather(*tasks)

    asyncio.run(main())
    assert max(seen) == 2


@pytest.mark.parametrize(
    ("headers", "text", "seconds"),
    [
        ({"retry-after": "7"}, "", 7),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, "", 0.25),
        ({"retry-after": "-3"}, "", 0),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "soon"}, "please try again after 3 seconds", 3),
        (
            {"retry-after": "Tue, 17 Mar 2026 13:07:25 GMT", "date": "Tue, 17 Mar 2026 13:06:55 GMT"},
            "",
            30,
        ),
        (
            {"retry-after": "Tue, 17 Mar 2026 13:06:25 GMT", "date": "Tue, 17 Mar 2026 13:06:55 GMT"},
            "",
            0,
        ),
        ({}, "please try again after 1 seconds", 1),
        ({}, "Please try again in 1.5s.", 1.5),
        ({}, "try again in 200ms", 0.2),
        ({}, "try again after 2 minutes", 120),
        ({}, "Please try again in 1m12.5s. Need more?", 72.5),
        ({}, "Please try again in 6m0s.", 360),
        ({}, "please wait for 30 seconds before the next", 30),
        ({}, "请在 5 秒后重试", 5),
        ({}, "in 3 models", None),
        ({}, "try again later", None),
        ({}, "reached organization max RPM: 3", None),
    ],
    ids=str,
)
def test_wait_that_the_host_asks_for(headers, text, seconds):
    assert retry_after(headers, text) == seconds


@pytest.mark.parametrize(
    "body",
    [
        {
            "title": "Error 1015",
            "status": 429,
            "detail": "You are being rate limited",
            "retry_after": 30,
        },
        {
            "error": {
                "message": "Provider returned error",
                "code": 429,
                "metadata": {"raw": "rate-limited upstream", "retry_after_seconds": 30},
            }
        },
    ],
    ids=["Cloudflare", "OpenRouter"],
)
def test_wait_that_a_field_of_the_error_asks_for(body):
    answer = Answer("openrouter", "kimi-k2", "sk-secret")
    error = status_error(429, {}, json.dumps(body).encode(), answer)
    assert (type(error), error.retry_after) == (RateLimitError, 30)
    assert status_error(429, {"retry-after": "2"}, json.dumps(body).encode(), answer).retry_after == 2


def test_date_in_the_past_or_future_without_a_date_header():
    assert retry_after({"retry-after": "Tue, 17 Mar 2020 13:07:25 GMT"}) == 0
    assert retry_after({"retry-after": "Tue, 17 Mar 2099 13:07:25 GMT"}) > 3600


def test_wait_is_kept_on_the_error_and_logged(kit, caplog):
    caplog.set_level(logging.INFO, "kimi_provider.client")
    body = {"error": {"type": "rate_limit_reached_error", "message": "slow down PLANTED"}}
    reply = kit.reply.of(429, body, headers=("Retry-After: 0.01", "Msh-Request-Id: req-7"))

    async def main():
        async with kit.serving(reply) as server, KimiClient(kit.config(server.url)) as client:
            await client.complete(ChatRequest(messages=(Message.user("x"),)))

    with pytest.raises(RateLimitError) as caught:
        asyncio.run(main())
    assert caught.value.retry_after == 0.01
    assert caught.value.request_ids == ("req-7",)
    lines = [record.getMessage() for record in caplog.records if record.name == "kimi_provider.client"]
    assert len(lines) == 2
    assert "moonshot kimi-k3: RateLimitError 429, attempt 1 of 3" in lines[0]
    assert "req-7" in lines[0]
    assert "PLANTED" not in "".join(lines)

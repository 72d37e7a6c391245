import asyncio
import hashlib
import json
import logging
from decimal import Decimal

import pytest

from kimi_provider.analysis.budget import Budget, Need, check_window
from kimi_provider.analysis.caller import Caller
from kimi_provider.analysis.journal import Journal, fingerprint
from kimi_provider.analysis.tokens import TokenEstimator, estimate_tokens
from kimi_provider.analysis.trace import Trace
from kimi_provider.client.client import KimiClient
from kimi_provider.client.config import ClientConfig
from kimi_provider.client.messages import ChatRequest, Message, ToolSpec
from kimi_provider.exceptions import (
    BudgetExceededError,
    ConfigurationError,
    JournalError,
    ServerError,
)
from kimi_provider.schemas import Usage
from kimi_provider.testing import Simulator

PLANTED = "PLANTED-PROMPT-7261"


def config_of(simulator, **extra):
    return ClientConfig.from_mapping(
        base_url=simulator.kimi_url,
        api_key="sk-simulator",
        model="kimi-k2-thinking",
        extra={"host": "moonshot", "max_attempts": 1, **extra},
    )


def ask(text=PLANTED, **fields):
    return ChatRequest(messages=(Message.user(text),), **fields)


async def with_caller(simulator, folder, use, *, budget=None, trace=None, extra=None):
    async with KimiClient(config_of(simulator, **(extra or {}))) as client:
        journal = Journal(folder) if folder else None
        caller = Caller(client, budget=budget or Budget(), trace=trace or Trace(), journal=journal)
        return await use(caller)


@pytest.fixture
def simulator():
    with Simulator() as running:
        yield running


def chats(simulator):
    return simulator.calls.count("/v1/chat/completions")


# --- journal --------------------------------------------------------------------------------------


def test_a_finished_call_is_not_made_again_by_the_next_attempt(simulator, tmp_path):
    async def use(caller):
        return await caller.complete(ask()), caller.usage

    first, paid = asyncio.run(with_caller(simulator, tmp_path, use))
    again, counted = asyncio.run(with_caller(simulator, tmp_path, use))
    assert chats(simulator) == 1
    assert again == first
    assert counted == paid
    assert paid.cost_usd > 0


def test_the_same_question_twice_in_one_run_is_asked_twice(simulator, tmp_path):
    async def use(caller):
        return await asyncio.gather(*(caller.complete(ask()) for _ in range(3)))

    first = asyncio.run(with_caller(simulator, tmp_path, use))
    again = asyncio.run(with_caller(simulator, tmp_path, use))
    assert chats(simulator) == 3
    assert [result.request_ids for result in again] == [result.request_ids for result in first]


def test_a_failed_try_does_not_use_up_the_journal_place(simulator, tmp_path):
    simulator.faults.add("/v1/chat", "server_error", times=1)

    async def use(caller):
        with pytest.raises(ServerError):
            await caller.complete(ask())
        await caller.complete(ask())

    asyncio.run(with_caller(simulator, tmp_path, use))
    before = chats(simulator)
    asyncio.run(with_caller(simulator, tmp_path, lambda caller: caller.complete(ask())))
    assert chats(simulator) == before


def sealed(body):
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize(
    "damage",
    [
        "cut",
        "changed",
        "empty",
        "checksum only",
        "no checksum",
        "no JSON",
        "a list",
        "no result",
        "another result",
        "another usage",
    ],
)
def test_a_damaged_entry_is_no_hit_and_is_replaced(simulator, tmp_path, damage):
    run = lambda: asyncio.run(with_caller(simulator, tmp_path, lambda c: c.complete(ask())))  # noqa: E731 — said three times
    run()
    (entry,) = tmp_path.iterdir()
    data = entry.read_bytes()
    entry.write_bytes(
        {
            "cut": data[: len(data) // 2],
            "changed": data.replace(b'"text":"', b'"text":"x', 1),
            "empty": b"",
            "checksum only": data[:65],
            "no checksum": data[65:],
            "no JSON": sealed(b"version 9"),
            "a list": sealed(b"[1]"),
            "no result": sealed(b'{"answer": "x"}'),
            "another result": sealed(b'{"result": {"text": 5}}'),
            "another usage": sealed(data[65:].replace(b'"input_tokens":', b'"input_tokens":"x",".":')),
        }[damage]
    )
    run()
    assert chats(simulator) == 2
    run()
    assert chats(simulator) == 2


def test_what_counts_as_the_same_question():
    config = ClientConfig.from_mapping(
        api_key="k", model="kimi-k2-thinking", extra={"host": "moonshot", "idle_timeout": 5}
    )
    other = ClientConfig.from_mapping(
        api_key="other", model="kimi-k2-thinking", extra={"host": "cometapi", "idle_timeout": 9}
    )
    name = Caller(KimiClient(config), budget=Budget(), trace=Trace()).fingerprint
    elsewhere = Caller(KimiClient(other), budget=Budget(), trace=Trace()).fingerprint
    tool = ToolSpec("abc", "", {"type": "object"})
    base = ask()
    assert name(base) == name(ask(stream=False)) == name(ask(cache_key="x")) == elsewhere(base)
    assert name(base) == name(ask(model="kimi-k2-thinking"))
    different = [
        base,
        ask("other"),
        ask(model="kimi-k3"),
        ask(max_tokens=5),
        ask(temperature=0.5),
        ask(tools=(tool,)),
        ask(tool_choice="none"),
        ask(json_object=True),
        ask(extra_body={"a": 1}),
    ]
    assert len({name(request) for request in different}) == len(different)


def test_a_rejected_answer_is_asked_again_and_stays_paid(simulator, tmp_path):
    async def first(caller):
        await caller.complete(ask())
        await caller.reject(ask())
        return caller.usage

    async def second(caller):
        await caller.complete(ask())
        return caller.usage

    paid = asyncio.run(with_caller(simulator, tmp_path, first))
    total = asyncio.run(with_caller(simulator, tmp_path, second))
    assert chats(simulator) == 2
    assert total.calls == 2
    assert total.cost_usd > paid.cost_usd
    asyncio.run(with_caller(simulator, tmp_path, second))
    assert chats(simulator) == 2


def test_an_unreadable_journal_stops_before_anything_is_paid(simulator, tmp_path):
    folder = tmp_path / "journal"
    folder.write_text("a file where the folder belongs")
    with pytest.raises(JournalError, match="pay again"):
        asyncio.run(with_caller(simulator, folder, lambda caller: caller.complete(ask())))
    assert chats(simulator) == 0


def test_a_journal_that_cannot_be_written_keeps_the_paid_answer(tmp_path, caplog):
    async def use():
        journal = Journal(tmp_path / "journal")
        await journal.get("call", fingerprint("x"))
        (tmp_path / "journal").write_text("in the way")
        await journal.put("call", fingerprint("x"), {"a": "\ud800 ü"})
        return await journal.get("call", fingerprint("x"))

    assert asyncio.run(use()) == {"a": "\ud800 ü"}
    assert "could not be written" in caplog.text


def test_lone_surrogates_survive_the_journal(tmp_path):
    key = fingerprint("\ud800")
    asyncio.run(Journal(tmp_path).put("tool", key, {"text": "\ud800 ü 漢"}))
    assert asyncio.run(Journal(tmp_path).get("tool", key)) == {"text": "\ud800 ü 漢"}


# --- budget ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"max_cost_usd": "0.001"}, "max_cost_usd=0.001"),
        ({"max_tokens": 10_000}, "max_tokens=10000"),
        ({"max_calls": 0}, "max_calls=0"),
        ({"deadline": 0}, "deadline"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_before_it_is_made(simulator, limits, named):
    with pytest.raises(BudgetExceededError, match=named) as caught:
        asyncio.run(with_caller(simulator, None, lambda c: c.complete(ask()), budget=Budget(**limits)))
    assert PLANTED not in str(caught.value)
    assert chats(simulator) == 0


def test_a_prompt_beyond_the_window_is_refused_with_its_numbers(simulator):
    extra = {"models": {"kimi-k2-thinking": {"context_window": 20_000}}}
    request = ask("word " * 40_000)
    with pytest.raises(BudgetExceededError, match=r"window of kimi-k2-thinking.*20000"):
        asyncio.run(with_caller(simulator, None, lambda c: c.complete(request), extra=extra))
    assert chats(simulator) == 0


def test_an_unknown_window_is_said_once(simulator, caplog):
    async def use(caller):
        for _ in range(2):
            await caller._fit(ask(model="mystery-model"))
        await caller._fit(ask())

    with caplog.at_level(logging.WARNING, "kimi_provider.analysis"):
        asyncio.run(with_caller(simulator, None, use))
    assert caplog.text.count("models.mystery-model.context_window") == 1
    assert "kimi-k2-thinking" not in caplog.text


def test_the_answers_bound_shrinks_to_what_is_left_but_not_below_thinking(simulator):
    async def use(caller):
        await caller.complete(ask())
        fitted, need = await caller._fit(ask())
        return fitted.max_tokens, need

    bound, need = asyncio.run(with_caller(simulator, None, use, budget=Budget(max_cost_usd="0.10")))
    assert 16_000 <= bound < 64_000
    assert need.cost_usd <= Decimal("0.10")


def test_a_bound_that_was_asked_for_is_never_lowered(simulator):
    request = ask(max_tokens=64_000)
    budget = Budget(max_cost_usd="0.10")
    with pytest.raises(BudgetExceededError, match="64000 answer"):
        asyncio.run(with_caller(simulator, None, lambda c: c.complete(request), budget=budget))


def test_earlier_attempts_count_against_the_budget(simulator, tmp_path):
    async def three(caller):
        for number in range(3):
            await caller.complete(ask(f"question {number}"))

    asyncio.run(with_caller(simulator, tmp_path, three))

    async def another(caller):
        await caller.complete(ask("something new"))

    with pytest.raises(BudgetExceededError, match="3 calls were made"):
        asyncio.run(with_caller(simulator, tmp_path, another, budget=Budget(max_calls=3)))
    # What is in the journal stays free.
    asyncio.run(with_caller(simulator, tmp_path, three, budget=Budget(max_calls=3)))
    assert chats(simulator) == 3


def test_calls_at_once_cannot_together_overrun():
    budget = Budget(max_cost_usd=1)
    need = Need("m", 10, 10, Decimal("0.6"))
    with budget.reserve(need), pytest.raises(BudgetExceededError, match=r"0\.4000 USD are free"):  # noqa: SIM117, PT012, RUF100 — the second is the one that fails
        with budget.reserve(need):
            pytest.fail("both were let through")
    with budget.reserve(need):
        budget.add(Usage(calls=1, cost_usd=Decimal("0.1")))
    assert budget.remaining_cost == Decimal("0.9")


def test_an_unknown_price_warns_once_and_does_not_stop(caplog):
    budget = Budget(max_cost_usd=1)
    need = Need("mystery-model", 10, 10, None)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with budget.reserve(need):
                budget.add(Usage(calls=1, cost_usd=None))
    assert caplog.text.count("mystery-model") == 1
    assert budget.spent.cost_usd is None
    caplog.clear()
    with Budget().reserve(need):
        pass
    assert not caplog.text


@pytest.mark.parametrize("limit", [-1, "many", float("nan")])
def test_a_limit_that_is_no_number_is_refused(limit):
    with pytest.raises(ConfigurationError, match="max_cost_usd"):
        Budget(max_cost_usd=limit)


def test_an_unknown_window_lets_everything_through():
    check_window(Need("m", 10**9, 1, None), None)


# --- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0, 0),
        ("The quick brown fox jumps over the lazy dog.", 9, 17),
        ("1234567890" * 3, 9, 20),
        ("航班延误的主要原因是天气和空中交通管制。", 10, 20),
        ("AA,2013-02-08,LGA,930,12.5,-3", 14, 25),
    ],
)
def test_each_class_of_text_has_its_weight(text, low, high):
    assert low <= estimate_tokens(text) <= high


def test_an_estimate_never_exceeds_the_bytes():
    for text in ["!", "1", "🙂", "漢", "a", "\ud800"]:
        assert 1 <= estimate_tokens(text) <= len(text.encode("utf-8", "surrogatepass"))


def test_the_estimate_learns_from_usage_and_follows_a_change():
    estimator = TokenEstimator()
    request = ask("words " * 1000)
    raw = estimator.estimate(request)
    estimator.observe(request, 0)
    assert estimator.estimate(request) == raw
    estimator.observe(request, int(raw * 1.5))
    assert estimator.estimate(request) == pytest.approx(raw * 1.5, rel=0.01)
    for _ in range(8):
        estimator.observe(request, int(raw * 0.8))
    assert estimator.estimate(request) == pytest.approx(raw * 0.8, rel=0.02)
    estimator.observe(request, raw * 1000)
    assert estimator.estimate(request) <= raw * 2


# --- record ---------------------------------------------------------------------------------------


def test_the_trace_has_it_all_once_and_the_log_has_numbers_only(simulator, tmp_path, caplog):
    trace = Trace()

    async def use(caller):
        first = await caller.complete(ask())
        messages = (Message.user(PLANTED), first.message, Message.user("and then?"))
        await caller.complete(ChatRequest(messages=messages))
        return first

    with caplog.at_level(logging.INFO):
        first = asyncio.run(with_caller(simulator, tmp_path, use, trace=trace))
    entries = trace.as_dict()["entries"]
    assert [entry["kind"] for entry in entries] == ["request", "reasoning", "answer", "usage"] * 2
    asked = [entry["new_messages"] for entry in entries if entry["kind"] == "request"]
    assert json.dumps(asked).count(PLANTED) == 1
    assert [len(messages) for messages in asked] == [1, 1]
    assert first.text in [entry.get("text") for entry in entries]
    assert PLANTED not in caplog.text
    assert first.text not in caplog.text
    assert "USD" in caplog.text
    assert first.request_ids[0] in caplog.text


def test_what_the_model_thinks_is_shown_while_it_thinks(simulator):
    lines = []

    async def use():
        async with KimiClient(config_of(simulator)) as client:
            caller = Caller(client, budget=Budget(), trace=Trace(), on_progress=lines.append)
            return await caller.complete(ask())

    result = asyncio.run(use())
    shown = [line for line in lines if line.startswith("Thinking for")]
    assert shown
    assert " ".join(result.reasoning.split())[-40:] in shown[-1]
    assert not any("\n" in line for line in lines)

import asyncio
import hashlib
import json
from decimal import Decimal

import msgspec
import pytest

from kimi_provider.analysis.agent import AgentLimits, AgentResult, run_agent
from kimi_provider.analysis.budget import Budget
from kimi_provider.analysis.caller import Caller
from kimi_provider.analysis.context import HIDDEN, is_full, with_notes
from kimi_provider.analysis.journal import Journal
from kimi_provider.analysis.permissions import Approval, Policy
from kimi_provider.analysis.tools import tool
from kimi_provider.analysis.trace import Trace
from kimi_provider.analysis.transcript import ApprovalNeeded, load_transcript
from kimi_provider.client.client import KimiClient
from kimi_provider.client.config import ClientConfig
from kimi_provider.client.messages import ChatRequest, ChatResult, Message, ToolCall, ToolSpec
from kimi_provider.exceptions import (
    BudgetExceededError,
    ConfigurationError,
    ContextLengthError,
    EmptyAnswerError,
    JournalError,
    ToolLoopLimitError,
    TruncatedAnswerError,
)
from kimi_provider.schemas import Usage
from kimi_provider.testing import Simulator

MODEL = "kimi-k2-thinking"


def config_of(url="https://api.moonshot.ai/v1", **extra):
    return ClientConfig.from_mapping(
        base_url=url, api_key="k", model=MODEL, extra={"host": "moonshot", "max_attempts": 1, **extra}
    )


def calling(name, arguments, *more, tokens=1000, finish="tool_calls"):
    calls = tuple(
        ToolCall(f"{n}:{i}", n, a if isinstance(a, str) else json.dumps(a))
        for i, (n, a) in enumerate([(name, arguments), *more])
    )
    return answer("", tool_calls=calls, finish_reason=finish, tokens=tokens)


def answer(text, *, tokens=1000, finish_reason="stop", **fields):
    usage = Usage(calls=1, input_tokens=tokens, output_tokens=100, cost_usd=Decimal("0.01"))
    return ChatResult(
        text=text, reasoning="I think", usage=usage, model=MODEL, finish_reason=finish_reason, **fields
    )


class Script:
    """A client that answers from a list; a function in it is asked, an exception is raised."""

    def __init__(self, *answers, **extra):
        self.config = config_of(**extra)
        self.answers = list(answers)
        self.requests = []

    async def complete(self, request, *, on_event=None):
        self.requests.append(request)
        given = self.answers[min(len(self.requests), len(self.answers)) - 1]
        given = given(request) if callable(given) else given
        if isinstance(given, Exception):
            raise given
        return given

    async def estimate_tokens(self, request):
        return sum(len(message.content or "") for message in request.messages) // 4


def start(client, tools=(), *, folder=None, budget=None, trace=None, question="Go", **options):
    caller = Caller(
        client,
        budget=budget or Budget(),
        trace=trace or Trace(),
        journal=Journal(folder) if folder else None,
    )
    fields = {name: options.pop(name) for name in ("max_tokens",) if name in options}
    request = ChatRequest(messages=(Message.user(question),), **fields)
    return asyncio.run(run_agent(caller, request, tools, **options))


@tool
def double(number: int) -> int:
    """Double a number."""
    return 2 * number


def tool_texts(result):
    return [message.content for message in result.messages if message.role == "tool"]


def check_conversation(messages):
    """No call without its result right behind it, and no result without its call."""
    position = 0
    while position < len(messages):
        calls = messages[position].tool_calls
        results = messages[position + 1 : position + 1 + len(calls)]
        assert [m.tool_call_id for m in results] == [call.id for call in calls]
        position += 1 + len(calls)
        assert position >= len(messages) or messages[position].role != "tool"


# --- the loop -------------------------------------------------------------------------------------


def test_calls_results_and_thinking_go_back_until_the_answer_comes():
    client = Script(calling("double", {"number": 21}), answer("It is 42."))
    result = start(client, [double])
    assert isinstance(result, AgentResult)
    assert (result.text, result.steps, result.limit) == ("It is 42.", 2, None)
    second = client.requests[1].messages
    assert second[1].reasoning == "I think"
    assert second[2] == Message.tool("double:0", "double", "42")
    assert client.requests[0].cache_key == client.requests[1].cache_key != None  # noqa: E711 — one chain says it all
    assert result.usage.calls == 2
    check_conversation(result.messages)


def test_tools_of_one_turn_run_at_the_same_time_and_answer_in_order():
    running, most = 0, 0

    @tool
    async def wait(name: str) -> str:
        """Wait."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return name

    calls = [("wait", {"name": letter}) for letter in "abcdef"]
    result = start(
        Script(calling(*calls[0], *calls[1:]), answer("ok")),
        [wait],
        limits=AgentLimits(max_concurrent_tools=4),
    )
    assert most == 4
    assert tool_texts(result) == list("abcdef")


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("double", '{"number": ', "do not fit"),
        ("double", '{"number": "many"}', "number: "),
        ("double", '{"number": 1, "more": 2}', "more: "),
        ("double", "[1]", "do not fit"),
        ("halve", "{}", "there is no tool 'halve'; there are: double"),
    ],
)
def test_what_is_wrong_with_a_call_is_told_to_the_model(name, arguments, told):
    client = Script(calling(name, arguments), calling("double", {"number": 4}), answer("8"))
    result = start(client, [double])
    assert told in tool_texts(result)[0]
    assert tool_texts(result)[1] == "8"
    assert [record.failed for record in result.tool_calls] == [True, False]


def test_a_failing_slow_or_talkative_tool_does_not_end_the_run():
    @tool
    def broken() -> str:
        """Break."""
        raise RuntimeError("no such thing")

    @tool(timeout=0.05)
    async def slow() -> str:
        """Sleep."""
        await asyncio.sleep(30)
        return "late"

    @tool(max_characters=10)
    def long() -> str:
        """Talk."""
        return "x" * 1000

    client = Script(calling("broken", {}, ("slow", {}), ("long", "")), answer("ok"))
    texts = tool_texts(start(client, [broken, slow, long]))
    assert "RuntimeError: no such thing" in texts[0]
    assert "took longer than 0.05 s" in texts[1]
    assert texts[2].startswith("x" * 10 + "\n[The result has 1000 characters; only the first 10")


def test_nothing_is_executed_of_a_cut_call_and_the_next_try_has_more_room():
    made = []

    @tool
    def note(text: str) -> None:
        """Note."""
        made.append(text)

    cut = calling("note", '{"text": "half"}', finish="length")
    client = Script(cut, calling("note", {"text": "whole"}), answer("ok"))
    result = start(client, [note], max_tokens=8_000)
    assert made == ["whole"]
    assert [request.max_tokens for request in client.requests] == [8_000, 16_000, 8_000]
    assert client.requests[1].messages == client.requests[0].messages
    assert result.usage.calls == 3


@pytest.mark.parametrize(
    ("bad", "error", "calls"),
    [
        (answer("half", finish_reason="length"), TruncatedAnswerError, 3),
        (answer("half", finish_reason=None), TruncatedAnswerError, 3),
        (answer(""), EmptyAnswerError, 3),
        (answer(" \n"), EmptyAnswerError, 3),
    ],
)
def test_an_answer_that_stays_unusable_is_an_error_that_a_retry_asks_anew(tmp_path, bad, error, calls):
    client = Script(bad)
    with pytest.raises(error):
        start(client, folder=tmp_path, max_tokens=1_000)
    assert len(client.requests) == calls
    again = Script(answer("fine"))
    assert start(again, folder=tmp_path, max_tokens=1_000).text == "fine"
    assert len(again.requests) == 1


def test_a_retry_finds_calls_and_tool_results_and_runs_neither_again(tmp_path):
    runs = []

    @tool
    def count(n: int) -> int:
        """Count."""
        runs.append(n)
        return len(runs)

    answers = [calling("count", {"n": n}) for n in range(5)]
    first = start(Script(*answers, answer("done")), [count], folder=tmp_path)
    nobody = Script(AssertionError("asked again"))
    again = start(nobody, [count], folder=tmp_path)
    assert runs == [0, 1, 2, 3, 4]
    assert not nobody.requests
    assert again.messages == first.messages
    assert again.usage == first.usage


# --- circles --------------------------------------------------------------------------------------


def test_identical_calls_are_reminded_and_stopped():
    runs = []

    @tool
    def look(where: str, deep: bool = False) -> str:
        """Look."""
        runs.append(where)
        return "nothing"

    def model(request):
        if request.tool_choice == "none":
            return answer("I found nothing.")
        # The same call, however its JSON is spelt.
        odd = len(request.messages) % 4 == 1
        return calling(
            "look", '{"deep":false,"where":"here"}' if odd else '{"where": "here", "deep": false}'
        )

    client = Script(model)
    result = start(client, [look])
    assert result.text == "I found nothing."
    assert result.limit == "12 identical tool calls"
    assert len(runs) == 11
    reminded = [i + 1 for i, text in enumerate(tool_texts(result)) if "this very call" in text]
    assert reminded == [3, 5, 8]
    assert client.requests[-1].tools == client.requests[0].tools
    check_conversation(result.messages)


def test_circles_of_several_calls_are_seen_and_progress_is_none():
    steps = iter(range(1000))

    def circle(request):
        if request.tool_choice == "none":
            return answer("stopped")
        return calling("double", {"number": next(steps) % 3})

    assert start(Script(circle), [double]).steps == 36

    def progress(request):
        step = next(steps)
        # Always the same look between two new steps.
        return calling("double", {"number": 0 if step % 2 else step}) if step < 1100 else answer("done")

    steps = iter(range(1001, 1200))
    result = start(Script(progress), [double])
    assert (result.text, result.limit) == ("done", None)


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "steps", "name"),
    [
        ({"max_steps": 4}, 4, "4 steps"),
        ({"max_tool_calls": 3}, 3, "3 tool calls"),
        ({"max_tokens": 6_000}, 4, "6000 tokens"),
        ({"max_cost_usd": 0.06}, 5, "0.06 USD"),
        ({"max_seconds": 0}, 0, "0 seconds"),
    ],
)
def test_at_a_limit_the_final_answer_is_still_asked_for(limits, steps, name):
    numbers = iter(range(100))

    def model(request):
        if request.tool_choice == "none":
            assert name in request.messages[-1].content
            return answer("what I have")
        return calling("double", {"number": next(numbers)})

    result = start(Script(model), [double], limits=AgentLimits(**limits))
    assert (result.text, result.limit, result.steps) == ("what I have", name, steps)
    if "max_tokens" in limits:
        assert result.usage.input_tokens + result.usage.output_tokens <= limits["max_tokens"]
    if "max_cost_usd" in limits:
        assert result.usage.cost_usd <= Decimal("0.06")


def test_calls_beyond_the_limit_in_one_turn_are_answered_but_not_made():
    runs = []

    @tool
    def step(n: int) -> int:
        """Step."""
        runs.append(n)
        return n

    calls = [("step", {"n": n}) for n in range(5)]
    client = Script(calling(*calls[0], *calls[1:]), answer("so far"))
    result = start(client, [step], limits=AgentLimits(max_tool_calls=3))
    assert sorted(runs) == [0, 1, 2]
    assert [record.decision for record in result.tool_calls] == ["allow"] * 3 + ["not made"] * 2
    check_conversation(result.messages)


def test_no_answer_at_a_limit_is_an_error_that_names_it():
    client = Script(lambda request: calling("double", {"number": len(request.messages)}))
    with pytest.raises(ToolLoopLimitError, match="2 steps"):
        start(client, [double], limits=AgentLimits(max_steps=2))


def test_text_beside_a_call_at_a_limit_is_the_answer():
    def model(request):
        call = calling("double", {"number": len(request.messages)})
        return msgspec.structs.replace(call, text="enough") if request.tool_choice == "none" else call

    result = start(Script(model), [double], limits=AgentLimits(max_steps=1))
    assert result.text == "enough"
    check_conversation(result.messages)


def test_a_budget_that_runs_out_still_buys_a_short_answer():
    def model(request):
        if request.tool_choice == "none":
            assert request.max_tokens in {16_000, 4_000}
            return answer("short")
        return calling("double", {"number": len(request.messages)}, tokens=20_000)

    # K2 Thinking at 2.50 USD per million of output: 0.16 a call of 64,000, 0.04 one of 16,000.
    result = start(Script(model), [double], budget=Budget(max_cost_usd="0.19"), max_tokens=64_000)
    assert (result.text, result.limit) == ("short", "the task's budget")
    with pytest.raises(BudgetExceededError):
        start(Script(model), [double], budget=Budget(max_calls=0))


# --- the window -----------------------------------------------------------------------------------


def test_when_a_window_is_full():
    assert not is_full(10**9, None, None)
    assert is_full(850_000, 1_000_000, None)
    assert not is_full(840_000, 1_000_000, None)
    assert is_full(215_000, 262_144, None)
    assert not is_full(200_000, 262_144, None)
    assert is_full(200_000, 262_144, 64_000)
    assert not is_full(10_000, 20_000, None)


def fill(client_window, steps, text, **options):
    """Run so many steps whose results are long; the host refuses what is over the window."""
    sizes = []

    def size(request):
        return sum(len(m.content or "") + len(m.reasoning or "") for m in request.messages) // 4

    @tool(max_characters=10**6)
    def read(page: int) -> str:
        """Read a page."""
        return f"page {page} " + text

    pages = iter(range(1000))

    def model(request):
        check_conversation(request.messages)
        sizes.append(size(request))
        if "Write notes" in (request.messages[-1].content or ""):
            return answer(f"NOTES up to {next(pages)}", tokens=size(request))
        page = next(pages)
        if page >= steps:
            return answer("read all", tokens=size(request))
        return calling("read", {"page": page}, tokens=size(request))

    client = Script(model, models={MODEL: {"context_window": client_window}})
    result = start(client, [read], max_tokens=2_000, **options)
    return result, client, sizes


def test_old_tool_results_are_hidden_before_the_window_overflows():
    result, client, sizes = fill(40_000, 60, "word " * 2_000)
    assert result.text == "read all"
    assert max(sizes) < 40_000
    texts = tool_texts(result)
    assert HIDDEN in texts
    assert texts[-1].startswith("page 59 ")
    # Calls and thinking stay, and the cuts are few: each throws away the host's prefix cache.
    assert len([m for m in result.messages if m.tool_calls]) == 60
    cuts = sum(
        after.messages[: len(before.messages)] != before.messages
        for before, after in zip(client.requests, client.requests[1:], strict=False)
    )
    assert 1 <= cuts <= 10


def test_a_window_full_of_thinking_is_summed_up_by_the_model():
    def thinking(request):
        steps = sum(bool(m.tool_calls) for m in request.messages) + sum(
            30 for m in request.messages if "your own notes" in (m.content or "")
        )
        size = sum(len(m.content or "") + len(m.reasoning or "") for m in request.messages) // 4
        if "Write notes" in request.messages[-1].content:
            assert request.tool_choice == "none"
            return answer("what I knew", tokens=size)
        if steps >= 40:
            return answer("done", tokens=size)
        return msgspec.structs.replace(
            calling("double", {"number": size}, tokens=size), reasoning="hm " * 4_000
        )

    client = Script(thinking, models={MODEL: {"context_window": 100_000}})
    result = start(client, [double], max_tokens=2_000, question="THE QUESTION")
    assert result.text == "done"
    check_conversation(result.messages)
    assert result.messages[0].content == "THE QUESTION"
    assert "what I knew" in result.messages[1].content


def test_a_prompt_that_the_host_finds_too_long_is_cut_and_sent_again(tmp_path):
    refused = []

    def model(request):
        check_conversation(request.messages)
        size = sum(len(message.content or "") for message in request.messages)
        if size > 30_000:
            refused.append(size)
            return ContextLengthError("too long", status=400)
        pages = sum(message.role == "tool" for message in request.messages)
        return calling("read", {"page": pages}) if pages < 12 else answer("read all")

    @tool
    def read(page: int) -> str:
        """Read a page."""
        return f"page {page} " + "word " * 1_000

    result = start(Script(model), [read], folder=tmp_path)
    assert result.text == "read all"
    assert refused
    again = Script(AssertionError("asked again"))
    # Refusals are not in the journal: a retry meets them again, and they cost nothing.
    again.answers = [model]
    assert start(again, [read], folder=tmp_path).text == "read all"


def test_a_question_that_does_not_fit_is_an_error():
    client = Script(ContextLengthError("too long", status=400))
    with pytest.raises(ContextLengthError):
        start(client, [double])
    assert len(client.requests) == 1


def test_notes_never_part_a_call_from_its_result():
    messages = [Message.system("s"), Message.user("q")]
    for n in range(4):
        calls = (ToolCall(f"{n}a", "t", "{}"), ToolCall(f"{n}b", "t", "{}"))
        messages += [Message.assistant("", tool_calls=calls)]
        messages += [Message.tool(call.id, "t", "x") for call in calls]
    cut = with_notes(messages, 2, "my notes")
    assert [m.role for m in cut] == ["system", "user", "user", "assistant", "tool", "tool"]
    check_conversation(cut)
    again = with_notes([*cut, *messages[2:5]], 2, None)
    assert [m.role for m in again] == ["system", "user", "user", "assistant", "tool", "tool"]
    assert with_notes(messages[:5], 2, "x") == messages[:5]


# --- permissions ----------------------------------------------------------------------------------


def mailing(sent):
    @tool(permission="ask")
    def send(to: str, amount: int = 0) -> str:
        """Send."""
        sent.append(to)
        return f"sent to {to}"

    return send


def test_a_call_that_needs_a_person_parks_the_run_and_resumes_where_it_stood(tmp_path):
    sent, doubled = [], []

    @tool
    def twice(number: int) -> int:
        """Double."""
        doubled.append(number)
        return 2 * number

    tools = [mailing(sent), twice]
    turn = calling(
        "send", {"to": "a@example.com"}, ("twice", {"number": 4}), ("send", {"to": "b@example.com"})
    )
    parked = start(Script(calling("twice", {"number": 1}), turn), tools, folder=tmp_path)
    assert isinstance(parked, ApprovalNeeded)
    parked = ApprovalNeeded.model_validate(json.loads(json.dumps(parked.model_dump(mode="json"))))
    assert [r.arguments for r in parked.requests] == [{"to": "a@example.com"}, {"to": "b@example.com"}]
    assert sent == []
    decisions = {
        parked.requests[0].key: Approval(approved=True, by="Ada"),
        parked.requests[1].key: Approval(approved=False, by="Ada", note="not this one"),
    }
    transcript = asyncio.run(load_transcript(tmp_path / parked.transcript_uri.rpartition("/")[2]))
    trace = Trace()
    client = Script(answer("done"))
    # Even a question that was changed since does not send it back to the start.
    result = start(
        client,
        tools,
        folder=tmp_path,
        approvals=decisions,
        resume=transcript,
        trace=trace,
        question="New",
    )
    assert result.text == "done"
    assert sent == ["a@example.com"]
    assert doubled == [1, 4]
    assert len(client.requests) == 1
    assert client.requests[0].messages[0].content == "Go"
    texts = tool_texts(result)
    assert texts[1:3] == ["sent to a@example.com", "8"]
    assert "a person refused this call: not this one" in texts[3]
    assert [r.decision for r in result.tool_calls] == ["allow", "approved", "allow", "refused"]
    decided = [e for e in trace.as_dict()["entries"] if e["kind"] == "tool"]
    assert [entry["decision"] for entry in decided] == ["approved", "allow", "refused"]
    assert "Ada" in decided[0]["reason"]
    assert result.usage.calls == 3

    # A retry from the start neither pays, nor asks, nor sends again.
    nobody = Script(AssertionError("asked again"))
    assert start(nobody, tools, folder=tmp_path).text == "done"
    assert sent == ["a@example.com"]


def test_asking_again_gives_the_same_keys_and_pays_nothing(tmp_path):
    tools = [mailing([])]
    client = Script(calling("send", {"to": "a@example.com"}))
    first = start(client, tools, folder=tmp_path)
    second = start(client, tools, folder=tmp_path)
    assert first.requests == second.requests
    assert len(client.requests) == 1


def test_policy_decides_down_to_arguments(tmp_path):
    sent = []
    policy = Policy.from_mapping(
        {
            "send": [
                {"decision": "deny", "arguments": {"amount": 100}, "reason": "too much"},
                {"decision": "allow", "arguments": {"to": ["*@example.com", "boss@*"]}},
                "ask",
            ],
            "*": "deny",
        }
    )
    turn = calling(
        "send",
        {"to": "a@example.com"},
        # Lax reading makes 100 of "100"; the policy judges what the tool would get.
        ("send", {"to": "a@example.com", "amount": "100"}),
        ("double", {"number": 1}),
    )
    result = start(Script(turn, answer("ok")), [mailing(sent), double], folder=tmp_path, policy=policy)
    assert sent == ["a@example.com"]
    assert [r.decision for r in result.tool_calls] == ["allow", "deny", "deny"]
    assert "too much" in tool_texts(result)[1]
    asked = start(
        Script(calling("send", {"to": "a@evil.example?@example.com"})),
        [mailing(sent)],
        folder=tmp_path / "other",
        policy=policy,
    )
    assert isinstance(asked, ApprovalNeeded)


def test_a_built_in_tool_gets_its_arguments_back(tmp_path):
    search = ToolSpec("$web_search", "", {}, builtin=True)
    arguments = '{"search_result": {"search_id": "x"}, "usage": {"total_tokens": 9}}'

    def run(folder, policy):
        client = Script(calling("$web_search", arguments, ("double", {"number": 2})), answer("done"))
        caller = Caller(client, budget=Budget(), trace=Trace(), journal=Journal(folder))
        request = ChatRequest(messages=(Message.user("Go"),), tools=(search,))
        result = asyncio.run(run_agent(caller, request, [double], policy=Policy.from_mapping(policy)))
        assert [spec.name for spec in client.requests[0].tools] == ["$web_search", "double"]
        assert client.requests[0].tools[0] == search
        return tool_texts(result)

    assert run(tmp_path / "allow", {}) == [arguments, "4"]
    assert "not permitted" in run(tmp_path / "deny", {"$web_search": "deny"})[0]


def test_a_rule_sees_the_default_of_an_argument_that_is_left_out(tmp_path):
    removed = []

    @tool
    def remove(path: str = "/secret/all", *, recursive: bool = False) -> str:
        """Remove."""
        removed.append((path, recursive))
        return "removed"

    policy = {"remove": [{"arguments": {"path": "/secret/**"}, "decision": "deny"}, "allow"]}
    client = Script(calling("remove", {}, ("remove", {"path": "/data/x"})), answer("done"))
    start(client, [remove], folder=tmp_path, policy=Policy.from_mapping(policy))
    assert removed == [("/data/x", False)]


def test_a_tool_result_that_this_version_cannot_read_is_none(tmp_path):
    made = []

    @tool
    def count(number: int) -> int:
        """Count."""
        made.append(number)
        return len(made)

    def go(*answers):
        return start(Script(*answers), [count], folder=tmp_path)

    go(calling("count", {"number": 1}), answer("done"))
    (kept,) = (path for path in tmp_path.iterdir() if path.name.startswith("tool-"))
    body = b'{"value": 1}'
    kept.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert tool_texts(go(answer("done"))) == ["2"]
    assert tool_texts(go(answer("done"))) == ["2"]


def test_a_tool_that_asks_needs_a_journal():
    with pytest.raises(ConfigurationError, match="journal"):
        start(Script(answer("x")), [mailing([])])


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(ConfigurationError, match="'double'"):
        start(Script(answer("x")), [double, double])


def test_a_transcript_that_is_gone_or_cut_says_what_to_do(tmp_path):
    with pytest.raises(JournalError, match="from its start"):
        asyncio.run(load_transcript(tmp_path / "none.json"))
    (tmp_path / "cut.json").write_text('{"run": "x", "mess')
    with pytest.raises(JournalError, match="from its start"):
        asyncio.run(load_transcript(tmp_path / "cut.json"))


# --- against the simulator ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as running:
        yield running


def simulate(simulator, scenario, tools, *, question, folder=None, host="moonshot", **options):
    kind, fields = scenario
    simulator.script(kind, match=question, **fields)

    async def use():
        config = config_of(simulator.kimi_url, host=host)
        async with KimiClient(config) as client:
            caller = Caller(
                client, budget=Budget(), trace=Trace(), journal=Journal(folder) if folder else None
            )
            request = ChatRequest(messages=(Message.user(question),), max_tokens=16_000)
            return await run_agent(caller, request, tools, **options)

    return asyncio.run(use())


@pytest.mark.parametrize(
    ("kind", "fields", "made"),
    [
        ("bad_arguments", {"arguments": {"number": 3}}, 2),
        ("unknown_tool", {"arguments": {"number": 3}}, 2),
        ("truncated_call", {"arguments": {"number": 3}, "until_max_tokens": 20_000}, 1),
        ("empty", {"until_max_tokens": 20_000}, 0),
        ("repeat", {"arguments": {"number": 3}}, 12),
        ("tools", {"steps": 4, "per_turn": 5, "arguments": {"number": "{step}"}}, 20),
    ],
)
def test_every_misbehavior_of_the_model_ends_in_an_answer(simulator, kind, fields, made):
    result = simulate(simulator, (kind, fields), [double], question=f"case of {kind}")
    assert result.text
    assert len(result.tool_calls) == made


def test_calls_that_a_host_leaks_into_the_text_are_made(simulator):
    result = simulate(
        simulator,
        ("leaked", {"arguments": {"number": 3}}),
        [double],
        question="leaking host",
        host="openai-compatible",
    )
    assert tool_texts(result) == ["6"]

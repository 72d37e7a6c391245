"""Streams and answers, recorded and odd, parsed without a network: any split gives the same result."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_provider.client.chunk import lenient_chunk
from kimi_provider.client.messages import TextDelta, ToolCall
from kimi_provider.client.models import find_profile
from kimi_provider.client.response import Assembler
from kimi_provider.client.sse import EventStream

MOONSHOT = Path(__file__).parents[3] / "shared" / "recordings" / "moonshot"
K3 = find_profile("kimi-k3", {}).price


def chunks_of(name):
    path = MOONSHOT / name
    if not path.exists():
        pytest.skip("the recordings are not here")
    return [line for line in path.read_text().splitlines() if line.strip()]


def stream_of(lines, newline="\n"):
    return "".join(f"data: {line}{newline}{newline}" for line in [*lines, "[DONE]"]).encode()


def parse(data, cuts=(), *, tools=(), leaks=False, emit=None):
    """Feed ``data`` in the packets that ``cuts`` make of it."""
    events = EventStream(1 << 20)
    assembler = Assembler("asked", tools=tools, leaks=leaks, emit=emit)
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for start, end in itertools.pairwise(edges):
        for event in events.feed(data[start:end]):
            assembler.add(event)
    for event in events.close():
        assembler.add(event)
    return assembler.result(request_ids=("r1",), price=K3)


def delta(**fields):
    finish = fields.pop("finish", None)
    return json.dumps(
        {"id": "c1", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]},
        ensure_ascii=False,
    )


# --- recorded ---------------------------------------------------------------------------------------


def test_recorded_k3_stream():
    result = parse(stream_of(chunks_of("moonshotai-metadata-live.chunks.txt")))
    assert result.tool_calls == (ToolCall("get_weather_0", "get_weather", '{"city": "Paris"}'),)
    assert (result.text, result.finish_reason, result.truncated) == ("", "tool_calls", False)
    assert result.reasoning.startswith("User explicitly asks use get_weather.")
    assert result.reasoning_key == "reasoning_content"
    usage = result.usage
    assert (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.reasoning_tokens,
    ) == (213, 99, 213, 46)
    assert str(usage.cost_usd) == "0.0015489"
    assert result.model == "kimi-k3"


def test_recorded_k3_answer():
    path = MOONSHOT / "moonshotai-metadata-live.json"
    if not path.exists():
        pytest.skip("the recordings are not here")
    result = whole(json.loads(path.read_text()))
    assert result.tool_calls == (ToolCall("get_weather_0", "get_weather", '{"city": "Paris"}'),)
    assert result.usage.output_tokens == 97
    assert "functions" not in result.tool_calls[0].id


def test_recorded_answer_of_reasoning_alone():
    path = MOONSHOT / "moonshotai-k2.6-tool-choice-omitted.json"
    if not path.exists():
        pytest.skip("the recordings are not here")
    result = whole(json.loads(path.read_text()))
    assert (result.text, result.finish_reason, result.truncated) == ("", "length", True)
    assert result.reasoning
    assert result.usage.reasoning_tokens == 31


def test_recorded_last_chunk_has_usage_in_the_choice():
    path = MOONSHOT / "kosong-kimi-k2-turbo-final-chunk.json"
    if not path.exists():
        pytest.skip("the recordings are not here")
    result = parse(stream_of([path.read_text().replace("\n", "")]))
    assert (result.usage.input_tokens, result.usage.cache_read_tokens) == (8, 8)
    assert result.system_fingerprint == "fpv0_10a6da87"


def test_recorded_calls_without_index():
    result = parse(stream_of(chunks_of("moonshotai-stream-indexless-tool-calls.chunks.txt")))
    assert result.tool_calls == (
        ToolCall("weather_0", "weather", '{"location":"San Francisco"}'),
        ToolCall("time_1", "time", '{"zone":"UTC"}'),
    )


def whole(body):
    assembler = Assembler("asked")
    assembler.add(lenient_chunk(body))
    return assembler.result(request_ids=(), price=K3)


# --- any split of any stream ------------------------------------------------------------------------

SYNTHETIC = [
    delta(role="assistant", content=""),
    delta(reasoning_content="Überlegen… 日本語 \u2028 \u0085"),
    delta(reasoning_content=""),
    delta(content="Grüße 🎉 <b>"),
    delta(content=" und <think"),
    delta(tool_calls=[{"index": 0, "id": "f:0", "function": {"name": "look_up", "arguments": ""}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '{"q": "ä'}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '🎉"}'}}]),
    delta(finish="tool_calls"),
    json.dumps({"id": "c1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
]
LEAKED = [
    delta(reasoning="I should look. <|tool_calls_section_begin|>"),
    delta(content="<think>No"),
    delta(content=" idea</think>Let me look"),
    delta(content=" it up <|tool_call"),
    delta(content="s_section_begin|><|tool_call_begin|>functions.look_up:0<|tool_call_argument_begin|>"),
    delta(content='{"q": 1}<|tool_call_end|><|tool_calls_section_end|>'),
    delta(finish="stop"),
]


def streams():
    found = {"synthetic": SYNTHETIC, "leaked": LEAKED}
    for path in sorted(MOONSHOT.glob("*.chunks.txt")) if MOONSHOT.exists() else ():
        found[path.name] = [line for line in path.read_text().splitlines() if line.strip()]
    return found


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("name", streams())
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 1 << 20), max_size=60))
def test_any_split_gives_the_same_result(name, newline, cuts):
    data = stream_of(streams()[name], newline)
    leaks = name == "leaked"
    told = []
    result = parse(data, cuts, tools=("look_up",), leaks=leaks, emit=told.append)
    assert result == parse(data, tools=("look_up",), leaks=leaks)
    assert result == parse(data, range(len(data)), tools=("look_up",), leaks=leaks)
    text = "".join(event.text for event in told if type(event).__name__ == "TextDelta")
    if not leaks:
        assert text == result.text
    assert "<|" not in text


# --- what hosts do ----------------------------------------------------------------------------------


def calls_of(*deltas, whole_message=False):
    if whole_message:
        body = {"choices": [{"message": {"tool_calls": list(deltas)}, "finish_reason": "tool_calls"}]}
        return whole(body).tool_calls
    return parse(
        stream_of([delta(tool_calls=d) for d in deltas] + [delta(finish="tool_calls")])
    ).tool_calls


def piece(arguments="", name=None, **more):
    return more | {"function": {"arguments": arguments} | ({"name": name} if name else {})}


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (
            [
                [piece("", "f_a", index=0, id="x")],
                [piece("", "f_b", index=1, id="x")],
                [piece("{}", index=1)],
                [piece("[]", index=0)],
            ],
            [("x", "f_a", "[]"), ("x", "f_b", "{}")],
        ),
        (
            [
                [piece("", "f_a", id="x")],
                [piece('{"a"')],
                [piece(":1}")],
                [piece("", "f_b", id="y")],
                [piece("{}")],
            ],
            [("x", "f_a", '{"a":1}'), ("y", "f_b", "{}")],
        ),
        (
            [[piece('{"a"', "f_a", id="x")], [piece(":1}", "f_a", id="x")]],
            [("x", "f_a", '{"a":1}')],
        ),
        (
            [[piece("{}", "f_a", id="x")], [piece("{}", "f_a", id="x")]],
            [("x", "f_a", "{}"), ("x", "f_a", "{}")],
        ),
        (
            [[piece("{}", "f_a", index=0, id="x")], [piece("{}", "f_b", index=0, id="y")]],
            [("x", "f_a", "{}"), ("y", "f_b", "{}")],
        ),
        ([[piece("{}", "f_a", index=0)]], [("functions.f_a:0", "f_a", "{}")]),
        ([[piece("{}", "f_a", index="0", id="x")]], [("x", "f_a", "{}")]),
        (
            [[{"index": 0, "id": "x", "function": {"name": "f_a", "arguments": {"a": 1}}}]],
            [("x", "f_a", '{"a": 1}')],
        ),
        (
            [[piece("{}", "f_a", id="x")], [piece("{}", "f_b")]],
            [("x", "f_a", "{}"), ("functions.f_b:1", "f_b", "{}")],
        ),
        (
            [[piece("{", "f_a", id="x")], [piece("}", "f_a", id="x")], [piece("", "f_a", id="x")]],
            [("x", "f_a", "{}")],
        ),
        (
            [[piece("{", "f_a", index=0, id="x")], [piece("}", "", index=0, id="y")]],
            [("x", "f_a", "{}")],
        ),
    ],
    ids=[
        "one id for two calls",
        "no index",
        "id and name on every piece",
        "one id for two calls, no index",
        "index 0 for every call",
        "no id",
        "index as text",
        "arguments as object",
        "second call has only a name",
        "id and name on every piece, the last one empty",
        "another id on every piece",
    ],
)
def test_odd_tool_calls(deltas, expected):
    assert [(c.id, c.name, c.arguments) for c in calls_of(*deltas)] == expected


def test_whole_answer_keeps_calls_that_share_index_and_id():
    found = calls_of(
        piece("{}", "f_a", index=0, id="x"), piece("{}", "f_b", index=0, id="x"), whole_message=True
    )
    assert [(c.id, c.name) for c in found] == [("x", "f_a"), ("x", "f_b")]


@pytest.mark.parametrize(
    ("deltas", "key", "text"),
    [
        ([{"reasoning_content": "a"}, {"reasoning_content": "b"}], "reasoning_content", "ab"),
        ([{"reasoning": "a"}, {"reasoning": "b"}], "reasoning", "ab"),
        ([{"reasoning_details": "a"}], "reasoning_details", "a"),
        ([{"reasoning_content": None, "reasoning": "a"}], "reasoning", "a"),
        ([{"reasoning_content": "", "reasoning": "a"}], "reasoning", "a"),
        ([{"reasoning_content": "a", "reasoning": "a"}], "reasoning_content", "a"),
        (
            [{"reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a"}]}],
            "reasoning",
            "a",
        ),
        ([{"reasoning_details": [{"type": "reasoning.text", "text": "a"}]}], "reasoning_details[]", "a"),
        ([{"reasoning_content": ""}], "reasoning_content", ""),
        ([{"reasoning_content": ""}, {"reasoning": "a"}], "reasoning", "a"),
        ([{"content": "x"}], None, None),
    ],
    ids=str,
)
def test_reasoning_is_read_from_whatever_key(deltas, key, text):
    result = parse(stream_of([delta(**d) for d in deltas] + [delta(finish="stop")]))
    assert (result.reasoning_key, result.reasoning) == (key, text)


@pytest.mark.parametrize(
    ("usages", "expected"),
    [
        (
            [
                {"choice": {"prompt_tokens": 5, "completion_tokens": 1}},
                {"top": {"prompt_tokens": 5, "completion_tokens": 2}},
            ],
            (5, 2, 0),
        ),
        ([{"choice": {"prompt_tokens": 5, "completion_tokens": 1}}, {"top": None}], (5, 1, 0)),
        (
            [
                {
                    "top": {
                        "prompt_tokens": 9,
                        "completion_tokens": 3,
                        "prompt_tokens_details": {"cached_tokens": 4},
                    }
                }
            ],
            (9, 3, 4),
        ),
        ([{"top": {"prompt_tokens": -7, "completion_tokens": 3, "cached_tokens": 2}}], (0, 3, 0)),
        ([{"top": {"prompt_tokens": 3, "completion_tokens": "x", "cached_tokens": 50}}], (3, 0, 3)),
        (
            [
                {"choice": {"prompt_tokens": 5, "completion_tokens": 1}},
                {"top": {"prompt_tokens": 0, "completion_tokens": 0}},
            ],
            (5, 1, 0),
        ),
        ([{"top": {"input_tokens": 4, "output_tokens": 2}}], (4, 2, 0)),
        (
            [{"top": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_cache_hit_tokens": 8}}],
            (9, 3, 8),
        ),
    ],
    ids=[
        "both places",
        "only in the choice",
        "details",
        "negative",
        "nonsense",
        "zeros at the end",
        "another protocol's names",
        "cache hits by another name",
    ],
)
def test_usage_is_the_last_and_never_summed(usages, expected):
    lines = [delta(content="x")]
    for usage in usages:
        choice = {"index": 0, "delta": {}, "finish_reason": "stop"} | (
            {"usage": usage["choice"]} if "choice" in usage else {}
        )
        lines.append(
            json.dumps({"choices": [choice] if "choice" in usage else [], "usage": usage.get("top")})
        )
    usage = parse(stream_of(lines)).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == expected


def test_content_as_parts_and_second_choice():
    body = {
        "choices": [
            {"index": 1, "delta": {"content": "other"}},
            {
                "index": 0,
                "delta": {
                    "content": [{"type": "thinking", "text": "no"}, {"type": "text", "text": "one"}]
                },
                "finish_reason": "stop",
            },
        ]
    }
    assert parse(stream_of([json.dumps(body)])).text == "one"


def test_a_first_chunk_without_id_and_model():
    first = json.dumps({"id": "", "model": "", "choices": [], "prompt_filter_results": []})
    result = parse(stream_of([first, delta(content="x", finish="stop")]))
    assert (result.request_ids, result.model) == (("r1", "c1"), "asked")


def test_second_choice_in_chunks_of_its_own_is_left_out():
    def of(index, text, finish=None):
        choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
        return json.dumps({"choices": [choice]})

    lines = [of(0, "on"), of(1, "two"), of(0, "e", "stop"), of(1, "more", "length")]
    result = parse(stream_of(lines))
    assert (result.text, result.finish_reason) == ("one", "stop")


def test_usage_that_says_nothing_costs_nobody_knows_what():
    usage = {"total_time": 3, "prompt_tokens": 0, "completion_tokens": 0}
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    assert whole(body).usage.cost_usd is None


def test_flat_reasoning_tokens():
    usage = {"prompt_tokens": 1, "completion_tokens": 9, "reasoning_tokens": 7}
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    assert whole(body).usage.reasoning_tokens == 7


def test_refusal_is_what_the_model_says():
    lines = [delta(content=None, refusal="I will not."), delta(finish="stop")]
    assert parse(stream_of(lines)).text == "I will not."


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        (None, "the stream broke off"),
        ("length", "max_tokens was reached"),
        ("max_tokens", "max_tokens was reached"),
        ("content_filter", "the host's content filter cut it"),
        ("abort", "the host gave it up"),
    ],
)
def test_finish_reasons_of_cut_answers(finish, words):
    result = parse(stream_of([delta(content="half", finish=finish)]))
    assert (result.truncated, result.cut_by) == (True, words)


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "eos"])
def test_finish_reasons_of_whole_answers(finish):
    assert not parse(stream_of([delta(content="whole", finish=finish)])).truncated


# --- leaks ------------------------------------------------------------------------------------------

CALL = (
    "<|tool_call_begin|>functions.{name}:{index}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
)


def call(name="look_up", index=0, arguments='{"q": 1}'):
    return CALL.format(name=name, index=index, arguments=arguments)


@pytest.mark.parametrize(
    ("text", "left", "thought", "ids", "finish"),
    [
        (
            f"Hm <|tool_calls_section_begin|>{call()}\n{call(index=1)}<|tool_calls_section_end|>",
            "Hm",
            None,
            ["functions.look_up:0", "functions.look_up:1"],
            "tool_calls",
        ),
        (f"Hm {call()}", "Hm", None, ["functions.look_up:0"], "tool_calls"),
        (f"Hm {call('unknown')}", f"Hm {call('unknown')}", None, [], "stop"),
        (
            "Hm <|tool_calls_section_begin|><|tool_call_begin|>functions.look_up:0<|tool_call_arg",
            "Hm ",
            None,
            [],
            "stop",
        ),
        ("<think>why</think>Answer", "Answer", "why", [], "stop"),
        ("why</think>\n\nAnswer", "Answer", "why", [], "stop"),
        ("<think>cut", "", "cut", [], "stop"),
        ("\n<think>\nwhy\n</think>\n\nAnswer", "Answer", "why", [], "stop"),
        ("Hello <think>why</think>world", "Hello world", "why", [], "stop"),
        ("<think>why</think>An</think>swer", "An</think>swer", "why", [], "stop"),
        (
            f"<|tool_call_section_begin|>{call()}<|tool_call_section_end|>",
            "",
            None,
            ["functions.look_up:0"],
            "tool_calls",
        ),
        ("a < b and <b>c</b>", "a < b and <b>c</b>", None, [], "stop"),
    ],
    ids=[
        "section",
        "no section",
        "undeclared tool",
        "cut call",
        "think",
        "think without opening",
        "cut thought",
        "think between blanks",
        "think after text",
        "think closed once more",
        "section in the singular",
        "no leak",
    ],
)
def test_leaks_are_healed_where_the_host_leaks(text, left, thought, ids, finish):
    lines = [delta(content=text), delta(finish="stop")]
    told = []
    result = parse(stream_of(lines), tools=("look_up",), leaks=True, emit=told.append)
    assert (result.text, result.reasoning, result.finish_reason) == (left, thought, finish)
    assert [c.id for c in result.tool_calls] == ids
    assert result.healed == len(ids) + (1 if thought else 0)
    assert parse(stream_of(lines), tools=("look_up",), leaks=False).text == text


def test_thought_that_goes_over_to_calls_without_closing():
    text = f"<think>why <|tool_calls_section_begin|>{call()}<|tool_calls_section_end|>"
    result = parse(stream_of([delta(content=text, finish="stop")]), tools=("look_up",), leaks=True)
    assert (result.text, result.reasoning, result.finish_reason) == ("", "why", "tool_calls")
    assert [c.id for c in result.tool_calls] == ["functions.look_up:0"]


def test_calls_within_a_closed_thought():
    section = f"<|tool_calls_section_begin|> {call()} <|tool_calls_section_end|>"
    text = f"<think>Look. {section}</think>"
    result = parse(stream_of([delta(content=text, finish="stop")]), tools=("look_up",), leaks=True)
    assert (result.text, result.reasoning, result.finish_reason) == ("", "Look.", "tool_calls")
    assert [c.id for c in result.tool_calls] == ["functions.look_up:0"]


def test_thinking_in_the_envelope_of_bedrock():
    lines = [
        delta(content=t) for t in ("<reas", "oning>one</reasoning><reasoning> two</reasoning>", "A")
    ]
    told = []
    result = parse(stream_of([*lines, delta(finish="stop")]), leaks=True, emit=told.append)
    assert (result.text, result.reasoning) == ("A", "one\ntwo")
    assert [event.text for event in told if isinstance(event, TextDelta)] == ["A"]
    asked_for = [delta(reasoning="I think"), delta(content="<reasoning>x</reasoning>", finish="stop")]
    assert parse(stream_of(asked_for), leaks=True).text == "<reasoning>x</reasoning>"


LEAKS = ["Hi ", "a < b ", "<", "<t", "\n", "<think>", "</think>", "<|tool_calls_section_begin|>", "<|"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*LEAKS, call(), call("nope")]), max_size=8), st.data())
def test_leaks_split_anywhere_give_the_same_and_are_never_shown(parts, data):
    text = "".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    told = []
    end = delta(finish="stop")
    lines = [delta(content=piece) for piece in pieces]
    result = parse(stream_of([*lines, end]), tools=("look_up",), leaks=True, emit=told.append)
    whole_text = parse(stream_of([delta(content=text), end]), tools=("look_up",), leaks=True)
    assert result == whole_text
    shown = "".join(event.text for event in told if isinstance(event, TextDelta))
    opened = text.find("<think>")
    if "</think>" not in text or 0 <= opened < text.find("</think>"):
        # Else the thought was taken for the answer until its end came.
        assert shown.split() == result.text.split()


def test_several_thoughts():
    text = "<think>one</think>A <think>two</think>B"
    result = parse(stream_of([delta(content=text, finish="stop")]), leaks=True)
    assert (result.text, result.reasoning, result.healed) == ("A B", "one\ntwo", 2)


def test_leaked_call_in_the_reasoning():
    lines = [delta(reasoning=f"Look. {call()}"), delta(finish="stop")]
    result = parse(stream_of(lines), tools=("look_up",), leaks=True)
    assert (result.reasoning, len(result.tool_calls), result.finish_reason) == ("Look.", 1, "tool_calls")

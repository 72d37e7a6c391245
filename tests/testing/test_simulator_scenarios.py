"""Scripted behavior: it depends on the conversation alone, and every quirk can be provoked."""

from __future__ import annotations

import json

import pytest

from kimi_provider.exceptions import ConfigurationError

TOOL = {
    "type": "function",
    "function": {
        "name": "query_data",
        "parameters": {"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"]},
    },
}


def begin(**fields) -> dict:
    messages = [{"role": "user", "content": "Go"}]
    return {"model": "kimi-k2-thinking", "messages": messages, "tools": [TOOL], **fields}


def turn(kimi, body: dict) -> dict:
    response = kimi.post("/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


def extend(body: dict, message: dict, results: list[str]) -> None:
    kept = {key: value for key, value in message.items() if value != ""}
    kept.setdefault("reasoning_content", "")
    body["messages"].append(kept)
    for call, result in zip(message.get("tool_calls", ()), results, strict=True):
        body["messages"].append({"role": "tool", "tool_call_id": call["id"], "content": result})


def run(kimi, body: dict, *, limit: int = 1000) -> tuple[str, int]:
    """A tool loop: returns the final text, and how many calls were made."""
    made = 0
    for _ in range(limit):
        choice = turn(kimi, body)
        calls = choice["message"].get("tool_calls", [])
        if not calls:
            return choice["message"]["content"], made
        made += len(calls)
        extend(body, choice["message"], [f"result of {call['function']['arguments']}" for call in calls])
    pytest.fail("the loop did not end")


def test_so_many_steps_then_an_answer_that_depends_on_the_results(simulator, kimi):
    simulator.script("tools", steps=30, tool="query_data", arguments={"sql": "SELECT {step}"})
    text, made = run(kimi, begin())
    again, _ = run(kimi, begin())
    assert made == 30
    assert text == again
    assert text.startswith("This is the simulator, not Kimi. 30 tool results, digest ")
    body = begin()
    for _ in range(30):
        extend(body, turn(kimi, body)["message"], ["another result"])
    assert turn(kimi, body)["message"]["content"] != text


def test_a_conversation_taken_up_again_goes_on_where_it_stood(simulator, kimi):
    simulator.script("tools", steps=6, arguments={"sql": "SELECT {step}"})
    body = begin()
    for _ in range(3):
        extend(body, turn(kimi, body)["message"], ["x"])
    saved = json.loads(json.dumps(body))
    first = turn(kimi, body)["message"]
    assert turn(kimi, saved)["message"]["tool_calls"] == first["tool_calls"]
    assert first["tool_calls"][0]["function"]["arguments"] == '{"sql": "SELECT 3"}'
    assert simulator.calls.repeated("/chat/completions") == 1


def test_a_conversation_cut_short_keeps_its_count(simulator, kimi):
    """A client that drops old turns to save room must not be led in a circle."""
    simulator.script("tools", steps=5, arguments={"sql": "SELECT {step}"})
    body = begin()
    for _ in range(4):
        extend(body, turn(kimi, body)["message"], ["x"])
    del body["messages"][1:7]
    assert turn(kimi, body)["message"]["tool_calls"][0]["id"] == "functions.query_data:4"


def test_several_calls_in_one_turn(simulator, kimi):
    simulator.script("tools", steps=2, per_turn=3, arguments=[{"sql": "A"}, {"sql": "B"}])
    message = turn(kimi, begin())["message"]
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == [
        '{"sql": "A"}', '{"sql": "B"}', '{"sql": "A"}',
    ]  # fmt: skip
    assert run(kimi, begin())[1] == 6


def test_the_answer_comes_when_tools_are_no_longer_offered(simulator, kimi):
    simulator.script("repeat", arguments={"sql": "SELECT 1"})
    body = begin()
    calls = []
    for _ in range(4):
        message = turn(kimi, body)["message"]
        calls.append(message["tool_calls"][0]["function"])
        extend(body, message, ["same"])
    assert all(call == calls[0] for call in calls)
    assert turn(kimi, {**body, "tool_choice": "none"})["finish_reason"] == "stop"


def test_bad_arguments_are_mended_once_the_model_is_told(simulator, kimi):
    simulator.script("bad_arguments", arguments={"sql": "SELECT 1"})
    body = begin()
    first = turn(kimi, body)["message"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(first["tool_calls"][0]["function"]["arguments"])
    extend(body, first, ["error: no valid JSON"])
    second = turn(kimi, body)["message"]
    assert json.loads(second["tool_calls"][0]["function"]["arguments"]) == {"sql": "SELECT 1"}
    extend(body, second, ["1"])
    assert turn(kimi, body)["finish_reason"] == "stop"


def test_a_tool_that_does_not_exist_is_called_first(simulator, kimi):
    simulator.script("unknown_tool", arguments={"sql": "SELECT 1"})
    body = begin()
    first = turn(kimi, body)["message"]
    assert first["tool_calls"][0]["function"]["name"] == "no_such_tool"
    extend(body, first, ["error: no such tool"])
    assert turn(kimi, body)["message"]["tool_calls"][0]["function"]["name"] == "query_data"


def test_a_truncated_call_becomes_whole_with_more_room(simulator, kimi):
    simulator.script("truncated_call", arguments={"sql": "SELECT 1"}, until_max_tokens=5000)
    small = turn(kimi, begin(max_tokens=1000))
    assert small["finish_reason"] == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(small["message"]["tool_calls"][0]["function"]["arguments"])
    assert turn(kimi, begin(max_tokens=5000))["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(("place", "key"), [("content", "content"), ("reasoning", "reasoning_content")])
def test_markers_leak(simulator, kimi, place, key):
    simulator.script("leaked", place=place, arguments={"sql": "SELECT 1"})
    message = turn(kimi, begin())["message"]
    assert "tool_calls" not in message
    assert (
        '<|tool_call_begin|>functions.query_data:0<|tool_call_argument_begin|>{"sql": "SELECT 1"}'
        in message[key]
    )


def test_reasoning_in_think_tags(simulator, kimi):
    simulator.script("think_tags")
    message = turn(kimi, {**begin(), "tools": []})["message"]
    assert "reasoning_content" not in message
    assert message["content"].startswith("<think>This is the simulator thinking")


def test_only_thoughts_until_there_is_room(simulator, kimi):
    simulator.script("empty", until_max_tokens=9000)
    empty = turn(kimi, begin(max_tokens=8000))
    assert (empty["finish_reason"], empty["message"]["content"]) == ("length", "")
    assert empty["message"]["reasoning_content"]
    assert turn(kimi, begin(max_tokens=9000))["message"]["content"]


def test_given_answers_are_given_in_turn(simulator, kimi):
    call = {"name": "query_data", "arguments": "{}"}
    simulator.script("answers", answers=[{"tools": [call]}, {"content": "Done.", "reasoning": ""}])
    body = begin()
    first = turn(kimi, body)["message"]
    extend(body, first, ["x"])
    second = turn(kimi, body)["message"]
    assert (second["content"], "reasoning_content" in second) == ("Done.", False)


def test_a_misfit_is_mended_in_the_repair_turn(simulator, kimi):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    format_ = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    simulator.script("misfit")
    body = {**begin(response_format=format_), "tools": []}
    assert turn(kimi, body)["message"]["content"] == '{"unexpected": true}'
    body["messages"] += [
        {"role": "assistant", "content": "{}"},
        {"role": "user", "content": "a is missing"},
    ]
    assert json.loads(turn(kimi, body)["message"]["content"]) == {"a": "simulated"}


def test_a_script_applies_where_its_text_occurs_and_the_latest_wins(simulator, kimi):
    simulator.script("answers", answers=[{"content": "any"}])
    simulator.script("answers", answers=[{"content": "special"}], match="Wanda")
    assert turn(kimi, begin())["message"]["content"] == "any"
    asked = {**begin(), "messages": [{"role": "user", "content": "I am Wanda"}]}
    assert turn(kimi, asked)["message"]["content"] == "special"


def test_hosts_write_in_their_own_dialect(simulator, kimi):
    simulator.script(
        "dialect", reasoning_key="reasoning", indexed=False, usage_in_choice=False, null_content=True
    )
    simulator.script("tools", steps=1, arguments={"sql": "x"})
    message = turn(kimi, begin())["message"]
    assert message["reasoning"]
    assert message["content"] is None
    with kimi.stream("POST", "/chat/completions", json=begin(stream=True)) as response:
        text = response.read().decode()
    assert '"index":0,"id"' not in text
    assert '"usage"' not in text
    body = begin()
    extend(body, message | {"content": ""}, ["x"])
    body["messages"][1].pop("reasoning_content")
    assert kimi.post("/chat/completions", json=body).status_code == 200
    body["messages"][1].pop("reasoning")
    assert kimi.post("/chat/completions", json=body).status_code == 400


def test_a_script_over_http(simulator, kimi):
    kimi.post(
        f"{simulator.url}/_simulator/scenario",
        json={"kind": "tools", "steps": 2, "arguments": {"sql": "x"}},
    )
    assert run(kimi, begin())[1] == 2
    kimi.delete(f"{simulator.url}/_simulator/scenario")
    assert run(kimi, begin())[1] == 0


def test_scripts_that_do_not_exist_are_refused(simulator, kimi):
    with pytest.raises(ConfigurationError, match="'dance' is not known"):
        simulator.script("dance")
    with pytest.raises(ConfigurationError, match="no option 'stepz'"):
        simulator.script("tools", stepz=3)
    response = kimi.post(f"{simulator.url}/_simulator/scenario", json={"kind": "dance"})
    assert response.status_code == 400

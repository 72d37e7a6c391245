"""The simulated chat endpoint: shapes as recorded, and refusals as the real API words them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

RECORDED = Path(__file__).parents[3] / "shared" / "recordings" / "moonshot"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def say(text: str = "Hello", **fields) -> dict:
    return {"model": "kimi-k2-thinking", "messages": [{"role": "user", "content": text}], **fields}


def stream(kimi: httpx.Client, body: dict) -> list[dict]:
    with kimi.stream("POST", "/chat/completions", json={**body, "stream": True}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        text = response.read().decode()
    events = text.split("\n\n")
    assert events.pop() == ""
    assert events.pop() == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    return response.status_code, error["type"], error["message"]


def test_a_plain_answer_has_all_that_the_api_gives(kimi):
    response = kimi.post("/chat/completions", json=say())
    body = response.json()
    message = body["choices"][0]["message"]
    assert message["content"] == "This is the simulator, not Kimi. You wrote: Hello"
    assert message["reasoning_content"].startswith("This is the simulator thinking")
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["system_fingerprint"] == "fp_simulator"
    assert response.headers["x-simulator"] == "kimi-provider"
    assert response.headers["msh-request-id"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]


def test_a_stream_says_the_same_as_a_plain_answer(kimi):
    plain = kimi.post("/chat/completions", json=say("Compare")).json()["choices"][0]["message"]
    deltas = [event["choices"][0]["delta"] for event in stream(kimi, say("Compare"))]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(d.get("content", "") for d in deltas) == plain["content"]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == plain["reasoning_content"]


def test_usage_comes_in_the_finish_event_and_again_when_asked_for(kimi):
    without = stream(kimi, say())
    assert without[-1]["choices"][0]["finish_reason"] == "stop"
    with_usage = stream(kimi, say(stream_options={"include_usage": True}))
    assert with_usage[-1]["choices"] == []
    assert with_usage[-1]["usage"] == with_usage[-2]["choices"][0]["usage"]


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are not beside this checkout")
def test_a_tool_call_streams_in_the_shape_of_the_recorded_one(kimi):
    lines = (RECORDED / "moonshotai-metadata-live.chunks.txt").read_text().splitlines()
    recorded = [json.loads(line) for line in lines if line.startswith("{")]
    body = say("Use get_weather", model="kimi-k3", tools=[TOOL], stream_options={"include_usage": True})
    simulated = stream(kimi, body)
    assert shapes(simulated) == shapes(recorded)


def shapes(events: list[dict]) -> list:
    """The keys of each event, runs of equal ones taken together."""
    found = []
    for event in events:
        choice = event["choices"][0] if event["choices"] else {}
        call = (choice.get("delta", {}).get("tool_calls") or [{}])[0]
        shape = (
            sorted(choice),
            sorted(choice.get("delta", {})),
            sorted(call),
            sorted(call.get("function", {})),
            choice.get("finish_reason"),
            "usage" in event,
        )
        if not found or found[-1] != shape:
            found.append(shape)
    return found


def test_tool_ids_count_over_the_whole_conversation(kimi):
    body = say("Use get_weather", tools=[TOOL])
    first = kimi.post("/chat/completions", json=body).json()["choices"][0]
    assert first["finish_reason"] == "tool_calls"
    assert first["message"]["content"] == ""
    assert [call["id"] for call in first["message"]["tool_calls"]] == ["functions.get_weather:0"]
    result = {"role": "tool", "tool_call_id": "functions.get_weather:0", "content": "sun"}
    again = {"role": "user", "content": "Use get_weather again"}
    body["messages"] += [{k: v for k, v in first["message"].items() if k != "content"}, result, again]
    second = kimi.post("/chat/completions", json=body).json()["choices"][0]["message"]
    assert second["tool_calls"][0]["id"] == "functions.get_weather:1"


def test_k3_names_its_calls_in_its_own_way(kimi):
    body = say("Use get_weather", model="kimi-k3", tools=[TOOL])
    message = kimi.post("/chat/completions", json=body).json()["choices"][0]["message"]
    assert message["tool_calls"][0]["id"] == "get_weather_0"


def test_a_longer_prompt_with_the_same_beginning_is_cached_as_far(kimi):
    beginning = {"role": "system", "content": "A rule that matters. " * 400}
    body = say("First", messages=[beginning, {"role": "user", "content": "First"}])
    cold = kimi.post("/chat/completions", json=body).json()["usage"]
    assert "cached_tokens" not in cold
    body["messages"][1]["content"] = "Second"
    warm = kimi.post("/chat/completions", json=body).json()["usage"]
    assert 0.8 * warm["prompt_tokens"] < warm["cached_tokens"] < warm["prompt_tokens"]
    assert warm["prompt_tokens_details"]["cached_tokens"] == warm["cached_tokens"]
    other = kimi.post("/chat/completions", json=body, headers={"Authorization": "Bearer sk-other"})
    assert "cached_tokens" not in other.json()["usage"]


def test_a_short_prompt_is_never_cached(kimi):
    usages = [kimi.post("/chat/completions", json=say("Short " * 100)).json()["usage"] for _ in range(2)]
    assert all("cached_tokens" not in usage for usage in usages)


def test_reasoning_shares_the_bound_and_can_use_it_up(kimi):
    cut = kimi.post("/chat/completions", json=say(max_tokens=10)).json()
    choice = cut["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == ""
    assert choice["message"]["reasoning_content"]
    assert cut["usage"]["completion_tokens"] <= 10


def test_a_tool_call_can_be_cut_by_the_bound(simulator, kimi):
    simulator.script("tools", steps=1, arguments={"city": "Paris " * 50})
    body = say("Go", tools=[TOOL], max_completion_tokens=60)
    choice = kimi.post("/chat/completions", json=body).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])


def test_a_stop_sequence_ends_the_text(kimi):
    message = kimi.post("/chat/completions", json=say(stop=[", not"])).json()["choices"][0]["message"]
    assert message["content"] == "This is the simulator"


def test_several_choices_are_counted(kimi):
    body = kimi.post("/chat/completions", json=say(n=3)).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    events = stream(kimi, say(n=2))
    assert {event["choices"][0]["index"] for event in events} == {0, 1}


def test_a_partial_message_is_continued(kimi):
    body = say("Hello")
    body["messages"].append({"role": "assistant", "content": "This is the simulator, ", "partial": True})
    message = kimi.post("/chat/completions", json=body).json()["choices"][0]["message"]
    assert message["content"] == "not Kimi. You wrote: Hello"


def test_thinking_can_be_switched_off_where_the_model_allows(kimi):
    body = say(model="kimi-k2.6", thinking={"type": "disabled"}, temperature=0.6)
    answer = kimi.post("/chat/completions", json=body).json()
    assert "reasoning_content" not in answer["choices"][0]["message"]
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
        {
            "type": "object",
            "properties": {
                "kind": {"type": "string", "enum": ["x", "y"]},
                "items": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/item"}},
                "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
                "name": {"type": "string", "minLength": 20},
            },
            "required": ["kind", "items", "maybe", "name"],
            "$defs": {
                "item": {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
            },
        },
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_an_unknown_schema_is_answered_by_an_instance_of_it(kimi, schema, native):
    jsonschema = pytest.importorskip("jsonschema")
    if native:
        format_ = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
        body = say(response_format=format_)
    else:
        text = f"Answer with JSON that fits this schema:\n{json.dumps(schema)}"
        body = say(text, response_format={"type": "json_object"})
    content = kimi.post("/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    jsonschema.validate(json.loads(content), schema)


TOOL_NAMED = {"type": "function", "function": {"name": "get_weather"}}
NESTED = {"type": "object", "properties": {"a": {"type": "string", "format": "date"}}}


def tool(name: str = "get_weather", parameters: dict | None = None) -> dict:
    function = {"name": name, "parameters": parameters or TOOL["function"]["parameters"]}
    return {"type": "function", "function": function}


def schema(value: dict, **fields) -> dict:
    holder = {"name": "thing", "schema": value, **fields}
    return {"response_format": {"type": "json_schema", "json_schema": holder}}


REFUSED_PARAMETERS = [
    ({"seed": 1}, "unknown parameter: seed"),
    ({"logit_bias": {}}, "unknown parameter: logit_bias"),
    ({"parallel_tool_calls": True}, "unknown parameter: parallel_tool_calls"),
    ({"stream": "yes"}, "stream must be a boolean"),
    ({"stream_options": {"include_usage": True}}, "stream_options is only allowed when stream is true"),
    ({"temperature": 1.5}, "invalid temperature: must be between 0 and 1"),
    ({"top_p": -0.1}, "invalid top_p: must be between 0 and 1"),
    ({"presence_penalty": 3}, "invalid presence_penalty: must be between -2 and 2"),
    ({"n": 6}, "invalid n: must be between 1 and 5"),
    ({"n": 2, "temperature": 0}, "invalid n: only 1 is allowed"),
    ({"max_tokens": 0}, "invalid max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens must be an integer"),
    ({"top_logprobs": 21}, "invalid top_logprobs: must be between 0 and 20"),
    ({"stop": ["a", "b", "c", "d", "e", "f"]}, "stop can have at most 5 sequences"),
    ({"stop": "x" * 33}, "at most 32 bytes"),
    ({"thinking": True}, "thinking must be an object"),
    ({"thinking": {"type": "disabled"}}, "invalid thinking"),
    ({"reasoning_effort": "high"}, "reasoning_effort is not supported by this model"),
    ({"model": "kimi-k3", "reasoning_effort": "medium"}, "must be one of low, high, max"),
    ({"model": "kimi-k3", "thinking": {"type": "enabled"}}, "thinking is not supported by this model"),
    (
        {"model": "kimi-k2.6", "thinking": {"type": "enabled", "keep": "some"}},
        "keep must be null or all",
    ),
    ({"model": "kimi-k2.7-code", "thinking": {"type": "enabled"}}, "keep must be all"),
    ({"model": "kimi-k2.7-code", "thinking": {"type": "disabled", "keep": "all"}}, "invalid thinking"),
    (
        {"model": "kimi-k2.6", "temperature": 0.6},
        "invalid temperature: only 1 is allowed for this model",
    ),
    (
        {"model": "kimi-k2.6", "temperature": 1, "thinking": {"type": "disabled"}},
        "invalid temperature: only 0.6 is allowed for this model",
    ),
    ({"model": "kimi-k3", "top_p": 1}, "invalid top_p: only 0.95 is allowed for this model"),
    ({"model": "kimi-k3", "n": 2}, "invalid n: only 1 is allowed for this model"),
    ({"model": "kimi-k2.6", "frequency_penalty": 1}, "only 0 is allowed for this model"),
    ({"tools": [tool("go")]}, "function name is invalid"),
    ({"tools": [tool("1st_tool")]}, "function name is invalid"),
    ({"tools": [tool("a" * 65)]}, "function name is invalid"),
    ({"tools": [tool("with.dot")]}, "function name is invalid"),
    ({"tools": [tool(), tool()]}, "function name get_weather is duplicated"),
    ({"tools": [tool(f"tool_{n}") for n in range(129)]}, "tools can have at most 128 items"),
    (
        {"tools": [tool(parameters=NESTED)]},
        "not a valid moonshot flavored json schema, details: <At path 'pro",
    ),
    (
        {"tools": [tool(parameters={"type": "string"})]},
        'parameters.type is required and must be "object"',
    ),
    ({"tools": [TOOL], "tool_choice": "required"}, "'required' is incompatible with thinking enabled"),
    ({"tools": [TOOL], "tool_choice": TOOL_NAMED}, "incompatible with thinking enabled"),
    ({"model": "kimi-k3", "tools": [TOOL], "tool_choice": TOOL_NAMED}, "incompatible with thinking"),
    ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice must be auto"),
    ({"response_format": {"type": "json_object"}}, "must contain the word 'json'"),
    ({"response_format": {"type": "xml"}}, "response_format.type must be"),
    (schema({"type": "array", "items": {"type": "string"}}), 'must be "object"'),
    (schema({"type": "object", "oneOf": []}), "invalid keywords: oneOf"),
    (schema(NESTED), "invalid keywords: format"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSED_PARAMETERS, ids=lambda value: str(value)[:60])
def test_parameters_that_the_api_refuses(kimi, fields, text):
    status, error_type, message = refusal(kimi.post("/chat/completions", json={**say(), **fields}))
    assert (status, error_type) == (400, "invalid_request_error")
    assert text in message


def test_a_stream_is_refused_before_it_begins(kimi):
    response = kimi.post("/chat/completions", json=say(stream=True, seed=1))
    assert refusal(response)[0] == 400
    assert response.headers["content-type"].startswith("application/json")


ACCEPTED_PARAMETERS = [
    {"temperature": 0.3, "top_p": 0.9, "presence_penalty": 1.5, "frequency_penalty": -2},
    {
        "max_completion_tokens": 32000,
        "stop": ["END"],
        "prompt_cache_key": "run-1",
        "safety_identifier": "a",
    },
    {"thinking": {"type": "enabled"}},
    {
        "model": "kimi-k2.6",
        "temperature": 1,
        "top_p": 0.95,
        "n": 1,
        "thinking": {"type": "enabled", "keep": "all"},
    },
    {"model": "kimi-k2.7-code", "thinking": {"type": "enabled", "keep": "all"}},
    {"model": "kimi-k3", "reasoning_effort": "low", "tools": [TOOL], "tool_choice": "required"},
    {"model": "kimi-k2.6", "thinking": {"type": "disabled"}, "tools": [TOOL], "tool_choice": TOOL_NAMED},
    {"tools": [tool(f"tool_{n}") for n in range(128)], "tool_choice": "none"},
    {"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]},
]


@pytest.mark.parametrize("fields", ACCEPTED_PARAMETERS, ids=lambda value: str(value)[:60])
def test_parameters_that_the_api_accepts(kimi, fields):
    assert kimi.post("/chat/completions", json={**say(), **fields}).status_code == 200


USER = {"role": "user", "content": "Go"}
CALL = {
    "id": "functions.get_weather:0",
    "type": "function",
    "function": {"name": "get_weather", "arguments": "{}"},
}
ASSISTANT = {"role": "assistant", "tool_calls": [CALL], "reasoning_content": ""}
RESULT = {"role": "tool", "tool_call_id": CALL["id"], "content": "sun"}
WITHOUT_REASONING = {"role": "assistant", "tool_calls": [CALL]}

REFUSED_MESSAGES = [
    ([], "messages must not be empty"),
    ([{"role": "developer", "content": "x"}], "invalid role"),
    ([{"role": "user", "content": ""}], "the message at position 0 with role 'user' must not be empty"),
    (
        [USER, {"role": "assistant", "content": None}],
        "position 1 with role 'assistant' must not be empty",
    ),
    ([{"role": "user", "content": [{"type": "text", "text": ""}]}], "text content is empty"),
    ([USER, {**ASSISTANT, "content": ""}, RESULT], "text content is empty"),
    ([USER, {**ASSISTANT, "content": [{"type": "text", "text": ""}]}, RESULT], "text content is empty"),
    (
        [USER, WITHOUT_REASONING, RESULT],
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1",
    ),
    ([USER, RESULT], "tool_call_id functions.get_weather:0 is not found"),
    ([USER, ASSISTANT, {**RESULT, "tool_call_id": "other"}], "tool_call_id other is not found"),
    ([USER, ASSISTANT, RESULT, RESULT], "is not found"),
    ([USER, ASSISTANT], "must be followed by tool messages"),
    ([USER, ASSISTANT, USER, RESULT], "did not have response messages: functions.get_weather:0"),
    ([USER, {**ASSISTANT, "tool_calls": [CALL, CALL]}, RESULT], "is duplicated"),
    ([{"role": "assistant", "content": "x", "partial": True}, USER], "partial is only allowed"),
    ([{"role": "user", "content": "x", "extra": 1}], "unknown field: extra"),
]


@pytest.mark.parametrize(("messages", "text"), REFUSED_MESSAGES, ids=lambda value: str(value)[-60:])
def test_conversations_that_the_api_refuses(kimi, messages, text):
    status, error_type, message = refusal(kimi.post("/chat/completions", json=say(messages=messages)))
    assert (status, error_type) == (400, "invalid_request_error")
    assert text in message


def test_conversations_that_the_api_accepts(kimi):
    for messages in ([USER, ASSISTANT, RESULT], [USER, {**ASSISTANT, "content": None}, RESULT]):
        assert kimi.post("/chat/completions", json=say(messages=messages)).status_code == 200
    without_thinking = {"model": "kimi-k2.6", "thinking": {"type": "disabled"}}
    body = {**say(messages=[USER, WITHOUT_REASONING, RESULT]), **without_thinking}
    assert kimi.post("/chat/completions", json=body).status_code == 200


@pytest.mark.parametrize("model", ["kimi-k2.5", "moonshot-v1-8k", "no-such-model"])
def test_retired_and_unknown_models_are_not_found(kimi, model):
    expected = (404, "resource_not_found_error", f"Not found the model {model} or Permission denied")
    assert refusal(kimi.post("/chat/completions", json=say(model=model))) == expected


@pytest.mark.parametrize(
    ("authorization", "error_type"),
    [("Basic abc", "invalid_authentication_error"), ("Bearer wrong-1", "incorrect_api_key_error")],
)
def test_a_wrong_key_is_refused_everywhere(kimi, authorization, error_type):
    headers = {"Authorization": authorization}
    for method, path in (
        ("POST", "/chat/completions"),
        ("GET", "/models"),
        ("GET", "/users/me/balance"),
    ):
        assert refusal(kimi.request(method, path, headers=headers))[:2] == (401, error_type)


def test_a_prompt_beyond_the_window_is_refused_with_its_size(kimi):
    status, _, message = refusal(kimi.post("/chat/completions", json=say("word " * 260_000)))
    assert status == 400
    assert "Your request exceeded model token limit: 262144 (requested: " in message
    assert kimi.post("/chat/completions", json=say(max_tokens=262_144)).status_code == 400
    assert (
        kimi.post("/chat/completions", json=say("word " * 260_000, model="kimi-k3")).status_code == 200
    )


def test_a_body_that_is_no_json_object_is_refused(kimi):
    for content in (b"{", b"[]", b"null", b'{"model": NaN}'):
        assert refusal(kimi.post("/chat/completions", content=content))[0] == 400


def test_an_account_without_balance_is_refused(simulator, kimi):
    simulator.balance = 0
    assert refusal(kimi.post("/chat/completions", json=say()))[:2] == (
        429,
        "exceeded_current_quota_error",
    )
    assert kimi.get("/users/me/balance").json()["data"]["available_balance"] == 0


def test_the_models_are_listed_and_the_retired_are_not(kimi):
    listed = {model["id"]: model for model in kimi.get("/models").json()["data"]}
    assert {
        "kimi-k2-thinking",
        "kimi-k2-thinking-turbo",
        "kimi-k2.6",
        "kimi-k2.7-code",
        "kimi-k3",
    } == set(listed)
    assert listed["kimi-k3"]["context_length"] == 1_048_576


def test_the_estimate_is_what_the_call_then_uses(kimi):
    body = say("How many tokens are 12,345.67 and 98.7 %? Zażółć gęślą jaźń. 数字")
    estimate = kimi.post("/tokenizers/estimate-token-count", json=body).json()["data"]["total_tokens"]
    assert kimi.post("/chat/completions", json=body).json()["usage"]["prompt_tokens"] == estimate


def test_numbers_cost_more_tokens_than_prose_of_the_same_length(kimi):
    def estimate(text: str) -> int:
        body = say(text)
        return kimi.post("/tokenizers/estimate-token-count", json=body).json()["data"]["total_tokens"]

    assert estimate("1,234.5;" * 500) > 1.5 * estimate("weather " * 500)


def test_calls_are_counted_by_content_and_keys_are_not_kept(simulator, kimi):
    reordered = dict(reversed(say("Twice").items()))
    for body in (say("Twice"), reordered, say("Once")):
        kimi.post("/chat/completions", json=body)
    assert simulator.calls.count("/chat/completions") == 3
    assert simulator.calls.repeated("/chat/completions") == 1
    assert sorted(simulator.calls.by_fingerprint().values()) == [1, 2]
    call = next(iter(simulator.calls))
    assert (call.status, call.outcome, call.model) == (200, "complete", "kimi-k2-thinking")
    assert "sk-test" not in repr(list(simulator.calls))


def test_many_streams_at_once_all_end_well(simulator):
    """Raw sockets: a client library's pool is not what is tested here."""
    simulator.script("long", reasoning_events=20, content_events=5, chunk_delay=0.02)
    body = json.dumps({**say(), "stream": True}).encode()
    port = httpx.URL(simulator.url).port
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )

    async def one() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read(-1)
        writer.close()
        return answer.count(b"reasoning_content") == 21 and b"data: [DONE]" in answer

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(one() for _ in range(200)))

    assert all(asyncio.run(all_of_them()))
    assert simulator.calls.peak > 100

"""The exact JSON that each model family gets at each host."""

from __future__ import annotations

import json
import logging

import pytest

from kimi_provider.client import request as request_module
from kimi_provider.client.config import ClientConfig
from kimi_provider.client.messages import ChatRequest, Message, ResponseSchema, ToolCall, ToolSpec
from kimi_provider.client.request import build_body, encode
from kimi_provider.exceptions import ConfigurationError

TOOL = ToolSpec(
    "get_weather",
    "Weather.",
    {"type": "object", "title": "Args", "properties": {"city": {"type": "string", "title": "City"}}},
)
TOOL_JSON = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
HISTORY = (
    Message.system("Be brief."),
    Message.user("Weather?"),
    Message.assistant(
        "",
        reasoning="Look.",
        reasoning_key="reasoning",
        tool_calls=(ToolCall("call_9", "get_weather", '{"city":1}'),),
    ),
    Message.tool("call_9", "get_weather", "rain"),
)
SCHEMA = ResponseSchema("weather", {"type": "object", "properties": {"sky": {"type": "string"}}})
USAGE = {"include_usage": True}


def body(request, model="kimi-k3", host="moonshot", **extra):
    url = (
        None
        if host
        in {"moonshot", "moonshot-cn", "cometapi", "openrouter", "together", "fireworks", "novita"}
        else "http://llm:8000/v1"
    )
    settings = ClientConfig.from_mapping(
        base_url=url, api_key="sk-test", model=model, extra={"host": host} | extra
    )
    return build_body(request, settings)


def ask(**fields):
    return ChatRequest(messages=(Message.user("Hi"),), **fields)


# Family, host, and what is in the body beside model, messages and streaming.
SNAPSHOTS = {
    "K2 Thinking at CometAPI": (
        "kimi-k2-thinking",
        "cometapi",
        ask(thinking=True, effort="high", temperature=0.5, top_p=0.9, cache_key="dag/run"),
        {"max_tokens": 64000, "temperature": 0.5, "top_p": 0.9, "prompt_cache_key": "dag/run"},
    ),
    "K2 Thinking turbo at CometAPI": (
        "kimi-k2-thinking-turbo",
        "cometapi",
        ask(max_tokens=10),
        {"max_tokens": 10},
    ),
    "K2.5 at Moonshot": (
        "kimi-k2.5",
        "moonshot",
        ask(thinking=False, temperature=0.5),
        {"max_completion_tokens": 32768, "thinking": {"type": "disabled"}},
    ),
    "K2.6 at Moonshot, thinking": (
        "kimi-k2.6",
        "moonshot",
        ask(thinking=True),
        {"max_completion_tokens": 32768, "thinking": {"type": "enabled", "keep": "all"}},
    ),
    "K2.6 at Moonshot, not said": ("kimi-k2.6", "moonshot", ask(), {"max_completion_tokens": 32768}),
    "K2.6 at OpenRouter": (
        "moonshotai/kimi-k2.6",
        "openrouter",
        ask(thinking=False),
        {"max_tokens": 32768, "reasoning": {"enabled": False}},
    ),
    "K2.6 at vLLM": (
        "moonshotai/Kimi-K2.6",
        "vllm",
        ask(thinking=False),
        {"max_tokens": 32768, "chat_template_kwargs": {"thinking": False}},
    ),
    "K2.7-code at Moonshot": (
        "kimi-k2.7-code",
        "moonshot",
        ask(thinking=True, effort="low"),
        {"max_completion_tokens": 32768},
    ),
    "K3 at Moonshot": (
        "kimi-k3",
        "moonshot",
        ask(thinking=True, effort="low", stop=("END",)),
        {"max_completion_tokens": 131072, "reasoning_effort": "low", "stop": ["END"]},
    ),
    "K3 at SGLang": (
        "Kimi-K3",
        "sglang",
        ask(effort="max"),
        {"max_tokens": 131072, "chat_template_kwargs": {"thinking_effort": "max"}},
    ),
    "K3 at OpenRouter": (
        "moonshotai/kimi-k3",
        "openrouter",
        ask(effort="max"),
        {"max_tokens": 131072, "reasoning": {"effort": "xhigh"}},
    ),
    "unknown at any host": (
        "llama-9",
        "openai-compatible",
        ask(thinking=True, temperature=1.5),
        {"temperature": 1.5},
    ),
    "K3 with a schema": (
        "kimi-k3",
        "moonshot",
        ask(response_schema=SCHEMA, max_tokens=9),
        {
            "max_completion_tokens": 9,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA.schema},
            },
        },
    ),
    "JSON object": (
        "kimi-k2-thinking",
        "cometapi",
        ask(json_object=True),
        {"max_tokens": 64000, "response_format": {"type": "json_object"}},
    ),
    "tools, required at K3": (
        "kimi-k3",
        "moonshot",
        ask(tools=(TOOL,), tool_choice="required"),
        {"max_completion_tokens": 131072, "tools": [TOOL_JSON], "tool_choice": "required"},
    ),
    "tools, required at K2.6": (
        "kimi-k2.6",
        "moonshot",
        ask(tools=(TOOL,), tool_choice="required"),
        {"max_completion_tokens": 32768, "tools": [TOOL_JSON]},
    ),
    "built-in tool": (
        "kimi-k3",
        "moonshot",
        ask(tools=(ToolSpec("$web_search", "", {}, builtin=True),)),
        {
            "max_completion_tokens": 131072,
            "tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}],
        },
    ),
    "further fields": (
        "kimi-k3",
        "moonshot",
        ask(extra_body={"safety_identifier": "x"}),
        {"max_completion_tokens": 131072, "safety_identifier": "x"},
    ),
}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_request_json(name):
    model, host, request, rest = SNAPSHOTS[name]
    fixed = {
        "model": model,
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": USAGE,
    }
    assert body(request, model, host) == fixed | rest


def test_whole_answer_sends_no_stream_fields():
    assert body(ask(stream=False, max_tokens=5)) == {
        "model": "kimi-k3",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 5,
    }


def test_history_goes_back_as_it_came():
    sent = body(ChatRequest(messages=HISTORY))["messages"]
    assert sent == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "reasoning": "Look.",
            "tool_calls": [
                {
                    "id": "call_9",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city":1}'},
                }
            ],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "call_9", "name": "get_weather"},
    ]


def assistant(host="moonshot", model="kimi-k3", message=None, **extra):
    message = message or Message.assistant("Hm.", tool_calls=(ToolCall("x", "get_weather", ""),))
    return body(ChatRequest(messages=(message,)), model, host, **extra)["messages"][0]


def test_an_assistant_message_that_says_nothing_stays_out():
    call = ToolCall("abc:0", "abc", "{}")
    said = (
        Message.user("Hi"),
        Message.assistant("", reasoning="Hm."),
        Message.assistant(None),
        Message.assistant("", tool_calls=(call,)),
        Message.tool("abc:0", "abc", ""),
        Message.assistant("", partial=True),
    )
    roles = [message["role"] for message in body(ChatRequest(messages=said))["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant"]


def test_missing_reasoning_is_filled_in_for_models_that_think():
    assert assistant()["reasoning_content"] == ""
    assert assistant(host="vllm")["reasoning"] == ""
    assert "reasoning_content" not in assistant(model="kimi-k2-0905-preview")
    assert "reasoning_content" not in assistant(model="kimi-k2.6", thinking=False)
    assert assistant()["tool_calls"][0]["function"]["arguments"] == "{}"


def test_reasoning_key_of_the_message_then_of_the_connection():
    said = Message.assistant("Hm.", reasoning="", reasoning_key="reasoning_details")
    assert assistant(message=said)["reasoning_details"] == ""
    assert assistant(message=said, reasoning_key="reasoning")["reasoning"] == ""
    listed = Message.assistant("Hm.", reasoning="why", reasoning_key="reasoning_details[]")
    assert assistant(message=listed)["reasoning_details"] == [{"type": "reasoning.text", "text": "why"}]


def test_foreign_ids_are_renamed_for_self_hosted_kimi_only():
    twice = (
        Message.assistant(
            tool_calls=(ToolCall("same", "first", "{}"), ToolCall("same", "second", "{}"))
        ),
        Message.tool("same", "first", "1"),
        Message.tool("same", "second", "2"),
        Message.assistant(tool_calls=(ToolCall("functions.third:2", "third", "{}"),)),
        Message.tool("functions.third:2", "third", "3"),
    )
    sent = body(ChatRequest(messages=twice), "moonshotai/Kimi-K2-Thinking", "vllm")["messages"]
    assert [c["id"] for c in sent[0]["tool_calls"]] == ["functions.first:0", "functions.second:1"]
    assert [m["tool_call_id"] for m in sent if m["role"] == "tool"] == [
        "functions.first:0",
        "functions.second:1",
        "functions.third:2",
    ]
    sent = body(ChatRequest(messages=twice), "llama", "vllm")["messages"]
    assert sent[1]["tool_call_id"] == "same"


def test_partial_message():
    sent = body(ChatRequest(messages=(Message.assistant("So", partial=True, name="bot"),)))["messages"]
    assert sent == [{"role": "assistant", "content": "So", "name": "bot", "partial": True}]


@pytest.mark.parametrize(
    ("fields", "model", "reason"),
    [
        ({"tools": (ToolSpec("ab", "", {}),)}, "kimi-k3", "tool name"),
        ({"tools": (TOOL, TOOL)}, "kimi-k3", "twice"),
        ({"tools": tuple(ToolSpec(f"tool_{i}", "", {}) for i in range(129))}, "kimi-k3", "at most 128"),
        ({"effort": "medium"}, "kimi-k3", "low, high, max"),
        ({"temperature": 1.5}, "kimi-k2-thinking", "0 to 1"),
        ({"top_p": 2}, "kimi-k2-thinking", "0 to 1"),
        ({"stop": ("x" * 33,)}, "kimi-k3", "32 bytes"),
        ({"stop": tuple("abcdef")}, "kimi-k3", "up to 5"),
        ({"max_tokens": -1}, "kimi-k3", "max_tokens"),
        ({"response_schema": SCHEMA}, "kimi-k2-thinking", "json_object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_protocol_refuses_is_found_before_it_is_sent(fields, model, reason):
    with pytest.raises(ConfigurationError, match=reason):
        body(ask(**fields), model)


def test_partial_and_json_do_not_go_together():
    request = ChatRequest(messages=(Message.assistant("{", partial=True),), json_object=True)
    with pytest.raises(ConfigurationError, match="partial"):
        body(request)


def test_what_is_left_out_is_said_once(caplog):
    caplog.set_level(logging.WARNING, "kimi_provider.client")
    request_module._warn_once.cache_clear()
    body(ask(temperature=0.1), "kimi-k2.6")
    body(ask(temperature=0.1), "kimi-k2.6")
    body(ask(thinking=False), "kimi-k2-thinking", "cometapi")
    body(ask(tools=(TOOL,), tool_choice="required"), "kimi-k2.6")
    body(ask(effort="high"), "kimi-k2.6")
    body(ask(thinking=True), "gpt-9")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 5


def test_connection_defaults_apply_where_the_request_is_silent():
    sent = body(ask(), "kimi-k3", max_tokens=77, effort="high")
    assert (sent["max_completion_tokens"], sent["reasoning_effort"]) == (77, "high")
    assert body(ask(max_tokens=5), "kimi-k3", max_tokens=77)["max_completion_tokens"] == 5


def test_body_is_utf8_json_whatever_the_text():
    odd = 'a\ud800b "quoted" \u2028 日本'
    sent = json.loads(encode(body(ChatRequest(messages=(Message.user(odd),)))))
    assert sent["messages"][0]["content"] == 'a\ufffdb "quoted" \u2028 日本'


def test_no_model_is_named():
    with pytest.raises(ConfigurationError, match="No model"):
        body(ask(), model=None)

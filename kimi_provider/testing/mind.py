"""Decides what the simulated model answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.testing.analyst import SIGNATURE, write_analysis, write_reasoning
from kimi_provider.testing.answers import Answer, ToolRequest
from kimi_provider.testing.brief import read_brief
from kimi_provider.testing.inquirer import QUERY_TOOL, first_query
from kimi_provider.testing.instance import find_schema, minimal
from kimi_provider.testing.reader import merge_themes, sort_records
from kimi_provider.testing.strict_messages import text_of, texts

if TYPE_CHECKING:
    from kimi_provider.testing.models import Model
    from kimi_provider.testing.scenarios import Scenarios

ANALYSIS = "analysis"
_READERS = {"partial_findings": sort_records, "merged_themes": merge_themes}
_NAMED = re.compile(r"must fit this JSON Schema named `([\w-]+)`")
_ECHO_LENGTH = 200


def answer(body: dict[str, Any], model: Model, scenarios: Scenarios) -> Answer:
    """Return the answer to a request that the API accepts."""
    scripted = scenarios.answer(body, lambda: _unscripted(body))
    if scripted is not None:
        return scripted
    if body.get("tool_choice") == "required" and model.tool_choice_required:
        return _call(body["tools"][0])
    return _unscripted(body)


def _unscripted(body: dict[str, Any]) -> Answer:
    structured = _structured(body)
    if structured is not None:
        return _continued(body, structured)
    tool = _tool_asked_for(body)
    return _call(tool) if tool else _continued(body, _echo(body))


def _structured(body: dict[str, Any]) -> Answer | None:
    wanted = body.get("response_format") or {}
    kind = wanted.get("type")
    if kind not in {"json_schema", "json_object"}:
        return None
    prompt = "\n".join(texts(body["messages"], "system", "user"))
    schema = wanted["json_schema"]["schema"] if kind == "json_schema" else find_schema(prompt)
    # Without schemas of its own, the client names it in the prompt.
    named = _NAMED.search(prompt) if kind == "json_object" else None
    name = named[1] if named else wanted.get("json_schema", {}).get("name", ANALYSIS)
    read = _READERS[name](prompt) if name in _READERS else None
    if read is not None:
        return Answer(content=_json(read))
    brief = read_brief(prompt) if name == ANALYSIS else None
    if brief is not None:
        value = write_analysis(brief)
        known = (schema or {}).get("properties", value)
        text = _json({key: part for key, part in value.items() if key in known})
        return Answer(content=text, reasoning=write_reasoning(brief))
    return Answer(content=_json(minimal(schema) if schema else {"answer": SIGNATURE}))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _last_user(messages: list[dict[str, Any]]) -> int:
    return max((i for i, message in enumerate(messages) if message["role"] == "user"), default=-1)


def _echo(body: dict[str, Any]) -> Answer:
    messages = body["messages"]
    position = _last_user(messages)
    said = " ".join(text_of(messages[position]).split())[:_ECHO_LENGTH] if position >= 0 else ""
    results = texts(messages[position + 1 :], "tool")
    content = f"This is the simulator, not Kimi. You wrote: {said}"
    if results:
        last = " ".join(results[-1].split())[:_ECHO_LENGTH]
        content += f" The last of {len(results)} tool results was: {last}"
    return Answer(content=content)


def _continued(body: dict[str, Any], whole: Answer) -> Answer:
    """Leave out what a partial message already holds."""
    last = body["messages"][-1]
    if not last.get("partial"):
        return whole
    return Answer(content=whole.content.removeprefix(text_of(last)), reasoning=whole.reasoning)


def _tool_asked_for(body: dict[str, Any]) -> dict[str, Any] | None:
    """Find a tool that the last user message names, and that has not been called since."""
    if body.get("tool_choice") == "none" or not body.get("tools"):
        return None
    messages = body["messages"]
    position = _last_user(messages)
    if position < 0 or any(message["role"] == "tool" for message in messages[position:]):
        return None
    said = text_of(messages[position])
    tools: list[dict[str, Any]] = body["tools"]
    return next((tool for tool in tools if tool["function"]["name"] in said), None)


def _call(tool: dict[str, Any]) -> Answer:
    function = tool["function"]
    if function["name"] == QUERY_TOOL:
        return Answer(tools=(ToolRequest(QUERY_TOOL, _json({"sql": first_query(tool)})),))
    arguments = minimal(function.get("parameters") or {"type": "object"})
    return Answer(tools=(ToolRequest(function["name"], _json(arguments)),))

"""Refuses chat requests as the real API would: parameters, by model family."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kimi_provider.testing.mfjs import SchemaError, check_schema
from kimi_provider.testing.models import LIVE
from kimi_provider.testing.refusal import RefusalError
from kimi_provider.testing.strict_messages import check_messages, mentions_json
from kimi_provider.testing.tokens import count_prompt

if TYPE_CHECKING:
    from kimi_provider.testing.models import Model

_PARAMETERS = frozenset(
    {
        "model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options", "stop",
        "temperature", "top_p", "n", "presence_penalty", "frequency_penalty", "tools", "tool_choice",
        "response_format", "prompt_cache_key", "safety_identifier", "thinking", "reasoning_effort",
        "logprobs", "top_logprobs", "prediction",
    }
)  # fmt: skip
TOOL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9\-_]{2,63}")
MAX_TOOLS = 128
MAX_STOPS = 5
MAX_STOP_BYTES = 32
MAX_CHOICES = 5
MAX_TOP_LOGPROBS = 20
_FIXED_TOP_P = 0.95


def check_chat(
    body: object, *, reasoning_key: str = "reasoning_content"
) -> tuple[dict[str, Any], Model, int]:
    """Check a chat request.

    :param body: the decoded JSON.
    :param reasoning_key: key under which the host wants reasoning back.
    :return: the request, its model, and its prompt's tokens.
    :raises RefusalError: with the status and text of the real API.
    """
    if not isinstance(body, dict):
        raise RefusalError("Invalid request: the body must be a JSON object")
    model = find_model(body.get("model"))
    if unknown := sorted(set(body) - _PARAMETERS):
        raise RefusalError(f"Invalid request: unknown parameter: {unknown[0]}")
    _check_stream(body)
    _check_sampling(body, model)
    _check_thinking(body, model)
    names = _check_tools(body)
    _check_tool_choice(body, model, names)
    check_messages(body.get("messages"), thinks=model.thinks(body), reasoning_key=reasoning_key)
    _check_response_format(body)
    return body, model, _check_window(body, model)


def find_model(name: object) -> Model:
    """Return the live model of this id.

    :raises RefusalError: 400 if no id was given, 404 if it is not known or retired.
    """
    if not isinstance(name, str) or not name:
        raise RefusalError("Invalid request: model is required")
    if name not in LIVE:
        message = f"Not found the model {name} or Permission denied"
        raise RefusalError(message, status=404, error_type="resource_not_found_error")
    return LIVE[name]


def max_tokens(body: dict[str, Any], model: Model) -> int:
    """Return the bound of the answer: reasoning and text together."""
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    return asked if isinstance(asked, int) else model.default_max_tokens


def _number(body: dict[str, Any], name: str, low: float, high: float, *, whole: bool = False) -> None:
    value = body.get(name)
    if value is None:
        return
    kinds = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise RefusalError(f"Invalid request: {name} must be {'an integer' if whole else 'a number'}")
    if not low <= value <= high:
        raise RefusalError(f"invalid {name}: must be between {low:g} and {high:g}")


def _check_stream(body: dict[str, Any]) -> None:
    stream, options = body.get("stream"), body.get("stream_options")
    if not isinstance(stream, bool | None):
        raise RefusalError("Invalid request: stream must be a boolean")
    if options is not None:
        if not stream:
            raise RefusalError("Invalid request: stream_options is only allowed when stream is true")
        if not isinstance(options, dict) or set(options) - {"include_usage"}:
            raise RefusalError(
                "Invalid request: stream_options must hold include_usage and nothing else"
            )
    for name in ("prompt_cache_key", "safety_identifier"):
        if not isinstance(body.get(name), str | None):
            raise RefusalError(f"Invalid request: {name} must be a string")


def _check_sampling(body: dict[str, Any], model: Model) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        _number(body, name, 1, float("inf"), whole=True)
    _number(body, "top_logprobs", 0, MAX_TOP_LOGPROBS, whole=True)
    if model.free_sampling:
        _number(body, "temperature", 0, 1)
        _number(body, "top_p", 0, 1)
        _number(body, "presence_penalty", -2, 2)
        _number(body, "frequency_penalty", -2, 2)
        _number(body, "n", 1, MAX_CHOICES, whole=True)
        if (body.get("n") or 1) > 1 and body.get("temperature") == 0:
            raise RefusalError("invalid n: only 1 is allowed when temperature is close to 0")
    else:
        fixed = {
            "temperature": model.fixed_temperature(body),
            "top_p": _FIXED_TOP_P,
            "n": 1,
            "presence_penalty": 0,
            "frequency_penalty": 0,
        }
        for name, value in fixed.items():
            if body.get(name) is not None and body[name] != value:
                raise RefusalError(f"invalid {name}: only {value:g} is allowed for this model")
    _check_stop(body.get("stop"))


def _check_stop(stop: object) -> None:
    if stop is None:
        return
    given = stop if isinstance(stop, list) else [stop]
    stops = [one for one in given if isinstance(one, str)]
    if len(stops) < len(given):
        raise RefusalError("Invalid request: stop must be a string or an array of strings")
    if len(stops) > MAX_STOPS:
        raise RefusalError(f"Invalid request: stop can have at most {MAX_STOPS} sequences")
    if any(len(one.encode()) > MAX_STOP_BYTES for one in stops):
        raise RefusalError(f"Invalid request: a stop sequence can have at most {MAX_STOP_BYTES} bytes")


def _check_thinking(body: dict[str, Any], model: Model) -> None:
    thinking, effort = body.get("thinking"), body.get("reasoning_effort")
    if effort is not None and effort not in model.efforts:
        allowed = (
            f"must be one of {', '.join(model.efforts)}"
            if model.efforts
            else "is not supported by this model"
        )
        raise RefusalError(f"Invalid request: reasoning_effort {allowed}")
    if "thinking" not in body:
        return
    if not model.thinking:
        raise RefusalError("Invalid request: thinking is not supported by this model")
    if not isinstance(thinking, dict):
        raise RefusalError("Invalid request: thinking must be an object")
    if thinking.get("type") not in model.thinking:
        raise RefusalError(
            f"invalid thinking: only type {' or '.join(model.thinking)} is allowed for this model"
        )
    if set(thinking) - {"type", "keep"} or ("keep" in thinking and not model.keep):
        raise RefusalError("Invalid request: thinking has an unknown field")
    if model.keep and thinking.get("keep") not in model.keep:
        raise RefusalError(
            "invalid thinking: keep must be " + ("all" if model.keep_required else "null or all")
        )


def _check_tools(body: dict[str, Any]) -> set[str]:
    tools = body.get("tools")
    if tools is None:
        return set()
    if not isinstance(tools, list):
        raise RefusalError("Invalid request: tools must be an array")
    if len(tools) > MAX_TOOLS:
        raise RefusalError(f"Invalid request: tools can have at most {MAX_TOOLS} items")
    names: set[str] = set()
    for tool in tools:
        name = _check_tool(tool)
        if name in names:
            raise RefusalError(f"Invalid request: function name {name} is duplicated")
        names.add(name)
    return names


def _check_tool(tool: object) -> str:
    if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict):
        raise RefusalError("Invalid request: tools must hold functions")
    function = tool["function"]
    name = function.get("name")
    if tool.get("type") == "builtin_function":
        if name != "$web_search":
            raise RefusalError(f"Invalid request: builtin function {name} is not supported")
        return str(name)
    if tool.get("type") != "function":
        raise RefusalError("Invalid request: tools.type must be function or builtin_function")
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        raise RefusalError(
            "Invalid request: function name is invalid, must start with a letter and can contain"
            " letters,"
            " numbers, underscores, and dashes"
        )
    parameters = function.get("parameters")
    if parameters is not None:
        if not isinstance(parameters, dict) or parameters.get("type") != "object":
            raise RefusalError('tools.function.parameters.type is required and must be "object"')
        _check_flavored(parameters, "tools.function.parameters")
    return name


def _check_flavored(schema: object, place: str) -> None:
    try:
        check_schema(schema)
    except SchemaError as error:
        message = (
            f"Invalid request: {place} is not a valid moonshot flavored json schema, details: <{error}>"
        )
        raise RefusalError(message) from error


def _check_tool_choice(body: dict[str, Any], model: Model, names: set[str]) -> None:
    choice = body.get("tool_choice")
    if choice in (None, "auto", "none"):
        return
    thinks = model.thinks(body)
    if choice == "required":
        if thinks and not model.tool_choice_required:
            raise RefusalError("tool_choice 'required' is incompatible with thinking enabled")
        if not names:
            raise RefusalError("Invalid request: tool_choice required needs tools")
        return
    if not isinstance(choice, dict) or choice.get("type") != "function":
        raise RefusalError("Invalid request: tool_choice must be auto, none, required or a function")
    if thinks:
        raise RefusalError("tool_choice 'specified' is incompatible with thinking enabled")
    if choice.get("function", {}).get("name") not in names:
        raise RefusalError("Invalid request: tool_choice names a function that is not in tools")


def _check_response_format(body: dict[str, Any]) -> None:
    wanted = body.get("response_format")
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in {"text", "json_object", "json_schema"}:
        raise RefusalError(
            "Invalid request: response_format.type must be text, json_object or json_schema"
        )
    if kind == "json_object":
        if not mentions_json(body["messages"]):
            raise RefusalError(
                "Invalid request: the prompt must contain the word 'json' to use json_object"
            )
        if body["messages"][-1].get("partial"):
            raise RefusalError("Invalid request: json_object cannot be combined with partial")
    if kind == "json_schema":
        holder = wanted.get("json_schema")
        if not isinstance(holder, dict) or not isinstance(holder.get("name"), str) or not holder["name"]:
            raise RefusalError("Invalid request: response_format.json_schema.name is required")
        if not isinstance(holder.get("strict"), bool | None):
            raise RefusalError("Invalid request: response_format.json_schema.strict must be a boolean")
        if not isinstance(holder.get("schema"), dict) or holder["schema"].get("type") != "object":
            raise RefusalError(
                'response_format.json_schema.schema.type is required and must be "object"'
            )
        _check_flavored(holder["schema"], "response_format.json_schema.schema")


def _check_window(body: dict[str, Any], model: Model) -> int:
    prompt = count_prompt(body)
    asked = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    if prompt + asked > model.context:
        raise RefusalError(
            f"Invalid request: Your request exceeded model token limit: {model.context} (requested:"
            f" {prompt + asked})"
        )
    return prompt

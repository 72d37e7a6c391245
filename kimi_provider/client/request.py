"""From a :class:`ChatRequest` to the JSON body that a given model at a given host accepts.

Pure: no I/O, no clock. Parameters that a family refuses are left out, with a warning where that
changes what the caller asked for; what cannot be sent at all is a :class:`ConfigurationError`.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.client.schema import to_kimi_schema
from kimi_provider.client.wire import wire_messages
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from kimi_provider.client.config import ClientConfig
    from kimi_provider.client.hosts import Host
    from kimi_provider.client.messages import ChatRequest, ToolSpec
    from kimi_provider.client.models import ModelProfile

logger = logging.getLogger("kimi_provider.client")

_TOOL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{2,63}")
_MAX_TOOLS = 128
_MAX_STOPS = 5
_MAX_STOP_BYTES = 32
# Lone surrogates are legal in a Python text and in JSON escapes, but not in UTF-8.
_SURROGATES = re.compile("[\ud800-\udfff]")


def model_of(request: ChatRequest, config: ClientConfig) -> str:
    """Return the model id that a request goes to.

    :raises ConfigurationError: if neither the request nor the connection names one.
    """
    model = request.model or config.model
    if not model:
        raise ConfigurationError(
            "No model is named; set model in the connection's extra or on the call. Model ids change: "
            "the connection test lists those that the host has."
        )
    return model


def build_body(request: ChatRequest, config: ClientConfig) -> dict[str, Any]:
    """Return the body of ``POST /chat/completions``, as JSON values.

    :raises ConfigurationError: if the request breaks a documented limit of the protocol.
    """
    host = config.host
    model = model_of(request, config)
    profile = config.profile(model)
    thinking = config.thinking if request.thinking is None else request.thinking
    thinks = profile.thinking in {"always", "effort"} or (
        profile.thinking in {"switch", "switch_keep"} and thinking is not False
    )
    body: dict[str, Any] = {
        "model": model,
        "messages": wire_messages(
            request.messages,
            key=config.reasoning_key,
            default_key=host.reasoning_key,
            fill_reasoning=thinks,
            native_ids=host.native_tool_ids and profile.known,
        ),
    }
    _add_tools(body, request, profile)
    _add_format(body, request, native=host.json_schema and profile.json_schema)
    bound = max_tokens(request, config)
    if bound is not None:
        body[host.max_tokens_field] = bound
    _add_sampling(body, request, config, profile)
    effort = request.effort or config.effort
    _add_thinking(body, profile, host, thinking=thinking, effort=effort)
    if request.stop:
        body["stop"] = _checked_stop(request.stop)
    if request.cache_key and host.cache_key:
        body["prompt_cache_key"] = request.cache_key
    if request.stream:
        body["stream"] = True
        if host.include_usage:
            body["stream_options"] = {"include_usage": True}
    body.update(request.extra_body)
    return body


def encode(body: dict[str, Any]) -> bytes:
    """Return ``body`` as UTF-8 JSON; lone surrogates, which UTF-8 cannot hold, become U+FFFD."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(body))


def max_tokens(request: ChatRequest, config: ClientConfig) -> int | None:
    """Return the answer bound that is sent, in tokens; ``None`` leaves it to the host.

    :raises ConfigurationError: if the bound is below 1.
    """
    profile = config.profile(model_of(request, config))
    bound = request.max_tokens or config.max_tokens or profile.default_max_tokens
    if bound is None:
        return None
    if bound < 1:
        raise ConfigurationError(f"max_tokens is {bound}; allowed is a whole number from 1.")
    return min(bound, profile.max_output_tokens or bound)


def wire_tools(tools: tuple[ToolSpec, ...], *, native: bool) -> list[dict[str, Any]]:
    """Return tools as the protocol has them.

    :param native: whether Kimi's schema subset holds; other models take any JSON Schema.
    :raises ConfigurationError: for a name or a schema that Kimi refuses.
    """
    if len(tools) > _MAX_TOOLS:
        raise ConfigurationError(f"{len(tools)} tools are given; Kimi takes at most {_MAX_TOOLS}.")
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"The tool {name!r} is given twice; names must differ.")
    return [_wire_tool(tool, native=native) for tool in tools]


def _wire_tool(tool: ToolSpec, *, native: bool) -> dict[str, Any]:
    if tool.builtin:
        return {"type": "builtin_function", "function": {"name": tool.name}}
    if not _TOOL_NAME.fullmatch(tool.name):
        raise ConfigurationError(
            f"The tool name {tool.name!r} is not allowed: 3 to 64 letters, digits, _ or -, "
            "starting with a letter or _."
        )
    parameters = to_kimi_schema(tool.parameters, root_object=True) if native else tool.parameters
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _add_tools(body: dict[str, Any], request: ChatRequest, profile: ModelProfile) -> None:
    if not request.tools:
        return
    body["tools"] = wire_tools(request.tools, native=profile.known)
    if request.tool_choice == "auto":
        return
    if request.tool_choice in profile.tool_choices:
        body["tool_choice"] = request.tool_choice
    else:
        _warn_once(
            f"tool_choice {request.tool_choice!r} is not allowed by {profile.family} (allowed: "
            f"{', '.join(profile.tool_choices)}); auto is used"
        )


def _add_format(body: dict[str, Any], request: ChatRequest, *, native: bool) -> None:
    if request.response_schema is None and not request.json_object:
        return
    if request.messages and request.messages[-1].partial:
        raise ConfigurationError(
            "A partial message cannot be combined with a JSON answer; drop one of the two."
        )
    if request.response_schema is None:
        body["response_format"] = {"type": "json_object"}
        return
    if not native:
        raise ConfigurationError(
            f"response_schema {request.response_schema.name!r} is given, but model {body['model']!r} "
            "at this host has no json_schema; ask with json_object and the schema in the prompt, or set "
            "host_options.json_schema and the model's json_schema to true in the connection's extra."
        )
    schema = to_kimi_schema(request.response_schema.schema, root_object=True)
    named = {"name": request.response_schema.name, "strict": True, "schema": schema}
    body["response_format"] = {"type": "json_schema", "json_schema": named}


def _add_sampling(
    body: dict[str, Any], request: ChatRequest, config: ClientConfig, profile: ModelProfile
) -> None:
    temperature = config.temperature if request.temperature is None else request.temperature
    if profile.temperature is None:
        if temperature is not None or request.top_p is not None:
            _warn_once(f"{profile.family} fixes temperature and top_p; those given are not sent")
        return
    if temperature is not None:
        low, high = profile.temperature
        if not low <= temperature <= high:
            raise ConfigurationError(
                f"temperature is {temperature}; {profile.family} allows {low:g} to {high:g}."
            )
        body["temperature"] = temperature
    if request.top_p is not None:
        if not 0 <= request.top_p <= 1:
            raise ConfigurationError(f"top_p is {request.top_p}; allowed is 0 to 1.")
        body["top_p"] = request.top_p


def _add_thinking(
    body: dict[str, Any],
    profile: ModelProfile,
    host: Host,
    *,
    thinking: bool | None,
    effort: str | None,
) -> None:
    """Switch thinking in the way that this family and this host have; most refuse the other ways."""
    if effort is not None:
        _add_effort(body, profile, host, effort)
    if thinking is None:
        return
    if profile.thinking not in {"switch", "switch_keep"}:
        always = profile.thinking in {"always", "effort"}
        if thinking is not always or profile.thinking == "unknown":
            why = "always thinks" if always else "has no switch for thinking that is known"
            _warn_once(f"{profile.family} {why}; thinking={thinking} is not sent")
        return
    if host.thinking == "template":
        body["chat_template_kwargs"] = {"thinking": thinking}
    elif host.thinking == "reasoning":
        body["reasoning"] = {"enabled": thinking}
    elif host.thinking == "object":
        body["thinking"] = {"type": "enabled" if thinking else "disabled"}
        if thinking and profile.thinking == "switch_keep":
            # Without it the plan of earlier turns, which sits in the reasoning, is dropped.
            body["thinking"]["keep"] = "all"


def _add_effort(body: dict[str, Any], profile: ModelProfile, host: Host, effort: str) -> None:
    if profile.thinking != "effort":
        _warn_once(f"{profile.family} has no effort; effort={effort!r} is not sent")
        return
    if effort not in profile.efforts:
        raise ConfigurationError(
            f"effort is {effort!r}; {profile.family} allows {', '.join(profile.efforts)}."
        )
    if host.thinking == "template":
        body["chat_template_kwargs"] = {"thinking_effort": effort}
    elif host.thinking == "reasoning":
        body["reasoning"] = {"effort": {"max": "xhigh"}.get(effort, effort)}
    else:
        body["reasoning_effort"] = effort


@cache
def _warn_once(message: str) -> None:
    """Say it once in a process: a tool loop makes hundreds of calls alike."""
    logger.warning(message)


def _checked_stop(stop: tuple[str, ...]) -> list[str]:
    long = [text for text in stop if not text or len(text.encode()) > _MAX_STOP_BYTES]
    if len(stop) > _MAX_STOPS or long:
        raise ConfigurationError(
            f"stop has {len(stop)} texts, {len(long)} of them empty or over {_MAX_STOP_BYTES} bytes; "
            f"allowed are up to {_MAX_STOPS} texts of 1 to {_MAX_STOP_BYTES} bytes."
        )
    return list(stop)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_surrogates(item) for item in value]
    return value

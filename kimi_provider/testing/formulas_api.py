"""Moonshot's Formula tools: their declarations, and calls of them with fixed results."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.testing.kimi_api import authorize, decode_object
from kimi_provider.testing.refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.testing.exchange import Exchange

Arguments = dict[str, Any]


def _search(arguments: Arguments) -> dict[str, str]:
    # The real search encrypts what it found; only the model can read it.
    sealed = base64.b64encode(f"simulated results for {arguments['query']}".encode()).decode()
    return {
        "encrypted_output": f"----MOONSHOT ENCRYPTED BEGIN----{sealed}----MOONSHOT ENCRYPTED END----"
    }


def _fetch(arguments: Arguments) -> dict[str, str]:
    return {"output": f"# Simulated page\n\nThe simulator fetched nothing from {arguments['url']}."}


def _run_code(arguments: Arguments) -> dict[str, str]:
    return {"output": f"simulated run of {len(arguments['code'])} characters of code"}


def _date(arguments: Arguments) -> dict[str, str]:
    del arguments
    return {"output": "2013-02-08T12:00:00Z"}


# tool → (function, description, its one parameter, what runs it)
_TOOLS: dict[str, tuple[str, str, str, Callable[[Arguments], dict[str, str]]]] = {
    "web-search": ("web_search", "Search the web.", "query", _search),
    "fetch": ("fetch", "Fetch a web page as Markdown.", "url", _fetch),
    "code_runner": ("code_runner", "Run Python code.", "code", _run_code),
    "date": ("date", "Tell the date and time.", "operation", _date),
}


async def tools(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v1/formulas/{uri}/tools``."""
    authorize(exchange)
    name, description, parameter, _ = _find(exchange)
    parameters = {
        "type": "object",
        "properties": {parameter: {"type": "string", "description": f"The {parameter}."}},
        "required": [parameter],
    }
    function = {"name": name, "description": description, "parameters": parameters}
    return 200, {"object": "list", "tools": [{"type": "function", "function": function}]}


async def fibers(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``POST /v1/formulas/{uri}/fibers``."""
    authorize(exchange)
    name, _, parameter, run = _find(exchange)
    body = decode_object(exchange.body)
    if body.get("name") != name:
        raise RefusalError(f"Invalid request: the formula has no function {body.get('name')}")
    if not isinstance(body.get("arguments"), str):
        raise RefusalError("Invalid request: arguments must be a JSON string")
    base = {"id": "fiber-simulator", "object": "fiber", "formula": exchange.path_values["uri"]}
    try:
        arguments = msgspec.json.decode(body["arguments"], type=dict[str, object])
        context = run({parameter: str(arguments[parameter])})
    except (msgspec.DecodeError, KeyError):
        return 200, base | {"status": "failed", "context": {"error": f"{parameter} is required"}}
    return 200, base | {"status": "succeeded", "context": {"input": body["arguments"], **context}}


def _find(exchange: Exchange) -> tuple[str, str, str, Callable[[Arguments], dict[str, str]]]:
    owner, _, rest = exchange.path_values["uri"].partition("/")
    tool, _, version = rest.partition(":")
    if owner != "moonshot" or tool not in _TOOLS or version != "latest":
        raise RefusalError("formula not found", status=404, error_type="resource_not_found_error")
    return _TOOLS[tool]

"""Moonshot's official tools (web search, fetch, code runner…), run by its Formula API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from kimi_provider.client.messages import ToolSpec
from kimi_provider.exceptions import ResponseValidationError

if TYPE_CHECKING:
    from kimi_provider.client.api import Api


class FormulaResult(msgspec.Struct, frozen=True):
    """What a formula's tool gave back.

    ``text`` goes to the model verbatim, encrypted or not; where ``failed``, it says why, so that the
    model can mend its arguments.
    """

    text: str
    failed: bool = False


class Formulas:
    """Formula tools of Moonshot's API.

    A formula is named by its URI, ``moonshot/web-search:latest``. Its tools are offered to the model
    like any other; a call of one is run here, at Moonshot's, and its output goes back verbatim.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    async def tools(self, uri: str) -> tuple[ToolSpec, ...]:
        """Return the tools of a formula, to be offered to the model.

        :raises ConfigurationError: if the host has no Formula API.
        :raises APIError: if the host does not answer as it should.
        """
        self._api.require("Formula API")
        path = f"/formulas/{quote(uri, safe='/:')}/tools"
        answer = await self._api.json("GET", path)
        tools = []
        for item in answer.get("tools") or ():
            function = item.get("function") if isinstance(item, dict) else None
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise ResponseValidationError(
                    f"The formula {uri!r} lists a tool without a function; it cannot be used."
                )
            tools.append(
                ToolSpec(
                    function["name"],
                    str(function.get("description") or ""),
                    function.get("parameters") or {"type": "object", "properties": {}},
                )
            )
        return tuple(tools)

    async def run(self, uri: str, name: str, arguments: str) -> FormulaResult:
        """Run a tool at Moonshot's.

        :param uri: the formula.
        :param name: the tool's name.
        :param arguments: the JSON text that the model wrote.
        :raises ConfigurationError: if the host has no Formula API.
        :raises APIError: if the host does not answer as it should.
        """
        self._api.require("Formula API")
        answer = await self._api.json(
            "POST",
            f"/formulas/{quote(uri, safe='/:')}/fibers",
            body={"name": name, "arguments": arguments},
            idempotent=False,
            own_errors=True,
        )
        context = answer.get("context")
        context = context if isinstance(context, dict) else {}
        if answer.get("status") == "succeeded":
            return FormulaResult(_text(context.get("output") or context.get("encrypted_output")))
        reason = answer.get("error") or context.get("error") or "The tool failed without a reason."
        return FormulaResult(_text(reason), failed=True)


def _text(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        value = value["message"]
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

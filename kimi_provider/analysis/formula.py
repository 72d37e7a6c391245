"""Moonshot's official tools (web search, fetch, code runner…) as tools of ours, run at Moonshot's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.analysis.permissions import Decision
from kimi_provider.analysis.tools import DEFAULT_MAX_CHARACTERS, Tool, ToolOutput, parse_object
from kimi_provider.client.schema import to_kimi_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.tools import Invocation, Run
    from kimi_provider.client.client import KimiClient

# A search or a fetch at Moonshot's takes seconds; a code run may take a minute.
_TIMEOUT = 120.0


async def formula_tools(
    client: KimiClient,
    uris: Sequence[str],
    *,
    timeout: float = _TIMEOUT,  # noqa: ASYNC109 — of each later call, not of this function
    max_characters: int = DEFAULT_MAX_CHARACTERS,
    permission: Decision | str = Decision.ALLOW,
) -> tuple[Tool, ...]:
    """Return the tools of formulas, ready for an agent.

    :param client: a client of a Moonshot host.
    :param uris: formulas, such as ``moonshot/web-search:latest`` (which is billed by the call).
    :param timeout: seconds that a call of one may take.
    :param max_characters: how much of a result the model sees; encrypted results need all of it.
    :param permission: what happens where the policy says nothing.
    :raises ConfigurationError: if the host has no Formula API.
    :raises APIError: if the host does not answer as it should.
    """
    tools = []
    for uri in uris:
        for spec in await client.formulas.tools(uri):
            tools.append(  # noqa: PERF401 — an asynchronous comprehension over two loops reads worse
                Tool(
                    name=spec.name,
                    description=spec.description,
                    parameters=to_kimi_schema(spec.parameters, root_object=True),
                    parse=parse_object,
                    run=_runner(client, uri, spec.name),
                    timeout=timeout,
                    max_characters=max_characters,
                    permission=Decision(permission),
                )
            )
    return tuple(tools)


def _runner(client: KimiClient, uri: str, name: str) -> Run:
    async def run(invocation: Invocation) -> ToolOutput:
        result = await client.formulas.run(uri, name, invocation.text or "{}")
        return ToolOutput(result.text, failed=result.failed)

    return run

"""Tools that the model may call: any typed Python function, described and checked by its signature."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, overload

from pydantic_core import to_json

from kimi_provider.analysis.permissions import Decision
from kimi_provider.analysis.signature import argument_types, documentation, read_arguments
from kimi_provider.client.messages import ToolSpec
from kimi_provider.client.schema import to_kimi_schema
from kimi_provider.exceptions import BudgetExceededError, ConfigurationError
from kimi_provider.schemas import Fact  # noqa: TC001 — dataclass field of a public value

log = logging.getLogger(__name__)

# Moonshot's rule for names of functions: at least three characters.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9-_]{2,63}")

# What a built-in tool's arguments hold is the host's own, and of no use to it in part.
_UNBOUNDED = 1 << 30

DEFAULT_TIMEOUT = 60.0
"""Seconds that a tool may take."""
DEFAULT_MAX_CHARACTERS = 40_000
"""Characters of a tool's result that the model sees; about 10,000 tokens of prose."""


@dataclass(frozen=True)
class Invocation:
    """One call of a tool.

    :param arguments: the arguments, validated.
    :param text: the same as the model wrote them, as JSON text.
    :param number: how many calls the run made before this one; the same when a run is repeated.
    """

    arguments: Mapping[str, Any]
    text: str
    number: int


@dataclass(frozen=True)
class ToolOutput:
    """What a tool gives back: text for the model, and figures that it may cite.

    ``failed`` marks a text that tells of an error.
    """

    text: str
    facts: tuple[Fact, ...] = ()
    failed: bool = False


Parse: TypeAlias = Callable[[str], Mapping[str, Any]]
Run: TypeAlias = Callable[[Invocation], Awaitable[object]]


@dataclass(frozen=True)
class Tool:
    """A function that the model may call.

    :param name: what the model calls it; Moonshot wants 3 to 64 of ``a-zA-Z0-9_-``.
    :param description: tells the model when and how to use it.
    :param parameters: JSON Schema of the arguments, in Kimi's subset.
    :param parse: reads and checks the JSON text of the arguments; raises ``ValueError`` with a text
        that helps the model.
    :param run: does the work; its result becomes the text that the model sees.
    :param timeout: seconds that it may take.
    :param max_characters: how much of its result the model sees.
    :param permission: what happens where the policy says nothing.
    :param function: the Python function, where there is one; the tool can be called like it.
    :param defaults: values of arguments that the model may leave out; a policy judges them too.
    :param builtin: whether it is the host's own, and sent by name alone.
    :raises ConfigurationError: if the name is not allowed.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    parse: Parse
    run: Run
    timeout: float = DEFAULT_TIMEOUT
    max_characters: int = DEFAULT_MAX_CHARACTERS
    permission: Decision = Decision.ALLOW
    function: Callable[..., Any] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    builtin: bool = False

    def __post_init__(self) -> None:
        """Refuse a name that the host would refuse."""
        if not self.builtin and not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"The tool name {self.name!r} is not allowed: Kimi takes 3 to 64 letters, digits, '_' "
                "and '-', of which the first is a letter or '_'. Give another name."
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the Python function as if it were not decorated."""
        if self.function is None:
            raise TypeError(f"The tool {self.name} is no Python function.")
        return self.function(*args, **kwargs)

    @property
    def spec(self) -> ToolSpec:
        """What the model is told of it."""
        return ToolSpec(self.name, self.description, self.parameters, self.builtin)

    async def invoke(self, invocation: Invocation) -> ToolOutput:
        """Run it, bounded in time and size; what goes wrong is told to the model.

        A synchronous function runs in a thread. One that is over its time is left behind there: its
        result is dropped, but Python cannot end it.

        :raises BudgetExceededError: where the tool itself asks the model and may not.
        """
        limit = asyncio.timeout(self.timeout)
        try:
            async with limit:
                value = await self.run(invocation)
        except BudgetExceededError:
            raise
        except Exception as error:  # noqa: BLE001 — any failure of a tool is news for the model
            log.warning("Tool %s failed with %s", self.name, type(error).__name__)
            output = failure(f"{type(error).__name__}: {error}")
            if limit.expired():
                output = failure(f"{self.name} took longer than {self.timeout:g} s and was stopped")
        else:
            output = value if isinstance(value, ToolOutput) else ToolOutput(_text(value))
        return self._capped(output)

    def _capped(self, output: ToolOutput) -> ToolOutput:
        length = len(output.text)
        if length <= self.max_characters:
            return output
        notice = (
            f"\n[The result has {length} characters; only the first {self.max_characters} are shown. "
            "Ask for less to see the rest.]"
        )
        return ToolOutput(output.text[: self.max_characters] + notice, output.facts, output.failed)


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    max_characters: int = DEFAULT_MAX_CHARACTERS,
    permission: Decision | str = Decision.ALLOW,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    max_characters: int = DEFAULT_MAX_CHARACTERS,
    permission: Decision | str = Decision.ALLOW,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed Python function, synchronous or not.

    :param name: what the model calls it; else the function's name.
    :param description: else the docstring without its parts about parameters and results.
    :param timeout: seconds that it may take.
    :param max_characters: how much of its result the model sees.
    :param permission: ``allow``, ``ask`` or ``deny`` where the policy says nothing.
    :raises ConfigurationError: if a parameter has no type, or one that JSON Schema cannot say.

    A function may be run again for the same call if the worker dies while it runs, so it should be
    harmless to repeat, or ``ask``. ::

        @tool
        def airport_name(code: str) -> str:
            '''Look up the name of an airport.

            :param code: IATA code, such as JFK.
            '''
    """

    def make(target: Callable[..., Any]) -> Tool:
        summary, described = documentation(inspect.getdoc(target) or "")
        called = name or str(getattr(target, "__name__", ""))
        adapter = argument_types(target, called, described)
        parameters = inspect.signature(target).parameters.values()
        return Tool(
            name=called,
            description=description or summary,
            parameters=to_kimi_schema(adapter.json_schema(), root_object=True),
            parse=lambda text: read_arguments(adapter, text),
            run=_runner(target),
            timeout=timeout,
            max_characters=max_characters,
            permission=Decision(permission),
            function=target,
            defaults={one.name: one.default for one in parameters if one.default is not one.empty},
        )

    return make if function is None else make(function)


def builtin_tool(spec: ToolSpec) -> Tool:
    """Return a tool that the host runs itself, such as Moonshot's ``$web_search``.

    All that is to be done here is to give its arguments back as its result.
    """

    async def run(invocation: Invocation) -> str:
        return invocation.text

    return Tool(
        name=spec.name,
        description=spec.description,
        parameters=spec.parameters,
        parse=parse_object,
        run=run,
        max_characters=_UNBOUNDED,
        builtin=True,
    )


def failure(reason: str) -> ToolOutput:
    """Tell the model that its call went wrong, and why."""
    return ToolOutput(f"Error: {reason}.", failed=True)


def parse_object(text: str) -> dict[str, Any]:
    """Read arguments of a tool that checks them itself: any JSON object.

    :raises ValueError: if it is none.
    """
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the arguments are no valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError("the arguments are no JSON object")  # noqa: TRY004 — the contract of Parse
    return value


def _runner(function: Callable[..., Any]) -> Run:
    if inspect.iscoroutinefunction(function):

        async def run(invocation: Invocation) -> object:
            result: object = await function(**invocation.arguments)
            return result

    else:

        async def run(invocation: Invocation) -> object:
            return await asyncio.to_thread(function, **invocation.arguments)

    return run


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return to_json(value, fallback=str, inf_nan_mode="strings").decode()

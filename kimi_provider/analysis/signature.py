"""From a Python function's signature and docstring to the schema and the check of its arguments."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.errors import PydanticUserError
from typing_extensions import TypedDict

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PARAMETER = re.compile(r"^\s*:param\s+(?:[^:]*\s)?(\w+)\s*:\s*(.*)$")
_ARGUMENT = re.compile(r"^(\s+)\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_SECTION = re.compile(r"^\s*(?::\w+|(?:Args|Arguments|Returns|Raises|Yields|Example)s?:\s*$)")


def argument_types(
    function: Callable[..., Any], name: str, described: Mapping[str, str]
) -> TypeAdapter[Any]:
    """Make a validator of the arguments; a TypedDict, since any parameter name is fine in one.

    :param function: whose parameters they are.
    :param name: the tool's name, for errors.
    :param described: what each parameter is, by name.
    :raises ConfigurationError: if a parameter has no type, or one that JSON Schema cannot say.
    """
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigurationError(f"The types of tool {name!r} cannot be read: {error}") from None
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise ConfigurationError(
                f"The tool {name!r} has the parameter {parameter}; give each one a name and a type."
            )
        if parameter.name not in hints:
            raise ConfigurationError(
                f"The parameter {parameter.name!r} of tool {name!r} has no type; annotate it."
            )
        text = described.get(parameter.name, "")
        kind: Any = hints[parameter.name]
        if parameter.default is not parameter.empty:
            text = f"{text} Default: {parameter.default!r}.".strip()
        if text:
            kind = Annotated[kind, Field(description=text)]
        fields[parameter.name] = kind if parameter.default is parameter.empty else NotRequired[kind]
    try:
        model = with_config(ConfigDict(extra="forbid"))(TypedDict("Arguments", fields))  # type: ignore[operator]
        return TypeAdapter(model)
    except PydanticUserError as error:
        raise ConfigurationError(
            f"The types of tool {name!r} have no JSON Schema: {str(error).splitlines()[0]}"
        ) from None


def read_arguments(adapter: TypeAdapter[Any], text: str) -> Mapping[str, Any]:
    """Read the JSON text of the arguments.

    :raises ValueError: if they do not fit; its text helps the model and holds none of its values.
    """
    try:
        parsed: Mapping[str, Any] = adapter.validate_json(text or "{}")
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}"
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise ValueError(f"the arguments do not fit: {'; '.join(problems)}") from None
    return parsed


def documentation(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into what it does and what each parameter is (reST and Google style)."""
    summary: list[str] = []
    described: dict[str, str] = {}
    current, in_arguments, in_summary = "", False, True
    for line in text.splitlines():
        if _SECTION.match(line):
            in_summary, current = False, ""
            in_arguments = line.strip().lower().startswith("arg")
        found = _PARAMETER.match(line)
        name, words = (found[1], found[2]) if found else ("", line.strip())
        if in_arguments and not found and (argument := _ARGUMENT.match(line)):
            name, words = argument[2], argument[3]
        if name:
            current = name
            described[name] = words.strip()
        elif in_summary:
            summary.append(line.rstrip())
        elif current and words and not _SECTION.match(line):
            described[current] = f"{described[current]} {words}".strip()
        elif not words:
            current = ""
    return "\n".join(summary).strip(), described

"""A pydantic model in, an instance of it out: asked for, validated, and repaired once."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from kimi_provider.client.messages import ChatRequest, ChatResult, Message, ResponseSchema
from kimi_provider.client.schema import PropertyNameError, to_kimi_schema
from kimi_provider.exceptions import EmptyAnswerError, InvalidOutputError, TruncatedAnswerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T", bound=BaseModel)
V = TypeVar("V")

_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_SHOWN = 20


class Structured(msgspec.Struct, Generic[V], frozen=True):
    """A validated value, and every answer that it took."""

    value: V
    results: tuple[ChatResult, ...]


async def structured(
    complete: Callable[[ChatRequest], Awaitable[ChatResult]],
    request: ChatRequest,
    output_type: type[T],
    *,
    native_schema: bool,
    max_repairs: int = 1,
    name: str | None = None,
) -> Structured[T]:
    """Ask for an answer that is an instance of ``output_type``.

    :param complete: makes one call; a client's own, or one that journals and counts.
    :param request: what to ask; its ``response_schema`` is set here.
    :param output_type: the model of the answer; must be an object, not a list.
    :param native_schema: whether the host takes the schema as ``response_format``
        (:meth:`KimiClient.native_schema`); else, and where a property has a name that Kimi reserves,
        it goes into the prompt.
    :param max_repairs: turns that may quote the errors and ask again; each is paid.
    :param name: name of the schema, else made from the class's.
    :raises ConfigurationError: if the type cannot be said in the schemas that Kimi accepts.
    :raises TruncatedAnswerError: if an answer ended before it was finished.
    :raises EmptyAnswerError: if an answer has no text.
    :raises InvalidOutputError: if the answer is wrong after the last repair too.
    :raises APIError: as ``complete`` does.
    """
    try:
        schema = to_kimi_schema(output_type, root_object=True)
    except PropertyNameError:
        # Kimi does not take it as a schema, but it can be told of it.
        schema, native_schema = output_type.model_json_schema(), False
    name = name or _NAME.sub("_", output_type.__name__)[:64]
    asked = _asking(request, name, schema, native=native_schema)
    results: list[ChatResult] = []
    while True:
        result = await complete(asked)
        results.append(result)
        text = _usable(result)
        try:
            return Structured(parse(text, output_type), tuple(results))
        except ValidationError as error:
            problems = _problems(error)
            summary = _summary(error, schema)
        except ValueError:
            problems = "- The answer is not one JSON object."
            summary = "it is no JSON object"
        if len(results) > max_repairs:
            raise InvalidOutputError(
                f"The answer does not fit {output_type.__name__} after {len(results) - 1} repairs: "
                f"{summary}. The raw text is in the trace; simplify the type, or allow more repairs."
            )
        repair = Message.user(
            f"Your answer does not fit the JSON Schema `{name}`:\n{problems}\n"
            "Answer again with the whole corrected JSON object and nothing else."
        )
        asked = msgspec.structs.replace(asked, messages=(*asked.messages, result.message, repair))


def parse(text: str, output_type: type[T]) -> T:
    """Read an instance out of an answer, which may be fenced or have words around its JSON.

    :raises ValidationError: if there is a JSON object that does not fit.
    :raises ValueError: if there is none.
    """
    stripped = text.strip().removeprefix("\ufeff")
    if stripped[:1] == "{":
        try:
            return output_type.model_validate_json(stripped)
        except ValidationError as error:
            if not any(item["type"] == "json_invalid" for item in error.errors(include_url=False)):
                raise
    decoder = json.JSONDecoder()
    start = stripped.find("{")
    while start >= 0:
        try:
            _, end = decoder.raw_decode(stripped, start)
        except (ValueError, RecursionError):
            start = stripped.find("{", start + 1)
            continue
        # Through JSON again, so that dates and the like are read as from JSON.
        return output_type.model_validate_json(stripped[start:end])
    raise ValueError("no JSON object")


def _asking(request: ChatRequest, name: str, schema: dict[str, Any], *, native: bool) -> ChatRequest:
    if native:
        return msgspec.structs.replace(request, response_schema=ResponseSchema(name, schema))
    # Behind the system messages that open the request: the prefix stays the same from call to call.
    order = Message.system(
        f"Answer with one JSON object and nothing else. It must fit this JSON Schema named `{name}`:\n"
        f"{json.dumps(schema, ensure_ascii=False)}"
    )
    leading = 0
    while leading < len(request.messages) and request.messages[leading].role == "system":
        leading += 1
    messages = (*request.messages[:leading], order, *request.messages[leading:])
    return msgspec.structs.replace(request, messages=messages, json_object=True)


def _usable(result: ChatResult) -> str:
    if result.truncated:
        raise TruncatedAnswerError(
            f"The structured answer is not whole: {result.cut_by}. Raise max_tokens, or ask for less."
        )
    if not result.text.strip():
        raise EmptyAnswerError(
            "The structured answer has no text; usually the thinking used up max_tokens. Raise it."
        )
    return result.text


def _problems(error: ValidationError) -> str:
    items = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"- {'.'.join(map(str, item['loc'])) or 'the object'}: {item['msg']}" for item in items]
    more = [f"- and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join(lines[:_SHOWN] + more)


def _summary(error: ValidationError, schema: dict[str, Any]) -> str:
    """Say what is wrong in words of the schema alone: the model's own must not get into an error."""
    known = _property_names(schema)
    items = error.errors(include_url=False, include_context=False, include_input=False)
    said = []
    for item in items[:5]:
        place = (str(part) if isinstance(part, int) or part in known else "*" for part in item["loc"])
        said.append(f"{'.'.join(place) or '*'} {item['type']}")
    return f"{len(items)} errors, first {'; '.join(said)}"


def _property_names(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(_property_names, schema))
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties")
    found = set(own) if isinstance(own, dict) else set()
    return found.union(*map(_property_names, schema.values()))

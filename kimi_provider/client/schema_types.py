"""What Kimi's schema subset allows for each type of value; the rest becomes words."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
_BOUNDS = {"string": "Length", "array": "Items"}
# By what keyword a schema without a type shows which type it means.
_TELLING = {
    "object": ("properties", "additionalProperties", "patternProperties", "required", "propertyNames"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_HINTS = {
    "string": {
        "format": "format",
        "pattern": "must match the regular expression",
        "contentEncoding": "encoding",
    },
    "number": {"exclusiveMinimum": "above", "exclusiveMaximum": "below", "multipleOf": "a multiple of"},
    "integer": {"multipleOf": "a multiple of"},
    "array": {"minContains": "matching elements at least", "maxContains": "matching elements at most"},
    "object": {"minProperties": "properties at least", "maxProperties": "properties at most"},
}
_SAFE_INTEGER = (1 << 53) - 1
_MAX_HINT = 200
# Versions of Moonshot's validator allow 500 or 1000 values, and 7,500 characters in more than 250.
_MAX_ENUM = 500
_LONG_ENUM = 250
_MAX_ENUM_CHARACTERS = 7_500
# What then stands in the description, in characters.
_MAX_LIST = 4_000


class Walker(Protocol):
    """What goes into the subschemas of objects and arrays."""

    def object_fields(self, node: dict[str, Any], place: str) -> dict[str, Any]:
        """Return the fields of an object."""

    def items(self, node: dict[str, Any], place: str) -> dict[str, Any] | None:
        """Return the schema of an array's elements."""


def described(schema: dict[str, Any], node: dict[str, Any], hints: Sequence[str] = ()) -> dict[str, Any]:
    """Return ``schema`` with the description of ``node``, and what had to be left out put into words."""
    text = node.get("description")
    words = [text.strip()] if isinstance(text, str) and text.strip() else []
    fresh = [hint for hint in hints if not words or hint not in words[0]]
    if fresh:
        words.append(f"({'; '.join(fresh)})")
    return {**schema, "description": " ".join(words)} if words else schema


def guess_types(node: dict[str, Any], place: str) -> tuple[str, ...]:
    """Return the types that ``node`` allows, from its ``type`` or from what only one type has."""
    if "type" not in node:
        return tuple(kind for kind, keys in _TELLING.items() if any(key in node for key in keys))[:1]
    types = node["type"] if isinstance(node["type"], list) else [node["type"]]
    if not types or not all(isinstance(kind, str) and kind in TYPES for kind in types):
        raise ConfigurationError(
            f"The JSON Schema at {place} has the type {node['type']!r:.80}; allowed "
            f"are {', '.join(sorted(TYPES))}."
        )
    return tuple(dict.fromkeys(types))


def typed(node: dict[str, Any], kind: str, place: str, walker: Walker) -> dict[str, Any]:
    """Return ``node`` as a schema of the one type ``kind``."""
    schema: dict[str, Any] = {"type": kind}
    hints = [
        f"{words}: {node[key]}"[:_MAX_HINT]
        for key, words in _HINTS.get(kind, {}).items()
        if key in node and not isinstance(node[key], bool)
    ]
    if kind == "object":
        schema |= walker.object_fields(node, place)
    elif kind == "array":
        items = node.get("items")
        if ("items" in node and not isinstance(items, (dict, bool, list))) or items == []:
            raise ConfigurationError(f"The JSON Schema at {place} has items that are no schema.")
        inner = walker.items(node, place)
        if inner is not None:
            schema["items"] = inner
        if node.get("uniqueItems") is True:
            hints.append("no element twice")
    if kind in _BOUNDS:
        schema |= _sizes(node, _BOUNDS[kind], place)
    elif kind in {"number", "integer"}:
        schema |= _range(node, kind, place, hints)
    default = node.get("default")
    if "default" in node and kind not in {"object", "array"} and type_of(default) in _fits(kind):
        schema["default"] = default
    return described(schema, node, hints)


def enumeration(node: dict[str, Any], place: str) -> dict[str, Any]:  # noqa: C901 — mixed values have many shapes
    """Return an enum as Kimi takes it: values of one type, perhaps with ``null``."""
    values = node["enum"]
    if not isinstance(values, list) or not values:
        raise ConfigurationError(f"The JSON Schema at {place} has an enum that is no list of values.")
    declared = guess_types({"type": node["type"]}, place) if "type" in node else ()
    groups: dict[str, list[Any]] = {}
    for value in values:
        kind = type_of(value)
        if declared and not any(kind in _fits(one) for one in declared):
            continue
        group = groups.setdefault("number" if kind == "integer" else kind, [])
        if not any(value == seen and type(value) is type(seen) for seen in group):
            group.append(value)
    if not groups:
        raise ConfigurationError(f"The JSON Schema at {place} has an enum with no value of its type.")
    nullable = groups.pop("null", None) is not None
    branches = [_branch(kind, group, declared) for kind, group in groups.items()]
    if not branches:
        return described({"type": "null"}, node)
    if nullable and len(branches) == 1 and "enum" in branches[0]:
        only = branches[0]
        schema: dict[str, Any] = {"type": [only["type"], "null"], "enum": [*only["enum"], None]}
        return described(schema, node)
    if nullable:
        branches.append({"type": "null"})
    if len(branches) > 1:
        return described({"anyOf": branches}, node)
    default = node.get("default")
    if "enum" in branches[0] and default in branches[0]["enum"] and default is not None:
        branches[0]["default"] = default
    own = branches[0].get("description")
    return described(branches[0], node, [own] if own else ())


def type_of(value: object) -> str:
    """Return the JSON type of a value; whole floats are numbers."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for kind, classes in (("integer", int), ("number", float), ("string", str), ("object", dict)):
        if isinstance(value, classes):
            return kind
    return "array"


def _branch(kind: str, values: list[Any], declared: tuple[str, ...]) -> dict[str, Any]:
    long = _too_long(values)
    if kind in {"object", "array"} or long:
        listed = ", ".join(json.dumps(value, ensure_ascii=False) for value in values)
        return {"type": kind, "description": f"one of: {listed}"[: _MAX_LIST if long else _MAX_HINT]}
    if kind == "number" and "number" not in declared and all(isinstance(value, int) for value in values):
        kind = "integer"
    return {"type": kind, "enum": values}


def _too_long(values: list[Any]) -> bool:
    if len(values) <= _LONG_ENUM:
        return False
    return len(values) > _MAX_ENUM or sum(len(str(value)) for value in values) > _MAX_ENUM_CHARACTERS


def _fits(kind: str) -> set[str]:
    return {"integer", "number"} if kind == "number" else {kind}


def _sizes(node: dict[str, Any], what: str, place: str) -> dict[str, Any]:
    found = {
        key: node[key]
        for key in (f"min{what}", f"max{what}")
        if isinstance(node.get(key), int) and not isinstance(node[key], bool) and node[key] >= 0
    }
    _check_order(found.get(f"min{what}"), found.get(f"max{what}"), place)
    return found


def _range(node: dict[str, Any], kind: str, place: str, hints: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, step, pick in (("minimum", 1, max), ("maximum", -1, min)):
        bounds = [node[key]] if _is_number(node.get(key)) else []
        open_ = node.get(f"exclusive{key.capitalize()}")
        if kind == "integer":
            bounds = [math.ceil(b) if step > 0 else math.floor(b) for b in bounds]
            if _is_number(open_):
                bounds.append((math.floor(open_) if step > 0 else math.ceil(open_)) + step)
        if not bounds:
            continue
        bound = pick(bounds)
        # Kimi reads no scientific notation and no integer beyond a double's precision.
        if "e" in repr(bound) or abs(bound) > _SAFE_INTEGER:
            hints.append(f"{key}: {bound}")
        else:
            found[key] = bound
    _check_order(found.get("minimum"), found.get("maximum"), place)
    return found


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_order(low: float | None, high: float | None, place: str) -> None:
    if low is not None and high is not None and low > high:
        raise ConfigurationError(f"The JSON Schema at {place} wants at least {low} and at most {high}.")

"""Merging JSON Schemas that must hold together (``allOf``, a reference with constraints beside it)."""

from __future__ import annotations

from typing import Any

from kimi_provider.exceptions import ConfigurationError

ANNOTATIONS = frozenset(
    {
        "title",
        "description",
        "default",
        "examples",
        "example",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
    }
)
_HIGHEST = {"minimum", "exclusiveMinimum", "minLength", "minItems"}
_LOWEST = {"maximum", "exclusiveMaximum", "maxLength", "maxItems"}
_MAX_BRANCHES = 10


def without_annotations(node: dict[str, Any]) -> dict[str, Any]:
    """Return what of ``node`` constrains values."""
    return {
        key: value for key, value in node.items() if key not in ANNOTATIONS and not key.startswith("x-")
    }


def merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that both hold in, as near as one level can say it.

    :raises ConfigurationError: if the two cannot hold together, or only in too many ways.
    """
    merged = dict(first)
    for key, value in second.items():
        merged[key] = _both(key, merged[key], value) if key in merged else value
    return merged


def _both(key: str, one: Any, two: Any) -> Any:  # noqa: C901, PLR0911 — one branch a keyword
    if one == two:
        return one
    if key == "properties" and isinstance(one, dict) and isinstance(two, dict):
        shared = {name: {"allOf": [one[name], two[name]]} for name in one.keys() & two.keys()}
        return {**one, **two, **{name: shared[name] for name in one if name in shared}}
    if key in {"required", "allOf"} and isinstance(one, list) and isinstance(two, list):
        return [*one, *(item for item in two if item not in one)]
    if key == "type":
        return _types(one, two)
    if key == "enum" and isinstance(one, list) and isinstance(two, list):
        return [value for value in one if value in two]
    if key in _HIGHEST or key in _LOWEST:
        if isinstance(one, (int, float)) and isinstance(two, (int, float)):
            return max(one, two) if key in _HIGHEST else min(one, two)
        return two
    if key in {"anyOf", "oneOf"} and isinstance(one, list) and isinstance(two, list):
        if len(one) * len(two) > _MAX_BRANCHES:
            raise ConfigurationError("The JSON Schema combines too many alternatives; simplify it.")
        return [{"allOf": [left, right]} for left in one for right in two]
    if key == "items":
        return {"allOf": [one, two]}
    if key == "additionalProperties":
        if one is False or two is False:
            return False
        return two if one is True else one if two is True else {"allOf": [one, two]}
    return two


def _types(one: Any, two: Any) -> Any:
    left = one if isinstance(one, list) else [one]
    right = two if isinstance(two, list) else [two]
    shared = [kind for kind in left if kind in right]
    if not shared and {"integer", "number"} <= {*left, *right}:
        return "integer"
    if not shared:
        raise ConfigurationError(f"The JSON Schema wants {one!r} and {two!r} at once; no value is both.")
    return shared if len(shared) > 1 else shared[0]

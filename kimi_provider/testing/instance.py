"""The least value that fits a schema: the simulator's answer to schemas it knows nothing about."""

from __future__ import annotations

import json
from typing import Any

_DEPTH = 12


def minimal(schema: dict[str, Any], root: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """Return a small value that fits a schema of Kimi's flavor; the same one each time."""
    root = root if root is not None else schema
    if depth > _DEPTH:
        return None
    if isinstance(reference := schema.get("$ref"), str):
        return minimal(_resolve(reference, root), root, depth + 1)
    if "anyOf" in schema:
        return minimal(min(schema["anyOf"], key=_weight), root, depth + 1)
    if schema.get("enum"):
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    kind = schema.get("type", "object" if "properties" in schema else "null")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    return _of_type(kind, schema, root, depth)


def _of_type(kind: str, schema: dict[str, Any], root: dict[str, Any], depth: int) -> Any:
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: minimal(properties[name], root, depth + 1) for name in schema.get("required", ())}
    if kind == "array":
        item = schema.get("items", {"type": "string"})
        return [minimal(item, root, depth + 1) for _ in range(schema.get("minItems", 0))]
    if kind == "string":
        text = "simulated"
        return text[: schema.get("maxLength", len(text))].ljust(schema.get("minLength", 0), "d")
    if kind in {"number", "integer"}:
        return max(0, schema["minimum"]) if "minimum" in schema else min(0, schema.get("maximum", 0))
    return False if kind == "boolean" else None


def find_schema(text: str) -> dict[str, Any] | None:
    """Return the last JSON Schema of an object that stands in a text, or ``None``."""
    decoder, found, position = json.JSONDecoder(), None, text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            end = position + 1
        else:
            if isinstance(value, dict) and isinstance(value.get("properties"), dict):
                found = value
        position = text.find("{", end)
    return found


def _resolve(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    node: Any = root
    for part in reference.removeprefix("#").split("/"):
        if part:
            node = node[part]
    return node if isinstance(node, dict) else {}


def _weight(branch: dict[str, Any]) -> int:
    # A branch that refers elsewhere may recurse; a plain one ends here.
    return 1 if "$ref" in branch else 0

"""Recursive schemas: Kimi refuses those that required properties make endless."""

from __future__ import annotations

from typing import Any

_HINT = "(always give it, empty where it ends)"


def make_finite(root: dict[str, Any]) -> dict[str, Any]:
    """Return ``root``, with properties that would recurse without an end no longer required.

    Kimi counts an array's elements as present, so that ``children: list[Node]`` is endless to it. The
    property stays, is asked for in words, and validation of the answer still insists on it.
    """
    definitions: dict[str, Any] = root.get("$defs", {})
    while True:
        finite: set[str] = set()
        while True:
            new = {
                ref
                for ref, schema in _targets(root, definitions)
                if ref not in finite and _ends(schema, finite)
            }
            if not new:
                break
            finite |= new
        endless = [schema for ref, schema in _targets(root, definitions) if ref not in finite]
        if not any(_relax(schema, finite) for schema in endless):
            return root


def _targets(root: dict[str, Any], definitions: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("#", root), *((f"#/$defs/{name}", schema) for name, schema in definitions.items())]


def _ends(schema: dict[str, Any], finite: set[str]) -> bool:
    if "$ref" in schema:
        # Deeper pointers are not made by the normalizer.
        return schema["$ref"] in finite
    if "anyOf" in schema:
        return any(_ends(branch, finite) for branch in schema["anyOf"])
    properties = schema.get("properties", {})
    if not all(_ends(properties[name], finite) for name in schema.get("required", ())):
        return False
    return _ends(schema["items"], finite) if isinstance(schema.get("items"), dict) else True


def _relax(schema: dict[str, Any], finite: set[str]) -> bool:
    """Take what does not end out of ``required``, here and below; return whether anything changed."""
    changed = False
    properties = schema.get("properties", {})
    for name in list(schema.get("required", ())):
        inner = properties[name]
        if _ends(inner, finite):
            continue
        if not _relax(inner, finite) or "items" in inner:
            schema["required"].remove(name)
            text = inner.get("description", "")
            if _HINT not in text:
                inner["description"] = f"{text} {_HINT}".strip()
        changed = True
    if not schema.get("required", True):
        del schema["required"]
    for branch in schema.get("anyOf", ()):
        changed = _relax(branch, finite) or changed
    items = schema.get("items")
    if isinstance(items, dict) and not _ends(items, finite):
        changed = _relax(items, finite) or changed
    return changed

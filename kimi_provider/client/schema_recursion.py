"""Recursive schemas: Kimi refuses those that required properties make endless."""

from __future__ import annotations

from typing import Any

from kimi_provider.exceptions import ConfigurationError

_HINT = "(always give it, empty where it ends)"


def make_finite(root: dict[str, Any]) -> dict[str, Any]:
    """Return ``root``, with properties that would recurse without an end no longer required.

    A property taken out of ``required`` is asked for in words, and validation of the answer still
    insists on it. Versions of Moonshot's validator differ: one lets an empty array end a recursion
    and refuses any endless required property; the other looks into arrays, and refuses where all
    required properties are endless. What is returned passes both.

    :raises ConfigurationError: if nothing that is required makes it endless, so that no value fits.
    """
    for arrays_end in (True, False):
        _Finite(root, arrays_end=arrays_end).enforce()
    return root


class _Finite:
    """One version's rule; ``finite`` holds the references whose targets are known to end."""

    def __init__(self, root: dict[str, Any], *, arrays_end: bool) -> None:
        self._root = root
        # The root comes last: what it requires is given up only if nothing below can be.
        self._targets = {f"#/$defs/{k}": v for k, v in root.get("$defs", {}).items()} | {"#": root}
        self._arrays_end = arrays_end
        self._finite: set[str] = set()

    def enforce(self) -> None:
        self._settle()
        # One change at a time: it may end other targets too, which then keep what they require.
        while any(self._relax(self._targets[ref]) for ref in self._targets if ref not in self._finite):
            self._settle()
        if "#" not in self._finite:
            raise ConfigurationError(
                "The JSON Schema refers to itself without an end; give the recursion an "
                "alternative (null)."
            )

    def _settle(self) -> None:
        while new := [
            ref
            for ref, schema in self._targets.items()
            if ref not in self._finite and self._ends(schema)
        ]:
            self._finite.update(new)

    def _ends(self, schema: dict[str, Any]) -> bool:
        if "$ref" in schema:
            return schema["$ref"] in self._finite
        if "anyOf" in schema:
            return any(self._ends(branch) for branch in schema["anyOf"])
        if isinstance(schema.get("items"), dict):
            may_be_empty = self._arrays_end and not schema.get("minItems")
            return may_be_empty or self._ends(schema["items"])
        required = [self._ends(schema["properties"][name]) for name in schema.get("required", ())]
        return all(required) if self._arrays_end else any(required) or not required

    def _relax(self, schema: dict[str, Any]) -> bool:
        """Take what does not end out of ``required``, here and below; return whether it changed."""
        if self._ends(schema):
            return False
        changed = False
        for name in list(schema.get("required", ())):
            inner = schema["properties"][name]
            if self._ends(inner):
                continue
            if not self._relax(inner):
                schema["required"].remove(name)
                text = inner.get("description", "")
                inner["description"] = text if _HINT in text else f"{text} {_HINT}".strip()
            changed = True
        if not schema.get("required", True):
            del schema["required"]
        for branch in schema.get("anyOf", ()):
            changed = self._relax(branch) or changed
        items = schema.get("items")
        return (isinstance(items, dict) and self._relax(items)) or changed

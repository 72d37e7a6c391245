"""From pydantic's JSON Schema, or a tool's, to the subset that Kimi accepts (MFJS).

Source of the rules: Moonshot's validator (github.com/MoonshotAI/walle): every subschema has a
``type``, an ``anyOf`` or a ``$ref``, and nothing but a description beside the last two; ``$defs`` lie at
the root; one kind of value an enum; no recursion that a required property makes endless. What a schema
says beyond that (formats, patterns, odd bounds) is told to the model in the description, and
checked when the answer is validated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

from pydantic import BaseModel

from kimi_provider.client.schema_merge import merge, without_annotations
from kimi_provider.client.schema_recursion import make_finite
from kimi_provider.client.schema_types import TYPES, described, enumeration, guess_types, typed
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema: TypeAlias = dict[str, Any]

ANY = ("string", "number", "boolean", "object", "array", "null")
_RESERVED = {"$defs", "$ref", "anyOf", "required", "additionalProperties"}
_MAX_BRANCHES = 10
_MAX_HOPS = 64


class PropertyNameError(ConfigurationError):
    """A property has a name that no schema for Kimi can have."""


def to_kimi_schema(model_or_schema: type[BaseModel] | Schema, *, root_object: bool = False) -> Schema:
    """Return a JSON Schema that Kimi accepts, for an answer or for a tool's parameters.

    :param model_or_schema: a pydantic model, whose objects are closed to further properties, or
        any JSON Schema, which stays as open as it is.
    :param root_object: insist on an object at the root, as answers and parameters must be.
    :raises ConfigurationError: if it cannot be said in Kimi's subset; names the place and the way out.
    """
    if isinstance(model_or_schema, dict):
        source, closed = model_or_schema, False
    elif isinstance(model_or_schema, type) and issubclass(model_or_schema, BaseModel):
        source, closed = model_or_schema.model_json_schema(), True
    else:
        raise ConfigurationError(
            f"A {type(model_or_schema).__name__} is no JSON Schema; give a pydantic model or a dict."
        )
    try:
        schema = _Normalizer(source, closed=closed).run()
    except RecursionError:
        raise ConfigurationError("The JSON Schema is nested too deeply for Kimi; flatten it.") from None
    if root_object and not schema:
        return {"type": "object", "properties": {}}
    if root_object and "anyOf" not in schema and schema.get("type") != "object":
        raise ConfigurationError(
            f"The JSON Schema's root is {schema.get('type')!r}; Kimi takes an object. Put it in a "
            "field of one."
        )
    return schema


class _Normalizer:
    def __init__(self, source: Schema, *, closed: bool) -> None:
        self._source = source
        self._closed = closed
        self._defs: Schema = {}
        self._names: dict[str, str] = {}
        self._inside_def = False

    def run(self) -> Schema:
        root = self._source
        for _ in range(_MAX_HOPS):
            if "$ref" not in root or root.get("$ref") == "#":
                break
            # The root itself must say what it is; further references to its target stay.
            rest = {
                key: value for key, value in root.items() if key not in {"$ref", "$defs", "definitions"}
            }
            root = merge(self._target(root["$ref"], "the root"), rest)
        schema = self.node(root, "the root")
        if self._is_any(schema):
            schema = {}
        if self._defs:
            schema["$defs"] = self._defs
        schema = make_finite(schema)
        self._part_descriptions(schema, schema)
        return schema

    def node(self, node: object, place: str) -> Schema:  # noqa: C901, PLR0912 — one branch a keyword
        """Return the normal form of one subschema; ``place`` names it in errors."""
        if node is True:
            node = {}
        if not isinstance(node, dict):
            raise ConfigurationError(
                f"The JSON Schema at {place} is {node!r:.80}; it must be an object."
            )
        for _ in range(_MAX_HOPS):
            if "$ref" in node:
                bare = without_annotations(node)
                if len(bare) == 1:
                    return described(self._reference(node["$ref"], place), node)
                rest = {key: value for key, value in node.items() if key != "$ref"}
                node = merge(self._target(node["$ref"], place), rest)
            elif "allOf" in node:
                parts = _branches(node, "allOf", place)
                merged = {key: value for key, value in node.items() if key != "allOf"}
                for part in parts:
                    merged = merge(merged, self._open(part, place))
                node = merged
            else:
                break
        else:
            raise ConfigurationError(f"The JSON Schema at {place} refers to itself without an end.")
        if "oneOf" in node and "anyOf" not in node:
            node = {("anyOf" if key == "oneOf" else key): value for key, value in node.items()}
        if "anyOf" in node:
            return self._union(node, place)
        if "const" in node:
            node = {"enum": [node["const"]]} | {
                k: v for k, v in node.items() if k not in {"const", "enum"}
            }
        if "enum" in node:
            return enumeration(node, place)
        return self._typed(node, place)

    def _typed(self, node: Schema, place: str) -> Schema:
        types = guess_types(node, place)
        if not types:
            return described({"type": list(ANY)}, node)
        if len(types) > 1:
            branches = [typed(node, kind, place, self) for kind in types]
            if all(branch.keys() <= {"type", "description"} for branch in branches):
                return described({"type": list(types)}, node)
            plain = {k: v for k, v in node.items() if k != "description"}
            branches = [typed(plain, kind, place, self) for kind in types]
            return described({"anyOf": branches}, {"description": node.get("description")})
        return typed(node, types[0], place, self)

    def object_fields(self, node: Schema, place: str) -> Schema:
        """Return the normal form of what makes an object."""
        fields: Schema = {}
        properties = node.get("properties", {})
        if not isinstance(properties, dict):
            raise ConfigurationError(f"The JSON Schema at {place} has properties that are no object.")
        if "properties" in node:
            fields["properties"] = {
                self._property(name, place): self.node(value, f"{place}.{name}")
                for name, value in properties.items()
                if value is not False
            }
        required = node.get("required", [])
        if not isinstance(required, list) or not all(
            isinstance(name, str) and name for name in required
        ):
            raise ConfigurationError(
                f"The JSON Schema at {place} has a required that is no list of names."
            )
        present = [name for name in dict.fromkeys(required) if name in fields.get("properties", {})]
        if present:
            fields["required"] = present
        more = node.get("additionalProperties", node.get("unevaluatedProperties"))
        if (
            more is None
            and isinstance(node.get("patternProperties"), dict)
            and node["patternProperties"]
        ):
            more = {"anyOf": list(node["patternProperties"].values())}
        if more is None and self._closed and "properties" in node:
            more = False
        if isinstance(more, bool):
            fields["additionalProperties"] = more
        elif more is not None:
            inner = self.node(more, f"{place}.*")
            fields["additionalProperties"] = True if self._is_any(inner) else inner
        return fields

    def items(self, node: Schema, place: str) -> Schema | None:
        """Return the one schema that fits every element; tuples become a union."""
        items = node.get("items")
        tuple_ = node.get("prefixItems", items if isinstance(items, list) and items else None)
        if tuple_ is not None:
            if not isinstance(tuple_, list) or not tuple_:
                raise ConfigurationError(f"The JSON Schema at {place} has prefixItems that are no list.")
            more = [items] if isinstance(items, dict) else []
            unique: list[Any] = []
            for item in (*tuple_, *more):
                if item not in unique:
                    unique.append(item)
            items = unique[0] if len(unique) == 1 else {"anyOf": unique}
        if items is None or isinstance(items, bool):
            return None
        inner = self.node(items, f"{place}[]")
        return None if self._is_any(inner) and "description" not in inner else inner

    def _part_descriptions(self, node: Any, root: Schema) -> None:
        """Put references that are described, as their target is, behind an ``anyOf``.

        Kimi expands a reference in place and refuses two descriptions there; both say something.
        """
        if isinstance(node, list):
            for item in node:
                self._part_descriptions(item, root)
        if not isinstance(node, dict):
            return
        ref = node.get("$ref")
        if isinstance(ref, str) and "description" in node:
            target = root if ref == "#" else root["$defs"][ref.rsplit("/", 1)[-1]]
            if "description" in target:
                node["anyOf"] = [{"$ref": node.pop("$ref")}]
                node["description"] = node.pop("description")
        for key, value in node.items():
            if key not in {"enum", "default"}:
                self._part_descriptions(value, root)

    def _union(self, node: Schema, place: str) -> Schema:
        parts = _branches(node, "anyOf", place)
        rest = {
            key: value
            for key, value in without_annotations(node).items()
            if key not in {"anyOf", "oneOf", "discriminator", "$defs", "definitions", "$id", "$schema"}
        }
        if rest:
            parts = self._narrowed(parts, rest, place)
        branches: list[Schema] = []
        for part in parts:
            branch = self.node(part, place)
            inner = branch["anyOf"] if branch.keys() == {"anyOf"} else [branch]
            branches += [one for one in inner if one not in branches]
        if any(self._is_any(branch) for branch in branches):
            return described({"type": list(ANY)}, node)
        while len(branches) > _MAX_BRANCHES:
            branches = [{"anyOf": group} if len(group) > 1 else group[0] for group in _groups(branches)]
        return described({"anyOf": branches}, node)

    def _narrowed(self, parts: list[Any], rest: Schema, place: str) -> list[Any]:
        """Put what stands beside the alternatives into each; those that it rules out are left out."""
        narrowed = []
        contradiction: ConfigurationError | None = None
        for part in parts:
            opened = self._open(part, place)
            try:
                narrowed.append(merge(rest, opened))
            except ConfigurationError as error:
                contradiction = error
        if contradiction is not None and not narrowed:
            raise contradiction
        return narrowed

    def _property(self, name: str, place: str) -> str:
        if not name or name in _RESERVED:
            raise PropertyNameError(
                f"The JSON Schema at {place} has a property named {name!r}, which Kimi reserves; rename "
                "it, or give the field an alias."
            )
        if self._inside_def and "/" in name:
            raise PropertyNameError(
                f"The JSON Schema at {place} has a property named {name!r}; Kimi takes no slash in the "
                "names of nested models. Rename it, or give the field an alias."
            )
        return name

    def _reference(self, ref: object, place: str) -> Schema:
        target = self._target(ref, place)
        hops = 0
        # A definition that is a bare reference itself would only add to the chain.
        while set(without_annotations(target)) == {"$ref"}:
            ref, hops = target["$ref"], hops + 1
            if ref == "#":
                break
            if hops > _MAX_HOPS:
                raise ConfigurationError(f"The JSON Schema at {place} refers to itself without an end.")
            target = self._target(ref, place)
        if ref == "#":
            return {"$ref": "#"}
        pointer = str(ref)
        if pointer not in self._names:
            self._names[pointer] = self._fresh_name(pointer)
            outside, self._inside_def = self._inside_def, True
            normal = self.node(target, pointer.rsplit("/", 1)[-1])
            self._inside_def = outside
            self._defs[self._names[pointer]] = normal
        return {"$ref": f"#/$defs/{self._names[pointer]}"}

    def _fresh_name(self, pointer: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_.-]", "_", unquote(pointer.rsplit("/", 1)[-1])) or "definition"
        name, number = base, 2
        while name in self._names.values():
            name, number = f"{base}_{number}", number + 1
        return name

    def _open(self, part: object, place: str) -> Schema:
        """Return a part that is to be merged, with its reference followed."""
        for _ in range(_MAX_HOPS):
            if part is True:
                return {}
            if not isinstance(part, dict):
                break
            if "$ref" not in part:
                return part
            rest = {key: value for key, value in part.items() if key != "$ref"}
            part = merge(self._target(part["$ref"], place), rest)
        raise ConfigurationError(f"The JSON Schema at {place} has a part that is no schema, or endless.")

    def _target(self, ref: object, place: str) -> Schema:
        """Follow a JSON Pointer within the document; nothing is ever fetched."""
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            raise ConfigurationError(
                f"The JSON Schema at {place} refers to {ref!r:.80}; only references within it "
                "(#/$defs/…) work."
            )
        found: Any = self._source
        for part in ref.split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise ConfigurationError(
                    f"The JSON Schema at {place} refers to {ref!r:.80}, which is not there."
                )
        if found is True:
            return {}
        if not isinstance(found, dict):
            raise ConfigurationError(
                f"The JSON Schema at {place} refers to {ref!r:.80}, which is no schema."
            )
        return found

    @staticmethod
    def _is_any(schema: Schema) -> bool:
        return isinstance(schema.get("type"), list) and set(ANY) <= set(schema["type"]) <= TYPES


def _branches(node: Schema, key: str, place: str) -> list[Any]:
    parts = node[key]
    if not isinstance(parts, list) or not parts:
        raise ConfigurationError(f"The JSON Schema at {place} has an {key} that is no list of schemas.")
    return [part for part in parts if part is not False]


def _groups(branches: list[Schema]) -> Iterator[list[Schema]]:
    for start in range(0, len(branches), _MAX_BRANCHES):
        yield branches[start : start + _MAX_BRANCHES]

"""Moonshot Flavored JSON Schema: which schemas the API takes for tools and structured answers.

The rules are those of Moonshot's published specification (MoonshotAI/walle, docs), at its strict
level: a schema accepted here is accepted by every version of the real validator.
"""

from __future__ import annotations

from typing import Any

TYPES = ("null", "boolean", "object", "array", "number", "integer", "string")
_COMMON = {"type", "title", "description", "default"}
_ROOT_ONLY = {"$defs", "$id"}
_NUMERIC = {"enum", "minimum", "maximum"}
_KEYWORDS = {
    "string": {"enum", "minLength", "maxLength", "pattern"},
    "number": _NUMERIC,
    "integer": _NUMERIC,
    "boolean": {"enum"},
    "null": {"enum"},
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}
_RESERVED_NAMES = {"$defs", "$ref", "anyOf", "required", "additionalProperties"}
_BESIDE_REFERENCE = {"title", "description"}
_RANGES = (("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum"))
_DEFS = "#/$defs/"
MAX_DEPTH = 30
MAX_REFERENCE_CHAIN = 8
# Of the versions of the validator, the one that allows the least.
MAX_PROPERTIES = 1000
MAX_ENUM = 500
MAX_ENUM_CHARACTERS = 7500
LONG_ENUM = 250
MAX_ANY_OF = 100

Schema = dict[str, Any]


class SchemaError(Exception):
    """The API would refuse the schema; the text is what it would say."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"At path '{path or 'root'}': {problem}")


def check_schema(schema: object) -> None:
    """Check a schema.

    :raises SchemaError: if the API would refuse it.
    """
    if schema is None:
        raise SchemaError("", "schema must be a dict")
    if not isinstance(schema, dict):
        raise SchemaError("", "JSON schema parsing error")
    if schema:
        _Checker(schema).check()


class _Checker:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._properties = 0

    def check(self) -> None:
        self._check_defs()
        self._visit(self._root, "", 0)
        for name, definition in self._root.get("$defs", {}).items():
            self._visit(definition, f"$defs.{name}", 1)
        for arrays_end in (True, False):
            if self._endless(self._root, (), arrays_end=arrays_end):
                raise SchemaError("", "detected infinite recursion without termination condition")

    def _check_defs(self) -> None:
        definitions = self._root.get("$defs", {})
        if not isinstance(definitions, dict):
            raise SchemaError("$defs", "$defs must be an object")
        for name, definition in definitions.items():
            if not name:
                raise SchemaError("$defs", "$defs property name cannot be empty")
            if not isinstance(definition, dict):
                raise SchemaError(f"$defs.{name}", "$defs schema must be an object")
            for key in (name, *_keys(definition)):
                if "/" in key:
                    raise SchemaError(
                        "$defs", f"$defs property name '{key}' cannot contain '/' character"
                    )

    def _visit(self, schema: Schema, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise SchemaError(path, f"schema depth exceeds maximum limit of {MAX_DEPTH}")
        for keyword in ("title", "description", "pattern", "$id"):
            if keyword in schema and not isinstance(schema[keyword], str):
                raise SchemaError(_join(path, keyword), f"{keyword} must be a string")
        keywords = set(schema) - (_ROOT_ONLY if not path else set())
        if "$ref" in schema:
            self._check_reference(schema, keywords, path)
        elif "anyOf" in schema:
            self._check_any_of(schema, keywords, path, depth)
        else:
            self._check_typed(schema, keywords, path, depth)

    def _check_reference(self, schema: Schema, keywords: set[str], path: str) -> None:
        reference, here = schema["$ref"], _join(path, "$ref")
        if not isinstance(reference, str):
            raise SchemaError(here, "$ref must be a string")
        _refuse_beside(keywords, "$ref", "the referenced schema", path)
        if reference == "#":
            return
        if not reference.startswith(_DEFS):
            raise SchemaError(here, f"references must start with {_DEFS}")
        if reference == _DEFS:
            raise SchemaError(here, "definition name cannot be empty")
        if "$defs" not in self._root:
            raise SchemaError(here, f"$defs not found for reference: {reference}")
        target = self._resolve(reference)
        if target is None:
            raise SchemaError(here, f"invalid $ref path: {reference}")
        if conflicts := sorted(keywords & _BESIDE_REFERENCE & set(target)):
            raise SchemaError(
                path, f"conflicting keywords found after $ref expansion: {', '.join(conflicts)}"
            )

    def _resolve(self, reference: str) -> Schema | None:
        if reference == "#":
            return self._root
        node: Any = self._root["$defs"]
        for part in reference.removeprefix(_DEFS).split("/"):
            node = node.get(part) if isinstance(node, dict) else None
        return node if isinstance(node, dict) else None

    def _check_any_of(self, schema: Schema, keywords: set[str], path: str, depth: int) -> None:
        branches, here = schema["anyOf"], _join(path, "anyOf")
        if not isinstance(branches, list):
            raise SchemaError(here, "anyOf must be an array")
        if not 1 <= len(branches) <= MAX_ANY_OF:
            raise SchemaError(here, f"anyOf must have 1-{MAX_ANY_OF} items")
        if not all(isinstance(branch, dict) for branch in branches):
            raise SchemaError(here, "schema in anyOf must be an object")
        _refuse_beside(keywords, "anyOf", "anyOf items", path)
        for position, branch in enumerate(branches):
            self._visit(branch, f"{here}[{position}]", depth + 1)

    def _check_typed(self, schema: Schema, keywords: set[str], path: str, depth: int) -> None:
        if "type" not in schema:
            raise SchemaError(path, "type is not defined")
        types = _types(schema["type"], path)
        if len(types) > 1:
            _check_union(types, keywords, path)
        elif unknown := sorted(keywords - _COMMON - _KEYWORDS[types[0]]):
            if "$id" in unknown or "$defs" in unknown:
                raise SchemaError(path, f"{unknown[0]} must be at root level")
            raise SchemaError(path, f"invalid keywords: {', '.join(unknown)} for type {types[0]}")
        if "enum" in schema:
            _check_enum(schema["enum"], types, path)
        for low, high in _RANGES:
            _check_range(schema, low, high, path)
        if "items" in schema:
            if not isinstance(schema["items"], dict):
                raise SchemaError(_join(path, "items"), "items must be an object")
            self._visit(schema["items"], _join(path, "items"), depth + 1)
        self._check_object(schema, path, depth)

    def _check_object(self, schema: Schema, path: str, depth: int) -> None:
        properties = schema.get("properties", {})
        if not isinstance(properties, dict):
            raise SchemaError(_join(path, "properties"), "properties must be an object")
        self._properties += len(properties)
        if self._properties > MAX_PROPERTIES:
            raise SchemaError(path, f"schema has more than {MAX_PROPERTIES} properties")
        for name, value in properties.items():
            here = _join(path, f"properties.{name}")
            if not name:
                raise SchemaError(_join(path, "properties"), "property name cannot be empty")
            if name in _RESERVED_NAMES:
                raise SchemaError(here, f"property name '{name}' is reserved for JSON Schema keywords")
            if not isinstance(value, dict):
                raise SchemaError(here, f"property schema for '{name}' must be an object")
            self._visit(value, here, depth + 1)
        _check_required(schema, path)
        extra = schema.get("additionalProperties", True)
        if isinstance(extra, dict) and extra:
            self._visit(extra, _join(path, "additionalProperties"), depth + 1)
        elif not isinstance(extra, bool | dict):
            raise SchemaError(path, "additionalProperties must be a boolean or an object")

    def _endless(self, schema: Schema, seen: tuple[str, ...], *, arrays_end: bool) -> bool:
        """Tell whether no finite value can fit the schema.

        Versions of the real validator differ: one lets an empty array end a recursion, and refuses
        where any required property is endless; an older one looks into arrays too, and refuses
        only where all required properties are endless. Both are asked.
        """
        if isinstance(reference := schema.get("$ref"), str):
            if reference in seen:
                return True
            if len(seen) >= MAX_REFERENCE_CHAIN:
                raise SchemaError("", "schema depth exceeds maximum limit of references in a chain")
            target = self._resolve(reference)
            return target is not None and self._endless(
                target, (*seen, reference), arrays_end=arrays_end
            )
        if not seen and schema is self._root:
            seen = ("#",)
        if "anyOf" in schema:
            return all(self._endless(branch, seen, arrays_end=arrays_end) for branch in schema["anyOf"])
        if isinstance(schema.get("items"), dict):
            may_be_empty = arrays_end and not schema.get("minItems")
            return not may_be_empty and self._endless(schema["items"], seen, arrays_end=arrays_end)
        required = [schema["properties"][name] for name in schema.get("required", ())]
        endless = (self._endless(value, seen, arrays_end=arrays_end) for value in required)
        return bool(required) and (any(endless) if arrays_end else all(endless))


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part


def _keys(node: Any) -> list[str]:
    if isinstance(node, list):
        return [key for item in node for key in _keys(item)]
    if isinstance(node, dict):
        values = {k: v for k, v in node.items() if k not in {"enum", "default"}}
        return [*values, *(key for value in values.values() for key in _keys(value))]
    return []


def _refuse_beside(keywords: set[str], neighbor: str, place: str, path: str) -> None:
    if "type" in keywords:
        raise SchemaError(
            path,
            f"when using {neighbor}, type should be defined in {place} instead of the parent schema",
        )
    if others := sorted(keywords - _BESIDE_REFERENCE - {neighbor}):
        raise SchemaError(path, f"keyword '{others[0]}' is not allowed at the same level as {neighbor}")


def _types(declared: object, path: str) -> list[str]:
    if isinstance(declared, str):
        declared = [declared]
    if not isinstance(declared, list):
        raise SchemaError(path, "type must be string or array of strings")
    if not declared:
        raise SchemaError(path, "type array cannot be empty")
    for name in declared:
        if not isinstance(name, str):
            raise SchemaError(path, f"invalid type in type array: {name!r}")
        if name not in TYPES:
            raise SchemaError(path, f"invalid type: {name}")
    if len(set(declared)) < len(declared):
        raise SchemaError(path, "duplicate types in type array")
    return declared


def _check_union(types: list[str], keywords: set[str], path: str) -> None:
    rest = sorted(keywords - {"type", "title", "description"})
    if "enum" not in keywords:
        if rest:
            raise SchemaError(
                path, f"keyword '{rest[0]}' is not allowed in combination with multiple types"
            )
        return
    others = [name for name in types if name != "null"]
    if len(types) != 2 or len(others) != 1 or others[0] in {"array", "object"}:  # noqa: PLR2004 — one type, or null
        raise SchemaError(path, f"type {types} is not allowed in combination with enum")
    if unknown := sorted(set(rest) - {"enum", "default"}):
        raise SchemaError(path, f"invalid keywords: {', '.join(unknown)}")


def _check_enum(values: object, types: list[str], path: str) -> None:
    here = _join(path, "enum")
    if not isinstance(values, list):
        raise SchemaError(here, "enum must be an array")
    if not values:
        raise SchemaError(here, "enum array cannot be empty")
    if len(values) > MAX_ENUM:
        raise SchemaError(here, f"enum array cannot have more than {MAX_ENUM} items")
    length = sum(len(str(value)) for value in values)
    if len(values) > LONG_ENUM and length > MAX_ENUM_CHARACTERS:
        raise SchemaError(here, f"total string length of enum values ({length}) exceeds maximum limit")
    for value in values:
        if not any(_fits(value, name) for name in types):
            raise SchemaError(here, f"enum value ({value}) does not match any type in {types}")


def _fits(value: object, name: str) -> bool:
    if name == "null":
        return value is None
    if name == "boolean":
        return isinstance(value, bool)
    if name == "string":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return name == "number" or isinstance(value, int) or value.is_integer()


def _check_range(schema: Schema, low: str, high: str, path: str) -> None:
    size = low != "minimum"
    whole = size or "integer" in schema["type"]
    for keyword in (low, high):
        bound, here = schema.get(keyword, 0), _join(path, keyword)
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise SchemaError(here, f"{keyword} must be {'an integer' if whole else 'a number'}")
        if whole and not float(bound).is_integer():
            what = f"{keyword} must be an integer" if size else f"{bound} is not a valid integer"
            raise SchemaError(here, what)
        if size and bound < 0:
            raise SchemaError(here, f"{keyword} must be non-negative")
    if low in schema and high in schema and schema[low] > schema[high]:
        raise SchemaError(path, f"{low} ({schema[low]}) cannot be greater than {high} ({schema[high]})")


def _check_required(schema: Schema, path: str) -> None:
    required, here = schema.get("required", []), _join(path, "required")
    if not isinstance(required, list):
        raise SchemaError(here, "required must be an array")
    if not all(isinstance(name, str) for name in required):
        raise SchemaError(here, "items in required array must be strings")
    if "" in required:
        raise SchemaError(here, "property names in required array cannot be empty")
    if len(set(required)) < len(required):
        raise SchemaError(here, "duplicate items in required array")
    if required and "properties" not in schema:
        raise SchemaError(here, "required specified but 'properties' keyword is missing")
    for name in required:
        if name not in schema["properties"]:
            raise SchemaError(here, f"required property '{name}' is not defined in properties")

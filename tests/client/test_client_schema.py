"""The schema normalizer, against rules read out of Moonshot's recorded validator cases."""

from __future__ import annotations

import copy
import enum
import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model

from kimi_provider.client.schema import to_kimi_schema
from kimi_provider.exceptions import ConfigurationError

SUITES = Path(__file__).parents[3] / "shared" / "recordings" / "schemas"
KEYWORDS = {
    "string": {"enum", "minLength", "maxLength", "pattern"},
    "number": {"enum", "minimum", "maximum"},
    "integer": {"enum", "minimum", "maximum"},
    "boolean": {"enum"},
    "null": {"enum"},
    "array": {"items", "minItems", "maxItems", "enum"},
    "object": {"properties", "required", "additionalProperties"},
}
NOTES = {"title", "description"}
RESERVED = {"$defs", "$ref", "anyOf", "required", "additionalProperties"}
DROPPED = {"title", "format", "pattern", "const", "oneOf", "allOf", "not", "if", "$schema", "$comment"}
DROPPED |= {"patternProperties", "prefixItems", "uniqueItems", "multipleOf", "minProperties"}
DROPPED |= {"exclusiveMinimum", "exclusiveMaximum", "maxProperties", "definitions", "discriminator"}


class RefusedError(Exception):
    """The recorded validator would refuse the schema."""


def need(condition, reason):
    if not condition:
        raise RefusedError(reason)


def check(schema):
    """Refuse what the recorded cases refuse, and take what they take."""
    need(isinstance(schema, dict), "no object")
    if schema:
        defs = schema.get("$defs", {})
        need(isinstance(defs, dict), "$defs")
        for name, definition in defs.items():
            need(name and "/" not in name, "name of a definition")
            visit(definition, schema, root=False, inside=True)
        visit(schema, schema, root=True)
        need(ends(schema, schema, ("#",)), "infinite recursion")


def visit(node, root_node, *, root=False, inside=False):
    need(isinstance(node, dict), "no object")
    keys = node.keys() - ({"$defs", "$id"} if root else set())
    if "$ref" in keys:
        need(keys <= {"$ref"} | NOTES, "beside $ref")
        resolve(node["$ref"], root_node)
        return
    if "anyOf" in keys:
        need(keys <= {"anyOf"} | NOTES, "beside anyOf")
        need(isinstance(node["anyOf"], list) and 1 <= len(node["anyOf"]) <= 10, "anyOf")
        for branch in node["anyOf"]:
            visit(branch, root_node, inside=inside)
        return
    types = [node["type"]] if isinstance(node.get("type"), str) else node.get("type")
    need(isinstance(types, list) and types, "type")
    need(all(isinstance(kind, str) and kind in KEYWORDS for kind in types), "type")
    if len(types) > 1:
        need(keys <= {"type", "enum"} | NOTES, "beside several types")
        if "enum" in keys:
            need(len(types) == 2 and "null" in types and not {"array", "object"} & set(types), "enum")
    else:
        need(keys <= {"type", "default"} | NOTES | KEYWORDS[types[0]], "keyword")
    if "enum" in keys:
        need(isinstance(node["enum"], list) and node["enum"], "enum")
        need(all(any(fits(value, kind) for kind in types) for value in node["enum"]), "enum")
    if "items" in keys:
        visit(node["items"], root_node, inside=inside)
    need(isinstance(node.get("properties", {}), dict), "properties")
    for name, value in node.get("properties", {}).items():
        need(name and name not in RESERVED and not (inside and "/" in name), "name of a property")
        visit(value, root_node, inside=inside)
    required = node.get("required", [])
    need(isinstance(required, list) and all(isinstance(n, str) and n for n in required), "required")
    need(set(required) <= node.get("properties", {}).keys(), "required")
    more = node.get("additionalProperties", True)
    need(isinstance(more, (bool, dict)), "additionalProperties")
    if isinstance(more, dict) and more:
        visit(more, root_node, inside=inside)


def fits(value, kind):
    classes = {
        "string": str,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "null": type(None),
    }
    boolean = isinstance(value, bool)
    return kind in classes and isinstance(value, classes[kind]) and (not boolean or kind == "boolean")


def resolve(ref, root):
    need(isinstance(ref, str) and (ref == "#" or ref.startswith("#/$defs/")), "$ref")
    found = root
    for part in ref.split("/")[1:]:
        found = found.get(part) if isinstance(found, dict) else None
    need(isinstance(found, dict), "$ref")
    return found


def ends(node, root, seen):
    if "$ref" in node:
        return node["$ref"] not in seen and ends(
            resolve(node["$ref"], root), root, (*seen, node["$ref"])
        )
    if "anyOf" in node:
        return any(ends(branch, root, seen) for branch in node["anyOf"])
    if "items" in node:
        return ends(node["items"], root, seen)
    required = [ends(node["properties"][name], root, seen) for name in node.get("required", ())]
    return any(required) or not required


def cases(kind):
    for path in sorted(SUITES.glob(f"*/{kind}.jsonl")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield f"{path.parent.name}-{number}", json.loads(line)


def recorded(kind):
    found = list(cases(kind)) if SUITES.exists() else []
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason="the recorded schemas are not here"))]
    return [pytest.param(case, id=name) for name, case in found]


@pytest.mark.parametrize("schema", recorded("valid"))
def test_valid_case_is_taken_before_and_after(schema):
    check(schema)
    normal = to_kimi_schema(schema)
    check(normal)
    assert not keywords(normal) & DROPPED


@pytest.mark.parametrize("case", recorded("invalid"))
def test_invalid_case_is_refused_or_mended(case):
    try:
        schema = json.loads(case["schema"])
    except ValueError:
        return
    with pytest.raises(RefusedError):
        check(schema)
    try:
        normal = to_kimi_schema(schema)
    except ConfigurationError:
        return
    check(normal)


def keywords(node):
    """All keywords of a schema, and not the names of its properties and definitions."""
    if not isinstance(node, dict):
        return set()
    found = set(node)
    for key, value in node.items():
        if key in {"properties", "$defs"}:
            found = found.union(*map(keywords, value.values()))
        elif key == "anyOf":
            found = found.union(*map(keywords, value))
        elif key in {"items", "additionalProperties"}:
            found |= keywords(value)
    return found


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    """Where someone lives."""

    street: str = Field(min_length=1, max_length=80, pattern="^[A-Z]")
    city: str


class Person(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    home: Address
    work: Address | None = None
    other: Address = Field(description="Another place.", default=Address(street="A", city="B"))


class Tree(BaseModel):
    value: int
    children: list[Tree]


class Chain(BaseModel):
    next: Optional[Chain] = None  # noqa: UP045 — both spellings are tried


class Endless(BaseModel):
    other: Mirror


class Mirror(BaseModel):
    back: Endless
    name: str


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Everything(BaseModel):
    any_: Any
    bare: list
    anything: dict
    color: Color
    maybe: Color | None
    mixed: Literal["a", 1, True] | None
    flag: Literal[True]
    nothing: None
    when: datetime
    day: date = date(2026, 1, 2)
    money: Decimal
    ratio: float = Field(gt=0, lt=1, multiple_of=0.01)
    tiny: float = Field(ge=1e-9)
    count: int = Field(gt=0, le=10, default=3)
    pair: tuple[int, str]
    many: tuple[int, ...] = ()
    unique: set[str]
    table: dict[str, int]
    nested: dict[str, list[Address]]
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    union: int | str | list[int] | Address
    limits: list[int] = Field(min_length=1, max_length=3)
    size: Annotated[str | int, Field(description="Either.")] = "x"


class Ids(RootModel[dict[str, int]]):
    pass


wide = create_model(
    "Wide", value=(Literal["a"] | dict[str, int], ...), **{f"f{i}": (int, i) for i in range(20)}
)
MODELS = [Address, Person, Tree, Chain, Endless, Mirror, Cat, Everything, Ids, wide]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_pydantic_model_becomes_a_schema_that_kimi_takes(model):
    normal = to_kimi_schema(model, root_object=True)
    check(normal)
    assert not keywords(normal) & DROPPED
    assert to_kimi_schema(copy.deepcopy(normal)) == normal


def test_what_is_dropped_is_said_in_words():
    street = to_kimi_schema(Address)["properties"]["street"]
    assert street == {
        "type": "string",
        "minLength": 1,
        "maxLength": 80,
        "description": "(must match the regular expression: ^[A-Z])",
    }
    count = to_kimi_schema(Everything)["properties"]["count"]
    assert count == {"type": "integer", "minimum": 1, "maximum": 10, "default": 3}


def test_models_are_closed_and_plain_schemas_stay_open():
    assert to_kimi_schema(Address)["additionalProperties"] is False
    assert to_kimi_schema(Person)["additionalProperties"] is True
    assert "additionalProperties" not in to_kimi_schema({"type": "object", "properties": {}})


def test_described_reference_does_not_collide_with_its_target():
    other = to_kimi_schema(Person)["properties"]["other"]
    assert other == {"anyOf": [{"$ref": "#/$defs/Address"}], "description": "Another place."}


def test_endless_recursion_is_cut_where_it_turns_back():
    normal = to_kimi_schema(Endless)
    assert json.dumps(normal).count("always give it") == 1
    assert normal["required"] == ["other"]


def test_recursion_that_an_empty_list_ends_stays_as_it_is():
    assert "always give it" not in json.dumps(to_kimi_schema(Tree))


@pytest.mark.parametrize(
    "values", [list(range(501)), [f"a rather long name of number {i}" for i in range(300)]], ids=len
)
def test_enum_that_is_too_long_becomes_words(values):
    normal = to_kimi_schema({"type": "object", "properties": {"x": {"enum": values}}})["properties"]["x"]
    assert "enum" not in normal
    assert normal["description"].startswith("(one of: ")
    assert len(normal["description"]) < 4100
    few = to_kimi_schema({"type": "object", "properties": {"x": {"enum": values[:200]}}})
    assert few["properties"]["x"]["enum"] == values[:200]


def test_many_alternatives_are_grouped():
    parts = [{"type": "object", "properties": {f"a{i}": {"type": "string"}}} for i in range(25)]
    check(to_kimi_schema({"oneOf": parts}))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 3}, {"type": "integer", "enum": [3]}),
        (
            {"type": "string", "nullable": True, "format": "uri"},
            {"type": "string", "description": "(format: uri)"},
        ),
        (
            {"allOf": [{"type": "string", "minLength": 2}, {"maxLength": 3}]},
            {"type": "string", "minLength": 2, "maxLength": 3},
        ),
        (
            {"type": ["string", "null"], "minLength": 1},
            {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]},
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "anyOf": [{"required": ["a"]}, {"required": []}],
            },
            {
                "anyOf": [
                    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"type": "object", "properties": {"a": {"type": "string"}}},
                ]
            },
        ),
        (
            {"properties": {"a": {"$ref": "#/definitions/X"}}, "definitions": {"X": {"type": "null"}}},
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/X"}},
                "$defs": {"X": {"type": "null"}},
            },
        ),
        (
            {"type": "string", "anyOf": [{"minLength": 1}, {"type": "integer"}]},
            {"anyOf": [{"type": "string", "minLength": 1}]},
        ),
        (
            {"type": "array", "items": [{"type": "string"}, {"type": "null"}]},
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        ),
    ],
    ids=[
        "const",
        "format",
        "allOf",
        "types",
        "required alternatives",
        "definitions",
        "ruled out",
        "tuple",
    ],
)
def test_plain_schema(schema, expected):
    normal = to_kimi_schema(schema)
    check(normal)
    assert normal == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"required": {"type": "string"}}},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"type": "integer", "minimum": 3, "maximum": 1},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "string", "anyOf": [{"type": "integer"}, {"type": "null"}]},
        "no schema",
    ],
    ids=str,
)
def test_what_cannot_be_said_is_refused(schema):
    with pytest.raises(ConfigurationError):
        to_kimi_schema(schema)


def test_the_root_of_an_answer_is_an_object():
    with pytest.raises(ConfigurationError, match="field of one"):
        to_kimi_schema(RootModel[list[int]], root_object=True)
    assert to_kimi_schema({}, root_object=True) == {"type": "object", "properties": {}}


leaves = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "number", "boolean", "null"])},
        optional={
            "title": st.text(max_size=3),
            "format": st.just("date"),
            "minimum": st.integers(0, 3),
            "exclusiveMaximum": st.integers(5, 9),
            "default": st.sampled_from([1, "x", None, True, 0.5]),
        },
    ),
    st.just({}),
    st.builds(lambda v: {"const": v}, st.sampled_from([1, "x", None, True, 1.5])),
    st.builds(lambda v: {"enum": v}, st.lists(st.sampled_from([1, "x", None, True, 1.5]), min_size=1)),
    st.builds(lambda n: {"$ref": f"#/$defs/{n}"}, st.sampled_from("ab")),
    st.just({"$ref": "#"}),
)
nodes = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda i: {"type": "array", "items": i, "uniqueItems": True}, inner),
        st.builds(
            lambda i: {"type": "array", "prefixItems": i}, st.lists(inner, min_size=1, max_size=3)
        ),
        st.builds(lambda i: {"oneOf": i, "title": "T"}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda p: {"type": "object", "properties": p, "required": list(p)},
            st.dictionaries(st.sampled_from(["x", "y", "type"]), inner, max_size=3),
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(nodes, nodes, nodes)
def test_any_schema_becomes_one_that_kimi_takes(root, first, second):
    source = {
        "type": "object",
        "properties": {"root": root},
        "required": ["root"],
        "$defs": {"a": first, "b": second},
    }
    try:
        normal = to_kimi_schema(source)
    except ConfigurationError:
        return
    check(normal)
    assert not keywords(normal) & DROPPED

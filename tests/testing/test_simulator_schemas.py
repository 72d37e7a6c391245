"""Which JSON Schemas the simulated API takes: Moonshot's own cases, and the rules behind them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kimi_provider.testing.mfjs import SchemaError, check_schema

SUITES = Path(__file__).parents[3] / "shared" / "recordings" / "schemas"


def recorded(name: str) -> list:
    return [
        pytest.param(line, id=f"{file.parent.name}-{number}")
        for file in sorted(SUITES.glob(f"*/{name}.jsonl"))
        for number, line in enumerate(file.read_text().splitlines())
    ]


@pytest.mark.skipif(not SUITES.exists(), reason="the recorded suites are not beside this checkout")
@pytest.mark.parametrize("line", recorded("valid"))
def test_recorded_valid_schemas_are_taken(line):
    check_schema(json.loads(line))


@pytest.mark.skipif(not SUITES.exists(), reason="the recorded suites are not beside this checkout")
@pytest.mark.parametrize("line", recorded("invalid"))
def test_recorded_invalid_schemas_are_refused_with_their_text(line):
    case = json.loads(line)
    try:
        schema = json.loads(case["schema"])
    except json.JSONDecodeError:
        assert case["unmarshal"], "what is no JSON never reaches the check of schemas"
        return
    with pytest.raises(SchemaError) as caught:
        check_schema(schema)
    assert case["expect"] in str(caught.value)


def of(properties: dict, **rest) -> dict:
    return {"type": "object", "properties": properties, **rest}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (of({"a": {}}), "At path 'properties.a': type is not defined"),
        (of({"a": {"type": "string", "const": "x"}}), "invalid keywords: const"),
        (of({"a": {"type": "string", "format": "uuid"}}), "invalid keywords: format"),
        (of({"a": {"type": "integer", "multipleOf": 2}}), "invalid keywords: multipleOf"),
        (of({"a": {"type": "string", "minLength": -1}}), "minLength must be non-negative"),
        (of({"a": {"type": "array", "minItems": 1.5}}), "minItems must be an integer"),
        (of({"a": {"type": "number", "minimum": "low"}}), "minimum must be a number"),
        (of({"a": {"type": "number", "minimum": 3, "maximum": 2}}), "cannot be greater"),
        (of({"a": {"type": "integer", "minimum": 1.5}}), "not a valid integer"),
        (of({"a": {"type": "number", "enum": list(range(501))}}), "more than 500 items"),
        (of({"a": {"type": "string", "enum": [f"{n:040}" for n in range(251)]}}), "total string length"),
        (of({"a": {"type": "string", "description": 1}}), "description must be a string"),
        (of({"a": {"type": ["string", "string"]}}), "duplicate types"),
        (of({"a": {"$ref": "https://example.com/s.json"}}), "references must start with #/$defs/"),
        (of({"a": {"$ref": "#/$defs/"}}, **{"$defs": {}}), "definition name cannot be empty"),
        (of({"a": of({}, **{"$defs": {"x": {"type": "string"}}})}), "must be at root level"),
        (of({"a": {"type": "string"}}, additionalProperties="no"), "must be a boolean or an object"),
        (of({"a": {"type": "string"}}, required=["a", "a"]), "duplicate items in required array"),
        (
            of(
                {"a": {"$ref": "#/$defs/x", "description": "y"}},
                **{"$defs": {"x": {"type": "string", "description": "z"}}},
            ),
            "conflicting keywords found after $ref expansion: description",
        ),
        (
            of({"next": {"$ref": "#"}, "name": {"type": "string"}}, required=["next", "name"]),
            "infinite recursion",
        ),
        (
            of(
                {
                    "all": {"type": "array", "minItems": 1, "items": {"$ref": "#"}},
                    "n": {"type": "string"},
                },
                required=["all", "n"],
            ),
            "infinite recursion",
        ),
    ],
)
def test_the_rule_that_is_broken_is_named(schema, problem):
    with pytest.raises(SchemaError) as caught:
        check_schema(schema)
    assert problem in str(caught.value)


def test_pydantics_own_schema_of_an_optional_date_does_not_pass():
    """The reason why a client has to normalize what pydantic generates."""
    datetime = pytest.importorskip("datetime")
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Report", day=(datetime.date | None, None))
    with pytest.raises(SchemaError):
        check_schema(model.model_json_schema())


def test_nesting_has_a_bound():
    schema: dict = {"type": "string"}
    for _ in range(31):
        schema = of({"inner": schema})
    with pytest.raises(SchemaError, match="schema depth exceeds maximum limit"):
        check_schema(schema)
    check_schema(schema["properties"]["inner"])

import asyncio
import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import pytest
from pydantic import BaseModel

from kimi_provider.analysis.database import Database
from kimi_provider.analysis.formula import formula_tools
from kimi_provider.analysis.permissions import Decision, Policy
from kimi_provider.analysis.sql_tool import sql_tool
from kimi_provider.analysis.tools import Invocation, Tool, ToolOutput, tool
from kimi_provider.analysis.transcript import pack_facts, unpack_facts
from kimi_provider.client.client import KimiClient
from kimi_provider.client.config import ClientConfig
from kimi_provider.exceptions import BudgetExceededError, ConfigurationError
from kimi_provider.schemas import Column, DatasetRef, Unit
from kimi_provider.testing import Simulator


def invoke(made, text="{}", number=0):
    return asyncio.run(made.invoke(Invocation(made.parse(text), text, number)))


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Place(BaseModel):
    city: str
    zip_code: str | None = None


@tool
def order(  # noqa: PLR0917 — many kinds of parameters are the point
    item: str,
    place: Place,
    day: date,
    size: Size = Size.SMALL,
    tags: list[str] | None = None,
    kind: Literal["a", "b"] = "a",
    schema: int = 1,
) -> dict[str, object]:
    """Order something.

    It comes soon.

    :param item: what to order,
        by name.
    :param place: where to.
    :returns: nothing of note.
    """
    return {"item": item, "city": place.city, "day": day, "size": size, "tags": tags, "kind": kind}


def test_the_schema_comes_from_signature_and_docstring():
    assert order.name == "order"
    assert order.description == "Order something.\n\nIt comes soon."
    schema = order.parameters
    assert schema["required"] == ["item", "place", "day"]
    assert schema["properties"]["item"] == {"type": "string", "description": "what to order, by name."}
    assert schema["properties"]["schema"] == {"type": "integer", "description": "Default: 1."}
    assert set(schema["properties"]["kind"]["enum"]) == {"a", "b"}
    assert "title" not in json.dumps(schema)
    assert schema["additionalProperties"] is False
    assert order.spec.parameters == schema


def test_google_docstrings_are_read_too():
    @tool
    def look(code: str, deep: bool = False) -> None:
        """Look up.

        Args:
            code (str): IATA code,
                such as JFK.
            deep: whether to dig.

        Returns:
            Nothing: at all.
        """

    assert look.description == "Look up."
    described = {name: field.get("description") for name, field in look.parameters["properties"].items()}
    assert described == {"code": "IATA code, such as JFK.", "deep": "whether to dig. Default: False."}


def test_arguments_arrive_typed_and_results_leave_as_json():
    text = '{"item": "x", "place": {"city": "Ulm"}, "day": "2013-02-08", "size": "large"}'
    output = invoke(order, text)
    assert json.loads(output.text) == {
        "item": "x",
        "city": "Ulm",
        "day": "2013-02-08",
        "size": "large",
        "tags": None,
        "kind": "a",
    }
    assert not output.failed


def test_a_tool_can_still_be_called_like_its_function():
    assert order("x", Place(city="Ulm"), date(2020, 1, 1))["city"] == "Ulm"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Invalid JSON"),
        ("null", "should be an object"),
        ('{"item": "x"}', "place: Field required; day: Field required"),
        ('{"item": "x", "place": {}, "day": "x"}', "place.city"),
        ('{"item": 1, "place": {"city": "U"}, "day": "2020-01-01"}', "item: "),
    ],
)
def test_arguments_that_do_not_fit_are_named_but_not_quoted(text, told):
    with pytest.raises(ValueError, match=told):
        order.parse(text)


@pytest.mark.parametrize("name", ["ab", "a b", "9lives", "x" * 65, "naïve", "a.b.c"])
def test_names_that_a_host_would_refuse(name):
    with pytest.raises(ConfigurationError, match="3 to 64"):
        tool(name=name)(lambda: None)


def test_functions_that_cannot_be_tools():
    def untyped(a):
        """Do."""

    def many(*parts: str) -> None:
        """Do."""

    def odd(a: "Nowhere") -> None:  # noqa: F821 — that is the point
        """Do."""

    class Plain:
        pass

    def strange(a: Plain) -> None:
        """Do."""

    for function, named in [
        (untyped, "'a'"),
        (many, r"\*parts"),
        (odd, "Nowhere"),
        (strange, "no JSON Schema"),
    ]:
        with pytest.raises(ConfigurationError, match=named):
            tool(function)


@dataclass
class Point:
    x: float


@pytest.mark.parametrize(
    ("value", "text"),
    [("as is", "as is"), (None, "null"), (Decimal("1.5"), '"1.5"'), ([Point(1.5)], '[{"x":1.5}]')],
)
def test_what_the_model_sees_of_a_result(value, text):
    @tool
    def give() -> object:
        """Give."""
        return value

    assert invoke(give).text == text


def test_a_budget_that_a_tool_meets_ends_the_run():
    @tool
    def ask() -> str:
        """Ask the model."""
        raise BudgetExceededError("spent")

    with pytest.raises(BudgetExceededError):
        invoke(ask)


def test_a_time_out_of_the_tools_own_is_not_called_ours():
    @tool(timeout=30)
    def read() -> str:
        """Read."""
        raise TimeoutError("the socket was slow")

    assert "the socket was slow" in invoke(read).text


# --- permissions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("https://*.example.com/**", "https://api.example.com/a/b?c", True),
        ("https://*.example.com/**", "https://evil.test/?x=.example.com/", False),
        ("https://*.example.com/**", "https://evil.test?x=.example.com/", False),
        ("https://*.example.com/**", "https://evil.test#.example.com/", False),
        ("https://*.example.com/**", "https://evil.test\\.example.com/", False),
        ("https://*.example.com/**", "https://user@.example.com/", False),
        ("https://*.example.com/**", "HTTPS://api.example.com/", False),
        ("*", "one line", True),
        ("*", "two\nlines", False),
        ("**", "two\nlines", True),
        ("a.c", "abc", False),
        (["x", "y*"], "yes", True),
        (5, 5, True),
        (5, "5", False),
        (1, True, False),
        (True, True, True),
        ("5", 5, False),
    ],
)
def test_patterns_of_arguments(pattern, value, fits):
    policy = Policy.from_mapping({"fetch_*": {"decision": "deny", "arguments": {"a": pattern}}})
    decided = policy.decide("fetch_url", {"a": value}, Decision.ALLOW).decision
    assert decided == (Decision.DENY if fits else Decision.ALLOW)


def test_the_first_rule_that_fits_decides_else_the_tool_does():
    policy = Policy.from_mapping(
        {
            "send": [
                {"decision": "deny", "arguments": {"to.domain": "evil.test"}},
                {"decision": "allow", "arguments": {"to.domain": "*.example.com"}},
            ],
            "se*": "ask",
        }
    )
    decide = lambda tool, **arguments: policy.decide(tool, arguments, Decision.ALLOW).decision  # noqa: E731 — said often
    assert decide("send", to={"domain": "evil.test"}) == "deny"
    assert decide("send", to={"domain": "a.example.com"}) == "allow"
    assert decide("send", to={"domain": "other.test"}) == "ask"
    assert decide("send", to="evil.test") == "ask"
    assert decide("send") == "ask"
    assert decide("other") == "allow"
    assert policy.decide("other", {}, Decision.ASK).decision == "ask"


@pytest.mark.parametrize(
    "data",
    [
        {"send": "maybe"},
        {"send": {"arguments": {}}},
        {"send": {"decision": "deny", "argument": {}}},
        {"send": {"decision": "deny", "arguments": ["to"]}},
        {"send": 5},
    ],
)
def test_a_policy_that_is_mistyped_is_refused(data):
    with pytest.raises(ConfigurationError, match="'send'"):
        Policy.from_mapping(data)


# --- SQL ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    import duckdb

    path = tmp_path_factory.mktemp("data") / "flights.parquet"
    duckdb.sql(
        "SELECT * FROM (VALUES ('UA', 10, 12.5, DATE '2013-02-08'), ('AA', 20, NULL, DATE '2013-02-09'))"
        " AS t(carrier, flights, delay, day)"
    ).write_parquet(str(path))
    columns = (Column(name="carrier", type="VARCHAR", nulls=0, distinct=2),)
    ref = DatasetRef(uri="x", rows=2, bytes=1, sha256="abc", source="here", columns=columns)
    return path, ref


def query(flights, sql, number=7, **options):
    path, ref = flights
    with Database({"flights": path}) as database:
        made = sql_tool(database, {"flights": ref}, period="2013-02-08", **options)
        assert "flights (carrier VARCHAR)" in made.description
        return invoke(made, json.dumps({"sql": sql}), number)


def test_each_cell_of_a_query_is_a_fact_that_can_be_cited(flights):
    sql = 'SELECT carrier, flights AS "Number of flights", delay, day FROM flights ORDER BY flights'
    output = query(flights, sql)
    opening, *lines, closing = output.text.splitlines()
    assert lines == [
        "id,carrier,Number_of_flights,delay,day",
        "q7.r0,UA,10,12.5,2013-02-08",
        "q7.r1,AA,20,,2013-02-09",
    ]
    assert opening.startswith('<rows fence="')
    assert closing == opening.replace("<rows", "</rows")
    facts = {fact.id: fact for fact in output.facts}
    assert len(facts) == 8
    cell = facts["q7.r0.Number_of_flights"]
    assert (cell.value, cell.unit, cell.label) == (10, Unit.NUMBER, "Number of flights — UA")
    assert (cell.lineage.sql, cell.lineage.datasets) == (sql, {"flights": "abc"})
    assert cell.period == "2013-02-08"
    assert facts["q7.r1.delay"].value is None
    assert facts["q7.r0.day"].unit is Unit.DATE
    assert facts["q7.r0.carrier"].value == "UA"


def test_columns_of_one_name_and_cells_of_odd_kinds_have_ids_too(flights):
    sql = 'SELECT flights AS a, flights AS "a!", flights AS "ä", [flights, 2] AS b FROM flights LIMIT 1'
    output = query(flights, sql)
    ids = [fact.id for fact in output.facts]
    assert len(set(ids)) == 4
    assert all(set(one) <= set("abcdefghijklmnopqrstuvwxyz0123456789._") for one in ids)
    assert output.facts[3].value == "[10, 2]"
    assert output.facts[3].unit is Unit.TEXT


def test_many_rows_are_cut_and_said_so(flights):
    output = query(flights, "SELECT range + flights AS n FROM flights, range(500)", max_rows=3)
    assert len(output.facts) == 3
    assert "only the first 3" in output.text
    assert "(no rows)" in query(flights, "SELECT * FROM flights WHERE false").text


def test_bad_sql_is_told_to_the_model_without_paths(flights):
    output = query(flights, "SELECT nothing FROM flights")
    assert output.failed
    assert "carrier" in output.text
    assert str(flights[0]) not in output.text
    assert query(flights, "DROP TABLE flights").failed


def test_facts_survive_the_journal(flights):
    facts = query(flights, "SELECT * FROM flights").facts
    packed = json.loads(json.dumps(pack_facts(facts)))
    assert len(packed) == 1
    assert unpack_facts(packed) == facts
    assert unpack_facts(pack_facts(())) == ()


# --- formulas -------------------------------------------------------------------------------------


def test_formula_tools_run_at_moonshots():
    async def use(simulator):
        config = ClientConfig.from_mapping(
            base_url=simulator.kimi_url,
            api_key="k",
            model="kimi-k2.6",
            extra={"host": "moonshot", "max_attempts": 1},
        )
        async with KimiClient(config) as client:
            tools = await formula_tools(client, ["moonshot/web-search:latest"], permission="ask")
            (search,) = tools
            assert search.permission is Decision.ASK
            name = next(iter(search.parameters["properties"]))
            text = json.dumps({name: "weather in Ulm"})
            good = await search.invoke(Invocation(search.parse(text), text, 0))
            simulator.faults.add("/v1/formulas", "server_error", times=1)
            bad = await search.invoke(Invocation(search.parse(text), text, 1))
            return good, bad

    with Simulator() as simulator:
        good, bad = asyncio.run(use(simulator))
        assert simulator.calls.count("/fibers") == 2
    assert isinstance(good, ToolOutput)
    assert good.text
    assert not good.failed
    assert bad.failed


def test_formula_arguments_must_be_an_object():
    from kimi_provider.analysis.tools import parse_object

    for text in ("[1]", "{", "[" * 100_000):
        with pytest.raises(ValueError, match="arguments"):
            parse_object(text)
    assert parse_object("") == {}


def test_a_tool_without_function_cannot_be_called():
    async def run(invocation):
        return "x"

    made = Tool("abc", "", {}, parse=json.loads, run=run)
    with pytest.raises(TypeError, match="abc"):
        made()

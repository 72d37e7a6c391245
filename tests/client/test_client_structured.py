"""A pydantic model in, an instance out; repaired by a turn that quotes the errors."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest
from pydantic import BaseModel, Field, RootModel

from kimi_provider.client.messages import ChatRequest, ChatResult, Message
from kimi_provider.client.typed_answer import structured
from kimi_provider.exceptions import (
    ConfigurationError,
    EmptyAnswerError,
    InvalidOutputError,
    TruncatedAnswerError,
)
from kimi_provider.schemas import Usage


class Weather(BaseModel):
    city: str
    day: date
    degrees: float


GOOD = '{"city": "Paris", "day": "2026-01-02", "degrees": 3}'
REQUEST = ChatRequest(messages=(Message.system("Be brief."), Message.user("Weather?")))


def answer(text, finish="stop"):
    return ChatResult(text=text, finish_reason=finish, usage=Usage(calls=1), model="m")


def ask(*answers, native=True, kind=Weather, **more):
    """Run with scripted answers; return the outcome and the requests made."""
    asked = []
    waiting = list(answers)

    async def complete(request):
        asked.append(request)
        return waiting.pop(0)

    outcome = asyncio.run(structured(complete, REQUEST, kind, native_schema=native, **more))
    return outcome, asked


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here it is: {GOOD} Enjoy {{}}",
        f"\ufeff  {GOOD}\n",
        f"{{oops}} {GOOD}",
    ],
    ids=["plain", "fenced", "with words", "byte order mark", "after something else"],
)
def test_instance_comes_out(text):
    outcome, asked = ask(answer(text))
    assert outcome.value == Weather(city="Paris", day=date(2026, 1, 2), degrees=3)
    assert len(outcome.results) == len(asked) == 1


def test_schema_goes_natively():
    _, asked = ask(answer(GOOD))
    assert asked[0].response_schema.name == "Weather"
    assert asked[0].response_schema.schema["required"] == ["city", "day", "degrees"]
    assert asked[0].messages == REQUEST.messages
    assert not asked[0].json_object


def test_schema_goes_into_the_prompt_behind_the_system_messages():
    _, asked = ask(answer(GOOD), native=False, name="weather")
    assert asked[0].json_object
    assert asked[0].response_schema is None
    assert [m.role for m in asked[0].messages] == ["system", "system", "user"]
    assert "`weather`" in asked[0].messages[1].content
    assert '"degrees"' in asked[0].messages[1].content


class Form(BaseModel):
    required: bool
    additional_properties: int = Field(alias="additionalProperties")


def test_a_name_that_kimi_reserves_goes_into_the_prompt():
    good = '{"required": true, "additionalProperties": 3}'
    outcome, asked = ask(answer("{}"), answer(good), kind=Form)
    assert (outcome.value.required, outcome.value.additional_properties) == (True, 3)
    assert [request.response_schema for request in asked] == [None, None]
    assert asked[0].json_object
    assert '"additionalProperties"' in asked[0].messages[1].content


@pytest.mark.parametrize("native", [True, False], ids=["native", "in the prompt"])
def test_repair_quotes_the_errors(native):
    bad = answer('{"city": "Paris", "degrees": "cold"}')
    outcome, asked = ask(bad, answer(GOOD), native=native)
    assert outcome.results == (bad, answer(GOOD))
    *_, said, repair = asked[1].messages
    assert said == bad.message
    assert "day: Field required" in repair.content
    assert "degrees" in repair.content
    assert asked[1].response_schema == asked[0].response_schema


def test_after_the_last_repair_it_is_an_error_without_the_reply():
    reply = answer('{"PLANTED": 1, "city": "PLANTED", "day": "PLANTED"}')
    with pytest.raises(InvalidOutputError, match="Weather after 1 repairs") as caught:
        ask(reply, reply)
    assert "PLANTED" not in str(caught.value)
    assert "degrees missing" in str(caught.value)


def test_no_repair_wanted():
    with pytest.raises(InvalidOutputError, match="no JSON object"):
        ask(answer("I would rather not."), max_repairs=0)


@pytest.mark.parametrize("finish", ["length", None])
def test_cut_answer_is_not_repaired(finish):
    with pytest.raises(TruncatedAnswerError):
        ask(answer(GOOD[:20], finish))


def test_empty_answer():
    with pytest.raises(EmptyAnswerError):
        ask(answer("  "))


def test_a_list_is_no_answer():
    with pytest.raises(ConfigurationError, match="field of one"):
        ask(answer("[]"), kind=RootModel[list[int]])

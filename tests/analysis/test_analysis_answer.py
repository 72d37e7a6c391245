"""What becomes of an answer that lies: asked again, then dropped, refused or recorded, end to end."""

import asyncio
import json

import pytest

from kimi_provider.analysis.answer import Answering
from kimi_provider.analysis.budget import Budget
from kimi_provider.analysis.caller import Caller
from kimi_provider.analysis.grounding_policy import GroundingPolicy
from kimi_provider.analysis.trace import Trace
from kimi_provider.client.client import KimiClient
from kimi_provider.client.config import ClientConfig
from kimi_provider.client.messages import ChatRequest, Message
from kimi_provider.exceptions import UngroundedError
from kimi_provider.testing import Simulator

TRUE = "Flights fell to [[day.flights]]."
QUESTION = "Tell us of the day."


def answer(summary, **fields):
    whole = {
        "headline": "A day of delays",
        "summary": summary,
        "findings": [],
        "actions": [],
        "charts": [],
    }
    return {"content": json.dumps(whole | fields)}


@pytest.fixture
def ask(sheet):
    """Have the model give these answers in turn; return what came of it and the texts it was sent."""
    with Simulator() as simulator:

        def asked(*answers, **policy):
            simulator.script("answers", match=QUESTION, answers=list(answers))

            async def use():
                config = ClientConfig.from_mapping(
                    base_url=simulator.kimi_url, api_key="k", model="kimi-k3", extra={"host": "moonshot"}
                )
                async with KimiClient(config) as client:
                    answering = Answering(
                        Caller(client, budget=Budget(), trace=Trace()),
                        sheet,
                        period="2013-02-08",
                        dates=(),
                        source="test",
                        on_progress=lambda _: None,
                        policy=GroundingPolicy(**policy),
                    )
                    draft, _ = await answering.grounded(ChatRequest((Message.user(QUESTION),)))
                    return draft, answering

            return asyncio.run(use())

        yield asked


def actions(answering):
    return {(issue.kind, issue.action) for issue in answering.grounding.issues}


def test_a_lie_that_is_mended_is_recorded_as_repaired(ask):
    draft, answering = ask(answer(f"{TRUE} There were 77 bags."), answer(TRUE))
    assert draft.summary == TRUE
    assert answering.repairs == 1
    assert actions(answering) == {("digit", "repaired")}
    assert answering.grounding.score == 1.0


def test_drop_takes_out_what_the_repair_left(ask):
    lie = answer(
        f"{TRUE} Flights rose by [[day.flights.day_before.delta]]. B6 was late.",
        actions=["Ask Operations about delays.", "Call Lufthansa."],
    )
    draft, answering = ask(lie, on_failure="drop")
    assert draft.summary == f"{TRUE} B6 was late."
    assert draft.actions == ("Ask Operations about delays.",)
    assert actions(answering) == {("direction", "dropped"), ("entity", "dropped")}
    assert len(answering.asked) == 2


def test_fail_refuses_what_the_repair_left(ask):
    with pytest.raises(UngroundedError) as caught:
        ask(answer(f"{TRUE} There were 77 bags."), on_failure="fail")
    assert "77" not in str(caught.value)


def test_warn_asks_once_and_leaves_the_text(ask):
    draft, answering = ask(answer(f"{TRUE} There were 77 bags."), default="warn")
    assert draft.summary.endswith("77 bags.")
    assert len(answering.asked) == 1
    assert actions(answering) == {("digit", "warned")}

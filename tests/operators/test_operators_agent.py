"""The agent: tools, datasets, permissions, and a person in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from uuid import uuid4

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from kimi_provider.analysis.tools import tool
from kimi_provider.client import ChatRequest, Message
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.operators.agent import KimiAgentOperator

CALLS = "chat/completions"


@pytest.fixture
def used() -> list[str]:
    return []


@pytest.fixture
def look_up(used):
    @tool
    def look_up(name: str) -> str:
        """Look a name up.

        :param name: the name.
        """
        used.append(name)
        return f"{name} is known"

    return look_up


def _agent(**arguments):
    return KimiAgentOperator(
        task_id="agent", prompt="Look the names up.", dag=DAG("agents", schedule=None), **arguments
    )


def _context(run_id="run"):
    return {
        "ti": SimpleNamespace(
            id=uuid4(),
            dag_id="agents",
            run_id=run_id,
            task_id="agent",
            map_index=-1,
            try_number=1,
            xcom_push=dict,
        )
    }


def test_tools_run_and_a_retry_repeats_neither_calls_nor_tools(simulator, look_up, used):
    simulator.script("tools", steps=3, tool="look_up", arguments={"name": "n{step}"})
    first = _agent(tools=[look_up]).execute(_context())
    paid = simulator.calls.count(CALLS)
    second = _agent(tools=[look_up]).execute(_context())

    assert (first["tool_calls"], first["limit"], used) == (3, None, ["n0", "n1", "n2"])
    assert simulator.calls.count(CALLS) == paid == 4
    assert second == first
    assert first["usage"]["cost_usd"] > 0


def test_the_model_queries_the_datasets(chain, simulator):
    airlines = chain.fetch("airlines")
    sql = "SELECT count(*) AS carriers FROM airlines"
    simulator.script("tools", steps=1, tool="query_data", arguments={"sql": sql})
    result = _agent(datasets={"airlines": airlines}).execute(_context())

    trace = Path(result["trace_uri"].removeprefix("file://")).read_text()
    assert result["tool_calls"] == 1
    assert "q0.r0" in trace
    assert "16" in trace


def test_a_denied_tool_does_not_run_and_the_model_is_told(simulator, look_up, used):
    simulator.script("tools", steps=1, tool="look_up", arguments={"name": "n"})
    result = _agent(tools=[look_up], policy={"look_up": "deny"}).execute(_context())

    assert used == []
    assert result["tool_calls"] == 1


def test_the_hook_runs_agents_too(simulator, look_up, used, tmp_path):
    simulator.script("tools", steps=2, tool="look_up", arguments={"name": "n{step}"})
    request = ChatRequest(messages=(Message.user("Look the names up."),))
    first = KimiHook().run_agent(request, [look_up], folder=tmp_path)
    again = KimiHook().run_agent(request, [look_up], folder=tmp_path)

    assert used == ["n0", "n1"]
    assert again.text == first.text
    assert simulator.calls.count(CALLS) == 3


def test_a_limit_ends_in_an_answer(simulator, look_up, used):
    simulator.script("tools", steps=50, tool="look_up", arguments={"name": "n{step}"})
    result = _agent(tools=[look_up], limits={"max_steps": 4}).execute(_context())

    assert result["limit"] == "4 steps"
    assert len(used) == 4
    assert result["text"]


def test_a_wrong_policy_fails_before_anything_is_paid(simulator, look_up):
    with pytest.raises(AirflowFailException, match="allow, ask or deny"):
        _agent(tools=[look_up], policy={"look_up": "perhaps"}).execute(_context())
    assert simulator.calls.count(CALLS) == 0


@pytest.fixture
def supervisor():
    """What Airflow's supervisor is told; it is there only in a real task process."""
    with mock.patch(
        "airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True
    ) as supervisor:
        yield supervisor


@pytest.mark.parametrize(
    ("event", "ran"),
    [
        ({"chosen_options": ["Approve 1: look_up"], "responded_by_user": {"name": "Ann"}}, ["n0"]),
        ({"chosen_options": ["Refuse"], "responded_by_user": {"name": "Ann"}}, []),
        ({"chosen_options": ["Approve 1: look_up", "Refuse"]}, []),
        ({"error": "no answer", "error_type": "timeout"}, []),
    ],
    ids=["approved", "refused", "both", "nobody answered"],
)
def test_a_person_decides_while_the_task_holds_no_worker(  # noqa: PLR0917 — fixtures by name
    simulator, look_up, used, supervisor, event, ran
):
    simulator.script("tools", steps=1, tool="look_up", arguments={"name": "n{step}"})
    arguments = {"tools": [look_up], "policy": {"look_up": "ask"}}
    context = _context()
    with pytest.raises(TaskAwaitingInput) as waiting:
        _agent(**arguments).execute(context)

    asked = supervisor.send.call_args.kwargs["msg"]
    assert asked.options == ["Approve 1: look_up", "Refuse"]
    assert "n0" in asked.body
    assert used == []
    paid = simulator.calls.count(CALLS)

    resumed = getattr(_agent(**arguments), waiting.value.method_name)
    result = resumed(context, event=event)

    assert used == ran
    assert simulator.calls.count(CALLS) == paid + 1, "what was said before the wait is not paid again"
    decided = Path(result["trace_uri"].removeprefix("file://")).read_text()
    assert json.loads(decided)["entries"]
    assert ("Ann" in decided) == ("responded_by_user" in event), "the trace says who decided"

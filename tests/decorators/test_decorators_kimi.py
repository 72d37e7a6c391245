from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.decorators.kimi import kimi_task
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "{{ conn.kimi_default.password }}"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulator:
    running.reset()
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", tmp_path.as_uri())
    connection = {"conn_type": "kimi", "host": running.kimi_url, "password": "sk-planted-4711"}
    connection["extra"] = {"model": "kimi-k2-thinking"}
    monkeypatch.setenv("AIRFLOW_CONN_KIMI_DEFAULT", json.dumps(connection))
    return running


def run(operator) -> str:
    """Do what a worker does with a task: render its fields, then execute it."""
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id=operator.task_id, map_index=-1, xcom_push=dict)
    context = {"ti": ti, "ds": "2013-02-08", "params": {}}
    operator.render_template_fields(context)
    return operator.execute(context)


def test_the_function_makes_the_prompt(simulator: Simulator) -> None:
    with DAG("d", schedule=None):

        @kimi_task
        def explain(topic: str, ds: str | None = None) -> str:
            return f"What is {topic} on {ds}?"

        operator = explain("fog").operator
    assert "You wrote: What is fog on 2013-02-08?" in run(operator)


def test_what_the_function_returns_is_never_rendered(simulator: Simulator) -> None:
    with DAG("d", schedule=None):

        @kimi_task
        def quote() -> str:
            return f"The row says {PASSWORD}"

        operator = quote().operator
    assert f"You wrote: The row says {PASSWORD}" in run(operator)


def test_parameters_are_rendered_as_with_the_operator(simulator: Simulator) -> None:
    simulator.script("answers", match="It is 2013-02-08.", answers=[{"content": "Noted."}])
    with DAG("d", schedule=None):

        @kimi_task(system="It is {{ ds }}.")
        def remember() -> str:
            return "Note the day."

        operator = remember().operator
    assert run(operator) == "Noted."


def test_it_is_there_as_task_kimi() -> None:
    assert task.kimi is kimi_task


@pytest.mark.parametrize("returned", [None, "", "  \n", 4711, ["a prompt"]])
def test_anything_but_a_prompt_is_refused_before_it_is_paid(simulator: Simulator, returned) -> None:
    with DAG("d", schedule=None):

        @kimi_task
        def broken():
            return returned

        operator = broken().operator
    with pytest.raises(AirflowFailException, match="'broken'") as caught:
        run(operator)
    assert "4711" not in str(caught.value)
    assert len(simulator.calls) == 0

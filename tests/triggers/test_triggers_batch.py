from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest

from kimi_provider.client import ChatRequest, Message
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.testing import Simulator
from kimi_provider.triggers.batch import KimiBatchTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.triggers.base import TriggerEvent

REQUESTS = {"a": ChatRequest(messages=(Message.user("planted-prompt-4711"),))}


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    running.reset()
    connection = {"conn_type": "kimi", "host": running.kimi_url, "password": "sk-planted-4711"}
    connection["extra"] = {"host_options": {"side_endpoints": True}, "max_attempts": 1}
    monkeypatch.setenv("AIRFLOW_CONN_KIMI_DEFAULT", json.dumps(connection))
    return running


@pytest.fixture
def batch_id(simulator: Simulator) -> str:
    async def submit() -> str:
        async with KimiHook(model="kimi-k2.6").get_conn() as client:
            return (await client.batches.create(REQUESTS)).id

    return asyncio.run(submit())


def trigger(batch_id: str) -> KimiBatchTrigger:
    """Make one the way the triggerer does: from what was stored."""
    _, stored = KimiBatchTrigger(
        kimi_conn_id="kimi_default", model="kimi-k2.6", batch_id=batch_id, poll_interval=0.01
    ).serialize()
    return KimiBatchTrigger(**json.loads(json.dumps(stored)))


def fire(batch_id: str) -> list[TriggerEvent]:
    async def run() -> list[TriggerEvent]:
        return [event async for event in trigger(batch_id).run()]

    return asyncio.run(run())


def test_it_fires_once_when_the_batch_has_ended(simulator: Simulator, batch_id: str) -> None:
    (event,) = fire(batch_id)
    assert event.payload == {"batch_id": batch_id, "status": "completed"}
    assert simulator.calls.count(f"/batches/{batch_id}") == 2


def test_looks_that_fail_do_no_harm(simulator: Simulator, batch_id: str) -> None:
    simulator.faults.add("/v1/batches/", "html_502", times=9)
    (event,) = fire(batch_id)
    assert event.payload["status"] == "completed"


def test_a_host_that_stays_down_wakes_the_task(simulator: Simulator, batch_id: str) -> None:
    simulator.faults.add("/v1/batches/", "html_502", times=None)
    (event,) = fire(batch_id)
    assert event.payload == {"batch_id": batch_id, "status": "unknown"}


def test_a_host_that_refuses_wakes_the_task_at_once(simulator: Simulator, batch_id: str) -> None:
    simulator.faults.add("/v1/batches/", "unauthorized", times=None)
    (event,) = fire(batch_id)
    assert event.payload["status"] == "unknown"
    assert simulator.calls.count(f"/batches/{batch_id}") == 1


def test_nothing_secret_is_stored_fired_or_logged(simulator, batch_id: str, caplog, capsys) -> None:
    caplog.set_level(logging.INFO)
    path, stored = trigger(batch_id).serialize()
    assert path == "kimi_provider.triggers.batch.KimiBatchTrigger"
    payload = fire(batch_id)[0].payload
    logged = caplog.text + capsys.readouterr().out  # Airflow's own loggers print
    assert "in_progress" in logged
    for text in (json.dumps(stored), json.dumps(payload), logged):
        assert "4711" not in text

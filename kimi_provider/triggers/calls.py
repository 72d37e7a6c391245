"""Calls the model in the triggerer, for a task that waits without a worker's slot."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from kimi_provider.hooks.kimi import KimiHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

# A start takes some 6 ms of the loop: a thousand at once would stop it for seconds.
_APART = 0.01

# Seconds between two lines about a call: a thousand share one loop, and a line costs a millisecond.
_SELDOM = 30.0


class KimiCallTrigger(BaseTrigger):
    """Makes calls that a task has handed over, and fires when all have ended.

    Airflow stores a trigger's arguments and logs its event as they are, so neither holds a key, a
    prompt or an answer: the calls lie in the task's folder, and the answers go to the journal in it,
    where the task finds them. A triggerer that takes over finds there which calls are made already; a
    call that was under way when its process was killed is made again, or not, as ``on_restart`` says.
    When the task is cleared or marked, the triggerer cancels the trigger, which closes the streams; a
    person who clears it wants the calls, whatever ``on_restart`` says.

    :param calls_uri: the file of the calls, in the task's folder.
    :param kimi_conn_id: the ``kimi`` connection.
    :param model: model id, in place of the connection's.
    :param fallback_conn_ids: connections to ask, in order, when the host is down.
    :param max_cost_usd: what all attempts together may cost, in US dollars, as a text.
    :param on_restart: ``resubmit`` or ``fail``.

    The event: ``{"calls_uri", "failures", "usage"}``; ``failures`` has the errors by call, ``usage``
    what all calls of the task took so far.
    """

    def __init__(
        self,
        *,
        calls_uri: str,
        kimi_conn_id: str,
        model: str | None = None,
        fallback_conn_ids: Sequence[str] | str | None = None,
        max_cost_usd: str | None = None,
        on_restart: str = "resubmit",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls_uri = calls_uri
        self.kimi_conn_id = kimi_conn_id
        self.model = model
        self.fallback_conn_ids = fallback_conn_ids
        self.max_cost_usd = max_cost_usd
        self.on_restart = on_restart
        self._making: asyncio.Task[dict[str, Any]] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of the trigger."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "calls_uri": self.calls_uri,
                "kimi_conn_id": self.kimi_conn_id,
                "model": self.model,
                "fallback_conn_ids": self.fallback_conn_ids,
                "max_cost_usd": self.max_cost_usd,
                "on_restart": self.on_restart,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Make the calls, and fire once."""
        self._making = asyncio.create_task(self._make())
        # Whoever cancels this cancels that, and waits until the streams are closed.
        event = await self._making
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Break the calls off: a person has cleared or marked the task.

        Airflow also comes here where another triggerer took the trigger over (apache/airflow#73454);
        then the task waits on, and what is broken off is what ``on_restart`` is about.
        """
        await self._break_off()
        if not await self._still_waits():
            from kimi_provider.analysis.journal import Journal
            from kimi_provider.hooks.storage import open_uri

            path = await asyncio.to_thread(open_uri, self.calls_uri)
            await Journal(path.parent / "journal").ended_by_person()

    async def cleanup(self) -> None:
        """Break off what is under way, whatever the triggerer's reason to drop the trigger."""
        await self._break_off()

    async def _still_waits(self) -> bool:
        """Whether the task is deferred, as it is not after a person's act."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
        from airflow.utils.state import TaskInstanceState
        from asgiref.sync import sync_to_async

        ti = self.task_instance
        if ti is None:  # outside of a triggerer
            return True
        states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[ti.task_id], map_index=ti.map_index
        )
        return TaskInstanceState.DEFERRED in states.get(ti.run_id, {}).values()

    async def _break_off(self) -> None:
        if self._making is None or self._making.done():
            return
        self._making.cancel()
        await asyncio.wait([self._making])
        self.log.info("The calls under way are broken off")

    async def _make(self) -> dict[str, Any]:
        from kimi_provider.analysis.budget import Budget
        from kimi_provider.analysis.elsewhere import make_all
        from kimi_provider.analysis.trace import Trace
        from kimi_provider.hooks.calls import load_calls
        from kimi_provider.hooks.failure import describe_failure
        from kimi_provider.hooks.metrics import calls_of
        from kimi_provider.hooks.storage import open_uri

        await _turn()
        hook = KimiHook(self.kimi_conn_id, model=self.model, fallback_conn_ids=self.fallback_conn_ids)
        path = await asyncio.to_thread(open_uri, self.calls_uri)
        calls = await asyncio.to_thread(load_calls, path)
        self.log.info("Making %d calls of the model", len(calls))
        async with hook.caller(
            path.parent,
            # The task writes the trace, from what the journal has then.
            trace=Trace(),
            budget=Budget(max_cost_usd=self.max_cost_usd),
            on_progress=_seldom(self.log.info),
            repeat_interrupted=self.on_restart == "resubmit",
            on_call=calls_of(self.task_instance, triggerer=True),
        ) as caller:
            failures = await make_all(caller, calls)
            usage = caller.usage.model_dump(mode="json")
        told = {name: describe_failure(error) for name, error in failures.items()}
        return {"calls_uri": self.calls_uri, "failures": told, "usage": usage}


_next_start: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()


async def _turn() -> None:
    """Wait until this trigger may start, so that many do not start at once."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    start = max(now, _next_start.get(loop, now))
    _next_start[loop] = start + _APART
    await asyncio.sleep(start - now)


def _seldom(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Pass a line on now and then, and drop those between."""
    told = time.monotonic()

    def pass_on(line: str) -> None:
        nonlocal told
        if time.monotonic() - told >= _SELDOM:
            told = time.monotonic()
            tell(line)

    return pass_on

"""What the operators that ask Kimi share: the connection, the bill, and where they wait."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from airflow.sdk import conf
from airflow.sdk.exceptions import TaskDeferred

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures, restore_failure
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.hooks.links import KimiTraceLink
from kimi_provider.hooks.storage import task_folder
from kimi_provider.hooks.usage import report_usage
from kimi_provider.operators.lineage import LineageOperator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from decimal import Decimal

    from airflow.sdk import BaseOperatorLink, Context

    from kimi_provider.analysis.budget import Budget
    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.elsewhere import PendingCall
    from kimi_provider.storage import StoragePath

T = TypeVar("T")


class KimiOperator(LineageOperator):
    """Base of the operators that ask Kimi.

    Their work is a coroutine that can be repeated, since what it has asked lies in a journal. On a
    worker it waits for the model itself. With ``deferrable`` it runs until it needs an answer that the
    journal does not have, leaves the worker, and runs again once the triggerer has got the answer.

    :param kimi_conn_id: the ``kimi`` connection. (templated)
    :param model: model id, in place of the connection's. (templated)
    :param fallback_conn_ids: connections to ask, in order, where the host is down; see
        :class:`~kimi_provider.hooks.kimi.KimiHook`. (templated)
    :param max_cost_usd: what all attempts together may cost, in US dollars; a call that might cost
        more is not made. (templated)
    :param deferrable: whether to wait for the model in the triggerer, without a worker's slot.
    :param on_restart: what happens to a call that was under way when its process was killed, and so may
        have been billed: ``resubmit`` makes it again, ``fail`` fails the task.
    """

    template_fields: Sequence[str] = ("kimi_conn_id", "model", "fallback_conn_ids", "max_cost_usd")
    operator_extra_links: tuple[BaseOperatorLink, ...] = (KimiTraceLink(),)
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        kimi_conn_id: str = KimiHook.default_conn_name,
        model: str | None = None,
        fallback_conn_ids: Sequence[str] | str | None = None,
        max_cost_usd: Decimal | float | str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        on_restart: Literal["resubmit", "fail"] = "resubmit",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_restart not in {"resubmit", "fail"}:
            raise ConfigurationError(f"on_restart is {on_restart!r}; allowed are 'resubmit' and 'fail'")
        self.kimi_conn_id = kimi_conn_id
        self.model = model
        self.fallback_conn_ids = fallback_conn_ids
        self.max_cost_usd = max_cost_usd
        self.deferrable = deferrable
        self.on_restart = on_restart
        self._break_off: Callable[[], object] | None = None

    def on_kill(self) -> None:
        """Break off the call under way on this worker and close its stream, as Airflow ends the task."""
        if self._break_off is not None:
            self._break_off()

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Go on with the answers that the triggerer has got."""
        raise NotImplementedError

    def _think(
        self,
        context: Context,
        work: Callable[[Caller], Awaitable[T]],
        event: Mapping[str, Any] | None = None,
    ) -> T:
        """Run the work, here or until it has to wait for the triggerer.

        :param work: asks the model through the caller it gets, and can be repeated.
        :param event: what the triggerer told, where the work is run again.
        """
        from kimi_provider.analysis.budget import Budget

        folder, budget = task_folder(context), Budget(max_cost_usd=self.max_cost_usd)
        with airflow_failures():
            hook = KimiHook(
                self.kimi_conn_id, model=self.model, fallback_conn_ids=self.fallback_conn_ids
            )
            hook.get_conn()  # read here: Airflow's async connections do not work under dag.test()
            try:
                result = asyncio.run(self._work(hook, context, budget, work, event))
            except BaseException as error:
                from kimi_provider.analysis.elsewhere import handed_over

                if not (calls := handed_over(error)):
                    self._bill(context, hook, budget)
                    raise
            else:
                self._bill(context, hook, budget)
                return result
        raise self._deferral(calls, folder)

    def _bill(self, context: Context, hook: KimiHook, budget: Budget) -> None:
        """Tell what all attempts have taken, also where the task fails."""
        from kimi_provider.hooks.lineage import told_of_usage

        model, spent = hook.get_conn().config.model, budget.spent
        report_usage(context["ti"], model, spent)
        took = {"model": model, **told_of_usage(spent.model_dump(mode="json"))}
        self._tell(facets={"kimi_usage": took})

    async def _work(
        self,
        hook: KimiHook,
        context: Context,
        budget: Budget,
        work: Callable[[Caller], Awaitable[T]],
        event: Mapping[str, Any] | None,
    ) -> T:
        from kimi_provider.analysis.elsewhere import Elsewhere
        from kimi_provider.analysis.trace import Trace
        from kimi_provider.hooks.metrics import calls_of

        folder = task_folder(context)
        loop, working = asyncio.get_running_loop(), asyncio.current_task()
        if working is not None:
            # Airflow calls on_kill from a signal handler, so the loop has to be woken.
            self._break_off = partial(loop.call_soon_threadsafe, working.cancel)
        trace = Trace(secrets=[hook.get_conn().config.api_key])
        told = (event or {}).get("failures", {})
        failures = {name: restore_failure(failure) for name, failure in told.items()}
        try:
            async with hook.caller(
                folder,
                trace=trace,
                budget=budget,
                on_progress=self.log.info,
                repeat_interrupted=self.on_restart == "resubmit",
                elsewhere=Elsewhere(failures) if self.deferrable else None,
                on_call=calls_of(context["ti"]),
            ) as caller:
                return await work(caller)
        finally:
            self._break_off = None
            await asyncio.to_thread(trace.write, folder / "trace.json")

    def _deferral(self, calls: Sequence[PendingCall], folder: StoragePath) -> TaskDeferred:
        from kimi_provider.hooks.calls import store_calls
        from kimi_provider.triggers.calls import KimiCallTrigger

        limit = self.max_cost_usd
        trigger = KimiCallTrigger(
            calls_uri=store_calls(calls, folder).as_uri(),
            kimi_conn_id=self.kimi_conn_id,
            model=self.model,
            fallback_conn_ids=self.fallback_conn_ids,
            max_cost_usd=None if limit is None else str(limit),
            on_restart=self.on_restart,
        )
        self.log.info("%d calls of the model go to the triggerer", len(calls))
        return TaskDeferred(
            trigger=trigger, method_name="execute_complete", timeout=self.execution_timeout
        )

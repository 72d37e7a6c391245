"""Waits for a batch in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from kimi_provider.exceptions import APIError
from kimi_provider.hooks.kimi import KimiHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class KimiBatchTrigger(BaseTrigger):
    """Looks at a batch until it has ended, and fires with its id and status.

    Airflow stores a trigger's arguments and logs its event as they are, so neither holds a key, a
    prompt or an answer. Looking costs nothing, so it does no harm that a triggerer which takes over
    looks again. The batch is not cancelled when the task is cleared or marked: a later try of the task
    finds it again.

    :param kimi_conn_id: the ``kimi`` connection.
    :param model: model id, in place of the connection's.
    :param batch_id: the batch.
    :param poll_interval: seconds between two looks.

    The event: ``{"batch_id", "status"}``; ``status`` is ``unknown`` where the host refused to tell.
    """

    def __init__(
        self, *, kimi_conn_id: str, batch_id: str, poll_interval: float, model: str | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kimi_conn_id = kimi_conn_id
        self.batch_id = batch_id
        self.poll_interval = poll_interval
        self.model = model

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of the trigger."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "kimi_conn_id": self.kimi_conn_id,
                "batch_id": self.batch_id,
                "poll_interval": self.poll_interval,
                "model": self.model,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once."""
        from kimi_provider.hooks.batch import wait_for_end

        hook = KimiHook(self.kimi_conn_id, model=self.model, fallback_conn_ids=())
        status = "unknown"
        try:
            async with await hook.aget_conn() as client:
                batch = await wait_for_end(
                    client, self.batch_id, poll_interval=self.poll_interval, on_progress=self.log.info
                )
            status = batch.status
        except APIError as error:
            # The task looks for itself, and fails by the error that it meets.
            self.log.warning("Batch %s cannot be followed: %s", self.batch_id, type(error).__name__)
        event = {"batch_id": self.batch_id, "status": status}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

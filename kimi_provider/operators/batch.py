"""Batch: many prompts at once, answered within hours, at 60 % of the price."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, conf

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.hooks.storage import task_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from airflow.sdk import Context

    from kimi_provider.client import ChatRequest


class KimiBatchOperator(BaseOperator):
    """Asks Kimi many prompts by Moonshot's batch API, and returns where the answers are.

    The batch is submitted once: a retry, or a worker started after one was killed, finds it again. It
    goes on while the task waits, and also when the task is killed; the next try takes it up.

    Returns ``{"results_uri", "batch_id", "counts", "usage"}``. At ``results_uri`` lies one JSON object a
    line and prompt: ``id``, and ``text``, ``finish_reason``, ``usage`` and more, or ``error``. Single
    prompts that failed do not fail the task; see ``counts`` (``total``, ``answered``, ``truncated``,
    ``failed``).

    :param prompts: the user messages: by ids of your own, or a list, whose ids are the positions from
        0. (templated)
    :param system: the system message of each. (templated)
    :param kimi_conn_id: the ``kimi`` connection, of Moonshot's own API. (templated)
    :param model: model id, in place of the connection's; not K3. (templated)
    :param max_tokens: bound of reasoning and answer together, in tokens, of each.
    :param completion_window: how long the host may take, ``12h`` to ``7d``.
    :param poll_interval: seconds between two looks at the batch.
    :param deferrable: whether to wait in the triggerer, without a worker's slot.
    :raises ConfigurationError: if the prompts cannot be one batch, or the host has none.
    :raises APIError: if the host fails, or no prompt at all was answered.

    Example::

        KimiBatchOperator(
            task_id="summaries", prompts=collect_texts.output, system="Answer in one sentence."
        )
    """

    template_fields: Sequence[str] = ("prompts", "system", "kimi_conn_id", "model")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        prompts: Mapping[str, str] | Sequence[str],
        system: str | None = None,
        kimi_conn_id: str = KimiHook.default_conn_name,
        model: str | None = None,
        max_tokens: int | None = None,
        completion_window: str = "24h",
        poll_interval: float = 60.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompts = prompts
        self.system = system
        self.kimi_conn_id = kimi_conn_id
        self.model = model
        self.max_tokens = max_tokens
        self.completion_window = completion_window
        self.poll_interval = poll_interval
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the batch, or find it again, and wait for it."""
        return self._proceed(None, context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Read the batch that the trigger tells of."""
        return self._proceed(event["batch_id"], context)

    def _proceed(self, batch_id: str | None, context: Context) -> dict[str, Any]:
        from kimi_provider.hooks.usage import report_usage
        from kimi_provider.schemas import Usage

        with airflow_failures():
            # Batches belong to an account, so that no other connection can stand in.
            hook = KimiHook(self.kimi_conn_id, model=self.model, fallback_conn_ids=())
            hook.get_conn()  # read here: Airflow's async connections do not work under dag.test()
            found, result = asyncio.run(self._advance(hook, batch_id, context))
        if result is None:
            self._wait_in_triggerer(found)
        report_usage(context["ti"], hook.get_conn().config.model, Usage.model_validate(result["usage"]))
        counts = result["counts"]
        log = self.log.warning if counts["failed"] or counts["truncated"] else self.log.info
        log("Batch %s: %s; results: %s", found, counts, result["results_uri"])
        return result

    async def _advance(
        self, hook: KimiHook, batch_id: str | None, context: Context
    ) -> tuple[str, dict[str, Any] | None]:
        """Return the batch's id, and its result if it has ended or is waited for here."""
        from kimi_provider.hooks.batch import BatchJob, wait_for_end

        async with await hook.aget_conn() as client:
            job = BatchJob(client, task_folder(context))
            if batch_id is None:
                batch_id = await job.submit(self._requests(), completion_window=self.completion_window)
            if self.deferrable:
                batch = await client.batches.get(batch_id)
            else:
                batch = await wait_for_end(
                    client, batch_id, poll_interval=self.poll_interval, on_progress=self.log.info
                )
            return batch_id, await job.collect(batch) if batch.ended else None

    def _wait_in_triggerer(self, batch_id: str) -> NoReturn:
        from kimi_provider.triggers.batch import KimiBatchTrigger

        trigger = KimiBatchTrigger(
            kimi_conn_id=self.kimi_conn_id,
            model=self.model,
            batch_id=batch_id,
            poll_interval=self.poll_interval,
        )
        self.defer(
            trigger=trigger, method_name=self.execute_complete.__name__, timeout=self.execution_timeout
        )

    def _requests(self) -> dict[str, ChatRequest]:
        from kimi_provider.client import ChatRequest, Message

        given = self.prompts
        if isinstance(given, str) or not hasattr(given, "__len__"):
            raise ConfigurationError(
                f"prompts is {type(given).__name__}; allowed is a list of texts, or texts by id."
            )
        named = given.items() if hasattr(given, "items") else enumerate(given)
        system = (Message.system(self.system),) if self.system else ()
        requests: dict[str, ChatRequest] = {}
        for custom_id, prompt in named:
            if not isinstance(prompt, str) or not prompt.strip() or str(custom_id) in requests:
                raise ConfigurationError(
                    f"Prompt {custom_id!r} is {type(prompt).__name__}; allowed is a text that is not"
                    " empty, under an id of its own."
                )
            requests[str(custom_id)] = ChatRequest(
                messages=(*system, Message.user(prompt)), max_tokens=self.max_tokens
            )
        return requests

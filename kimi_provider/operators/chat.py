"""Chat: one prompt in, one text out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.hooks.storage import task_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from airflow.sdk import Context


class KimiChatOperator(BaseOperator):
    """Asks Kimi once and returns the text of its answer.

    The call is kept, so that a retry of the task does not pay for it again; messages, reasoning,
    usage and cost are in the trace.

    :param prompt: the user message. (templated)
    :param system: the system message. (templated)
    :param kimi_conn_id: the ``kimi`` connection. (templated)
    :param model: model id, in place of the connection's. (templated)
    :param max_tokens: bound of reasoning and answer together, in tokens.
    :param max_cost_usd: what all attempts together may cost, in US dollars. (templated)
    :raises EmptyAnswerError: if the answer has no text.
    :raises TruncatedAnswerError: if the answer ended before it was finished.
    :raises APIError: if the model's host fails; its class says whether a retry helps.
    """

    template_fields: Sequence[str] = ("prompt", "system", "kimi_conn_id", "model", "max_cost_usd")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        prompt: str,
        system: str | None = None,
        kimi_conn_id: str = KimiHook.default_conn_name,
        model: str | None = None,
        max_tokens: int | None = None,
        max_cost_usd: Decimal | float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.system = system
        self.kimi_conn_id = kimi_conn_id
        self.model = model
        self.max_tokens = max_tokens
        self.max_cost_usd = max_cost_usd

    def execute(self, context: Context) -> str:
        """Ask the model."""
        return self._ask(self.prompt, context)

    def _ask(self, prompt: str, context: Context) -> str:
        with airflow_failures():
            hook = KimiHook(self.kimi_conn_id, model=self.model)
            hook.get_conn()  # read here: Airflow's async connections do not work under dag.test()
            return asyncio.run(self._answer(hook, prompt, context))

    async def _answer(self, hook: KimiHook, prompt: str, context: Context) -> str:
        from kimi_provider.analysis.budget import Budget
        from kimi_provider.analysis.trace import Trace
        from kimi_provider.client import ChatRequest, Message
        from kimi_provider.exceptions import EmptyAnswerError, TruncatedAnswerError

        messages = (*([Message.system(self.system)] if self.system else []), Message.user(prompt))
        request = ChatRequest(messages=messages, max_tokens=self.max_tokens)
        folder, trace = task_folder(context), Trace()
        budget = Budget(max_cost_usd=self.max_cost_usd)
        try:
            async with hook.caller(
                folder, trace=trace, budget=budget, on_progress=self.log.info
            ) as caller:
                result = await caller.complete(request)
                if not result.truncated and result.text.strip():
                    return result.text
                await caller.reject(request)
        finally:
            await asyncio.to_thread(trace.write, folder / "trace.json")
        if result.truncated:
            raise TruncatedAnswerError(
                f"The answer was cut off ({result.finish_reason or 'no finish reason'})."
                " Raise max_tokens, or retry if the connection broke."
            )
        raise EmptyAnswerError("The answer has no text; thinking may have used up max_tokens. Raise it.")

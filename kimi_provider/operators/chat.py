"""Chat: one prompt in, one text or one typed value out."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.hooks.storage import task_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from airflow.sdk import Context
    from pydantic import BaseModel

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.client import ChatRequest, ChatResult


class KimiChatOperator(BaseOperator):
    """Asks Kimi once and returns the text of its answer, or a value of a given type.

    The call is kept, so that a retry of the task does not pay for it again; messages, reasoning,
    usage and cost are in the trace.

    :param prompt: the user message. (templated)
    :param system: the system message. (templated)
    :param output_type: a pydantic model, or the dotted path of one, that the answer must fit; what is
        returned then is its JSON value, and an answer that does not fit is sent back once with what is
        wrong. ``None`` returns text.
    :param kimi_conn_id: the ``kimi`` connection. (templated)
    :param model: model id, in place of the connection's. (templated)
    :param max_tokens: bound of reasoning and answer together, in tokens.
    :param max_cost_usd: what all attempts together may cost, in US dollars. (templated)
    :param fallback_conn_ids: connections to ask, in order, where the host is down; see
        :class:`~kimi_provider.hooks.kimi.KimiHook`. (templated)
    :raises EmptyAnswerError: if the answer has no text.
    :raises TruncatedAnswerError: if the answer ended before it was finished.
    :raises InvalidOutputError: if the answer does not fit ``output_type`` after its repair.
    :raises ConfigurationError: if ``output_type`` is none, or cannot be asked for; nothing was paid.
    :raises APIError: if the model's host fails; its class says whether a retry helps.

    Example::

        class Mood(BaseModel):
            mood: Literal["good", "bad"]
            why: str


        KimiChatOperator(task_id="mood", prompt="How was {{ ds }}?", output_type=Mood)
    """

    template_fields: Sequence[str] = (
        "prompt",
        "system",
        "kimi_conn_id",
        "model",
        "max_cost_usd",
        "fallback_conn_ids",
    )
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        prompt: str,
        system: str | None = None,
        output_type: type[BaseModel] | str | None = None,
        kimi_conn_id: str = KimiHook.default_conn_name,
        model: str | None = None,
        max_tokens: int | None = None,
        max_cost_usd: Decimal | float | str | None = None,
        fallback_conn_ids: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.system = system
        self.output_type = output_type
        self.kimi_conn_id = kimi_conn_id
        self.model = model
        self.max_tokens = max_tokens
        self.max_cost_usd = max_cost_usd
        self.fallback_conn_ids = fallback_conn_ids

    def execute(self, context: Context) -> Any:
        """Ask the model."""
        return self._ask(self.prompt, context)

    def _ask(self, prompt: str, context: Context) -> Any:
        with airflow_failures():
            output_type = None if self.output_type is None else _model_class(self.output_type)
            hook = KimiHook(
                self.kimi_conn_id, model=self.model, fallback_conn_ids=self.fallback_conn_ids
            )
            hook.get_conn()  # read here: Airflow's async connections do not work under dag.test()
            return asyncio.run(self._answer(hook, prompt, output_type, context))

    async def _answer(
        self, hook: KimiHook, prompt: str, output_type: type[BaseModel] | None, context: Context
    ) -> Any:
        from kimi_provider.analysis.budget import Budget
        from kimi_provider.analysis.trace import Trace
        from kimi_provider.client import ChatRequest, Message

        messages = (*([Message.system(self.system)] if self.system else []), Message.user(prompt))
        ti = context["ti"]
        request = ChatRequest(
            messages=messages,
            max_tokens=self.max_tokens,
            # The same for each run: what runs share, the system message first, is then cached.
            cache_key=f"{ti.dag_id}.{ti.task_id}",
        )
        folder, trace = task_folder(context), Trace()
        budget = Budget(max_cost_usd=self.max_cost_usd)
        try:
            async with hook.caller(
                folder, trace=trace, budget=budget, on_progress=self.log.info
            ) as caller:
                if output_type is None:
                    return await _text(caller, request)
                return await _value(caller, request, output_type)
        finally:
            await asyncio.to_thread(trace.write, folder / "trace.json")


async def _text(caller: Caller, request: ChatRequest) -> str:
    from kimi_provider.exceptions import EmptyAnswerError, TruncatedAnswerError

    result = await caller.complete(request)
    if not result.truncated and result.text.strip():
        return result.text
    await caller.reject(request)
    if result.truncated:
        raise TruncatedAnswerError(
            f"The answer was cut off ({result.finish_reason or 'no finish reason'})."
            " Raise max_tokens, or retry if the connection broke."
        )
    raise EmptyAnswerError("The answer has no text; thinking may have used up max_tokens. Raise it.")


async def _value(caller: Caller, request: ChatRequest, output_type: type[BaseModel]) -> Any:
    from kimi_provider.client.typed_answer import structured
    from kimi_provider.exceptions import ModelOutputError

    asked: list[ChatRequest] = []

    async def complete(request: ChatRequest) -> ChatResult:
        asked.append(request)
        return await caller.complete(request)

    try:
        answer = await structured(
            complete, request, output_type, native_schema=caller.client.native_schema()
        )
    except ModelOutputError:
        # Else a retry would find these answers again, and fail by them for ever.
        for unusable in asked:
            await caller.reject(unusable)
        raise
    return answer.value.model_dump(mode="json")


def _model_class(given: type[BaseModel] | str) -> type[BaseModel]:
    from pydantic import BaseModel

    found: Any = given
    if isinstance(given, str):
        module, _, name = given.rpartition(".")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(
                f"output_type {given!r} cannot be imported ({error}); give the dotted path of a pydantic"
                " model, such as 'reports.models.Mood'."
            ) from error
    if not isinstance(found, type) or not issubclass(found, BaseModel):
        raise ConfigurationError(f"output_type is {given!r}; allowed is a pydantic model, or its path.")
    return found

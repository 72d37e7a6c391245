"""Chat: one prompt in, one text or one typed value out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.operators.thinking import KimiOperator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from airflow.sdk import Context
    from pydantic import BaseModel

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.client import ChatRequest, ChatResult


class KimiChatOperator(KimiOperator):
    """Asks Kimi once and returns the text of its answer, or a value of a given type.

    The call is kept, so that a retry of the task does not pay for it again; messages, reasoning,
    usage and cost are in the trace.

    :param prompt: the user message. (templated)
    :param system: the system message. (templated)
    :param output_type: a pydantic model, or the dotted path of one, that the answer must fit; what is
        returned then is its JSON value, and an answer that does not fit is sent back once with what is
        wrong. ``None`` returns text.
    :param max_tokens: bound of reasoning and answer together, in tokens.
    :param kwargs: the parameters of :class:`~kimi_provider.operators.thinking.KimiOperator`
        (connection, model, cost, ``deferrable``), and Airflow's own.
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

    template_fields: Sequence[str] = ("prompt", "system", *KimiOperator.template_fields)

    def __init__(
        self,
        *,
        prompt: str,
        system: str | None = None,
        output_type: type[BaseModel] | str | None = None,
        max_tokens: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.system = system
        self.output_type = output_type
        self.max_tokens = max_tokens

    def execute(self, context: Context) -> Any:
        """Ask the model."""
        return self._ask(self.prompt, context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Take the answer that the triggerer has got."""
        return self._ask(self.prompt, context, event)

    def _ask(self, prompt: str, context: Context, event: Mapping[str, Any] | None = None) -> Any:
        from kimi_provider.client import ChatRequest, Message

        with airflow_failures():
            output_type = None if self.output_type is None else _model_class(self.output_type)
        ti = context["ti"]
        request = ChatRequest(
            messages=(
                *([Message.system(self.system)] if self.system else []),
                Message.user(prompt),
            ),
            max_tokens=self.max_tokens,
            # The same for each run: what runs share, the system message first, is then cached.
            cache_key=f"{ti.dag_id}.{ti.task_id}",
        )

        def work(caller: Caller) -> Awaitable[Any]:
            return (
                _text(caller, request) if output_type is None else _value(caller, request, output_type)
            )

        return self._think(context, work, event)


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

"""``@task.kimi``: a function that returns a prompt becomes a task that returns Kimi's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.bases.decorator import (
    DecoratedOperator,
    TaskDecorator,
    determine_kwargs,
    task_decorator_factory,
)
from airflow.sdk.definitions.context import context_merge

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.operators.chat import KimiChatOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context


class _KimiDecoratedOperator(DecoratedOperator, KimiChatOperator):
    """Calls the function, then the model with what it returned.

    The prompt is never rendered as a template: it may hold data, and data that says ``{{ … }}`` must
    stay text. Hence ``prompt`` is no template field here.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in KimiChatOperator.template_fields if name != "prompt"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {**DecoratedOperator.template_fields_renderers}
    custom_operator_name = "@task.kimi"

    def __init__(self, *, python_callable: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(python_callable=python_callable, prompt="", **kwargs)

    def execute(self, context: Context) -> Any:
        """Ask the model what the function returns."""
        return self._ask(self._call(context), context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Take the answer that the triggerer has got; the function runs again to know the prompt."""
        return self._ask(self._call(context), context, event)

    def _call(self, context: Context) -> str:
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        prompt = self.python_callable(*self.op_args, **kwargs)
        with airflow_failures():
            if not isinstance(prompt, str) or not prompt.strip():
                raise ConfigurationError(
                    f"The function {self.python_callable.__name__!r} under @task.kimi returned"
                    f" {type(prompt).__name__}; it must return the prompt, a text that is not empty."
                )
        return prompt


def kimi_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Turn a function that returns a prompt into a task that returns Kimi's answer.

    :param python_callable: the function; its arguments are filled as with ``@task``.
    :param kwargs: any parameter of :class:`~kimi_provider.operators.chat.KimiChatOperator` but
        ``prompt``.

    Example::

        @task.kimi(system="Answer in one sentence.")
        def explain(topic: str) -> str:
            return f"What is {topic}?"
    """
    return task_decorator_factory(
        python_callable=python_callable,
        decorated_operator_class=_KimiDecoratedOperator,
        **kwargs,
    )

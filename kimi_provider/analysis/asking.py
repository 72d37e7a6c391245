"""A typed answer through the caller, forgotten where it cannot be used so that a retry asks anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from kimi_provider.client.request import model_of
from kimi_provider.client.typed_answer import structured
from kimi_provider.exceptions import ModelOutputError

if TYPE_CHECKING:
    from kimi_provider.analysis.caller import Caller
    from kimi_provider.client.messages import ChatRequest, ChatResult
    from kimi_provider.client.typed_answer import Structured

T = TypeVar("T", bound=BaseModel)


async def typed_answer(
    caller: Caller, request: ChatRequest, output_type: type[T], name: str
) -> Structured[T]:
    """Ask for an instance of a type; one repair is asked for where the answer does not fit.

    :param name: name of the schema, as the host sees it.
    :raises ModelOutputError: if the answer cannot be used; the journal does not keep it.
    :raises BudgetExceededError: if a call does not fit the budget.
    :raises APIError: if a call fails.
    """
    asked: list[ChatRequest] = []

    async def complete(one: ChatRequest) -> ChatResult:
        asked.append(one)
        return await caller.complete(one)

    native = caller.client.native_schema(model_of(request, caller.client.config))
    try:
        return await structured(complete, request, output_type, native_schema=native, name=name)
    except ModelOutputError:
        for one in asked:
            await caller.reject(one)
        raise

"""Text larger than the window, read chunk by chunk; the model sorts, our code counts.

Each chunk is one call that says which records belong to which theme; calls run at the same time,
within the client's limits, and each is in the journal, so that a killed run pays for none of them
again. What the whole may cost is estimated, and held against the budget, before the first call.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.analysis.asking import typed_answer
from kimi_provider.analysis.elsewhere import CONCURRENT
from kimi_provider.analysis.partial import (
    SCHEMA_NAME,
    PartialFindings,
    PartResult,
    borne_out,
    map_request,
)
from kimi_provider.analysis.tokens import TokenEstimator
from kimi_provider.client.request import model_of
from kimi_provider.exceptions import BudgetExceededError
from kimi_provider.schemas import Number, Usage, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.budget import Budget
    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.chunks import Chunk, TextSource
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.client.config import ClientConfig

# What reading a chunk is taken to answer, thinking with it, and what merging and writing come to on
# top; tokens, for the estimate alone.
_CHUNK_ANSWER = 4_000
_SCHEMA_TOKENS = 400
_FINAL_INPUT, _FINAL_OUTPUT = 20_000, 20_000


class Estimate(Value):
    """What a plan is likely to take: calls, tokens, and US dollars where prices are known."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Number | None

    def __str__(self) -> str:
        """Return it in words, as progress and errors say it."""
        cost = "price unknown" if self.cost_usd is None else f"about {self.cost_usd:.2f} USD"
        return (
            f"{self.calls:,} calls, {self.input_tokens:,} tokens in, {self.output_tokens:,} out, {cost}"
        )


def estimated(
    chunks: Sequence[Chunk], template: PromptTemplate, config: ClientConfig, model: str | None
) -> Estimate:
    """Estimate what reading these chunks takes, with the merging and the report that follow."""
    request = map_request(template, chunks[0], {}, question="", model=model)
    prompt = TokenEstimator().estimate(request) + _SCHEMA_TOKENS
    output = len(chunks) * _CHUNK_ANSWER
    total = Usage(
        input_tokens=sum(chunk.tokens + prompt for chunk in chunks) + _FINAL_INPUT,
        output_tokens=output + _FINAL_OUTPUT,
    )
    price = config.price(model_of(request, config))
    return Estimate(
        calls=len(chunks) + 2,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        cost_usd=price.cost(total) if price else None,
    )


def check_estimate(estimate: Estimate, budget: Budget) -> None:
    """Refuse a plan that will not fit the budget, while nothing is paid.

    :raises BudgetExceededError: if it is likely to cost more, or to take more tokens or calls.
    """
    tokens = estimate.input_tokens + estimate.output_tokens
    for name, limit, need in (
        ("max_cost_usd", budget.max_cost_usd, estimate.cost_usd),
        ("max_tokens", budget.max_tokens, Decimal(tokens)),
        ("max_calls", budget.max_calls, Decimal(estimate.calls)),
    ):
        if limit is not None and need is not None and need > limit:
            raise BudgetExceededError(
                f"Reading this text takes more than {name}={limit}: {estimate}. Nothing was paid. Raise "
                f"{name}, choose a cheaper model, or read fewer rows."
            )


async def read_chunk(
    caller: Caller,
    template: PromptTemplate,
    source: TextSource,
    chunk: Chunk,
    *,
    sha256: str,
    model: str | None = None,
) -> PartResult:
    """Let the model sort the records of one chunk into themes.

    :param sha256: content hash of the dataset.
    :raises ModelOutputError: if the answer cannot be used.
    :raises BudgetExceededError: if the call does not fit the budget.
    :raises APIError: if the call fails.
    """
    with caller.preparing():
        texts = await asyncio.to_thread(source.read, chunk)
    text = template.front.text
    question = text.question if text else ""
    request = map_request(template, chunk, texts, question=question, model=model)
    answer = await typed_answer(caller, request, PartialFindings, SCHEMA_NAME)
    themes, refused = borne_out(answer.value, texts)
    if refused:
        caller.trace.add("refused", chunk=chunk.number, count=refused)
    usage = sum((result.usage for result in answer.results), Usage())
    caller.on_progress(
        f"Read part {chunk.number} of {chunk.of}: {len(texts):,} records, {len(themes)} themes"
    )
    last = answer.results[-1]
    return PartResult(
        number=chunk.number,
        of=chunk.of,
        source=sha256,
        read=tuple(texts),
        themes=themes,
        refused=refused,
        model=last.model,
        simulated=last.simulated,
        usage=usage,
    )


@dataclass
class _Reading:
    """Chunks on their way; after the first failure none is begun, and those under way are awaited."""

    caller: Caller
    template: PromptTemplate
    source: TextSource
    sha256: str
    model: str | None
    waiting: list[Chunk]
    parts: list[PartResult] = field(default_factory=list)
    failed: bool = False
    active: int = 0
    freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self) -> None:
        while self.waiting and not self.failed:
            chunk = self.waiting.pop(0)
            self.active += 1
            try:
                await self._read(chunk)
            except BaseException:
                self.failed = True
                raise
            finally:
                self.active -= 1
                self.freed.set()

    async def _read(self, chunk: Chunk) -> None:
        while True:
            self.freed.clear()
            try:
                part = await read_chunk(
                    self.caller, self.template, self.source, chunk, sha256=self.sha256, model=self.model
                )
            except BudgetExceededError:
                # Calls under way reserve the most that they can take; when one ends, there may be room.
                if self.active <= 1 or self.failed:
                    raise
                self.active -= 1
                await self.freed.wait()
                self.active += 1
            else:
                self.parts.append(part)
                return


async def read_all(
    caller: Caller,
    template: PromptTemplate,
    source: TextSource,
    chunks: Sequence[Chunk],
    *,
    sha256: str,
    model: str | None = None,
) -> tuple[PartResult, ...]:
    """Read all chunks, several at the same time; see :func:`read_chunk` for what is raised.

    After a failure, calls under way are let finish: they are paid for, and a retry finds them.
    """
    work = _Reading(caller, template, source, sha256, model, list(chunks))
    at_once = caller.client.config.max_concurrency or CONCURRENT
    workers = len(chunks) if caller.hands_over else min(at_once, len(chunks))
    done = await asyncio.gather(*(work.work() for _ in range(workers)), return_exceptions=True)
    for outcome in done:
        if isinstance(outcome, BaseException):
            raise outcome
    return tuple(sorted(work.parts, key=lambda part: part.number))

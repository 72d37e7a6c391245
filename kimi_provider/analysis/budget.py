"""What a run may spend. A call that does not fit is refused before it is made."""

from __future__ import annotations

import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.exceptions import BudgetExceededError, ConfigurationError
from kimi_provider.schemas import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.client.models import Price

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Need:
    """The most that one call can take.

    ``input_tokens`` is an estimate, ``output_tokens`` the cap that is sent, ``cost_usd`` the price of
    both with nothing found in the host's cache (``None`` where no price is known).
    """

    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None

    @property
    def tokens(self) -> int:
        """Prompt and answer together."""
        return self.input_tokens + self.output_tokens


class Budget:
    """Limits of one task, over all its attempts; ``None`` is no limit.

    :param max_cost_usd: money, in USD.
    :param max_tokens: prompt and answer tokens, summed over all calls.
    :param max_calls: calls to the model.
    :param deadline: seconds from now after which no further call is begun; of this attempt alone.
    :raises ConfigurationError: if a limit is negative or no number.

    What a call may take at most is reserved while it runs, so that calls made at the same time cannot
    together overrun what none of them would alone.
    """

    def __init__(
        self,
        *,
        max_cost_usd: Decimal | float | str | None = None,
        max_tokens: int | None = None,
        max_calls: int | None = None,
        deadline: float | None = None,
    ) -> None:
        self.max_cost_usd = _amount("max_cost_usd", max_cost_usd)
        self.max_tokens = max_tokens
        self.max_calls = max_calls
        self.deadline = deadline
        for name in ("max_tokens", "max_calls", "deadline"):
            _amount(name, getattr(self, name))
        self.spent = Usage()
        self._known_cost = Decimal(0)
        self._reserved: list[Need] = []
        self._began = time.monotonic()
        self._unpriced: set[str] = set()

    @property
    def remaining_cost(self) -> Decimal | None:
        """USD that are neither spent nor reserved; ``None`` without a limit."""
        if self.max_cost_usd is None:
            return None
        reserved = sum((need.cost_usd or Decimal(0) for need in self._reserved), Decimal(0))
        return self.max_cost_usd - self._known_cost - reserved

    @property
    def _tokens(self) -> int:
        """Tokens that are spent or reserved."""
        reserved = sum(need.tokens for need in self._reserved)
        return self.spent.input_tokens + self.spent.output_tokens + reserved

    def room(self, input_tokens: int, price: Price | None) -> float:
        """Return how many answer tokens a call with such a prompt could still have; may be infinite."""
        rooms = [math.inf]
        if self.max_tokens is not None:
            rooms.append(self.max_tokens - self._tokens - input_tokens)
        remaining = self.remaining_cost
        if remaining is not None and price is not None and price.output:
            left = remaining - price.cost(Usage(input_tokens=input_tokens))
            rooms.append(int(left / price.cost(Usage(output_tokens=1))))
        return min(rooms)

    def add(self, usage: Usage) -> None:
        """Count what was spent, by this attempt or an earlier one."""
        self.spent += usage
        self._known_cost += usage.cost_usd or Decimal(0)

    @contextmanager
    def reserve(self, need: Need) -> Iterator[None]:
        """Hold what a call may take while it runs; :meth:`add` what it took inside.

        :raises BudgetExceededError: if it does not fit; the call must then not be made.
        """
        self._check(need)
        self._reserved.append(need)
        try:
            yield
        finally:
            self._reserved.remove(need)

    def _check(self, need: Need) -> None:
        elapsed = time.monotonic() - self._began
        if self.deadline is not None and elapsed >= self.deadline:
            raise BudgetExceededError(
                f"The run's deadline of {self.deadline:g} s has passed ({elapsed:.0f} s); "
                "no further call is begun. Raise deadline or give the model less to do."
            )
        calls = self.spent.calls + len(self._reserved)
        if self.max_calls is not None and calls >= self.max_calls:
            raise BudgetExceededError(
                f"max_calls={self.max_calls} is reached: {calls} calls were made, one more is needed. "
                "Raise max_calls or give the model less to do."
            )
        tokens = self._tokens
        if self.max_tokens is not None and tokens + need.tokens > self.max_tokens:
            raise BudgetExceededError(
                f"max_tokens={self.max_tokens} would be exceeded: {tokens} tokens are spent or in use, "
                f"the next call needs up to {need.tokens} ({need.input_tokens} prompt, "
                f"{need.output_tokens} answer). Raise the limit, or lower the call's max_tokens."
            )
        self._check_cost(need)

    def _check_cost(self, need: Need) -> None:
        remaining = self.remaining_cost
        if remaining is None:
            return
        if need.cost_usd is None:
            if need.model not in self._unpriced:
                self._unpriced.add(need.model)
                log.warning(
                    "No price is known for model %s, so max_cost_usd cannot be kept for it; "
                    "set its prices in the connection's extra",
                    need.model,
                )
            return
        if need.cost_usd > remaining:
            raise BudgetExceededError(
                f"max_cost_usd={self.max_cost_usd} would be exceeded: {self._known_cost:.4f} USD are "
                f"spent, {max(remaining, Decimal(0)):.4f} USD are free, the next call may cost up to "
                f"{need.cost_usd:.4f} USD ({need.input_tokens} prompt and {need.output_tokens} answer "
                "tokens). Raise max_cost_usd, or lower the call's max_tokens."
            )


def check_window(need: Need, window: int | None) -> None:
    """Refuse a call whose prompt and answer cannot fit the model's window.

    :param window: tokens of prompt and answer together; ``None`` where it is not known.
    :raises BudgetExceededError: if they do not fit.
    """
    if window is not None and need.tokens > window:
        raise BudgetExceededError(
            f"The call does not fit the window of {need.model}: about {need.input_tokens} prompt tokens "
            f"and up to {need.output_tokens} answer tokens are needed, {window} are there. "
            "Shorten the prompt, or lower max_tokens."
        )


def _amount(name: str, value: Decimal | float | str | None) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise ConfigurationError(f"{name}={value!r} is no limit; give a number of at least 0, or None")
    return amount

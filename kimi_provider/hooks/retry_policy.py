"""When a task that called Kimi is tried again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import RetryDecision, RetryPolicy

from kimi_provider.exceptions import APIError, ConfigurationError, KimiProviderError

if TYPE_CHECKING:
    from airflow.sdk import Context

# Tasks that failed together must not come back together.
_SPREAD = 0.25
# A host that asks for more than this is not meant, but its clock or its proxy broken.
_LONGEST_ASKED = timedelta(days=1)


@dataclass(frozen=True)
class KimiRetryPolicy(RetryPolicy):
    """Retries what passes by itself, late enough, and fails at once what does not.

    The client has tried each call several times within a minute or two before its error gets here,
    so the delays here count in minutes: they double from ``first_delay`` to ``max_delay``, each with
    up to a quarter added at random. Where the host asks to wait longer than ``first_delay``, that is
    what is waited.

    =====================================================================  =========================
    Rate limit, overload, 5xx, time-out, lost connection, broken answer    retried, with these delays
    Quota, daily limit, 400, 401, 403, 404, context length, budget, a      failed at once
    wrong setting: every error whose ``retryable`` is false
    Anything else, such as an unusable answer or an error of other code    as without a policy
    =====================================================================  =========================

    Airflow never tries more often than ``retries`` says. With the delays as they are, ``retries=12``
    outlasts an overload of four hours.

    :param first_delay: before the second try.
    :param max_delay: the longest delay, unless the host asks for more.
    :raises ConfigurationError: if ``first_delay`` is not above 0, or is longer than ``max_delay``.

    Example::

        KimiChatOperator(
            task_id="ask", prompt="…", retries=12, retry_policy=KimiRetryPolicy()
        )
    """

    first_delay: timedelta = timedelta(minutes=1)
    max_delay: timedelta = timedelta(minutes=30)

    def __post_init__(self) -> None:
        """Check the delays."""
        if not timedelta(0) < self.first_delay <= self.max_delay:
            raise ConfigurationError(
                f"first_delay is {self.first_delay} and max_delay is {self.max_delay}; the first must be"
                " above 0 and no longer than the second."
            )

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 — Airflow's signature; it keeps this bound itself
        context: Context | None = None,  # noqa: ARG002 — Airflow's signature
    ) -> RetryDecision:
        """Decide by the error.

        :param exception: what the task raised.
        :param try_number: the try that failed, from 1.
        """
        name = type(exception).__name__
        if not isinstance(exception, KimiProviderError):
            return RetryDecision.default()
        if not exception.retryable:
            return RetryDecision.fail(f"{name}: another try cannot help")
        if not isinstance(exception, APIError):
            return RetryDecision.default()
        asked = getattr(exception, "retry_after", None)
        delay = self._delay(try_number, asked)
        said = f", the host asked for {asked:.0f} s" if asked is not None else ""
        return RetryDecision.retry(delay, f"{name}: next try in {delay.total_seconds():.0f} s{said}")

    def _delay(self, try_number: int, asked: float | None) -> timedelta:
        first, longest = self.first_delay.total_seconds(), self.max_delay.total_seconds()
        if asked is not None and asked > first:
            seconds = min(asked, _LONGEST_ASKED.total_seconds())
        else:
            # The exponent is bounded: 2.0 to the power of a large number overflows.
            seconds = min(first * 2.0 ** min(try_number - 1, 64), longest)
        return timedelta(seconds=seconds * random.uniform(1, 1 + _SPREAD))  # noqa: S311 — no secret

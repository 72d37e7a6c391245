"""When to ask an API again, and how long to wait before."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from kimi_provider.exceptions import SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of failures that may pass."""

_BACKOFF = wait_random_exponential(multiplier=0.5, max=30)
_sleep = asyncio.sleep
# For longer, a held worker is worse than a failed task that Airflow runs again.
_LONGEST_WAIT = 120.0


class PassingError(Exception):
    """A failure that may pass.

    :param wait: seconds that the API asks to wait.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


async def with_retries(
    ask: Callable[[], Awaitable[T]], *, tries: int, on_wait: Callable[[str], None]
) -> T:
    """Ask, and ask again while the failure may pass.

    :param tries: how often to ask at most.
    :param on_wait: told before each further try.
    :raises SourceUnavailableError: after the last try, or if the API asks to wait beyond two minutes.
    """

    def say(state: RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action else 0.0
        on_wait(
            f"{_error(state)} Trying again in {pause:.1f} s ({state.attempt_number} of {tries} failed)."
        )

    retrying = AsyncRetrying(
        stop=stop_after_attempt(tries),
        retry=retry_if_exception(lambda e: isinstance(e, PassingError) and e.wait <= _LONGEST_WAIT),
        wait=_pause,
        before_sleep=say,
        sleep=_sleep,
        reraise=True,
    )

    async def call() -> T:  # tenacity awaits coroutine functions only
        return await ask()

    try:
        return await retrying(call)
    except PassingError as error:
        asked = f" It asks to wait {error.wait:.0f} s." if error.wait > _LONGEST_WAIT else ""
        raise SourceUnavailableError(f"{error}{asked}") from error.__cause__


def asked_wait(header: str | None) -> float:
    """Return the seconds that ``Retry-After`` (RFC 9110) asks for, as a number or as a date."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header)) if header.strip().isdigit() else _until(header)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _until(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())


def _pause(state: RetryCallState) -> float:
    error = _error(state)
    asked = error.wait if isinstance(error, PassingError) else 0.0
    return max(asked, _BACKOFF(state))


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None

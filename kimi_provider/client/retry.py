"""The one owner of retries: neither httpx nor anything above tries a call again."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, TypeVar

from structlog.contextvars import bound_contextvars
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential, wait_random

from kimi_provider.exceptions import APIConnectionError, APIError, APIStatusError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kimi_provider.client.config import ClientConfig

logger = logging.getLogger("kimi_provider.client")

T = TypeVar("T")
# Half a second, doubled up to 32, as kimi-code waits.
_backoff = wait_exponential(multiplier=0.5, max=32) + wait_random(0, 0.5)
_SPREAD = 0.25
# Statuses by which a host says that it did not take the request.
_REFUSED = {429, 503}


async def with_retries(
    attempt: Callable[[int], Awaitable[T]],
    config: ClientConfig,
    *,
    model: str | None,
    idempotent: bool = True,
    repeatable: Callable[[], bool] = lambda: True,
) -> T:
    """Make ``attempt`` until it succeeds, must not be repeated, or was made often enough.

    :param attempt: makes one call; is given its number, from 1.
    :param model: for the log.
    :param idempotent: whether the call may be made again when it is not known whether the host took
        it (a lost connection, a 500).
    :param repeatable: asked after a failure: whether another attempt still makes sense.
    :raises APIError: the last attempt's.
    """

    def again(error: BaseException) -> bool:
        if not isinstance(error, APIError) or not error.retryable or _status(error) == 499:  # noqa: PLR2004 — the caller closed it
            return False
        if not repeatable() or _asked_wait(error) > config.max_retry_wait:
            return False
        return idempotent or (isinstance(error, APIStatusError) and error.status in _REFUSED)

    def log(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        request_ids: tuple[str, ...] = getattr(error, "request_ids", ())
        fields = {
            "kimi_provider": config.host.name,
            "kimi_model": model,
            "kimi_error": type(error).__name__,
            "kimi_attempts": state.attempt_number,
            "kimi_request_ids": list(request_ids),
        }
        with bound_contextvars(**fields):
            logger.info(
                "%s %s: %s %s, attempt %d of %d, next in %.1f s, request id %s",
                config.host.name,
                model or "-",
                type(error).__name__,
                _status(error) or "-",
                state.attempt_number,
                config.max_attempts,
                state.upcoming_sleep,
                ", ".join(request_ids) or "-",
            )

    retrying = AsyncRetrying(
        stop=stop_after_attempt(config.max_attempts),
        wait=_wait,
        retry=retry_if_exception(again),
        before_sleep=log,
        reraise=True,
    )
    async for trial in retrying:
        with trial:
            return await attempt(trial.retry_state.attempt_number)
    raise APIConnectionError("No attempt was made.")  # pragma: no cover — tenacity returns or raises


def _wait(state: RetryCallState) -> float:
    """Wait as long as the host asks and a little more, so that waiting callers do not come at once."""
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", None)
    if asked is None:
        return _backoff(state)
    return float(asked) + random.uniform(0, _SPREAD * max(1.0, asked))  # noqa: S311 — no secret


def _asked_wait(error: APIError) -> float:
    asked = getattr(error, "retry_after", None)
    return float(asked) if asked is not None else 0.0


def _status(error: BaseException | None) -> int | None:
    return getattr(error, "status", None)

from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import timedelta

import pytest
from airflow.sdk import DAG, RetryPolicy
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.serialization.serialized_objects import DagSerialization

from kimi_provider import exceptions
from kimi_provider.exceptions import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    ContextLengthError,
    DailyLimitError,
    EmptyAnswerError,
    KimiProviderError,
    NotFoundError,
    OverloadedError,
    QuotaExceededError,
    RateLimitError,
    ResponseValidationError,
    ServerError,
)
from kimi_provider.hooks.retry_policy import KimiRetryPolicy
from kimi_provider.operators.chat import KimiChatOperator

MINUTE = 60.0


def decide(error: BaseException, try_number: int = 1):
    return KimiRetryPolicy().evaluate(error, try_number, max_tries=12)


def status(kind: type[APIStatusError], *, retry_after: float | None = None) -> APIStatusError:
    return kind("planted-reply-4711", status=429, retry_after=retry_after)


@pytest.mark.parametrize(
    "error",
    [
        status(RateLimitError),
        status(OverloadedError),
        status(ServerError),
        APIConnectionError("gone"),
        APITimeoutError("silent"),
        ResponseValidationError("HTML"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_passes_is_retried_after_minutes_that_grow(error) -> None:
    decisions = [decide(error, number) for number in range(1, 13)]
    assert {decision.action for decision in decisions} == {RetryAction.RETRY}
    delays = [decision.retry_delay.total_seconds() for decision in decisions]
    for number, delay in enumerate(delays):
        expected = min(MINUTE * 2**number, 30 * MINUTE)
        assert expected <= delay <= 1.25 * expected
    assert sum(delays) >= 4 * 60 * MINUTE


def test_delays_are_spread() -> None:
    assert len({decide(status(OverloadedError)).retry_delay for _ in range(20)}) > 1


def test_a_late_try_does_not_overflow() -> None:
    assert decide(status(OverloadedError), 100_000).retry_delay <= 1.25 * timedelta(minutes=30)


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(600.0, 600.0), (7200.0, 7200.0), (1e12, 24 * 3600.0), (1.0, MINUTE), (0.0, MINUTE)],
)
def test_a_host_that_asks_for_more_gets_it(asked: float, waited: float) -> None:
    delay = decide(status(RateLimitError, retry_after=asked)).retry_delay.total_seconds()
    assert waited <= delay <= 1.25 * waited


@pytest.mark.parametrize(
    "error",
    [
        status(QuotaExceededError),
        status(DailyLimitError, retry_after=30.0),
        status(AuthenticationError),
        status(BadRequestError),
        status(ContextLengthError),
        status(NotFoundError),
        BudgetExceededError("over"),
        ConfigurationError("wrong"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_does_not_pass_fails_at_once(error) -> None:
    assert decide(error).action is RetryAction.FAIL


@pytest.mark.parametrize("error", [EmptyAnswerError("x"), ValueError("x"), KeyboardInterrupt()])
def test_the_rest_is_left_to_the_task(error) -> None:
    assert decide(error).action is RetryAction.DEFAULT


def test_every_error_that_no_retry_helps_fails() -> None:
    kinds = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass)]
    for kind in kinds:
        error = kind.__new__(kind)
        assert isinstance(error, KimiProviderError)
        if not kind.retryable:
            assert decide(error).action is RetryAction.FAIL, kind


def test_the_reason_holds_nothing_of_the_errors_text() -> None:
    for error in (status(OverloadedError, retry_after=600.0), status(BadRequestError)):
        assert "4711" not in decide(error).reason


@pytest.mark.parametrize(("first", "longest"), [(0, 5), (-1, 5), (6, 5)])
def test_delays_that_cannot_be_are_refused(first: int, longest: int) -> None:
    with pytest.raises(ConfigurationError, match="first_delay"):
        KimiRetryPolicy(timedelta(minutes=first), timedelta(minutes=longest))


def test_a_dag_with_the_policy_can_be_stored() -> None:
    with DAG("policy", schedule=None) as dag:
        KimiChatOperator(task_id="ask", prompt="?", retries=12, retry_policy=KimiRetryPolicy())
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert stored.get_task("ask").has_retry_policy
    assert isinstance(dag.get_task("ask").retry_policy, RetryPolicy)


def test_importing_the_policy_loads_no_client() -> None:
    code = (
        "import sys; from airflow.sdk import RetryPolicy; before = set(sys.modules);"
        "import kimi_provider.hooks.retry_policy; new = set(sys.modules) - before;"
        "print(sorted(m for m in new if not m.startswith(('airflow', 'kimi_provider.hooks'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.strip().splitlines()[-1]
    assert loaded.replace("'kimi_provider', ", "") == "['kimi_provider.exceptions']"

"""How this provider's errors become Airflow's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from kimi_provider import exceptions
from kimi_provider.exceptions import APIError, APIStatusError, KimiProviderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def airflow_failures() -> Iterator[None]:
    """Fail the task for good where a retry cannot help, so that none is wasted (or paid).

    :raises AirflowFailException: for an error with ``retryable = False``; others pass through, and
        Airflow retries them as the task says.
    """
    try:
        yield
    except KimiProviderError as error:
        if error.retryable:
            raise
        message = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
        raise AirflowFailException(message) from error


def describe_failure(error: KimiProviderError) -> dict[str, Any]:
    """Return an error as JSON, to be told by a trigger's event; see :func:`restore_failure`.

    No error of this provider holds a secret, a prompt or a recipient, so Airflow may store and log it.
    """
    told: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
    if isinstance(error, APIError):
        told["request_ids"] = list(error.request_ids)
    if isinstance(error, APIStatusError):
        told |= {
            "status": error.status,
            "error_type": error.error_type,
            "retry_after": error.retry_after,
        }
    return told


def restore_failure(told: Mapping[str, Any]) -> KimiProviderError:
    """Make the error again that :func:`describe_failure` told of."""
    fields = dict(told)
    cls, message = getattr(exceptions, fields.pop("error"), None), fields.pop("message")
    if "request_ids" in fields:
        fields["request_ids"] = tuple(fields["request_ids"])
    if not isinstance(cls, type) or not issubclass(cls, KimiProviderError):
        # Of a newer or older version of this provider in the triggerer.
        return KimiProviderError(message)
    return cls(message, **fields)

"""How this provider's errors become Airflow's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.exceptions import KimiProviderError

if TYPE_CHECKING:
    from collections.abc import Iterator


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

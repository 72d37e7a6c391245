"""One notice to the owner of a report where a stage of its chain failed; its readers get nothing."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError, DeliveryError, KimiProviderError
from kimi_provider.notifications.sendgrid import SendGridNotifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow.sdk import BaseNotifier, Context

    from kimi_provider.reports.notice import Notice
    from kimi_provider.storage import StoragePath

log = logging.getLogger(__name__)


class OwnerNotifier(SendGridNotifier):
    """Mails the owner what failed: error, task, link to the log, and what to do.

    The text of an error is shown where this provider raised it, since those hold no secret; of any
    other only its class.

    :param kwargs: the parameters of :class:`~kimi_provider.notifications.sendgrid.SendGridNotifier`.
    """

    def notify(self, context: Context) -> None:
        """Send the notice, and wait for it to be queued."""
        if self.html_content is None and self.text_content is None:
            try:
                notice = asyncio.run(_drawn(context))
            except Exception as error:  # noqa: BLE001 — a plain notice is better than none
                log.warning("The notice is plain, since its template failed: %s", error)
            else:
                self.subject = self.subject or notice.subject
                self.html_content, self.text_content = notice.html, notice.text
        super().notify(context)


class OncePerRun:
    """A callback that does what another does, once for each run of a DAG, whatever fails in it.

    A run that is cleared may tell again. Where the storage does not answer, it tells, and where it could
    not tell, the next failure does: twice is better than never.

    :param notifier: any Airflow notifier, or other callable that takes a context.
    :param scope: tells several of them in one DAG apart, such as the id of a task group.
    """

    def __init__(self, notifier: Callable[[Context], Any], scope: str = "") -> None:
        self.notifier = notifier
        self.scope = scope

    def __call__(self, context: Context) -> None:
        """Notify, unless another task of the run has."""
        from kimi_provider.storage import remove

        if not self._is_first(context):
            return
        try:
            self.notifier(context)
        except Exception:
            with suppress(Exception):  # what failed may be the storage, and what is raised says more
                remove(self._mark(context))
            raise

    def _mark(self, context: Context) -> StoragePath:
        from kimi_provider.hooks.storage import run_folder

        clears = getattr(context.get("dag_run"), "clear_number", 0) or 0
        name = hashlib.sha256(f"{self.scope}\0{clears}".encode()).hexdigest()[:16]
        return run_folder(context) / f"owner-told-{name}"

    def _is_first(self, context: Context) -> bool:
        from kimi_provider.storage import create_bytes

        try:
            create_bytes(self._mark(context), f"{context['ti'].task_id}\n".encode())
        except FileExistsError:
            log.info("The owner has been told that this run failed")
            return False
        except Exception as error:  # noqa: BLE001 — what failed may be the storage
            log.warning("It is not known whether the owner has been told: %s", type(error).__name__)
        return True


def owner_notifier(
    owner: str | Iterable[str] | BaseNotifier,
    *,
    scope: str = "",
    sendgrid_conn_id: str = "sendgrid_default",
) -> OncePerRun:
    """Return an ``on_failure_callback`` that tells the owner once a run, however many tasks fail.

    :param owner: addresses with commas between, or a list, which get a mail; or any Airflow notifier.
    :param scope: tells several of them in one DAG apart.
    :param sendgrid_conn_id: id of the connection that sends the mail.
    :raises ConfigurationError: if there is no address.

    Example::

        owner = owner_notifier("data-team@example.org")
        with DAG("sales", default_args={"on_failure_callback": owner}): ...
    """
    if callable(owner):
        return OncePerRun(owner, scope)
    if not owner:
        raise ConfigurationError("owner is empty; name an address, or leave it out.")
    return OncePerRun(OwnerNotifier(to=owner, sendgrid_conn_id=sendgrid_conn_id), scope)


async def _drawn(context: Context) -> Notice:
    from datetime import UTC, datetime

    from airflow.sdk import DAG

    from kimi_provider.hooks.templates import template_search_path
    from kimi_provider.reports.alert_document import Failure
    from kimi_provider.reports.notice import build_notice

    ti: Any = context["ti"]
    dag = context.get("dag")
    known = dag if isinstance(dag, DAG) else None
    index = getattr(ti, "map_index", None)
    mapped = f"[{index}]" if index is not None and index >= 0 else ""
    log_url = getattr(ti, "log_url", None) or ""
    now = datetime.now(UTC)
    tries = (getattr(ti, "max_tries", 0) or 0) + 1
    failure = Failure(
        task=f"{ti.task_id}{mapped}",
        dag=ti.dag_id,
        run=ti.run_id,
        error=_text(context.get("exception")),
        at=now,
        attempt=ti.try_number,
        attempts=max(tries, ti.try_number),
        steps=_steps(context),
        log_url=log_url if log_url.startswith("http") else "",
    )
    search_path = (*template_search_path("alerts", known), *template_search_path("reports", known))
    return await build_notice("failure", failure, search_path=search_path, now=now)


def _own(error: object) -> KimiProviderError | None:
    """Return the error of ours that is behind an error, ``None`` where there is none."""
    while isinstance(error, BaseException):
        if isinstance(error, KimiProviderError):
            return error
        error = error.__cause__
    return None


def _text(error: object) -> str:
    own = _own(error)
    if own is not None:
        return f"{type(own).__name__}: {own}"
    if isinstance(error, BaseException):
        return f"{type(error).__name__} (its text is in the log)"
    return "The task ended without an error of its own (it may have been killed); see the log."


def _steps(context: Mapping[str, Any]) -> tuple[str, ...]:
    own = _own(context.get("exception"))
    if isinstance(own, DeliveryError):
        told = "Some readers may have got the mail; the task's log and result say who."
    else:
        told = "The readers of the report were told nothing."
    again = (
        "Clear the failed task when the cause is over."
        if own is not None and own.retryable
        else "Mend what the error names, then clear the failed task."
    )
    return (told, f"{again} Calls of the model that were finished are not paid again.")

"""Telling: each notification of a run goes to its receiver, an Airflow notifier or our own mail."""

from __future__ import annotations

import asyncio
import copy
import logging
from dataclasses import dataclass, field
from http.client import HTTPException
from socket import gaierror
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.book import Progress
from kimi_provider.alerts.desk import Claim, receipt_of
from kimi_provider.alerts.routing import MAIL
from kimi_provider.alerts.settings import Mail
from kimi_provider.alerts.wording import fields_of, title_of
from kimi_provider.exceptions import ConfigurationError, DeliveryError
from kimi_provider.hooks.apprise import with_answers
from kimi_provider.hooks.recipients import read_recipients
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.hooks.storage import open_uri, task_folder
from kimi_provider.schemas import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from kimi_provider.alerts.book import Item
    from kimi_provider.alerts.desk import Desk, Opening
    from kimi_provider.alerts.message import Message
    from kimi_provider.alerts.recipients_from import Source
    from kimi_provider.alerts.settings import AlertSettings
    from kimi_provider.alerts.wording import Place
    from kimi_provider.schemas import DeliveryReceipt, ReportRef

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MailParts:
    """What the alert's mails have in common; see the parameters of ``AlertOperator``."""

    to: str | Source | Sequence[str | Source] = field(repr=False)
    sendgrid_conn_id: str
    from_email: str | None = None
    from_name: str | None = None
    reply_to: str | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Telling:
    """What a run has to tell, and by what means.

    :param desk: claims each notification before it leaves.
    :param opening: what the run saw and has to tell.
    :param settings: the receivers.
    :param place: the run, as readers know it.
    :param mail: what the mails have in common.
    :param report: the report, where there is one.
    """

    desk: Desk
    opening: Opening
    settings: AlertSettings
    place: Place
    mail: MailParts
    report: ReportRef | None = None

    def tell_all(self, context: Context) -> tuple[DeliveryReceipt, ...]:
        """Tell each receiver; the failure of one keeps no other from being told.

        :param context: the context that Airflow gives to ``execute``.
        :returns: a receipt for each mail's recipient, and one for each notifier by its receiver's name.
        :raises DeliveryError: if any is not known to be told; retryable if another try would tell it.
        :raises Exception: what kept a mail from being made, once the others are told.
        """
        receipts: list[DeliveryReceipt] = []
        failures: list[DeliveryError] = []
        unmade: list[Exception] = []
        for item in self.opening.items:
            try:
                receipts += self._tell(item, context)
            except DeliveryError as error:
                failures.append(error)
                receipts += error.receipts  # type: ignore[arg-type]  # they are receipts
            except Exception as error:  # noqa: BLE001 — raised below, when nobody else waits for a word
                unmade.append(error)
        if unmade:
            for other in (*unmade[1:], *failures):
                unmade[0].add_note(str(other))
            raise unmade[0]
        if failures:
            raise DeliveryError(
                "\n".join(str(failure) for failure in failures),
                receipts=tuple(receipts),
                retryable=any(failure.retryable for failure in failures),
            ) from failures[0]
        return tuple(receipts)

    def _tell(self, item: Item, context: Context) -> Sequence[DeliveryReceipt]:
        receiver = self.settings.receivers.get(item.receiver)
        if isinstance(receiver, Mail):
            return self._send(item, receiver.to, context)
        if receiver is not None:
            return self._notify(item, receiver, context)
        if item.receiver == MAIL:
            return self._send(item, self.mail.to, context)
        log.warning("The receiver %r is no longer in the settings, and is told nothing.", item.receiver)
        self.desk.close(item, Progress.SENT, "The receiver is gone.")
        return ()

    def _send(
        self, item: Item, to: str | Source | Sequence[str | Source], context: Context
    ) -> tuple[DeliveryReceipt, ...]:
        from kimi_provider.alerts.ledger import message_id
        from kimi_provider.hooks.metrics import mails_of

        if not to:
            raise ConfigurationError(
                f"The receiver {item.receiver!r} is a mail without recipients: give the alert a 'to', "
                "or a route to another receiver."
            )
        hook = SendGridHook(self.mail.sendgrid_conn_id)
        people = read_recipients(to)
        self._message(hook, item, context)  # what cannot be made is no claim
        claim, item = self.desk.claim(item)
        if claim is Claim.SUPERSEDED:
            return ()
        message = self._message(hook, item, context)
        # Whatever else the claim says, the ledger decides: it knows of each recipient what left.
        ti = context["ti"]
        scope = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index or 0)
        delivering = hook.deliver(
            message,
            people,
            message_id=message_id(*scope, content=item.id),
            ledger=task_folder(context) / "ledger",
            on_sent=mails_of(ti),
        )
        try:
            receipts = asyncio.run(delivering)
        except Exception as error:
            self.desk.close(item, _progress(error), type(error).__name__)
            raise
        self.desk.close(item, Progress.SENT)
        log.info("%d mails are queued at SendGrid", len(receipts))
        return receipts

    def _notify(self, item: Item, notifier: Any, context: Context) -> tuple[DeliveryReceipt, ...]:
        from kimi_provider.hooks.metrics import count_notification

        claim, item = self.desk.claim(item)
        if claim is Claim.SUPERSEDED:
            return ()
        if claim is Claim.DONE:
            return (receipt_of(item, Progress.SENT),)
        if claim is Claim.AMBIGUOUS:
            raise _not_told(item, Progress.AMBIGUOUS, "an earlier try was cut off while it told it")
        try:
            # Airflow renders a notifier in place, and this one may serve other alerts and later tries.
            with_answers(copy.copy(notifier))({**context, "kimi_alert": fields_of(item, self.place)})
        except Exception as error:  # a notifier raises whatever its service's library does
            progress = Progress.AMBIGUOUS if _unanswered(error) else Progress.FAILED
            self.desk.close(item, progress, type(error).__name__)
            count_notification(context["ti"], item.receiver, progress.value)
            raise _not_told(item, progress, type(error).__name__) from error
        self.desk.close(item, Progress.SENT)
        count_notification(context["ti"], item.receiver, Progress.SENT.value)
        log.info("The receiver %s is told of %d alerts", item.receiver, len(item.events))
        return (receipt_of(item, Progress.SENT),)

    def _message(self, hook: SendGridHook, item: Item, context: Context) -> Message:
        from kimi_provider.alerts.message import Attachment, InlineFile
        from kimi_provider.storage import read_bytes, read_text

        report = self.report
        if report is None or all(event.status == "resolved" for event in item.events):
            return self._notice(hook, item, context)
        images = [
            InlineFile(image.content_id, read_bytes(open_uri(image.uri)), image.media_type)
            for image in report.images
        ]
        return self._build(
            hook,
            subject=f"{self._mark()}{report.subject}",
            html=read_text(open_uri(report.html_uri)),
            text=read_text(open_uri(report.text_uri)),
            images=tuple(images),
            attachments=tuple(
                Attachment(file.name, read_bytes(open_uri(file.uri)), file.media_type)
                for file in report.attachments
            ),
        )

    def _notice(self, hook: SendGridHook, item: Item, context: Context) -> Message:
        """Return a mail of its own, where there is no report to send."""
        from kimi_provider.alerts.message import InlineFile
        from kimi_provider.hooks.notices import draw_notice

        dag = context.get("dag")
        notice = asyncio.run(draw_notice(item, self.place, self.settings, dag))
        images = [InlineFile(p.content_id, p.png, p.media_type) for p in notice.pictures]
        return self._build(
            hook,
            subject=title_of(item),
            html=notice.html,
            text=notice.text,
            images=tuple(images),
        )

    def _build(self, hook: SendGridHook, **parts: Any) -> Message:
        return hook.get_conn().config.message(
            from_email=self.mail.from_email,
            from_name=self.mail.from_name,
            reply_to=self.mail.reply_to,
            categories=self.mail.categories,
            **parts,
        )

    def _mark(self) -> str:
        """Return how bad the run is: a report tells of all of it, not of what is new alone."""
        fired = [one.severity for one in self.opening.seen if one.fired]
        severity = max(fired, key=lambda s: s.rank, default=Severity.INFO)
        return "" if severity is Severity.INFO else f"[{severity.value.capitalize()}] "


def _progress(error: Exception) -> Progress:
    """Return what is known of a mail that not everyone has got."""
    receipts = getattr(error, "receipts", ())
    # If it may have left for one, a later run does not tell all of them again; a retry tells the others.
    left = any(one.status.may_have_left for one in receipts)
    return Progress.AMBIGUOUS if left else Progress.FAILED


def _not_told(item: Item, progress: Progress, why: str) -> DeliveryError:
    failed = progress is Progress.FAILED
    advice = (
        "Run the task again: it tells only those who are not known to be told."
        if failed
        else "Look there whether it came; to tell it again, set resend_ambiguous in the settings."
    )
    return DeliveryError(
        f"The receiver {item.receiver!r} is not known to be told ({why}). {advice}",
        receipts=(receipt_of(item, progress, why),),
        retryable=failed,
    )


# By name, since each service's library has its own: no answer came, but the request may have arrived.
_UNANSWERED = ("timeout", "readerror", "writeerror", "protocolerror", "disconnected", "perhapstaken")
# What comes before a request.
_UNSENT = ("connecttimeout", "connecterror", "newconnection", "pooltimeout")


def _unanswered(error: BaseException | None) -> bool:
    """Whether no answer came, so that the receiver may have been told."""
    found = False
    while error is not None:
        name = type(error).__name__.lower()
        if isinstance(error, ConnectionRefusedError | gaierror) or any(one in name for one in _UNSENT):
            return False
        found = found or isinstance(error, TimeoutError | ConnectionError | HTTPException)
        found = found or any(one in name for one in _UNANSWERED)
        error = error.__cause__ or error.__context__
    return found

"""Airflow's own mails by SendGrid: the function for ``[email] email_backend``."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kimi_provider.alerts.message import Message
    from kimi_provider.storage import StoragePath

_DEFAULT_CONN_ID = "sendgrid_default"
# What Airflow hands over where nobody has set [email] email_conn_id.
_AIRFLOWS_CONN_ID = "smtp_default"

log = logging.getLogger(__name__)


def send_email(  # noqa: PLR0917 — Airflow's signature
    to: str | Iterable[str],
    subject: str,
    html_content: str,
    files: Iterable[str] | None = None,
    dryrun: bool = False,
    cc: str | Iterable[str] | None = None,
    bcc: str | Iterable[str] | None = None,
    mime_subtype: str = "mixed",  # noqa: ARG001 — SendGrid makes the mail's structure
    mime_charset: str = "utf-8",  # noqa: ARG001 — SendGrid's JSON is UTF-8
    conn_id: str | None = None,
    from_email: str | None = None,
    custom_headers: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    """Send a mail by SendGrid, as ``airflow.utils.email.send_email`` calls it.

    Set ``[email] email_backend = kimi_provider.notifications.email.send_email``, and Airflow's mails on
    failures and retries leave by the connection of ``[email] email_conn_id``. Each recipient gets a mail
    of their own, which shows nobody else. It keeps no ledger: Airflow says neither run nor task.

    :param to: addresses with commas or semicolons between, or a list.
    :param subject: one line; line breaks become spaces.
    :param html_content: the HTML part; the plain-text part is made from it.
    :param files: paths or URIs of what goes along.
    :param dryrun: whether it is only built and checked.
    :param cc: who gets a copy.
    :param bcc: who gets a copy unseen.
    :param mime_subtype: has no meaning here.
    :param mime_charset: has no meaning here.
    :param conn_id: the connection; ``sendgrid_default`` also in place of Airflow's ``smtp_default``.
    :param from_email: sender's address; by default the connection's.
    :param custom_headers: headers of your own.
    :param kwargs: of these ``from_name``, ``reply_to``, ``categories``, ``custom_args`` and ``sandbox``
        have a meaning; others are named in a warning.
    :raises ConfigurationError: if the connection, a recipient or a part is malformed; nothing was sent.
    :raises DeliveryError: if any mail is not known to be queued.
    """
    from kimi_provider.alerts.addresses import everyone
    from kimi_provider.alerts.payload import build_requests
    from kimi_provider.hooks.metrics import mails_of
    from kimi_provider.hooks.sendgrid import SendGridHook

    wanted = conn_id if conn_id and conn_id != _AIRFLOWS_CONN_ID else _DEFAULT_CONN_ID
    client = SendGridHook(wanted).get_conn()
    options = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
    if kwargs:
        log.warning("SendGrid's e-mail backend has no use for %s.", ", ".join(sorted(kwargs)))
    message: Message = client.config.message(
        **_parts(subject, html_content, files, custom_headers),
        from_email=from_email,
        **options,
    )
    people = everyone(to, cc or (), bcc or (), allowed_domains=client.config.allowed_domains)
    own_id = uuid.uuid4().hex
    if dryrun:
        build_requests(message, people, message_id=own_id)
        log.info("The mail would leave to %d recipients; this is a dry run.", len(people))
        return
    with tempfile.TemporaryDirectory(prefix="kimi-mail-") as folder:
        ledger = cast("StoragePath", Path(folder))
        asyncio.run(
            client.deliver(
                message,
                to,
                message_id=own_id,
                ledger=ledger,
                cc=cc or (),
                bcc=bcc or (),
                on_sent=mails_of(None),
            )
        )


_OPTIONS = ("from_name", "reply_to", "categories", "custom_args", "sandbox")


def _parts(
    subject: str, html: str, files: Iterable[str] | None, headers: Mapping[str, Any] | None
) -> dict[str, Any]:
    from kimi_provider.alerts.addresses import one_line
    from kimi_provider.alerts.plain import text_of_html
    from kimi_provider.hooks.mail_files import attachments

    line = one_line(str(subject))
    return {
        "subject": line,
        "html": html,
        "text": text_of_html(html) or line,
        "attachments": attachments(files or ()),
        "headers": {name: str(value) for name, value in (headers or {}).items()},
    }

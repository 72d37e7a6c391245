"""E-mail by SendGrid: once a recipient, with a receipt for each."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.hooks.storage import task_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from kimi_provider.alerts.message import Message
    from kimi_provider.alerts.recipients_from import Source
    from kimi_provider.alerts.sendgrid import SendGridClient
    from kimi_provider.schemas import DeliveryReceipt


class SendGridEmailOperator(BaseOperator):
    """Sends a mail to each recipient once; returns a list of receipts.

    What is known of each mail is written down before and after it leaves, so that a retry, and a cleared
    task, send only to those of whom it is known that nothing left. Each recipient of ``to``, ``cc`` and
    ``bcc`` gets a mail of their own, which shows nobody else; with ``shared`` all get one mail with the
    usual headers.

    :param to: who gets it: addresses as text with commas or semicolons between, ``FromQuery``,
        ``FromVariable``, ``FromFile`` (see :mod:`kimi_provider.alerts.recipients_from`), or a list of
        these. (templated)
    :param subject: one line; may be empty beside ``template_id``. (templated)
    :param html_content: the HTML part, or the name of an ``.html`` file. Values of a template are put in
        as they are, as in all operators of Airflow: write ``{{ value | e }}`` for what is not HTML.
        (templated)
    :param text_content: the plain-text part; made from the HTML where only that is given. (templated)
    :param files: what goes along: paths or URIs, or ``attachments`` of a report. (templated)
    :param images: pictures that the HTML shows as ``cid:…``: path or URI by content id. (templated)
    :param cc: who gets a copy. (templated)
    :param bcc: who gets a copy unseen. (templated)
    :param shared: whether all recipients share one mail, 1000 at most.
    :param from_email: sender's address; by default the connection's. (templated)
    :param from_name: sender's name; by default the connection's. (templated)
    :param reply_to: where answers go; by default as the connection says. (templated)
    :param headers: headers of your own. (templated)
    :param categories: tags by which SendGrid counts mails, 10 at most. (templated)
    :param custom_args: values that SendGrid hands back with each event of the mail. (templated)
    :param template_id: a dynamic template in SendGrid, in place of the parts. (templated)
    :param template_data: its values. (templated)
    :param unsubscribe_group: id of the unsubscribe group that the mail belongs to.
    :param unsubscribe_groups_shown: ids of the groups that the page of preferences shows.
    :param send_at: when it leaves, up to 72 hours ahead; a time with its offset, also as ISO text.
        (templated)
    :param undo_window: for how long ``SendGridHook().cancel(batch_id)`` can take the mails back; they
        leave ten minutes after that. The receipts have the batch id.
    :param sandbox: whether SendGrid only checks the mail, and sends nothing.
    :param click_tracking: whether SendGrid rewrites links to count clicks.
    :param open_tracking: whether SendGrid puts in a picture to count who opens the mail.
    :param per_request: recipients in one request, up to 1000; those of one request share its fate.
    :param resend_ambiguous: send again to those of whom it is not known whether their mail left.
    :param key: tells several mails of one task run apart; give another one to send once more on
        purpose. (templated)
    :param sendgrid_conn_id: id of the connection. (templated)
    :raises ConfigurationError: if a part is malformed or beyond a limit; nothing was sent.
    :raises DeliveryError: if any mail is not known to be queued; carries all receipts.
    """

    template_fields: Sequence[str] = (
        "to",
        "subject",
        "html_content",
        "text_content",
        "files",
        "images",
        "cc",
        "bcc",
        "from_email",
        "from_name",
        "reply_to",
        "headers",
        "categories",
        "custom_args",
        "template_id",
        "template_data",
        "send_at",
        "key",
        "sendgrid_conn_id",
    )
    template_fields_renderers = {"html_content": "html", "template_data": "json"}  # noqa: RUF012 — Airflow's type
    template_ext: Sequence[str] = (".html",)
    ui_color = "#e6faf9"

    def __init__(
        self,
        *,
        to: str | Source | Sequence[str | Source],
        subject: str = "",
        html_content: str | None = None,
        text_content: str | None = None,
        files: Sequence[Any] = (),
        images: Mapping[str, str] | None = None,
        cc: str | Source | Sequence[str | Source] = (),
        bcc: str | Source | Sequence[str | Source] = (),
        shared: bool = False,
        from_email: str | None = None,
        from_name: str | None = None,
        reply_to: str | None = None,
        headers: Mapping[str, str] | None = None,
        categories: Sequence[str] = (),
        custom_args: Mapping[str, str] | None = None,
        template_id: str | None = None,
        template_data: Mapping[str, Any] | None = None,
        unsubscribe_group: int | None = None,
        unsubscribe_groups_shown: Sequence[int] = (),
        send_at: datetime | str | None = None,
        undo_window: timedelta | None = None,
        sandbox: bool = False,
        click_tracking: bool = False,
        open_tracking: bool = False,
        per_request: int = 1,
        resend_ambiguous: bool = False,
        key: str = "",
        sendgrid_conn_id: str = SendGridHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.subject = subject
        self.html_content = html_content
        self.text_content = text_content
        self.files = files
        self.images = images
        self.cc = cc
        self.bcc = bcc
        self.shared = shared
        self.from_email = from_email
        self.from_name = from_name
        self.reply_to = reply_to
        self.headers = headers
        self.categories = categories
        self.custom_args = custom_args
        self.template_id = template_id
        self.template_data = template_data
        self.unsubscribe_group = unsubscribe_group
        self.unsubscribe_groups_shown = unsubscribe_groups_shown
        self.send_at = send_at
        self.undo_window = undo_window
        self.sandbox = sandbox
        self.click_tracking = click_tracking
        self.open_tracking = open_tracking
        self.per_request = per_request
        self.resend_ambiguous = resend_ambiguous
        self.key = key
        self.sendgrid_conn_id = sendgrid_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Send the mails, and wait for them to be queued."""
        with airflow_failures():
            receipts = self._send(context)
        return [receipt.model_dump(mode="json") for receipt in receipts]

    def _send(self, context: Context) -> tuple[DeliveryReceipt, ...]:
        from kimi_provider.alerts.delivery import DeliveryPolicy
        from kimi_provider.alerts.ledger import message_id
        from kimi_provider.hooks.metrics import mails_of
        from kimi_provider.hooks.recipients import read_recipients

        hook = SendGridHook(self.sendgrid_conn_id)
        message = self._message(hook.get_conn())
        ti = context["ti"]
        # Not by its content: a mail that says what time it is would leave again at each retry.
        own_id = message_id(ti.dag_id, ti.run_id, ti.task_id, ti.map_index or 0, content=str(self.key))
        policy = DeliveryPolicy(per_request=self.per_request, resend_ambiguous=self.resend_ambiguous)
        return asyncio.run(
            hook.deliver(
                message,
                read_recipients(self.to),
                cc=read_recipients(self.cc),
                bcc=read_recipients(self.bcc),
                message_id=own_id,
                ledger=task_folder(context) / "ledger",
                policy=policy,
                undo_window=self.undo_window,
                on_sent=mails_of(ti),
            )
        )

    def _message(self, client: SendGridClient) -> Message:
        from kimi_provider.alerts.message import Unsubscribe
        from kimi_provider.alerts.plain import html_of_text, text_of_html
        from kimi_provider.hooks.mail_files import attachments, pictures

        html, text = self.html_content or "", self.text_content or ""
        unsubscribe = None
        if self.unsubscribe_group is not None:
            unsubscribe = Unsubscribe(self.unsubscribe_group, tuple(self.unsubscribe_groups_shown))
        return client.config.message(
            subject=self.subject,
            html=html or (html_of_text(text) if text else ""),
            text=text or (text_of_html(html) if html else ""),
            from_email=self.from_email,
            from_name=self.from_name,
            reply_to=self.reply_to,
            images=pictures(self.images or {}),
            attachments=attachments(self.files or ()),
            categories=tuple(self.categories or ()),
            custom_args=dict(self.custom_args or {}),
            click_tracking=self.click_tracking,
            open_tracking=self.open_tracking,
            headers=dict(self.headers or {}),
            template_id=self.template_id or None,
            template_data=dict(self.template_data or {}),
            unsubscribe=unsubscribe,
            send_at=_moment(self.send_at),
            sandbox=self.sandbox,
            shared=self.shared,
        )


def _moment(value: datetime | str | None) -> datetime | None:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        raise ConfigurationError(
            f"send_at is {value!r}; write it as 2026-03-01T08:00:00+01:00."
        ) from None

"""Message → the JSON of SendGrid's ``POST /v3/mail/send``, by the official library's own classes.

Limits are those of SendGrid's OpenAPI description (``twilio/sendgrid-oai``) and of "limitations" in its
Mail Send documentation. They are checked here, before anything leaves, because the service's own
answers name a field of the JSON and not the thing to change.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.addresses import check_address, recipients
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.alerts.account import SendGridConfig
    from kimi_provider.alerts.addresses import Recipient
    from kimi_provider.alerts.message import Message

MAX_BYTES = 30_000_000
MAX_RECIPIENTS = 1000
MAX_CATEGORIES = 10
MAX_CATEGORY_LENGTH = 255
MAX_CUSTOM_ARGS_BYTES = 10_000
MAX_AHEAD = 72 * 3600

# The service hands it back with each event of the mail, by which an event finds its ledger entry.
MESSAGE_ID_ARG = "kimi_message_id"


@dataclass(frozen=True)
class Request:
    """One request: the recipients it is for, and its JSON body."""

    recipients: tuple[Recipient, ...]
    body: dict[str, Any]


def build_requests(
    message: Message, to: Sequence[Recipient], *, message_id: str, per_request: int = MAX_RECIPIENTS
) -> tuple[Request, ...]:
    """Return the requests that send a message, with one personalization a recipient.

    Recipients of one request do not see each other: each personalization is a mail of its own. Only a
    message that says ``shared`` goes out as one mail with the headers To and Cc.

    :param message: what to send.
    :param to: who gets it, each once; copies included.
    :param message_id: our id of the message; goes into the custom argument ``kimi_message_id``.
    :param per_request: the most recipients in one request, up to 1000.
    :raises ConfigurationError: if the message is beyond a limit of the service.
    """
    if not 1 <= per_request <= MAX_RECIPIENTS:
        raise ConfigurationError(
            f"SendGrid takes 1 to {MAX_RECIPIENTS} recipients in one request; got {per_request}."
        )
    head = _head(message, message_id)
    own = dict(message.template_data)
    if message.shared and any(one.kind == "to" for one in to):
        if len(to) > MAX_RECIPIENTS:
            raise ConfigurationError(
                f"SendGrid takes {MAX_RECIPIENTS} recipients of one mail; got {len(to)}. Leave "
                "shared out, so that each gets a mail of their own."
            )
        one = Request(tuple(to), {**head, "personalizations": [_personalization(to, own)]})
        _check_size([one])
        return (one,)
    # Also of a shared mail of which only copies are left to send: together they would see each other.
    groups = [tuple(to[start : start + per_request]) for start in range(0, len(to), per_request)]
    requests = tuple(
        Request(group, {**head, "personalizations": [_personalization([r], own) for r in group]})
        for group in groups
    )
    _check_size(requests)
    return requests


def held(body: Mapping[str, Any], config: SendGridConfig) -> dict[str, Any]:
    """Return a body that somebody else has made, held to what an account allows.

    :param body: the JSON of a request.
    :param config: the account.
    :raises ConfigurationError: if a recipient is malformed, or its domain not allowed.
    """
    kept = dict(body)
    if config.allowed_domains:
        people = [
            str(person.get("email", ""))
            for personalization in body.get("personalizations", ())
            for kind in ("to", "cc", "bcc")
            for person in personalization.get(kind) or ()
        ]
        recipients(people, allowed_domains=config.allowed_domains)
    if config.sandbox:
        kept["mail_settings"] = {**(body.get("mail_settings") or {}), "sandbox_mode": {"enable": True}}
    return kept


def _head(message: Message, message_id: str) -> dict[str, Any]:
    """Build all that is the same for every recipient."""
    from sendgrid.helpers import mail as sg
    from sendgrid.helpers.mail.exceptions import ApiKeyIncludedException

    mail = sg.Mail()
    mail.from_email = _sender(message)
    if message.reply_to is not None:
        mail.reply_to = sg.ReplyTo(check_address("reply_to address", message.reply_to))
    if message.subject:
        mail.subject = sg.Subject(message.subject)
    try:
        if message.text:
            mail.add_content(sg.Content(sg.MimeType.text, message.text))
        if message.html:
            mail.add_content(sg.Content(sg.MimeType.html, message.html))
    except ApiKeyIncludedException:
        raise ConfigurationError("The message contains a SendGrid API key. Take it out.") from None
    # The library puts each file and category before those it has, hence the reversed order.
    for file in reversed([*_inline(message), *_attached(message)]):
        mail.add_attachment(file)
    for category in reversed(_categories(message)):
        mail.add_category(sg.Category(category))
    for key, value in _custom_args(message, message_id).items():
        mail.add_custom_arg(sg.CustomArg(key, value))
    for key, value in message.headers.items():
        mail.add_header(sg.Header(key, value))
    _set_options(mail, message)
    head: dict[str, Any] = mail.get()
    return head


def _set_options(mail: Any, message: Message) -> None:
    """Set what tells the service how to handle the mail."""
    from sendgrid.helpers import mail as sg

    clicks = sg.ClickTracking(enable=message.click_tracking, enable_text=message.click_tracking)
    opens = sg.OpenTracking(enable=message.open_tracking)
    mail.tracking_settings = sg.TrackingSettings(click_tracking=clicks, open_tracking=opens)
    if message.sandbox:
        mail.mail_settings = sg.MailSettings(sandbox_mode=sg.SandBoxMode(enable=True))
    if message.template_id is not None:
        mail.template_id = sg.TemplateId(message.template_id)
    if message.unsubscribe is not None:
        shown = list(message.unsubscribe.shown)
        groups = sg.GroupsToDisplay(shown) if shown else None
        mail.asm = sg.Asm(sg.GroupId(message.unsubscribe.group_id), groups)
    if message.unix_send_at is not None:
        mail.send_at = sg.SendAt(_in_time(message.unix_send_at))
    if message.batch_id is not None:
        mail.batch_id = sg.BatchId(message.batch_id)


def _in_time(send_at: int) -> int:
    ahead = send_at - time.time()
    if ahead > MAX_AHEAD:
        raise ConfigurationError(
            f"send_at is {ahead / 3600:.0f} hours ahead; SendGrid takes {MAX_AHEAD // 3600}. Schedule "
            "the task instead."
        )
    return send_at


def _personalization(recipients: Sequence[Recipient], data: dict[str, Any]) -> dict[str, Any]:
    from sendgrid.helpers import mail as sg

    kinds = {"to": sg.To, "cc": sg.Cc, "bcc": sg.Bcc}
    personalization = sg.Personalization()
    for recipient in recipients:
        email = kinds[recipient.kind if len(recipients) > 1 else "to"]()
        # Set apart: the constructor would parse the address again, by laxer rules.
        email.email, email.name = recipient.address, recipient.name
        personalization.add_email(email)
    if data:
        personalization.dynamic_template_data = data
    body: dict[str, Any] = personalization.get()
    return body


def _sender(message: Message) -> Any:
    from sendgrid.helpers import mail as sg

    if message.from_name is not None and not message.from_name.isascii():
        raise ConfigurationError(
            f"The sender's name (from_name) {message.from_name!r} has characters beyond ASCII, which "
            "SendGrid refuses in the sender. Write it without them."
        )
    sender = sg.From()
    sender.email = check_address("sender's address (from_email)", message.from_email)
    sender.name = message.from_name or None
    return sender


def _inline(message: Message) -> list[Any]:
    from sendgrid.helpers import mail as sg

    return [
        sg.Attachment(
            _base64(image.content),
            image.filename,
            image.media_type,
            disposition="inline",
            content_id=image.content_id,
        )
        for image in message.images
    ]


def _attached(message: Message) -> list[Any]:
    from sendgrid.helpers import mail as sg

    return [
        sg.Attachment(_base64(file.content), file.filename, file.media_type, disposition="attachment")
        for file in message.attachments
    ]


def _categories(message: Message) -> list[str]:
    categories = list(dict.fromkeys(message.categories))
    if len(categories) > MAX_CATEGORIES:
        raise ConfigurationError(
            f"SendGrid takes {MAX_CATEGORIES} categories a mail; got {len(categories)}."
        )
    for category in categories:
        if not 1 <= len(category) <= MAX_CATEGORY_LENGTH:
            raise ConfigurationError(
                f"A category must have 1 to {MAX_CATEGORY_LENGTH} characters; got {len(category)}."
            )
    return categories


def _custom_args(message: Message, message_id: str) -> dict[str, str]:
    args = {**message.custom_args, MESSAGE_ID_ARG: message_id}
    size = len(json.dumps(args).encode())
    if size >= MAX_CUSTOM_ARGS_BYTES:
        raise ConfigurationError(
            f"Custom arguments may have less than {MAX_CUSTOM_ARGS_BYTES} bytes in all; got {size}."
        )
    return args


def _check_size(requests: Sequence[Request]) -> None:
    # The first request has the most recipients, and all the rest of them is the same.
    size = len(json.dumps(requests[0].body)) if requests else 0
    if size >= MAX_BYTES:
        raise ConfigurationError(
            f"The mail has {size / 1e6:.1f} MB with its files encoded; SendGrid takes less than "
            f"{MAX_BYTES / 1e6:.0f} MB. Attach less, or link to the files instead."
        )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()

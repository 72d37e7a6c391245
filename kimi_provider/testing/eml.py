"""Writes a mail as a file that any mail program opens; nothing is ever sent from here."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kimi_provider.testing.mailbox import Mail, MailAttachment


def to_eml(mail: Mail) -> bytes:
    """Return a mail as RFC 5322 text: its parts, inline pictures and attachments."""
    message = EmailMessage()
    message["Subject"] = mail.subject
    message["From"] = Address(mail.sender_name, addr_spec=mail.sender)
    for name, addresses in (("To", mail.to), ("Cc", mail.cc), ("Reply-To", mail.reply_to)):
        if addresses:
            message[name] = ", ".join(addresses)
    message["Date"] = format_datetime(mail.received_at)
    message["Message-ID"] = f"<{mail.message_id}.{mail.number}@simulator.invalid>"
    for name, value in mail.headers.items():
        message[name] = value
    inline = [item for item in mail.attachments if item.disposition == "inline" and mail.html]
    if mail.text or not mail.html:
        message.set_content(mail.text)
    if mail.html:
        _add_html(message, mail, inline)
    for item in mail.attachments:
        if item not in inline:
            main, _, sub = item.media_type.partition("/")
            message.add_attachment(item.content, main, sub, filename=item.filename)
    return message.as_bytes()


def _add_html(message: EmailMessage, mail: Mail, inline: list[MailAttachment]) -> None:
    holder = message
    if mail.text:
        message.add_alternative(mail.html, subtype="html")
        holder = list(message.iter_parts())[-1]  # type: ignore[assignment]  # the part just added
    else:
        message.set_content(mail.html, subtype="html")
    for item in inline:
        main, _, sub = item.media_type.partition("/")
        holder.add_related(
            item.content,
            main,
            sub,
            cid=f"<{item.content_id}>",
            filename=item.filename,
            disposition="inline",
        )

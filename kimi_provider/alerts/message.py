"""The message: what is sent, whoever sends it. Nothing in it can break out of its header."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kimi_provider.alerts.addresses import check_address, check_line, check_name
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_GROUPS = 25

_CID_SHOWN = re.compile(r"""src\s*=\s*["']cid:([^"']*)["']""", re.IGNORECASE)
_CONTENT_ID = re.compile(r"[A-Za-z0-9._@+-]+")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")
_TEMPLATE_ID = re.compile(r"[A-Za-z0-9-]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110's token, a subset of RFC 5322's
# SendGrid's documentation of "headers": these are its own to set.
_RESERVED_HEADERS = frozenset(
    {
        "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type",
        "content-transfer-encoding", "to", "from", "subject", "reply-to", "cc", "bcc",
    }
)  # fmt: skip


@dataclass(frozen=True)
class InlineFile:
    """A picture that the HTML shows as ``<img src="cid:{content_id}">``.

    :param content_id: letters, digits and ``._@+-``.
    :param content: the file.
    :param media_type: its full MIME type; mail programs show nothing for a bare ``png``.
    :raises ConfigurationError: if the id or the type is malformed, or the file is empty.
    """

    content_id: str
    content: bytes = field(repr=False)
    media_type: str = "image/png"

    def __post_init__(self) -> None:
        """Refuse what a mail program could not show."""
        if not _CONTENT_ID.fullmatch(self.content_id):
            raise ConfigurationError(
                f"The content id {self.content_id!r} of a picture must be letters, digits and ._@+-."
            )
        _check_file(f"picture {self.content_id!r}", self.content, self.media_type)

    @property
    def filename(self) -> str:
        """Name under which a mail program would save it."""
        return f"{self.content_id}.{self.media_type.rpartition('/')[2].partition('+')[0]}"


@dataclass(frozen=True)
class Attachment:
    """A file that comes with the mail.

    :param filename: its name, without folders.
    :param content: the file.
    :param media_type: its full MIME type.
    :raises ConfigurationError: if the name or the type is malformed, or the file is empty.
    """

    filename: str
    content: bytes = field(repr=False)
    media_type: str = "application/octet-stream"

    def __post_init__(self) -> None:
        """Refuse what could not be saved."""
        check_line("name of an attachment", self.filename)
        if not self.filename.strip() or set(self.filename) & set("/\\,;"):
            raise ConfigurationError(
                "The name of an attachment must be a file name without folders, commas and semicolons; "
                f"got {self.filename!r}."
            )
        _check_file(f"attachment {self.filename!r}", self.content, self.media_type)


@dataclass(frozen=True)
class Unsubscribe:
    """By which of SendGrid's unsubscribe groups a reader can opt out.

    :param group_id: the group that the mail belongs to.
    :param shown: the groups that the page of preferences shows, 25 at most.
    :raises ConfigurationError: if an id is no number, or there are too many.
    """

    group_id: int
    shown: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what SendGrid would."""
        for number in (self.group_id, *self.shown):
            if not isinstance(number, int) or isinstance(number, bool):
                raise ConfigurationError(f"An unsubscribe group is a whole number; got {number!r}.")
        if len(self.shown) > MAX_GROUPS:
            raise ConfigurationError(
                f"SendGrid shows {MAX_GROUPS} unsubscribe groups at most; got {len(self.shown)}."
            )


@dataclass(frozen=True)
class Message:
    """A mail without its recipients.

    :param subject: one line; may be empty where a template of SendGrid's has its own.
    :param html: the HTML part; may be empty beside a template.
    :param text: the plain-text part, which some people and all spam filters read; the same.
    :param from_email: the sender's address, one that the mail service has verified.
    :param from_name: the sender's name.
    :param reply_to: where answers go, if not to the sender.
    :param images: pictures that the HTML shows.
    :param attachments: files that come along.
    :param categories: tags by which the mail service counts mails.
    :param custom_args: values that the mail service hands back with each event of the mail.
    :param click_tracking: whether the service may rewrite links to count clicks; off, because rewritten
        links to internal pages look like phishing, and tell the service where they lead.
    :param open_tracking: whether the service may put in a picture by which it sees who opens the mail;
        off, because readers are not asked, and mail programs that load pictures make it untrue.
    :param headers: headers of your own, by name.
    :param template_id: a dynamic template that SendGrid keeps; it takes the place of both parts.
    :param template_data: the template's values, as JSON has them.
    :param unsubscribe: how a reader can opt out.
    :param send_at: when it leaves, with its offset; SendGrid takes up to 72 hours ahead.
    :param batch_id: by which mails that are scheduled can be taken back.
    :param sandbox: whether the service only checks the mail, and sends nothing.
    :param shared: whether all recipients share one mail, in which those of ``to`` and ``cc`` see each
        other. By default each of ``to``, ``cc`` and ``bcc`` gets a mail of their own that shows nobody
        else.
    :raises ConfigurationError: if a part is empty or malformed, a header would break, or the HTML shows
        a picture that is not there. No message shows an address.
    """

    subject: str
    html: str = field(repr=False)
    text: str = field(repr=False)
    from_email: str = field(repr=False)
    from_name: str | None = None
    reply_to: str | None = field(default=None, repr=False)
    images: tuple[InlineFile, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    categories: tuple[str, ...] = ()
    custom_args: Mapping[str, str] = field(default_factory=dict)
    click_tracking: bool = False
    open_tracking: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    template_id: str | None = None
    template_data: Mapping[str, object] = field(default_factory=dict, repr=False)
    unsubscribe: Unsubscribe | None = None
    send_at: datetime | None = None
    batch_id: str | None = None
    sandbox: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        """Check every header and every picture."""
        check_line("subject", self.subject)
        self._check_parts()
        check_address("sender's address (from_email)", self.from_email)
        check_name("sender's name (from_name)", self.from_name)
        if self.reply_to is not None:
            check_address("reply_to address", self.reply_to)
        for category in self.categories:
            check_line("category", category)
        for key, value in self.custom_args.items():
            check_line("name of a custom argument", key)
            check_line(f"custom argument {key!r}", value)
        for key, value in self.headers.items():
            _check_header(key, value)
        if self.send_at is not None and self.send_at.tzinfo is None:
            raise ConfigurationError(
                f"send_at is {self.send_at}, which has no time zone. Give it with one."
            )
        if self.batch_id is not None and not self.batch_id.isalnum():
            raise ConfigurationError(f"batch_id is {self.batch_id!r}, which is none of SendGrid's.")
        self._check_images()

    @property
    def sha256(self) -> str:
        """Hash over everything that the reader gets; not over tags that only the service sees."""
        parts: list[object] = [self.subject, self.html, self.text]
        parts += [self.from_email, self.from_name, self.reply_to]
        parts += [["inline", i.content_id, i.media_type, _sha256(i.content)] for i in self.images]
        parts += [["attached", a.filename, a.media_type, _sha256(a.content)] for a in self.attachments]
        if self.template_id is not None:
            parts += ["template", self.template_id, self._template_json()]
        return _sha256(json.dumps(parts).encode())

    @property
    def unix_send_at(self) -> int | None:
        """When it leaves, as seconds since the epoch; never before what was asked for."""
        return None if self.send_at is None else -int(-self.send_at.astimezone(UTC).timestamp() // 1)

    def _check_parts(self) -> None:
        if self.template_id is None:
            if self.template_data:
                raise ConfigurationError("template_data needs a template: give template_id, too.")
            for name, part in (
                ("subject", self.subject),
                ("HTML part", self.html),
                ("text part", self.text),
            ):
                if not part.strip():
                    raise ConfigurationError(f"The {name} of the message is empty.")
            return
        if not _TEMPLATE_ID.fullmatch(self.template_id):
            raise ConfigurationError(
                f"template_id is {self.template_id!r}; SendGrid's look like d-0123456789abcdef."
            )
        self._template_json()

    def _template_json(self) -> str:
        try:
            return json.dumps(dict(self.template_data), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"template_data is not JSON ({error}). Give text, numbers, lists and mappings."
            ) from None

    def _check_images(self) -> None:
        ids = [image.content_id for image in self.images]
        twice = sorted({content_id for content_id in ids if ids.count(content_id) > 1})
        if twice:
            raise ConfigurationError(f"Two pictures have the content id {twice[0]!r}.")
        absent = [shown for shown in _CID_SHOWN.findall(self.html) if shown not in ids]
        if absent:
            raise ConfigurationError(
                f"The HTML shows the picture 'cid:{absent[0]}', which the message does not have. "
                f"It has: {', '.join(ids) or 'none'}."
            )


def _check_header(name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise ConfigurationError(
            f"The header {name!r} must be named by letters, digits and hyphens, such as X-Team."
        )
    if name.casefold() in _RESERVED_HEADERS:
        raise ConfigurationError(f"The header {name!r} is SendGrid's own to set; take it out.")
    check_line(f"header {name!r}", value)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_file(what: str, content: bytes, media_type: str) -> None:
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ConfigurationError(
            f"The media type of {what} must be a full MIME type such as image/png; got {media_type!r}."
        )
    if not content:
        raise ConfigurationError(f"The {what} is an empty file.")

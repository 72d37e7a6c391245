"""The simulator's mailbox: every mail that the simulated SendGrid took."""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.testing.eml import to_eml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MailAttachment:
    """A file in a mail; an inline one is shown where the HTML says ``cid:{content_id}``."""

    filename: str
    media_type: str
    content: bytes
    disposition: str
    content_id: str


@dataclass(slots=True)
class Mail:
    """One mail, as one personalization's recipients would get it.

    :param number: position in the mailbox, from 1.
    :param message_id: what the ``X-Message-Id`` header said; the same for all mails of one request.
    :param received_at: when the service took it.
    :param status: ``queued``, ``scheduled`` or ``canceled``.
    :param payload: the whole request, as it came.
    """

    number: int
    message_id: str
    received_at: datetime
    sender: str
    sender_name: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    reply_to: tuple[str, ...]
    subject: str
    text: str
    html: str
    attachments: tuple[MailAttachment, ...]
    custom_args: dict[str, str]
    categories: tuple[str, ...]
    headers: dict[str, str]
    send_at: int | None
    batch_id: str | None
    status: str
    payload: dict[str, Any] = field(repr=False)

    @property
    def recipients(self) -> tuple[str, ...]:
        """All addresses, copies included."""
        return self.to + self.cc + self.bcc

    def inline(self, content_id: str) -> MailAttachment | None:
        """Return the picture that the HTML names by ``cid:``, or ``None``."""
        return next((a for a in self.attachments if a.content_id == content_id), None)

    def to_eml(self) -> bytes:
        """Return the mail as a file that any mail program opens."""
        return to_eml(self)


class Mailbox:
    """All mails, in order of arrival; readable from any thread.

    :param state_dir: folder in which requests are kept as JSON lines, so that a restarted simulator
        still has its mails; ``None`` keeps them in memory alone.
    """

    def __init__(self, state_dir: Path | None = None) -> None:
        self._mails: list[Mail] = []
        self._lock = threading.Lock()
        self._file = state_dir / "mailbox.jsonl" if state_dir else None
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._load(self._file)

    def __iter__(self) -> Iterator[Mail]:
        """Iterate over a copy, in order of arrival."""
        return iter(self.messages)

    def __len__(self) -> int:
        """Return how many mails there are."""
        return len(self._mails)

    @property
    def messages(self) -> list[Mail]:
        """All mails, in order of arrival."""
        with self._lock:
            return list(self._mails)

    def to(self, address: str) -> list[Mail]:
        """Return the mails for an address, copies included."""
        wanted = address.lower()
        return [mail for mail in self.messages if wanted in (one.lower() for one in mail.recipients)]

    def export(self, folder: Path) -> list[Path]:
        """Write each mail as ``.eml`` into a folder, which is made; return the files in order."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for mail in self.messages:
            path = folder / f"{mail.number:04}.eml"
            path.write_bytes(mail.to_eml())
            paths.append(path)
        return paths

    def accept(self, message_id: str, payload: dict[str, Any]) -> None:
        """Take a request that SendGrid would take; for the server."""
        entry = {"message_id": message_id, "at": time.time(), "payload": payload}
        with self._lock:
            self._add(entry)
            self._write(entry)

    def set_schedule(self, batch_id: str, status: str) -> None:
        """Cancel, pause or let go the mails of a batch whose time has not come; for the server."""
        entry = {"batch_id": batch_id, "status": status}
        with self._lock:
            self._reschedule(entry)
            self._write(entry)

    def clear(self) -> None:
        """Forget all mails."""
        with self._lock:
            self._mails.clear()
            if self._file is not None:
                self._file.unlink(missing_ok=True)

    def _load(self, file: Path) -> None:
        if not file.exists():
            return
        for line in file.read_bytes().splitlines():
            entry = msgspec.json.decode(line)
            if "payload" in entry:
                self._add(entry)
            else:
                self._reschedule(entry)

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            with self._file.open("ab") as file:
                file.write(msgspec.json.encode(entry) + b"\n")

    def _add(self, entry: dict[str, Any]) -> None:
        payload = entry["payload"]
        attachments = tuple(_attachment(item) for item in payload.get("attachments", ()))
        for personalization in payload["personalizations"]:
            self._mails.append(_mail(len(self._mails) + 1, entry, personalization, attachments))

    def _reschedule(self, entry: dict[str, Any]) -> None:
        for mail in self._mails:
            if mail.batch_id == entry["batch_id"] and mail.send_at and mail.send_at > time.time():
                mail.status = entry["status"]


def _addresses(entries: Any) -> tuple[str, ...]:
    return tuple(entry["email"] for entry in entries or ())


def _attachment(item: dict[str, Any]) -> MailAttachment:
    return MailAttachment(
        filename=item["filename"],
        media_type=item.get("type") or "application/octet-stream",
        content=base64.b64decode(item["content"]),
        disposition=item.get("disposition") or "attachment",
        content_id=item.get("content_id") or "",
    )


def _mail(
    number: int,
    entry: dict[str, Any],
    personalization: dict[str, Any],
    attachments: tuple[MailAttachment, ...],
) -> Mail:
    payload = entry["payload"]
    contents = {part["type"]: part["value"] for part in payload.get("content", ())}
    sender = personalization.get("from") or payload["from"]
    replies = payload.get("reply_to_list") or ([payload["reply_to"]] if payload.get("reply_to") else [])
    send_at = personalization.get("send_at") or payload.get("send_at")

    def filled(text: str) -> str:
        for placeholder, value in (personalization.get("substitutions") or {}).items():
            text = text.replace(placeholder, value)
        return text

    return Mail(
        number=number,
        message_id=entry["message_id"],
        received_at=datetime.fromtimestamp(entry["at"], UTC),
        sender=sender["email"],
        sender_name=sender.get("name") or "",
        to=_addresses(personalization["to"]),
        cc=_addresses(personalization.get("cc")),
        bcc=_addresses(personalization.get("bcc")),
        reply_to=_addresses(replies),
        subject=filled(personalization.get("subject") or payload.get("subject") or ""),
        text=filled(contents.get("text/plain", "")),
        html=filled(contents.get("text/html", "")),
        attachments=attachments,
        custom_args={**payload.get("custom_args", {}), **personalization.get("custom_args", {})},
        categories=tuple(payload.get("categories", ())),
        headers={**payload.get("headers", {}), **personalization.get("headers", {})},
        send_at=send_at,
        batch_id=payload.get("batch_id"),
        status="scheduled" if send_at and send_at > time.time() else "queued",
        payload=payload,
    )

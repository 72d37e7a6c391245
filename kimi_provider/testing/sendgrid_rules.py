"""What SendGrid's mail endpoint refuses: its documented limits, with errors as it words them."""

from __future__ import annotations

import base64
import binascii
import re
import time
from typing import Any

from kimi_provider.testing.sendgrid_people import (
    Problems,
    check_address,
    check_from,
    check_headers,
    check_personalizations,
    check_send_at,
    items_of,
)

MAX_BYTES = 30 * 1024 * 1024
MAX_CATEGORIES = 10
MAX_CATEGORY_LENGTH = 255
MAX_GROUPS = 25

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;\s*[\w-]+=\"?[^\"\r\n;]+\"?)*")
_FIELDS = frozenset(
    {
        "personalizations", "from", "reply_to", "reply_to_list", "subject", "content", "attachments",
        "template_id", "headers", "categories", "custom_args", "send_at", "batch_id", "asm",
        "ip_pool_name", "mail_settings", "tracking_settings", "sections",
    }
)  # fmt: skip


def check_mail(
    body: dict[str, Any], batches: set[str], *, now: float | None = None
) -> list[dict[str, Any]]:
    """Return what SendGrid would find wrong with a request; nothing where it would take it.

    :param batches: batch ids that were handed out.
    :param now: seconds since the epoch; the clock's where not given.
    """
    problems = Problems()
    for name in sorted(set(body) - _FIELDS):
        problems.add(f"Additional property {name} is not allowed", name)
    now = time.time() if now is None else now
    check_from(body.get("from"), "from", problems)
    check_personalizations(body, now, problems)
    _check_subject(body, problems)
    _check_content(body, problems)
    for number, item in enumerate(items_of(body, "attachments", problems)):
        _check_attachment(item, f"attachments.{number}", problems)
    _check_reply_to(body, problems)
    _check_categories(items_of(body, "categories", problems), problems)
    check_headers(body.get("headers"), "headers", problems)
    check_send_at(body.get("send_at"), "send_at", now, problems)
    if "batch_id" in body and body["batch_id"] not in batches:
        problems.add(
            "The batch id is not valid. Create one at /v3/mail/batch.", "batch_id", "message.batch_id"
        )
    _check_asm(body.get("asm"), problems)
    return problems.found


def _check_subject(body: dict[str, Any], problems: Problems) -> None:
    personalizations = [one for one in body.get("personalizations") or () if isinstance(one, dict)]
    subjects = [body.get("subject"), *(one.get("subject") for one in personalizations)]
    everywhere = bool(personalizations) and all(one.get("subject") for one in personalizations)
    if not body.get("subject") and not everywhere and not body.get("template_id"):
        problems.add(
            "The subject is required. You can get around this requirement if you use a template with a"
            " subject"
            " defined or if every personalization has a subject defined.",
            "subject",
            "message.subject",
        )
    for subject in subjects:
        if subject is not None and (not isinstance(subject, str) or re.search(r"[\r\n]", subject)):
            problems.add(
                "The subject must be a string without line breaks.", "subject", "message.subject"
            )


def _check_content(body: dict[str, Any], problems: Problems) -> None:
    contents = items_of(body, "content", problems)
    if not contents and not body.get("template_id"):
        problems.add(
            "Unless a valid template_id is provided, the content parameter is required. There must be"
            " at least one"
            " defined content block. We typically suggest both text/plain and text/html blocks are"
            " included, but"
            " only one block is required.",
            "content",
            "message.content",
        )
    kinds: list[str] = []
    for number, part in enumerate(contents):
        where = f"content.{number}"
        kind = part.get("type") if isinstance(part, dict) else None
        value = part.get("value") if isinstance(part, dict) else None
        if not isinstance(kind, str) or not _MEDIA_TYPE.fullmatch(kind):
            problems.add(
                "The content type must be a MIME type.", f"{where}.type", "message.content.type"
            )
            continue
        if not isinstance(value, str) or not value:
            problems.add(
                "The content value must be a string at least one character in length.",
                f"{where}.value",
                "message.content.value",
            )
        kinds.append(kind)
    if len(set(kinds)) < len(kinds):
        problems.add(
            "If present, text/plain and text/html may only be provided once.",
            "content",
            "message.content",
        )
    ordered = [kind for kind in ("text/plain", "text/html") if kind in kinds]
    if kinds[: len(ordered)] != ordered:
        problems.add(
            "If present, text/plain must be first, followed by text/html, followed by any other"
            " content.",
            "content",
            "message.content",
        )


def _check_attachment(item: Any, where: str, problems: Problems) -> None:
    if not isinstance(item, dict):
        problems.add("Invalid type. Expected: object.", where)
        return
    content = item.get("content")
    if not isinstance(content, str) or not content:
        problems.add(
            "The attachment content is required.", f"{where}.content", "message.attachments.content"
        )
    else:
        try:
            base64.b64decode(content, validate=True)
        except binascii.Error:
            problems.add(
                "The attachment content must be base64 encoded.",
                f"{where}.content",
                "message.attachments.content",
            )
    name = item.get("filename")
    if not isinstance(name, str) or not name or re.search(r"[;,\r\n]", name):
        problems.add(
            "The attachment filename is required.", f"{where}.filename", "message.attachments.filename"
        )
    kind = item.get("type", "application/octet-stream")
    if not isinstance(kind, str) or not _MEDIA_TYPE.fullmatch(kind):
        problems.add(
            "The attachment type must be a MIME type.", f"{where}.type", "message.attachments.type"
        )
    if item.get("disposition", "attachment") not in {"inline", "attachment"}:
        problems.add(
            'The disposition of your attachment can be one of "inline" or "attachment".',
            f"{where}.disposition",
            "message.attachments.disposition",
        )
    content_id = item.get("content_id", "x")
    if not isinstance(content_id, str) or not content_id or re.search(r"[;,\s]", content_id):
        problems.add(
            "The content_id must be a string without spaces, semicolons, commas and line breaks.",
            f"{where}.content_id",
            "message.attachments.content_id",
        )


def _check_reply_to(body: dict[str, Any], problems: Problems) -> None:
    if "reply_to" in body and "reply_to_list" in body:
        problems.add("Use either reply_to or reply_to_list, not both.", "reply_to", "message.reply_to")
    if "reply_to" in body:
        check_address(body["reply_to"], "reply_to", problems)
    for number, entry in enumerate(items_of(body, "reply_to_list", problems)):
        check_address(entry, f"reply_to_list.{number}", problems)


def _check_categories(categories: list[Any], problems: Problems) -> None:
    if len(categories) > MAX_CATEGORIES:
        problems.add(
            f"You cannot have more than {MAX_CATEGORIES} categories.", "categories", "message.categories"
        )
    if len({str(one) for one in categories}) < len(categories):
        problems.add("The categories must be unique.", "categories", "message.categories")
    if not all(isinstance(one, str) and 0 < len(one) <= MAX_CATEGORY_LENGTH for one in categories):
        problems.add(
            f"A category must be a string of at most {MAX_CATEGORY_LENGTH} characters.",
            "categories",
            "message.categories",
        )


def _check_asm(asm: Any, problems: Problems) -> None:
    if asm is None:
        return
    if (
        not isinstance(asm, dict)
        or isinstance(asm.get("group_id"), bool)
        or not isinstance(asm.get("group_id"), int)
    ):
        problems.add(
            "The asm.group_id is required and must be an integer.", "asm.group_id", "message.asm"
        )
        return
    groups = asm.get("groups_to_display", [])
    if not isinstance(groups, list) or len(groups) > MAX_GROUPS:
        problems.add(
            f"There can be at most {MAX_GROUPS} groups to display.",
            "asm.groups_to_display",
            "message.asm",
        )

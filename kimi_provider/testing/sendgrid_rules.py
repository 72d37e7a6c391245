"""What SendGrid's mail endpoint refuses: its documented limits, with errors as it words them."""

from __future__ import annotations

import base64
import binascii
import re
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

MAX_BYTES = 30 * 1024 * 1024
MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
MAX_CATEGORIES = 10
MAX_CATEGORY_LENGTH = 255
MAX_CUSTOM_ARGS_BYTES = 10_000
MAX_GROUPS = 25
MAX_AHEAD = 72 * 3600

_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
_ADDRESS = re.compile(r"[^@\s<>,;\"()]+@[^@\s<>,;\"()]+\.[^@\s<>,;\"()]+")
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;\s*[\w-]+=\"?[^\"\r\n;]+\"?)*")
_FIELDS = frozenset(
    {
        "personalizations", "from", "reply_to", "reply_to_list", "subject", "content", "attachments", "template_id",
        "headers", "categories", "custom_args", "send_at", "batch_id", "asm", "ip_pool_name", "mail_settings",
        "tracking_settings", "sections",
    }
)  # fmt: skip
_PERSONAL_FIELDS = frozenset(
    {
        "from", "to", "cc", "bcc", "subject", "headers", "substitutions", "dynamic_template_data", "custom_args",
        "send_at",
    }
)  # fmt: skip
_RESERVED_HEADERS = frozenset(
    {
        "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding", "to",
        "from", "subject", "reply-to", "cc", "bcc",
    }
)  # fmt: skip


@dataclass
class _Problems:
    found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, message: str, where: str | None, anchor: str = "message") -> None:
        self.found.append({"message": message, "field": where, "help": f"{_HELP}#{anchor}"})


def check_mail(
    body: dict[str, Any], batches: set[str], *, now: float | None = None
) -> list[dict[str, Any]]:
    """Return what SendGrid would find wrong with a request; nothing where it would take it.

    :param batches: batch ids that were handed out.
    :param now: seconds since the epoch; the clock's where not given.
    """
    problems = _Problems()
    for name in sorted(set(body) - _FIELDS):
        problems.add(f"Additional property {name} is not allowed", name)
    now = time.time() if now is None else now
    _check_from(body.get("from"), "from", problems)
    _check_personalizations(body, now, problems)
    _check_subject(body, problems)
    _check_content(body, problems)
    for number, item in enumerate(_list(body, "attachments", problems)):
        _check_attachment(item, f"attachments.{number}", problems)
    _check_reply_to(body, problems)
    _check_categories(_list(body, "categories", problems), problems)
    _check_headers(body.get("headers"), "headers", problems)
    _check_send_at(body.get("send_at"), "send_at", now, problems)
    if "batch_id" in body and body["batch_id"] not in batches:
        problems.add(
            "The batch id is not valid. Create one at /v3/mail/batch.", "batch_id", "message.batch_id"
        )
    _check_asm(body.get("asm"), problems)
    return problems.found


def _list(body: dict[str, Any], name: str, problems: _Problems) -> list[Any]:
    value = body.get(name, [])
    if isinstance(value, list):
        return value
    problems.add(f"Invalid type. Expected: array, given: {type(value).__name__}.", name)
    return []


def _check_address(entry: Any, where: str, problems: _Problems) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("email"), str):
        problems.add("The email parameter is required.", f"{where}.email", "message.personalizations.to")
        return None
    for name in sorted(set(entry) - {"email", "name"}):
        problems.add(f"Additional property {name} is not allowed", f"{where}.{name}")
    if not _ADDRESS.fullmatch(entry["email"]):
        problems.add(
            "Does not contain a valid address.", f"{where}.email", "message.personalizations.to"
        )
        return None
    name = entry.get("name")
    if name is not None and (not isinstance(name, str) or re.search(r"[;,\r\n]", name)):
        problems.add(
            "The name must be a string without semicolons, commas and line breaks.", f"{where}.name"
        )
    email: str = entry["email"]
    return email


def _check_from(sender: Any, where: str, problems: _Problems) -> None:
    if not isinstance(sender, dict) or not sender.get("email"):
        problems.add(
            "The from object must be provided for every email send. It is an object that requires the email"
            ' parameter, but may also contain a name parameter. e.g. {"email" : "example@example.com"}',
            f"{where}.email",
            "message.from",
        )
        return
    email = _check_address(sender, where, problems)
    if email is not None and not email.isascii():
        problems.add(
            "The from email must not hold Unicode characters.", f"{where}.email", "message.from"
        )


def _check_personalizations(body: dict[str, Any], now: float, problems: _Problems) -> None:
    personalizations = _list(body, "personalizations", problems)
    if not personalizations:
        problems.add(
            "The personalizations field is required and must have at least one personalization.",
            "personalizations",
            "-Personalizations-Errors",
        )
    if len(personalizations) > MAX_PERSONALIZATIONS:
        problems.add(f"There are more than {MAX_PERSONALIZATIONS} personalizations.", "personalizations")
    total = 0
    for number, one in enumerate(personalizations):
        where = f"personalizations.{number}"
        if not isinstance(one, dict):
            problems.add("Invalid type. Expected: object.", where)
            continue
        for name in sorted(set(one) - _PERSONAL_FIELDS):
            problems.add(f"Additional property {name} is not allowed", f"{where}.{name}")
        total += _check_recipients(one, where, problems)
        if "from" in one:
            _check_from(one["from"], f"{where}.from", problems)
        _check_headers(one.get("headers"), f"{where}.headers", problems)
        _check_send_at(one.get("send_at"), f"{where}.send_at", now, problems)
        _check_custom_args(body.get("custom_args"), one.get("custom_args"), where, problems)
        _check_substitutions(one.get("substitutions"), where, problems)
    if total > MAX_RECIPIENTS:
        problems.add(
            f"The number of recipients over all to, cc and bcc must not be more than {MAX_RECIPIENTS}.",
            "personalizations",
        )


def _check_recipients(one: dict[str, Any], where: str, problems: _Problems) -> int:
    seen: set[str] = set()
    count = 0
    if not isinstance(one.get("to"), list) or not one["to"]:
        problems.add(
            "The to array is required for all personalization objects, and must have at least one email object"
            " with a valid email address.",
            f"{where}.to",
            "message.personalizations.to",
        )
    for kind in ("to", "cc", "bcc"):
        entries = one.get(kind) or []
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            email = _check_address(entry, f"{where}.{kind}.{number}", problems)
            count += 1
            if email is not None and email.lower() in seen:
                problems.add(
                    "Each email address in the personalization block should be unique between to, cc, and bcc. We"
                    f" found the first duplicate instance of [{email}] in the {where}.{kind} field.",
                    where,
                    "message.recipient-errors",
                )
            elif email is not None:
                seen.add(email.lower())
    return count


def _check_subject(body: dict[str, Any], problems: _Problems) -> None:
    personalizations = [one for one in body.get("personalizations") or () if isinstance(one, dict)]
    subjects = [body.get("subject"), *(one.get("subject") for one in personalizations)]
    everywhere = bool(personalizations) and all(one.get("subject") for one in personalizations)
    if not body.get("subject") and not everywhere and not body.get("template_id"):
        problems.add(
            "The subject is required. You can get around this requirement if you use a template with a subject"
            " defined or if every personalization has a subject defined.",
            "subject",
            "message.subject",
        )
    for subject in subjects:
        if subject is not None and (not isinstance(subject, str) or re.search(r"[\r\n]", subject)):
            problems.add(
                "The subject must be a string without line breaks.", "subject", "message.subject"
            )


def _check_content(body: dict[str, Any], problems: _Problems) -> None:
    contents = _list(body, "content", problems)
    if not contents and not body.get("template_id"):
        problems.add(
            "Unless a valid template_id is provided, the content parameter is required. There must be at least one"
            " defined content block. We typically suggest both text/plain and text/html blocks are included, but"
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
            "If present, text/plain must be first, followed by text/html, followed by any other content.",
            "content",
            "message.content",
        )


def _check_attachment(item: Any, where: str, problems: _Problems) -> None:
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


def _check_reply_to(body: dict[str, Any], problems: _Problems) -> None:
    if "reply_to" in body and "reply_to_list" in body:
        problems.add("Use either reply_to or reply_to_list, not both.", "reply_to", "message.reply_to")
    if "reply_to" in body:
        _check_address(body["reply_to"], "reply_to", problems)
    for number, entry in enumerate(_list(body, "reply_to_list", problems)):
        _check_address(entry, f"reply_to_list.{number}", problems)


def _check_categories(categories: list[Any], problems: _Problems) -> None:
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


def _check_headers(headers: Any, where: str, problems: _Problems) -> None:
    if headers is None:
        return
    if not isinstance(headers, dict):
        problems.add("Invalid type. Expected: object.", where)
        return
    for name, value in headers.items():
        if name.lower() in _RESERVED_HEADERS:
            problems.add(f"The header {name} is reserved.", f"{where}.{name}", "message.headers")
        if not isinstance(value, str) or re.search(r"[\r\n]", name + value) or not name.isascii():
            problems.add(
                "Headers must be strings without line breaks.", f"{where}.{name}", "message.headers"
            )


def _check_send_at(send_at: Any, where: str, now: float, problems: _Problems) -> None:
    if send_at is None:
        return
    if isinstance(send_at, bool) or not isinstance(send_at, int):
        problems.add("The send_at parameter must be a UNIX timestamp.", where, "message.send_at")
    elif send_at > now + MAX_AHEAD:
        problems.add("Scheduling more than 72 hours in advance is forbidden.", where, "message.send_at")


def _check_custom_args(shared: Any, own: Any, where: str, problems: _Problems) -> None:
    merged: dict[str, Any] = {}
    for place, values in (("custom_args", shared), (f"{where}.custom_args", own)):
        if values is None:
            continue
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            problems.add("The custom_args must be an object of strings.", place, "message.custom_args")
            return
        merged |= values
    if len(msgspec.json.encode(merged)) >= MAX_CUSTOM_ARGS_BYTES:
        problems.add(
            f"The custom_args of a mail must be less than {MAX_CUSTOM_ARGS_BYTES} bytes.",
            f"{where}.custom_args",
            "message.custom_args",
        )


def _check_substitutions(values: Any, where: str, problems: _Problems) -> None:
    if values is None:
        return
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        problems.add("The substitutions must be an object of strings.", f"{where}.substitutions")
    elif len(msgspec.json.encode(values)) > MAX_CUSTOM_ARGS_BYTES:
        problems.add("The substitutions must be at most 10000 bytes.", f"{where}.substitutions")


def _check_asm(asm: Any, problems: _Problems) -> None:
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

"""What SendGrid's mail endpoint refuses in senders, recipients and what is theirs alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
MAX_CUSTOM_ARGS_BYTES = 10_000
MAX_AHEAD = 72 * 3600

_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
_ADDRESS = re.compile(r"[^@\s<>,;\"()]+@[^@\s<>,;\"()]+\.[^@\s<>,;\"()]+")
_FIELDS = frozenset(
    {
        "from", "to", "cc", "bcc", "subject", "headers", "substitutions", "dynamic_template_data",
        "custom_args", "send_at",
    }
)  # fmt: skip
_RESERVED_HEADERS = frozenset(
    {
        "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type",
        "content-transfer-encoding", "to", "from", "subject", "reply-to", "cc", "bcc",
    }
)  # fmt: skip


@dataclass
class Problems:
    """What is wrong with a request, gathered."""

    found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, message: str, where: str | None, anchor: str = "message") -> None:
        """Add a problem; ``where`` is the field, ``anchor`` the place in SendGrid's help."""
        self.found.append({"message": message, "field": where, "help": f"{_HELP}#{anchor}"})


def items_of(body: dict[str, Any], name: str, problems: Problems) -> list[Any]:
    """Return the array at ``name``; a problem and nothing where it is none."""
    value = body.get(name, [])
    if isinstance(value, list):
        return value
    problems.add(f"Invalid type. Expected: array, given: {type(value).__name__}.", name)
    return []


def check_address(entry: Any, where: str, problems: Problems) -> str | None:
    """Check an address object; return its address where it is a good one."""
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


def check_from(sender: Any, where: str, problems: Problems) -> None:
    """Check the sender."""
    if not isinstance(sender, dict) or not sender.get("email"):
        problems.add(
            "The from object must be provided for every email send. It is an object that requires the"
            " email"
            ' parameter, but may also contain a name parameter. e.g. {"email" : "example@example.com"}',
            f"{where}.email",
            "message.from",
        )
        return
    email = check_address(sender, where, problems)
    if email is not None and not email.isascii():
        problems.add(
            "The from email must not hold Unicode characters.", f"{where}.email", "message.from"
        )


def check_personalizations(body: dict[str, Any], now: float, problems: Problems) -> None:
    """Check the personalizations: who gets the mail, and what is theirs alone."""
    personalizations = items_of(body, "personalizations", problems)
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
        for name in sorted(set(one) - _FIELDS):
            problems.add(f"Additional property {name} is not allowed", f"{where}.{name}")
        total += _check_recipients(one, where, problems)
        if "from" in one:
            check_from(one["from"], f"{where}.from", problems)
        check_headers(one.get("headers"), f"{where}.headers", problems)
        check_send_at(one.get("send_at"), f"{where}.send_at", now, problems)
        _check_custom_args(body.get("custom_args"), one.get("custom_args"), where, problems)
        _check_substitutions(one.get("substitutions"), where, problems)
    if total > MAX_RECIPIENTS:
        problems.add(
            f"The number of recipients over all to, cc and bcc must not be more than {MAX_RECIPIENTS}.",
            "personalizations",
        )


def _check_recipients(one: dict[str, Any], where: str, problems: Problems) -> int:
    seen: set[str] = set()
    count = 0
    if not isinstance(one.get("to"), list) or not one["to"]:
        problems.add(
            "The to array is required for all personalization objects, and must have at least one"
            " email object"
            " with a valid email address.",
            f"{where}.to",
            "message.personalizations.to",
        )
    for kind in ("to", "cc", "bcc"):
        entries = one.get(kind) or []
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            email = check_address(entry, f"{where}.{kind}.{number}", problems)
            count += 1
            if email is not None and email.lower() in seen:
                problems.add(
                    "Each email address in the personalization block should be unique between to, cc,"
                    " and bcc. We"
                    f" found the first duplicate instance of [{email}] in the {where}.{kind} field.",
                    where,
                    "message.recipient-errors",
                )
            elif email is not None:
                seen.add(email.lower())
    return count


def check_headers(headers: Any, where: str, problems: Problems) -> None:
    """Check headers of our own."""
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


def check_send_at(send_at: Any, where: str, now: float, problems: Problems) -> None:
    """Check the time to send at, in seconds since the epoch."""
    if send_at is None:
        return
    if isinstance(send_at, bool) or not isinstance(send_at, int):
        problems.add("The send_at parameter must be a UNIX timestamp.", where, "message.send_at")
    elif send_at > now + MAX_AHEAD:
        problems.add("Scheduling more than 72 hours in advance is forbidden.", where, "message.send_at")


def _check_custom_args(shared: Any, own: Any, where: str, problems: Problems) -> None:
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


def _check_substitutions(values: Any, where: str, problems: Problems) -> None:
    if values is None:
        return
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        problems.add("The substitutions must be an object of strings.", f"{where}.substitutions")
    elif len(msgspec.json.encode(values)) > MAX_CUSTOM_ARGS_BYTES:
        problems.add("The substitutions must be at most 10000 bytes.", f"{where}.substitutions")

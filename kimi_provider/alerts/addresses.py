"""Recipients: from what people write to addresses that can be sent to, or an error that names none.

An error says "recipient number 3", counted from 1 as given, because errors reach logs and the web UI
and addresses must not.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Up to a separator outside of quotes and angle brackets, where names may hold one.
_PART = re.compile(r"""(?:"[^"]*"|<[^<>]*>|[^,;"<]|["<])*?(?:[,;]|\Z)""")
_NAMED = re.compile(r"""^\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^<>"]*?))\s*<(?P<address>[^<>]*)>\s*$""")

# Control characters and every way Unicode has to break a line; lone surrogates have no UTF-8 at all.
_BREAKING = {"Cc", "Zl", "Zp", "Cs"}


Kind = Literal["to", "cc", "bcc"]


@dataclass(frozen=True)
class Recipient:
    """One person's address, as it can be sent to (a domain beyond ASCII is in Punycode).

    ``kind`` matters only in a mail that all of its recipients share.
    """

    address: str
    name: str | None = None
    kind: Kind = field(default="to", compare=False)

    @property
    def key(self) -> str:
        """What makes two recipients the same; mail systems do not tell case apart."""
        return self.address.casefold()

    def __repr__(self) -> str:
        """Show no address: representations end in logs."""
        return "Recipient(…)"


def check_line(what: str, value: str) -> str:
    """Return the value if it is fit for a mail header.

    :param what: how the error names it, such as ``subject``.
    :raises ConfigurationError: if it holds a line break or a control character, by which a value could
        add headers of its own. The message names the character and not the value.
    """
    for position, character in enumerate(value, 1):
        if unicodedata.category(character) in _BREAKING:
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            raise ConfigurationError(
                f"The {what} has a control character ({name}) at position {position}. It must be one "
                "line of text; take line breaks out before it gets here."
            )
    return value


def one_line(text: str) -> str:
    """Return text from elsewhere as one line that :func:`check_line` takes."""
    kept = (" " if unicodedata.category(character) in _BREAKING else character for character in text)
    return " ".join("".join(kept).split())


def check_address(what: str, value: str) -> str:
    """Return an address in the form in which it is sent to, checked without asking DNS.

    :param what: how the error names it, such as ``recipient number 3``.
    :raises ConfigurationError: if it is no address; the message does not show it.
    """
    from email_validator import EmailSyntaxError, validate_email

    check_line(what, value)
    try:
        checked = validate_email(
            value,
            check_deliverability=False,
            allow_smtputf8=False,  # SendGrid does not speak SMTPUTF8
            test_environment=True,  # the reserved domain .test leads nowhere, and trial set-ups use it
        )
    except EmailSyntaxError as error:
        # Only its own texts are free of the address; those that wrap an IDNA error quote the domain.
        why = f" {error}" if error.__cause__ is None else " Its domain is not valid."
        raise ConfigurationError(f"The {what} is not an e-mail address.{why}") from None
    address = checked.ascii_email
    if address is None:  # only with SMTPUTF8, which is off
        raise ConfigurationError(f"The {what} cannot be written in ASCII, which SendGrid needs.")
    return address


def recipients(
    value: str | Iterable[str], *, allowed_domains: Sequence[str] = ()
) -> tuple[Recipient, ...]:
    """Return the recipients, each once, in the order given.

    :param value: addresses, each ``ann@example.org`` or ``Ann Lee <ann@example.org>``: one text with
        commas or semicolons between them, or a list of such texts.
    :param allowed_domains: the domains that may be sent to, ``*.example.org`` for all below one; empty
        means any.
    :raises ConfigurationError: if there is none, one is no address, or its domain is not allowed.
    """
    parts = [part for text in ([value] if isinstance(value, str) else value) for part in _split(text)]
    seen: dict[str, Recipient] = {}
    for number, part in enumerate(parts, 1):
        recipient = _parse(part, f"recipient number {number}")
        _check_domain(recipient, number, allowed_domains)
        seen.setdefault(recipient.key, recipient)
    if not seen:
        raise ConfigurationError(
            "There is no recipient. Give one address or more: 'ann@example.org; bob@example.org'."
        )
    return tuple(seen.values())


def everyone(
    to: str | Iterable[str],
    cc: str | Iterable[str] = (),
    bcc: str | Iterable[str] = (),
    *,
    allowed_domains: Sequence[str] = (),
) -> tuple[Recipient, ...]:
    """Return all who get a mail, each once, in the first of the three lists that names them.

    :param to: see :func:`recipients`; must name someone.
    :param cc: who gets a copy; may be empty.
    :param bcc: who gets a copy unseen; may be empty.
    :raises ConfigurationError: as :func:`recipients` does; it says in which list.
    """
    seen: dict[str, Recipient] = {}
    lists: tuple[tuple[Kind, str | Iterable[str]], ...] = (("to", to), ("cc", cc), ("bcc", bcc))
    for kind, value in lists:
        texts = [value] if isinstance(value, str) else list(value)
        if kind != "to" and not any(_split(text) for text in texts):
            continue
        try:
            found = recipients(texts, allowed_domains=allowed_domains)
        except ConfigurationError as error:
            if kind == "to":
                raise
            raise ConfigurationError(f"In {kind}: {error}") from None
        for one in found:
            seen.setdefault(one.key, replace(one, kind=kind))
    return tuple(seen.values())


def _split(text: object) -> list[str]:
    if not isinstance(text, str):
        raise ConfigurationError(
            f"Recipients must be text, or a list of texts; got {type(text).__name__}. "
            "A templated list needs render_template_as_native_obj=True on the DAG."
        )
    parts = (part.rstrip(",;").strip() for part in _PART.findall(text))
    return [part for part in parts if part]


def _parse(text: str, what: str) -> Recipient:
    named = _NAMED.match(text)
    if named is None:
        return Recipient(check_address(what, text))
    name = (named["quoted"] if named["quoted"] is not None else named["plain"]).strip()
    return Recipient(check_address(what, named["address"].strip()), check_name(f"name of {what}", name))


def check_name(what: str, name: str | None) -> str | None:
    """Return a display name that SendGrid takes, ``None`` for an empty one.

    :param what: how the error names it.
    :raises ConfigurationError: if it has a control character, a comma or a semicolon ("limitations" in
        SendGrid's v3 Mail Send documentation).
    """
    if not name:
        return None
    if "," in name or ";" in name:
        raise ConfigurationError(
            f"The {what} has a comma or a semicolon, which SendGrid refuses in names."
        )
    return check_line(what, name)


def _check_domain(recipient: Recipient, number: int, allowed: Sequence[str]) -> None:
    domain = recipient.key.rpartition("@")[2]
    if not allowed:
        return
    for pattern in allowed:
        wanted = _ascii(pattern.strip().casefold().removeprefix("@"))
        if domain == wanted or (wanted.startswith("*.") and domain.endswith(wanted[1:])):
            return
    raise ConfigurationError(
        f"The domain of recipient number {number} is not among the allowed ones: {', '.join(allowed)}. "
        "Take the recipient out, or add its domain to allowed_domains of the SendGrid connection."
    )


def _ascii(pattern: str) -> str:
    """Return a domain, or a pattern of one, as addresses have it: in Punycode."""
    if pattern.isascii():
        return pattern
    import idna  # of email-validator

    star, name = ("*.", pattern[2:]) if pattern.startswith("*.") else ("", pattern)
    try:
        return star + idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return pattern  # matches nothing

"""A SendGrid account's settings, from an Airflow connection's parts, checked before anything leaves."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kimi_provider.alerts.addresses import check_address, check_name
from kimi_provider.alerts.message import Message
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTS = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}
DEFAULT_TIMEOUT = 30.0
MAX_TIMEOUT = 600.0


@dataclass(frozen=True)
class SendGridConfig:
    """Settings of a SendGrid account, checked.

    :param api_key: a key with the permission Mail Send.
    :param host: base URL of the API; plain HTTP only to this machine, since the key travels along.
    :param timeout: seconds to wait for a connection, and then for each part of the answer.
    :param subuser: the subuser in whose name to send.
    :param from_email: default sender's address.
    :param from_name: default sender's name.
    :param reply_to: default address for answers.
    :param allowed_domains: domains that may be sent to; empty means any.
    :param sandbox: whether every mail is only checked, and none sent.
    :raises ConfigurationError: if a value cannot work; none shows the key.
    """

    api_key: str = field(repr=False)
    host: str = HOSTS["global"]
    timeout: float = DEFAULT_TIMEOUT
    subuser: str | None = None
    from_email: str | None = field(default=None, repr=False)
    from_name: str | None = None
    reply_to: str | None = field(default=None, repr=False)
    allowed_domains: tuple[str, ...] = ()
    sandbox: bool = False

    def __post_init__(self) -> None:
        """Check what would otherwise fail, or leak, in the middle of a request."""
        # http.client would quote a malformed header, and so the key, in its error.
        if not re.fullmatch(r"[!-~]+", self.api_key):
            raise ConfigurationError(
                "The SendGrid API key must be one word of ASCII characters; it is "
                + ("empty." if not self.api_key else "not.")
                + " Put the key into the password of the connection."
            )
        if self.subuser is not None and not re.fullmatch(r"[!-~]+", self.subuser):
            raise ConfigurationError("subuser must be one word of ASCII characters.")
        _check_host(self.host)
        if not 0 < self.timeout <= MAX_TIMEOUT:
            raise ConfigurationError(
                f"timeout must be above 0 and at most {MAX_TIMEOUT:.0f} seconds; got {self.timeout!r}."
            )
        if self.from_email is not None:
            check_address("sender's address (from_email)", self.from_email)
        if self.reply_to is not None:
            check_address("reply_to address", self.reply_to)
        check_name("sender's name (from_name)", self.from_name)

    @classmethod
    def from_connection(
        cls, *, password: str | None, host: str | None, extra: Mapping[str, Any]
    ) -> SendGridConfig:
        """Make the settings from the parts of an Airflow connection.

        :param password: the API key.
        :param host: base URL of the API; empty for the one of the region.
        :param extra: any of ``region`` (``global``, ``eu``), ``timeout``, ``subuser``, ``from_email``,
            ``from_name``, ``reply_to``, ``allowed_domains`` (a list, or text with commas between),
            ``sandbox_mode`` (whether mails are only checked).
        :raises ConfigurationError: if a value cannot work.
        """
        region = extra.get("region") or "global"
        if region not in HOSTS:
            raise ConfigurationError(f"region must be one of {', '.join(HOSTS)}; got {region!r}.")
        domains = extra.get("allowed_domains") or ()
        if isinstance(domains, str):
            domains = [domain.strip() for domain in re.split(r"[,;]", domains) if domain.strip()]
        timeout = extra.get("timeout")
        try:
            seconds = DEFAULT_TIMEOUT if timeout in (None, "") else float(timeout)
        except (TypeError, ValueError):
            raise ConfigurationError(f"timeout must be a number of seconds; got {timeout!r}.") from None
        return cls(
            api_key=(password or "").strip(),  # keys read from files come with a line break
            host=re.sub(r"/+(v3/*)?$", "", (host or "").strip()) or HOSTS[region],
            timeout=seconds,
            subuser=extra.get("subuser") or None,
            from_email=extra.get("from_email") or None,
            from_name=extra.get("from_name") or None,
            reply_to=extra.get("reply_to") or None,
            allowed_domains=tuple(domains),
            sandbox=str(extra.get("sandbox_mode") or "").strip().casefold()
            in {"true", "1", "yes", "on"},
        )

    def message(
        self,
        *,
        from_email: str | None = None,
        from_name: str | None = None,
        reply_to: str | None = None,
        sandbox: bool = False,
        **parts: Any,
    ) -> Message:
        """Make a message with the account's sender where none is given.

        :param from_email: sender's address.
        :param from_name: sender's name.
        :param reply_to: where answers go.
        :param sandbox: whether the mail is only checked; it is where the account says so, too.
        :param parts: the rest of :class:`Message`.
        :raises ConfigurationError: if there is no sender, or a part is malformed.
        """
        sender = from_email or self.from_email
        if sender is None:
            raise ConfigurationError(
                "The mail has no sender: give from_email, or set the extra 'from_email' of the SendGrid "
                "connection to an address that is verified in SendGrid."
            )
        return Message(
            from_email=sender,
            from_name=from_name or self.from_name,
            reply_to=reply_to or self.reply_to,
            sandbox=sandbox or self.sandbox,
            **parts,
        )


def _check_host(host: str) -> None:
    parts = urlsplit(host)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not host.isprintable():
        raise ConfigurationError(
            f"The host must be a URL such as {HOSTS['eu']}; got {host!r}. "
            "Leave it empty for SendGrid's own, chosen by the extra 'region'."
        )
    if parts.username or parts.password:
        raise ConfigurationError(
            "The host must not hold a user or password; the key goes to the password."
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"The host {host!r} is plain HTTP, by which the API key would travel in clear. Use https."
        )


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False

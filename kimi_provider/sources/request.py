"""What to read from an API."""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.sources.pagination import SinglePage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kimi_provider.sources.answers import Format
    from kimi_provider.sources.pagination import Pagination

# What may be shown of a query: a date or a short number says which data was asked for, and is no key.
_HARMLESS_VALUE = re.compile(r"\d{4}-\d{2}-\d{2}[T0-9:.+Z-]{0,20}|-?\d{1,6}")


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """What to read.

    :param base_url: where the API lives.
    :param endpoint: path below it.
    :param query: query parameters of every page.
    :param headers: sent along, secrets among them.
    :param records_path: where an answer holds its rows, such as ``data.items``; ``None`` where the
        answer is the list.
    :param pagination: how to ask for page after page.
    :param format: of each answer: ``json``, ``jsonl`` (JSON Lines) or ``csv`` (with a header row; an
        empty cell is null).
    :param max_pages: pages at most.
    :param max_rows: rows at most.
    :param max_bytes: size of all rows at most, in bytes of JSON.
    :param max_page_bytes: size of one decoded answer at most, in bytes.
    :param verify: whether the server's certificate is checked; a path names the authorities to trust.
    :param cert: client certificate: the path of a file with its key, or the paths of both.
    :param proxy: URL of a proxy; by default the environment names it.
    :param timeout: seconds to wait for a connection, and for each part of an answer.
    :param tries: requests for one page.
    :raises ConfigurationError: if the URL or a bound is none.
    """

    base_url: str = field(repr=False)
    endpoint: str = ""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    records_path: str | None = None
    pagination: Pagination = field(default_factory=SinglePage)
    format: Format = "json"
    max_pages: int = 10_000
    max_rows: int = 50_000_000
    max_bytes: int = 20 << 30
    max_page_bytes: int = 64 << 20
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxy: str | None = field(default=None, repr=False)
    timeout: float = 60.0
    tries: int = 5

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        for name in ("max_pages", "max_rows", "max_bytes", "max_page_bytes", "timeout", "tries"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}, but has to be above 0.")
        if self.format not in {"json", "jsonl", "csv"}:
            raise ConfigurationError(f"format is {self.format!r}, but has to be json, jsonl or csv.")
        try:
            url = self.full_url
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"The URL of the API cannot be read: {error}.") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigurationError(
                f"The URL of the API, {self.url!r}, has to begin with http:// or https:// and a host."
            )

    @property
    def tls(self) -> ssl.SSLContext | bool:
        """How the connection is secured.

        :raises ConfigurationError: if a certificate cannot be read.
        """
        if self.verify is True and self.cert is None:
            return True
        try:
            context = ssl.create_default_context(
                cafile=self.verify if isinstance(self.verify, str) else None
            )
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.cert is not None:
                context.load_cert_chain(*([self.cert] if isinstance(self.cert, str) else self.cert))
        except OSError as error:
            raise ConfigurationError(
                f"A certificate named in verify or cert cannot be read: {type(error).__name__}. Check "
                "the paths in the connection's extra."
            ) from None
        return context

    @property
    def fingerprint(self) -> str:
        """What tells this request from others that would give other rows; it tells no value."""
        asked = (
            str(self.full_url),
            sorted(self.query.items()),
            self.records_path,
            self.pagination,
            self.format,
        )
        return hashlib.sha256(repr(asked).encode()).hexdigest()

    @property
    def full_url(self) -> httpx.URL:
        """The URL of the first page, without ``query``."""
        return httpx.URL(f"{self.base_url.rstrip('/')}/{self.endpoint.lstrip('/')}".rstrip("/"))

    @property
    def url(self) -> str:
        """The URL as it may be shown: without credentials and query, whose values may be private."""
        return str(self.full_url.copy_with(userinfo=b"", query=None, fragment=None))

    @property
    def shown_query(self) -> str:
        """The query as it may be shown: values other than dates and short numbers left out."""
        pairs = [
            f"{name}={value if _HARMLESS_VALUE.fullmatch(str(value)) else '…'}"
            for name, value in self.query.items()
        ]
        return ", ".join(pairs) or "its whole range"

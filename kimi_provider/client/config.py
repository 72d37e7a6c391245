"""The settings of a client, validated once, from what an Airflow connection holds."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 — msgspec resolves annotations at run time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kimi_provider.client.hosts import HOSTS, Host, find_host
from kimi_provider.client.models import ModelProfile, Price, find_profile
from kimi_provider.client.options import check_extra, model_overrides, overlay, price_overrides
from kimi_provider.exceptions import ConfigurationError


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a :class:`KimiClient` needs to know.

    :param base_url: URL below which ``/chat/completions`` lies.
    :param api_key: the key; never shown by ``repr``.
    :param model: model id where a request names none.
    :param host: the host's habits.
    :param models: fields of :class:`ModelProfile` to override, by model id or family.
    :param prices: prices by model id or family; they win over the host's and the maker's.
    :param max_tokens: answer bound where a request gives none, in tokens.
    :param temperature: where a request gives none; sent only to models that allow it.
    :param thinking: whether the model thinks, where a request does not say.
    :param effort: how hard, where a request does not say.
    :param reasoning_key: field in which reasoning is written back, whatever field it came in.
    :param requests_per_minute: kept inside this process, over all clients of one host and key.
    :param tokens_per_minute: the same, counted the way Moonshot charges: prompt plus ``max_tokens``.
    :param max_concurrency: calls in flight, counted the same way.
    :param idle_timeout: seconds without an event with content after which a stream is given up;
        comments and keep-alives do not count, so that up to twice as long can pass.
    :param timeout: seconds without a byte after which a call that is not streamed is given up.
    :param connect_timeout: seconds to connect.
    :param max_attempts: tries of one call in all; the only retries there are.
    :param max_retry_wait: the longest wait between two tries, in seconds; where the host asks for
        more, the error is raised at once, so that Airflow can reschedule the task.
    :param max_response_bytes: bound of an answer in memory, after decompression.
    :param verify: ``False`` to trust any certificate, or the path of a CA file.
    :param headers: further headers.
    """

    base_url: str
    api_key: str
    model: str | None = None
    host: Host
    models: Mapping[str, Mapping[str, Any]] = {}
    prices: Mapping[str, Price] = {}
    max_tokens: int | None = None
    temperature: float | None = None
    thinking: bool | None = None
    effort: str | None = None
    reasoning_key: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrency: int | None = None
    idle_timeout: float = 300.0
    timeout: float = 900.0
    connect_timeout: float = 15.0
    max_attempts: int = 5
    max_retry_wait: float = 60.0
    max_response_bytes: int = 64 << 20
    verify: bool | str = True
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        """Show where the client points, never the key."""
        return f"ClientConfig(host={self.host.name!r}, base_url={self.base_url!r}, model={self.model!r})"

    @classmethod
    def from_mapping(
        cls,
        *,
        base_url: str | None = None,
        api_key: str | None,
        model: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> ClientConfig:
        """Make the settings from what a connection holds.

        :param base_url: URL of the API, with or without a scheme; ``None`` takes that of the
            preset that ``extra["host"]`` names.
        :param api_key: the key.
        :param model: model id; ``extra["model"]`` stands in.
        :param extra: any parameter of this class, and: ``host`` (a preset's name; else it is
            recognized by URL), ``host_options`` (fields of :class:`Host`), ``models``
            (``{id: {field: value}}``), ``prices`` (``{id: {"hit", "miss", "output"}}`` in US
            dollars per million tokens; without ``hit`` cached input costs as much as other).
        :raises ConfigurationError: names the setting, its value and what is allowed.
        """
        given = check_extra(dict(extra or {}))
        name = given.pop("host", None)
        if name is not None and name not in HOSTS:
            raise ConfigurationError(f"host is {name!r}; allowed are {', '.join(HOSTS)}.")
        preset_url = HOSTS[name].base_url if name else None
        url = _with_path(_checked_url(base_url or given.pop("base_url", None) or preset_url))
        given.pop("base_url", None)
        host = overlay(
            HOSTS[name] if name else find_host(url), given.pop("host_options", {}), "host_options"
        )
        model = model or given.pop("model", None)
        given.pop("model", None)
        models = model_overrides(given.pop("models", {}))
        prices = price_overrides(given.pop("prices", {}))
        key = checked_key(api_key)
        return cls(
            base_url=url, api_key=key, model=model, host=host, models=models, prices=prices, **given
        )

    def profile(self, model: str) -> ModelProfile:
        """Return what is known of ``model``, with the connection's overrides."""
        return find_profile(model, self.models)

    def price(self, model: str) -> Price | None:
        """Return what ``model`` costs at this host, ``None`` where that is not known."""
        profile = self.profile(model)
        overridden = self.prices.get(model) or self.prices.get(profile.family)
        if overridden is not None:
            return overridden
        listed = profile.price if self.host.list_prices else None
        return self.host.prices.get(profile.family) or listed

    def native_schema(self, model: str | None = None) -> bool:
        """Whether ``response_format: json_schema`` works with ``model`` (default: the own) here."""
        name = model or self.model
        return self.host.json_schema and name is not None and self.profile(name).json_schema


def _with_path(url: str) -> str:
    """Complete the URL of a known host that names no path, as the host field of a connection may."""
    parts, known = urlsplit(url), find_host(url).base_url
    if parts.path or known is None or parts.hostname != urlsplit(known).hostname:
        return url
    return url + urlsplit(known).path


def checked_key(key: str | None) -> str:
    """Return the key without surrounding blanks; never show it, whatever is wrong with it."""
    stripped = (key or "").strip()
    if not stripped:
        raise ConfigurationError("The API key is empty; set the connection's password to the key.")
    # A line break in a header value would make httpx print the whole header in its error.
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise ConfigurationError(
            "The API key holds a blank, a control character or a letter outside ASCII; copy it again."
        )
    return stripped


def _checked_url(url: str | None) -> str:
    if not url:
        known = ", ".join(name for name, host in HOSTS.items() if host.base_url)
        raise ConfigurationError(
            f"base_url is empty; give the API's URL, or set host in the connection's extra to {known}."
        )
    if "://" not in url:
        url = f"https://{url}"
    url = url.strip().rstrip("/").removesuffix("/chat/completions").rstrip("/")
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        raise ConfigurationError(f"base_url is {url!r}; allowed is an http or https URL.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(
            f"base_url for {parts.hostname} holds a user name, a query or a fragment; give the "
            "plain URL."
        )
    return url

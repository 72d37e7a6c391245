"""Airflow's connections as URLs and headers."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection


# What Airflow's HTTP provider takes from a connection's extra; all else there are headers. Those about
# redirects and streaming have no meaning here: none is followed, and all answers are streamed.
_OPTIONS = frozenset(
    {
        "allow_redirects", "cert", "check_response", "max_redirects", "proxies", "proxy", "srv_lookup",
        "stream", "timeout", "trust_env", "verify", "verify_ssl",
    }
)  # fmt: skip


@dataclass(frozen=True)
class HttpEndpoint:
    """Where an API lives, and what opens it (secret, so it stays out of ``repr``).

    :ivar options: any of ``verify``, ``cert``, ``proxy`` and ``timeout`` of
        :class:`~kimi_provider.sources.request.HttpRequest`.
    """

    base_url: str
    headers: dict[str, str] = field(repr=False)
    options: dict[str, Any] = field(repr=False, default_factory=dict)


def base_url(connection: Connection, default_scheme: str) -> str | None:
    """Put together what Airflow takes apart: a connection given as a URI has host, port and schema.

    :param connection: its host may also be a whole URL.
    :param default_scheme: where neither the host nor the schema says.
    :returns: the URL, ``None`` where the connection has no host.
    """
    host = (connection.host or "").rstrip("/")
    if not host:
        return None
    url = host if "://" in host else f"{connection.schema or default_scheme}://{host}"
    if not connection.port:
        return url
    scheme, _, rest = url.partition("://")
    name, slash, path = rest.partition("/")
    return f"{scheme}://{name}:{connection.port}{slash}{path}"


def http_endpoint(conn_id: str) -> HttpEndpoint:
    """Read an ``http`` connection the way Airflow's own HTTP provider does.

    :param conn_id: id of the connection.

        - host, with or without scheme, port, and ``schema`` for the scheme;
        - login and password for basic authentication; a password alone is sent as a bearer token;
        - extra as headers, such as ``{"X-API-Key": "..."}``, beside ``verify`` (``false``, or a path
          of authorities to trust), ``cert`` (a path, or a list of two), ``proxy`` (or ``proxies`` by
          scheme) and ``timeout`` (seconds). An ``Authorization`` in the extra goes before login and
          password. ``srv_lookup`` is not supported.
    :raises ConfigurationError: if the connection names no host, or asks for what is not supported.
    :raises AirflowNotFoundException: if there is no such connection.
    """
    connection = BaseHook.get_connection(conn_id)
    url = base_url(connection, default_scheme="http")
    if url is None:
        raise ConfigurationError(
            f"Connection {conn_id!r} has no host. Set it to the API's URL, such as https://api.example.com."
        )
    extra = connection.extra_dejson
    headers = {
        str(name): str(value)
        for name, value in extra.items()
        if name not in _OPTIONS and isinstance(value, str | int | float) and not isinstance(value, bool)
    }
    given = {name.lower() for name in headers}
    if connection.login and "authorization" not in given:
        token = b64encode(f"{connection.login}:{connection.password or ''}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    elif connection.password and not connection.login and "authorization" not in given:
        headers["Authorization"] = f"Bearer {connection.password}"
    return HttpEndpoint(base_url=url, headers=headers, options=_options(conn_id, extra, url))


def _options(conn_id: str, extra: dict[str, Any], url: str) -> dict[str, Any]:
    """Return what the extra says of the way to the API."""
    if str(extra.get("srv_lookup", False)).lower() in {"true", "1"}:
        raise ConfigurationError(
            f"Connection {conn_id!r} asks for srv_lookup, which is not supported. Set its host instead."
        )
    options: dict[str, Any] = {}
    verify = extra.get("verify", extra.get("verify_ssl"))
    if verify is not None:
        words = {"true": True, "false": False}
        options["verify"] = words.get(str(verify).lower(), verify)
    if extra.get("cert"):
        cert = extra["cert"]
        options["cert"] = cert if isinstance(cert, str) else tuple(cert)
    proxy = extra.get("proxies", extra.get("proxy"))
    if isinstance(proxy, dict):
        scheme = url.partition("://")[0]
        proxy = proxy.get(scheme, proxy.get(f"{scheme}://", proxy.get("all")))
    if proxy:
        options["proxy"] = proxy
    if extra.get("timeout"):
        options["timeout"] = float(extra["timeout"])
    return options

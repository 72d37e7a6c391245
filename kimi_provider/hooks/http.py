"""Airflow's ``http`` connections, as the HTTP source needs them."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field

from airflow.sdk import BaseHook

from kimi_provider.exceptions import ConfigurationError


@dataclass(frozen=True)
class HttpEndpoint:
    """Where an API lives, and the headers that open it (secret, so they stay out of ``repr``)."""

    base_url: str
    headers: dict[str, str] = field(repr=False)


def http_endpoint(conn_id: str) -> HttpEndpoint:
    """Read an ``http`` connection the way Airflow's own HTTP provider does.

    :param conn_id: id of the connection: host (with or without scheme), port, ``schema`` for the
        scheme, login and password for basic authentication, extra as headers.
    :raises ConfigurationError: if the connection names no host.
    :raises AirflowNotFoundException: if there is no such connection.
    """
    conn = BaseHook.get_connection(conn_id)
    host = (conn.host or "").rstrip("/")
    if not host:
        raise ConfigurationError(
            f"Connection {conn_id!r} has no host. Set it to the API's base URL, such as https://api.example.com."
        )
    if "://" not in host:
        host = f"{conn.schema or 'http'}://{host}"
    if conn.port:
        scheme, _, rest = host.partition("://")
        name, slash, path = rest.partition("/")
        host = f"{scheme}://{name}:{conn.port}{slash}{path}"
    headers = {str(k): str(v) for k, v in conn.extra_dejson.items() if isinstance(v, str)}
    if conn.login:
        token = b64encode(f"{conn.login}:{conn.password or ''}".encode()).decode()
        headers.setdefault("Authorization", f"Basic {token}")
    elif conn.password:
        headers.setdefault("Authorization", f"Bearer {conn.password}")
    return HttpEndpoint(base_url=host, headers=headers)

"""Airflow's connections as URLs and headers."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection


@dataclass(frozen=True)
class HttpEndpoint:
    """Where an API lives, and the headers that open it (secret, so they stay out of ``repr``)."""

    base_url: str
    headers: dict[str, str] = field(repr=False)


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

    :param conn_id: id of the connection: host (with or without scheme), port, ``schema`` for the
        scheme; login and password for basic authentication, a password alone as a bearer token;
        extra as headers.
    :raises ConfigurationError: if the connection names no host.
    :raises AirflowNotFoundException: if there is no such connection.
    """
    connection = BaseHook.get_connection(conn_id)
    url = base_url(connection, default_scheme="http")
    if url is None:
        raise ConfigurationError(
            f"Connection {conn_id!r} has no host. Set it to the API's URL, such as https://api.example.com."
        )
    headers = {str(k): v for k, v in connection.extra_dejson.items() if isinstance(v, str)}
    if connection.login:
        token = b64encode(f"{connection.login}:{connection.password or ''}".encode()).decode()
        headers.setdefault("Authorization", f"Basic {token}")
    elif connection.password:
        headers.setdefault("Authorization", f"Bearer {connection.password}")
    return HttpEndpoint(base_url=url, headers=headers)

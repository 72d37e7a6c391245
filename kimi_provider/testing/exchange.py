"""One request on its way through the simulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    import asyncio

    from kimi_provider.testing.calls import Call
    from kimi_provider.testing.state import State


@dataclass(slots=True)
class Exchange:
    """A request that has arrived whole, and the connection it came by.

    :param headers: names in lower case.
    :param path_values: what the route's pattern caught.
    :param reply_headers: headers that the handler adds to its answer.
    """

    state: State
    transport: asyncio.Transport
    call: Call
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    path_values: dict[str, str] = field(default_factory=dict)
    reply_headers: dict[str, str] = field(default_factory=dict)

    @property
    def bearer(self) -> str:
        """The key of the ``Authorization`` header, empty where there is none."""
        return bearer_of(self.headers)


def bearer_of(headers: dict[str, str]) -> str:
    """Return the key of the ``Authorization`` header, empty where there is none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def query_of(raw: bytes) -> dict[str, str]:
    """Return a query's values, the last of each name."""
    return {
        name: values[-1]
        for name, values in parse_qs(raw.decode("latin-1"), keep_blank_values=True).items()
    }

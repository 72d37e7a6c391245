"""A call of one of the host's endpoints other than chat: sent, retried, checked, decoded."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from kimi_provider.client.errors import Answer, request_ids, status_error
from kimi_provider.client.payload import has_error
from kimi_provider.client.retry import with_retries
from kimi_provider.client.transport import Transport, body_of, error_body
from kimi_provider.exceptions import ConfigurationError, ResponseValidationError

if TYPE_CHECKING:
    from kimi_provider.client.config import ClientConfig
    from kimi_provider.client.models import Price

logger = logging.getLogger("kimi_provider.client")

_IDLE = 60.0
_GZIP = {"Accept-Encoding": "gzip"}


class Api:
    """The host's endpoints, with one owner of retries and one mapping of errors."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.transport = Transport(config)
        self._unpriced: set[str] = set()

    async def json(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        files: dict[str, tuple[str, bytes, str]] | None = None,
        data: dict[str, str] | None = None,
        idempotent: bool = True,
        own_errors: bool = False,
    ) -> dict[str, Any]:
        """Call an endpoint and return the JSON object it answers with.

        :param idempotent: whether the call may be repeated when it is not known if it took effect.
        :param own_errors: an ``error`` in a successful answer is the endpoint's result, not a failure.
        :raises APIError: if the host answers with an error, or with something else.
        """
        content = json.dumps(body).encode() if body is not None else None
        raw, ids = await self.bytes(
            method, path, content=content, params=params, files=files, data=data, idempotent=idempotent
        )
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ResponseValidationError(
                f"{self.config.host.name} answered {method} {path} with something that is no JSON "
                "object; check base_url.",
                request_ids=ids,
            )
        if not own_errors and has_error(value):
            raise status_error(200, {}, raw, self._answer())
        return value

    async def bytes(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: dict[str, str] | None = None,
        files: dict[str, tuple[str, bytes, str]] | None = None,
        data: dict[str, str] | None = None,
        idempotent: bool = True,
        max_bytes: int | None = None,
    ) -> tuple[bytes, tuple[str, ...]]:
        """Call an endpoint and return its body, and the ids of the request.

        :raises APIError: if the host answers with an error.
        """
        bound = max_bytes or self.config.max_response_bytes
        headers = _GZIP | ({"Content-Type": "application/json"} if content is not None else {})

        async def attempt(_: int) -> tuple[bytes, tuple[str, ...]]:
            async with self.transport.send(
                method,
                path,
                idle=max(_IDLE, self.config.connect_timeout),
                content=content,
                headers=headers,
                params=params,
                files=files,
                data=data,
            ) as response:
                if not response.is_success:
                    raw = await error_body(response)
                    raise status_error(response.status_code, response.headers, raw, self._answer())
                return await body_of(response, bound), request_ids(response.headers)

        return await with_retries(attempt, self.config, model=None, idempotent=idempotent)

    def price(self, model: str) -> Price | None:
        """Return what ``model`` costs; that it is not known is said once."""
        price = self.config.price(model)
        if price is None and model not in self._unpriced:
            self._unpriced.add(model)
            logger.warning(
                "No price is known for %s at %s, so that its cost is unknown; set prices in the "
                "connection's extra",
                model,
                self.config.host.name,
            )
        return price

    def require(self, what: str) -> None:
        """Refuse early what only Moonshot's own API has.

        :raises ConfigurationError: names the host and the way out.
        """
        if not self.config.host.side_endpoints:
            raise ConfigurationError(
                f"{self.config.host.name} has no {what}; only Moonshot's own API does. If this URL "
                "serves it too, set host_options.side_endpoints to true in the connection's extra."
            )

    def _answer(self) -> Answer:
        return Answer(self.config.host.name, None, self.config.api_key)

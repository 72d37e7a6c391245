"""Moonshot's batch endpoint: many calls in a file, answered within hours, at 60 % of the price."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from kimi_provider.client.chunk import lenient_chunk
from kimi_provider.client.endpoints import MAX_FILE_BYTES, file_content, read, upload_file
from kimi_provider.client.errors import Answer, status_error
from kimi_provider.client.models import Price
from kimi_provider.client.request import build_body, encode
from kimi_provider.client.response import Assembler
from kimi_provider.exceptions import (
    APIError,
    ConfigurationError,
    ResponseValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from kimi_provider.client.api import Api
    from kimi_provider.client.messages import ChatRequest, ChatResult

PRICE_FACTOR = Decimal("0.6")
_ENDED = {"completed", "failed", "expired", "cancelled"}
_PATH = "/v1/chat/completions"
_OK = 200


class BatchInfo(msgspec.Struct, frozen=True):
    """A batch as the host tells of it; ``request_counts`` has ``total``, ``completed``, ``failed``."""

    id: str
    status: str
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: dict[str, int] | None = None
    metadata: dict[str, str] | None = None
    created_at: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen; a batch that did not complete can have results too."""
        return self.status in _ENDED


class Batches:
    """Batches of Moonshot's API. Not for K3."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def lines(self, requests: Mapping[str, ChatRequest]) -> bytes:
        """Return the file of a batch.

        :param requests: what to ask, by the caller's own ids; one model for all.
        :raises ConfigurationError: if they name several models, or are too large together.
        """
        if not requests:
            raise ConfigurationError("A batch without a request; give at least one.")
        lines = []
        models = set()
        for custom_id, request in requests.items():
            body = build_body(msgspec.structs.replace(request, stream=False), self._api.config)
            models.add(body["model"])
            line = {"custom_id": custom_id, "method": "POST", "url": _PATH, "body": body}
            lines.append(encode(line))
        if len(models) > 1:
            raise ConfigurationError(
                f"The batch names the models {', '.join(sorted(models))}; Moonshot takes one "
                "a file. Split it."
            )
        content = b"\n".join(lines) + b"\n"
        if len(content) > MAX_FILE_BYTES:
            raise ConfigurationError(
                f"The batch's file has {len(content)} bytes; allowed are {MAX_FILE_BYTES}. Split it."
            )
        return content

    async def create(
        self,
        requests: Mapping[str, ChatRequest],
        *,
        completion_window: str = "24h",
        metadata: Mapping[str, str] | None = None,
        on_upload: Callable[[str], Awaitable[None]] | None = None,
    ) -> BatchInfo:
        """Upload the requests and submit them as a batch.

        Neither step is repeated when it is not known whether it took effect: look for the batch by
        its metadata or its file (:meth:`list`) before submitting again, or it is paid twice.

        :param requests: what to ask, by the caller's own ids; one model for all.
        :param completion_window: how long the host may take, ``12h`` to ``7d``.
        :param metadata: texts to find the batch by.
        :param on_upload: awaited with the file's id before the batch is submitted.
        :raises ConfigurationError: if the requests cannot be one batch, or the host has none.
        :raises APIError: if the host does not answer as it should.
        """
        self._api.require("batch endpoint")
        file = await upload_file(self._api, "batch.jsonl", self.lines(requests), "batch")
        if on_upload is not None:
            await on_upload(file.id)
        body: dict[str, Any] = {
            "input_file_id": file.id,
            "endpoint": _PATH,
            "completion_window": completion_window,
        }
        if metadata:
            body["metadata"] = dict(metadata)
        answer = await self._api.json("POST", "/batches", body=body, idempotent=False, own_errors=True)
        return read(self._api, answer, BatchInfo, "/batches")

    async def list(self, *, limit: int = 100) -> list[BatchInfo]:
        """List the newest batches.

        :raises APIError: if the host does not answer as it should.
        """
        self._api.require("batch endpoint")
        answer = await self._api.json("GET", "/batches", params={"limit": str(limit)})
        return read(self._api, answer, _Page, "/batches").data

    async def get(self, batch_id: str) -> BatchInfo:
        """Return how a batch stands.

        :raises APIError: if the host does not answer as it should.
        """
        self._api.require("batch endpoint")
        answer = await self._api.json("GET", f"/batches/{quote(batch_id, safe='')}", own_errors=True)
        return read(self._api, answer, BatchInfo, "/batches")

    async def cancel(self, batch_id: str) -> BatchInfo:
        """Ask for a batch to stop; what is done by then is paid and has results.

        :raises APIError: if the host does not answer as it should.
        """
        self._api.require("batch endpoint")
        answer = await self._api.json(
            "POST", f"/batches/{quote(batch_id, safe='')}/cancel", own_errors=True
        )
        return read(self._api, answer, BatchInfo, "/batches")

    async def results(self, batch: BatchInfo) -> dict[str, ChatResult | APIError]:
        """Return what a batch answered, or how it failed, by the caller's ids.

        :raises APIError: if the host does not answer as it should.
        """
        found: dict[str, ChatResult | APIError] = {}
        for file_id in (batch.error_file_id, batch.output_file_id):
            if not file_id:
                continue
            for line in (await file_content(self._api, file_id)).split(b"\n"):
                if line.strip():
                    custom_id, outcome = self._outcome(line)
                    found[custom_id] = outcome
        return found

    def _outcome(self, line: bytes) -> tuple[str, ChatResult | APIError]:
        try:
            value = json.loads(line, parse_constant=lambda _: None)
            custom_id = str(value["custom_id"])
            response = value.get("response") or {}
            body = response.get("body") or {}
            status = int(response.get("status_code") or _OK)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ResponseValidationError(
                f"{self._api.config.host.name} gave a batch result that is no JSON object with "
                "a custom_id."
            ) from None
        error = value.get("error") or (body.get("error") if isinstance(body, dict) else None)
        if error or status != _OK or not isinstance(body, dict):
            answer = Answer(self._api.config.host.name, None, self._api.config.api_key)
            raw = json.dumps({"error": error} if error else body).encode()
            return custom_id, status_error(status, {}, raw, answer)
        assembler = Assembler("")
        assembler.add(lenient_chunk(body))
        request_id = response.get("request_id")
        try:
            result = assembler.result(
                request_ids=(request_id,) if isinstance(request_id, str) else (),
                price=self._price(str(body.get("model") or "")),
            )
        except ResponseValidationError as invalid:
            return custom_id, invalid
        return custom_id, result

    def _price(self, model: str) -> Price | None:
        price = self._api.price(model)
        if price is None:
            return None
        return Price(*(getattr(price, part) * PRICE_FACTOR for part in ("hit", "miss", "output")))


class _Page(msgspec.Struct):
    data: list[BatchInfo]

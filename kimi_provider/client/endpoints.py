"""The host's endpoints beside chat: models, balance, token estimate, files."""

from __future__ import annotations

import difflib
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from kimi_provider.client.request import build_body
from kimi_provider.exceptions import ConfigurationError, NotFoundError, ResponseValidationError

if TYPE_CHECKING:
    from kimi_provider.client.api import Api
    from kimi_provider.client.messages import ChatRequest

FilePurpose: TypeAlias = Literal["file-extract", "image", "video", "batch"]
MAX_FILE_BYTES = 100 << 20
_NAMED = 20


class ModelInfo(msgspec.Struct, frozen=True):
    """A model that the host lists; ``context_length`` in tokens, all but the id where the host tells."""

    id: str
    owned_by: str | None = None
    context_length: int | None = None
    supports_reasoning: bool | None = None
    supports_image_in: bool | None = None
    supports_video_in: bool | None = None


class Balance(msgspec.Struct, frozen=True):
    """An account's balance, in the account's currency; from 0 down, calls are refused."""

    available: Decimal
    voucher: Decimal
    cash: Decimal


class FileInfo(msgspec.Struct, frozen=True):
    """An uploaded file; ``bytes`` is its size."""

    id: str
    filename: str | None = None
    purpose: str | None = None
    bytes: int | None = None
    status: str | None = None


T = TypeVar("T")


async def models(api: Api) -> list[ModelInfo]:
    """List the models that the key may use."""
    answer = await api.json("GET", "/models")
    data = answer.get("data")
    if not isinstance(data, list):
        raise _malformed(api, "/models", "data")
    found = []
    for item in data:
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            continue
        try:
            found.append(msgspec.convert(item, ModelInfo))
        except msgspec.ValidationError:
            found.append(ModelInfo(item["id"]))
    return found


async def balance(api: Api) -> Balance:
    """Return the account's balance."""
    api.require("balance endpoint")
    answer = await api.json("GET", "/users/me/balance")
    data = answer.get("data")
    try:
        values = [
            Decimal(str(data[f"{name}_balance"]))  # type: ignore[index]
            for name in ("available", "voucher", "cash")
        ]
    except (TypeError, KeyError, InvalidOperation):
        raise _malformed(api, "/users/me/balance", "data.available_balance") from None
    return Balance(*values)


async def estimate_tokens(api: Api, request: ChatRequest) -> int:
    """Return how many tokens the prompt has, as the host counts."""
    api.require("token estimate")
    full = build_body(request, api.config)
    body: dict[str, Any] = {}
    body.update((name, full[name]) for name in ("model", "messages", "tools") if name in full)
    answer = await api.json("POST", "/tokenizers/estimate-token-count", body=body)
    data = answer.get("data")
    total = data.get("total_tokens") if isinstance(data, dict) else None
    if not isinstance(total, int) or total < 0:
        raise _malformed(api, "/tokenizers/estimate-token-count", "data.total_tokens")
    return total


async def upload_file(api: Api, name: str, content: bytes, purpose: FilePurpose) -> FileInfo:
    """Upload a file."""
    api.require("file storage")
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(
            f"The file {name!r} has {len(content)} bytes; allowed are {MAX_FILE_BYTES}. Split it."
        )
    answer = await api.json(
        "POST",
        "/files",
        files={"file": (name, content, "application/octet-stream")},
        data={"purpose": purpose},
        idempotent=False,
    )
    return read(api, answer, FileInfo, "/files")


async def file_content(api: Api, file_id: str) -> bytes:
    """Return a file's content, or the text extracted from it."""
    api.require("file storage")
    raw, _ = await api.bytes(
        "GET", f"/files/{quote(file_id, safe='')}/content", max_bytes=2 * MAX_FILE_BYTES
    )
    return raw


def read(api: Api, answer: dict[str, Any], kind: type[T], path: str) -> T:
    """Read a JSON object as ``kind``.

    :raises ResponseValidationError: if it is none.
    """
    try:
        return msgspec.convert(answer, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _malformed(api, path, str(error)[:200]) from None


def unknown_model(error: NotFoundError, host: str, model: str, listed: list[str]) -> NotFoundError:
    """Return ``error`` with the ids that the host lists, those most like ``model`` first."""
    kimi = [name for name in listed if "kimi" in name.lower()]
    near = difflib.get_close_matches(model, kimi or listed, n=_NAMED, cutoff=0.0)
    more = f" and {len(listed) - len(near)} more" if len(listed) > len(near) else ""
    return NotFoundError(
        f"{host} does not list the model {model!r}; it is retired or misspelled. It lists "
        f"{', '.join(near)}{more}. Set model to one of them.",
        status=error.status,
        error_type=error.error_type,
        request_ids=error.request_ids,
    )


def _malformed(api: Api, path: str, what: str) -> ResponseValidationError:
    return ResponseValidationError(
        f"{api.config.host.name} answered {path} without a proper {what}; check base_url and the key."
    )

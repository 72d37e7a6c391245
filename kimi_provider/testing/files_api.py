"""The Kimi API's files: upload, list, read, delete."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any

from kimi_provider.testing.kimi_api import authorize
from kimi_provider.testing.refusal import RefusalError

if TYPE_CHECKING:
    from kimi_provider.testing.exchange import Exchange
    from kimi_provider.testing.store import StoredFile

PURPOSES = ("file-extract", "image", "video", "batch")
MAX_BYTES = 100 * 1024 * 1024
MAX_FILES = 1000


async def upload(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``POST /v1/files`` (multipart: ``purpose``, ``file``)."""
    authorize(exchange)
    purpose, name, content = _form(exchange)
    if purpose not in PURPOSES:
        raise RefusalError(f"Invalid request: purpose must be one of {', '.join(PURPOSES)}")
    if content is None:
        raise RefusalError("Invalid request: file is required")
    if not content:
        raise RefusalError("Invalid request: file content is empty")
    if len(content) > MAX_BYTES:
        raise RefusalError("Invalid request: file size is too large, max file size is 100MB")
    if len(exchange.state.files.files) >= MAX_FILES:
        raise RefusalError(f"Invalid request: at most {MAX_FILES} files are kept, delete some first")
    return 200, exchange.state.files.add_file(name, purpose, content)


def _form(exchange: Exchange) -> tuple[str, str, bytes | None]:
    content_type = exchange.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        raise RefusalError("Invalid request: the body must be multipart/form-data")
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    form = BytesParser(policy=HTTP).parsebytes(head + exchange.body)
    purpose, name, content = "", "file", None
    for part in form.iter_parts():
        field = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        payload = data if isinstance(data, bytes) else b""
        if field == "purpose":
            purpose = payload.decode()
        elif field == "file":
            name, content = part.get_filename() or name, payload
    return purpose, name, content


async def list_files(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v1/files``."""
    authorize(exchange)
    return 200, {"object": "list", "data": [file.about for file in exchange.state.files.files.values()]}


async def describe(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v1/files/{id}``."""
    authorize(exchange)
    return 200, _find(exchange).about


async def content(exchange: Exchange) -> tuple[int, bytes]:
    """Answer ``GET /v1/files/{id}/content``."""
    authorize(exchange)
    return 200, _find(exchange).content


async def delete(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``DELETE /v1/files/{id}``."""
    authorize(exchange)
    file_id = _find(exchange).about["id"]
    del exchange.state.files.files[file_id]
    return 200, {"id": file_id, "object": "file", "deleted": True}


def _find(exchange: Exchange) -> StoredFile:
    file = exchange.state.files.files.get(exchange.path_values["id"])
    if file is None:
        raise RefusalError("file not found", status=404, error_type="resource_not_found_error")
    return file

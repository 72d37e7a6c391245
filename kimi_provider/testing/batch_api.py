"""The Kimi API's batches: a file of chat requests, answered later for 60 % of the price."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.testing import wire
from kimi_provider.testing.kimi_api import authorize, complete, decode_object
from kimi_provider.testing.models import LIVE
from kimi_provider.testing.refusal import RefusalError
from kimi_provider.testing.store import Batch

if TYPE_CHECKING:
    from kimi_provider.testing.exchange import Exchange
    from kimi_provider.testing.state import State

CHAT_URL = "/v1/chat/completions"
PRICE_FACTOR = 0.6
_WINDOW = re.compile(r"(\d+)([hd])")
_MIN_HOURS, _MAX_HOURS = 12, 168
_OPEN = ("validating", "in_progress")


async def create(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``POST /v1/batches``."""
    owner = authorize(exchange)
    body = decode_object(exchange.body)
    file = exchange.state.files.files.get(body.get("input_file_id", ""))
    if file is None or file.about["purpose"] != "batch":
        raise RefusalError("Invalid request: input_file_id must name a file of purpose batch")
    if body.get("endpoint") != CHAT_URL:
        raise RefusalError(f"Invalid request: endpoint must be {CHAT_URL}")
    if not _fits_window(body.get("completion_window")):
        raise RefusalError("Invalid request: completion_window must lie between 12h and 7d")
    lines, errors = _read(file.content)
    about = {
        "id": f"batch-{uuid.uuid4().hex[:20]}",
        "object": "batch",
        "endpoint": CHAT_URL,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": body["input_file_id"],
        "completion_window": body["completion_window"],
        "status": "failed" if errors else "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": int(time.time()),
        "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        "metadata": body.get("metadata"),
        "price_factor": PRICE_FACTOR,
    }
    exchange.state.files.batches[about["id"]] = Batch(about, lines, owner)
    return 200, about


def _fits_window(window: object) -> bool:
    found = _WINDOW.fullmatch(window) if isinstance(window, str) else None
    if not found:
        return False
    return _MIN_HOURS <= int(found.group(1)) * (24 if found.group(2) == "d" else 1) <= _MAX_HOURS


def _read(content: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    ids: set[str] = set()
    for number, raw in enumerate(content.splitlines(), start=1):
        if not raw.strip():
            continue
        problem = None
        try:
            line = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            line, problem = {}, "is no valid JSON"
        if not problem:
            problem = _problem(line, ids, lines)
        if problem:
            errors.append(
                {"code": "invalid_request", "line": number, "message": f"line {number} {problem}"}
            )
        else:
            lines.append(line)
    if not lines and not errors:
        errors.append({"code": "empty_file", "line": None, "message": "the file holds no requests"})
    return lines, errors


def _problem(line: Any, ids: set[str], before: list[dict[str, Any]]) -> str | None:
    if not isinstance(line, dict) or not isinstance(line.get("body"), dict):
        return "has no body"
    custom_id, model = line.get("custom_id"), line["body"].get("model")
    if not isinstance(custom_id, str) or not custom_id:
        return "has no custom_id"
    repeated = custom_id in ids
    ids.add(custom_id)
    wrong = (
        (repeated, f"repeats custom_id {custom_id}"),
        (line.get("method") != "POST" or line.get("url") != CHAT_URL, f"must be a POST to {CHAT_URL}"),
        (
            model not in LIVE or not LIVE[model].batch,
            f"names model {model}, which batches do not support",
        ),
        (
            bool(before) and before[0]["body"]["model"] != model,
            "names another model than the lines before it",
        ),
        (bool(line["body"].get("stream")), "asks for a stream"),
    )
    return next((problem for bad, problem in wrong if bad), None)


async def list_batches(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v1/batches``, the newest first."""
    authorize(exchange)
    batches = [batch.about for batch in exchange.state.files.batches.values()]
    return 200, {"object": "list", "data": batches[::-1], "has_more": False}


async def describe(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``GET /v1/batches/{id}``; each look finds the batch a step further."""
    authorize(exchange)
    batch = _find(exchange)
    if batch.about["status"] == "validating":
        batch.about |= {"status": "in_progress", "in_progress_at": int(time.time())}
    elif batch.about["status"] == "in_progress":
        _finish(batch, exchange.state)
    return 200, batch.about


async def cancel(exchange: Exchange) -> tuple[int, Any]:
    """Answer ``POST /v1/batches/{id}/cancel``."""
    authorize(exchange)
    batch = _find(exchange)
    if batch.about["status"] not in _OPEN:
        raise RefusalError(
            f"Invalid request: a batch that is {batch.about['status']} cannot be canceled"
        )
    batch.about |= {"status": "cancelled", "cancelled_at": int(time.time())}
    return 200, batch.about


def _find(exchange: Exchange) -> Batch:
    batch = exchange.state.files.batches.get(exchange.path_values["id"])
    if batch is None:
        raise RefusalError("batch not found", status=404, error_type="resource_not_found_error")
    return batch


def _finish(batch: Batch, state: State) -> None:
    answered, failed = [], []
    for line in batch.lines:
        entry = {
            "id": f"batch_req_{uuid.uuid4().hex[:16]}",
            "custom_id": line["custom_id"],
            "error": None,
        }
        try:
            answer, envelope = complete(dict(line["body"]), state, batch.owner)
        except RefusalError as error:
            body = {"error": {"message": str(error), "type": error.error_type}}
            failed.append(entry | {"response": {"status_code": error.status, "body": body}})
        else:
            body = msgspec.json.decode(wire.body(answer, envelope))
            answered.append(entry | {"response": {"status_code": 200, "body": body}})
    batch.about |= {
        "status": "completed",
        "completed_at": int(time.time()),
        "request_counts": {"total": len(batch.lines), "completed": len(answered), "failed": len(failed)},
        "output_file_id": _write(state, "output.jsonl", answered),
        "error_file_id": _write(state, "errors.jsonl", failed),
    }


def _write(state: State, name: str, entries: list[dict[str, Any]]) -> str | None:
    if not entries:
        return None
    content = b"\n".join(msgspec.json.encode(entry) for entry in entries) + b"\n"
    file_id: str = state.files.add_file(name, "batch_output", content)["id"]
    return file_id

"""Reading an error out of whatever body a host or gateway sends."""

from __future__ import annotations

import html
import json
import math
import re
from typing import Any, NamedTuple

_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
# An error to a stream request, put into an event.
_EVENT = re.compile(r"\A(?:(?:event|id|retry):.*\r?\n|:.*\r?\n|\r?\n)*data:[ \t]*(\{.*\})")
_NOTHING = {"", "<nil>", "nil", "null", "none", "error"}
_HTTP_ERRORS = range(300, 600)
_DEPTH = 4


class ErrorBody(NamedTuple):
    """An error as its body tells it; ``nested`` where it was found inside a gateway's wrapping.

    ``wait`` is how long the body asks to wait, in seconds.
    """

    message: str = ""
    type: str | None = None
    code: str | None = None
    status: int | None = None
    nested: bool = False
    wait: float | None = None


def read_error(body: bytes) -> ErrorBody:
    """Read the error in ``body``: JSON in any of the known shapes, an HTML page, or plain text."""
    text = body.decode("utf-8", "replace").lstrip("\ufeff").strip()
    if (event := _EVENT.search(text)) is not None:
        text = event[1]
    try:
        return _from_value(json.loads(text), depth=0)
    except (ValueError, RecursionError):
        return ErrorBody(page_title(text) if text.startswith("<") else text[:500])


def has_error(value: object) -> bool:
    """Whether a decoded body is an error rather than an answer, whatever its HTTP status."""
    if not isinstance(value, dict):
        return False
    if value.get("error"):
        return True
    if value.get("choices") or value.get("data") or value.get("object") in {"chat.completion", "list"}:
        return False
    said = value.get("message") or value.get("msg") or value.get("detail") or value.get("errors")
    return bool(said) or value.get("object") == "error"


def page_title(text: str) -> str:
    """Return the title of an HTML page, which is all of it that helps."""
    found = _TITLE.search(text[:20_000])
    return f"an HTML page titled {html.unescape(found[2]).strip()!r}" if found else "an HTML page"


def _from_value(value: Any, depth: int) -> ErrorBody:
    """Walk down the wrappings; the innermost error that says something wins."""
    if isinstance(value, list):
        value = value[0] if value else {}
    if isinstance(value, str):
        return _from_text(value, depth)
    if not isinstance(value, dict) or depth > _DEPTH:
        return ErrorBody()
    inner = value.get("error") or value.get("errors")
    if isinstance(inner, (dict, list)):
        found = _from_value(inner, depth)
        return found if any(found[:4]) else _own(value)
    if isinstance(inner, str) and inner.strip().lower() not in _NOTHING:
        found, own = _from_text(inner, depth), _own(value)
        return found._replace(type=found.type or own.type, status=found.status or own.status)
    return _unwrapped(value, depth)


def _unwrapped(value: dict[str, Any], depth: int) -> ErrorBody:
    """Read one error object, and the one that a gateway may have put inside it."""
    outer = _own(value)
    metadata = value.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, (str, dict)):
        inner = _from_value(raw, depth + 1) if isinstance(raw, dict) else _from_text(raw, depth + 1)
        if inner.message or inner.type:
            wait = outer.wait if inner.wait is None else inner.wait
            return inner._replace(status=inner.status or outer.status, nested=True, wait=wait)
    if outer.message[:1] == "{":
        inner = _from_text(outer.message, depth + 1)
        if inner.nested or inner.type:
            return inner._replace(status=inner.status or outer.status, nested=True)
    return outer


def _from_text(text: str, depth: int) -> ErrorBody:
    stripped = text.strip()
    if stripped[:1] in {"{", "["} and depth <= _DEPTH:
        try:
            return _from_value(json.loads(stripped), depth + 1)
        except ValueError:
            pass
    return ErrorBody(page_title(stripped) if stripped.startswith("<") else stripped[:2000])


def _own(value: dict[str, Any]) -> ErrorBody:
    # "Message" is how AWS writes it.
    said = value.get("message") or value.get("Message") or value.get("msg") or value.get("detail") or ""
    if isinstance(said, dict):
        return _from_value(said, _DEPTH)
    if not isinstance(said, str):
        # FastAPI lists what it refused, input included: only the reasons are fit to show.
        reasons = (
            [str(item.get("msg", "")) for item in said if isinstance(item, dict)]
            if isinstance(said, list)
            else []
        )
        said = "; ".join(filter(None, reasons))
    # Novita has its word in "reason", and the status in "code".
    code = value.get("code")
    word = _word(code) or _word(value.get("reason"))
    metadata = value.get("metadata")
    waits = [value, metadata] if isinstance(metadata, dict) else [value]
    status = next(
        (
            number
            for number in map(_number, (code, value.get("status"), value.get("status_code")))
            if number
        ),
        None,
    )
    wait = next(filter(None, map(_wait, waits)), None)
    return ErrorBody(said[:4000], _word(value.get("type")), word, status, wait=wait)


def _wait(value: dict[str, Any]) -> float | None:
    for name in ("retry_after", "retry_after_seconds"):
        seconds = value.get(name)
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0:
            return float(seconds) if math.isfinite(seconds) else None
    return None


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip().lower() not in _NOTHING else None


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:  # noqa: PLR2004 — an HTTP status
        value = int(value)
    return value if isinstance(value, int) and value in _HTTP_ERRORS and value >= 400 else None  # noqa: PLR2004 — errors

"""From a host's answer to the error that says what happened and whether a retry helps.

Sources: Moonshot's error page, CometAPI's error guide, and bodies observed behind gateways, which
rewrite types, wrap messages and nest the true error as JSON inside ``metadata.raw``.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from kimi_provider.client.payload import ErrorBody, read_error
from kimi_provider.client.redaction import quote
from kimi_provider.client.retry_after import retry_after
from kimi_provider.exceptions import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthError,
    DailyLimitError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_ID_HEADERS = ("msh-request-id", "x-msh-trace-id", "x-trace-id", "x-request-id", "request-id")
_REQUEST_ID_TEXT = re.compile(r"\(request id:\s*([\w.-]+)\s*\)", re.IGNORECASE)

# Gateways rewrite the type of a spent balance, so its wording counts too (kimi-code's list).
_QUOTA = re.compile(
    r"exceeded your current quota|check your account balance|"
    r"insufficient[ _](?:account[ _]|user[ _])?(?:balance|quota|credits?|funds)"
    r"|(?:quota|balance|credits?) (?:is |are |has been )?(?:not enough|insufficient|exhausted|used up)"
    r"|recharge|in arrears|top[ -]?up your|额度不足|余额不足|欠费"
)
_CONTEXT = re.compile(
    r"exceeded model token limit|input token length too long|maximum context length"
    r"|context_length_exceeded"
    r"|context[ _](?:length|window)|prompt is too long|longer than the model'?s|too many tokens"
)
_FILTER = re.compile(r"content[ _]filter|considered high risk|content policy|data_inspection_failed")
_DAILY = re.compile(
    r"\btpd\b|\brpd\b|tokens per day|requests per day|per[- ]day|daily (?:token |request )?limit"
)
_OVERLOAD = re.compile(r"overloaded|over capacity|at capacity|server is busy|engine is busy")
_BAD_REQUEST = {"invalid_request", "invalid_request_error", "bad_request", "invalid_parameter_error"}
_QUOTA_WORDS = {"exceeded_current_quota_error", "insufficient_quota", "insufficient_user_quota"}
_LIMITED = {"engine_overloaded_error", "rate_limit_reached_error", "exceeded_current_quota_error"}
_AUTH = {
    "invalid_authentication_error",
    "incorrect_api_key_error",
    "invalid_api_key",
    "authentication_error",
}

# What an error that comes inside a 200, or in the middle of a stream, stands for.
_STATUS_OF_TYPE = {
    "content_filter": 400,
    "invalid_request_error": 400,
    "invalid_authentication_error": 401,
    "incorrect_api_key_error": 401,
    "permission_denied_error": 403,
    "resource_not_found_error": 404,
    "engine_overloaded_error": 429,
    "rate_limit_reached_error": 429,
    "exceeded_current_quota_error": 429,
    "client_closed_request": 499,
    "server_unavailable": 503,
    # The words of other protocols, which gateways speak.
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "overloaded_error": 529,
}
_RETRY_ANYWAY = {408, 409, 425}
_SITE_OVERLOADED = 529
# Not in the standard: nginx's; whether to try again is the caller's choice.
_CLIENT_CLOSED = 499


class Answer(NamedTuple):
    """Where an error came from, for its text and its classification.

    ``texts`` is what the request carried: a host that echoes it must not get it into a message.
    """

    host: str
    model: str | None
    api_key: str
    texts: tuple[str, ...] = ()


def request_ids(headers: Mapping[str, str], *more: str | None) -> tuple[str, ...]:
    """Return the ids by which the host's support can find the call, each once."""
    found = [headers.get(name) for name in REQUEST_ID_HEADERS]
    return tuple(dict.fromkeys(value for value in (*found, *more) if value))


def status_error(status: int, headers: Mapping[str, str], body: bytes, answer: Answer) -> APIStatusError:
    """Return the error for an answer with ``status``.

    :param status: HTTP status; a body that says otherwise (an error inside a 200) overrides it.
    :param headers: the answer's headers, found case-insensitively.
    :param body: the answer's body, decompressed, perhaps cut.
    """
    error = read_error(body)
    effective = _effective_status(status, error)
    text = error.message.lower()
    cls = _classify(effective, error, text)
    ids = request_ids(headers, *_REQUEST_ID_TEXT.findall(error.message))
    wait = (
        retry_after(headers, error.message) if issubclass(cls, (RateLimitError, ServerError)) else None
    )
    said = quote(_REQUEST_ID_TEXT.sub("", error.message), (answer.api_key,), answer.texts)
    about = f" for model {answer.model}" if answer.model else ""
    message = f"{answer.host} answered {effective}{f' {error.type}' if error.type else ''}{about}"
    if said:
        message += f": {said}"
    if _way_out(cls, effective, headers):
        message = f"{message.rstrip('. ')}. {_way_out(cls, effective, headers)}"
    return cls(message, status=effective, error_type=error.type, retry_after=wait, request_ids=ids)


def _effective_status(status: int, error: ErrorBody) -> int:
    inner = error.status
    if status < HTTPStatus.MULTIPLE_CHOICES:
        named = _STATUS_OF_TYPE.get(error.type or "") or _STATUS_OF_TYPE.get(error.code or "")
        return inner or named or HTTPStatus.INTERNAL_SERVER_ERROR
    if error.type in _LIMITED:
        # Some gateways turn every failure into their own 400 or 500.
        return HTTPStatus.TOO_MANY_REQUESTS
    # A gateway that wraps the true answer's status in its own 400 or 500.
    if error.nested and inner in {401, 403, 404, 429}:
        return inner
    if error.nested and error.type in _STATUS_OF_TYPE:
        return _STATUS_OF_TYPE[error.type]
    return status


def _classify(status: int, error: ErrorBody, text: str) -> type[APIStatusError]:  # noqa: C901, PLR0911 — the table of the host's errors, in order of precedence
    words = {error.type, error.code}
    if status == HTTPStatus.PAYMENT_REQUIRED or words & _QUOTA_WORDS or _QUOTA.search(text):
        return QuotaExceededError
    if status == HTTPStatus.UNAUTHORIZED or (
        words & _AUTH and status < HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        return AuthenticationError
    if status != HTTPStatus.TOO_MANY_REQUESTS and (
        "context_length_exceeded" in words or _CONTEXT.search(text)
    ):
        return ContextLengthError
    if words & {"content_filter", "data_inspection_failed"} or (
        status < HTTPStatus.INTERNAL_SERVER_ERROR and _FILTER.search(text)
    ):
        return ContentFilterError
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        if "engine_overloaded_error" in words or _OVERLOAD.search(text):
            return OverloadedError
        return DailyLimitError if _DAILY.search(text) else RateLimitError
    if status == HTTPStatus.FORBIDDEN:
        return PermissionDeniedError
    if (
        status == HTTPStatus.NOT_FOUND
        or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
        or (status < HTTPStatus.INTERNAL_SERVER_ERROR and "model_not_found" in words)
    ):
        return NotFoundError
    if words & _BAD_REQUEST:
        # CometAPI sends these with a 500; trying again cannot help.
        return BadRequestError
    if status in _RETRY_ANYWAY:
        return ServerError
    if status == _CLIENT_CLOSED:
        return APIStatusError
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return BadRequestError
    overloaded = status == _SITE_OVERLOADED or words & {"server_unavailable", "engine_overloaded_error"}
    return OverloadedError if overloaded or _OVERLOAD.search(text) else ServerError


_WAYS_OUT: dict[type[APIStatusError], str] = {
    QuotaExceededError: "Top up the account; a retry does not help.",
    AuthenticationError: "Check the connection's key; keys of other hosts and regions do not work.",
    PermissionDeniedError: "The key may not use this; ask the account's owner.",
    ContextLengthError: "Shorten the prompt or lower max_tokens.",
    ContentFilterError: "Change the prompt or the data in it.",
    DailyLimitError: "Wait until tomorrow, or raise the account's tier.",
    OverloadedError: "The host is overloaded; a later try helps.",
    RateLimitError: "Lower max_concurrency or requests_per_minute, or raise the account's tier.",
}


def _way_out(cls: type[APIStatusError], status: int, headers: Mapping[str, str]) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        target = headers.get("location", "").split("?", 1)[0].split("#", 1)[0]
        aim = f" to {target[:200]!r}" if target and "@" not in target and target.isprintable() else ""
        return f"It redirects{aim}, which is not followed with the key; correct base_url."
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return "The gateway gave up waiting; stream the answer, or ask for less."
    return _WAYS_OUT.get(cls, "")

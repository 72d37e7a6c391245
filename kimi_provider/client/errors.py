"""From a host's answer to the error that says what happened and whether a retry helps.

Gateways rewrite types, wrap messages and nest the true error as JSON inside ``metadata.raw`` or the
message, so that status, type, code and wording all count.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from kimi_provider.client import error_words as words
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

REQUEST_ID_HEADERS = (
    "msh-request-id",
    "x-msh-trace-id",
    "x-trace-id",
    "x-request-id",
    "request-id",
    # new-api's, LiteLLM's and Bedrock's.
    "x-oneapi-request-id",
    "x-litellm-call-id",
    "x-amzn-requestid",
)
_REQUEST_ID_TEXT = re.compile(r"\(request id:\s*([\w.-]+)\s*\)", re.IGNORECASE)

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
    error = _with_told_type(read_error(body))
    effective = _effective_status(status, error)
    text = error.message.lower()
    cls = _classify(effective, error, text)
    ids = request_ids(headers, *_REQUEST_ID_TEXT.findall(error.message))
    wait = (
        retry_after(headers, error.message, error.wait)
        if issubclass(cls, (RateLimitError, ServerError))
        else None
    )
    said = quote(_REQUEST_ID_TEXT.sub("", error.message), (answer.api_key,), answer.texts)
    about = f" for model {answer.model}" if answer.model else ""
    message = f"{answer.host} answered {effective}{f' {error.type}' if error.type else ''}{about}"
    if said:
        message += f": {said}"
    if _way_out(cls, effective, headers):
        message = f"{message.rstrip('. ')}. {_way_out(cls, effective, headers)}"
    return cls(message, status=effective, error_type=error.type, retry_after=wait, request_ids=ids)


def _with_told_type(error: ErrorBody) -> ErrorBody:
    """Take the type from the message, where a gateway put the true error into its own as text."""
    told = words.TOLD_TYPE.search(error.message)
    if told is None or error.type in words.STATUS_OF_TYPE:
        return error
    return error._replace(type=told[1], nested=True)


def _effective_status(status: int, error: ErrorBody) -> int:
    inner = error.status
    if status < HTTPStatus.MULTIPLE_CHOICES:
        named = words.STATUS_OF_TYPE.get(error.type or "") or words.STATUS_OF_TYPE.get(error.code or "")
        said = HTTPStatus.TOO_MANY_REQUESTS if words.RATE.search(error.message.lower()) else None
        return inner or named or said or HTTPStatus.INTERNAL_SERVER_ERROR
    if error.type in words.LIMITED:
        # Some gateways turn every failure into their own 400 or 500.
        return HTTPStatus.TOO_MANY_REQUESTS
    # A gateway that wraps the true answer's status in its own 400 or 500.
    if error.nested and inner in {401, 403, 404, 429}:
        return inner
    if error.nested and error.type in words.STATUS_OF_TYPE:
        return words.STATUS_OF_TYPE[error.type]
    return status


def _classify(status: int, error: ErrorBody, text: str) -> type[APIStatusError]:  # noqa: C901, PLR0911 — the table of the host's errors, in order of precedence
    kinds = {(error.type or "").lower(), (error.code or "").lower()}
    if status == HTTPStatus.PAYMENT_REQUIRED or kinds & words.QUOTA_CODES or words.QUOTA.search(text):
        return QuotaExceededError
    if status == HTTPStatus.UNAUTHORIZED or (
        kinds & words.AUTH and status < HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        return AuthenticationError
    if status != HTTPStatus.TOO_MANY_REQUESTS and (
        "context_length_exceeded" in kinds or words.CONTEXT.search(text)
    ):
        return ContextLengthError
    if kinds & {"content_filter", "data_inspection_failed"} or (
        status < HTTPStatus.INTERNAL_SERVER_ERROR and words.FILTER.search(text)
    ):
        return ContentFilterError
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        if "engine_overloaded_error" in kinds or words.OVERLOAD.search(text):
            return OverloadedError
        return DailyLimitError if words.DAILY.search(text) else RateLimitError
    if status == HTTPStatus.FORBIDDEN:
        return PermissionDeniedError
    if (
        status == HTTPStatus.NOT_FOUND
        or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
        or (status < HTTPStatus.INTERNAL_SERVER_ERROR and "model_not_found" in kinds)
        # Gateways, and Moonshot for some endpoints, say it with a 400.
        or (status == HTTPStatus.BAD_REQUEST and words.NO_MODEL.search(text))
    ):
        return NotFoundError
    if kinds & words.BAD_REQUEST:
        # CometAPI sends these with a 500; trying again cannot help.
        return BadRequestError
    if status in _RETRY_ANYWAY:
        return ServerError
    if status == _CLIENT_CLOSED:
        return APIStatusError
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return BadRequestError
    overloaded = status == _SITE_OVERLOADED or kinds & {"server_unavailable", "engine_overloaded_error"}
    return OverloadedError if overloaded or words.OVERLOAD.search(text) else ServerError


_WAYS_OUT: dict[type[APIStatusError], str] = {
    QuotaExceededError: "Top up the account; a retry does not help.",
    AuthenticationError: "Check the connection's key; keys of other hosts and regions do not work.",
    PermissionDeniedError: "The key may not use this; ask the account's owner.",
    NotFoundError: "Check the model's id and base_url; the connection test lists the host's ids.",
    ServerError: "A later try helps.",
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

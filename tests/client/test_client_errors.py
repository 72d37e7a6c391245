"""From observed error bodies to error classes, and what may be said of them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from kimi_provider.client.errors import Answer, status_error
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

ERRORS = Path(__file__).parents[3] / "shared" / "recordings" / "errors"
ANSWER = Answer("moonshot", "kimi-k3", "sk-secret-key-1")
# What each observed body means, by a piece of its text.
MEANING = {
    "exceeded model token limit": ContextLengthError,
    "reasoning_content is missing": BadRequestError,
    "currently overloaded": OverloadedError,
    "max RPM": RateLimitError,
    "max concurrency": RateLimitError,
    "TPM rate limit": RateLimitError,
    "TPD rate limit": DailyLimitError,
    "model name is required": BadRequestError,
    '"invalid_request"': BadRequestError,
}


def recorded():
    path = ERRORS / "observed-errors.jsonl"
    if not path.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the recordings are not here"))]
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("case", recorded(), ids=lambda case: case and case["source"])
def test_observed_error(case):
    # The documentation shows placeholders for the account.
    filled = {"{organization-id}": "org-planted1", "{ak-id}": "ak-planted2", "{time}": "7"}
    body = json.dumps(case["body"])
    for name, value in filled.items():
        body = body.replace(name, value)
    expected = next(kind for piece, kind in MEANING.items() if piece in body.replace("\\", ""))
    error = status_error(case["status"], {}, body.encode(), ANSWER)
    assert type(error) is expected
    assert "planted" not in str(error)
    assert error.retry_after == (7 if "after 7 seconds" in body else None)


def test_observed_429_without_any_header_of_limits():
    path = ERRORS / "moonshot-429-engine-overloaded-agents-exe-336.json"
    if not path.exists():
        pytest.skip("the recordings are not here")
    case = json.loads(path.read_text())
    headers = {name.lower(): value for name, value in case["headers"]}
    error = status_error(case["status"], headers, case["body"].encode(), ANSWER)
    assert type(error) is OverloadedError
    assert error.retry_after is None
    assert error.retryable
    assert error.request_ids == (
        "2b1ff8fa-2202-11f1-b57e-00163e3c375f",
        "6de69f2ac5cc18209289591569fe3d02",
    )


def body(message="", type_=None, code=None):
    return {"error": {"message": message, "type": type_, "code": code}}


@pytest.mark.parametrize(
    ("status", "given", "expected"),
    [
        (401, body("Invalid Authentication", "invalid_authentication_error"), AuthenticationError),
        (400, body("no such key", "incorrect_api_key_error"), AuthenticationError),
        (403, body("denied", "permission_denied_error"), PermissionDeniedError),
        (404, {"code": 5, "error": "url.not_found", "message": "not found"}, NotFoundError),
        (404, {"detail": "Not Found"}, NotFoundError),
        (400, body("The model does not exist", None, "model_not_found"), NotFoundError),
        (400, body("Input token length too long", "invalid_request_error"), ContextLengthError),
        (
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 262144 tokens.",
                "code": 400,
            },
            ContextLengthError,
        ),
        (500, body("prompt is too long", "comet_api_error"), ContextLengthError),
        (
            400,
            body("The request was rejected because it was considered high risk", "content_filter"),
            ContentFilterError,
        ),
        (400, body("The request was rejected because it was considered high risk"), ContentFilterError),
        (429, body("You exceeded your current quota"), QuotaExceededError),
        (429, body("Your account is in arrears"), QuotaExceededError),
        (403, body("insufficient balance, please recharge"), QuotaExceededError),
        (402, body("Payment needed"), QuotaExceededError),
        (500, body("用户额度不足", "new_api_error"), QuotaExceededError),
        (429, body("limit reached: free-models-per-day"), DailyLimitError),
        (429, "Too Many Requests", RateLimitError),
        (429, body("Overloaded", "overloaded_error"), OverloadedError),
        (529, body("Overloaded", "overloaded_error"), OverloadedError),
        (503, body("try later", "server_unavailable"), OverloadedError),
        (503, body("No available channel for model x", "new_api_error", "model_not_found"), ServerError),
        (500, body("x", "engine_overloaded_error"), OverloadedError),
        (400, body("x", "rate_limit_reached_error"), RateLimitError),
        (524, "<html><head><title>524</title></head></html>", ServerError),
        (408, body("slow"), ServerError),
        (409, body("busy"), ServerError),
        (
            422,
            {"detail": [{"loc": ["body"], "msg": "field required", "input": "PLANTED"}]},
            BadRequestError,
        ),
        (413, "too large", BadRequestError),
        (500, body("x", "comet_api_error", "invalid_request"), BadRequestError),
        (499, body("x", "client_closed_request"), APIStatusError),
        (200, body("x", "rate_limit_error"), RateLimitError),
        (200, body("x", None, 502), ServerError),
        (200, body("x", None, "429"), RateLimitError),
        (200, {"error": "slow down", "code": 429}, RateLimitError),
        (200, {"error": "Rate limit exceeded, try again in 2 seconds"}, RateLimitError),
        (502, [{"error": {"message": "x"}}], ServerError),
        (502, {"error": "just text"}, ServerError),
        (
            502,
            {"error": {"message": json.dumps(body("no", "exceeded_current_quota_error"))}},
            QuotaExceededError,
        ),
        # What gateways and other hosts of the model say.
        (429, body("Your account is suspended, please check your plan and billing"), QuotaExceededError),
        (403, body("organization <x> exceeded current quota", "<nil>"), QuotaExceededError),
        (403, body("You've reached your usage limit", "permission_error"), QuotaExceededError),
        (403, body("预扣费额度失败", "new_api_error"), QuotaExceededError),
        (401, body("该令牌额度已用尽", "new_api_error"), QuotaExceededError),
        (403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "no"}, QuotaExceededError),
        (429, body("ExceededBudget: over", "budget_exceeded", "429"), QuotaExceededError),
        (
            412,
            body("suspended, possibly due to reaching the monthly spending limit"),
            QuotaExceededError,
        ),
        (400, body("litellm.ContextWindowExceededError: too big", None, "400"), ContextLengthError),
        (400, {"message": "Input is too long for requested model."}, ContextLengthError),
        (422, body("`inputs` tokens + `max_new_tokens` must be <= 262144"), ContextLengthError),
        (429, {"message": "Too many tokens, please wait before trying again."}, RateLimitError),
        (429, {"message": "Too many tokens per day, please wait."}, DailyLimitError),
        (429, body("Limit exceeded for today, try again tomorrow"), DailyLimitError),
        (400, body("litellm.ContentPolicyViolationError: x"), ContentFilterError),
        (
            403,
            body("Your chosen model requires moderation and your input was flagged"),
            ContentFilterError,
        ),
        (400, body("Not found the model kimi-k2-thinking or Permission denied"), NotFoundError),
        (400, body("moonshotai/kimi-k9 is not a valid model ID", None, 400), NotFoundError),
        (403, {"Message": "User: x is not authorized"}, PermissionDeniedError),
        (429, {"detail": {"error": "Model busy, retry later"}}, RateLimitError),
        (
            400,
            body(f"Error from provider: {json.dumps(body('x', 'engine_overloaded_error'))}"),
            OverloadedError,
        ),
        (500, body("Error code: 429 - {'type': 'exceeded_current_quota_error'}"), QuotaExceededError),
        (500, body("Error code: 401 - {'type': 'invalid_authentication_error'}"), AuthenticationError),
        (429, "\ufeff" + json.dumps(body("x", "engine_overloaded_error")), OverloadedError),
        (
            429,
            ': hello\n\nevent: error\ndata: {"error": {"code": "insufficient_quota"}}\n\n',
            QuotaExceededError,
        ),
        (500, b"\xff\xfe", ServerError),
        (500, b"", ServerError),
        (500, b"[" * 5000, ServerError),
    ],
    ids=str,
)
def test_error_class(status, given, expected):
    raw = (
        given
        if isinstance(given, bytes)
        else given.encode()
        if isinstance(given, str)
        else json.dumps(given).encode()
    )
    error = status_error(status, {}, raw, ANSWER)
    assert type(error) is expected
    assert "PLANTED" not in str(error)
    assert len(str(error)) < 700


def test_nested_error_keeps_the_outer_status_where_it_has_none():
    raw = json.dumps(body("Too fast", "x"))
    given = {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": raw}}}
    assert type(status_error(429, {}, json.dumps(given).encode(), ANSWER)) is RateLimitError


def test_request_id_is_taken_out_of_the_message():
    given = body("model name is required (request id: 2026ABC)", "comet_api_error")
    error = status_error(400, {"X-Other": "1"}, json.dumps(given).encode(), ANSWER)
    assert error.request_ids == ("2026ABC",)
    assert "2026ABC" not in str(error)


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: sk-secret-key-1.",
        "Bad token sk-abcd****wxyz of org-1234567890",
        "Authorization: Bearer abc.def was wrong",
        "invalid content: 'The PLANTED figures of the quarter are bad' at 3",
        "you said: short PLANTED",
        "line one\n\x1b[31mPLANTED-line\x00 two",
    ],
)
def test_neither_key_nor_prompt_gets_into_the_message(said):
    prompt = "Summarize. The PLANTED figures of the\n quarter are bad, are they not?"
    answer = ANSWER._replace(texts=(prompt, "short PLANTED", "PLANTED-line"))
    error = status_error(400, {}, json.dumps(body(said)).encode(), answer)
    for secret in ("sk-", "org-1", "abc.def", "PLANTED", "\n", "\x1b"):
        assert secret not in str(error)


def test_message_names_host_model_and_way_out():
    error = status_error(
        401, {}, json.dumps(body("Invalid", "invalid_authentication_error")).encode(), ANSWER
    )
    assert str(error) == (
        "moonshot answered 401 invalid_authentication_error for model kimi-k3: Invalid. Check the "
        "connection's key; keys of other hosts and regions do not work."
    )


def test_an_error_crosses_to_another_process():
    given = body("reached max RPM, please try again after 7 seconds", "rate_limit_reached_error")
    error = status_error(429, {"msh-request-id": "req-1"}, json.dumps(given).encode(), ANSWER)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 — our own
    assert (type(copy), str(copy), vars(copy)) == (RateLimitError, str(error), vars(error))
    assert (copy.status, copy.retry_after, copy.request_ids) == (429, 7, ("req-1",))

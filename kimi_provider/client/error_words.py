"""The words by which hosts and gateways say what went wrong.

Sources: Moonshot's error page, kimi-code's lists, and bodies observed behind CometAPI, new-api,
LiteLLM, OpenRouter, Together, Fireworks, Novita, vLLM, SGLang and Bedrock. All are sought in lower case.
"""

from __future__ import annotations

import re

# Gateways rewrite the type of a spent balance, so its wording counts too (kimi-code's list, and more).
QUOTA = re.compile(
    r"exceeded (?:your )?current quota|check your (?:account balance|plan and billing)|usage limit"
    r"|insufficient[ _](?:account[ _]|user[ _])?(?:balance|quota|credits?|funds)"
    r"|not enough (?:balance|credits?)"
    r"|(?:quota|balance|credits?) (?:is |are |has been )?(?:not enough|insufficient|exhausted|used up)"
    r"|recharge|in arrears|top[ -]?up your|spending limit|over budget|budget has been exceeded"
    r"|额度(?:已)?(?:不足|用尽|用完|失败)|余额不足|欠费"
)
CONTEXT = re.compile(
    r"exceeded model token limit|input token length too long|maximum context length"
    r"|context[ _]?(?:length|window)|prompt is too long|input is too long|longer than the model'?s"
    r"|too many tokens|tokens.{0,3} \+ .?max_(?:new_)?tokens"
)
FILTER = re.compile(
    r"content[ _]?filter|considered high risk|content[ _]?(?:management )?policy|requires moderation"
    r"|input was flagged|data_inspection_failed"
)
DAILY = re.compile(
    r"\btpd\b|\brpd\b|tokens per day|requests per day|per[- ]day|daily (?:token |request )?limit"
    r"|\btomorrow\b|\bfor today\b|今日|当日"
)
RATE = re.compile(r"rate[ _-]?limit|too many requests")
OVERLOAD = re.compile(r"overloaded|over capacity|at capacity|server is busy|engine is busy")
NO_MODEL = re.compile(
    r"not found the model|no such model|not a valid model|(?:unknown|invalid) model"
    r"|\bmodel\b.{0,80}(?:does not exist|not found)"
)

BAD_REQUEST = {"invalid_request", "invalid_request_error", "bad_request", "invalid_parameter_error"}
QUOTA_CODES = {
    "exceeded_current_quota_error",
    "insufficient_quota",
    "insufficient_user_quota",
    "pre_consume_token_quota_failed",
    "budget_exceeded",
    "not_enough_balance",
}
LIMITED = {"engine_overloaded_error", "rate_limit_reached_error", "exceeded_current_quota_error"}
AUTH = {
    "invalid_authentication_error",
    "incorrect_api_key_error",
    "invalid_api_key",
    "authentication_error",
}
# What an error that comes inside a 200, or in the middle of a stream, stands for.
STATUS_OF_TYPE = {
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
# Moonshot's own types, which a gateway may have left in the middle of its message and nowhere else.
TOLD_TYPE = re.compile(
    r"\b(engine_overloaded_error|rate_limit_reached_error|exceeded_current_quota_error"
    r"|invalid_authentication_error|incorrect_api_key_error|permission_denied_error"
    r"|resource_not_found_error)\b"
)

"""What a host says that an answer used, read from any of its places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kimi_provider.schemas import Usage

if TYPE_CHECKING:
    from kimi_provider.client.models import Price


def read_usage(usage: dict[str, Any] | None, price: Price | None) -> Usage:
    """Return one call's usage and cost.

    Cached and reasoning tokens come flat or in the details, and are part of the prompt's and the
    answer's. A negative number (seen from K3) counts as none. Without any usage the cost is not known.
    """
    if not usage:
        return Usage(calls=1, cost_usd=None)
    # The other names are those of Anthropic's protocol and of DeepSeek's, which gateways pass on.
    prompt = _count(usage.get("prompt_tokens")) or _count(usage.get("input_tokens"))
    completion = _count(usage.get("completion_tokens")) or _count(usage.get("output_tokens"))
    into = usage.get("prompt_tokens_details")
    out = usage.get("completion_tokens_details")
    cached = _count(usage.get("cached_tokens"))
    if not cached and isinstance(into, dict):
        cached = _count(into.get("cached_tokens"))
    cached = cached or _count(usage.get("prompt_cache_hit_tokens"))
    reasoning = _count(out.get("reasoning_tokens")) if isinstance(out, dict) else 0
    counted = Usage(
        calls=1,
        input_tokens=prompt,
        output_tokens=completion,
        cache_read_tokens=min(cached, prompt),
        reasoning_tokens=reasoning or _count(usage.get("reasoning_tokens")),
        cost_usd=None,
    )
    if price is None or not (prompt or completion):
        return counted
    return counted.model_copy(update={"cost_usd": price.cost(counted)})


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    # NaN and infinity compare false both ways.
    return int(value) if 0 < value < 1 << 53 else 0

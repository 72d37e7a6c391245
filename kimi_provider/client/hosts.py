"""The hosts that serve Kimi models and how each differs, as data.

A host is any OpenAI-compatible URL; the presets spare the user the differences. Every field can be
overridden from the connection (``host_options``).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from kimi_provider.client.models import Price

ThinkingSwitch: TypeAlias = Literal["object", "template", "reasoning", "none"]


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One host's habits.

    :param name: name of the preset.
    :param base_url: URL below which ``/chat/completions`` lies; ``None`` where the user gives it.
    :param domains: host names by which a URL is recognized.
    :param reasoning_key: field in which reasoning is written back where a message does not say.
    :param json_schema: whether ``response_format: json_schema`` is understood.
    :param thinking: how thinking is switched: Moonshot's ``thinking`` object, the chat template's
        arguments (``chat_template_kwargs``), OpenRouter's ``reasoning`` object, or not at all.
    :param max_tokens_field: name of the answer bound.
    :param include_usage: whether ``stream_options`` is understood.
    :param cache_key: whether ``prompt_cache_key`` is understood.
    :param leaks: whether tool markers and ``<think>`` may leak into the text; Moonshot's own API
        does not, and text must not be touched there.
    :param native_tool_ids: whether ids of tool calls in the history must have the model's native
        form ``functions.name:index`` (self-hosted K2; Moonshot renames on its side).
    :param side_endpoints: whether Moonshot's own endpoints exist (balance, files, batches, token
        estimate, formulas).
    :param list_prices: whether the maker's list price stands in where ``prices`` has none.
    :param prices: the host's own prices by family.
    """

    name: str
    base_url: str | None = None
    domains: tuple[str, ...] = ()
    reasoning_key: str = "reasoning_content"
    json_schema: bool = False
    thinking: ThinkingSwitch = "object"
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    include_usage: bool = True
    cache_key: bool = False
    leaks: bool = True
    native_tool_ids: bool = False
    side_endpoints: bool = False
    list_prices: bool = True
    prices: dict[str, Price] = {}


def _flat(miss: str, output: str) -> Price:
    """Price of a host that names no discount for cached input."""
    return Price(Decimal(miss), Decimal(miss), Decimal(output))


_MOONSHOT = Host(
    name="moonshot",
    base_url="https://api.moonshot.ai/v1",
    domains=("api.moonshot.ai",),
    json_schema=True,
    max_tokens_field="max_completion_tokens",
    cache_key=True,
    leaks=False,
    side_endpoints=True,
)
_VLLM = Host(
    name="vllm",
    # vLLM 0.11.2 renamed the field; the old one is still read by some versions only.
    reasoning_key="reasoning",
    json_schema=True,
    thinking="template",
    native_tool_ids=True,
    list_prices=False,
)

HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        Host(
            name="cometapi",
            base_url="https://api.cometapi.com/v1",
            domains=("api.cometapi.com",),
            cache_key=True,
            # CometAPI's own page of November 2025; K3 as of autumn 2026.
            prices={
                "kimi-k2-thinking": _flat("1.10", "4.40"),
                "kimi-k2-thinking-turbo": _flat("2.20", "15.95"),
                "kimi-k3": _flat("2.40", "12.00"),
            },
        ),
        _MOONSHOT,
        msgspec.structs.replace(
            _MOONSHOT,
            name="moonshot-cn",
            base_url="https://api.moonshot.cn/v1",
            domains=("api.moonshot.cn",),
        ),
        Host(
            name="openrouter",
            base_url="https://openrouter.ai/api/v1",
            domains=("openrouter.ai",),
            reasoning_key="reasoning",
            json_schema=True,
            thinking="reasoning",
            prices={"kimi-k2-thinking": _flat("0.60", "2.50")},
        ),
        Host(
            name="together",
            base_url="https://api.together.xyz/v1",
            domains=("api.together.xyz", "api.together.ai"),
            reasoning_key="reasoning",
            json_schema=True,
            thinking="template",
            prices={"kimi-k2-thinking": _flat("1.20", "4.00")},
        ),
        Host(
            name="fireworks",
            base_url="https://api.fireworks.ai/inference/v1",
            domains=("api.fireworks.ai",),
            json_schema=True,
        ),
        Host(
            name="novita",
            base_url="https://api.novita.ai/openai/v1",
            domains=("api.novita.ai",),
            json_schema=True,
            prices={"kimi-k2-thinking": _flat("0.60", "2.50")},
        ),
        _VLLM,
        msgspec.structs.replace(_VLLM, name="sglang", reasoning_key="reasoning_content"),
        Host(name="openai-compatible"),
    )
}


def find_host(base_url: str) -> Host:
    """Return the preset whose domain ``base_url`` has, or the one for any compatible URL."""
    domain = urlsplit(base_url).hostname or ""
    for host in HOSTS.values():
        if any(domain == known or domain.endswith(f".{known}") for known in host.domains):
            return host
    return HOSTS["openai-compatible"]

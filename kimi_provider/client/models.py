"""What differs from model family to model family, as data.

Facts and prices: Moonshot's model pages as of autumn 2026; they change every quarter, so each field
can be overridden from the connection (see :meth:`ClientConfig.from_mapping`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kimi_provider.schemas import Usage

_MILLION = Decimal(1_000_000)

Thinking: TypeAlias = Literal["never", "always", "switch", "switch_keep", "effort", "unknown"]


class Price(msgspec.Struct, frozen=True):
    """US dollars per million tokens: input found in the cache, other input, output."""

    hit: Decimal
    miss: Decimal
    output: Decimal

    def cost(self, usage: Usage) -> Decimal:
        """Return what ``usage`` costs, in US dollars, exactly."""
        hit = min(usage.cache_read_tokens, usage.input_tokens)
        miss = usage.input_tokens - hit
        return (self.hit * hit + self.miss * miss + self.output * usage.output_tokens) / _MILLION


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How one family of models wants to be asked, and what it costs.

    :param family: name of the family, the key of price and profile overrides beside the model id.
    :param pattern: regular expression that the bare, lower-case model id starts with.
    :param context_window: tokens of prompt and answer together, ``None`` where not known.
    :param default_max_tokens: answer bound that is sent where the caller gives none, in tokens;
        ``None`` leaves it to the host.
    :param max_output_tokens: the most that the model can answer, in tokens, where known.
    :param temperature: allowed range; ``None`` means fixed, so that sending any value is a risk.
    :param thinking: ``always`` (not switchable, nothing sent), ``switch`` (an object
        ``{"type": enabled|disabled}``), ``switch_keep`` (the same with ``keep``), ``effort``
        (``reasoning_effort``), ``never``, or ``unknown``.
    :param efforts: allowed efforts.
    :param tool_choices: allowed values of ``tool_choice``.
    :param json_schema: whether the family has ``response_format: json_schema``.
    :param price: the maker's list price, ``None`` where not known.
    """

    family: str
    pattern: str
    context_window: int | None = None
    default_max_tokens: int | None = None
    max_output_tokens: int | None = None
    temperature: tuple[float, float] | None = None
    thinking: Thinking = "unknown"
    efforts: tuple[str, ...] = ()
    tool_choices: tuple[str, ...] = ("auto", "none")
    json_schema: bool = True
    price: Price | None = None

    @property
    def known(self) -> bool:
        """Whether this is a family that the package knows."""
        return self.family != "unknown"


def _price(hit: str, miss: str, output: str) -> Price:
    return Price(Decimal(hit), Decimal(miss), Decimal(output))


_K2 = 262_144

# The first pattern that fits wins, so the longer ids come first.
PROFILES: tuple[ModelProfile, ...] = (
    ModelProfile(
        family="kimi-k3",
        # Not a later one (k3.1): its rules and prices are its own.
        pattern=r"kimi-?k3(?![.\d])",
        context_window=1_048_576,
        default_max_tokens=131_072,
        thinking="effort",
        efforts=("low", "high", "max"),
        tool_choices=("auto", "none", "required"),
        price=_price("0.30", "3.00", "15.00"),
    ),
    ModelProfile(
        family="kimi-k2.7-code-highspeed",
        pattern=r"kimi-?k2[.p-]7-code-highspeed",
        context_window=_K2,
        default_max_tokens=32_768,
        thinking="always",
        price=_price("0.38", "1.90", "8.00"),
    ),
    ModelProfile(
        family="kimi-k2.7-code",
        pattern=r"kimi-?k2[.p-]7",
        context_window=_K2,
        default_max_tokens=32_768,
        thinking="always",
        price=_price("0.19", "0.95", "4.00"),
    ),
    ModelProfile(
        family="kimi-k2.6",
        pattern=r"kimi-?k2[.p-]6",
        context_window=_K2,
        default_max_tokens=32_768,
        thinking="switch_keep",
        price=_price("0.16", "0.95", "4.00"),
    ),
    ModelProfile(
        family="kimi-k2.5",
        pattern=r"kimi-?k2[.p-]5",
        context_window=_K2,
        default_max_tokens=32_768,
        thinking="switch",
        price=_price("0.10", "0.60", "3.00"),
    ),
    ModelProfile(
        family="kimi-k2-thinking-turbo",
        pattern=r"kimi-?k2-thinking-turbo",
        context_window=_K2,
        default_max_tokens=64_000,
        temperature=(0.0, 1.0),
        thinking="always",
        json_schema=False,
        price=_price("0.15", "1.15", "8.00"),
    ),
    ModelProfile(
        family="kimi-k2-thinking",
        pattern=r"kimi-?k2-thinking",
        context_window=_K2,
        default_max_tokens=64_000,
        temperature=(0.0, 1.0),
        thinking="always",
        json_schema=False,
        price=_price("0.15", "0.60", "2.50"),
    ),
    ModelProfile(
        family="kimi-k2-turbo",
        pattern=r"kimi-?k2-turbo",
        context_window=_K2,
        temperature=(0.0, 1.0),
        thinking="never",
        json_schema=False,
        price=_price("0.15", "1.15", "8.00"),
    ),
    ModelProfile(
        family="kimi-k2",
        pattern=r"kimi-?k2(-|$)",
        context_window=_K2,
        temperature=(0.0, 1.0),
        thinking="never",
        json_schema=False,
        price=_price("0.15", "0.60", "2.50"),
    ),
)

UNKNOWN = ModelProfile(
    family="unknown",
    pattern="",
    temperature=(0.0, 2.0),
    tool_choices=("auto", "none", "required"),
    json_schema=False,
)


@cache
def bare_id(model: str) -> str:
    """Return a model id without what hosts put around it (owner, path, route, region).

    ``accounts/fireworks/models/kimi-k2p5`` → ``kimi-k2p5``; ``moonshot.kimi-k2-thinking`` and
    ``moonshotai/Kimi-K2-Thinking:nitro`` → ``kimi-k2-thinking``.
    """
    name = model.lower().rsplit("/", 1)[-1].split(":", 1)[0].split("@", 1)[0]
    return re.sub(r"^(?:[a-z]+\.)*moonshot(?:ai)?[.-](?=kimi)", "", name).removesuffix("-maas")


def find_profile(model: str, overrides: Mapping[str, Mapping[str, object]]) -> ModelProfile:
    """Return the profile of ``model``, with the connection's ``overrides`` laid over it.

    :param model: id as the host names it.
    :param overrides: fields by model id or family name; the id wins over the family.
    """
    name = bare_id(model)
    profile = next((p for p in PROFILES if re.match(p.pattern, name)), UNKNOWN)
    for key in (profile.family, name, model):
        fields = overrides.get(key)
        if fields:
            profile = msgspec.structs.replace(profile, **fields)
    return profile

"""Checks of the settings that a connection's extra may hold: each error names key, value, remedy."""

from __future__ import annotations

import difflib
import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.client.models import ModelProfile, Price
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kimi_provider.client.hosts import Host

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


def _positive_int(value: object) -> int:
    number = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else 0
    if number < 1:
        raise ValueError
    return number


def _positive_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    number = float(value)
    if not (0 < number < math.inf):
        raise ValueError
    return number


def _temperature(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    number = float(value)
    if not 0 <= number <= 2:  # noqa: PLR2004 — the protocol's own range
        raise ValueError
    return number


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError
    return value.strip()


def _verify(value: object) -> bool | str:
    try:
        return _bool(value)
    except ValueError:
        return _text(value)


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise TypeError
    return value


def _headers(value: object) -> dict[str, str]:
    headers = _mapping(value)
    for name, content in headers.items():
        plain = isinstance(content, str) and content.isprintable() and name.isprintable()
        if not plain or name.lower() in {"authorization", "host", "content-length"}:
            raise ValueError
    return headers


_WHOLE = (_positive_int, "a whole number from 1")
_SECONDS = (_positive_float, "a number of seconds above 0")
_WORD = (_text, "a text")
_SETTINGS: dict[str, tuple[Callable[[object], Any], str]] = {
    "host": _WORD,
    "base_url": _WORD,
    "model": _WORD,
    "host_options": (_mapping, "an object of host fields"),
    "models": (_mapping, "an object of objects, by model id"),
    "prices": (_mapping, "an object of prices, by model id"),
    "max_tokens": _WHOLE,
    "temperature": (_temperature, "a number from 0 to 2"),
    "thinking": (_bool, "true or false"),
    "effort": _WORD,
    "reasoning_key": _WORD,
    "requests_per_minute": _WHOLE,
    "tokens_per_minute": _WHOLE,
    "max_concurrency": _WHOLE,
    "idle_timeout": _SECONDS,
    "timeout": _SECONDS,
    "connect_timeout": _SECONDS,
    "max_attempts": _WHOLE,
    "max_retry_wait": _SECONDS,
    "max_response_bytes": _WHOLE,
    "verify": (_verify, "true, false, or the path of a CA file"),
    "headers": (_headers, "an object of printable texts, without Authorization, Host, Content-Length"),
}
EXTRA_KEYS = frozenset(_SETTINGS)


def check_extra(extra: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with their proper types; those that are ``None`` are left out.

    :raises ConfigurationError: for an unknown setting or a value that is not allowed.
    """
    checked: dict[str, Any] = {}
    for key, value in extra.items():
        if key not in _SETTINGS:
            raise ConfigurationError(f"extra holds {key!r}, {_hint(key, list(_SETTINGS))}")
        if value is None:
            continue
        read, allowed = _SETTINGS[key]
        try:
            checked[key] = read(value)
        except (TypeError, ValueError):
            # Header values may be secrets; every other setting is shown to help.
            shown = "what it is" if key == "headers" else repr(value)
            raise ConfigurationError(f"extra[{key!r}] is {shown}; allowed is {allowed}.") from None
    return checked


def overlay(host: Host, fields: Mapping[str, Any], key: str) -> Host:
    """Return ``host`` with ``fields`` laid over it.

    :raises ConfigurationError: names the field and what is allowed.
    """
    checked = _converted(type(host), fields, key, {"name", "base_url", "domains", "prices"})
    return msgspec.structs.replace(host, **checked)


def model_overrides(models: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Check fields of :class:`ModelProfile` by model id.

    :raises ConfigurationError: names the model, the field and what is allowed.
    """
    closed = {"family", "pattern", "price"}
    return {
        model: _converted(ModelProfile, fields, f"models.{model}", closed)
        for model, fields in models.items()
    }


def price_overrides(prices: Mapping[str, Any]) -> dict[str, Price]:
    """Read prices by model id, in US dollars per million tokens.

    :raises ConfigurationError: names the model and the form that a price has.
    """
    read: dict[str, Price] = {}
    for model, price in prices.items():
        try:
            miss, output = Decimal(str(price["miss"])), Decimal(str(price["output"]))
            values: tuple[Decimal, ...] = (Decimal(str(price.get("hit", miss))), miss, output)
            known = set(price) <= {"hit", "miss", "output"}
        except (TypeError, KeyError, ValueError, AttributeError, InvalidOperation):
            values, known = (), False
        if not known or not all(value.is_finite() and value >= 0 for value in values):
            raise ConfigurationError(
                f"prices[{model!r}] is {price!r}; allowed is an object with miss and output, and hit if "
                "cached input is cheaper, in US dollars per million tokens."
            )
        read[model] = Price(*values)
    return read


def _converted(cls: type[msgspec.Struct], fields: object, key: str, closed: set[str]) -> dict[str, Any]:
    """Check ``fields`` against the annotations of ``cls``."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(cls)}
    allowed = [name for name in kinds if name not in closed]
    if not isinstance(fields, dict):
        raise ConfigurationError(f"{key} is {fields!r}; allowed is an object of fields.")
    checked: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in allowed:
            raise ConfigurationError(f"{key} holds {name!r}, {_hint(name, allowed)}")
        try:
            checked[name] = msgspec.convert(value, kinds[name])
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{key}.{name} is {value!r}: {error}.") from None
    return checked


def _hint(word: object, allowed: list[str]) -> str:
    close = difflib.get_close_matches(str(word), allowed, n=1)
    meant = f"did you mean {close[0]!r}? Known" if close else "which is not known; known"
    return f"{meant} are {', '.join(sorted(allowed))}."

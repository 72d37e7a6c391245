"""Settings from a connection, profiles and prices."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kimi_provider.client.config import ClientConfig
from kimi_provider.client.hosts import HOSTS, find_host
from kimi_provider.client.models import Price, bare_id, find_profile
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import Usage


def make(base_url=None, key="sk-test", model="kimi-k2-thinking", **extra):
    return ClientConfig.from_mapping(base_url=base_url, api_key=key, model=model, extra=extra)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("kimi-k2-thinking", "kimi-k2-thinking"),
        ("moonshotai/Kimi-K2-Thinking", "kimi-k2-thinking"),
        ("moonshot.kimi-k2-thinking", "kimi-k2-thinking"),
        ("moonshotai/kimi-k2-thinking-maas", "kimi-k2-thinking"),
        ("kimi-k2-thinking-turbo", "kimi-k2-thinking-turbo"),
        ("accounts/fireworks/models/kimi-k2p5", "kimi-k2.5"),
        ("moonshotai/kimi-k2.6:nitro", "kimi-k2.6"),
        ("kimi-k2.7-code-highspeed", "kimi-k2.7-code-highspeed"),
        ("kimi-k2.7-code", "kimi-k2.7-code"),
        ("kimi-k3", "kimi-k3"),
        ("kimi-k2-0905-preview", "kimi-k2"),
        ("kimi-k2-turbo-preview", "kimi-k2-turbo"),
        ("kimi-k3.1-pro", "unknown"),
        ("gpt-9", "unknown"),
        ("kimi-latest", "unknown"),
    ],
)
def test_family_of_a_model(model, family):
    assert find_profile(model, {}).family == family


def test_bare_id():
    assert bare_id("us.moonshot.kimi-k2-thinking") == "kimi-k2-thinking"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.moonshot.ai/v1", "moonshot"),
        ("https://api.moonshot.cn/v1", "moonshot-cn"),
        ("https://api.cometapi.com/v1", "cometapi"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.moonshot.ai.evil.example/v1", "openai-compatible"),
        ("http://10.0.0.1:8000/v1", "openai-compatible"),
    ],
)
def test_host_is_recognized_by_its_url(url, name):
    assert find_host(url).name == name


@pytest.mark.parametrize("name", [name for name, host in HOSTS.items() if host.base_url])
def test_each_preset_brings_its_url(name):
    config = make(host=name)
    assert config.base_url == HOSTS[name].base_url
    assert find_host(config.base_url).name == name


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("api.moonshot.ai/v1/", "https://api.moonshot.ai/v1"),
        ("https://x.example/v1/chat/completions", "https://x.example/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("api.moonshot.ai", "https://api.moonshot.ai/v1"),
        ("https://openrouter.ai/", "https://openrouter.ai/api/v1"),
        ("https://api.fireworks.ai", "https://api.fireworks.ai/inference/v1"),
        ("https://eu.api.moonshot.ai", "https://eu.api.moonshot.ai"),
        ("http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_url_is_put_in_order(url, expected):
    assert make(url).base_url == expected


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"host": "moonshoot"}, "moonshot"),
        ({"max_attemps": 3}, "did you mean 'max_attempts'"),
        ({"max_tokens": 0}, "whole number from 1"),
        ({"max_tokens": "many"}, "whole number from 1"),
        ({"idle_timeout": -1}, "seconds above 0"),
        ({"idle_timeout": float("nan")}, "seconds above 0"),
        ({"thinking": "maybe"}, "true or false"),
        ({"temperature": 3}, "0 to 2"),
        ({"headers": {"Authorization": "Bearer x"}}, "without Authorization"),
        ({"headers": {"X-A": "a\nb"}}, "printable"),
        ({"prices": {"m": {"miss": 1}}}, "miss and output"),
        ({"prices": {"m": {"miss": -1, "output": 2}}}, "miss and output"),
        ({"prices": {"m": 3}}, "miss and output"),
        ({"models": {"m": {"context_windw": 3}}}, "did you mean 'context_window'"),
        ({"models": {"m": {"context_window": "big"}}}, "int"),
        ({"models": {"m": 3}}, "object of fields"),
        ({"host_options": {"json_schemas": True}}, "did you mean 'json_schema'"),
        ({"host_options": {"thinking": "magic"}}, "Invalid enum"),
        ({"base_url": "ftp://x"}, "http or https"),
        ({"base_url": "https://user:secret@x.example/v1"}, "user name"),
        ({"base_url": "https://x.example/v1?key=secret"}, "query"),
    ],
    ids=str,
)
def test_wrong_setting_is_named_with_what_is_allowed(extra, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        make(**({} if "base_url" in extra else {"base_url": "http://x/v1"}), **extra)
    assert "secret" not in str(caught.value)
    assert "Bearer" not in str(caught.value)


def test_no_url_at_all():
    with pytest.raises(ConfigurationError, match="base_url is empty"):
        make()


@pytest.mark.parametrize(
    "key", ["", None, "sk-a\nb-planted", "sk-ä-planted", "two words planted", "sk-a\x00planted"]
)
def test_unusable_key_is_refused_and_not_shown(key):
    with pytest.raises(ConfigurationError) as caught:
        make("http://x/v1", key=key)
    assert "planted" not in str(caught.value)


def test_key_is_in_no_repr():
    config = make("http://x/v1", key=" sk-planted-1 ")
    assert config.api_key == "sk-planted-1"
    assert "planted" not in f"{config!r} {config} {[config]}"


def test_text_settings_of_the_connection_form_are_read():
    config = make(
        "http://x/v1", max_attempts="3", idle_timeout="2.5", thinking="false", verify="no", effort=None
    )
    assert (config.max_attempts, config.idle_timeout, config.thinking, config.verify) == (
        3,
        2.5,
        False,
        False,
    )


USAGE = Usage(calls=1, input_tokens=1_000_000, cache_read_tokens=400_000, output_tokens=100_000)


@pytest.mark.parametrize(
    ("extra", "model", "cost"),
    [
        ({"host": "moonshot"}, "kimi-k2-thinking", "0.67"),
        ({"host": "cometapi"}, "kimi-k2-thinking", "1.54"),
        ({"host": "cometapi"}, "kimi-k2-thinking-turbo", "3.795"),
        ({"host": "cometapi"}, "kimi-k2.6", "1.034"),
        ({"host": "moonshot"}, "kimi-k3", "3.42"),
        (
            {"host": "moonshot", "prices": {"kimi-k3": {"hit": 0, "miss": "1.5", "output": 2}}},
            "kimi-k3",
            "1.1",
        ),
        (
            {"host": "openrouter", "prices": {"kimi-k3": {"miss": 1, "output": 0}}},
            "moonshotai/kimi-k3",
            "1",
        ),
        ({"host": "openrouter"}, "moonshotai/kimi-k2-thinking", "0.85"),
    ],
    ids=str,
)
def test_cost(extra, model, cost):
    price = make(model=model, **extra).price(model)
    assert price.cost(USAGE) == Decimal(cost)


def test_price_that_nobody_knows():
    assert make("http://x/v1", host="vllm").price("kimi-k3") is None
    assert make(host="moonshot").price("gpt-9") is None


def test_price_is_exact():
    assert Price(Decimal("0.1"), Decimal("0.2"), Decimal("0.3")).cost(
        Usage(input_tokens=3, cache_read_tokens=1, output_tokens=1)
    ) == Decimal("0.0000008")


def test_profile_overrides_by_id_and_by_family():
    config = make(
        host="moonshot",
        models={"kimi-k3": {"context_window": 5}, "moonshotai/kimi-k3": {"default_max_tokens": 7}},
    )
    assert config.profile("kimi-k3").context_window == 5
    assert config.profile("moonshotai/kimi-k3").default_max_tokens == 7
    unknown = make(
        host="moonshot",
        models={"kimi-k4": {"context_window": 9, "thinking": "effort", "efforts": ["low"]}},
    )
    assert unknown.profile("kimi-k4").context_window == 9
    assert unknown.profile("kimi-k4").efforts == ("low",)


def test_native_schema_needs_host_and_family():
    assert make(host="moonshot", model="kimi-k3").native_schema()
    assert not make(host="moonshot").native_schema()
    assert not make(host="cometapi", model="kimi-k3").native_schema()
    assert make(host="cometapi", model="kimi-k3", host_options={"json_schema": True}).native_schema()

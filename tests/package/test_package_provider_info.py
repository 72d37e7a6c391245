"""The metadata that Airflow reads is valid, complete, and names only what is there."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from importlib.resources import files

import jsonschema
import pytest
from airflow.sdk import BaseHook, BaseNotifier, BaseOperator
from airflow.triggers.base import BaseTrigger

from kimi_provider.alerts.account import HOSTS as SENDGRID_HOSTS
from kimi_provider.alerts.account import SendGridConfig
from kimi_provider.client.hosts import HOSTS
from kimi_provider.get_provider_info import get_provider_info
from kimi_provider.hooks.kimi import KimiHook

INFO = get_provider_info()
KEYS = {
    "package-name",
    "name",
    "description",
    "integrations",
    "operators",
    "hooks",
    "connection-types",
    "notifications",
    "task-decorators",
    "triggers",
    "plugins",
    "cli",
    "config",
    "email-backends",
    "extra-links",
}
ROOMS = {
    "operators": BaseOperator,
    "hooks": BaseHook,
    "notifications": BaseNotifier,
    "triggers": BaseTrigger,
}


def _schema(name):
    return json.loads(files("airflow").joinpath(name).read_text())


def _resolve(path):
    module, _, attribute = path.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _modules(room):
    package = importlib.import_module(f"kimi_provider.{room}")
    names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [importlib.import_module(name) for name in names]


def _public_classes(module, base):
    return [
        cls
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, base) and cls.__module__ == module.__name__ and not name.startswith("_")
    ]


def _listed_modules(key):
    return {name for entry in INFO.get(key, ()) for name in entry["python-modules"]}


def _connection(name):
    return next(c for c in INFO["connection-types"] if c["connection-type"] == name)


def test_it_is_valid_by_the_schema_that_airflow_checks_at_start():
    schema = _schema("provider_info.schema.json")
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(INFO, schema)


def test_connections_are_valid_by_the_stricter_schema_of_airflows_own_providers():
    schema = _schema("provider.yaml.schema.json")
    jsonschema.validate(
        INFO["connection-types"],
        {**schema["properties"]["connection-types"], "definitions": schema.get("definitions", {})},
    )


def test_every_key_is_checked_below():
    assert set(INFO) == KEYS
    assert set(INFO) <= set(_schema("provider_info.schema.json")["properties"])


def test_it_needs_nothing_but_python(root):
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "from kimi_provider.get_provider_info import get_provider_info; get_provider_info()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_call_gives_a_dictionary_of_its_own():
    get_provider_info()["operators"].clear()
    assert get_provider_info() == INFO


def test_name_is_that_of_the_distribution(project):
    assert INFO["package-name"] == project["name"]
    assert INFO["name"]
    assert INFO["description"]


def test_every_integration_that_is_named_is_declared():
    declared = {entry["integration-name"] for entry in INFO["integrations"]}
    assert declared == {"Kimi", "SendGrid"}
    used = {
        entry["integration-name"] for key in ROOMS for entry in INFO.get(key, ()) if "." not in entry
    }
    assert used <= declared


@pytest.mark.parametrize("room", ["operators", "hooks", "triggers"])
def test_modules_are_listed_if_and_only_if_they_define_something(room):
    defining = {m.__name__ for m in _modules(room) if _public_classes(m, ROOMS[room])}
    assert _listed_modules(room) == defining


def test_notifiers_are_listed_if_and_only_if_they_exist():
    classes = {
        f"{cls.__module__}.{cls.__qualname__}"
        for module in _modules("notifications")
        for cls in _public_classes(module, BaseNotifier)
    }
    assert set(INFO["notifications"]) == classes


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("HttpFetchOperator", "operators.fetch"),
        ("KimiAnalyzeOperator", "operators.analyze"),
        ("ReportOperator", "operators.report"),
        ("AlertOperator", "operators.alert"),
        ("KimiHook", "hooks.kimi"),
        ("SendGridHook", "hooks.sendgrid"),
        ("SendGridNotifier", "notifications.sendgrid"),
    ],
)
def test_public_names_stay(name, module):
    cls = _resolve(f"kimi_provider.{module}.{name}")
    assert issubclass(cls, (BaseOperator, BaseHook, BaseNotifier))
    assert cls.__doc__


@pytest.mark.parametrize("connection", INFO["connection-types"], ids=lambda c: c["connection-type"])
def test_connection_types_agree_with_their_hooks(connection):
    hook = _resolve(connection["hook-class-name"])
    assert issubclass(hook, BaseHook)
    assert hook.conn_type == connection["connection-type"]
    assert hook.hook_name == connection["hook-name"]
    assert hook.default_conn_name == f"{connection['connection-type']}_default"
    assert hook.conn_name_attr in inspect.signature(hook).parameters
    assert callable(hook.test_connection)


def test_connection_types_are_kimi_and_sendgrid():
    assert [c["connection-type"] for c in INFO["connection-types"]] == ["kimi", "sendgrid"]


def test_every_field_of_the_kimi_form_is_understood_by_the_hook(monkeypatch):
    fields = _connection("kimi")["conn-fields"]
    samples = {"string": "x", "integer": 3, "number": 4.5}
    extra = {
        name: field["schema"].get("enum", [samples[field["schema"]["type"][0]]])[0]
        for name, field in fields.items()
    }
    extra["fallback_conn_ids"] = "other"
    for conn_id, its in (("form", extra), ("other", {"host": "moonshot", "model": "y"})):
        connection = {"conn_type": "kimi", "password": "a-key", "extra": its}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    hook = KimiHook("form")
    client = hook.get_conn()
    assert list(hook._configs) == ["form", "other"]
    for name, value in extra.items() - {("fallback_conn_ids", "other")}:
        got = getattr(client.config, name)
        assert (got.name if name == "host" else got) == value
    assert fields["host"]["schema"]["enum"] == list(HOSTS)


def test_every_field_of_the_sendgrid_form_is_understood_by_the_client():
    fields = _connection("sendgrid")["conn-fields"]
    extra = {
        "from_email": "a@example.com",
        "from_name": "A",
        "reply_to": "b@example.com",
        "region": "eu",
        "allowed_domains": "example.com, example.org",
        "subuser": "sub",
        "timeout": 7,
        "sandbox_mode": True,
    }
    # The key of the event webhook is read by the page that takes events, not by the client.
    assert set(fields) == {*extra, "webhook_public_key"}
    config = SendGridConfig.from_connection(password="key", host="", extra=extra)
    assert config.host == SENDGRID_HOSTS["eu"]
    assert config.allowed_domains == ("example.com", "example.org")
    assert config.sandbox
    for name in set(extra) - {"region", "allowed_domains", "sandbox_mode"}:
        assert getattr(config, name) == extra[name]
    assert fields["region"]["schema"]["enum"] == list(SENDGRID_HOSTS)


def test_secrets_have_no_field_but_the_masked_password():
    words = ("key", "token", "secret", "password")
    for connection in INFO["connection-types"]:
        assert "password" not in connection["ui-field-behaviour"]["hidden-fields"]
        for name, field in connection["conn-fields"].items():
            if "public" in name.split("_"):
                continue
            assert field["schema"].get("format") == "password" or not any(
                word in name.split("_") for word in words
            )


def test_links_and_backends_are_there():
    from airflow.sdk import BaseOperatorLink

    for path in INFO["extra-links"]:
        assert issubclass(_resolve(path), BaseOperatorLink)
    for path in [*INFO["email-backends"], *INFO["cli"]]:
        assert callable(_resolve(path))


def test_decorators_make_tasks():
    (entry,) = INFO["task-decorators"]
    assert entry["name"] == "kimi"
    from airflow.sdk import task

    decorator = _resolve(entry["class-name"])

    def prompt() -> str:
        return "Say hello."

    for made in (decorator(prompt), task.kimi(prompt)):
        assert made.operator_class.custom_operator_name == "@task.kimi"


def test_plugins_are_plugins(project):
    from airflow.plugins_manager import is_valid_plugin

    (entry,) = INFO["plugins"]
    plugin = _resolve(entry["plugin-class"])
    assert is_valid_plugin(plugin)
    assert plugin.name == entry["name"]
    points = project["entry-points"]
    assert points["airflow.plugins"] == {
        entry["name"]: entry["plugin-class"].replace(".KimiP", ":KimiP")
    }


def test_commands_are_commands():
    from airflow.cli.cli_config import GroupCommand

    (path,) = INFO["cli"]
    (group,) = _resolve(path)()
    assert isinstance(group, GroupCommand)
    assert group.name == "kimi"


def test_entry_point_of_the_metadata_is_this_function(project):
    (path,) = project["entry-points"]["apache_airflow_provider"].values()
    assert _resolve(path.replace(":", ".")) is get_provider_info


def test_settings_are_those_that_the_code_reads(root):
    assert set(INFO["config"]) == {"kimi"}
    options = INFO["config"]["kimi"]["options"]
    source = "\n".join(p.read_text() for p in (root / "kimi_provider").rglob("*.py"))
    for name, option in options.items():
        assert f'conf.get("kimi", "{name}"' in source
        assert option["default"] == ""
        assert option["description"]
        assert option["example"]
    assert source.count('conf.get("kimi", ') == len(options)

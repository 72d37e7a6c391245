"""What Airflow itself says of the provider, by its own command line, where it is installed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from kimi_provider import __version__
from kimi_provider.get_provider_info import get_provider_info

INFO = get_provider_info()
COMMANDS = {
    "list": ("providers", "list"),
    "get": ("providers", "get", "airflow-provider-kimi", "--full"),
    "hooks": ("providers", "hooks"),
    "widgets": ("providers", "widgets"),
    "plugins": ("plugins",),
}


@pytest.fixture(scope="module")
def says():
    """Run all commands at once (each takes seconds to start); return what each printed."""
    running = {
        name: subprocess.Popen(
            [sys.executable, "-m", "airflow", *command, "-o", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, command in COMMANDS.items()
    }
    said = {}
    for name, process in running.items():
        out, err = process.communicate()
        assert process.returncode == 0, err
        said[name] = json.loads(out), err
    return said


def _about_it(said, key, value):
    rows, _ = said
    return [row for row in rows if row[key] == value]


def test_it_is_installed_in_this_version(says):
    (row,) = _about_it(says["list"], "package_name", INFO["package-name"])
    assert row["version"] == __version__


def _as_printed(value):
    if isinstance(value, dict):
        return {key: _as_printed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_printed(one) for one in value]
    return str(value) if isinstance(value, bool) else value


def test_its_metadata_arrives_whole(says):
    ((row,), _) = says["get"]
    # It prints numbers and truths as text.
    printed = _as_printed(json.loads(json.dumps(INFO), parse_int=str))
    printed["description"] = printed["description"].removesuffix(".")  # and drops the full stop
    assert {key: row[key] for key in printed} == printed


def test_its_connection_types_are_offered_with_hooks_that_load(says):
    rows = _about_it(says["hooks"], "package_name", INFO["package-name"])
    assert {row["connection_type"]: (row["class"], row["hook_name"]) for row in rows} == {
        "kimi": ("kimi_provider.hooks.kimi.KimiHook", "Kimi"),
        "sendgrid": ("kimi_provider.hooks.sendgrid.SendGridHook", "SendGrid"),
    }


def test_its_forms_have_their_fields(says):
    rows = _about_it(says["widgets"], "package_name", INFO["package-name"])
    assert {row["connection_parameter_name"] for row in rows} == {
        f"extra__{connection['connection-type']}__{field}"
        for connection in INFO["connection-types"]
        for field in connection["conn-fields"]
    }


def test_its_plugin_is_loaded(says):
    (row,) = _about_it(says["plugins"], "name", "kimi")
    assert row["fastapi_apps"]
    assert row["external_views"]


def test_airflow_has_nothing_to_complain_of(says):
    for _, err in says.values():
        assert "kimi" not in err.lower(), err

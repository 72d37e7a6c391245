"""The tests' own walls hold."""

from __future__ import annotations

import os
import socket

import httpx
import pytest


def test_airflow_lives_in_a_home_of_its_own(airflow_home):
    import airflow.configuration

    assert str(airflow_home) == airflow.configuration.AIRFLOW_HOME
    assert airflow.configuration.conf.getboolean("core", "load_examples") is False


def test_no_real_keys_are_in_reach():
    keys = {name for name in os.environ if name.startswith(("KIMI_", "SENDGRID_", "AIRFLOW_CONN_"))}
    assert not keys - {"KIMI_TEST_POSTGRES"}


@pytest.mark.parametrize("host", ["nowhere.invalid", "api.test"])
def test_reserved_names_are_refused_without_asking_anyone(host):
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{host}/")


def test_this_machine_can_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()


def test_another_machine_fails_the_test_even_if_its_error_is_swallowed(pytester_home):
    outcome = pytester_home(
        """
        import contextlib, socket

        def test_address():
            with contextlib.suppress(OSError):
                socket.create_connection(("192.0.2.1", 9), timeout=1)

        def test_name():
            with contextlib.suppress(OSError):
                socket.getaddrinfo("example.com", 80)

        def test_innocent():
            pass
        """
    )
    assert "192.0.2.1" in outcome
    assert "example.com" in outcome
    assert "3 passed, 2 errors" in outcome

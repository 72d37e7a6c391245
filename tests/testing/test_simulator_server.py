"""The simulator as a server: in a thread, as a process, and as Airflow's connections."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing import Simulator


def test_it_stops_at_once_even_with_a_stream_open():
    before = threading.active_count()
    with Simulator(chunk_delay=5) as simulator:
        body = {"model": "kimi-k3", "stream": True, "messages": [{"role": "user", "content": "x"}]}
        headers = {"Authorization": "Bearer k"}
        client = httpx.Client()
        request = client.build_request(
            "POST", f"{simulator.kimi_url}/chat/completions", json=body, headers=headers
        )
        response = client.send(request, stream=True)
        assert response.status_code == 200
        url = simulator.url
    assert threading.active_count() == before
    with pytest.raises(httpx.HTTPError):
        response.read()
    client.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_port_in_use_is_named(simulator):
    port = httpx.URL(simulator.url).port
    with (
        pytest.raises(ConfigurationError, match=f"cannot listen on http://127.0.0.1:{port}"),
        Simulator(port),
    ):
        pass


def test_two_simulators_keep_apart(simulator):
    with Simulator() as other:
        httpx.get(f"{other.data_url}/airlines")
        assert (len(other.calls), len(simulator.calls)) == (1, 0)


def test_connections_are_as_airflow_reads_them(simulator):
    connections = {name: json.loads(value) for name, value in simulator.connections().items()}
    assert {name: value["conn_type"] for name, value in connections.items()} == {
        "AIRFLOW_CONN_KIMI_DEFAULT": "kimi",
        "AIRFLOW_CONN_SENDGRID_DEFAULT": "sendgrid",
        "AIRFLOW_CONN_FLIGHTS_API": "http",
    }
    kimi = connections["AIRFLOW_CONN_KIMI_DEFAULT"]
    headers = {"Authorization": f"Bearer {kimi['password']}"}
    listed = httpx.get(f"{kimi['host']}/models", headers=headers).json()["data"]
    assert kimi["extra"]["model"] in {model["id"] for model in listed}
    flights = connections["AIRFLOW_CONN_FLIGHTS_API"]
    assert httpx.get(f"{flights['host']}/data/airlines").status_code == 200


def test_settings_change_over_http(simulator, kimi):
    url = f"{simulator.url}/_simulator/settings"
    assert kimi.post(url, json={"balance": 0}).json()["balance"] == 0
    assert simulator.balance == 0
    assert kimi.post(url, json={"port": 1}).status_code == 400
    assert kimi.get(f"{simulator.url}/_simulator/health").json() == {"ok": True}


def test_calls_over_http_leave_out_the_simulators_own(simulator, kimi):
    kimi.get("/models")
    kimi.get("/models")
    kimi.get(f"{simulator.url}/mailbox")
    report = kimi.get(f"{simulator.url}/_simulator/calls", params={"path": "/v1"}).json()
    assert (report["total"], report["repeated"]) == (2, 1)
    assert [call["path"] for call in report["calls"]] == ["/v1/models"] * 2


def test_as_a_process_of_its_own(tmp_path):
    command = [
        sys.executable,
        "-m",
        "kimi_provider.testing.serve",
        "--port",
        "0",
        "--state-dir",
        str(tmp_path),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("Simulator ready at http://127.0.0.1:")
        url = first.split()[3]
        assert httpx.get(f"{url}/_simulator/health").json() == {"ok": True}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        process.stdout.close()


def test_as_a_process_on_a_port_in_use(simulator):
    port = str(httpx.URL(simulator.url).port)
    command = [sys.executable, "-m", "kimi_provider.testing.serve", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "cannot listen on" in done.stderr


def test_importing_it_brings_no_server_and_no_airflow():
    code = (
        "import sys; import kimi_provider.testing;"
        "print([m for m in ('uvicorn', 'airflow', 'duckdb', 'httpx', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.stdout.strip() == "[]"

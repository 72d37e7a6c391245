"""What holds for every test: an Airflow of its own, no real services, no network but this machine's."""

from __future__ import annotations

import atexit
import ipaddress
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

if "airflow" in sys.modules:
    raise pytest.UsageError("Airflow was imported before the tests could give it a home of its own.")

_HOME = Path(tempfile.mkdtemp(prefix="airflow-kimi-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
# Keys, connections and settings of whoever runs the tests must neither be used nor change a result.
for _name in [
    name
    for name in os.environ
    if (name.startswith(("AIRFLOW", "KIMI_", "SENDGRID_", "REPORT_")) and name != "KIMI_TEST_POSTGRES")
    or name.lower() in {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "2",
    "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
}


# --- the order ------------------------------------------------------------------------------------

# Tests of a whole Airflow mostly wait, so one process runs them while another runs all that computes.
_WAITING = ("machines", "system", "dags")


def _group(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return "waiting" if Path(file).parent.name in _WAITING else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait."""
    items.sort(key=lambda item: _group(item.nodeid) != "waiting")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Keep a file's tests in one process, and all that wait."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Scheduling(config, log)


# --- the network ----------------------------------------------------------------------------------

_RESERVED = (".invalid", ".test", ".example", ".localhost")  # RFC 6761: nobody is ever there
_violations: list[str] = []


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    if _is_here(name):
        return
    if not name.rstrip(".").endswith(_RESERVED):
        _violations.append(name)
    raise socket.gaierror(socket.EAI_NONAME, f"Tests reach no other machine, so not {name} either.")


def _is_here(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name in {"localhost", socket.gethostname()}
    return address.is_loopback or address.is_unspecified


# An audit hook sees what any library does, on any thread, through any of its layers.
sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def no_network() -> object:
    """Fail a test that reached for another machine, even where the code under test hid the error."""
    _violations.clear()
    yield
    reached = ", ".join(dict.fromkeys(_violations))
    _violations.clear()
    if reached:
        pytest.fail(f"The test reached for another machine: {reached}.")


# --- Airflow --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """Folder of the Airflow that the tests run in; already in the environment."""
    return _HOME


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path) -> Path:
    """Make Airflow's database (SQLite), once, for tests that run DAGs; return its file."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"airflow db migrate failed:\n{done.stdout}\n{done.stderr}")
    return airflow_home / "airflow.db"


# --- PostgreSQL -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL: the one of $KIMI_TEST_POSTGRES, or a private one that ends with the tests."""
    given = os.environ.get("KIMI_TEST_POSTGRES")
    if given:
        yield given
        return
    # Not above: this file is loaded alone, too.
    import servers

    with ExitStack() as running:
        try:
            url = running.enter_context(servers.postgres())
        except servers.CannotStartError as error:
            pytest.skip(f"{error} $KIMI_TEST_POSTGRES can name one.")
        yield url

"""What these tests need beyond the others: a broker, a database, and a store that speaks S3."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machines import Machines


def _needs(*modules: str) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is not installed here: make .venv/.machines")


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    """Airflow with two workers and two triggerers, started once for all tests."""
    _needs("airflow.providers.celery", "s3fs", "moto.server")
    from machines import BUCKET
    from machines import machines as start

    with ExitStack() as running:
        try:
            database = running.enter_context(servers.postgres())
            broker = running.enter_context(servers.redis())
            s3 = running.enter_context(servers.object_store(BUCKET))
        except servers.CannotStartError as error:
            pytest.skip(str(error))
        yield running.enter_context(start(database, broker, s3))


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """URL of an S3-compatible store in this process."""
    _needs("airflow.providers.amazon", "s3fs", "moto.server")
    from object_store import in_a_thread

    server = in_a_thread()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()


@pytest.fixture
def bucket(s3_url: str, request: pytest.FixtureRequest) -> str:
    """Name of an empty bucket."""
    name = f"kimi-{abs(hash(request.node.nodeid))}"
    httpx.put(f"{s3_url}/{name}").raise_for_status()
    return name

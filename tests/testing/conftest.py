from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def _running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(_running: Simulator) -> Iterator[Simulator]:
    """A simulator without a past."""
    _running.reset()
    yield _running
    _running.reset()


@pytest.fixture
def kimi(simulator: Simulator) -> Iterator[httpx.Client]:
    """A bare client of the simulated Kimi API, with a good key."""
    headers = {"Authorization": "Bearer sk-test"}
    with httpx.Client(base_url=simulator.kimi_url, headers=headers, timeout=20) as client:
        yield client

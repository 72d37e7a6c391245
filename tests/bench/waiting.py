"""Measures many calls waiting in one event loop, as in a triggerer; prints the figures as JSON.

    python tests/bench/waiting.py TRIGGERS EVENTS PAUSE

Each of the triggers streams its answer of EVENTS events, one every PAUSE seconds, from a simulator in a
process of its own. CPU is this process's own; lag is how late a timer of 10 ms is woken while all of
them stream.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.triggers.calls import KimiCallTrigger

_TICK = 0.01
_ADDRESS = "Simulator ready at "


@contextmanager
def simulator() -> Iterator[str]:
    """Start the simulator in a process of its own; give its URL, and set its connections."""
    command = [sys.executable, "-m", "kimi_provider.testing.serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        if host.stdout is None:
            raise RuntimeError("the simulator has no pipe")
        url = host.stdout.readline().removeprefix(_ADDRESS).split()[0]
        name, _, value = host.stdout.readline().strip().partition("=")
        while "KIMI" not in name:
            name, _, value = host.stdout.readline().strip().partition("=")
        os.environ[name] = value.strip("'")
        try:
            yield url
        finally:
            host.terminate()


def script(url: str, **scenario: object) -> None:
    """Tell the simulator what to answer."""
    body = json.dumps(scenario).encode()
    urllib.request.urlopen(f"{url}/_simulator/scenario", body).close()  # noqa: S310 — started above


def triggers(count: int, root: Path) -> list[KimiCallTrigger]:
    """Hand one call a trigger over, each of a task of its own."""
    from kimi_provider.analysis.elsewhere import PendingCall
    from kimi_provider.client import ChatRequest, Message
    from kimi_provider.hooks.calls import store_calls
    from kimi_provider.triggers.calls import KimiCallTrigger

    made = []
    for number in range(count):
        request = ChatRequest(messages=(Message.user(f"Think about the number {number}."),))
        path = store_calls([PendingCall(request)], root / "waiting" / "run" / "ask" / str(number))
        made.append(KimiCallTrigger(calls_uri=path.as_uri(), kimi_conn_id="kimi_default"))
    return made


class Lag:
    """How late the loop wakes a timer, in seconds; by phase."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.started: list[float] = []

    async def watch(self) -> None:
        while True:
            due = time.perf_counter() + _TICK
            await asyncio.sleep(_TICK)
            self.seen.append(time.perf_counter() - due)

    def figures(self) -> dict[str, float]:
        cuts = statistics.quantiles(self.seen, n=100)
        return {"p50": cuts[49] * 1e3, "p99": cuts[98] * 1e3, "max": max(self.seen) * 1e3}


def resident() -> float:
    """Return the memory that this process holds, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def fire(trigger: KimiCallTrigger) -> bool:
    """Run a trigger to its event; return whether its call was answered."""
    async for event in trigger.run():
        return not event.payload["failures"]
    return False


async def measure(waiting: list[KimiCallTrigger]) -> dict[str, float]:
    """Run all triggers at once."""
    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    memory, cpu, wall = resident(), time.process_time(), time.perf_counter()
    running = [asyncio.create_task(fire(trigger)) for trigger in waiting]
    most = memory
    while not all(one.done() for one in running):
        await asyncio.sleep(0.25)
        most = max(most, resident())
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    watching.cancel()
    answered = sum(await asyncio.gather(*running))
    return {
        "answered": answered,
        "cpu": cpu,
        "wall": wall,
        "share": cpu / wall,
        "mib": most - memory,
        **lag.figures(),
    }


def main() -> None:
    """Measure once."""
    count, events, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder, simulator() as url:
        os.environ["AIRFLOW_HOME"] = folder
        root = Path(folder) / "storage"
        os.environ["AIRFLOW__KIMI__STORAGE_PATH"] = root.as_uri()
        logging.disable(logging.WARNING)
        script(url, kind="long", reasoning_events=events, content_events=1, chunk_delay=pause)
        asyncio.run(measure(triggers(1, root / "warm-up")))
        figures = asyncio.run(measure(triggers(count, root)))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()

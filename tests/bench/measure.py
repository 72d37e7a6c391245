"""Measures one peer at one job, in a process of its own; prints the figures as JSON.

CPU is this process's own (``time.process_time``), so that neighbors on the machine count for little.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

from loopback import allow_files, plain_text, texts
from peers import PEERS, Peer


async def stream(peer: Peer, events: int, repeats: int) -> dict[str, float]:
    """CPU µs for each event of a long stream."""
    expected = "".join(texts(events)[1])
    taken = []
    for number in range(repeats + 1):
        before = time.process_time()
        text = await peer.stream()
        if text != expected:
            raise RuntimeError(f"{len(text)} characters came instead of {len(expected)}")
        if number:  # the first one warms up
            taken.append((time.process_time() - before) / events * 1e6)
    return {"us": statistics.median(taken)}


async def plain(peer: Peer, calls: int, at_once: int) -> dict[str, float]:
    """CPU µs for each plain call: one after the other, and with ``at_once`` of them in flight."""
    expected = plain_text()

    async def worker(count: int) -> None:
        for _ in range(count):
            if await peer.plain() != expected:
                raise RuntimeError("another text came")

    async def share(workers: int, count: int) -> float:
        before = time.process_time()
        await asyncio.gather(*(worker(count) for _ in range(workers)))
        return (time.process_time() - before) / (workers * count) * 1e6

    await share(1, 5)  # idle connections of a burst would burden the calls that follow
    return {"us": await share(1, calls), "us_at_once": await share(at_once, calls // at_once + 1)}


async def held(peer: Peer, calls: int) -> dict[str, object]:
    """``calls`` calls at once whose answers are delayed: successes, CPU, wall, memory."""
    expected = plain_text()
    answered = 0
    errors: Counter[str] = Counter()

    async def call() -> bool:
        nonlocal answered
        try:
            text = await peer.plain()
        except Exception as error:  # noqa: BLE001 — whatever a peer raises is a failed call
            errors[type(error).__name__] += 1
            return False
        answered += 1
        return text == expected

    if not await call() and not errors:
        raise RuntimeError("another text came")
    answered = 0
    errors.clear()
    at_rest, cpu, wall = _resident(), time.process_time(), time.perf_counter()
    running = asyncio.gather(*(call() for _ in range(calls)))
    most = at_rest
    while not running.done() and not answered and not errors:
        await asyncio.sleep(0.25)
        most = max(most, _resident())
    succeeded = sum(await running)
    return {
        "succeeded": succeeded,
        "errors": dict(errors),
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "kilobytes": (most - at_rest) / 1024 / calls,
    }


def _resident() -> int:
    """Return the memory that this process holds, in bytes; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


async def main() -> None:
    """Run the job that the command line names: ``PEER JOB URL NUMBER…``."""
    name, job, url, *numbers = sys.argv[1:]
    allow_files()
    logging.disable(logging.WARNING)
    run = {"stream": stream, "plain": plain, "held": held}[job]
    async with PEERS[name](f"{url}/{job}/v1") as peer:
        figures = await run(peer, *map(int, numbers))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    asyncio.run(main())

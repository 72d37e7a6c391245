"""Starts what is measured, and the host it talks to, each in a process of its own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from report import Figures

HERE = Path(__file__).parent
EVENTS = 4500
DELAY = 8  # seconds for which a held call waits
PATIENCE = 120  # seconds for one measurement


def start(script: str, *arguments: object, patience: float = PATIENCE) -> Figures:
    """Run a script of this folder in a fresh process and return the JSON it prints.

    :param patience: seconds that it may take.
    :returns: ``{"failed": reason}`` where it does not get that far.
    """
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience, check=False, cwd=HERE.parents[1]
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"no result in {patience:g} s"}
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1][:100]}
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def loopback() -> Iterator[str]:
    """Start the host in a process of its own; give its URL."""
    command = [
        *(sys.executable, str(HERE / "loopback.py")),
        *("--events", str(EVENTS), "--delay", str(DELAY)),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        if host.stdin is None or host.stdout is None:
            raise RuntimeError("the host has no pipes")
        yield f"http://127.0.0.1:{host.stdout.readline().strip()}"
        host.stdin.close()


def turns(peers: list[str], job: str, url: str, rounds: int, *numbers: int) -> dict[str, Figures]:
    """Measure the peers in turn, ``rounds`` times each; return medians."""
    taken: dict[str, list[Figures]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            taken[peer].append(start("measure.py", peer, job, url, *numbers))
    return {peer: medians(all_) for peer, all_ in taken.items()}


def medians(taken: list[Figures]) -> Figures:
    """Return each figure's median, or the first failure."""
    failed = next((figures for figures in taken if "failed" in figures), None)
    return failed or {key: statistics.median(figures[key] for figures in taken) for key in taken[0]}

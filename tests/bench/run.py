"""Compares this provider with its peers in one run: CPU, memory, calls in flight, imports, slots.

    .venv/bin/python tests/bench/run.py [--rounds 3] [--calls 2000] [--only stream plain held …]
    .venv/bin/python tests/bench/run.py --only slots --reports 50 --thinking 300

Each measurement is a process of its own, and the peers take turns, so that what else the machine does
falls on all of them: read the ratios. A peer that is not installed is left out and named. The exit code
is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from compare import (
    charting,
    fetching,
    grounding,
    imports,
    in_flight,
    memory,
    plain_calls,
    reports,
    slots,
    streams,
    waiting,
)
from processes import loopback
from report import LABELS, Figures, say

NEEDS = {"openai": "openai", "openai-raised": "openai", "pydantic-ai": "pydantic_ai"}
SECTIONS = (
    "stream",
    "plain",
    "memory",
    "held",
    "imports",
    "grounding",
    "fetch",
    "charts",
    "report",
    "waiting",
    "slots",
)


def installed(name: str) -> bool:
    """Whether a peer's library is there."""
    return find_spec(NEEDS.get(name, "httpx")) is not None


def bars(results: dict[str, dict[str, Figures]], calls: int) -> bool:
    """Print whether the bars are reached; one whose peer gave no figure is left open."""
    lines: list[tuple[str, bool | None]] = []
    stream = results.get("stream", {})
    if stream:
        us = {peer: figures.get("us") for peer, figures in stream.items()}
        own = max(us["kimi"], us["kimi-whole"]) if us["kimi"] and us["kimi-whole"] else None
        value = own / us["httpx"] if own and us.get("httpx") else None
        reached = value <= 1.3 if value else None
        lines.append((f"an event: {_times(value)} bare httpx (at most 1.30)", reached))
        value = us["openai"] / own if own and us.get("openai") else None
        reached = value >= 6 if value else None
        lines.append((f"an event: openai SDK takes {_times(value)} this client (at least 6)", reached))
    held = results.get("held", {})
    if held:
        succeeded = held["kimi"].get("succeeded")
        lines.append((f"in flight: {succeeded} of {calls} answered (all)", succeeded == calls))
        for peer in ("openai", "openai-raised"):
            value = (
                held[peer]["cpu"] / held["kimi"]["cpu"]
                if "cpu" in held["kimi"] and "cpu" in held.get(peer, {})
                else None
            )
            text = f"in flight: {LABELS[peer]} takes {_times(value)} this client's CPU (over 1)"
            lines.append((text, value > 1 if value else None))
    if lines:
        say("\nBars")
    words = {True: "reached", False: "MISSED", None: "open: no figure"}
    for text, reached in lines:
        say(f"  {words[reached]}: {text}")
    return all(reached is not False for _, reached in lines)


def _times(value: float | None) -> str:
    return f"{value:.2f} times" if value else "? times"


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"


def main() -> int:
    """Run the sections that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=2000, help="calls in flight")
    parser.add_argument("--reports", type=int, default=50, help="tasks that think at once")
    parser.add_argument("--thinking", type=int, default=60, help="seconds that each of them thinks")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    given = parser.parse_args()
    say(
        f"Python {sys.version.split()[0]}, "
        + ", ".join(map(_version, ("apache-airflow", "httpx", "openai", "pydantic-ai-slim")))
    )
    here = [peer for peer in LABELS if installed(peer)]
    for peer, label in LABELS.items():
        if peer not in here:
            say(f"{label} is not installed and left out; it comes with the extra bench.")
    results: dict[str, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory() as home, loopback() as url:
        os.environ["AIRFLOW_HOME"] = home
        if "stream" in given.only:
            peers = [peer for peer in here if peer != "openai-raised"]
            results["stream"] = streams(url, peers, given.rounds)
        plain = [peer for peer in here if peer not in {"openai-raised", "kimi-whole"}]
        if "plain" in given.only:
            results["plain"] = plain_calls(url, plain, given.rounds)
        if "memory" in given.only:
            memory(url, plain)
        if "held" in given.only:
            peers = [peer for peer in here if peer != "kimi-whole"]
            results["held"] = in_flight(url, peers, given.calls)
        alone = {
            "imports": partial(imports, given.rounds),
            "charts": partial(charting, given.rounds),
            "fetch": partial(fetching, given.rounds),
            "report": partial(reports, given.rounds),
            "grounding": grounding,
            "waiting": waiting,
            "slots": partial(slots, given.reports, given.thinking),
        }
        for section in given.only:
            if section in alone:
                alone[section]()
    return 0 if bars(results, given.calls) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measures what imports cost on top of Airflow's SDK, as the DAG processor pays them.

That process loads ``airflow.*`` once and parses each file in a fork of itself, so that a DAG file pays
for what its provider imports at every parse. Here too, each measurement is a fork that has the SDK and
nothing else. The command line holds the number of rounds and ``{name: [module, …]}`` as JSON; printed is
JSON of CPU in ms and number of modules, by name.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from importlib import import_module


def cost(modules: list[str]) -> tuple[float, int]:
    """Import ``modules`` in a fork; return CPU ms, and how many modules that loaded."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            loaded, before = len(sys.modules), time.process_time()
            for module in modules:
                import_module(module)
            figures = ((time.process_time() - before) * 1e3, len(sys.modules) - loaded)
            os.write(writing, json.dumps(figures).encode())
            failed = 0
        finally:
            os._exit(failed)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    if not text:
        raise RuntimeError(f"{', '.join(modules)} cannot be imported")
    milliseconds, count = json.loads(text)
    return milliseconds, count


def main() -> None:
    """Measure all names in turn, round by round; the first round warms up."""
    from airflow.sdk import DAG, BaseOperator  # noqa: F401 — resolved at first use, so loaded here

    rounds, subjects = int(sys.argv[1]), json.loads(sys.argv[2])
    taken: dict[str, list[tuple[float, int]]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name, modules in subjects.items():
            figures = cost(modules)
            if number:
                taken[name].append(figures)
    medians = {
        name: {"ms": statistics.median(ms for ms, _ in all_), "modules": all_[-1][1]}
        for name, all_ in taken.items()
    }
    sys.stdout.write(json.dumps(medians) + "\n")


if __name__ == "__main__":
    main()

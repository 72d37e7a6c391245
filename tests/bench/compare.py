"""What is compared; each function measures, prints its table and returns the figures."""

from __future__ import annotations

import json
import tempfile
import urllib.request
from importlib.util import find_spec
from pathlib import Path

from processes import DELAY, EVENTS, medians, start, turns
from report import LABELS, Figures, note_failures, number, ratio, say, table

PACKAGE = Path(__file__).parents[2] / "kimi_provider"
REPEATS = 3
CALLS, AT_ONCE = 320, 64
OPEN = 400


def streams(url: str, peers: list[str], rounds: int) -> dict[str, Figures]:
    """CPU for each event of a stream."""
    results = turns(peers, "stream", url, rounds, EVENTS, REPEATS)
    base, kimi = results["httpx"], results["kimi"]
    rows = [
        [
            LABELS[peer],
            number(figures, "us", "{:.1f}"),
            ratio(figures, base, "us"),
            ratio(figures, kimi, "us"),
        ]
        for peer, figures in results.items()
    ]
    title = f"CPU a streamed event ({EVENTS:,} events, sent as fast as they are taken)"
    table(title, ["", "µs", "/ httpx", "/ this client"], rows)
    note_failures(results)
    return results


def plain_calls(url: str, peers: list[str], rounds: int) -> dict[str, Figures]:
    """CPU for each plain call."""
    results = turns(peers, "plain", url, rounds, CALLS, AT_ONCE)
    kimi = results["kimi"]
    rows = [
        [
            LABELS[peer],
            *(number(figures, "us"), ratio(figures, kimi, "us")),
            *(number(figures, "us_at_once"), ratio(figures, kimi, "us_at_once")),
        ]
        for peer, figures in results.items()
    ]
    head = ["", "µs", "/ this client", f"µs, {AT_ONCE} in flight", "/ this client"]
    table("CPU a plain call", head, rows)
    note_failures(results)
    return results


def in_flight(url: str, peers: list[str], calls: int) -> dict[str, Figures]:
    """Thousands of calls at once; one round, since it takes long."""
    results = {}
    for peer in peers:
        _peak(url)
        results[peer] = start("measure.py", peer, "held", url, calls)
        results[peer]["peak"] = _peak(url)
    kimi = results["kimi"]
    rows = [
        [
            LABELS[peer],
            *(number(figures, "succeeded"), number(figures, "peak")),
            *(number(figures, "cpu", "{:.1f}"), ratio(figures, kimi, "cpu")),
            number(figures, "wall", "{:.1f}"),
        ]
        for peer, figures in results.items()
    ]
    head = ["", "succeeded", "at once", "CPU s", "/ this client", "wall s"]
    table(f"{calls:,} calls in flight, each answered after {DELAY} s", head, rows)
    note_failures(results)
    for peer, figures in results.items():
        for error, count in figures.get("errors", {}).items():
            say(f"  {LABELS[peer]}: {error} {count:,} times")
    return results


def memory(url: str, peers: list[str]) -> dict[str, Figures]:
    """Memory for each call in flight: of so many that every peer has them all open at once."""
    results = {peer: start("measure.py", peer, "held", url, OPEN) for peer in peers}
    kimi = results["kimi"]
    rows = [
        [LABELS[peer], number(figures, "kilobytes", "{:.0f}"), ratio(figures, kimi, "kilobytes")]
        for peer, figures in results.items()
    ]
    title = f"Memory a call in flight ({OPEN} at once; growth of the process before the first answer)"
    table(title, ["", "KB", "/ this client"], rows)
    note_failures(results)
    return results


def _peak(url: str) -> int:
    with urllib.request.urlopen(f"{url}/peak") as answer:  # noqa: S310 — the host started above
        return int(answer.read())


def imports(rounds: int) -> dict[str, Figures]:
    """What a DAG file pays for its imports, over the SDK."""
    operators = sorted(
        f"kimi_provider.operators.{path.stem}" for path in (PACKAGE / "operators").glob("[!_]*.py")
    )
    subjects = {
        "all operators of this provider": operators,
        **{module: [module] for module in operators},
        **{
            ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): [
                ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            ]
            for room in ("decorators", "notifications")
            for path in sorted((PACKAGE / room).glob("[!_]*.py"))
        },
        "kimi_provider.client": ["kimi_provider.client"],
        "this client, in use": ["kimi_provider.client.client"],
        "httpx": ["httpx"],
        "openai": ["openai"],
        "pydantic_ai": ["pydantic_ai"],
        **{
            module: [module]
            for module in (
                "airflow.providers.http.operators.http",
                "airflow.providers.openai.operators.openai",
                "airflow.providers.common.ai.operators.llm",
                "airflow.providers.common.ai.operators.agent",
            )
        },
    }
    subjects = {name: all_ for name, all_ in subjects.items() if _is_installed(all_[0])}
    results = start("imports.py", 2 * rounds + 1, json.dumps(subjects), patience=600)
    if "failed" in results:
        say(f"\nImports: {results['failed']}")
        return {}
    base = results["all operators of this provider"]
    rows = [
        [name, number(figures, "ms", "{:.1f}"), number(figures, "modules"), ratio(figures, base, "ms")]
        for name, figures in results.items()
    ]
    title = "Import cost over `from airflow.sdk import DAG, BaseOperator`, in the DAG processor's way"
    table(title, ["", "CPU ms", "modules", "/ all operators"], rows)
    return results


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that would have it
        return False


def grounding() -> None:
    """How long the check of an analysis takes, and how that grows with the facts."""
    results = {rows: start("grounding.py", rows, 8) for rows in (20, 80, 320)}
    rows = [
        [
            *(number(figures, "facts"), number(figures, "characters")),
            *(number(figures, "ms", "{:.1f}"), ratio(figures, results[20], "ms")),
        ]
        for figures in results.values()
    ]
    table("Grounding check of an analysis", ["facts", "characters", "CPU ms", "/ the first"], rows)
    note_failures({f"{rows} rows": figures for rows, figures in results.items()})
    kinds = start("lies.py", 200)
    if "failed" in kinds:
        note_failures({"lies": kinds})
        return
    told = [
        [kind, *(number(figures, "texts"), number(figures, "objected"), number(figures, "us"))]
        for kind, figures in kinds.items()
    ]
    head = ["", "texts", "objected", "CPU us a text"]
    table("Grounding check: lies told, and honest texts", head, told)


def reports(rounds: int) -> None:
    """How long one large report takes, with files too; and what inlining its styles takes.

    :param rounds: of the inlining; a report of this size takes long enough to be made once.
    """
    ways = {
        "": "mail, page, text, Markdown",
        "pdf": "the same and PDF",
        "xlsx": "the same and workbook",
        "csv": "the same and CSV",
    }
    results = {ways[formats]: start("reporting.py", "report", formats) for formats in ways}
    rows = [
        [
            name,
            *(number(figures, key, "{:.1f}") for key in ("s", "cpu", "charts")),
            number(figures, "kib"),
        ]
        for name, figures in results.items()
    ]
    head = ["", "s", "CPU s", "of it charts", "KiB"]
    table("A report of 20 charts and 2,000 table rows (10,000 figures)", head, rows)
    note_failures(results)
    taken: dict[str, list[Figures]] = {"css-inline": [], "premailer": []}
    for _ in range(rounds):
        for way, all_ in taken.items():
            all_.append(start("reporting.py", way))
    peers = {way: medians(all_) for way, all_ in taken.items()}
    rows = [
        [way, number(figures, "ms", "{:.1f}"), ratio(figures, peers["css-inline"], "ms")]
        for way, figures in peers.items()
    ]
    size = number(peers["css-inline"], "kib")
    table(f"Styles onto the elements of a mail of {size} KiB", ["", "CPU ms", "/ css-inline"], rows)
    note_failures(peers)


def fetching(rounds: int) -> dict[str, Figures]:
    """How fast a CSV file becomes Parquet: medians of runs in turn."""
    ways = {
        "kimi": "this provider: exact types, profile, hash",
        "pandas": "pandas: read_csv, to_parquet",
        "duckdb": "DuckDB: COPY, by hand",
    }
    with tempfile.TemporaryDirectory() as folder:
        made = start("fetching.py", "make", folder)
        if "failed" in made:
            say(f"\nFetching: {made['failed']}")
            return {}
        taken: dict[str, list[Figures]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way in ways:
                taken[way].append(start("fetching.py", way, made["file"]))
    results = {way: medians(all_) for way, all_ in taken.items()}
    rows = [
        [
            ways[way],
            *(number(figures, "rows_s"), ratio(figures, results["kimi"], "rows_s")),
            *(number(figures, "cpu", "{:.1f}"), number(figures, "mib")),
        ]
        for way, figures in results.items()
    ]
    size = number(results["kimi"], "rows")
    head = ["", "rows/s", "/ this provider", "CPU s", "MiB more"]
    table(f"CSV to Parquet ({size} rows: {made['what']})", head, rows)
    note_failures(results)
    return results


def charting(rounds: int) -> dict[str, Figures]:
    """How many charts a second are drawn: medians of runs in turn."""
    ways = {"kimi": "this provider (Vega-Lite)", "matplotlib": "matplotlib"}
    taken: dict[str, list[Figures]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            taken[way].append(start("charting.py", way, 5))
    results = {way: medians(all_) for way, all_ in taken.items()}
    rows = [
        [
            ways[way],
            *(number(figures, "charts_s", "{:.1f}"), ratio(figures, results["kimi"], "charts_s")),
            *(number(figures, "cpu_ms"), number(figures, "kib"), number(figures, "first_s", "{:.1f}")),
        ]
        for way, figures in results.items()
    ]
    head = ["", "charts/s", "/ this provider", "CPU ms each", "KiB each", "first three, s"]
    table("Charts as PNG, 1,184 px wide: a line, bars, a heat map", head, rows)
    note_failures(results)
    return results


def waiting() -> dict[str, Figures]:
    """What calls cost that wait in one triggerer's loop; one round, since it takes long."""
    # Few and many that say little, and fewer that say as much as a fast host does.
    cases = ((100, 20, 1.0), (1000, 20, 1.0), (200, 500, 0.04))
    results = {
        f"{count:,} with {1 / pause:g} events/s": start("waiting.py", count, events, pause)
        for count, events, pause in cases
    }
    rows = [
        [
            name,
            *(number(figures, "answered"), number(figures, "cpu", "{:.1f}")),
            *(number(figures, "wall", "{:.1f}"), number(figures, "mib")),
            *(number(figures, key) for key in ("p50", "p99", "max")),
        ]
        for name, figures in results.items()
    ]
    head = ["triggers", "answered", "CPU s", "wall s", "MiB more", "lag p50 ms", "p99", "max"]
    table("Calls in one triggerer's loop, each streaming for 20 seconds", head, rows)
    note_failures(results)
    return results


def slots(reports: int, thinking: int) -> dict[str, Figures]:
    """What thinking costs in workers' slots, on a whole Airflow; one round, since it takes long.

    :param reports: tasks that ask at once.
    :param thinking: seconds that each answer takes.
    """
    ways = {
        "deferrable": "this provider, deferrable",
        "worker": "this provider, on the worker",
        "common-ai": "common-ai's LLMOperator",
    }
    patience = 600 + 3 * thinking
    results = {way: start("slots.py", way, reports, thinking, patience=patience) for way in ways}
    rows = [
        [
            ways[way],
            *(number(figures, "slot_s"), ratio(figures, results["deferrable"], "slot_s")),
            *(number(figures, "most"), number(figures, "wall")),
        ]
        for way, figures in results.items()
    ]
    head = ["", "slot-seconds", "/ deferrable", "slots at once", "wall s"]
    table(f"Workers' slots for {reports} answers of {thinking} s of thinking", head, rows)
    note_failures({ways[way]: figures for way, figures in results.items()})
    return results

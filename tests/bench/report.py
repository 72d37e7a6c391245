"""Prints figures as tables, each beside its ratio to a named one."""

from __future__ import annotations

import sys
from typing import Any

Figures = dict[str, Any]
LABELS = {
    "kimi": "this client",
    "kimi-whole": "this client, complete()",
    "httpx": "bare httpx + json",
    "openai": "openai SDK",
    "openai-raised": "openai SDK, limits raised",
    "pydantic-ai": "pydantic-ai",
}


def say(line: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a table, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    say(f"\n{title}")
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        say("  " + "   ".join(cells).rstrip())


def ratio(figures: Figures, base: Figures, key: str) -> str:
    """Return how many times ``base`` a figure is."""
    if key not in figures or not base.get(key):
        return "-"
    return f"{figures[key] / base[key]:.2f}"


def number(figures: Figures, key: str, pattern: str = "{:,.0f}") -> str:
    """Return a figure as text."""
    return pattern.format(figures[key]) if key in figures else "-"


def note_failures(results: dict[str, Figures]) -> None:
    """Say which peers gave no figures, and why."""
    for name, figures in results.items():
        if "failed" in figures:
            say(f"  {LABELS.get(name, name)}: {figures['failed']}")

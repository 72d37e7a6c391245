"""Reads the facts and tables out of a prompt, as the analysis sends them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field

_BLOCK = r'<{0} fence="([^"\n]*)">\n(.*?)\n?</{0} fence="\1">'
_FACTS = re.compile(_BLOCK.format("facts"), re.DOTALL)
_TABLES = re.compile(_BLOCK.format("tables"), re.DOTALL)
_LANGUAGE = re.compile(r"Write headline, summary, .{0,80} in \w+ \(([a-z]{2})")
_FIXED_COLUMNS = ("id", "label", "value", "unit", "good", "period")


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fact's change against one comparison; ``percent`` is a fraction, ``None`` from nothing."""

    id: str
    value: float
    delta: float
    percent: float | None

    @property
    def size(self) -> float:
        """How large the change is, relative to the baseline."""
        if self.percent is not None:
            return abs(self.percent)
        return 1.0 if self.delta else 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the facts; ``value`` is ``None`` where it is no number."""

    id: str
    label: str
    value: float | None
    unit: str
    good: str
    baselines: tuple[Baseline, ...]


@dataclass(slots=True)
class Table:
    """A table of facts: its key columns, and the facts of each of its other columns."""

    id: str
    label: str
    keys: list[tuple[str, str]] = field(default_factory=list)
    columns: dict[str, list[Line]] = field(default_factory=dict)


@dataclass(slots=True)
class Brief:
    """All that the prompt says: single figures, and tables, and the tag of the language it asks for."""

    figures: list[Line]
    tables: list[Table]
    language: str = "en"


def read_brief(prompt: str) -> Brief | None:
    """Read the last facts of a prompt, or return ``None`` where it has none."""
    found = _FACTS.findall(prompt)
    if not found:
        return None
    lines = _lines(found[-1][1])
    tables = _tables((_TABLES.findall(prompt) or [("", "")])[-1][1])
    in_tables: set[str] = set()
    for table in tables:
        for column, cells in table.columns.items():
            start, end = f"{table.id}.", f".{column}"
            cells += [line for line in lines if line.id.startswith(start) and line.id.endswith(end)]
            in_tables.update(line.id for line in cells)
    language = _LANGUAGE.search(prompt)
    return Brief(
        [line for line in lines if line.id not in in_tables], tables, language[1] if language else "en"
    )


def _lines(text: str) -> list[Line]:
    reader = csv.DictReader(io.StringIO(text))
    names = [n for n in reader.fieldnames or () if n not in _FIXED_COLUMNS]
    comparisons = [n for n in names if not n.endswith((".delta", ".percent"))]
    return [
        Line(
            id=row["id"],
            label=row.get("label") or row["id"],
            value=_number(row.get("value")),
            unit=row.get("unit") or "number",
            good=row.get("good") or "",
            baselines=tuple(b for name in comparisons if (b := _baseline(row, name))),
        )
        for row in reader
        if row.get("id")
    ]


def _baseline(row: dict[str, str], name: str) -> Baseline | None:
    value, delta = _number(row.get(name)), _number(row.get(f"{name}.delta"))
    if value is None or delta is None:
        return None
    return Baseline(name, value, delta, _number(row.get(f"{name}.percent")))


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _tables(text: str) -> list[Table]:
    tables: dict[str, Table] = {}
    for row in csv.DictReader(io.StringIO(text)):
        name, column = row.get("table"), row.get("column")
        if not name or not column:
            continue
        table = tables.setdefault(name, Table(name, row.get("label") or name))
        if row.get("role") == "key":
            table.keys.append((column, row.get("unit") or "text"))
        else:
            table.columns[column] = []
    return list(tables.values())

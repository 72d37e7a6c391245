"""Reads the facts and tables out of a prompt, as the analysis sends them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from itertools import zip_longest

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
    """A table of facts: its key columns, and the facts of each of its other columns.

    ``said`` is what the prompt says of a column: heading, unit, which direction is good.
    """

    id: str
    label: str
    keys: list[tuple[str, str]] = field(default_factory=list)
    columns: dict[str, list[Line]] = field(default_factory=dict)
    said: dict[str, tuple[str, str, str]] = field(default_factory=dict)


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
    sections = _sections(found[-1][1])
    lines = _lines(sections[0] if sections else [])
    tables = _tables((_TABLES.findall(prompt) or [("", "")])[-1][1])
    in_tables: set[str] = set()
    for table in tables:
        for column, cells in table.columns.items():
            start, end = f"{table.id}.", f".{column}"
            cells += [line for line in lines if line.id.startswith(start) and line.id.endswith(end)]
            in_tables.update(line.id for line in cells)
    for section in sections[1:]:
        _add_cells(section, tables)
    language = _LANGUAGE.search(prompt)
    return Brief(
        [line for line in lines if line.id not in in_tables], tables, language[1] if language else "en"
    )


def _sections(text: str) -> list[list[dict[str, str]]]:
    """Return the rows of each part of the facts; empty lines stand between them."""
    sections: list[list[list[str]]] = [[]]
    for row in csv.reader(io.StringIO(text)):
        if row:
            sections[-1].append(row)
        elif sections[-1]:
            sections.append([])
    return [
        [dict(zip_longest(names, row[: len(names)], fillvalue="")) for row in rows]
        for names, *rows in filter(None, sections)
    ]


def _lines(rows: list[dict[str, str]]) -> list[Line]:
    return [
        Line(
            id=row["id"],
            label=row.get("label") or row["id"],
            value=_number(row.get("value")),
            unit=row.get("unit") or "number",
            good=row.get("good") or "",
            baselines=_baselines(row, ""),
        )
        for row in rows
        if row.get("id")
    ]


def _add_cells(rows: list[dict[str, str]], tables: list[Table]) -> None:
    """Add the cells of one table, whose rows have ids that begin with the table's."""
    about = [table for table in tables if rows and rows[0].get("id", "").startswith(f"{table.id}.")]
    if not about:
        return
    table = max(about, key=lambda table: len(table.id))
    for row in rows:
        named = [row[key] for key, _ in table.keys if key in row]
        name = ", ".join(named) or row["id"].removeprefix(f"{table.id}.")
        for column, cells in table.columns.items():
            heading, unit, good = table.said[column]
            cells.append(
                Line(
                    id=f"{row['id']}.{column}",
                    label=f"{heading} — {name}",
                    value=_number(row.get(column)),
                    unit=unit,
                    good=good,
                    baselines=_baselines(row, f"{column}."),
                )
            )


def _baselines(row: dict[str, str], start: str) -> tuple[Baseline, ...]:
    names = [name.removeprefix(start) for name in row if name.startswith(start)]
    names = [n for n in names if n not in _FIXED_COLUMNS and not n.endswith((".delta", ".percent"))]
    return tuple(b for name in names if (b := _baseline(row, start, name)))


def _baseline(row: dict[str, str], start: str, name: str) -> Baseline | None:
    column = f"{start}{name}"
    value, delta = _number(row.get(column)), _number(row.get(f"{column}.delta"))
    if value is None or delta is None:
        return None
    return Baseline(name, value, delta, _number(row.get(f"{column}.percent")))


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
        heading = row.get("heading") or column
        table.said[column] = heading, row.get("unit") or "number", row.get("good") or ""
        if row.get("role") == "key":
            table.keys.append((column, row.get("unit") or "text"))
        else:
            table.columns[column] = []
    return list(tables.values())

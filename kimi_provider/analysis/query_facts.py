"""The figures that the model's own queries gave ids to, as facts and tables of a sheet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from kimi_provider.analysis.cells import label_of
from kimi_provider.schemas import FactSheet, FactTable, TableColumn, Unit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from kimi_provider.schemas import Fact

_CELL = re.compile(r"(q\d+)\.(r\d+)\.([A-Za-z0-9_]+)")
_NAMES = {Unit.TEXT, Unit.DATE}


@dataclass(frozen=True)
class QueryFacts:
    """Facts ``q7.r2.avg`` of ``query_data``, and a table ``q7`` for each query that has names of rows.

    Made from the facts alone, so that a run which found its results in the journal has the same::

        found = QueryFacts.of(agent_result.facts)
        sheet = found.joined(sheet)  # what the answer may cite and draw
        kept = found.used(cited_ids, charted_tables).joined(computed)  # what is worth storing
    """

    facts: tuple[Fact, ...]
    tables: tuple[FactTable, ...]

    @classmethod
    def of(cls, facts: Iterable[Fact]) -> Self:
        """Gather the facts of queries among those of a run; others, of other tools, stay as they are.

        :param facts: such as ``AgentResult.facts``; of facts with one id the first counts.
        """
        unique = {fact.id: fact for fact in reversed(tuple(facts))}
        ordered = tuple(reversed(unique.values()))
        queries: dict[str, dict[str, dict[str, Fact]]] = {}
        for fact in ordered:
            if cell := _CELL.fullmatch(fact.id):
                query, row, column = cell.groups()
                queries.setdefault(query, {}).setdefault(row, {})[column] = fact
        tables = (_table(query, list(rows.values())) for query, rows in queries.items())
        return cls(ordered, tuple(table for table in tables if table))

    def joined(self, sheet: FactSheet) -> FactSheet:
        """Return the sheet with these facts and tables behind its own; its own ids win."""
        known = {fact.id for fact in sheet.facts}
        tables = {table.id for table in sheet.tables}
        return FactSheet(
            facts=(*sheet.facts, *(fact for fact in self.facts if fact.id not in known)),
            tables=(*sheet.tables, *(table for table in self.tables if table.id not in tables)),
        )

    def used(self, cited: Collection[str], charted: Collection[str]) -> QueryFacts:
        """Return what an answer used: the facts that it cites, and the tables that it draws.

        :param cited: ids of facts.
        :param charted: ids of tables.
        """
        tables = tuple(table for table in self.tables if table.id in charted)
        wanted = {cell for table in tables for row in table.rows for cell in row} | set(cited)
        return QueryFacts(tuple(fact for fact in self.facts if fact.id in wanted), tables)


def _table(query: str, rows: list[dict[str, Fact]]) -> FactTable | None:
    """Return a query's table: its texts and dates name the rows, its figures are the facts."""
    first = rows[0]
    keys = [name for name, fact in first.items() if fact.unit in _NAMES]
    figures = [name for name, fact in first.items() if fact.unit not in _NAMES]
    if not keys or not figures:
        return None
    return FactTable(
        id=query,
        label=", ".join(label_of(name) for name in figures),
        columns=tuple(
            TableColumn(
                name=name, label=label_of(name), unit=first[name].unit, key=first[name].unit in _NAMES
            )
            for name in first
        ),
        rows=tuple(
            tuple(str(fact.value or "(none)") if name in keys else fact.id for name, fact in row.items())
            for row in rows
            if row.keys() == first.keys()
        ),
        lineage=next(iter(first.values())).lineage,
    )

"""Measures the check of an analysis against its facts, in a process of its own; prints JSON.

The facts are a day's: single figures, and a table with a row a carrier; the text cites them.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

from kimi_provider.analysis.draft import AnalysisDraft
from kimi_provider.analysis.grounding import check
from kimi_provider.schemas import Fact, FactSheet, FactTable, Lineage, TableColumn

LINEAGE = Lineage(sql="SELECT 1")


def sheet(rows: int) -> FactSheet:
    """Return facts: a table of ``rows`` rows with three figures each."""
    names = ("flights", "delay", "cancelled")
    labels = ("Flights", "Average delay", "Cancelled share")
    facts, table = [], []
    for row in range(rows):
        ids = [f"by_carrier.c{row}.{name}" for name in names]
        table.append((f"Carrier {_letters(row)}", *ids))
        facts += [
            Fact(id=fact, label=f"{label} — Carrier {_letters(row)}", value=row, lineage=LINEAGE)
            for fact, label in zip(ids, labels, strict=True)
        ]
    columns = (
        TableColumn(name="carrier", label="Carrier", key=True),
        *(TableColumn(name=name, label=label) for name, label in zip(names, labels, strict=True)),
    )
    by_carrier = FactTable(
        id="by_carrier", label="By carrier", columns=columns, rows=tuple(table), lineage=LINEAGE
    )
    return FactSheet(facts=tuple(facts), tables=(by_carrier,))


def draft(rows: int, findings: int) -> AnalysisDraft:
    """Return an analysis in ``findings`` findings that cites facts and names carriers."""
    written = [
        {
            "title": f"Carrier {_letters(number % rows)} was late",
            "detail": " ".join(
                f"Carrier {_letters(row)} flew [[by_carrier.c{row}.flights]] times and was "
                f"[[by_carrier.c{row}.delay]] late, with [[by_carrier.c{row}.cancelled|percent]] "
                "of its flights cancelled."
                for row in (number % rows, (number + 1) % rows, (number + 2) % rows)
            ),
            "severity": "info",
            "kind": "observation",
        }
        for number in range(findings)
    ]
    return AnalysisDraft.model_validate(
        {
            "headline": "A quiet day",
            "summary": f"The first carrier flew [[by_carrier.c{0}.flights]] times.",
            "findings": written,
            "actions": [],
            "charts": [],
        }
    )


def _letters(number: int) -> str:
    first, second = divmod(number, 26)
    return f"{chr(65 + first)}{chr(97 + second)}"


def main() -> None:
    """Check an analysis of ROWS rows and FINDINGS findings several times."""
    rows, findings = map(int, sys.argv[1:])
    facts, written = sheet(rows), draft(rows, findings)
    taken = []
    for _ in range(7):
        before = time.process_time()
        violations = check(written, facts)
        taken.append((time.process_time() - before) * 1e3)
    size = sum(map(len, written.texts().values()))
    figures = {"ms": statistics.median(taken), "facts": len(facts.facts), "characters": size}
    sys.stdout.write(json.dumps({**figures, "violations": len(violations)}) + "\n")


if __name__ == "__main__":
    main()

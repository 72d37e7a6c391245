"""Measures what the check of an analysis catches, in a process of its own; prints JSON by kind."""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal

from kimi_provider.analysis.draft import AnalysisDraft
from kimi_provider.analysis.facts import facts_csv, tables_csv
from kimi_provider.analysis.grounding import check
from kimi_provider.analysis.metrics import ComparisonSpec
from kimi_provider.analysis.sanitize import fenced
from kimi_provider.schemas import Comparison, Fact, FactSheet, FactTable, Lineage, TableColumn, Unit
from kimi_provider.testing.brief import read_brief
from kimi_provider.testing.liar import honest_text, lying_text

LINEAGE = Lineage(sql="SELECT 1")
COLUMNS = {
    "avg_delay": ("Average departure delay", Unit.MINUTES, "down"),
    "flights": ("Flights", Unit.COUNT, None),
    "cancelled_share": ("Cancelled share", Unit.PERCENT, "down"),
}
ROWS = {
    "United Air Lines": ("12 10", "50 60", "0.02 0.05"),
    "Delta Air Lines": ("30 35", "40 41", "0.10 0.02"),
    "JetBlue Airways": ("22 15", "60 55", "0.05 0.04"),
    "Envoy Air": ("5 9", "20 21", "0.01 0.03"),
}


def facts_of(fact_id: str, label: str, unit: Unit, good: str | None, values: str) -> list[Fact]:
    """Return a fact and those that its comparison makes, from its value and its baseline."""
    value, before = map(Decimal, values.split())
    delta = value - before
    percent = delta / before
    change = Comparison(
        id="day_before",
        label="the day before",
        baseline=before,
        delta=delta,
        percent=float(percent),
        direction="up" if delta > 0 else "down",
    )
    base = Fact(
        id=fact_id,
        label=label,
        value=value,
        unit=unit,
        good=good,
        comparisons=(change,),
        lineage=LINEAGE,
    )
    made = {"": before, ".delta": delta, ".percent": percent}
    return [
        base,
        *(
            base.model_copy(
                update={
                    "id": f"{fact_id}.day_before{end}",
                    "value": figure,
                    "comparisons": (),
                    "change": bool(end),
                    "unit": Unit.PERCENT if end == ".percent" else unit,
                }
            )
            for end, figure in made.items()
        ),
    ]


def sheet() -> FactSheet:
    """Return a day's facts: single figures, and a table with a row a carrier."""
    facts, rows = [], []
    for (name, (label, unit, good)), values in zip(
        COLUMNS.items(), ("15 10", "170 176", "0.05 0.02"), strict=True
    ):
        facts += facts_of(f"day.{name}", label, unit, good, values)
    for row, figures in ROWS.items():
        ids = [f"by_carrier.{row.split()[0]}.{name}" for name in COLUMNS]
        for fact_id, (label, unit, good), values in zip(ids, COLUMNS.values(), figures, strict=True):
            facts += facts_of(fact_id, f"{label} — {row}", unit, good, values)
        rows.append((row, *ids))
    columns = (TableColumn(name=n, label=label, unit=unit) for n, (label, unit, _) in COLUMNS.items())
    table = FactTable(
        id="by_carrier",
        label="By carrier",
        columns=(TableColumn(name="carrier", label="Carrier", key=True), *columns),
        rows=tuple(rows),
        lineage=LINEAGE,
    )
    return FactSheet(facts=tuple(facts), tables=(table,))


def main() -> None:
    """Check as many lies, and as many honest texts, as there are SEEDS."""
    seeds = int(sys.argv[1])
    facts = sheet()
    spec = [ComparisonSpec(id="day_before", label="the day before", shift={"day": -1})]
    brief = read_brief(
        "\n".join((fenced("facts", facts_csv(facts, spec)), fenced("tables", tables_csv(facts))))
    )
    texts = [lying_text(brief, seed=seed) for seed in range(seeds)]
    texts += [("honest", honest_text(brief, seed=seed)) for seed in range(seeds)]
    kinds: dict[str, dict[str, float]] = {}
    for kind, text in texts:
        draft = AnalysisDraft.model_validate({"headline": "A day", "summary": text, "findings": []})
        before = time.process_time()
        found = bool(check(draft, facts))
        taken = (time.process_time() - before) * 1e6
        figures = kinds.setdefault(kind, {"texts": 0, "objected": 0, "us": 0.0})
        figures["texts"] += 1
        figures["objected"] += found
        figures["us"] += taken
    for figures in kinds.values():
        figures["us"] /= figures["texts"]
    sys.stdout.write(json.dumps(kinds) + "\n")


if __name__ == "__main__":
    main()

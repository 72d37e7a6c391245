"""Of lies told in many ways nearly all are caught, and honest texts are left alone."""

from collections import Counter

import pytest

from kimi_provider.analysis.draft import AnalysisDraft
from kimi_provider.analysis.facts import facts_csv, tables_csv
from kimi_provider.analysis.grounding import check
from kimi_provider.analysis.metrics import ComparisonSpec
from kimi_provider.analysis.sanitize import fenced
from kimi_provider.schemas import FactSheet, FactTable, Lineage, TableColumn
from kimi_provider.testing.brief import read_brief
from kimi_provider.testing.liar import honest_text, lying_text

SEEDS = 200
LINEAGE = Lineage(sql="SELECT 1")
ROWS = {
    "United Air Lines": (12, 10, 50, 60, 0.02, 0.05),
    "Delta Air Lines": (30, 35, 40, 41, 0.10, 0.02),
    "JetBlue Airways": (22, 15, 60, 55, 0.05, 0.04),
    "Envoy Air": (5, 9, 20, 20, 0.01, 0.03),
}
COLUMNS = {
    "avg_delay": ("Average departure delay", "minutes", "down"),
    "flights": ("Flights", "count", None),
    "cancelled_share": ("Cancelled share", "percent", "down"),
}


@pytest.fixture
def facts(make_facts) -> FactSheet:
    cells, rows = [], []
    for row, values in ROWS.items():
        ids = [f"by_carrier.{row.split()[0]}.{name}" for name in COLUMNS]
        for number, (fact_id, (label, unit, good)) in enumerate(zip(ids, COLUMNS.values(), strict=True)):
            value, before = values[2 * number : 2 * number + 2]
            cells += make_facts(fact_id, value, before, label=f"{label} — {row}", unit=unit, good=good)
        rows.append((row, *ids))
    columns = [TableColumn(name=name, label=c[0], unit=c[1]) for name, c in COLUMNS.items()]
    table = FactTable(
        id="by_carrier",
        label="By carrier",
        columns=(TableColumn(name="carrier", label="Carrier", key=True), *columns),
        rows=tuple(rows),
        lineage=LINEAGE,
    )
    day = [
        *make_facts("day.delay", 15, 10, label="Average departure delay", unit="minutes", good="down"),
        *make_facts("day.flights", 170, 176, label="Flights", unit="count"),
        *make_facts("day.cancelled", 0.05, 0.02, label="Cancelled share", unit="percent", good="down"),
        *make_facts("day.speed", 350, 380, label="Air speed", unit="other", unit_label="mph"),
    ]
    return FactSheet(facts=(*day, *cells), tables=(table,))


@pytest.fixture
def brief(facts):
    spec = [ComparisonSpec(id="day_before", label="the day before", shift={"day": -1})]
    return read_brief(
        "\n".join((fenced("facts", facts_csv(facts, spec)), fenced("tables", tables_csv(facts))))
    )


def found(text, facts):
    draft = AnalysisDraft.model_validate({"headline": "A day", "summary": text, "findings": []})
    return [(v.kind.name, v.excerpt) for v in check(draft, facts, period="2013-02-08")]


def test_of_200_lies_at_least_98_percent_are_caught(facts, brief):
    lies = [lying_text(brief, seed=seed) for seed in range(SEEDS)]
    missed = [(kind, text) for kind, text in lies if not found(text, facts)]
    assert len(missed) <= 0.02 * SEEDS, (Counter(kind for kind, _ in missed), missed[:10])


def test_of_200_honest_texts_at_most_2_percent_raise_an_alarm(facts, brief):
    texts = [honest_text(brief, seed=seed) for seed in range(SEEDS)]
    assert len(set(texts)) > SEEDS * 0.9
    alarms = [(text, wrong) for text in texts if (wrong := found(text, facts))]
    assert len(alarms) <= 0.02 * SEEDS, alarms[:10]

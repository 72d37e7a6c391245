"""Small analyses and fact sheets, made by hand, for the tests of reports."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from kimi_provider.reports.build import build_report
from kimi_provider.schemas import (
    Analysis,
    ChartRequest,
    Comparison,
    Fact,
    FactSheet,
    FactTable,
    Finding,
    Lineage,
    TableColumn,
    Unit,
    Usage,
)

TEMPLATES = Path(__file__).parents[2] / "templates" / "reports"
NOW = datetime(2013, 2, 9, 11, 0, tzinfo=UTC)
LINEAGE = Lineage(sql="SELECT 1", datasets={"flights": "3f2a91bc77aa"})


def make_fact(fact_id, value, unit="number", **fields):
    number = Decimal(str(value)) if isinstance(value, int | float) else value
    fields.setdefault("label", fact_id)
    return Fact(id=fact_id, value=number, unit=Unit(unit), lineage=LINEAGE, **fields)


def make_comparison(baseline, delta, *, comparison_id="day_before", label="the day before"):
    base, change = Decimal(str(baseline)), Decimal(str(delta))
    return Comparison(
        id=comparison_id,
        label=label,
        baseline=base,
        delta=change,
        percent=float(change / abs(base)) if base else None,
        direction="up" if change > 0 else "down" if change < 0 else "flat",
    )


def make_table(
    table_id, rows, *, label="Carriers", columns=("avg_delay",), unit="minutes", key_unit="text"
):
    """Return a table and its facts; ``rows`` is [(name, value, …)]."""
    facts, cells = [], []
    for number, (name, *values) in enumerate(rows):
        ids = [f"{table_id}.{number}.{column}" for column in columns]
        facts += [
            make_fact(i, value, unit, decimals=1 if unit == "minutes" else None)
            for i, value in zip(ids, values, strict=True)
        ]
        cells.append((name, *ids))
    head = TableColumn(name="carrier", label="Carrier", unit=Unit(key_unit), key=True)
    rest = [TableColumn(name=c, label=c.replace("_", " "), unit=Unit(unit)) for c in columns]
    table = FactTable(
        id=table_id, label=label, columns=(head, *rest), rows=tuple(cells), lineage=LINEAGE
    )
    return table, facts


def make_sheet(facts=(), tables=()):
    return FactSheet(
        facts=(*facts, *(fact for _, of_table in tables for fact in of_table)),
        tables=tuple(table for table, _ in tables),
    )


def make_analysis(**fields):
    given = {
        "headline": "A day",
        "summary": "",
        "findings": (),
        "period": "2013-02-08",
        "facts": (),
        "facts_uri": "file:///facts.json",
        "trace_uri": "file:///trace.json",
        "model": "kimi-k3",
        "usage": Usage(calls=2, input_tokens=1200, output_tokens=300, cost_usd=Decimal("0.0123")),
    }
    return Analysis(**(given | fields))


@pytest.fixture
def make():
    """The makers above, for tests that put their own values together."""
    return SimpleNamespace(
        fact=make_fact,
        comparison=make_comparison,
        table=make_table,
        sheet=make_sheet,
        analysis=make_analysis,
    )


@pytest.fixture
def storm():
    """A bad day, with everything that a report can have."""
    carriers = [("Southwest Airlines Co.", 38.11), ("Envoy Air", 29.97), ("Mesa Airlines Inc.", None)]
    sheet = make_sheet(
        [
            make_fact(
                "day.flights",
                930,
                "count",
                label="Flights",
                kpi=True,
                comparisons=[make_comparison(932, -2)],
            ),
            make_fact(
                "day.delay",
                14.86,
                "minutes",
                label="Average delay",
                good="down",
                decimals=1,
                kpi=True,
                comparisons=[make_comparison(6.5, 8.36)],
            ),
            make_fact("day.delay.day_before", 6.5, "minutes", decimals=1, kpi=True),
            make_fact("day.delay.day_before.delta", 8.36, "minutes", change=True, kpi=True),
            make_fact("day.cancelled", 0.5075, "percent", label="Cancelled", good="down", kpi=True),
        ],
        [make_table("by_carrier", carriers)],
    )
    analysis = make_analysis(
        headline="Storm stops New York: [[day.cancelled]] cancelled",
        summary="Flights left **[[day.delay]]** late, [[day.delay.day_before.delta]] more.\n\nThe end.",
        findings=(
            Finding(title="Calm", detail="All [[day.flights]] flights.", severity="info"),
            Finding(title="Worst", detail="By [[by_carrier.0.avg_delay]].", severity="critical"),
        ),
        actions=("Call *them*.",),
        charts=(
            ChartRequest(title="Delay", kind="bar", table="by_carrier", x="carrier", y="avg_delay"),
        ),
    )
    return analysis, sheet


class Report:
    """A report that was built, with its files."""

    def __init__(self, ref, folder):
        self.ref = ref
        self.folder = folder
        self.html = (folder / "report.html").read_text()
        self.page = (folder / "page.html").read_text()
        self.text = (folder / "report.txt").read_text()

    @property
    def seen(self):
        """The text that a reader of the HTML sees, on one line."""
        return visible_text(self.html)


@pytest.fixture
def build(tmp_path):
    """Build a report into a folder of its own and return it with its files."""

    def run(analysis, sheet, **options):
        folder = tmp_path / "report"
        options = {"template": "daily_brief", "search_path": [TEMPLATES], "now": NOW} | options
        return Report(asyncio.run(build_report(analysis, sheet, folder=folder, **options)), folder)

    return run


class _Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.parts = []
        self.skip = 0

    def handle_starttag(self, tag, attrs):
        self.skip += tag in ("style", "title")

    def handle_endtag(self, tag):
        self.skip -= tag in ("style", "title")

    def handle_data(self, data):
        if not self.skip:
            self.parts.append(data)


def visible_text(html):
    parser = _Text()
    parser.feed(html)
    return re.sub(r"\s+", " ", " ".join(parser.parts))

"""What several tests of the analysis need: templates on disk, a small data set, a sheet of facts."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from kimi_provider.analysis.prompts import PromptTemplate
from kimi_provider.schemas import (
    Comparison,
    DatasetRef,
    Fact,
    FactSheet,
    FactTable,
    Lineage,
    TableColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINEAGE = Lineage(sql="SELECT 1")


@pytest.fixture
def write_template(tmp_path: Path) -> Callable[..., PromptTemplate]:
    """Write a template by name into a folder and load it."""

    def write(text: str, name: str = "mine") -> PromptTemplate:
        folder = tmp_path / "prompts"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.md.j2").write_text(text, encoding="utf-8")
        return PromptTemplate.load(name, [folder])

    return write


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[[str, str], tuple[DatasetRef, Path]]:
    """Write what a SELECT returns as a data set of the given name."""

    def write(name: str, select: str) -> tuple[DatasetRef, Path]:
        import duckdb

        path = tmp_path / f"{name}.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
            (rows,) = connection.execute(f"SELECT count(*) FROM '{path}'").fetchone()
        ref = DatasetRef(
            uri=path.as_uri(),
            rows=rows,
            bytes=path.stat().st_size,
            sha256="0" * 64,
            source="test",
            columns=(),
        )
        return ref, path

    return write


def fact(fact_id: str, value: str | float | None, before: float | None = None, **fields) -> list[Fact]:
    """Make a fact and, where there is a baseline, the facts that the comparison makes."""
    number = value if value is None or isinstance(value, str) else Decimal(str(value))
    label = fields.pop("label", fact_id)
    if before is None:
        return [Fact(id=fact_id, label=label, value=number, lineage=LINEAGE, **fields)]
    baseline = Decimal(str(before))
    delta = number - baseline
    percent = delta / abs(baseline)
    comparison = Comparison(
        id="day_before",
        label="the day before",
        baseline=baseline,
        delta=delta,
        percent=float(percent),
        direction="up" if delta > 0 else "down" if delta < 0 else "flat",
    )
    base = f"{fact_id}.day_before"
    common = {"lineage": LINEAGE, **fields}
    return [
        Fact(id=fact_id, label=label, value=number, comparisons=(comparison,), **common),
        Fact(id=base, label=f"{label}, the day before", value=baseline, **common),
        Fact(id=f"{base}.delta", label=f"{label}, change", value=delta, change=True, **common),
        Fact(
            id=f"{base}.percent",
            label=f"{label}, change in percent",
            value=percent,
            change=True,
            **common,
        ),
    ]


@pytest.fixture
def sheet() -> FactSheet:
    """Delays rose from 10 to 15 minutes, flights fell from 120 to 100, nothing is known of bags."""
    cells = [*fact("by_carrier.B6.delay", 21.5), *fact("by_carrier.9E.delay", 3.25)]
    stores = [*fact("by_store.12.sales", 7)]
    return FactSheet(
        facts=(
            *fact("day.delay", 15, 10, label="Average delay", good="down"),
            *fact("day.flights", 100, 120, label="Flights"),
            *fact("day.bags", None),
            *fact("total", 42, label="Late by 15 min or more"),
            *cells,
            *stores,
        ),
        tables=(
            FactTable(
                id="by_carrier",
                label="By carrier",
                columns=(
                    TableColumn(name="carrier", label="Carrier", key=True),
                    TableColumn(name="delay", label="Delay"),
                ),
                rows=(("B6", "by_carrier.B6.delay"), ("9E", "by_carrier.9E.delay")),
                lineage=LINEAGE,
            ),
            FactTable(
                id="by_store",
                label="By store",
                columns=(
                    TableColumn(name="store", label="Store", key=True),
                    TableColumn(name="sales", label="Sales"),
                ),
                rows=(("12", "by_store.12.sales"),),
                lineage=LINEAGE,
            ),
        ),
    )


@pytest.fixture
def make_facts() -> Callable[..., list[Fact]]:
    """Make a fact and those that its comparison makes."""
    return fact

"""Texts written without a look at the checks: honest ones pass, each kind of lie is found."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
import yaml

from kimi_provider.analysis.cells import name_slug
from kimi_provider.analysis.draft import AnalysisDraft
from kimi_provider.analysis.grounding import Violation, check
from kimi_provider.analysis.grounding_index import FactIndex
from kimi_provider.analysis.grounding_text import sentences
from kimi_provider.schemas import Comparison, Fact, FactSheet, FactTable, Lineage, TableColumn, Unit

TEXTS = Path(__file__).parent / "texts"
SETS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
)
LINEAGE = Lineage(sql="SELECT 1")
MOST_FALSE_ALARMS = 0.02
LEAST_CAUGHT = 0.98


@dataclass(frozen=True)
class Text:
    """A sentence, where it stands, and the kind of lie it tells; honest ones have none."""

    sheet: str
    text: str
    lie: str | None
    action: bool = False

    def violations(self) -> tuple[Violation, ...]:
        """Check the sentence as the only one of an answer."""
        sheet, spec = sheet_of(self.sheet)
        summary, actions = ("Nothing else.", [self.text]) if self.action else (self.text, [])
        draft = AnalysisDraft.model_validate(
            {"headline": "The figures", "summary": summary, "findings": [], "actions": actions}
        )
        return check(
            draft,
            sheet,
            period=str(spec["period"]),
            dates=spec["dates"],
            vocabulary=[spec["prompt"]],
        )


@cache
def sheets() -> Mapping[str, dict]:
    """Return all sheets as they are written."""
    return {
        name: spec
        for file in ("sheets", "sheets_more")
        for name, spec in yaml.safe_load((TEXTS / f"{file}.yaml").read_text(encoding="utf-8")).items()
    }


@cache
def sheet_of(name: str) -> tuple[FactSheet, dict]:
    """Build a sheet of facts as the program does: with a fact for each comparison."""
    spec = sheets()[name]
    units = spec.get("units", {})
    facts = [
        fact
        for fact_id, (label, unit, good, *values) in spec["facts"].items()
        for fact in _facts(fact_id, label, (unit, good, units.get(fact_id)), values, spec)
    ]
    tables = []
    for table_id, table in spec["tables"].items():
        ((key, key_label),) = table["key"].items()
        columns = [TableColumn(name=key, label=key_label, unit=Unit.TEXT, key=True)]
        rows = []
        for column, (label, unit, *more) in table["columns"].items():
            columns.append(
                TableColumn(name=column, label=label, unit=unit, unit_label=_unit_label(unit, more))
            )
        for row, cells in table["rows"].items():
            slug = name_slug(row)
            ids = []
            for (column, (label, unit, *more)), cell in zip(
                table["columns"].items(), cells, strict=True
            ):
                fact_id = f"{table_id}.{slug}.{column}"
                ids.append(fact_id)
                style = unit, more[0] if more else None, _unit_label(unit, more)
                values = cell if isinstance(cell, list) else [cell]
                facts += _facts(fact_id, f"{label} — {row}", style, values, spec)
            rows.append((row, *ids))
        tables.append(
            FactTable(
                id=table_id,
                label=table["label"],
                columns=tuple(columns),
                rows=tuple(rows),
                lineage=LINEAGE,
            )
        )
    return FactSheet(facts=tuple(facts), tables=tuple(tables)), spec


def _unit_label(unit: str, more: list) -> str | None:
    return more[1] if len(more) > 1 else "USD" if unit == "currency" else None


def _facts(fact_id: str, label: str, style: tuple, values: list, spec: dict) -> Iterator[Fact]:
    unit, good, unit_label = style
    if unit == "currency":
        unit_label = unit_label or "USD"
    common = {"unit": unit, "good": good, "unit_label": unit_label, "lineage": LINEAGE}
    value, *baselines = (None if v is None else Decimal(str(v)) for v in values)
    comparisons, derived = [], []
    for (name, words), baseline in zip(spec["comparisons"].items(), baselines, strict=False):
        delta = value - baseline
        percent = float(delta / abs(baseline)) if baseline else None
        direction = "up" if delta > 0 else "down" if delta < 0 else "flat"
        comparisons.append(
            Comparison(
                id=name,
                label=words,
                baseline=baseline,
                delta=delta,
                percent=percent,
                direction=direction,
            )
        )
        base = f"{fact_id}.{name}"
        changed = common | {"change": True}
        derived += [
            Fact(id=base, label=f"{label}, {words}", value=baseline, **common),
            Fact(id=f"{base}.delta", label=f"{label}, change against {words}", value=delta, **changed),
            Fact(
                id=f"{base}.percent",
                label=f"{label}, change against {words}",
                value=None if percent is None else Decimal(str(percent)),
                **changed | {"unit": "percent", "unit_label": None},
            ),
        ]
    yield Fact(id=fact_id, label=label, value=value, comparisons=tuple(comparisons), **common)
    yield from derived


@cache
def texts(name: str) -> tuple[Text, ...]:
    """Return all texts of a set."""
    written = yaml.safe_load((TEXTS / f"{name}.yaml").read_text(encoding="utf-8"))
    return tuple(
        Text(sheet, text, lie, action)
        for sheet, kinds in written.items()
        for lie, action, those in (
            (None, False, kinds.get("honest", ())),
            (None, True, kinds.get("honest_actions", ())),
            *((lie, False, lies) for lie, lies in kinds.get("lies", {}).items()),
            *((lie, True, lies) for lie, lies in kinds.get("action_lies", {}).items()),
        )
        for text in those
    )


def test_what_a_sentence_names_stands_in_the_order_of_the_sheet():
    for text in (*texts("tenth"), *texts("eleventh")):
        sheet, _ = sheet_of(text.sheet)
        index, places = FactIndex(sheet), {fact.id: n for n, fact in enumerate(sheet.facts)}
        for sentence in sentences(text.text):
            named = [places[fact.id] for fact in index.called(sentence.tokens)]
            assert named == sorted(named)


@pytest.mark.parametrize("name", SETS)
def test_sets_are_large_and_of_every_kind(name):
    every = texts(name)
    kinds = {text.lie for text in every}
    assert kinds == {None, "number", "word", "id", "direction", "superlative", "entity", "unit"}
    assert min(sum(t.lie is None for t in every), sum(t.lie is not None for t in every)) >= 30


def test_lies_are_caught():
    lies = [text for name in SETS for text in texts(name) if text.lie]
    missed = [(text.lie, text.text) for text in lies if not text.violations()]
    assert len(missed) <= (1 - LEAST_CAUGHT) * len(lies), missed


def test_honest_texts_pass():
    honest = [text for name in SETS for text in texts(name) if text.lie is None]
    alarms = {text.text: found for text in honest if (found := text.violations())}
    assert len(alarms) <= MOST_FALSE_ALARMS * len(honest), alarms

"""Rules over a run's past and its data, their combinations, and rules in YAML."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_provider.alerts import (
    Always,
    And,
    Band,
    Change,
    Expression,
    FindingSeverity,
    ForRuns,
    NoData,
    Not,
    Or,
    Range,
    SchemaDrift,
    Threshold,
    rule_from_json,
    rules_from_yaml,
)
from kimi_provider.alerts.baselines import band
from kimi_provider.alerts.evaluation import Explanation, as_table, explain_scene
from kimi_provider.alerts.history import History, RunRecord
from kimi_provider.alerts.scene import Scene
from kimi_provider.exceptions import RuleError
from kimi_provider.schemas import Column, Comparison, DatasetRef, Fact, Lineage, Unit

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)


def fact(fact_id: str, value: object, **more: object) -> Fact:
    return Fact(id=fact_id, label=fact_id.upper(), value=value, lineage=Lineage(sql="SELECT 1"), **more)


def dataset(rows: int = 1, **columns: str) -> DatasetRef:
    profile = tuple(Column(name=n, type=t, nulls=0, distinct=1) for n, t in columns.items())
    return DatasetRef(uri="file:///d", rows=rows, bytes=1, sha256="0", source="s", columns=profile)


def run(rules: list, days: list[dict]) -> list[tuple[Explanation, ...]]:
    """Show days one after another: values of facts by id, datasets under ``_data``."""
    history, seen = History(), []
    for number, values in enumerate(days):
        at = START + timedelta(days=number)
        facts = {k: fact(k, v) for k, v in values.items() if k != "_data"}
        shown = Scene(None, facts, datasets=values.get("_data"), history=history.before(at))
        seen.append(explain_scene(rules, shown))
        history = history.with_record(shown.record(rules, at), keep=100)
        history = History.model_validate_json(history.model_dump_json())
    return seen


def fired(rules: list, days: list[dict]) -> list[bool]:
    return [seen[0].fired for seen in run(rules, days)]


@pytest.mark.parametrize(
    ("value", "outside", "inside"),
    [(9, True, False), (10, False, True), (15, False, True), (20, False, True), (21, True, False)],
)
def test_the_ends_belong_to_a_range(value: int, outside: bool, inside: bool) -> None:
    shown = Scene(None, {"x": fact("x", value, unit=Unit.MINUTES)})
    rules = [Range("x", 10, 20, name="a"), Range("x", 10, 20, fires="inside")]
    a, b = explain_scene(rules, shown)
    assert (a.fired, b.fired) == (outside, inside)
    assert "10 min to 20 min" in a.reason


def test_a_change_against_the_last_run() -> None:
    days = [{"x": 100}, {"x": 79}, {"x": 79}, {"x": 0}, {"x": 5}]
    assert fired([Change("x", below=-0.2)], days) == [False, True, False, True, False]
    assert fired([Change("x", measure="delta", at_most=-21)], days) == [False, True, False, True, False]


def test_a_change_against_a_comparison_of_the_template() -> None:
    before = Comparison(
        id="day_before", label="the day before", baseline=100, delta=-30, percent=-0.3, direction="down"
    )
    shown = Scene(None, {"x": fact("x", 70, comparisons=(before,))})
    (seen,) = explain_scene([Change("x", "day_before", below=-0.2)], shown)
    assert seen.fired
    assert seen.reason == "X (x) is 70, -30.0% against day_before, which is below -20.0%."
    with pytest.raises(RuleError, match="week_before"):
        explain_scene([Change("x", "week_before", below=-0.2)], shown)


@given(
    st.lists(st.decimals(-1000, 1000, places=2), min_size=2, max_size=30),
    st.sampled_from(["mean", "median"]),
    st.decimals(0, 5, places=1),
)
def test_a_band_holds_its_middle_and_grows_with_its_width(
    past: list[Decimal], method: str, width: Decimal
) -> None:
    low, high = band(past, width, method)
    wider = band(past, width + 1, method)
    assert wider[0] <= low <= high <= wider[1]
    middle = sum(past) / len(past) if method == "mean" else sorted(past)[len(past) // 2]
    if method == "mean":
        assert abs((low + high) / 2 - middle) < Decimal("0.0001")


def test_one_bad_day_widens_the_mean_and_not_the_median() -> None:
    days = [{"x": v} for v in (10, 11, 10, 9, 10, 11, 10, 500, 60)]
    assert fired([Band("x", min_history=7)], days)[-1] is False
    assert fired([Band("x", min_history=7, method="median")], days)[-2:] == [True, True]


def test_a_band_looks_at_one_side_if_told_and_waits_for_history() -> None:
    days = [{"x": v} for v in (10, 11, 10, 9, 10, 2)]
    assert fired([Band("x", min_history=5)], days)[-1] is True
    assert fired([Band("x", min_history=5, side="above")], days)[-1] is False
    seen = run([Band("x", min_history=6)], days)[-1][0]
    assert not seen.fired
    assert "5 earlier values are known, and 6 make a band" in seen.reason


def test_absence_of_values_facts_and_rows() -> None:
    shown = Scene(None, {"x": fact("x", None), "y": fact("y", 1)}, datasets={"d": dataset(3)})
    rules = [
        NoData("x"),
        NoData("y"),
        NoData("z"),
        NoData(dataset="d"),
        NoData(dataset="d", rows_below=4, name="few"),
        NoData(dataset="e"),
    ]
    assert [seen.fired for seen in explain_scene(rules, shown)] == [True, False, True, False, True, True]


def test_drift_names_what_changed_and_is_over_with_the_next_run() -> None:
    days = [
        {"_data": {"d": dataset(a="BIGINT", b="DATE")}},
        {"_data": {"d": dataset(a="VARCHAR", c="DATE")}},
        {"_data": {"d": dataset(a="VARCHAR", c="DATE")}},
    ]
    seen = [one[0] for one in run([SchemaDrift("d")], days)]
    assert [one.fired for one in seen] == [False, True, False]
    assert seen[1].reason == (
        "The columns of d changed: b is gone; c is new (DATE); a was BIGINT and is VARCHAR."
    )
    assert fired([SchemaDrift("d", allow_new=True, ignore=["a", "b"])], days) == [False] * 3


def test_a_pattern_is_an_alert_for_each_fact() -> None:
    facts = {i: fact(i, v) for i, v in (("t.UA.delay", 40), ("t.AA.delay", 10), ("t.AA.delay.x", 99))}
    seen = explain_scene([Threshold("t.*.delay", above=30)], Scene(None, facts))
    assert [(one.labels["fact"], one.fired) for one in seen] == [
        ("t.UA.delay", True),
        ("t.AA.delay", False),
    ]


@pytest.mark.parametrize(("missing", "fires"), [("ignore", False), ("fire", True)])
def test_a_missing_fact_can_be_passed_over_or_fire(missing: str, fires: bool) -> None:
    (seen,) = explain_scene([Threshold("x", above=1, missing=missing)], Scene())
    assert seen.fired is fires


@given(st.booleans(), st.booleans())
def test_combinations_are_those_of_logic(a: bool, b: bool) -> None:
    facts = {"a": fact("a", int(a)), "b": fact("b", int(b))}
    one, two = Threshold("a", above=0), Threshold("b", above=0, severity="critical")
    rules = [And([one, two]), Or([one, two]), Not(one), Not(And([one, two]), name="nand")]
    seen = explain_scene(rules, Scene(None, facts))
    assert [s.fired for s in seen] == [a and b, a or b, not a, not (a and b)]
    assert seen[1].severity == ("critical" if b or not a else "warning")


@given(st.lists(st.booleans(), max_size=20), st.integers(1, 4))
def test_for_runs_asks_for_so_many_in_a_row(days: list[bool], runs: int) -> None:
    got = fired([ForRuns(Threshold("x", above=0), runs)], [{"x": int(d)} for d in days])
    assert got == [i + 1 >= runs and all(days[i + 1 - runs : i + 1]) for i in range(len(days))]


def test_for_runs_counts_inside_combinations_each_day() -> None:
    rule = And([Threshold("y", above=0), ForRuns(Threshold("x", above=0), 2)])
    assert fired([rule], [{"x": 1, "y": 0}, {"x": 1, "y": 1}]) == [False, True]


def test_a_backfill_does_not_look_into_its_future() -> None:
    record = RunRecord(at=START, facts={"x": Decimal(1)})
    later = RunRecord(at=START + timedelta(days=2), facts={"x": Decimal(3)})
    history = History().with_record(later, keep=5).with_record(record, keep=5)
    assert history.before(START + timedelta(days=1)).last == record
    again = RunRecord(at=START, facts={"x": Decimal(9)})
    assert history.with_record(again, keep=5).records == (again, later)
    assert history.with_record(again, keep=1).records == (later,)


def test_the_table_shows_each_rule() -> None:
    shown = Scene(None, {"x": fact("x", 3)})
    table = as_table(explain_scene([Always(), Threshold("x", above=5)], shown))
    assert [line.split()[0] for line in table.splitlines()] == ["fired", "-----", "yes", "no"]
    assert "X (x) is 3, which is not above 5." in table


EVERY_KIND = [
    Range("x", 1, 2.5),
    Change("x", against="day_before", measure="delta", below=-3),
    Band("x", 2, method="median", last=10, min_history=5, side="below"),
    NoData(dataset="d", rows_below=10),
    SchemaDrift("d", ignore=["a"]),
    FindingSeverity("info", of_kind="anomaly"),
    Expression("x > 1", severity="critical"),
    And([Threshold("x", above=1), Or([Always(), Not(Always())])], severity="info", name="n"),
    ForRuns(Threshold("x", above=1), 3),
]


@pytest.mark.parametrize("rule", EVERY_KIND, ids=lambda rule: rule.kind)
def test_every_kind_survives_json(rule: object) -> None:
    assert rule_from_json(json.loads(json.dumps(rule.as_json()))) == rule


def test_yaml_makes_the_same_rules(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(
        """rules:
  - when: >
      day.share > 5% and
      severity >= warning
    severity: critical
    name: bad day
  - day.flights < 100
  - {kind: band, fact: day.flights, for_runs: 2}
  - kind: or
    rules: [{kind: always}, a > 3]
"""
    )
    assert rules_from_yaml(file) == (
        Expression("day.share > 5% and severity >= warning\n", "critical", "bad day"),
        Expression("day.flights < 100"),
        ForRuns(Band("day.flights"), 2),
        Or([Always(), Expression("a > 3")]),
    )


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        ("rules:\n  - when: a >\n", 2, "when", "missing before the end"),
        ("- {kind: thresold}\n", 1, "kind", "got 'thresold'"),
        ("- kind: band\n  fact: x\n  fcat: y\n", 3, "fcat", "does not know 'fcat'"),
        ("- kind: band\n  fact: x\n\n  width: wide\n", 4, "width", "finite number"),
        ("- a > 1\n- kind: threshold\n  fact: a\n  above: 1\n  severity: bad\n", 5, "severity", "bad"),
        (
            "- kind: and\n  rules:\n    - a > 1\n    - kind: always\n      severity: x\n",
            5,
            "severity",
            "x",
        ),
        ("- kind: not\n  rule:\n    kind: always\n    nam: x\n", 4, "nam", "does not know"),
        ("rules:\n  - a > 1\nroutes: []\n", 3, "routes", "only 'rules'"),
        ("- kind: always\n  name: a\n  name: b\n", 3, "name", "already, at line 2"),
        ("- a > 1\n\n- a > 1\n", 3, None, "already, at line 1"),
        ("- kind: always\n- 5\n", 2, None, "mapping with a kind"),
        ("- kind: [\n- b\n", 2, None, "no YAML"),
        ("just: text\n", 1, "just", "only 'rules'"),
        ("- a > 1\n- kind: always\n  name: 2026-02-30\n", 2, None, "day is out of range"),
        ("- &r\n  kind: and\n  rules: [*r, *r]\n", 1, None, "in itself"),
        ("- {? [a] : b}\n", 1, None, "a key is a word"),
        ("- {kind: band, fact: x, last: 8.5}\n", 1, "last", "whole number"),
        ("- {kind: no_data, fact: [x]}\n", 1, None, "names a fact or a dataset"),
        ("- kind: threshold\n  fact: a\n", 1, None, "exactly one of above"),
    ],
)
def test_an_error_in_yaml_names_file_line_and_key(
    tmp_path: Path, text: str, line: int, key: str | None, says: str
) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text(text)
    with pytest.raises(RuleError) as caught:
        rules_from_yaml(str(file))
    message = str(caught.value)
    assert message.startswith(f"{file}, line {line}{f', key {key!r}' if key else ''}:")
    assert says in message


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(RuleError, match=r"nowhere\.yaml: the rules cannot be read"):
        rules_from_yaml("nowhere.yaml")

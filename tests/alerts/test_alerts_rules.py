from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_provider.alerts import Always, FindingSeverity, Threshold, rule_from_json
from kimi_provider.alerts.evaluation import evaluate, explain
from kimi_provider.alerts.rules import SEVERITIES
from kimi_provider.exceptions import RuleError
from kimi_provider.schemas import (
    Analysis,
    Comparison,
    Fact,
    Finding,
    Lineage,
    Severity,
    Unit,
    Usage,
)

LINEAGE = Lineage(sql="SELECT 1")


def fact(fact_id: str, value: object, **more: object) -> Fact:
    return Fact(id=fact_id, label=fact_id.upper(), value=value, lineage=LINEAGE, **more)


def analysis(*facts: Fact, findings: tuple[Finding, ...] = ()) -> Analysis:
    return Analysis(
        headline="H",
        summary="S",
        findings=findings,
        facts=facts,
        facts_uri="file:///facts.json",
        trace_uri="file:///trace.json",
        model="m",
        usage=Usage(),
    )


def test_severities_are_those_of_the_schemas() -> None:
    assert tuple(s.value for s in Severity) == SEVERITIES


def test_importing_the_rules_loads_no_pydantic() -> None:
    code = (
        "import sys; import kimi_provider.alerts;"
        "print([m for m in ('pydantic', 'airflow', 'kimi_provider.schemas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("bound", "value", "fires"),
    [
        ("above", "0.2", False),
        ("above", "0.2000001", True),
        ("below", "0.2", False),
        ("below", "0.1999999", True),
        ("at_least", "0.2", True),
        ("at_least", "0.1999999", False),
        ("at_most", "0.2", True),
        ("at_most", "0.2000001", False),
    ],
)
def test_a_bound_means_the_number_as_written(bound: str, value: str, fires: bool) -> None:
    rule = Threshold("share", **{bound: 0.2})
    events = evaluate([rule], analysis(fact("share", Decimal(value))))
    assert bool(events) is fires


@given(
    st.decimals(-10_000, 10_000, places=3),
    st.one_of(st.integers(-10_000, 10_000), st.floats(-1e4, 1e4)),
)
def test_complementary_bounds_never_agree(value: Decimal, limit: float) -> None:
    seen = analysis(fact("x", value))
    fired = {b: bool(evaluate([Threshold("x", **{b: limit})], seen)) for b in ("above", "at_most")}
    assert fired["above"] != fired["at_most"]
    fired = {b: bool(evaluate([Threshold("x", **{b: limit})], seen)) for b in ("below", "at_least")}
    assert fired["below"] != fired["at_least"]


def test_the_reason_says_what_the_rule_saw() -> None:
    seen = analysis(
        fact("day.cancelled_share", Decimal("0.3125"), unit=Unit.PERCENT),
        fact("day.delay", Decimal("1234.5"), unit=Unit.MINUTES),
        fact("day.flights", 930, unit=Unit.COUNT),
    )
    rules = [
        Threshold("day.cancelled_share", above=0.2, severity="critical", name="bad day"),
        Threshold("day.delay", at_least=15),
        Threshold("day.flights", below=500),
    ]
    reasons = [e.reason for e in explain(rules, seen)]
    assert reasons == [
        "DAY.CANCELLED_SHARE (day.cancelled_share) is 31.25%, which is above 20%.",
        "DAY.DELAY (day.delay) is 1,234.5 min, which is at least 15 min.",
        "DAY.FLIGHTS (day.flights) is 930, which is not below 500.",
    ]
    bad_day, late = evaluate(rules, seen)
    assert (bad_day.rule, bad_day.severity) == ("bad day", Severity.CRITICAL)
    assert bad_day.labels == {"fact": "day.cancelled_share"}
    assert late.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("value", "limit", "says"),
    [
        ("0.50752688", 0.1, "is 50.75%, which is above 10%."),
        ("0.0500001", 0.05, "is 5.00001%, which is above 5%."),
        ("0.00012345", 0.00001, "is 0.0123%, which is above 0.001%."),
        ("12345.6", 1, "is 1,234,560%, which is above 100%."),
    ],
)
def test_figures_are_rounded_but_not_to_what_they_are_compared_with(
    value: str, limit: float, says: str
) -> None:
    shown = analysis(fact("share", Decimal(value), unit=Unit.PERCENT))
    (seen,) = explain([Threshold("share", above=limit)], shown)
    assert seen.reason.endswith(says)


def test_a_change_is_found_with_and_without_the_sheet() -> None:
    comparison = Comparison(
        id="day_before",
        label="the day before",
        baseline=Decimal(800),
        delta=Decimal(-200),
        percent=-0.25,
        direction="down",
    )
    figure = fact("flights", 600, unit=Unit.COUNT, comparisons=(comparison,))
    rules = [
        Threshold("flights.day_before.percent", below=-0.2),
        Threshold("flights.day_before.delta", at_most=-200),
        Threshold("flights.day_before", at_least=800),
    ]
    first, second, third = evaluate(rules, analysis(figure))
    assert "is -25%, which is below -20%" in first.reason
    assert "change from the day before" in first.reason
    assert "is -200, which is at most -200" in second.reason
    assert "is 800, which is at least 800" in third.reason
    in_sheet = fact("flights.day_before.percent", Decimal("-0.1"), unit=Unit.PERCENT)
    assert evaluate(rules[:1], analysis(figure), {in_sheet.id: in_sheet}) == ()


def test_a_change_without_a_percentage_does_not_fire() -> None:
    comparison = Comparison(
        id="before", label="before", baseline=0, delta=5, percent=None, direction="up"
    )
    figure = fact("flights", 5, comparisons=(comparison,))
    (seen,) = explain([Threshold("flights.before.percent", above=0)], analysis(figure))
    assert not seen.fired


def test_the_sheet_answers_for_facts_that_the_analysis_does_not_cite() -> None:
    cell = fact("by_carrier.UA.delay", 40)
    rule = Threshold(cell.id, above=30)
    with pytest.raises(RuleError, match="by_carrier"):
        evaluate([rule], analysis())
    assert len(evaluate([rule], analysis(), {cell.id: cell})) == 1


def test_a_fact_without_a_value_does_not_fire_and_says_so() -> None:
    (seen,) = explain([Threshold("gust", above=0)], analysis(fact("gust", None)))
    assert not seen.fired
    assert "GUST (gust) has no value" in seen.reason


def test_an_unknown_fact_names_the_near_ones_and_where_ids_come_from() -> None:
    seen = analysis(fact("day.flights", 1), fact("day.cancelled", 2), fact("wind", 3))
    with pytest.raises(RuleError) as caught:
        evaluate([Threshold("day.flight", above=1)], seen)
    message = str(caught.value)
    assert "'day.flight'" in message
    assert "Near it: day.flights" in message
    assert "metrics of the prompt template" in message


def test_an_unknown_fact_with_nothing_near_lists_what_there_is() -> None:
    with pytest.raises(RuleError, match=r"Known: wind\."):
        evaluate([Threshold("revenue", above=1)], analysis(fact("wind", 3)))
    with pytest.raises(RuleError, match="no facts at all"):
        evaluate([Threshold("revenue", above=1)], analysis())


def test_text_cannot_be_compared_with_a_number() -> None:
    seen = analysis(fact("worst", "EWR", unit=Unit.TEXT))
    with pytest.raises(RuleError, match="its unit is text"):
        evaluate([Threshold("worst", above=1)], seen)


def finding(severity: str, title: str = "T") -> Finding:
    return Finding(title=title, detail="D", severity=severity)


def test_finding_severity_takes_the_worst() -> None:
    findings = (finding("info"), finding("critical", "[[share|%]] of flights gone"), finding("warning"))
    seen = analysis(fact("share", Decimal("0.5"), unit=Unit.PERCENT), findings=findings)
    (event,) = evaluate([FindingSeverity("warning")], seen)
    assert event.severity is Severity.CRITICAL
    assert event.reason == (
        "2 of 3 findings are warning or worse; the worst, critical: 50% of flights gone"
    )


def test_finding_severity_explains_why_it_did_not_fire() -> None:
    (seen,) = explain([FindingSeverity()], analysis(findings=(finding("warning"),)))
    assert (seen.fired, seen.reason) == (False, "None of the 1 findings is critical or worse.")


def test_always_fires() -> None:
    (event,) = evaluate([Always("warning")], analysis())
    assert (event.rule, event.severity, event.labels) == ("always", Severity.WARNING, {})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Always("fatal"), "severity must be one of info, warning, critical; got 'fatal'"),
        (lambda: FindingSeverity("bad"), "at_least must be one of info, warning, critical; got 'bad'"),
        (lambda: Threshold("x"), "exactly one of above, below, at_least, at_most; got none"),
        (lambda: Threshold("x", above=1, below=2), "got above and below"),
        (lambda: Threshold("x", above=float("nan")), "above must be a finite number; got nan"),
        (lambda: Threshold("x", at_most=True), "at_most must be a finite number; got True"),
        (lambda: Threshold("x", below="3"), "below must be a finite number; got '3'"),
        (lambda: Threshold(" ", above=1), "needs the id of a fact"),
        (lambda: Threshold("x", above=1, severity="high"), "got 'high'"),
        (lambda: Always(name="a\nb"), "name must be one line"),
    ],
)
def test_a_malformed_rule_is_refused_where_it_is_written(make: object, says: str) -> None:
    with pytest.raises(RuleError) as caught:
        make()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "rule",
    [
        Always(),
        Always(Severity.CRITICAL, name="daily"),
        Threshold("day.x", above=0.2),
        Threshold("day.x", at_most=Decimal("1.5"), severity="critical", name="low"),
        FindingSeverity("warning"),
    ],
)
def test_a_rule_survives_json(rule: object) -> None:
    assert rule_from_json(json.loads(json.dumps(rule.as_json()))) == rule


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "must be one of always, threshold, range, change, band"),
        ({"kind": "treshold"}, "got 'treshold'"),
        ({"kind": ["x"]}, "got ['x']"),
        ({"kind": "threshold", "above": 1}, "needs fact"),
        ({"kind": "threshold", "fact": "x", "over": 1}, "does not know 'over'"),
        ({"kind": "always", "severity": "none"}, "got 'none'"),
    ],
)
def test_a_malformed_rule_in_json_is_refused(data: dict[str, object], says: str) -> None:
    with pytest.raises(RuleError) as caught:
        rule_from_json(data)
    assert says in str(caught.value)

"""Show an analysis to rules: which fire, and why or why not."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.exceptions import RuleError
from kimi_provider.schemas import AlertEvent, Fact, Severity, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    from kimi_provider.alerts.rules import Rule
    from kimi_provider.schemas import Analysis

_REFERENCE = re.compile(r"\[\[([A-Za-z0-9_.-]+)(?:\|[^\[\]]*)?\]\]")
_UNIT_WORDS = {Unit.MINUTES: "min", Unit.SECONDS: "s"}


@dataclass(frozen=True)
class Observation:
    """What a rule saw.

    ``severity`` is that of the event, or the one it would have had.
    """

    fired: bool
    severity: str
    reason: str


@dataclass(frozen=True)
class Explanation:
    """A rule, whether it fired, and in ``reason`` what it saw."""

    rule: str
    labels: dict[str, str]
    fired: bool
    severity: Severity
    reason: str


class Scene:
    """What rules look at: one analysis, and its facts by id.

    :param analysis: what the model made of the data.
    :param facts: further facts by id, usually the whole sheet; an analysis carries only the single
        figures and those that it cites.
    """

    def __init__(self, analysis: Analysis, facts: Mapping[str, Fact] | None = None) -> None:
        self.analysis = analysis
        known = {fact.id: fact for fact in analysis.facts} | dict(facts or {})
        # A change is a fact of its own in the sheet; where only the figure is at hand, it carries it.
        self._facts = {f.id: f for fact in known.values() for f in _changes(fact)} | known

    def fact(self, fact_id: str, *, asked_by: str) -> Fact:
        """Return the fact with this id.

        :param fact_id: the id.
        :param asked_by: the rule that asks, for the message.
        :raises RuleError: if there is none; names those with like ids.
        """
        fact = self._facts.get(fact_id)
        if fact is None:
            raise RuleError(self._unknown(fact_id, asked_by))
        return fact

    def show(self, fact: Fact, value: Decimal | None = None) -> str:
        """Return a fact's value, or a limit in its unit, as plain text."""
        shown = fact.value if value is None else value
        if shown is None or isinstance(shown, str):
            return shown or "without a value"
        if fact.unit is Unit.PERCENT:
            return f"{_plain(shown * 100)}%"
        word = _UNIT_WORDS.get(fact.unit) or fact.unit_label
        return f"{_plain(shown)} {word}" if word else _plain(shown)

    def resolve(self, text: str) -> str:
        """Return the model's text with the value in place of each ``[[fact_id]]``."""

        def value_of(reference: re.Match[str]) -> str:
            fact = self._facts.get(reference[1])
            return self.show(fact) if fact else reference[1]

        return _REFERENCE.sub(value_of, text)

    def _unknown(self, fact_id: str, asked_by: str) -> str:
        near = difflib.get_close_matches(fact_id, self._facts, n=5, cutoff=0.5)
        known = (
            f"Near it: {', '.join(near)}." if near else f"Known: {', '.join(list(self._facts)[:10])}."
        )
        if not self._facts:
            known = "The analysis has no facts at all."
        return (
            f"Rule {asked_by!r} asks for the fact {fact_id!r}, and the analysis has none. {known} "
            "Fact ids come from the metrics of the prompt template: 'metric.column' for a metric of one "
            "row, 'metric.key.column' for a table's cell, and '.comparison', '.comparison.delta' or "
            "'.comparison.percent' after either for its baseline and the change against it."
        )


def explain(
    rules: Sequence[Rule], analysis: Analysis, facts: Mapping[str, Fact] | None = None
) -> tuple[Explanation, ...]:
    """Say for each rule, in order, what it saw and why it fired or did not.

    :param rules: the rules.
    :param analysis: what to show them.
    :param facts: the whole fact sheet by id, where rules ask for facts that the analysis does not cite.
    :raises RuleError: if a rule asks for something that the analysis does not have.
    """
    scene = Scene(analysis, facts)
    explanations = []
    for rule in rules:
        seen = rule.observe(scene)
        explanations.append(
            Explanation(rule.label, rule.labels, seen.fired, Severity(seen.severity), seen.reason)
        )
    return tuple(explanations)


def evaluate(
    rules: Sequence[Rule], analysis: Analysis, facts: Mapping[str, Fact] | None = None
) -> tuple[AlertEvent, ...]:
    """Return an event for each rule that fires, in the order of the rules.

    :param rules: the rules.
    :param analysis: what to show them.
    :param facts: the whole fact sheet by id, where rules ask for facts that the analysis does not cite.
    :raises RuleError: if a rule asks for something that the analysis does not have.
    """
    return tuple(
        AlertEvent(rule=seen.rule, severity=seen.severity, reason=seen.reason, labels=seen.labels)
        for seen in explain(rules, analysis, facts)
        if seen.fired
    )


def _plain(value: Decimal) -> str:
    """Write a number without exponent, to six places at most."""
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _changes(fact: Fact) -> Iterable[Fact]:
    """Give each comparison's baseline and change as facts, under the ids they have in the sheet."""
    for comparison in fact.comparisons:
        base = f"{fact.id}.{comparison.id}"
        label = f"{fact.label}, {comparison.label}"
        change = f"{fact.label}, change from {comparison.label}"
        bare = fact.model_copy(update={"comparisons": (), "kpi": False})
        yield bare.model_copy(update={"id": base, "label": label, "value": comparison.baseline})
        yield bare.model_copy(
            update={"id": f"{base}.delta", "label": change, "value": comparison.delta, "change": True}
        )
        yield _percent(bare, f"{base}.percent", change, comparison.percent)


def _percent(bare: Fact, fact_id: str, label: str, percent: float | None) -> Fact:
    data = bare.model_dump()
    data.update(id=fact_id, label=label, value=percent, unit=Unit.PERCENT, unit_label=None, change=True)
    return Fact.model_validate(data)

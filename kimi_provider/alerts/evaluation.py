"""Show a run to rules: which fire, and why or why not."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.scene import Scene
from kimi_provider.schemas import AlertEvent, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.alerts.rule import Rule
    from kimi_provider.schemas import Analysis, Fact

_WIDEST_CELL = 120


@dataclass(frozen=True)
class Explanation:
    """What a rule saw of one thing that it looks at, and whether it fired.

    :param rule: how events name the rule.
    :param labels: tell the alert from others of the same rule.
    :param fired: whether it fired.
    :param severity: of the event, or the one it would have had.
    :param reason: a sentence: what it saw, and why it fired or did not.
    :param saw: the values looked at, by the id of the fact.
    :param every_run: whether the rule asks for the report at each run, whatever was told before.
    """

    rule: str
    labels: dict[str, str]
    fired: bool
    severity: Severity
    reason: str
    saw: Mapping[str, Decimal | str | None]
    every_run: bool = False

    def as_event(self) -> AlertEvent:
        """Return the alert event, firing."""
        return AlertEvent(rule=self.rule, severity=self.severity, reason=self.reason, labels=self.labels)

    def as_row(self) -> dict[str, Any]:
        """Return the explanation as plain JSON."""
        saw = {name: float(v) if isinstance(v, Decimal) else v for name, v in self.saw.items()}
        return {
            "rule": self.rule,
            "labels": self.labels,
            "fired": self.fired,
            "severity": self.severity.value,
            "reason": self.reason,
            "saw": saw,
        }


def explain_scene(rules: Sequence[Rule], scene: Scene) -> tuple[Explanation, ...]:
    """Say for each rule, in order, what it saw and why it fired or did not.

    :param rules: the rules.
    :param scene: the run to show them.
    :raises RuleError: if a rule asks for something that the run does not have.
    """
    return tuple(
        Explanation(
            rule=rule.label,
            labels=dict(seen.labels),
            fired=seen.fired,
            severity=Severity(seen.severity),
            reason=seen.reason,
            saw=seen.saw,
            every_run=getattr(rule, "kind", None) == "always",
        )
        for rule in rules
        for seen in rule.observe(scene)
    )


def explain(
    rules: Sequence[Rule], analysis: Analysis | None, facts: Mapping[str, Fact] | None = None
) -> tuple[Explanation, ...]:
    """Say for each rule, in order, what it saw in a run without a past.

    :param rules: the rules.
    :param analysis: what the model made of the data, ``None`` where none was asked.
    :param facts: the whole fact sheet by id, where rules ask for facts that the analysis does not cite.
    :raises RuleError: if a rule asks for something that the analysis does not have.
    """
    return explain_scene(rules, Scene(analysis, facts))


def evaluate(
    rules: Sequence[Rule], analysis: Analysis | None, facts: Mapping[str, Fact] | None = None
) -> tuple[AlertEvent, ...]:
    """Return an event for each rule that fires, in the order of the rules; see :func:`explain`."""
    return tuple(seen.as_event() for seen in explain(rules, analysis, facts) if seen.fired)


def as_table(explanations: Sequence[Explanation]) -> str:
    """Return explanations as a table in plain text, for a log: fired or not, severity, rule, reason."""
    head = ("fired", "severity", "rule", "why")
    rows = [
        ("yes" if one.fired else "no", one.severity.value, _cell(one.rule), _cell(one.reason))
        for one in explanations
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [head, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _WIDEST_CELL else f"{one_line[: _WIDEST_CELL - 1]}…"

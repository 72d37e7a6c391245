"""Rules made of rules: and, or, not, and for so many runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from kimi_provider.alerts.rule import (
    SEVERITIES,
    Observation,
    as_json,
    check_name,
    check_severity,
    check_whole,
    fingerprint,
)
from kimi_provider.exceptions import RuleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.alerts.rule import Rule
    from kimi_provider.alerts.scene import Scene


@dataclass(frozen=True)
class And:
    """Fires when each of several rules fires.

    :param rules: two rules or more.
    :param severity: of the event; by default that of the most severe of the rules.
    :param name: how events name the rule.
    :raises RuleError: if there are fewer than two rules, or a parameter has a value it may not have.
    """

    kind: ClassVar[str] = "and"

    rules: Sequence[Rule]
    severity: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        _check_rules("And", self)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or " and ".join(f"({rule.label})" for rule in self.rules)

    @property
    def facts(self) -> tuple[str, ...]:
        """Those of its rules."""
        return tuple(fact for rule in self.rules for fact in rule.facts)

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Ask each rule; none is spared, so that those that count runs see every run."""
        seen = [_one(rule.observe(scene)) for rule in self.rules]
        return (_joined(seen, self.severity, fired=all(one.fired for one in seen)),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


@dataclass(frozen=True)
class Or:
    """Fires when one of several rules fires.

    :param rules: two rules or more.
    :param severity: of the event; by default that of the most severe rule that fired.
    :param name: how events name the rule.
    :raises RuleError: if there are fewer than two rules, or a parameter has a value it may not have.
    """

    kind: ClassVar[str] = "or"

    rules: Sequence[Rule]
    severity: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        _check_rules("Or", self)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or " or ".join(f"({rule.label})" for rule in self.rules)

    @property
    def facts(self) -> tuple[str, ...]:
        """Those of its rules."""
        return tuple(fact for rule in self.rules for fact in rule.facts)

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Ask each rule."""
        seen = [_one(rule.observe(scene)) for rule in self.rules]
        return (_joined(seen, self.severity, fired=any(one.fired for one in seen)),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


@dataclass(frozen=True)
class Not:
    """Fires when a rule does not.

    :param rule: the rule.
    :param severity: of the event; by default that of the rule.
    :param name: how events name the rule.
    :raises RuleError: if a parameter has a value it may not have.
    """

    kind: ClassVar[str] = "not"

    rule: Rule
    severity: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        _check_rule("Not", self.rule)
        if self.severity is not None:
            check_severity("Not", "severity", self.severity)
        check_name("Not", self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or f"not ({self.rule.label})"

    @property
    def facts(self) -> tuple[str, ...]:
        """Those of its rule."""
        return self.rule.facts

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Ask the rule."""
        seen = _one(self.rule.observe(scene))
        return (_joined([seen], self.severity, fired=not seen.fired),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


@dataclass(frozen=True)
class ForRuns:
    """Fires when a rule would have fired in so many runs in a row, this one being the last.

    :param rule: the rule.
    :param runs: how many runs.
    :raises RuleError: if a parameter has a value it may not have.

    Runs are told apart by logical date. A changed rule starts to count anew.
    """

    kind: ClassVar[str] = "for_runs"

    rule: Rule
    runs: int = 2

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        _check_rule("ForRuns", self.rule)
        check_whole("ForRuns", "runs", self.runs, least=1)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return f"{self.rule.label} for {self.runs} runs"

    @property
    def facts(self) -> tuple[str, ...]:
        """Those of its rule."""
        return self.rule.facts

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Ask the rule, and count."""
        return tuple(self._count(scene, seen) for seen in self.rule.observe(scene))

    def _count(self, scene: Scene, seen: Observation) -> Observation:
        labels = ",".join(f"{name}={value}" for name, value in sorted(seen.labels.items()))
        streak = scene.hold(f"{fingerprint(self.rule)}:{labels}", held=seen.fired)
        reason = f"{seen.reason} So it was in {streak} runs in a row, and {self.runs} are asked for."
        return replace(seen, fired=streak >= self.runs, reason=reason if seen.fired else seen.reason)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


def _check_rules(where: str, rule: And | Or) -> None:
    if not isinstance(rule.rules, list | tuple) or len(rule.rules) < 2:  # noqa: PLR2004 — one is no combination
        raise RuleError(f"{where} needs two rules or more; got {rule.rules!r}.")
    object.__setattr__(rule, "rules", tuple(rule.rules))
    for part in rule.rules:
        _check_rule(where, part)
    if rule.severity is not None:
        check_severity(where, "severity", rule.severity)
    check_name(where, rule.name)


def _check_rule(where: str, rule: object) -> None:
    if not hasattr(rule, "observe"):
        raise RuleError(f"{where} is made of rules, such as Threshold(...); got {rule!r}.")


def _one(seen: tuple[Observation, ...]) -> Observation:
    """Return what a rule that looks at several things saw as a whole: the worst of it."""
    fired = [one for one in seen if one.fired]
    return max(fired or seen, key=lambda one: SEVERITIES.index(one.severity))


def _joined(seen: Sequence[Observation], severity: str | None, *, fired: bool) -> Observation:
    counted = [one for one in seen if one.fired] or seen
    worst = max((one.severity for one in counted), key=SEVERITIES.index)
    reason = " ".join(one.reason for one in seen)
    saw = {name: value for one in seen for name, value in one.saw.items()}
    return Observation(severity or worst, reason, fired, saw=saw)

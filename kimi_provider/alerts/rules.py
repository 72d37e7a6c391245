"""Alert rules: small frozen values that a DAG file or a YAML file declares.

A rule says what it looks for; :mod:`kimi_provider.alerts.evaluation` shows it an analysis and turns
what it saw into events. A new kind of rule is a frozen dataclass with the four members of
:class:`Rule` and a line in ``_KINDS``.

DAG files import this module at every parse, so it takes nothing heavier than the standard library.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from kimi_provider.exceptions import RuleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kimi_provider.alerts.evaluation import Observation, Scene

# The values of schemas.Severity in rising order. The schemas cost 20 ms of pydantic at each DAG parse.
SEVERITIES = ("info", "warning", "critical")

_BOUNDS: dict[str, tuple[str, Callable[[Decimal, Decimal], bool]]] = {
    "above": ("above", lambda value, limit: value > limit),
    "below": ("below", lambda value, limit: value < limit),
    "at_least": ("at least", lambda value, limit: value >= limit),
    "at_most": ("at most", lambda value, limit: value <= limit),
}


class Rule(Protocol):
    """What the evaluation needs of a rule."""

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the rule's events, by which alerts are grouped and routed."""

    def observe(self, scene: Scene) -> Observation:
        """Look at an analysis and say what was seen, and whether it deserves an alert.

        :raises RuleError: if the rule asks for something that the analysis does not have.
        """

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON, from which :func:`rule_from_json` makes it again."""


@dataclass(frozen=True)
class Always:
    """Fires at every run.

    :param severity: of the event: ``info``, ``warning`` or ``critical``.
    :param name: how events name the rule.
    :raises RuleError: if the severity is none of the three.
    """

    kind: ClassVar[str] = "always"

    severity: str = "info"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        _check_severity("Always", "severity", self.severity)
        _check_name("Always", self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or "always"

    @property
    def labels(self) -> dict[str, str]:
        """No labels: there is one such alert."""
        return {}

    def observe(self, scene: Scene) -> Observation:  # noqa: ARG002 — fires whatever it is shown
        """Fire."""
        from kimi_provider.alerts.evaluation import Observation

        return Observation(fired=True, severity=self.severity, reason="This rule fires at every run.")

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return _as_json(self)


@dataclass(frozen=True)
class Threshold:
    """Fires when a fact is beyond a bound.

    :param fact: id of the fact: a single figure (``day.flights``), a cell of a table
        (``by_carrier.UA.avg_delay``), or a change against a baseline
        (``day.flights.day_before.percent``, a fraction).
    :param above: fires when the value is greater than this, in the fact's own unit (a percentage is a
        fraction: ``0.2``).
    :param below: fires when the value is less than this.
    :param at_least: fires when the value is this or greater.
    :param at_most: fires when the value is this or less.
    :param severity: of the event: ``info``, ``warning`` or ``critical``.
    :param name: how events name the rule.
    :raises RuleError: if not exactly one bound is given, or a parameter has a value it may not have.

    A fact without a value (``NULL`` in the data) does not fire, and the explanation says so.
    """

    kind: ClassVar[str] = "threshold"

    fact: str
    above: float | Decimal | None = None
    below: float | Decimal | None = None
    at_least: float | Decimal | None = None
    at_most: float | Decimal | None = None
    severity: str = "warning"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        if not isinstance(self.fact, str) or not self.fact.strip():
            raise RuleError(
                f"Threshold needs the id of a fact, such as 'day.flights'; got {self.fact!r}."
            )
        where = f"Threshold({self.fact!r})"
        given = [name for name in _BOUNDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise RuleError(
                f"{where} needs exactly one of above, below, at_least, at_most; "
                f"got {' and '.join(given) or 'none'}."
            )
        bound = getattr(self, given[0])
        number = isinstance(bound, int | float | Decimal) and not isinstance(bound, bool)
        if not number or not math.isfinite(bound):
            raise RuleError(f"{where}: {given[0]} must be a finite number; got {bound!r}.")
        _check_severity(where, "severity", self.severity)
        _check_name(where, self.name)

    @property
    def bound(self) -> str:
        """Which of the four bounds is given."""
        return next(name for name in _BOUNDS if getattr(self, name) is not None)

    @property
    def limit(self) -> Decimal:
        """The bound's value, as written: 0.2 is two tenths, not the nearest binary fraction."""
        return Decimal(str(getattr(self, self.bound)))

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or f"{self.fact} {_BOUNDS[self.bound][0]} {self.limit}"

    @property
    def labels(self) -> dict[str, str]:
        """The fact's id."""
        return {"fact": self.fact}

    def observe(self, scene: Scene) -> Observation:
        """Compare the fact with the bound.

        :raises RuleError: if there is no such fact, or it is no number.
        """
        from kimi_provider.alerts.evaluation import Observation

        fact = scene.fact(self.fact, asked_by=self.label)
        what = f"{fact.label} ({fact.id})"
        if fact.value is None:
            reason = f"{what} has no value: the data has none for it."
            return Observation(fired=False, severity=self.severity, reason=reason)
        if isinstance(fact.value, str):
            raise RuleError(
                f"Rule {self.label!r} compares {self.fact!r} with a number, but its unit is "
                f"{fact.unit.value}. Name a fact that counts or measures something."
            )
        words, beyond = _BOUNDS[self.bound]
        fired = beyond(fact.value, self.limit)
        verdict = "which is" if fired else "which is not"
        reason = f"{what} is {scene.show(fact)}, {verdict} {words} {scene.show(fact, self.limit)}."
        return Observation(fired=fired, severity=self.severity, reason=reason)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return _as_json(self)


@dataclass(frozen=True)
class FindingSeverity:
    """Fires when the analysis has a finding that is severe enough; the event is as severe as the worst.

    :param at_least: the lowest severity that counts: ``info``, ``warning`` or ``critical``.
    :param name: how events name the rule.
    :raises RuleError: if the severity is none of the three.
    """

    kind: ClassVar[str] = "finding_severity"

    at_least: str = "critical"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        _check_severity("FindingSeverity", "at_least", self.at_least)
        _check_name("FindingSeverity", self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or f"a finding at least {self.at_least}"

    @property
    def labels(self) -> dict[str, str]:
        """No labels: there is one such alert."""
        return {}

    def observe(self, scene: Scene) -> Observation:
        """Look for findings at or over the severity."""
        from kimi_provider.alerts.evaluation import Observation

        findings = scene.analysis.findings
        least = SEVERITIES.index(self.at_least)
        severe = [finding for finding in findings if finding.severity.rank >= least]
        if not severe:
            reason = f"None of the {len(findings)} findings is {self.at_least} or worse."
            return Observation(fired=False, severity=self.at_least, reason=reason)
        worst = max(severe, key=lambda finding: finding.severity.rank)
        reason = (
            f"{len(severe)} of {len(findings)} findings {'is' if len(severe) == 1 else 'are'} "
            f"{self.at_least} or worse; the worst, {worst.severity.value}: {scene.resolve(worst.title)}"
        )
        return Observation(fired=True, severity=worst.severity.value, reason=reason)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return _as_json(self)


_KINDS: dict[str, type[Always | Threshold | FindingSeverity]] = {
    cls.kind: cls for cls in (Always, Threshold, FindingSeverity)
}


def rule_from_json(data: Mapping[str, Any]) -> Rule:
    """Make a rule from plain JSON or YAML: its ``kind``, and the parameters that its class takes.

    ::

        {"kind": "threshold", "fact": "day.cancelled_share", "above": 0.2, "severity": "critical"}

    :raises RuleError: if the kind or a parameter is not known, one is missing, or a value is wrong.
    """
    given = dict(data)
    kind = given.pop("kind", None)
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise RuleError(f"A rule's kind must be one of {', '.join(_KINDS)}; got {kind!r}.")
    parameters = {field.name: field for field in fields(cls)}
    unknown = [name for name in given if name not in parameters]
    if unknown:
        raise RuleError(
            f"A rule of kind {kind} takes {', '.join(parameters)}; it does not know {unknown[0]!r}."
        )
    missing = [n for n, field in parameters.items() if field.default is MISSING and n not in given]
    if missing:
        raise RuleError(f"A rule of kind {kind} needs {', '.join(missing)}.")
    return cls(**given)


def _as_json(rule: Always | Threshold | FindingSeverity) -> dict[str, object]:
    values = {field.name: getattr(rule, field.name) for field in fields(rule)}
    return {"kind": rule.kind, **{k: _plain(v) for k, v in values.items() if v is not None}}


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, str) else value  # a schemas.Severity is a str too


def _check_severity(where: str, parameter: str, value: object) -> None:
    if value not in SEVERITIES:
        raise RuleError(f"{where}: {parameter} must be one of {', '.join(SEVERITIES)}; got {value!r}.")


def _check_name(where: str, name: object) -> None:
    if name is not None and (not isinstance(name, str) or not name.isprintable() or not name.strip()):
        raise RuleError(f"{where}: name must be one line of text; got {name!r}.")

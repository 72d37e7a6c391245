"""A rule written as an expression: ``day.cancelled_share > 5% and severity >= warning``.

What can stand in one:

- facts by id (``day.flights``, ``day.flights.day_before.percent``; ``[[by_carrier.B6-1.delay]]``
  where an id has a hyphen), numbers (``100``, ``1_000``, ``5%``), texts (``'EWR'``), ``info``,
  ``warning``, ``critical``, and ``severity``, the worst among the findings;
- ``+ - * /``, ``< <= > >= == !=``, ``and``, ``or``, ``not``, brackets;
- ``abs(x)``, ``min(x, y…)``, ``max(x, y…)``;
- ``change(fact)`` and ``delta(fact)``: against the last run, or ``change(fact, 'day_before')``;
- ``band(fact)``: whether it is outside mean ± 3 standard deviations of its last 30 runs;
  ``band(fact, 2, 14)`` for other numbers;
- ``absent(fact)``, ``rows('flights')``, ``drift('flights')``, ``findings(warning)``,
  ``findings(info, 'anomaly')`` (how many there are), ``for_runs(condition, 3)``.

A value that is not there makes what is computed from it unknown. Unknown is neither true nor false, as
in SQL, and a rule that is unknown does not fire.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any, ClassVar

from kimi_provider.alerts.baselines import LAST_RUN, Band, SchemaDrift, changed_by
from kimi_provider.alerts.rule import (
    SEVERITIES,
    Observation,
    as_json,
    check_name,
    check_severity,
    fingerprint,
)
from kimi_provider.alerts.syntax import Node, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.alerts.scene import Scene

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPUTE: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_WORDS = {True: "true", False: "false", None: "unknown"}
_OWN_HISTORY = ("change", "delta", "band")


@dataclass(frozen=True)
class Expression:
    """Fires when an expression holds.

    :param when: the expression; see :mod:`kimi_provider.alerts.expression`.
    :param severity: of the event: ``info``, ``warning`` or ``critical``.
    :param name: how events name the rule.
    :raises RuleError: if the expression is malformed; the message points at the character.
    """

    kind: ClassVar[str] = "expression"

    when: str
    severity: str = "warning"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        parse(self.when)
        check_severity("Expression", "severity", self.severity)
        check_name("Expression", self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or " ".join(self.when.split())

    @property
    def facts(self) -> tuple[str, ...]:
        """The facts that are held against their own history."""
        calls = [node for node in parse(self.when).walk() if node.value in _OWN_HISTORY]
        return tuple(str(call.parts[0].value) for call in calls if call.form == "call")

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Show the run to the expression.

        :raises RuleError: if it asks for a fact that the run does not have (unless it also asks whether
            the fact is ``absent``) or a dataset that the alert was not given.
        """
        tree = parse(self.when)
        reading = _Reading(scene, self, tree)
        result = reading.of(tree)
        values = ", ".join(f"{name} is {words}" for name, words in reading.words.items())
        said = f"{' '.join(self.when.split())} is {_WORDS[result]}"
        reason = f"{said}: {values}." if values else f"{said}."
        return (Observation(self.severity, reason, result is True, saw=reading.saw),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


class _Reading:
    """One expression over one run."""

    def __init__(self, scene: Scene, rule: Expression, tree: Node) -> None:
        self._scene = scene
        self._rule = rule
        calls = [node for node in tree.walk() if (node.form, node.value) == ("call", "absent")]
        self._numbers = [node.value for node in tree.walk() if isinstance(node.value, Decimal)]
        self._may_be_absent = {call.parts[0].value for call in calls}
        self.saw: dict[str, Decimal | str | None] = {}
        self.words: dict[str, str] = {}

    def of(self, node: Node) -> Any:
        """Return a part's value, ``None`` where it is not known.

        Both sides of ``and`` and ``or`` are always read: what counts runs has to see each.
        """
        if node.form == "call":
            return getattr(self, f"_{node.value}")(node)
        if node.parts:
            return _combined(node.form, [self.of(part) for part in node.parts])
        if node.form == "fact":
            return self._fact(str(node.value))
        if node.form == "severity":
            return self._severity()
        return SEVERITIES.index(str(node.value)) if node.kind == "severity" else node.value

    def _fact(self, fact_id: str) -> Decimal | str | None:
        fact = self._scene.get(fact_id)
        if fact is None and fact_id in self._may_be_absent:
            self.words[fact_id] = "not there"
            return None
        fact = self._scene.fact(fact_id, asked_by=self._rule.label)
        self.saw[fact_id] = fact.value
        self.words[fact_id] = self._scene.show(fact, beside=self._numbers)
        return fact.value

    def _severity(self) -> int:
        worst = self._scene.analysis.severity.value if self._scene.analysis else SEVERITIES[0]
        self.words["severity"] = worst
        self.saw["severity"] = worst
        return SEVERITIES.index(worst)

    def _abs(self, node: Node) -> Decimal | None:
        value = self.of(node.parts[0])
        return abs(value) if isinstance(value, Decimal) else None

    def _min(self, node: Node) -> Decimal | None:
        return self._extreme(node, min)

    def _max(self, node: Node) -> Decimal | None:
        return self._extreme(node, max)

    def _extreme(self, node: Node, pick: Callable[[list[Decimal]], Decimal]) -> Decimal | None:
        values = [value for part in node.parts if isinstance(value := self.of(part), Decimal)]
        return pick(values) if len(values) == len(node.parts) else None

    def _change(self, node: Node) -> Decimal | None:
        return self._changed(node, "percent")

    def _delta(self, node: Node) -> Decimal | None:
        return self._changed(node, "delta")

    def _changed(self, node: Node, measure: str) -> Decimal | None:
        fact_id = str(node.parts[0].value)
        against = str(node.parts[1].value) if len(node.parts) > 1 else LAST_RUN
        self._fact(fact_id)
        changed = changed_by(self._scene, fact_id, against, measure, asked_by=self._rule.label)
        name = f"{node.value}({fact_id}, {against})"
        self.saw[name] = changed
        if changed is None:
            self.words[name] = "unknown"
        else:
            self.words[name] = f"{changed:+.1%}" if measure == "percent" else f"{changed:+f}"
        return changed

    def _band(self, node: Node) -> bool | None:
        given = [self.of(part) for part in node.parts[1:]]
        width = given[0] if given else 3
        last = int(given[1]) if len(given) > 1 else 30
        rule = Band(str(node.parts[0].value), width=width, last=last, min_history=min(7, last))
        (seen,) = rule.observe(self._scene)
        # Without a value, or a past that makes a band, it is neither inside nor outside.
        return self._note(f"band({rule.fact})", seen, known="low" in seen.saw)

    def _absent(self, node: Node) -> bool:
        return self._fact(str(node.parts[0].value)) is None

    def _rows(self, node: Node) -> Decimal:
        name = str(node.parts[0].value)
        rows = Decimal(self._scene.dataset(name, asked_by=self._rule.label).rows)
        self.saw[f"rows({name})"] = rows
        self.words[f"rows({name})"] = f"{rows:,}"
        return rows

    def _drift(self, node: Node) -> bool:
        name = str(node.parts[0].value)
        (seen,) = SchemaDrift(name).observe(self._scene)
        return bool(self._note(f"drift({name})", seen))

    def _findings(self, node: Node) -> Decimal:
        given = [str(part.value) for part in node.parts]
        least = SEVERITIES.index(given[0]) if given else 0
        of_kind = given[1] if len(given) > 1 else None
        found = [
            f for f in self._scene.findings if f.severity.rank >= least and of_kind in {None, f.kind}
        ]
        name = f"findings({', '.join(given)})"
        self.saw[name] = Decimal(len(found))
        self.words[name] = str(len(found))
        return Decimal(len(found))

    def _for_runs(self, node: Node) -> bool:
        held, runs = self.of(node.parts[0]), node.parts[1].value
        streak = self._scene.hold(f"{fingerprint(self._rule)}:{node.at}", held=held is True)
        self.words["runs in a row"] = str(streak)
        return streak >= runs  # type: ignore[operator]  # the grammar asks for a number

    def _note(self, name: str, seen: Observation, *, known: bool = True) -> bool | None:
        self.saw.update(seen.saw)
        outcome = seen.fired if known else None
        self.words[name] = f"{_WORDS[outcome]} ({seen.reason.rstrip('.')})"
        return outcome


def _logic(form: str, parts: list[bool | None]) -> bool | None:
    decisive = form == "or"
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def _combined(form: str, parts: list[Any]) -> Any:
    if form in {"and", "or"}:
        return _logic(form, parts)
    if None in parts:
        return None
    return not parts[0] if form == "not" else _computed(form, parts)


def _computed(form: str, parts: list[Any]) -> Any:
    if form in _COMPARE:
        left, right = parts
        same = isinstance(left, str) == isinstance(right, str)
        return _COMPARE[form](left, right) if same else None
    if any(isinstance(part, str) for part in parts):
        return None
    try:
        return -parts[0] if form == "negative" else _COMPUTE[form](*parts)
    except DecimalException:  # a division by nothing, or a number without end
        return None

"""Rules that hold a fact against a bound or a range."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from kimi_provider.alerts.rule import (
    BOUNDS,
    Observation,
    as_json,
    bound_of,
    check_bound,
    check_choice,
    check_name,
    check_number,
    check_severity,
)
from kimi_provider.exceptions import RuleError

if TYPE_CHECKING:
    from kimi_provider.alerts.scene import Scene

_MISSING = ("fail", "ignore", "fire")


@dataclass(frozen=True)
class Threshold:
    """Fires when a fact is beyond a bound.

    :param fact: id of the fact: a single figure (``day.flights``), a cell of a table
        (``by_carrier.UA.avg_delay``), or a change against a baseline
        (``day.flights.day_before.percent``, a fraction). A ``*`` stands for any one part
        (``by_carrier.*.avg_delay``): each such fact is an alert of its own.
    :param above: fires when the value is greater than this, in the fact's own unit (a percentage is a
        fraction: ``0.2``).
    :param below: fires when the value is less than this.
    :param at_least: fires when the value is this or greater.
    :param at_most: fires when the value is this or less.
    :param missing: what to do if there is no such fact: ``fail`` (it may be a slip of the pen),
        ``ignore`` or ``fire``.
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
    missing: str = "fail"
    severity: str = "warning"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        check_fact("Threshold", self.fact)
        where = f"Threshold({self.fact!r})"
        check_bound(where, self)
        check_choice(where, "missing", self.missing, _MISSING)
        check_severity(where, "severity", self.severity)
        check_name(where, self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        bound, limit = bound_of(self)
        return self.name or f"{self.fact} {BOUNDS[bound][0]} {limit}"

    @property
    def facts(self) -> tuple[str, ...]:
        """The fact, where it is one."""
        return () if "*" in self.fact else (self.fact,)

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Compare the fact with the bound.

        :raises RuleError: if there is no such fact, or it is no number.
        """
        ids = scene.matching(self.fact) if "*" in self.fact else (self.fact,)
        if "*" not in self.fact and scene.get(self.fact) is None and self.missing != "fail":
            reason = f"There is no fact {self.fact}."
            return (Observation(self.severity, reason, self.missing == "fire", {"fact": self.fact}),)
        if not ids:
            return (Observation(self.severity, f"No fact is like {self.fact}.", self.missing == "fire"),)
        return tuple(self._compare(scene, fact_id) for fact_id in ids)

    def _compare(self, scene: Scene, fact_id: str) -> Observation:
        fact, value = scene.number(fact_id, asked_by=self.label)
        what = f"{fact.label} ({fact.id})"
        labels: dict[str, str] = {"fact": fact_id}
        if value is None:
            reason = f"{what} has no value: the data has none for it."
            return Observation(self.severity, reason, fired=False, labels=labels, saw={fact_id: None})
        bound, limit = bound_of(self)
        words, beyond = BOUNDS[bound]
        fired = beyond(value, limit)
        verdict = "which is" if fired else "which is not"
        shown, bar = scene.show(fact, beside=[limit]), scene.show(fact, limit, beside=[value])
        reason = f"{what} is {shown}, {verdict} {words} {bar}."
        return Observation(self.severity, reason, fired, labels, {fact_id: value})

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


@dataclass(frozen=True)
class Range:
    """Fires when a fact is outside a range (or inside it); the ends belong to the range.

    :param fact: id of the fact.
    :param low: the range's lower end, in the fact's own unit.
    :param high: its upper end.
    :param fires: ``outside`` or ``inside``.
    :param severity: of the event.
    :param name: how events name the rule.
    :raises RuleError: if the ends are no numbers or the wrong way round.
    """

    kind: ClassVar[str] = "range"

    fact: str
    low: float | Decimal
    high: float | Decimal
    fires: str = "outside"
    severity: str = "warning"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        check_fact("Range", self.fact)
        where = f"Range({self.fact!r})"
        for end in ("low", "high"):
            check_number(where, end, getattr(self, end))
        if self.low > self.high:
            raise RuleError(
                f"{where}: low must not be greater than high; got {self.low} and {self.high}."
            )
        check_choice(where, "fires", self.fires, ("outside", "inside"))
        check_severity(where, "severity", self.severity)
        check_name(where, self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or f"{self.fact} {self.fires} {self.low} to {self.high}"

    @property
    def facts(self) -> tuple[str, ...]:
        """The fact."""
        return (self.fact,)

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Compare the fact with the range.

        :raises RuleError: if there is no such fact, or it is no number.
        """
        fact, value = scene.number(self.fact, asked_by=self.label)
        low, high = Decimal(str(self.low)), Decimal(str(self.high))
        labels = {"fact": self.fact}
        if value is None:
            reason = f"{fact.label} ({fact.id}) has no value: the data has none for it."
            return (Observation(self.severity, reason, fired=False, labels=labels, saw={fact.id: None}),)
        inside = low <= value <= high
        shown = scene.show(fact, beside=[low, high])
        ends = [scene.show(fact, end, beside=[value]) for end in (low, high)]
        reason = (
            f"{fact.label} ({fact.id}) is {shown}, {'inside' if inside else 'outside'} "
            f"{ends[0]} to {ends[1]}."
        )
        fired = inside == (self.fires == "inside")
        return (Observation(self.severity, reason, fired, labels, {fact.id: value}),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


def check_fact(where: str, fact: object) -> None:
    """Refuse what is no id of a fact.

    :raises RuleError: if it is no text.
    """
    if not isinstance(fact, str) or not fact.strip():
        raise RuleError(f"{where} needs the id of a fact, such as 'day.flights'; got {fact!r}.")

"""Rules that hold a run against earlier ones: change, a statistical band, the shape of the data."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from kimi_provider.alerts.conditions import check_fact
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
    check_whole,
)
from kimi_provider.exceptions import RuleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.alerts.scene import Scene

LAST_RUN = "last_run"
# Makes the median absolute deviation estimate the standard deviation of normal data.
_MAD_SCALE = Decimal("1.4826")


@dataclass(frozen=True)
class Change:
    """Fires when a fact changed by more (or less) than a bound.

    :param fact: id of the fact.
    :param against: a comparison of the prompt template (``day_before``), or ``last_run``: what the
        run before this one saw.
    :param measure: ``percent`` (a fraction: -0.2 is a fall by a fifth) or ``delta`` (in its unit).
    :param above: fires when the change is greater than this.
    :param below: fires when the change is less than this.
    :param at_least: fires when the change is this or greater.
    :param at_most: fires when the change is this or less.
    :param severity: of the event.
    :param name: how events name the rule.
    :raises RuleError: if not exactly one bound is given, or a parameter has a value it may not have.
    """

    kind: ClassVar[str] = "change"

    fact: str
    against: str = LAST_RUN
    measure: str = "percent"
    above: float | Decimal | None = None
    below: float | Decimal | None = None
    at_least: float | Decimal | None = None
    at_most: float | Decimal | None = None
    severity: str = "warning"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        check_fact("Change", self.fact)
        where = f"Change({self.fact!r})"
        check_fact(f"{where}: against", self.against)
        check_choice(where, "measure", self.measure, ("percent", "delta"))
        check_bound(where, self)
        check_severity(where, "severity", self.severity)
        check_name(where, self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        bound, limit = bound_of(self)
        words = BOUNDS[bound][0]
        return self.name or f"{self.measure} change of {self.fact} from {self.against} {words} {limit}"

    @property
    def facts(self) -> tuple[str, ...]:
        """The fact: the next run compares with it."""
        return (self.fact,)

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Compare the change with the bound.

        :raises RuleError: if there is no such fact or comparison, or it is no number.
        """
        fact, _ = scene.number(self.fact, asked_by=self.label)
        labels = {"fact": self.fact}
        changed = changed_by(scene, self.fact, self.against, self.measure, asked_by=self.label)
        if changed is None:
            reason = f"{fact.label} ({fact.id}) or its value at {self.against} is not there to compare."
            return (Observation(self.severity, reason, fired=False, labels=labels),)
        bound, limit = bound_of(self)
        fired = BOUNDS[bound][1](changed, limit)
        amount, bar = (
            (f"{changed:+.1%}", f"{limit:+.1%}")
            if self.measure == "percent"
            else (f"{changed:+f}", f"{limit:+f}")
        )
        reason = (
            f"{fact.label} ({fact.id}) is {scene.show(fact)}, {amount} against {self.against}, which is "
            f"{'' if fired else 'not '}{BOUNDS[bound][0]} {bar}."
        )
        saw = {self.fact: fact.value, f"{self.fact}.{self.against}.{self.measure}": changed}
        return (Observation(self.severity, reason, fired, labels, saw),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


@dataclass(frozen=True)
class Band:
    """Fires when a fact is outside the band that its own history makes likely.

    :param fact: id of the fact.
    :param width: half the band's width in standard deviations.
    :param method: ``mean`` (and standard deviation), or ``median`` (and median absolute deviation,
        scaled to the standard deviation), which single bad days do not widen.
    :param last: how many earlier runs make the band.
    :param min_history: fewer earlier values than this make no band, and the rule does not fire.
    :param side: which side counts: ``both``, ``above`` or ``below``.
    :param severity: of the event.
    :param name: how events name the rule.
    :raises RuleError: if a parameter has a value it may not have.
    """

    kind: ClassVar[str] = "band"

    fact: str
    width: float | Decimal = 3
    method: str = "mean"
    last: int = 30
    min_history: int = 7
    side: str = "both"
    severity: str = "warning"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        check_fact("Band", self.fact)
        where = f"Band({self.fact!r})"
        check_number(where, "width", self.width, least=0)
        check_choice(where, "method", self.method, ("mean", "median"))
        check_choice(where, "side", self.side, ("both", "above", "below"))
        check_whole(where, "min_history", self.min_history, least=2)
        check_whole(where, "last", self.last, least=self.min_history)
        check_severity(where, "severity", self.severity)
        check_name(where, self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        where = "outside" if self.side == "both" else self.side
        return self.name or f"{self.fact} {where} its usual band"

    @property
    def facts(self) -> tuple[str, ...]:
        """The fact: later bands are made of it."""
        return (self.fact,)

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Compare the fact with the band.

        :raises RuleError: if there is no such fact, or it is no number.
        """
        fact, value = scene.number(self.fact, asked_by=self.label)
        labels = {"fact": self.fact}
        what = f"{fact.label} ({fact.id}) is {scene.show(fact)}"
        past = scene.history.values(self.fact, self.last)
        if value is None or len(past) < self.min_history:
            reason = f"{what}; {len(past)} earlier values are known, and {self.min_history} make a band."
            return (Observation(self.severity, reason, False, labels, {self.fact: value}),)  # noqa: FBT003 — not fired
        low, high = band(past, Decimal(str(self.width)), self.method)
        fired = (value < low and self.side != "above") or (value > high and self.side != "below")
        ends = [scene.show(fact, end, beside=[value]) for end in (low, high)]
        side = "inside" if low <= value <= high else "outside"
        shown = scene.show(fact, beside=[low, high])
        reason = (
            f"{fact.label} ({fact.id}) is {shown}, {side} the band of the "
            f"last {len(past)} runs, {ends[0]} to {ends[1]}."
        )
        saw: dict[str, Decimal | str | None] = {self.fact: value, "low": low, "high": high}
        return (Observation(self.severity, reason, fired, labels, saw),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


@dataclass(frozen=True)
class SchemaDrift:
    """Fires when a dataset's columns or their types are not those of the last run.

    :param dataset: name of a dataset that the alert was given.
    :param allow_new: whether new columns pass.
    :param ignore: names of columns that may come, go and change.
    :param severity: of the event.
    :param name: how events name the rule.
    :raises RuleError: if a parameter has a value it may not have.
    """

    kind: ClassVar[str] = "schema_drift"
    facts: ClassVar[tuple[str, ...]] = ()

    dataset: str
    allow_new: bool = False
    ignore: Sequence[str] = ()
    severity: str = "warning"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        if not isinstance(self.dataset, str) or not self.dataset:
            raise RuleError(f"SchemaDrift needs the name of a dataset; got {self.dataset!r}.")
        if not isinstance(self.ignore, list | tuple | set | frozenset):
            raise RuleError(f"SchemaDrift: ignore must be a list of columns; got {self.ignore!r}.")
        object.__setattr__(self, "ignore", tuple(self.ignore))
        check_severity("SchemaDrift", "severity", self.severity)
        check_name("SchemaDrift", self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or f"schema of {self.dataset} changed"

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Compare the columns with the last run's.

        :raises RuleError: if the alert was not given the dataset.
        """
        ref = scene.dataset(self.dataset, asked_by=self.label)
        labels = {"dataset": self.dataset}
        before = scene.history.schema_of(self.dataset)
        now = {column.name: column.type for column in ref.columns}
        if before is None:
            reason = f"No earlier run saw {self.dataset}; its {len(now)} columns are noted."
            return (Observation(self.severity, reason, fired=False, labels=labels),)
        changes = self._changes(before, now)
        reason = (
            f"The columns of {self.dataset} changed: {'; '.join(changes)}."
            if changes
            else f"The {len(now)} columns of {self.dataset} are those of the last run."
        )
        return (Observation(self.severity, reason, bool(changes), labels),)

    def _changes(self, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
        gone = [f"{name} is gone" for name in before if name not in now and name not in self.ignore]
        new = [f"{name} is new ({now[name]})" for name in now if name not in before]
        new = [] if self.allow_new else [n for n in new if n.split(" is new")[0] not in self.ignore]
        other = [
            f"{name} was {before[name]} and is {now[name]}"
            for name in now
            if name in before and before[name] != now[name] and name not in self.ignore
        ]
        return gone + new + other

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


def band(past: Sequence[Decimal], width: Decimal, method: str) -> tuple[Decimal, Decimal]:
    """Return the ends of the band around past values; at least two of them.

    :param past: the values.
    :param width: half its width in standard deviations.
    :param method: ``mean`` or ``median``.
    """
    import statistics  # with what it loads, six modules that a DAG file does not need

    if method == "median":
        middle = statistics.median(past)
        spread = statistics.median([abs(value - middle) for value in past]) * _MAD_SCALE
    else:
        middle, spread = statistics.mean(past), statistics.stdev(past)
    return middle - width * spread, middle + width * spread


def changed_by(
    scene: Scene, fact_id: str, against: str, measure: str, *, asked_by: str
) -> Decimal | None:
    """Return a fact's change, ``None`` where one of the two values is not there.

    :param scene: the run.
    :param fact_id: id of the fact.
    :param against: id of a comparison, or ``last_run``.
    :param measure: ``percent`` or ``delta``.
    :param asked_by: the rule that asks, for messages.
    :raises RuleError: if there is no such fact or comparison.
    """
    if against != LAST_RUN:
        return scene.number(f"{fact_id}.{against}.{measure}", asked_by=asked_by)[1]
    _, value = scene.number(fact_id, asked_by=asked_by)
    last = scene.history.last
    before = last.facts.get(fact_id) if last else None
    if value is None or before is None:
        return None
    if measure == "delta":
        return value - before
    return (value - before) / abs(before) if before else None

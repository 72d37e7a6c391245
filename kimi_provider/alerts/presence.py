"""Rules about what there is: findings, values, rows, or simply a run."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from kimi_provider.alerts.rule import (
    SEVERITIES,
    Observation,
    as_json,
    check_name,
    check_severity,
    check_whole,
)
from kimi_provider.exceptions import RuleError

if TYPE_CHECKING:
    from kimi_provider.alerts.scene import Scene


@dataclass(frozen=True)
class Always:
    """Fires at every run, and is told at every run: it asks for the report, and has no state.

    :param severity: of the event: ``info``, ``warning`` or ``critical``.
    :param name: how events name the rule.
    :raises RuleError: if the severity is none of the three.
    """

    kind: ClassVar[str] = "always"
    facts: ClassVar[tuple[str, ...]] = ()

    severity: str = "info"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        check_severity("Always", "severity", self.severity)
        check_name("Always", self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or "always"

    def observe(self, scene: Scene) -> tuple[Observation, ...]:  # noqa: ARG002 — fires whatever it is shown
        """Fire."""
        return (Observation(self.severity, "This rule fires at every run.", fired=True),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


@dataclass(frozen=True)
class NoData:
    """Fires when a fact has no value or is not there, or when a dataset has too few rows.

    :param fact: id of the fact; or give ``dataset``.
    :param dataset: name of a dataset that the alert was given.
    :param rows_below: fires when the dataset has fewer rows than this.
    :param severity: of the event.
    :param name: how events name the rule.
    :raises RuleError: if not exactly one of fact and dataset is given.
    """

    kind: ClassVar[str] = "no_data"

    fact: str | None = None
    dataset: str | None = None
    rows_below: int = 1
    severity: str = "warning"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        if (self.fact is None) == (self.dataset is None):
            raise RuleError("NoData needs exactly one of fact and dataset.")
        if not isinstance(self.fact or self.dataset, str):
            raise RuleError(f"NoData names a fact or a dataset; got {self.fact or self.dataset!r}.")
        check_whole("NoData", "rows_below", self.rows_below, least=1)
        check_severity("NoData", "severity", self.severity)
        check_name("NoData", self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        return self.name or f"no data for {self.fact or self.dataset}"

    @property
    def facts(self) -> tuple[str, ...]:
        """The fact, if it is about one."""
        return (self.fact,) if self.fact else ()

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Look whether there is something."""
        if self.dataset is not None:
            ref = scene.datasets.get(self.dataset)
            rows = ref.rows if ref else 0
            reason = (
                f"The dataset {self.dataset} has {rows:,} rows" if ref else f"No {self.dataset} came"
            )
            fired = rows < self.rows_below
            reason += f", fewer than {self.rows_below:,}." if fired and ref else "."
            saw: dict[str, Decimal | str | None] = {f"{self.dataset}.rows": Decimal(rows)}
            return (Observation(self.severity, reason, fired, {"dataset": self.dataset}, saw),)
        fact_id = str(self.fact)
        fact = scene.get(fact_id)
        absent = fact is None or fact.value is None
        reason = (
            f"There is no fact {fact_id}."
            if fact is None
            else f"{fact.label} ({fact_id}) {'has no value' if absent else 'is ' + scene.show(fact)}."
        )
        return (Observation(self.severity, reason, absent, {"fact": fact_id}),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)


@dataclass(frozen=True)
class FindingSeverity:
    """Fires when the analysis has a finding that is severe enough; the event is as severe as the worst.

    :param at_least: the lowest severity that counts: ``info``, ``warning`` or ``critical``.
    :param of_kind: only findings of this kind count (``anomaly``, ``trend``…), by default all.
    :param name: how events name the rule.
    :raises RuleError: if the severity is none of the three.
    """

    kind: ClassVar[str] = "finding_severity"
    facts: ClassVar[tuple[str, ...]] = ()

    at_least: str = "critical"
    of_kind: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        check_severity("FindingSeverity", "at_least", self.at_least)
        check_name("FindingSeverity", self.of_kind)
        check_name("FindingSeverity", self.name)

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""
        of_kind = f" of kind {self.of_kind}" if self.of_kind else ""
        return self.name or f"a finding{of_kind} at least {self.at_least}"

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Look for findings at or over the severity."""
        findings = [f for f in scene.findings if self.of_kind is None or f.kind == self.of_kind]
        least = SEVERITIES.index(self.at_least)
        severe = [finding for finding in findings if finding.severity.rank >= least]
        labels = {"finding": self.of_kind} if self.of_kind else {}
        if not severe:
            reason = f"None of the {len(findings)} findings is {self.at_least} or worse."
            if scene.analysis is None:
                reason = "No model was asked, so there are no findings."
            return (Observation(self.at_least, reason, fired=False, labels=labels),)
        worst = max(severe, key=lambda finding: finding.severity.rank)
        reason = (
            f"{len(severe)} of {len(findings)} findings {'is' if len(severe) == 1 else 'are'} "
            f"{self.at_least} or worse; the worst, {worst.severity.value}: {scene.resolve(worst.title)}"
        )
        return (Observation(worst.severity.value, reason, fired=True, labels=labels),)

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON."""
        return as_json(self, self.kind)

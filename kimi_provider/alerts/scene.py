"""What rules look at: one run's facts, findings and datasets, and what earlier runs saw."""

from __future__ import annotations

import difflib
import fnmatch
import re
from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.alerts.history import History, RunRecord
from kimi_provider.exceptions import RuleError
from kimi_provider.schemas import Fact, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from kimi_provider.alerts.rule import Rule
    from kimi_provider.schemas import Analysis, DatasetRef, Finding

_REFERENCE = re.compile(r"\[\[([A-Za-z0-9_.-]+)(?:\|[^\[\]]*)?\]\]")
_MOST_PLACES = 6
_UNIT_WORDS = {Unit.MINUTES: "min", Unit.SECONDS: "s"}


class Scene:
    """One run, as rules see it.

    :param analysis: what the model made of the data; ``None`` where no model was asked.
    :param facts: further facts by id, usually the whole sheet; an analysis carries only the single
        figures and those that it cites.
    :param datasets: the fetched datasets by name.
    :param history: what runs before this one saw.
    """

    def __init__(
        self,
        analysis: Analysis | None = None,
        facts: Mapping[str, Fact] | None = None,
        *,
        datasets: Mapping[str, DatasetRef] | None = None,
        history: History | None = None,
    ) -> None:
        self.analysis = analysis
        cited = analysis.facts if analysis else ()
        known = {fact.id: fact for fact in cited} | dict(facts or {})
        # A change is a fact of its own in the sheet; where only the figure is at hand, it carries it.
        self._facts = {f.id: f for fact in known.values() for f in _changes(fact)} | known
        self.datasets = dict(datasets or {})
        self.history = history or History()
        self._held: dict[str, bool] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the model found; nothing where no model was asked."""
        return self.analysis.findings if self.analysis else ()

    def get(self, fact_id: str) -> Fact | None:
        """Return the fact with this id, ``None`` if there is none."""
        return self._facts.get(fact_id)

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

    def number(self, fact_id: str, *, asked_by: str) -> tuple[Fact, Decimal | None]:
        """Return a fact that counts or measures something, and its value.

        :raises RuleError: if there is no such fact, or it is text.
        """
        fact = self.fact(fact_id, asked_by=asked_by)
        if isinstance(fact.value, str):
            raise RuleError(
                f"Rule {asked_by!r} compares {fact_id!r} with a number, but its unit is "
                f"{fact.unit.value}. Name a fact that counts or measures something."
            )
        return fact, fact.value

    def matching(self, pattern: str) -> tuple[str, ...]:
        """Return the ids of the facts of a pattern in which ``*`` stands for anything without a dot.

        The baselines and changes of facts are facts too, and have further dots.
        """
        segments = pattern.split(".")

        def fits(fact_id: str) -> bool:
            parts = fact_id.split(".")
            pairs = zip(parts, segments, strict=False)
            return len(parts) == len(segments) and all(fnmatch.fnmatchcase(p, s) for p, s in pairs)

        return tuple(fact_id for fact_id in self._facts if fits(fact_id))

    def dataset(self, name: str, *, asked_by: str) -> DatasetRef:
        """Return a dataset.

        :raises RuleError: if the alert was not given it.
        """
        if name not in self.datasets:
            raise RuleError(
                f"Rule {asked_by!r} looks at the dataset {name!r}, which the alert was not given. It "
                f"has: {', '.join(self.datasets) or 'none'}. Pass datasets={{{name!r}: fetch.output}}."
            )
        return self.datasets[name]

    def hold(self, key: str, *, held: bool) -> int:
        """Note whether a condition holds in this run; return for how many runs in a row it has."""
        self._held[key] = held
        return self.history.streak(key) + 1 if held else 0

    def record(self, rules: Iterable[Rule], at: datetime) -> RunRecord:
        """Return what later runs need to know of this one.

        :param rules: the rules that were shown it.
        :param at: the run's logical date.
        """
        asked = {fact_id for rule in rules for fact_id in rule.facts}
        values = {i: self._facts[i].value for i in sorted(asked) if i in self._facts}
        numbers = {fact_id: value for fact_id, value in values.items() if isinstance(value, Decimal)}
        schemas = {n: {c.name: c.type for c in ref.columns} for n, ref in self.datasets.items()}
        return RunRecord(at=at, facts=numbers, held=dict(self._held), schemas=schemas)

    def show(self, fact: Fact, value: Decimal | None = None, *, beside: Iterable[Decimal] = ()) -> str:
        """Return a fact's value, or a limit in its unit, as plain text, rounded for people.

        :param beside: what it is compared with: it is not rounded so far that it looks the same.
        """
        shown = fact.value if value is None else value
        if shown is None or isinstance(shown, str):
            return shown or "without a value"
        scale = 100 if fact.unit is Unit.PERCENT else 1
        text = _rounded(shown * scale, [one * scale for one in beside])
        if fact.unit is Unit.PERCENT:
            return f"{text}%"
        word = _UNIT_WORDS.get(fact.unit) or fact.unit_label
        return f"{text} {word}" if word else text

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


def plain_number(value: Decimal, places: int = _MOST_PLACES) -> str:
    """Write a number without exponent, to so many places at most."""
    text = f"{value:,.{places}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _rounded(value: Decimal, beside: Iterable[Decimal]) -> str:
    places = min(max(2, 2 - value.adjusted()), _MOST_PLACES) if value.is_finite() else _MOST_PLACES
    text = plain_number(value, places)
    same = any(one != value and plain_number(one, places) == text for one in beside)
    return plain_number(value) if same else text


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

"""Compute the facts that a prompt template declares, over the datasets it was given."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from kimi_provider.analysis.database import Database
from kimi_provider.analysis.facts import compute_facts
from kimi_provider.analysis.grounding import chart_problem
from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.storage import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kimi_provider.analysis.metrics import ComparisonSpec
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.schemas import DatasetRef, Fact, FactSheet
    from kimi_provider.storage import StoragePath


def compute_sheet(
    template: PromptTemplate,
    datasets: Mapping[str, tuple[DatasetRef, StoragePath]],
    parameters: Mapping[str, object],
    *,
    period: str | None,
) -> FactSheet:
    """Compute all facts of a template; opens the datasets' files, so it belongs in a thread.

    :param template: declares the metrics.
    :param datasets: each dataset and its file, by the name that the SQL uses.
    :param parameters: the template's parameters, with their values.
    :param period: name of the period, where one was given in place of the template's.
    :raises ConfigurationError: if the template declares what cannot be computed.
    :raises SourceError: if a dataset is gone.
    """
    front = template.front
    if not front.metrics:
        raise ConfigurationError(
            f"{template.path}: declares no metrics, so there is nothing to write about; "
            "add metrics to its front matter"
        )
    # A name that was given is no pattern.
    given = period and period.replace("{", "{{").replace("}", "}}")
    with ExitStack() as stack:
        files = {}
        for name, (ref, path) in datasets.items():
            try:
                files[name] = stack.enter_context(reading(path))
            except FileNotFoundError:
                raise SourceError(
                    f"The dataset {name!r} is not at {ref.uri} any more; fetch it again"
                ) from None
        database = stack.enter_context(Database(files))
        return compute_facts(
            database,
            front.metrics,
            parameters,
            front.comparisons,
            datasets={name: ref for name, (ref, _) in datasets.items()},
            period=given or front.period,
        )


def check_sheet(template: PromptTemplate, sheet: FactSheet, period: str | None) -> None:
    """Refuse facts without what the template needs and draws.

    :raises ConfigurationError: if it names a fact, a table or a column that there is not.
    :raises SourceError: if a fact that it needs is zero or has no value.
    """
    _check_needs(template, sheet, period)
    for chart in template.front.charts:
        if problem := chart_problem(chart, sheet):
            raise ConfigurationError(f"{template.path}: charts: {chart.title!r}: {problem}")


def single_facts(sheet: FactSheet, comparisons: Iterable[ComparisonSpec]) -> tuple[Fact, ...]:
    """Return the facts that stand alone: neither cells of a table nor made by a comparison."""
    cells = {
        cell
        for table in sheet.tables
        for row in table.rows
        for cell, column in zip(row, table.columns, strict=True)
        if not column.key
    }
    made = tuple(f".{spec.id}{end}" for spec in comparisons for end in ("", ".delta", ".percent"))
    return tuple(fact for fact in sheet.facts if fact.id not in cells and not fact.id.endswith(made))


def _check_needs(template: PromptTemplate, sheet: FactSheet, period: str | None) -> None:
    values = {fact.id: fact.value for fact in sheet.facts}
    for need in template.front.needs:
        if need not in values:
            raise ConfigurationError(
                f"{template.path}: needs: there is no fact {need!r}; facts: "
                f"{', '.join(fact.id for fact in single_facts(sheet, template.front.comparisons))}"
            )
        if not values[need]:
            found = "has no value" if values[need] is None else "is zero"
            raise SourceError(
                f"There is nothing to analyze{f' for {period}' if period else ''}: {need} {found}. "
                "Check the date and what was fetched."
            )

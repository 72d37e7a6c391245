"""Compute the facts that a prompt template declares, over the datasets it was given."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from kimi_provider.analysis.automatic import automatic_sheet
from kimi_provider.analysis.automatic_settings import AutomaticSettings
from kimi_provider.analysis.database import Database
from kimi_provider.analysis.facts import compute_facts
from kimi_provider.analysis.grounding import chart_problem
from kimi_provider.analysis.sheet_csv import compared
from kimi_provider.exceptions import ConfigurationError, NoDataError, SourceError
from kimi_provider.schemas import FactSheet
from kimi_provider.storage import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kimi_provider.analysis.metrics import ComparisonSpec
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.schemas import DatasetRef, Fact
    from kimi_provider.storage import StoragePath


def compute_sheet(
    template: PromptTemplate,
    datasets: Mapping[str, tuple[DatasetRef, StoragePath]],
    parameters: Mapping[str, object],
    *,
    period: str | None,
) -> FactSheet:
    """Compute all facts of a template; opens the datasets' files, so it belongs in a thread.

    Where the template declares no metrics, or asks for it, the facts are those of the automatic profile.

    :param template: declares the metrics.
    :param datasets: each dataset and its file, by the name that the SQL uses.
    :param parameters: the template's parameters, with their values.
    :param period: name of the period, where one was given in place of the template's.
    :raises ConfigurationError: if the template declares what cannot be computed.
    :raises SourceError: if a dataset is gone, or none has a row where all facts are automatic.
    """
    front = template.front
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
        refs = {name: ref for name, (ref, _) in datasets.items()}
        sheet = compute_facts(
            database,
            front.metrics,
            parameters,
            front.comparisons,
            datasets=refs,
            period=given or front.period,
            language=front.language,
        )
        if front.metrics and front.automatic is None:
            return sheet
        settings = (front.automatic or AutomaticSettings()).filled(parameters)
        try:
            profile = automatic_sheet(database, refs, settings, language=front.language or "en")
        except ConfigurationError as error:
            raise ConfigurationError(f"{template.path}: {error}") from None
        return _joined(sheet, profile)


def _joined(sheet: FactSheet, profile: FactSheet) -> FactSheet:
    """Put the profile behind the metrics, which keep their ids; what is at the top they say."""
    taken = {fact.id for fact in sheet.facts}
    tables = {table.id for table in sheet.tables}
    added = (fact for fact in profile.facts if fact.id not in taken)
    if sheet.facts:
        added = (fact.model_copy(update={"kpi": False}) for fact in added)
    return FactSheet(
        facts=(*sheet.facts, *added),
        tables=(*sheet.tables, *(table for table in profile.tables if table.id not in tables)),
    )


def check_sheet(template: PromptTemplate, sheet: FactSheet, period: str | None) -> None:
    """Refuse facts without what the template needs and draws.

    :raises ConfigurationError: if it names a fact, a table or a column that there is not.
    :raises NoDataError: if a fact that it needs is zero or has no value.
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
    ids = {spec.id for spec in comparisons} | compared(sheet)
    made = tuple(f".{name}{end}" for name in ids for end in ("", ".delta", ".percent"))
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
            raise NoDataError(
                f"There is nothing to analyze{f' for {period}' if period else ''}: {need} {found}. "
                "Check the date and what was fetched."
            )

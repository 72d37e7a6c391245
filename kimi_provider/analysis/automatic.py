"""The automatic profile: facts about any datasets, where a template declares no metrics.

It writes metrics, as an author would, and lets them be computed like any others; so each fact has its
SQL, and each change its baseline. What it tells of a dataset: how many rows, the totals and means of its
figures, the last full period against the one before, the periods up to it, what changed most by the
groups that tell most, values and periods far from the rest, and what is missing. However many columns
there are, the facts stay bounded: the first parts of every dataset come before the last ones of any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from itertools import zip_longest
from typing import TYPE_CHECKING

from kimi_provider.analysis.automatic_settings import AutomaticSettings
from kimi_provider.analysis.automatic_words import automatic_words
from kimi_provider.analysis.cells import label_of
from kimi_provider.analysis.column_roles import ColumnTraits, Role, column_roles, quoted
from kimi_provider.analysis.facts import compute_facts
from kimi_provider.analysis.metrics import Metric, MetricColumn
from kimi_provider.analysis.movers import largest_sql, movers_sql, telling_groups
from kimi_provider.analysis.oddities import columns_sql, outliers_sql, unusual_sql
from kimi_provider.analysis.series import AS_OF, find_series, time_column
from kimi_provider.exceptions import NoDataError
from kimi_provider.schemas import FactSheet, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kimi_provider.analysis.database import Database
    from kimi_provider.analysis.metrics import ComparisonSpec
    from kimi_provider.analysis.series import Series
    from kimi_provider.schemas import DatasetRef, Fact

MAX_FACTS = 300
"""Facts of the whole profile, changes against baselines included."""
_MEASURES, _TOLD, _SHOWN = 8, 6, 3  # of a dataset: described, compared, in tables and at the top
_DIMENSIONS, _GROUPS, _COLUMNS, _UNUSUAL = 2, 8, 12, 5
_FULL_COLUMNS = 6
_EXACT_ROWS = 5_000_000
_LONGEST_STEM, _LONGEST_ID = 14, 56  # of 60 characters, so that a number still fits


@dataclass(frozen=True, slots=True)
class _Part:
    """One metric of the profile, and how many facts it may make."""

    metric: Metric
    facts: int


def automatic_sheet(
    database: Database,
    datasets: Mapping[str, DatasetRef],
    settings: AutomaticSettings | None = None,
    *,
    language: str = "en",
    max_facts: int = MAX_FACTS,
) -> FactSheet:
    """Compute the automatic profile of all datasets.

    :param database: the open database over the datasets.
    :param datasets: the datasets by name, for the lineage.
    :param settings: columns and periods, its parameters filled in; what is empty is chosen.
    :param language: what the labels are written in: ``en``, ``pl``; English for others.
    :param max_facts: facts at most, changes against baselines included.
    :raises ConfigurationError: if the settings name a column that no dataset has.
    :raises NoDataError: if no dataset has a row.
    """
    settings = settings or AutomaticSettings()
    settings.check(database.columns)
    words = automatic_words(language)
    counted = {
        name: database.query(f"SELECT count(*) FROM {quoted(name)}").rows[0][0]  # noqa: S608 — quoted
        for name in datasets
    }
    sizes = {name: rows for name, rows in counted.items() if isinstance(rows, int) and rows}
    if not sizes:
        raise NoDataError(
            f"There is nothing to analyze: {', '.join(datasets) or 'no dataset'} has no rows. Check "
            "what was fetched."
        )
    ids = _metric_ids(list(sizes))
    profiles = [
        _Profile(_Table(database, name, ids[name], rows, tuple(datasets)), settings, words, len(sizes))
        for name, rows in sizes.items()
    ]
    chosen: list[list[Metric]] = [[] for _ in profiles]
    left, taken = max_facts, set[str]()
    for parts in zip_longest(*(profile.parts() for profile in profiles)):
        for metrics, part in zip(chosen, parts, strict=True):
            if part is not None and part.facts <= left:
                left -= part.facts
                metrics.append(_with_own_id(part.metric, taken))
    sheets = [
        profile.computed(metrics, datasets, language)
        for profile, metrics in zip(profiles, chosen, strict=True)
    ]
    return FactSheet(
        facts=tuple(fact for sheet in sheets for fact in sheet.facts),
        tables=tuple(table for sheet in sheets for table in sheet.tables if table.rows),
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """A dataset that has rows; ``id`` begins the ids of its facts, ``others`` are all names."""

    database: Database
    name: str
    id: str
    rows: int
    others: tuple[str, ...]


class _Profile:
    """What is to be told of one dataset."""

    def __init__(
        self, table: _Table, settings: AutomaticSettings, words: Mapping[str, str], datasets: int
    ) -> None:
        database, name = table.database, table.name
        self._database, self._name, self._id = database, name, table.id
        self._rows, self._names = table.rows, table.others
        self._words = words
        self._several = datasets > 1
        self._at_top = max(1, _SHOWN // datasets)
        self._most_groups = max(3, _GROUPS // datasets)
        columns = column_roles(database, name, table.rows)
        by_name = {column.name: column for column in columns}
        self._columns = columns
        measures = [by_name[n] for n in settings.measures if n in by_name] or sorted(
            (column for column in columns if column.role is Role.MEASURE), key=lambda c: -c.weight
        )
        self._measures = measures[: max(1, _MEASURES // datasets)]
        groups = [by_name[n] for n in settings.dimensions if n in by_name] or telling_groups(
            database, name, columns, next(iter(measures), None)
        )
        self._groups = groups[:_DIMENSIONS]
        time = by_name.get(settings.date) or time_column(columns)
        self._series = time and find_series(
            database, name, time, grain=settings.grain or None, until=settings.last_day
        )
        self._time = time

    def parts(self) -> Iterator[_Part]:
        """Return the parts, the most important first."""
        yield self._size()
        if self._series:
            yield self._period(self._series)
        for measure in self._measures[:_SHOWN]:
            yield self._measure(measure)
        for group in self._groups[:1]:
            yield self._movers(group)
        if self._series:
            yield self._trend(self._series)
        for group in self._groups[1:]:
            yield self._movers(group)
        if measures := [m for m in self._measures if m.aggregate != "share"]:
            yield self._outliers(measures)
        if self._series:
            yield self._unusual(self._series)
        for measure in self._measures[_SHOWN:]:
            yield self._measure(measure)
        yield self._completeness()

    def computed(
        self, metrics: Sequence[Metric], datasets: Mapping[str, DatasetRef], language: str
    ) -> FactSheet:
        """Compute the parts that there is room for."""
        series = self._series
        sheet = compute_facts(
            self._database,
            metrics,
            series.parameters if series else {},
            self._comparisons(),
            datasets=datasets,
            period=f"{{{AS_OF}}}" if series else None,
            short_ids=False,
            language=language,
        )
        return sheet.model_copy(update={"facts": tuple(map(self._dated, sheet.facts))})

    def _comparisons(self) -> tuple[ComparisonSpec, ...]:
        return self._series.comparisons(self._words) if self._series else ()

    def _dated(self, fact: Fact) -> Fact:
        """Name a fact's period; what is about all of the data has none."""
        of_period = self._series and f"${AS_OF}" in fact.lineage.sql and fact.period
        if not (self._series and of_period):
            return fact.model_copy(update={"period": None})
        return fact.model_copy(
            update={"period": self._series.named(date.fromisoformat(str(fact.period)))}
        )

    # --- parts ---

    def _size(self) -> _Part:
        time = self._time
        dates = f", min({time.quoted}) AS first, max({time.quoted}) AS last" if time else ""
        word = label_of(self._name).lower()
        columns = {"rows": self._count(self._words["rows"].format(name=word), kpi=not self._series)}
        if time:
            for end in ("first", "last"):
                label = self._words[end].format(name=_inside(time.label))
                columns[end] = MetricColumn(label=label, unit=Unit.DATE)
        sql = f"SELECT count(*) AS rows{dates} FROM {quoted(self._name)}"  # noqa: S608
        return self._part("", sql, columns, rows=1)

    def _measure(self, measure: ColumnTraits) -> _Part:
        first = not self._series and measure in self._measures[: self._at_top]
        chosen: list[tuple[str, str | None, bool]] = [(measure.aggregate, None, first)]
        if measure.aggregate == "sum":
            chosen.append(("avg", "avg", False))
        if measure.aggregate != "share":
            chosen += [(name, name, False) for name in ("median", "min", "max")]
        values = ", ".join(f"{measure.expression(sql)} AS {name}" for name, sql, _ in chosen)
        columns = {name: self._figure(measure, name, kpi=kpi) for name, _, kpi in chosen}
        sql = f"SELECT {values} FROM {quoted(self._name)}"  # noqa: S608
        return self._part(f"_{measure.alias}", sql, columns, rows=1)

    def _period(self, series: Series) -> _Part:
        sql = (
            f"SELECT {self._values(self._measures[:_TOLD])}\nFROM {quoted(self._name)}\n"
            f"WHERE {series.bucket()} = {series.current}"
        )
        columns = self._figures(self._measures[:_TOLD], kpis=self._at_top)
        return self._part(
            f"_{series.grain.name}",
            sql,
            columns,
            rows=1,
            compare=[spec.id for spec in self._comparisons()],
        )

    def _trend(self, series: Series) -> _Part:
        grain, told = series.grain.name, self._measures[:_SHOWN]
        sql = (
            f"SELECT {series.bucket()} AS {grain}, {self._values(told)}\nFROM {quoted(self._name)}\n"
            f"WHERE {series.bucket()} BETWEEN $since AND $last GROUP BY ALL ORDER BY {grain}"
        )
        columns = {grain: MetricColumn(label=self._words[grain]), **self._figures(told)}
        label = self._titled(self._words[f"by_{grain}"])
        return self._part(f"_by_{grain}", sql, columns, rows=len(series.starts), key=grain, label=label)

    def _movers(self, group: ColumnTraits) -> _Part:
        told = self._measures[: _SHOWN - 1]
        columns = {group.alias: MetricColumn(label=group.label), **self._figures(told)}
        limit = min(self._most_groups, group.distinct)
        word = "movers" if self._series else "by"
        sql = (
            movers_sql(self._name, group, told, self._series, limit=limit, datasets=self._names)
            if self._series
            else largest_sql(self._name, group, told, limit=limit)
        )
        return self._part(
            f"_by_{group.alias}",
            sql,
            columns,
            rows=limit,
            key=group.alias,
            label=self._titled(self._words[word].format(name=_inside(group.label))),
            compare=[spec.id for spec in self._comparisons()][:1],
        )

    def _outliers(self, measures: Sequence[ColumnTraits]) -> _Part:
        columns = {
            "column_name": MetricColumn(label=self._words["column"]),
            "rows_outside": self._count(self._words["outlier_rows"]),
            "share_outside": MetricColumn(label=self._words["outlier_share"], unit=Unit.PERCENT),
            "typical": MetricColumn(label=self._words["typical"]),
            "usual_from": MetricColumn(label=self._words["usual_from"]),
            "usual_to": MetricColumn(label=self._words["usual_to"]),
        }
        sql = outliers_sql(self._name, measures)
        label = self._titled(self._words["outliers"])
        return self._part("_outliers", sql, columns, rows=len(measures), key="column_name", label=label)

    def _unusual(self, series: Series) -> _Part:
        measure = next(iter(self._measures), None)
        name = _inside(measure.label) if measure else self._words["count"].lower()
        how = self._figure(measure) if measure else self._count(self._words["count"])
        columns = {
            "day": MetricColumn(label=self._words["day"]),
            "value": how.model_copy(update={"label": self._words["value"].format(name=how.label)}),
            "usual": how.model_copy(update={"label": self._words["usual"].format(name=name)}),
        }
        sql = unusual_sql(self._name, measure, series, limit=_UNUSUAL, datasets=self._names)
        label = self._titled(self._words["unusual"].format(name=how.label))
        return self._part("_unusual", sql, columns, rows=_UNUSUAL, key="day", label=label)

    def _completeness(self) -> _Part:
        exact = self._rows <= _EXACT_ROWS
        lacking = sorted(self._columns, key=lambda column: column.filled)[:_COLUMNS]
        # Of columns that lack nothing there is little to say.
        lacking = [c for n, c in enumerate(lacking) if n < _FULL_COLUMNS or c.filled < self._rows]
        columns = {
            "column_name": MetricColumn(label=self._words["column"]),
            "missing": self._count(self._words["missing"]),
            "missing_share": MetricColumn(label=self._words["missing_share"], unit=Unit.PERCENT),
            "different": self._count(self._words["distinct" if exact else "distinct_estimated"]),
        }
        sql = columns_sql(self._name, lacking, exact=exact)
        label = self._titled(self._words["columns"])
        return self._part("_columns", sql, columns, rows=len(lacking), key="column_name", label=label)

    # --- columns ---

    def _part(
        self,
        end: str,
        sql: str,
        columns: dict[str, MetricColumn],
        *,
        rows: int,
        key: str | None = None,
        label: str | None = None,
        compare: Sequence[str] = (),
    ) -> _Part:
        figures = len(columns) - (key is not None)
        metric = Metric(
            id=f"{self._id}{end}"[:_LONGEST_ID],
            sql=sql,
            label=label,
            key=(key,) if key else (),
            compare=tuple(compare),
            columns=columns,
        )
        return _Part(metric, rows * figures * (1 + 3 * len(compare)))

    def _values(self, measures: Sequence[ColumnTraits]) -> str:
        return ", ".join(
            ["count(*) AS rows", *(f"{m.expression()} AS {quoted(m.alias)}" for m in measures)]
        )

    def _figures(self, measures: Sequence[ColumnTraits], kpis: int = 0) -> dict[str, MetricColumn]:
        rows = {"rows": self._count(self._words["count"], kpi=kpis > 0)}
        return rows | {m.alias: self._figure(m, kpi=n < kpis) for n, m in enumerate(measures)}

    def _figure(
        self, measure: ColumnTraits, function: str | None = None, *, kpi: bool = False
    ) -> MetricColumn:
        function = function or measure.aggregate
        return MetricColumn(
            label=self._words[function].format(name=_inside(measure.label)),
            unit=measure.unit,
            unit_label=measure.unit_label,
            good=measure.good if function in {"sum", "avg", "share", "median"} else None,
            kpi=kpi,
        )

    def _count(self, label: str, *, kpi: bool = False) -> MetricColumn:
        return MetricColumn(label=label, unit=Unit.COUNT, kpi=kpi)

    def _titled(self, label: str) -> str:
        name = label_of(self._name).lower()
        return self._words["of"].format(label=label, name=name) if self._several else label


def _inside(label: str) -> str:
    """Return a label as it stands within a sentence: a capital of its own stays (``CPU load``)."""
    first = label.split(" ", 1)[0]
    return label if first[1:] != first[1:].lower() else label[:1].lower() + label[1:]


def _metric_ids(names: Sequence[str]) -> dict[str, str]:
    """Return what the ids of each dataset's metrics begin with, none the beginning of another's."""
    stems = {name: re.sub(r"^[^A-Za-z]+", "", name)[:_LONGEST_STEM] or "data" for name in names}
    lower = [stem.lower() for stem in stems.values()]
    return {
        name: stem if sum(other.startswith(stem.lower()) for other in lower) == 1 else f"{stem}-{number}"
        for number, (name, stem) in enumerate(stems.items(), 1)
    }


def _with_own_id(metric: Metric, taken: set[str]) -> Metric:
    """Return the metric with an id that no other has; ids are compared whatever their case."""
    own, number = metric.id, 2
    while own.lower() in taken:
        own, number = f"{metric.id}-{number}", number + 1
    taken.add(own.lower())
    return metric.model_copy(update={"id": own})

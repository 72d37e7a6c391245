"""Compute a template's metrics into facts with ids: the only figures that a report may hold."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

from kimi_provider.analysis.cells import (
    TEXT_LIMIT,
    key_of,
    label_of,
    name_slug,
    plain,
    row_slugs,
    shown,
    unit_of,
    value_of,
)
from kimi_provider.analysis.metrics import MetricColumn, period_text, shifted
from kimi_provider.analysis.sanitize import one_line
from kimi_provider.analysis.sheet_csv import facts_csv, tables_csv
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import Comparison, Fact, FactSheet, FactTable, Lineage, TableColumn, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.analysis.cells import Key
    from kimi_provider.analysis.database import Database, QueryResult
    from kimi_provider.analysis.metrics import ComparisonSpec, Metric
    from kimi_provider.schemas import DatasetRef

__all__ = ["MAX_TABLE_ROWS", "compute_facts", "facts_csv", "tables_csv"]

MAX_TABLE_ROWS = 200
"""Rows that one metric may return."""

_TEXTUAL = {Unit.TEXT, Unit.DATE}
# Enough for the difference of two of DuckDB's widest decimals to be exact.
_PRECISION = 80


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of a result: where it is, and how it is printed."""

    index: int
    name: str
    label: str
    unit: Unit
    declared: MetricColumn
    key: bool


@dataclass(frozen=True, slots=True)
class _Baseline:
    """What a comparison's run of the SQL returned, and the period it is about."""

    spec: ComparisonSpec
    period: str | None
    rows: Mapping[Key, tuple[object, ...]]


def compute_facts(
    database: Database,
    metrics: Sequence[Metric],
    parameters: Mapping[str, object],
    comparisons: Sequence[ComparisonSpec] = (),
    *,
    datasets: Mapping[str, DatasetRef],
    period: str | None = None,
    max_table_rows: int = MAX_TABLE_ROWS,
    short_ids: bool = True,
    language: str | None = None,
) -> FactSheet:
    """Run each metric's SQL, and once more for each comparison; return the facts and tables.

    :param database: the open database over the datasets.
    :param metrics: what to compute, in the order of the facts.
    :param parameters: typed values; bound, never formatted into SQL.
    :param comparisons: the comparisons that the template declares.
    :param datasets: the datasets by name, for the lineage.
    :param period: how the period is named; ``{name}`` in it stands for a parameter, so that each
        baseline's period is named with the shifted parameters.
    :param max_table_rows: rows that one metric may return.
    :param short_ids: whether the only column of a metric without key has the metric's id as it is.
    :param language: what the labels of changes are written in: ``pl``; English for others.
    :raises ConfigurationError: if a metric's SQL fails or returns what it may not, or two metrics
        have one id. The message names the metric.
    """
    for name, count in Counter(metric.id for metric in metrics).items():
        if count > 1:
            raise ConfigurationError(f"Two metrics have the id '{name}': rename one.")
    hashes = {name: ref.sha256 for name, ref in datasets.items()}
    facts: list[Fact] = []
    tables: list[FactTable] = []
    for metric in metrics:
        run = _MetricRun(
            database, metric, max_table_rows, period, hashes, short_ids, _change_words(language)
        )
        computed, table = run.compute(parameters, metric.chosen(comparisons))
        facts += computed
        if table is not None:
            tables.append(table)
    return FactSheet(facts=tuple(facts), tables=tuple(tables))


@dataclass(frozen=True, slots=True)
class _MetricRun:
    """Computes the facts of one metric."""

    database: Database
    metric: Metric
    max_rows: int
    period: str | None
    hashes: Mapping[str, str]
    short_ids: bool
    words: tuple[str, str]

    def compute(
        self, parameters: Mapping[str, object], comparisons: Sequence[ComparisonSpec]
    ) -> tuple[list[Fact], FactTable | None]:
        """Return the metric's facts, derived ones included, and its table where it has a key."""
        result = self._query(parameters)
        columns = self._columns(result)
        rows = self._by_key(result, columns)
        if not self.metric.key and not rows:
            raise self._error(
                "returned no row, where one is needed: let its SQL aggregate, or check that the data "
                "has what it selects"
            )
        read = {name: self.hashes[name] for name in sorted(result.datasets & self.hashes.keys())}
        lineage = Lineage(sql=_documented(self.metric.sql, parameters), datasets=read)
        period = period_text(self.period, parameters)
        baselines = [self._baseline(spec, parameters, columns) for spec in comparisons]
        facts: list[Fact] = []
        table_rows: list[tuple[str, ...]] = []
        slugs = row_slugs(list(rows))
        for key, row in rows.items():
            names = iter(shown(key))
            line = []
            for column in columns:
                if column.key:
                    line.append(next(names))
                    continue
                fact_id = self._fact_id(column, columns, slugs[key])
                fact = self._fact(fact_id, column, row, key, period=period, lineage=lineage)
                facts += self._with_changes(fact, column, key, baselines)
                line.append(fact.id)
            table_rows.append(tuple(line))
        if not self.metric.key:
            return facts, None
        return facts, FactTable(
            id=self.metric.id,
            label=self.metric.label or label_of(self.metric.id),
            columns=tuple(_table_column(column) for column in columns),
            rows=tuple(table_rows),
            lineage=lineage,
        )

    def _query(self, parameters: Mapping[str, object], during: str = "") -> QueryResult:
        try:
            result = self.database.query(self.metric.sql, parameters, self.max_rows)
        except ConfigurationError as error:
            raise ConfigurationError(f"Metric '{self.metric.id}'{during}: {error}") from None
        if result.truncated:
            raise self._error(
                f"returned more than {self.max_rows} rows{during}: add a LIMIT to its SQL, or group "
                "into fewer rows"
            )
        return result

    def _columns(self, result: QueryResult) -> list[_Column]:
        names = [name for name, _ in result.columns]
        listed = ", ".join(names)
        for wanted in (*self.metric.columns, *self.metric.key):
            if wanted not in names:
                raise self._error(
                    f"declares the column '{wanted}', which its SQL does not have. It returns: {listed}"
                )
        slugs = [name_slug(name) for name in names]
        for name, slug in zip(names, slugs, strict=True):
            if not slug or slugs.count(slug) > 1:
                raise self._error(
                    f"returns a column '{name}' whose name is not usable or not unique: name it with AS"
                )
        columns = []
        for index, (name, kind) in enumerate(result.columns):
            declared = self.metric.columns.get(name) or MetricColumn()
            key = name in self.metric.key
            inferred = unit_of(kind)
            unit = declared.unit or (inferred if inferred in _TEXTUAL or not key else Unit.TEXT)
            label = declared.label or label_of(name)
            columns.append(_Column(index, name, label, unit, declared, key))
        if all(column.key for column in columns):
            raise self._error("returns no column besides its key")
        return columns

    def _by_key(
        self, result: QueryResult, columns: Sequence[_Column], during: str = ""
    ) -> dict[Key, tuple[object, ...]]:
        """Rows by the texts of their key columns; without key columns, all have the key ``()``."""
        keys = [column for column in columns if column.key]
        rows: dict[Key, tuple[object, ...]] = {}
        for row in result.rows:
            key = tuple(key_of(row[column.index]) for column in keys)
            if key in rows and not keys:
                raise self._error(
                    f"returned {len(result.rows)} rows{during}, where one is expected: name the "
                    "columns that tell rows apart as its key, or let its SQL return one row"
                )
            if key in rows:
                raise self._error(
                    f"returned two rows with the key '{', '.join(shown(key))}'{during}: group by "
                    f"{', '.join(self.metric.key)}, or add a column to the key"
                )
            rows[key] = row
        return rows

    def _baseline(
        self, spec: ComparisonSpec, parameters: Mapping[str, object], columns: Sequence[_Column]
    ) -> _Baseline:
        during = f" in the comparison '{spec.id}'"
        moved = shifted(parameters, spec)
        rows = self._by_key(self._query(moved, during), columns, during)
        return _Baseline(spec, period_text(self.period, moved), rows)

    def _fact_id(self, column: _Column, columns: Sequence[_Column], slug: str) -> str:
        parts = [self.metric.id, slug] if self.metric.key else [self.metric.id]
        if self.metric.key or len(columns) > 1 or not self.short_ids:
            parts.append(name_slug(column.name))
        return ".".join(parts)

    def _fact(
        self,
        fact_id: str,
        column: _Column,
        row: tuple[object, ...],
        key: Key,
        *,
        period: str | None,
        lineage: Lineage,
    ) -> Fact:
        declared = column.declared
        label = f"{column.label} — {', '.join(shown(key))}" if key else column.label
        return Fact(
            id=fact_id,
            label=label,
            value=self._value(column, row[column.index]),
            unit=column.unit,
            unit_label=declared.unit_label,
            decimals=declared.decimals,
            format=declared.format,
            good=declared.good,
            kpi=declared.kpi,
            period=period,
            lineage=lineage,
        )

    def _value(self, column: _Column, raw: object) -> Decimal | str | None:
        try:
            value = value_of(raw)
        except TypeError:
            raise self._error(
                f"returns a {type(raw).__name__} in the column '{column.name}': cast it to a number, a "
                "text or a date"
            ) from None
        if isinstance(value, Decimal) and column.unit is Unit.TEXT:
            return plain(value)
        if (isinstance(value, str) and column.unit not in _TEXTUAL) or (
            isinstance(value, Decimal) and column.unit is Unit.DATE
        ):
            raise self._error(
                f"returns {str(raw)[:40]!r} in the column '{column.name}', which does not fit its unit "
                f"'{column.unit}'"
            )
        return value

    def _with_changes(
        self, fact: Fact, column: _Column, key: Key, baselines: Sequence[_Baseline]
    ) -> list[Fact]:
        """Return the fact with its comparisons, followed by the facts that these make.

        The derived facts exist on every day, with no value where there is no baseline: a rule that
        names one must not fail because yesterday was empty.
        """
        if column.unit in _TEXTUAL:
            return [fact]
        comparisons = []
        derived = []
        for baseline in baselines:
            row = baseline.rows.get(key)
            before = None if row is None else self._value(column, row[column.index])
            delta = percent = None
            if isinstance(fact.value, Decimal) and isinstance(before, Decimal):
                with localcontext(prec=_PRECISION):
                    delta = fact.value - before
                percent = delta / abs(before) if before else None
                comparisons.append(_comparison(baseline.spec, before, delta, percent))
            base = f"{fact.id}.{baseline.spec.id}"
            name = f"{fact.label}, {baseline.spec.label}"
            change, percentage = self.words
            change = change.format(fact=fact.label, baseline=baseline.spec.label)
            bare = fact.model_copy(update={"kpi": False})
            derived += [
                bare.model_copy(
                    update={"id": base, "label": name, "value": before, "period": baseline.period}
                ),
                bare.model_copy(
                    update={"id": f"{base}.delta", "label": change, "value": delta, "change": True}
                ),
                bare.model_copy(
                    update={
                        "id": f"{base}.percent",
                        "label": percentage.format(change=change),
                        "value": percent,
                        "unit": Unit.PERCENT,
                        "unit_label": None,
                        "decimals": None,
                        "format": None,
                        "change": True,
                    }
                ),
            ]
        return [fact.model_copy(update={"comparisons": tuple(comparisons)}), *derived]

    def _error(self, text: str) -> ConfigurationError:
        return ConfigurationError(f"Metric '{self.metric.id}' {text}.")


def _change_words(language: str | None) -> tuple[str, str]:
    """Return how a change is called, and how it is called in percent."""
    if (language or "").partition("-")[0] == "pl":
        return "{fact}, zmiana ({baseline})", "{change}, w procentach"
    return "{fact}, change against {baseline}", "{change}, in percent"


def _comparison(
    spec: ComparisonSpec, before: Decimal, delta: Decimal, percent: Decimal | None
) -> Comparison:
    return Comparison(
        id=spec.id,
        label=spec.label,
        baseline=before,
        delta=delta,
        percent=None if percent is None else float(percent),
        direction="up" if delta > 0 else "down" if delta < 0 else "flat",
    )


def _table_column(column: _Column) -> TableColumn:
    return TableColumn(
        name=column.name,
        label=column.label,
        unit=column.unit,
        unit_label=column.declared.unit_label,
        decimals=column.declared.decimals,
        format=column.declared.format,
        key=column.key,
    )


def _documented(sql: str, parameters: Mapping[str, object]) -> str:
    """Add to the SQL the values of the parameters that it names, as a comment."""
    used = [n for n in parameters if re.search(rf"\${re.escape(n)}(?![A-Za-z0-9_])", sql)]
    values = ", ".join(f"${name} = {one_line(str(parameters[name]), TEXT_LIMIT)}" for name in used)
    return f"{sql.strip()}\n-- {values}" if values else sql.strip()

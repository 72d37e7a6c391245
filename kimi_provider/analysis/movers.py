"""Which groups of an unknown table moved most: the dimension that tells most, and its top movers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.analysis.column_roles import ColumnTraits, Role, free_names, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.database import Database
    from kimi_provider.analysis.series import Series

_MAX_CANDIDATES = 8


def telling_groups(
    database: Database,
    table: str,
    columns: Sequence[ColumnTraits],
    measure: ColumnTraits | None,
) -> list[ColumnTraits]:
    """Order the columns that group the rows by how much they tell, the most first.

    What tells is the share of the measure's variance that lies between the groups (η²), less what as
    many groups would take by chance; without a measure, how even and how few the groups are.
    """
    groups = [column for column in columns if column.role is Role.GROUP][:_MAX_CANDIDATES]
    scores = {group.name: _told(database, table, group, measure) for group in groups}
    return sorted(groups, key=lambda group: -scores[group.name])


def movers_sql(
    table: str,
    group: ColumnTraits,
    measures: Sequence[ColumnTraits],
    series: Series,
    *,
    limit: int,
    datasets: Sequence[str],
) -> str:
    """Return the SQL of the groups that changed most from the period before, as of ``$as_of``.

    Which groups they are is decided by ``$last`` and ``$previous`` alone, so that the same rows come
    back when ``$as_of`` is shifted; one that vanished stands there too.

    :param measures: the first is what they are ordered by; without any, the number of rows.
    :param limit: how many groups.
    :param datasets: names that the SQL's own parts must not have.
    """
    around, chosen, part = free_names(3, datasets)
    first = measures[0] if measures else None
    key = f"CAST({group.quoted} AS VARCHAR)"
    value = f"CAST({first.quoted} AS DOUBLE)" if first else "1"
    finite = "" if first is None or first.finite else f" AND isfinite({value})"
    values = "".join(
        f", {measure.expression(table=f'{part}.')} AS {quoted(measure.alias)}" for measure in measures
    )
    return (
        f"WITH {around} AS (\n"  # noqa: S608 — quoted
        f"  SELECT {key} AS name, {series.bucket()} = $last AS now, {value} AS value\n"
        f"  FROM {quoted(table)}\n"
        f"  WHERE {group.quoted} IS NOT NULL AND {series.bucket()} IN ($last, $previous){finite}\n"
        f"), {chosen} AS (\n"
        f"  SELECT name FROM {around} GROUP BY name\n"
        f"  ORDER BY abs({_effect(first)}) DESC NULLS LAST, name LIMIT {limit}\n)\n"
        f"SELECT {chosen}.name AS {quoted(group.alias)}, "
        f"count({part}.{series.column.quoted}) AS rows{values}\n"
        f"FROM {chosen} LEFT JOIN {quoted(table)} AS {part}\n"
        f"  ON CAST({part}.{group.quoted} AS VARCHAR) = {chosen}.name\n"
        f"  AND {series.bucket(f'{part}.')} = {series.current}\n"
        f"GROUP BY {chosen}.name ORDER BY {chosen}.name"
    )


def largest_sql(table: str, group: ColumnTraits, measures: Sequence[ColumnTraits], *, limit: int) -> str:
    """Return the SQL of the largest groups, where there is no time to move in."""
    values = "".join(f", {m.expression()} AS {quoted(m.alias)}" for m in measures)
    first = next((m for m in measures if m.aggregate == "sum"), None)
    order = f"{first.expression()} DESC NULLS LAST" if first else "count(*) DESC"
    return (
        f"SELECT CAST({group.quoted} AS VARCHAR) AS {quoted(group.alias)}, count(*) AS rows{values}\n"
        f"FROM {quoted(table)} WHERE {group.quoted} IS NOT NULL\n"
        f"GROUP BY ALL ORDER BY {order}, 1 LIMIT {limit}"
    )


def _effect(measure: ColumnTraits | None) -> str:
    """Return the SQL of how much a group changed: a mean counts by the rows that carry it."""
    if measure is None or measure.aggregate == "sum":
        return "coalesce(sum(value) FILTER (now), 0) - coalesce(sum(value) FILTER (NOT now), 0)"
    rows = "least(count(value) FILTER (now), count(value) FILTER (NOT now))"
    return f"(avg(value) FILTER (now) - avg(value) FILTER (NOT now)) * {rows}"


def _told(database: Database, table: str, group: ColumnTraits, measure: ColumnTraits | None) -> float:
    if measure is None:
        even = database.query(
            f"SELECT entropy({group.quoted}) FROM {quoted(table)} WHERE {group.quoted} IS NOT NULL"  # noqa: S608
        ).rows[0][0]
        return float(str(even or 0)) / group.distinct
    value = f"CAST({measure.quoted} AS DOUBLE)"
    within = (
        f"SELECT count(*) AS n, avg({value}) AS mean, var_pop({value}) AS spread "  # noqa: S608
        f"FROM {quoted(table)} WHERE {group.quoted} IS NOT NULL AND {measure.quoted} IS NOT NULL "
        f"AND isfinite({value}) GROUP BY {group.quoted}"
    )
    rows = database.query(
        f"SELECT sum(n), sum(n * spread), sum(n * mean * mean), sum(n * mean) FROM ({within}) AS g"  # noqa: S608
    ).rows
    total, inside, squares, summed = (float(str(value or 0)) for value in rows[0])
    if not total:
        return 0.0
    between = squares - summed * summed / total
    spread = inside + between
    return between / spread - (group.distinct - 1) / total if spread > 0 else 0.0

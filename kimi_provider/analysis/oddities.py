"""SQL of what is odd in an unknown table: values and days far from the rest, and what is missing.

Far is what lies more than 3.5 robust standard deviations from the median, of which the median absolute
deviation is 0.6745 (Iglewicz and Hoaglin's modified z-score): outliers do not move it, as they would a
mean. Where more than half of the values are the same, there is no such deviation, and nothing is odd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.analysis.column_roles import free_names, literal, quoted
from kimi_provider.analysis.series import bucket_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.column_roles import ColumnTraits
    from kimi_provider.analysis.series import Series

_LEAST_DAYS = 10


def outliers_sql(table: str, measures: Sequence[ColumnTraits]) -> str:
    """Return the SQL of a row for each measure: how many values lie outside the usual range."""
    return "\nUNION ALL\n".join(_outliers_of(table, measure) for measure in measures)


def unusual_sql(
    table: str, measure: ColumnTraits | None, series: Series, *, limit: int, datasets: Sequence[str]
) -> str:
    """Return the SQL of the days, up to the last period's end, whose figure is far from the usual.

    :param measure: the figure; without one, the number of rows.
    :param limit: how many days, the oddest first.
    :param datasets: names that the SQL's own parts must not have.
    """
    (days,) = free_names(1, datasets)
    value = measure.expression() if measure else "count(*)"
    distance = "abs(value - usual)"
    return (
        f"WITH {days} AS (\n"  # noqa: S608 — quoted
        f"  SELECT {bucket_of('day', series.column.quoted)} AS day, CAST({value} AS DOUBLE) AS value\n"
        f"  FROM {quoted(table)} WHERE {series.bucket()} <= $last GROUP BY ALL\n)\n"
        f"SELECT day, value, usual FROM {days}, (\n"
        "  SELECT median(value) AS usual, 3.5 * mad(value) / 0.6745 AS spread, count(*) AS days\n"
        f"  FROM {days}) AS typical\n"
        f"WHERE days >= {_LEAST_DAYS} AND spread > 0 AND {distance} > spread\n"
        f"ORDER BY {distance} DESC, day LIMIT {limit}"
    )


def columns_sql(table: str, columns: Sequence[ColumnTraits], *, exact: bool) -> str:
    """Return the SQL of a row for each column: what is missing, and how many values differ.

    :param exact: count the different values; else estimate them, which large tables need.
    """
    different = "count(DISTINCT {})" if exact else "approx_count_distinct({})"
    return "\nUNION ALL\n".join(
        f"SELECT {literal(column.name)} AS column_name, count(*) - count({column.quoted}) AS missing, "  # noqa: S608
        f"(count(*) - count({column.quoted})) / count(*) AS missing_share, "
        f"{different.format(column.quoted)} AS different FROM {quoted(table)}"
        for column in columns
    )


def _outliers_of(table: str, measure: ColumnTraits) -> str:
    value = f"CAST({measure.quoted} AS DOUBLE)"
    values = f"SELECT {value} AS value FROM {quoted(table)} WHERE isfinite({value})"  # noqa: S608 — quoted
    outside = "count(*) FILTER (abs(value - middle) > spread)"
    return (
        f"SELECT {literal(measure.name)} AS column_name, {outside} AS rows_outside, "  # noqa: S608
        f"{outside} / count(*) AS share_outside, middle AS typical, "
        "middle - spread AS usual_from, middle + spread AS usual_to\n"
        f"FROM ({values}) AS each_value, (SELECT median(value) AS middle, "
        f"3.5 * mad(value) / 0.6745 AS spread FROM ({values}) AS all_values) AS typical\n"
        "WHERE spread > 0 GROUP BY middle, spread"
    )

"""What is in a dataset, small enough to travel in a ``DatasetRef``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.schemas import Column, TopValue
from kimi_provider.sources.scratch import one_row, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

_TOP_VALUES = 5
_LONGEST_TEXT = 80
# Beyond these, exact answers cost more than they tell.
_EXACT_ROWS = 100_000
_COUNTABLE_VALUES = 10_000
# Keeps the profile of a very wide table small.
_COLUMNS_WITH_TOP = 60


def profile(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str]
) -> tuple[Column, ...]:
    """Describe each column of a table.

    :param table: a table or view.
    :param columns: DuckDB type of each column.

    ``distinct`` is exact up to 100,000 rows, and estimated (by a few percent) beyond. ``top`` has the
    five most frequent values that occur more than once; it is left out for columns of more than
    about 10,000 different values, and behind the sixtieth column. Texts are cut at 80 characters.
    """
    (rows,) = one_row(connection, f"SELECT count(*) FROM {table}")  # noqa: S608 — a name of ours
    count = "count(DISTINCT {})" if rows <= _EXACT_ROWS else "approx_count_distinct({})"
    described = []
    for position, (name, kind) in enumerate(columns.items()):
        column = quoted(name)
        # Texts are cut before they are compared, or one long text would be held for each group.
        values, distinct, minimum, maximum = one_row(
            connection,
            f"""
            SELECT count({column}), {count.format(column)},
                left(CAST(min({column}) AS VARCHAR), {_LONGEST_TEXT + 1}),
                left(CAST(max({column}) AS VARCHAR), {_LONGEST_TEXT + 1})
            FROM {table}
            """,  # noqa: S608 — the name is quoted
        )
        countable = position < _COLUMNS_WITH_TOP and distinct <= min(
            _COUNTABLE_VALUES, max(values - 1, 0)
        )
        described.append(
            Column(
                name=name,
                type=kind,
                nulls=rows - values,
                distinct=distinct,
                minimum=_cut(minimum),
                maximum=_cut(maximum),
                top=_top(connection, table, column) if countable else (),
            )
        )
    return tuple(described)


def _top(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> tuple[TopValue, ...]:
    rows = connection.execute(
        f"""
        SELECT left(CAST({column} AS VARCHAR), {_LONGEST_TEXT + 1}), count(*) AS times FROM {table}
        WHERE {column} IS NOT NULL GROUP BY {column} HAVING times > 1
        ORDER BY times DESC, {column} LIMIT {_TOP_VALUES}
        """  # noqa: S608 — the name is quoted
    ).fetchall()
    return tuple(TopValue(value=_cut(value) or "", count=times) for value, times in rows)


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= _LONGEST_TEXT:
        return text
    return text[: _LONGEST_TEXT - 1] + "…"

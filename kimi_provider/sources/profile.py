"""What is in a dataset, small enough to travel in a ``DatasetRef``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.schemas import Column, TopValue
from kimi_provider.sources.scratch import one_row, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import duckdb

_TOP_VALUES = 5
_LONGEST_TEXT = 80
# Beyond these, exact answers cost more than they tell.
_EXACT_ROWS = 100_000
_COUNTABLE = 10_000
_COLUMNS_AT_ONCE = 25
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
    described: list[Column] = []
    for batch in _batches(list(columns.items())):
        # Texts are cut before they leave DuckDB: a single one can have megabytes.
        selected = ", ".join(
            f"count({c}), {count.format(c)}, {_start(f'min({c})')}, {_start(f'max({c})')}"
            for c in (quoted(name) for name, _ in batch)
        )
        found = iter(one_row(connection, f"SELECT {selected} FROM {table}"))  # noqa: S608 — quoted
        for (name, kind), (values, distinct, minimum, maximum) in zip(
            batch, zip(*[found] * 4, strict=True), strict=True
        ):
            repeated = len(described) < _COLUMNS_WITH_TOP and distinct <= min(_COUNTABLE, values)
            described.append(
                Column(
                    name=name,
                    type=kind,
                    nulls=rows - values,
                    distinct=distinct,
                    minimum=_cut(minimum),
                    maximum=_cut(maximum),
                    top=_top(connection, table, quoted(name)) if repeated else (),
                )
            )
    return tuple(described)


def _batches(columns: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Split the columns: a query a column reads a wide file's index a thousand times."""
    for start in range(0, len(columns), _COLUMNS_AT_ONCE):
        yield columns[start : start + _COLUMNS_AT_ONCE]


def _start(value: str) -> str:
    return f"left(CAST({value} AS VARCHAR), {_LONGEST_TEXT + 1})"


def _top(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> tuple[TopValue, ...]:
    rows = connection.execute(
        f"""
        SELECT {_start(column)}, count(*) AS times FROM {table}
        WHERE {column} IS NOT NULL GROUP BY {column} HAVING times > 1
        ORDER BY times DESC, {column} LIMIT {_TOP_VALUES}
        """  # noqa: S608 — the name is quoted
    ).fetchall()
    return tuple(TopValue(value=_cut(value) or "", count=times) for value, times in rows)


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= _LONGEST_TEXT:
        return text
    return text[: _LONGEST_TEXT - 1] + "…"

"""The part of a source that an incremental reading sees, and the watermark that it reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.exceptions import SourceError
from kimi_provider.sources.inference import value_of
from kimi_provider.sources.scratch import literal, one_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from kimi_provider.sources.inference import Raw

_MOST_NAMED = 50
_WITHOUT_ORDER = frozenset({"VARCHAR", "BOOLEAN"})


@dataclass(frozen=True)
class Window:
    """Where an incremental reading begins and ends.

    :param column: by whose values it goes.
    :param since: the watermark that the reading before reached, as the source wrote it; ``None`` where
        there was none.
    :param until: the highest value to keep: where this very reading ended before, if it is repeated.
    """

    column: str
    since: str | None = None
    until: str | None = None


def bounded(
    connection: duckdb.DuckDBPyConnection,
    window: Window,
    columns: Mapping[str, Raw],
    kinds: Mapping[str, str],
    *,
    asked: Mapping[str, str],
) -> tuple[str, str | None]:
    """Return the SQL condition for rows of ``raw`` inside a window, and the watermark after them.

    :param columns: the columns of ``raw``, by name.
    :param kinds: DuckDB type of each column.
    :param asked: types that were asked for.
    :raises SourceError: if there is no such column, or its values have no order.

    The watermark is the highest value as the source wrote it, so that it can be sent back; it is never
    below ``since``.
    """
    if window.column not in columns:
        there = ", ".join(map(repr, list(columns)[:_MOST_NAMED]))
        raise SourceError(
            f"There is no column {window.column!r} for the incremental reading to go by, but {there}."
        )
    kind, raw = kinds[window.column], columns[window.column]
    text, value = value_of(raw, "VARCHAR"), value_of(raw, kind)
    (values,) = one_row(connection, f"SELECT count({text}) FROM raw")  # noqa: S608 — a name of ours
    if values and kind in _WITHOUT_ORDER and window.column not in asked:
        raise SourceError(
            f"The column {window.column!r} is {kind}: its values are not all numbers, dates or times of "
            "one form, so which is the highest is not known. Correct them at the source, or, if the "
            "texts sort by age, ask for VARCHAR in types."
        )
    within = "true"
    if window.until is not None:
        end = _bound(connection, window, window.until, kind)
        within = f"({text} IS NULL OR {value} <= {end})"
    found = f"SELECT {text} AS t, {value} AS v FROM raw WHERE {within}"  # noqa: S608 — the same
    if window.since is not None:
        start = _bound(connection, window, window.since, kind)
        found += f" UNION ALL SELECT {literal(window.since)}, {start}"
    (watermark,) = one_row(connection, f"SELECT max_by(t, v) FROM ({found})")  # noqa: S608 — the same
    return within, watermark


def latest(watermarks: Sequence[str], kind: str) -> str:
    """Return the highest of several watermarks.

    :param watermarks: as the source wrote them.
    :param kind: DuckDB type of their column.
    """
    import duckdb

    values = ", ".join(f"({literal(text)}, TRY_CAST({literal(text)} AS {kind}))" for text in watermarks)
    with duckdb.connect() as connection:
        (highest,) = one_row(connection, f"SELECT max_by(t, v) FROM (VALUES {values}) AS w (t, v)")  # noqa: S608
    return str(highest)


def _bound(connection: duckdb.DuckDBPyConnection, window: Window, text: str, kind: str) -> str:
    """Return SQL for a bound of the window."""
    if kind in _WITHOUT_ORDER:
        return literal(text)
    cast = f"TRY_CAST({literal(text)} AS {kind})"
    (unfit,) = one_row(connection, f"SELECT {cast} IS NULL")
    if unfit:
        raise SourceError(
            f"The watermark {text!r} is no {kind}, which the column {window.column!r} is now. Set types "
            "for it, or start anew by giving the task another id."
        )
    return cast

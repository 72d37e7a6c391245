"""Types guessed from the first rows, and SQL that fails at the first value that tells otherwise.

To find the types over all rows before the first is written takes two passes. Mostly the first rows
have it right, so one pass writes by them and checks each value on the way. It either gives the very
types that :mod:`kimi_provider.sources.inference` finds over all rows, or none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kimi_provider.sources.inference import (
    EXPONENT,
    FRACTION,
    TEXT_FORMS,
    WHOLE,
    column_types,
    held,
    misfits,
    value_of,
)
from kimi_provider.sources.scratch import one_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from kimi_provider.sources.inference import Raw

_FIRST_ROWS = 4_096
_TRUE = "true"
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_NUMBER = f"({WHOLE}|{FRACTION}|{EXPONENT})"


def guessed(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, Raw],
    asked: Mapping[str, str],
) -> dict[str, tuple[str, str]] | None:
    """Return the type of each column, and SQL for its values that fails at one which tells otherwise.

    :param table: of the raw values.
    :param columns: by name.
    :param asked: types that are not to be found, but taken.
    :returns: ``None`` if the first rows do not tell.
    :raises ConfigurationError: if a type asked for is none.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE first_rows AS FROM {table} LIMIT {_FIRST_ROWS}")
    kinds = column_types(connection, "first_rows", columns, asked)
    values: dict[str, tuple[str, str]] = {}
    for name, raw in columns.items():
        kind = kinds[name]
        fits = _fits_asked(raw, kind) if name in asked else _fits(connection, raw, kind)
        if fits is None:
            return None
        value = value_of(raw, kind)
        if fits != _TRUE:
            value = (
                f"CASE WHEN {raw.written} IS NULL THEN NULL WHEN {fits} THEN {value} "
                "ELSE error('another type') END"
            )
        values[name] = kind, value
    return values


def _fits_asked(raw: Raw, kind: str) -> str:
    if kind == "VARCHAR":
        return _TRUE
    fits = f"NOT {misfits(raw, kind)}"
    return f"{_is_whole(raw)} OR {fits}" if kind == "BIGINT" else fits


def _fits(connection: duckdb.DuckDBPyConnection, raw: Raw, kind: str) -> str | None:
    """Return the condition under which a value, with more like it, leaves a type that was found."""
    written = raw.written
    if kind in TEXT_FORMS:
        return f"regexp_full_match({raw.text}, '{TEXT_FORMS[kind]}')"
    if found := _DECIMAL.fullmatch(kind):
        width, places = map(int, found.groups())
        digits = f"-?(0|[1-9][0-9]{{0,{width - places - 1}}})" if width > places else "-?0"
        return f"regexp_full_match({written}, '{digits}(\\.[0-9]{{1,{places}}})?')" if places else None
    if kind == "VARCHAR":
        values, numbers = one_row(
            connection,
            f"SELECT count({written}), count_if(regexp_full_match({written}, '{_NUMBER}')) "  # noqa: S608
            "FROM first_rows",
        )
        if not values:
            return "false"
        # One value that is no number settles it: no others could make the column anything but text.
        return _TRUE if numbers < values else None
    return {
        "BIGINT": _is_whole(raw),
        "BOOLEAN": f"lower({written}) IN ('true', 'false')",
        # A fraction with more digits could make a decimal of the column.
        "DOUBLE": f"(regexp_full_match({written}, '{EXPONENT}') OR (regexp_full_match({written}, "
        f"'{_NUMBER}') AND {held(written)})) AND NOT {misfits(raw, kind)}",
    }[kind]


def _is_whole(raw: Raw) -> str:
    return f"{raw.written} = CAST(TRY_CAST({raw.written} AS BIGINT) AS VARCHAR)"

"""The hash of a dataset's content: equal for equal data, whatever source and file it came from."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.sources.scratch import one_row, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_LARGEST_WHOLE = "9e18"
_DOUBLE_DIGITS = 15
_HALF = (1 << 64) - 1


def content_hash(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, str],
    nulls: Mapping[str, int],
) -> tuple[int, str]:
    """Return how many rows a table has, and the SHA-256 of its content.

    :param table: a table or view.
    :param columns: DuckDB type of each column.
    :param nulls: nulls of each column.

    The hash is over the columns' names, their kinds (a number is a number, whether it is stored as
    ``BIGINT``, ``DECIMAL`` or ``DOUBLE``) and the multiset of rows. It does not depend on the order
    of rows or columns: databases and APIs promise none. A row's hash is an MD5, taken for its spread
    and not for secrecy; the sums of both halves over all rows go into the SHA-256, so that a row that
    is there twice counts twice. DuckDB does all of it in one streaming pass.
    """
    names = sorted(columns)
    line = f"concat_ws(',', {', '.join(_canonical(name, columns[name]) for name in names)})"
    rows, low, high = one_row(
        connection,
        f"""
        SELECT count(*), coalesce(sum(CAST(digest >> 64 AS HUGEINT)), 0),
            coalesce(sum(CAST(digest & {_HALF}::UHUGEINT AS HUGEINT)), 0)
        FROM (SELECT md5_number({line}) AS digest FROM {table})
        """,  # noqa: S608 — the names are quoted
    )
    # Sources differ in the type that they give to a column without values.
    kinds = [[name, "null" if nulls[name] == rows else _kind(columns[name])] for name in names]
    content = json.dumps([kinds, rows, str(low), str(high)])
    return rows, hashlib.sha256(content.encode()).hexdigest()


def _canonical(name: str, kind: str) -> str:
    """Return SQL for a text that equal values share, and that nothing else can be mistaken for."""
    column = quoted(name)
    text = f"CAST({column} AS VARCHAR)"
    match _kind(kind):
        case "number":
            text = _number(column, kind)
        case "timestamp" | "instant":
            text = f"CAST(epoch_us({column}) AS VARCHAR)"
        case "text":
            # With its length, or a text could look like the end of one cell and the next.
            text = f"(CAST(length({text}) AS VARCHAR) || ':' || {text})"
    return f"coalesce({text}, '~')"


def _number(column: str, kind: str) -> str:
    """Return SQL for the same text for 2, 2.0 and 2.00, and for 0.5 and 0.50."""
    text = f"CAST({column} AS VARCHAR)"
    if kind in _INTEGERS:
        return text
    whole = f"{column} = trunc({column}) AND abs({column}) < {_LARGEST_WHOLE}"
    fraction = text
    if kind.startswith("DECIMAL"):
        places = int(kind.rstrip(")").rpartition(",")[2])
        if not places:
            return text
        digits = f"abs({column}) < {Decimal(1).scaleb(_DOUBLE_DIGITS - places):f}"
        as_double = f"CAST(CAST({column} AS DOUBLE) AS VARCHAR)"
        fraction = f"CASE WHEN {digits} THEN {as_double} ELSE rtrim({text}, '0') END"
    return f"CASE WHEN {whole} THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) ELSE {fraction} END"


def _kind(kind: str) -> str:
    if kind in _INTEGERS or kind.startswith(("DECIMAL", "FLOAT", "DOUBLE", "HUGEINT")):
        return "number"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return "instant"
    if kind.startswith("TIMESTAMP"):
        return "timestamp"
    return {"BOOLEAN": "boolean", "DATE": "date", "TIME": "time"}.get(kind, "text")

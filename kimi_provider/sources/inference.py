"""The type of each column, found over all of its values.

The rows lie in a view, ``raw``, of raw JSON: ``7``, ``"007"``, ``null``. Per column, over all values
that are not null:

- only ``true`` and ``false``: ``BOOLEAN``;
- only whole numbers: ``BIGINT``; ``DECIMAL(38,0)`` where that is too small; beyond 38 digits
  ``VARCHAR``, so that no digit is lost;
- whole numbers and fractions: ``DECIMAL(18,s)`` or ``DECIMAL(38,s)`` with up to nine places, exact,
  so that sums of money are; with more places ``DOUBLE``;
- numbers with an exponent among them: ``DOUBLE``;
- only texts that are all dates, all times with a zone, or all times without (ISO 8601): ``DATE``,
  ``TIMESTAMP WITH TIME ZONE``, ``TIMESTAMP``;
- everything else, such as other texts (``"007"`` and ``"12"`` among them), mixtures, and lists and
  objects as their JSON: ``VARCHAR``. A column without any value is ``VARCHAR`` too.

Where the source has no types of its own (CSV), texts that are written like numbers or truth values
count as such; one zero in front too many makes a text of them: ``0.5`` is a number, ``007`` is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.sources.scratch import one_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

_ASKED_TYPE = re.compile(
    r"BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|FLOAT|DOUBLE|DECIMAL\s*\(\s*\d{1,2}\s*,\s*\d{1,2}\s*\)"
    r"|VARCHAR|DATE|TIME|TIMESTAMP|TIMESTAMPTZ|TIMESTAMP WITH TIME ZONE",
    re.IGNORECASE,
)
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}
_EXACT_PLACES = 9
_SHORT_DECIMAL = 18
_LONG_DECIMAL = 38

_WHOLE = r"-?(0|[1-9][0-9]*)"
_FRACTION = _WHOLE + r"\.[0-9]+"
_EXPONENT = _WHOLE + r"(\.[0-9]+)?[eE][+-]?[0-9]+"
_SHORTEST_DATE = 10
_LONGEST_TIME = 40
_CLOCK = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6}0*)?)?"
# Only these exact forms are dates: DuckDB would read more, "2013-2-8" and "infinity" among them.
_TEXT_FORMS = {
    "DATE": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "TIMESTAMP WITH TIME ZONE": _CLOCK + r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)",
    "TIMESTAMP": _CLOCK,
}


def column_types(
    connection: duckdb.DuckDBPyConnection,
    columns: Mapping[str, str],
    asked: Mapping[str, str],
    *,
    untyped: bool,
) -> dict[str, str]:
    """Return the DuckDB type of each column.

    :param columns: the names, each with the column of ``raw`` that holds it.
    :param asked: types that are not to be found, but taken.
    :param untyped: whether all values are texts, because the source has no types.
    :raises ConfigurationError: if a type asked for is none.
    """
    return {
        name: _checked(name, asked[name]) if name in asked else _found(connection, raw, untyped=untyped)
        for name, raw in columns.items()
    }


def value_of(raw: str, kind: str) -> str:
    """Return the SQL that makes a raw column's value of a type, where none of its values misfits."""
    text = _text(raw)
    return text if kind == "VARCHAR" else f"CAST({text} AS {kind})"


def misfits(raw: str, kind: str) -> str:
    """Return the SQL condition under which a raw column's value is not of a type."""
    text = _text(raw)
    condition = f"TRY_CAST({text} AS {kind}) IS NULL"
    if kind in _INTEGERS:  # DuckDB would round
        condition += f" OR NOT regexp_full_match({text}, '{_WHOLE}(\\.0+)?')"
    if kind in {"DOUBLE", "FLOAT"}:  # beyond its range, DuckDB makes infinity of a number
        condition += f" OR NOT isfinite(TRY_CAST({text} AS {kind}))"
    return f"({text} IS NOT NULL AND ({condition}))"


def _text(raw: str) -> str:
    """Return SQL for the value as text: a JSON text without its quotes, all else as JSON writes it."""
    return f"({raw} ->> '$')"


def _found(connection: duckdb.DuckDBPyConnection, raw: str, *, untyped: bool) -> str:
    # JSON's own null is no value; the text "null" is one.
    value = _text(raw) if untyped else f"nullif(CAST({raw} AS VARCHAR), 'null')"
    source = f"(SELECT {value} AS v FROM raw) WHERE v IS NOT NULL"  # noqa: S608 — a name of ours
    # Most columns are decided here, without a regular expression a value.
    values, texts, whole = one_row(
        connection,
        f"""
        SELECT count(*), count_if(v[1] = '"'), count_if(v = CAST(TRY_CAST(v AS BIGINT) AS VARCHAR))
        FROM {source}
        """,  # noqa: S608 — the same
    )
    if not values:
        return "VARCHAR"
    if whole == values:
        return "BIGINT"
    if texts == values and not untyped:
        return _found_in_texts(connection, raw)
    return _found_in_numbers(connection, raw, source, values)


def _found_in_numbers(connection: duckdb.DuckDBPyConnection, raw: str, source: str, values: int) -> str:
    flags, whole, fractions, exponents, digits, places = one_row(
        connection,
        f"""
        SELECT count_if(flag), count_if(whole), count_if(fraction), count_if(exponent),
            max(length(ltrim(split_part(v, '.', 1), '-'))) FILTER (whole OR fraction),
            max(length(split_part(v, '.', 2))) FILTER (fraction)
        FROM (
            SELECT v, lower(v) IN ('true', 'false') AS flag,
                regexp_full_match(v, '{_WHOLE}') AS whole,
                regexp_full_match(v, '{_FRACTION}') AS fraction,
                regexp_full_match(v, '{_EXPONENT}') AS exponent
            FROM {source}
        )
        """,  # noqa: S608 — names and patterns of ours
    )
    if flags == values:
        return "BOOLEAN"
    if whole == values:
        candidates = ["BIGINT", "DECIMAL(38,0)"]
    elif whole + fractions == values:
        candidates = _fraction_types(digits, places)
    elif whole + fractions + exponents == values:
        candidates = ["DOUBLE"]
    elif flags + whole + fractions + exponents == 0:
        return _found_in_texts(connection, raw)
    else:
        return "VARCHAR"
    return next((kind for kind in candidates if _all_fit(connection, raw, kind)), "VARCHAR")


def _fraction_types(digits: int, places: int) -> list[str]:
    """Types to try for fractions of so many digits before the point, and places after it."""
    if places > _EXACT_PLACES or digits + places > _LONG_DECIMAL:
        return ["DOUBLE"]
    width = _SHORT_DECIMAL if digits + places <= _SHORT_DECIMAL else _LONG_DECIMAL
    return [f"DECIMAL({width},{places})"]


def _found_in_texts(connection: duckdb.DuckDBPyConnection, raw: str) -> str:
    text = _text(raw)
    shortest, longest = one_row(
        connection,
        f"SELECT min(length({text})), max(length({text})) FROM raw",  # noqa: S608 — a name of ours
    )
    if shortest is None or shortest < _SHORTEST_DATE or longest > _LONGEST_TIME:
        return "VARCHAR"
    for kind, form in _TEXT_FORMS.items():
        (unlike,) = one_row(
            connection,
            f"SELECT count_if(NOT regexp_full_match({text}, '{form}')) FROM raw",  # noqa: S608 — the same
        )
        if not unlike:
            return kind if _all_fit(connection, raw, kind) else "VARCHAR"
    return "VARCHAR"


def _all_fit(connection: duckdb.DuckDBPyConnection, raw: str, kind: str) -> bool:
    (unfit,) = one_row(connection, f"SELECT count_if({misfits(raw, kind)}) FROM raw")  # noqa: S608
    return not unfit


def _checked(column: str, kind: str) -> str:
    if not _ASKED_TYPE.fullmatch(kind.strip()):
        raise ConfigurationError(
            f"types has {kind!r} for column {column!r}, which is no type of a dataset. Use BOOLEAN, "
            "BIGINT, DOUBLE, DECIMAL(18,2), DATE, TIMESTAMP, TIMESTAMPTZ or VARCHAR."
        )
    return kind.strip().upper()

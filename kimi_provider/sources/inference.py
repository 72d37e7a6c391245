"""The type of each column, found over all of its values.

The rows lie in a table of raw JSON: ``7``, ``"007"``, ``null``; or of texts, where the source has no
types of its own (CSV). Per column, over all values that are not null:

- only ``true`` and ``false``: ``BOOLEAN``;
- only whole numbers: ``BIGINT``; ``DECIMAL(38,0)`` where that is too small; beyond 38 digits
  ``VARCHAR``, so that no digit is lost;
- whole numbers and fractions: ``DECIMAL(18,s)`` or ``DECIMAL(38,s)`` with up to nine places, exact,
  so that sums of money are; with more places ``DOUBLE`` where that holds all of their digits, else
  ``DECIMAL(38,s)``; ``DOUBLE`` too beyond 38 digits;
- numbers with an exponent among them: ``DOUBLE``;
- only texts that are all dates, all times with a zone, or all times without (ISO 8601): ``DATE``,
  ``TIMESTAMP WITH TIME ZONE``, ``TIMESTAMP``;
- everything else, such as other texts (``"007"`` and ``"12"`` among them), mixtures, and lists and
  objects as their JSON: ``VARCHAR``. A column without any value is ``VARCHAR`` too.

In a source without types, texts that are written like numbers or truth values count as such; one zero
in front too many makes a text of them: ``0.5`` is a number, ``007`` is none.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.sources.scratch import one_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

_ASKED_TYPE = re.compile(
    r"BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|FLOAT|DOUBLE|DECIMAL\s*\(\s*\d{1,2}\s*,\s*\d{1,2}\s*\)"
    r"|VARCHAR|DATE|TIME|TIMESTAMP|TIMESTAMPTZ|TIMESTAMP WITH TIME ZONE",
    re.IGNORECASE,
)
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}
_EXACT_PLACES = 9
# A query a column would read a wide file's index a thousand times.
_COLUMNS_AT_ONCE = 50
_SHORT_DECIMAL = 18
_LONG_DECIMAL = 38

WHOLE = r"-?(0|[1-9][0-9]*)"
FRACTION = WHOLE + r"\.[0-9]+"
EXPONENT = WHOLE + r"(\.[0-9]+)?[eE][+-]?[0-9]+"
_SHORTEST_DATE = 10
_LONGEST_TIME = 40
_CLOCK = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6}0*)?)?"
# Only these exact forms are dates: DuckDB would read more, "2013-2-8" and "infinity" among them.
TEXT_FORMS = {
    "DATE": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "TIMESTAMP WITH TIME ZONE": _CLOCK + r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)",
    "TIMESTAMP": _CLOCK,
}


@dataclass(frozen=True, slots=True)
class Raw:
    """A column of raw values.

    :ivar name: of ours, so that it need not be quoted.
    :ivar untyped: whether it holds texts, and not JSON.
    """

    name: str
    untyped: bool

    @property
    def text(self) -> str:
        """SQL for the value as text: a JSON text without its quotes, all else as JSON writes it."""
        return self.name if self.untyped else f"({self.name} ->> '$')"

    @property
    def written(self) -> str:
        """SQL for the value as it is written: a JSON text with its quotes."""
        # JSON's own null is no value; the text "null" is one.
        return self.name if self.untyped else f"nullif(CAST({self.name} AS VARCHAR), 'null')"


def column_types(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, Raw],
    asked: Mapping[str, str],
) -> dict[str, str]:
    """Return the DuckDB type of each column.

    :param table: of the raw values.
    :param columns: by name.
    :param asked: types that are not to be found, but taken.
    :raises ConfigurationError: if a type asked for is none.
    """
    kinds = {name: _checked(name, kind) for name, kind in asked.items() if name in columns}
    sought = {name: raw for name, raw in columns.items() if name not in kinds}
    found = dict(zip(sought, _all_found(connection, table, list(sought.values())), strict=True))
    return {name: kinds.get(name) or found[name] for name in columns}


def value_of(raw: Raw, kind: str) -> str:
    """Return the SQL that makes a raw column's value of a type, where none of its values misfits."""
    return raw.text if kind == "VARCHAR" else f"CAST({raw.text} AS {kind})"


def misfits(raw: Raw, kind: str) -> str:
    """Return the SQL condition under which a raw column's value is not of a type."""
    text = raw.text
    condition = f"TRY_CAST({text} AS {kind}) IS NULL"
    if kind in _INTEGERS:  # DuckDB would round
        condition += f" OR NOT regexp_full_match({text}, '{WHOLE}(\\.0+)?')"
    if kind in {"DOUBLE", "FLOAT"}:  # beyond its range, DuckDB makes infinity of a number
        condition += f" OR NOT isfinite(TRY_CAST({text} AS {kind}))"
    return f"({text} IS NOT NULL AND ({condition}))"


def held(text: str) -> str:
    """Return the SQL condition under which a double has all digits of a number.

    :param text: SQL for the number as it is written, without an exponent.
    """
    as_double = f"split_part(CAST(TRY_CAST({text} AS DOUBLE) AS VARCHAR), 'e', 1)"
    digits, kept = (f"trim(translate({number}, '-.', ''), '0')" for number in (text, as_double))
    return f"(length({digits}) <= {sys.float_info.dig} OR {digits} = {kept})"


def _all_found(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[Raw]
) -> Iterator[str]:
    for start in range(0, len(columns), _COLUMNS_AT_ONCE):
        batch = columns[start : start + _COLUMNS_AT_ONCE]
        # Most columns are decided here, without a regular expression a value.
        counted = ", ".join(
            f"count({w}), count_if({w}[1] = '\"'), "
            f"count_if({w} = CAST(TRY_CAST({w} AS BIGINT) AS VARCHAR))"
            for w in (raw.written for raw in batch)
        )
        counts = iter(one_row(connection, f"SELECT {counted} FROM {table}"))  # noqa: S608 — names of ours
        for raw, (values, texts, whole) in zip(batch, zip(*[counts] * 3, strict=True), strict=True):
            if not values:
                yield "VARCHAR"
            elif whole == values:
                yield "BIGINT"
            elif texts == values and not raw.untyped:
                yield _found_in_texts(connection, table, raw)
            else:
                yield _found_in_numbers(connection, table, raw, values)


def _found_in_numbers(connection: duckdb.DuckDBPyConnection, table: str, raw: Raw, values: int) -> str:
    flags, whole, fractions, exponents, digits, places = one_row(
        connection,
        f"""
        SELECT count_if(flag), count_if(whole), count_if(fraction), count_if(exponent),
            max(length(ltrim(split_part(v, '.', 1), '-'))) FILTER (whole OR fraction),
            max(length(split_part(v, '.', 2))) FILTER (fraction)
        FROM (
            SELECT v, lower(v) IN ('true', 'false') AS flag,
                regexp_full_match(v, '{WHOLE}') AS whole,
                regexp_full_match(v, '{FRACTION}') AS fraction,
                regexp_full_match(v, '{EXPONENT}') AS exponent
            FROM (SELECT {raw.written} AS v FROM {table}) WHERE v IS NOT NULL
        )
        """,  # noqa: S608 — names and patterns of ours
    )
    if flags == values:
        return "BOOLEAN"
    if whole == values:
        candidates = ["BIGINT", "DECIMAL(38,0)"]
    elif whole + fractions == values:
        candidates = _fraction_types(connection, table, raw, digits, places)
    elif whole + fractions + exponents == values:
        candidates = ["DOUBLE"]
    elif flags + whole + fractions + exponents == 0:
        return _found_in_texts(connection, table, raw)
    else:
        return "VARCHAR"
    return next((kind for kind in candidates if _all_fit(connection, table, raw, kind)), "VARCHAR")


def _fraction_types(
    connection: duckdb.DuckDBPyConnection, table: str, raw: Raw, digits: int, places: int
) -> list[str]:
    """Types to try for fractions of so many digits before the point, and places after it."""
    if digits + places > _LONG_DECIMAL:
        return ["DOUBLE"]
    if places > _EXACT_PLACES:
        values = f"SELECT {raw.written} AS v FROM {table}"  # noqa: S608 — names of ours
        (lossy,) = one_row(connection, f"SELECT count_if(NOT {held('v')}) FROM ({values})")  # noqa: S608
        return [f"DECIMAL({_LONG_DECIMAL},{places})" if lossy else "DOUBLE"]
    width = _SHORT_DECIMAL if digits + places <= _SHORT_DECIMAL else _LONG_DECIMAL
    return [f"DECIMAL({width},{places})"]


def _found_in_texts(connection: duckdb.DuckDBPyConnection, table: str, raw: Raw) -> str:
    text = raw.text
    shortest, longest = one_row(
        connection,
        f"SELECT min(length({text})), max(length({text})) FROM {table}",  # noqa: S608 — a name of ours
    )
    if shortest is None or shortest < _SHORTEST_DATE or longest > _LONGEST_TIME:
        return "VARCHAR"
    for kind, form in TEXT_FORMS.items():
        (unlike,) = one_row(
            connection,
            f"SELECT count_if(NOT regexp_full_match({text}, '{form}')) FROM {table}",  # noqa: S608 — the same
        )
        if not unlike:
            return kind if _all_fit(connection, table, raw, kind) else "VARCHAR"
    return "VARCHAR"


def _all_fit(connection: duckdb.DuckDBPyConnection, table: str, raw: Raw, kind: str) -> bool:
    (unfit,) = one_row(connection, f"SELECT count_if({misfits(raw, kind)}) FROM {table}")  # noqa: S608
    return not unfit


def _checked(column: str, kind: str) -> str:
    if not _ASKED_TYPE.fullmatch(kind.strip()):
        raise ConfigurationError(
            f"types has {kind!r} for column {column!r}, which is no type of a dataset. Use BOOLEAN, "
            "BIGINT, DOUBLE, DECIMAL(18,2), DATE, TIMESTAMP, TIMESTAMPTZ or VARCHAR."
        )
    return kind.strip().upper()

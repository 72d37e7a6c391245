"""The type of a column, found over all of its values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SQL_TYPES = re.compile(
    r"(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|FLOAT|DOUBLE|BOOLEAN|DATE|TIME|VARCHAR"
    r"|TIMESTAMP|TIMESTAMPTZ|TIMESTAMP WITH TIME ZONE|DECIMAL\(\d{1,2}, ?\d{1,2}\))",
    re.IGNORECASE,
)

# Texts are dates only in these exact forms: "2013" or "12" cast to a date too, and are none.
_TEXT_FORMS = (
    ("DATE", r"\d{4}-\d{2}-\d{2}"),
    ("TIMESTAMPTZ", r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)"),
    ("TIMESTAMP", r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"),
)


def column_type(db: DuckDBPyConnection, name: str) -> str:
    """Return the DuckDB type that holds every value of a column of ``raw`` without loss.

    JSON's own types first: whole numbers, numbers, truth values. Texts become dates or times if all
    of them are written so (ISO 8601); "007" stays text. Mixed and nested values become text.
    """
    column = '"' + name.replace('"', '""') + '"'
    text = f"({column} ->> '$')"
    kinds = {
        kind
        for (kind,) in db.execute(
            f"SELECT DISTINCT json_type({column}) FROM raw WHERE {text} IS NOT NULL"  # noqa: S608 — a quoted name
        ).fetchall()
    }
    if kinds == {"BOOLEAN"}:
        return "BOOLEAN"
    if kinds and kinds <= {"BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT"}:
        return _fitting(db, text, ("BIGINT", "DECIMAL(38,0)"))
    if kinds and kinds <= {"BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DOUBLE"}:
        return "DOUBLE"
    if kinds == {"VARCHAR"}:
        for kind, form in _TEXT_FORMS:
            unfit = db.execute(
                f"SELECT 1 FROM raw WHERE {text} IS NOT NULL"  # noqa: S608 — the same
                f" AND (NOT regexp_full_match({text}, '{form}') OR TRY_CAST({text} AS {kind}) IS NULL) LIMIT 1"
            ).fetchone()
            if unfit is None:
                return kind
    return "VARCHAR"


def _fitting(db: DuckDBPyConnection, text: str, kinds: tuple[str, ...]) -> str:
    for kind in kinds:
        unfit = db.execute(
            f"SELECT 1 FROM raw WHERE {text} IS NOT NULL AND TRY_CAST({text} AS {kind}) IS NULL LIMIT 1"  # noqa: S608
        ).fetchone()
        if unfit is None:
            return kind
    return "VARCHAR"

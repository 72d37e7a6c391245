"""What is in a dataset, in a few hundred bytes: the profile, and the hash of its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kimi_provider.schemas import Column, DatasetRef, TopValue

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

# Bounds that keep a DatasetRef small enough for XCom.
_TOP_VALUES = 5
_LONGEST_VALUE = 80


@dataclass(frozen=True)
class Profile:
    """What is in a Parquet file."""

    rows: int
    sha256: str
    columns: tuple[Column, ...]

    def reference(self, *, uri: str, bytes_: int, source: str) -> DatasetRef:
        """Return the reference to the file."""
        return DatasetRef(
            uri=uri,
            rows=self.rows,
            bytes=bytes_,
            sha256=self.sha256,
            source=source,
            columns=self.columns,
        )


def describe(db: DuckDBPyConnection, file: Path) -> Profile:
    """Profile a Parquet file.

    The hash is over column names, types and rows, whatever their order: sources return the same
    rows in different orders. Rows are hashed one by one (MD5, for spread and not for secrecy), the
    hashes added up, so that a row that is there twice counts twice, and all that hashed by SHA-256.
    """
    path = str(file).replace("'", "''")
    db.execute(f"CREATE OR REPLACE VIEW written AS SELECT * FROM read_parquet('{path}')")  # noqa: S608 — a quoted path
    found = [(str(row[0]), str(row[1])) for row in db.execute("DESCRIBE written").fetchall()]
    columns = tuple(_column(db, name, kind) for name, kind in found)
    row = " || chr(31) || ".join(
        f"coalesce(CAST({_quoted(name)} AS VARCHAR), chr(0))" for name, _ in found
    )
    rows, low, high = _one(
        db,
        "SELECT count(*), coalesce(sum(md5_number_lower(line)::HUGEINT), 0),"  # noqa: S608 — quoted names
        f" coalesce(sum(md5_number_upper(line)::HUGEINT), 0) FROM (SELECT {row} AS line FROM written)",
    )
    content = json.dumps([found, rows, str(low), str(high)])
    return Profile(rows=rows, sha256=hashlib.sha256(content.encode()).hexdigest(), columns=columns)


def _column(db: DuckDBPyConnection, name: str, kind: str) -> Column:
    column = _quoted(name)
    nulls, distinct, minimum, maximum = _one(
        db,
        f"SELECT count(*) - count({column}), approx_count_distinct({column}),"  # noqa: S608 — a quoted name
        f" CAST(min({column}) AS VARCHAR), CAST(max({column}) AS VARCHAR) FROM written",
    )
    top = db.execute(
        f"SELECT CAST({column} AS VARCHAR), count(*) AS times FROM written WHERE {column} IS NOT NULL"  # noqa: S608 — the same
        f" GROUP BY 1 HAVING times > 1 ORDER BY times DESC, 1 LIMIT {_TOP_VALUES}"
    ).fetchall()
    return Column(
        name=name,
        type=kind,
        nulls=nulls,
        distinct=distinct,
        minimum=_cut(minimum),
        maximum=_cut(maximum),
        top=tuple(TopValue(value=str(_cut(value)), count=times) for value, times in top),
    )


def _one(db: DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = db.execute(sql).fetchone()
    assert row is not None  # noqa: S101 — an aggregate without GROUP BY has one row
    return row


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"

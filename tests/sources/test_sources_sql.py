"""Rows of real databases to datasets: PostgreSQL by both of its drivers, and SQLite."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from kimi_provider.exceptions import ConfigurationError, SourceError, SourceUnavailableError
from kimi_provider.sources.rows import plain, records, unique
from kimi_provider.sources.spool import Spool
from kimi_provider.sources.sql import SqlQuery, fetch_sql


@contextmanager
def _psycopg(url):
    import psycopg

    with closing(psycopg.connect(url)) as connection:
        yield connection, connection.cursor(name="test")


@contextmanager
def _psycopg2(url):
    import psycopg2

    with closing(psycopg2.connect(url)) as connection:
        yield connection, connection.cursor(name="test")


@pytest.fixture(params=[_psycopg, _psycopg2], ids=["psycopg", "psycopg2"])
def fetch_postgres(request, postgres, tmp_path):
    def run(sql, parameters=None, **options):
        limits = {name: options.pop(name) for name in ("max_rows", "max_bytes") if name in options}
        with request.param(postgres) as (_, cursor):
            query = SqlQuery(sql=sql, parameters=parameters, **limits)
            target = tmp_path / "dataset.parquet"
            return fetch_sql(query, cursor, target, source="The test", postgres=True, **options)

    return run


@pytest.fixture
def fetch_sqlite(tmp_path):
    def run(sql, parameters=None, **options):
        limits = {
            name: options.pop(name) for name in ("max_rows", "max_bytes", "timeout") if name in options
        }
        with closing(sqlite3.connect(":memory:")) as connection:
            query = SqlQuery(sql=sql, parameters=parameters, **limits)
            target = tmp_path / "dataset.parquet"
            return fetch_sql(query, connection.cursor(), target, source="The test", **options)

    return run


def types_of(ref):
    return {column.name: column.type for column in ref.columns}


def path_of(ref):
    return ref.uri.removeprefix("file://")


EVERY_TYPE = """
    SELECT 1::smallint AS small, 2::int AS whole, 9007199254740993::bigint AS big, 0.1::float8 AS double,
        12.50::numeric(9,2) AS money, 1e-12::numeric AS tiny, 7::numeric AS loose, true AS flag,
        date '2013-02-08' AS day, timestamp '2013-02-08 05:00:00.123456' AS local,
        timestamptz '2013-02-08 05:00:00-05' AS instant, time '05:06:07' AS clock,
        'a "b" ł' AS text, '2013-02-08' AS texts_of_days, 'x'::char(3) AS padded,
        '{"a": [1, null]}'::jsonb AS json, ARRAY[1, 2] AS list,
        '6b3ad2ab-2d3c-4b5e-8a51-ffe4ecb0b9f1'::uuid AS uuid, '\\x00ff'::bytea AS binary,
        interval '1 hour' AS duration
    UNION ALL
    SELECT null, null, null, 'NaN', null::numeric(9,2), null, 'NaN', null, null, null, null, null, null,
        null, null, null, null, null, null, null
"""


class TestPostgres:
    def test_types_are_those_of_the_database(self, fetch_postgres, table):
        ref = fetch_postgres(EVERY_TYPE)
        assert types_of(ref) == {
            "small": "BIGINT", "whole": "BIGINT", "big": "BIGINT", "double": "DOUBLE",
            "money": "DECIMAL(9,2)", "tiny": "DOUBLE", "loose": "BIGINT", "flag": "BOOLEAN",
            "day": "DATE", "local": "TIMESTAMP", "instant": "TIMESTAMP WITH TIME ZONE",
            "clock": "VARCHAR", "text": "VARCHAR", "texts_of_days": "DATE", "padded": "VARCHAR",
            "json": "VARCHAR", "list": "VARCHAR", "uuid": "VARCHAR", "binary": "VARCHAR",
            "duration": "DECIMAL(18,1)",
        }  # fmt: skip
        assert [column.nulls for column in ref.columns] == [1] * len(ref.columns)
        columns = ", ".join(f'"{n}"' if n != "instant" else "epoch(instant)" for n in types_of(ref))
        assert table(path_of(ref), f"SELECT {columns} FROM dataset LIMIT 1") == [
            (
                1, 2, 2**53 + 1, 0.1, Decimal("12.50"), 1e-12, 7, True, date(2013, 2, 8),
                datetime(2013, 2, 8, 5, 0, 0, 123456),  # noqa: DTZ001 — this column has no zone
                datetime(2013, 2, 8, 10, tzinfo=UTC).timestamp(),
                "05:06:07", 'a "b" ł', date(2013, 2, 8), "x  ", '{"a":[1,null]}', "[1,2]",
                "6b3ad2ab-2d3c-4b5e-8a51-ffe4ecb0b9f1", "AP8=", Decimal("3600.0"),
            )
        ]  # fmt: skip

    def test_parameters_are_bound(self, fetch_postgres, table):
        hostile = "'; DROP TABLE x; --%s%(a)s"
        ref = fetch_postgres("SELECT %(a)s::text AS a, %(n)s::int AS n", {"a": hostile, "n": 7})
        assert table(path_of(ref)) == [(hostile, 7)]
        ref = fetch_postgres("SELECT %s::text AS a, %s::int AS n", [hostile, 7])
        assert table(path_of(ref)) == [(hostile, 7)]

    def test_without_parameters_a_percent_sign_is_one(self, fetch_postgres, table):
        assert table(path_of(fetch_postgres("SELECT '5%s' AS a"))) == [("5%s",)]

    def test_columns_without_rows_keep_their_types(self, fetch_postgres):
        sql = "SELECT 1 AS a, now() AS b, 1.5::numeric(5,1) AS c, 'x'::text AS d WHERE false"
        ref = fetch_postgres(sql, allow_empty=True)
        assert types_of(ref) == {
            "a": "BIGINT", "b": "TIMESTAMP WITH TIME ZONE", "c": "DECIMAL(5,1)", "d": "VARCHAR"
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("sql", "told"),
        [
            ("SELECT nothing FROM nowhere", "nowhere"),
            ("SELECT 1/0 AS a", "division by zero"),
            ("SELECT 1 AS a, 2 AS a", "column 'a' twice, as number 1 and 2"),
            ('SELECT 1 AS a, 2 AS "A"', "'A' beside 'a'"),
            ("SELECT 'infinity'::float8 AS a", "Row 1 has in the column 'a' an infinite number"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_is_told(self, fetch_postgres, sql, told):
        with pytest.raises(SourceError, match=told) as caught:
            fetch_postgres(sql)
        assert not caught.value.retryable

    def test_more_rows_than_allowed_are_not_stored(self, fetch_postgres, tmp_path):
        with pytest.raises(SourceError, match="more rows than max_rows=99 allows"):
            fetch_postgres("SELECT generate_series(1, 100) AS a", max_rows=99)
        with pytest.raises(SourceError, match="more bytes than max_bytes=9999 allows"):
            fetch_postgres("SELECT repeat('x', 1000) AS a FROM generate_series(1, 10)", max_bytes=9999)
        assert not list(tmp_path.iterdir())
        assert fetch_postgres("SELECT generate_series(1, 100) AS a", max_rows=100).rows == 100

    def test_a_lost_connection_can_be_tried_again(self, postgres, tmp_path):
        with _psycopg(postgres) as (connection, cursor), _psycopg(postgres) as (other, _):
            other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
            with pytest.raises(SourceUnavailableError):
                fetch_sql(SqlQuery(sql="SELECT 1"), cursor, tmp_path / "x", source="The test")


class TestSqlite:
    def test_types_are_found_over_all_rows(self, fetch_sqlite, table):
        ref = fetch_sqlite(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) "
            "SELECT i, iif(i = 30000, 'late', i) AS mixed, '2013-02-08' AS day, 0.5 AS half, "
            "x'00ff' AS b, null AS empty FROM n"
        )
        assert ref.rows == 30_000
        assert types_of(ref) == {
            "i": "BIGINT", "mixed": "VARCHAR", "day": "DATE", "half": "DECIMAL(18,1)", "b": "VARCHAR",
            "empty": "VARCHAR",
        }  # fmt: skip
        assert table(path_of(ref), "SELECT mixed FROM dataset ORDER BY i DESC LIMIT 1") == [("late",)]

    def test_types_that_are_asked_for_win(self, fetch_sqlite):
        ref = fetch_sqlite("SELECT '2013-02-08' AS day", types={"day": "VARCHAR"})
        assert types_of(ref) == {"day": "VARCHAR"}

    def test_no_rows_are_refused_unless_allowed(self, fetch_sqlite):
        sql = "SELECT 1 AS a WHERE :day IS NULL"
        with pytest.raises(SourceError, match=r"no rows.*allow_empty"):
            fetch_sqlite(sql, {"day": "2013-02-08"})
        ref = fetch_sqlite(sql, {"day": "2013-02-08"}, allow_empty=True)
        assert (ref.rows, types_of(ref)) == (0, {"a": "VARCHAR"})

    def test_what_gives_no_rows_at_all_is_refused(self, fetch_sqlite):
        with pytest.raises(SourceError, match="SELECT"):
            fetch_sqlite("CREATE TABLE t (a)")

    def test_time_is_bounded(self, fetch_sqlite):
        sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        with pytest.raises(SourceError, match=r"timeout=0\.2 seconds"):
            fetch_sqlite(sql, timeout=0.2)


@pytest.mark.parametrize("bound", ["max_rows", "max_bytes", "timeout"])
def test_bounds_are_above_zero(bound):
    with pytest.raises(ConfigurationError, match=bound):
        SqlQuery(sql="SELECT 1", **{bound: 0})


def test_a_text_is_no_list_of_parameters():
    with pytest.raises(ConfigurationError, match="parameters"):
        SqlQuery(sql="SELECT ?", parameters="x")


_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Color(Enum):
    RED = "red"


class TestValues:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (float("nan"), "null"),
            (Decimal("NaN"), "null"),
            (Decimal("0E-7"), "0.0000000"),
            (Decimal("1E+3"), "1000"),
            (Decimal("12.50"), "12.50"),
            (datetime(2013, 7, 1, 12, tzinfo=UTC), '"2013-07-01T12:00:00Z"'),
            (time(5, 6), '"05:06:00"'),
            (timedelta(minutes=1), "60.0"),
            (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
            (memoryview(b"\x00\xff"), '"AP8="'),
            ({"a": (1, {2})}, '{"a":[1,[2]]}'),
            (Color.RED, '"red"'),
            (True, "true"),
        ],
    )
    def test_have_the_form_of_an_api(self, value, text):
        assert _ENCODER.encode(plain(value)).decode() == text

    @pytest.mark.parametrize("value", [float("inf"), Decimal("-Infinity"), object(), [object()], 1j])
    def test_without_one_are_refused_by_row_and_column(self, value):
        with pytest.raises(SourceError, match="Row 8 has in the column 'a'"):
            list(records(["b", "a"], [(1, 2), (1, value)], first=7))

    def test_names_that_come_twice_are_refused(self):
        with pytest.raises(SourceError, match="'a' twice, as number 1 and 3"):
            unique(["a", "b", "a"], "The test")


def test_rows_of_a_database_have_the_hash_of_those_of_an_api(fetch_postgres, tmp_path):
    ref = fetch_postgres(
        "SELECT 0.1::float8 AS a, 2.00::numeric(9,2) AS b, '2013-02-08T10:00:00Z'::timestamptz AS c, "
        "date '2013-02-08' AS d, null::int AS e, '05:06:07'::time AS f, true AS g, '007' AS h"
    )
    (tmp_path / "scratch").mkdir()
    spool = Spool(tmp_path / "scratch")
    spool.add([{
        "a": 0.1, "b": 2, "c": "2013-02-08T05:00:00-05:00", "d": "2013-02-08", "e": None,
        "f": "05:06:07", "g": True, "h": "007",
    }])  # fmt: skip
    assert spool.finish(tmp_path / "api", source="api", types={}).sha256 == ref.sha256


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="Only Linux tells the peak of a process."
)
def test_memory_does_not_grow_with_the_rows(postgres, tmp_path):
    """A quarter of a gigabyte of rows, in a process of its own, so that its peak can be read."""
    script = f"""
import json
from contextlib import closing
from pathlib import Path
import duckdb, psycopg, kimi_provider.schemas
from kimi_provider.sources.sql import SqlQuery, fetch_sql
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
before = peak()
query = SqlQuery(sql="SELECT i, i / 4.0 AS value, repeat(i::text || '-', 150) AS text "
    "FROM generate_series(1, 250000) AS i")
with closing(psycopg.connect({postgres!r})) as connection:
    cursor = connection.cursor(name="test")
    ref = fetch_sql(query, cursor, Path({str(tmp_path)!r}) / "x.parquet", source="x", postgres=True)
print(json.dumps([ref.rows, peak() - before]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rows, grown = json.loads(done.stdout.splitlines()[-1])
    assert rows == 250_000
    assert grown < 300

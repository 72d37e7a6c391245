"""The locked-down database: what it answers, and what it refuses."""

from __future__ import annotations

import re
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb  # noqa: TID253 — a test pays no DAG parse
import pytest

from kimi_provider.analysis.database import Database
from kimi_provider.exceptions import ConfigurationError, SourceError


@pytest.fixture
def flights(tmp_path):
    path = tmp_path / "it's flights.parquet"
    escaped = str(path).replace("'", "''")
    duckdb.connect().execute(
        f"""COPY (
            SELECT range AS number, ['JFK', 'LGA', 'EWR'][range % 3 + 1] AS origin,
                   DATE '2013-02-08' + (range % 2)::INTEGER AS day,
                   TIMESTAMPTZ '2013-02-08 05:00:00-05' AS hour, 1.10::DECIMAL(9,2) AS fare
            FROM range(10)
        ) TO '{escaped}' (FORMAT parquet)"""
    )
    return path


@pytest.fixture
def database(flights):
    with Database({"flights": flights}, memory_limit="256MiB", timeout=5.0) as opened:
        yield opened


def refusal(database, sql, parameters=None):
    with pytest.raises(ConfigurationError) as caught:
        database.query(sql, parameters)
    return str(caught.value)


class TestAnswers:
    def test_counts_rows_with_a_bound_parameter(self, database):
        result = database.query("SELECT count(*) AS n FROM flights WHERE origin = $o", {"o": "JFK"})
        assert result.columns == (("n", "BIGINT"),)
        assert result.rows == [(4,)]
        assert not result.truncated

    def test_leaves_out_parameters_that_the_sql_does_not_use(self, database):
        assert database.query("SELECT $a AS a", {"a": 1, "b": 2}).rows == [(1,)]

    def test_keeps_order_and_says_when_it_cut(self, database):
        sql = "SELECT number FROM flights ORDER BY number DESC"
        cut = database.query(sql, max_rows=3)
        assert (cut.rows, cut.truncated) == ([(9,), (8,), (7,)], True)
        whole = database.query(sql, max_rows=10)
        assert (len(whole.rows), whole.truncated) == (10, False)

    def test_gives_exact_and_zoned_values(self, database):
        result = database.query("SELECT max(hour), sum(fare), max(day) FROM flights")
        assert result.rows == [
            (datetime(2013, 2, 8, 10, tzinfo=UTC), Decimal("11.00"), date(2013, 2, 9))
        ]

    def test_keeps_order_beside_a_zoned_time(self, database):
        result = database.query("SELECT hour, number FROM flights ORDER BY number DESC LIMIT 2 -- top")
        assert [row[1] for row in result.rows] == [9, 8]
        assert [name for name, _ in result.columns] == ["hour", "number"]

    @pytest.mark.parametrize(
        "sql",
        [
            "WITH a AS (SELECT * FROM flights) SELECT count(*) FROM a;",
            "FROM flights SELECT count(*)",
            "SELECT sum(x) FROM generate_series(1, 4) AS t(x)",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10) FROM r",
            "SELECT * FROM FLIGHTS f JOIN (SELECT 1 AS number) USING (number)",
            "SELECT lpad(number::VARCHAR, 5, '0'), printf('%5.1f', fare) FROM flights",
            "SELECT unnest(range(3)) UNION SELECT number FROM flights",
            "PIVOT flights ON origin IN ('JFK', 'LGA') USING count(*) GROUP BY day",
            "SELECT replace(replace(origin, 'J', 'j'), 'F', 'f') || '-' || number || day FROM flights",
            "WITH a AS (SELECT concat(origin, ' ', number) AS n FROM flights) SELECT n || n FROM a",
            "SELECT list(number) FROM flights",
            "SELECT number /* ; DROP VIEW flights */ FROM flights -- ; DROP VIEW flights",
            "SELECT ';' AS \"a;b\" FROM flights;",
            "SELECT number, row_number() OVER (PARTITION BY origin ORDER BY number) FROM flights",
        ],
    )
    def test_allows_what_analysts_write(self, database, sql):
        assert database.query(sql).rows

    def test_runs_queries_from_several_threads(self, database):
        counts = []
        threads = [
            threading.Thread(
                target=lambda: counts.append(database.query("SELECT count(*) FROM flights").rows)
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [[(10,)]] * 8

    def test_is_closed_after_use(self, flights):
        with Database({"flights": flights}) as opened:
            pass
        with pytest.raises(RuntimeError, match="with statement"):
            opened.query("SELECT 1")


class TestMessages:
    def test_missing_column_lists_those_that_exist(self, database):
        message = refusal(database, "SELECT nope FROM flights")
        assert "'nope'" in message
        assert "flights (number, origin, day, hour, fare)" in message

    def test_missing_column_of_an_alias(self, database):
        assert "'nope'" in refusal(database, "SELECT f.nope FROM flights f")

    def test_missing_table_lists_those_that_exist(self, database):
        assert refusal(database, "SELECT * FROM flight") == (
            "There is no table 'flight'. Tables that exist: flights."
        )

    def test_missing_parameter(self, database):
        message = refusal(database, "SELECT $day", {"date": 1})
        assert "day" in message
        assert "$date" in message

    def test_value_that_cannot_be_cast(self, database):
        assert "JFK" in refusal(database, "SELECT origin::INTEGER FROM flights")

    def test_nothing_to_run(self, database):
        assert "Exactly one" in refusal(database, " -- nothing")

    def test_syntax(self, database):
        assert "syntax error" in refusal(database, "SELEC 1")

    def test_missing_file(self, tmp_path):
        with pytest.raises(SourceError, match="'flights'"), Database({"flights": tmp_path / "no"}):
            pass

    def test_file_that_is_not_parquet(self, tmp_path):
        (tmp_path / "x.parquet").write_text("a,b\n1,2\n")
        with (
            pytest.raises(SourceError, match="'flights'"),
            Database({"flights": tmp_path / "x.parquet"}),
        ):
            pass

    @pytest.mark.parametrize("name", ["", "a b", 'a"b', "1a", "a;b", "a" * 100])
    def test_name_unfit_for_sql(self, flights, name):
        with pytest.raises(ConfigurationError, match="cannot be used in SQL"):
            Database({name: flights})

    def test_names_that_differ_by_case(self, flights):
        with pytest.raises(ConfigurationError, match="cannot be used in SQL"):
            Database({"a": flights, "A": flights})


class TestAttacks:
    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_text('/etc/passwd')",
            "SELECT * FROM read_blob('/etc/passwd')",
            "SELECT * FROM read_json_objects('/etc/passwd')",
            "SELECT * FROM glob('/*')",
            "SELECT * FROM '/etc/passwd'",
            'SELECT * FROM "/etc/passwd"',
            "FROM 'https://example.com/x.parquet'",
            "FROM read_parquet('s3://bucket/x.parquet')",
            "SELECT (SELECT count(*) FROM '/etc/passwd')",
            "WITH a AS (FROM read_csv('/etc/passwd')) FROM a",
            "SELECT * FROM flights WHERE origin IN (FROM read_text('/etc/passwd') SELECT content)",
            "SELECT * FROM query('FROM duckdb_settings()')",
            "SELECT * FROM query_table('flights')",
            "SELECT * FROM sniff_csv('/etc/passwd')",
            "SELECT * FROM parquet_metadata('/etc/passwd')",
            "SELECT * FROM sqlite_scan('/tmp/x.db', 't')",
            "SELECT * FROM pandas_scan(1)",
            "COPY flights TO '/tmp/stolen.csv'",
            "COPY (SELECT 1) TO '/tmp/stolen.csv'",
            "EXPORT DATABASE '/tmp/stolen'",
            "IMPORT DATABASE '/tmp/stolen'",
            "ATTACH '/tmp/x.db'",
            "DETACH memory",
            "USE memory",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET memory_limit = '100GB'",
            "SET lock_configuration = false",
            "RESET enable_external_access",
            "PRAGMA database_list",
            "CALL pragma_version()",
            "CREATE TABLE t AS SELECT 1",
            "CREATE MACRO m() AS 1",
            "CREATE SECRET (TYPE s3)",
            "DROP VIEW flights",
            "ALTER VIEW flights RENAME TO f",
            "INSERT INTO flights VALUES (1)",
            "UPDATE flights SET number = 1",
            "DELETE FROM flights",
            "WITH x AS (INSERT INTO flights VALUES (1) RETURNING *) FROM x",
            "BEGIN",
            "CHECKPOINT",
            "VACUUM",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT * FROM flights",
            "DESCRIBE flights",
            "SUMMARIZE flights",
            "SHOW TABLES",
            "SELECT * FROM (DESCRIBE flights)",
            "SELECT * FROM (SHOW ALL TABLES)",
            "SELECT 1; SELECT 2",
            "SELECT 1; DROP VIEW flights",
            "SELECT getenv('HOME')",
            "SELECT current_setting('allowed_paths')",
            "SELECT * FROM duckdb_settings()",
            "SELECT * FROM duckdb_views()",
            "SELECT * FROM duckdb_views",
            "SELECT * FROM duckdb_secrets()",
            "SELECT * FROM which_secret('x', 's3')",
            "SELECT * FROM information_schema.tables",
            "SELECT * FROM pg_catalog.pg_class",
            "SELECT * FROM pg_views",
            "SELECT * FROM sqlite_master",
            "SELECT * FROM memory.main.flights",
            "WITH sqlite_master AS (SELECT 1) SELECT * FROM sqlite_master",
            "SELECT pg_get_viewdef(1)",
            "SELECT getvariable('x')",
            "SELECT json_execute_serialized_sql('{}')",
            "SELECT * FROM json_execute_serialized_sql('{}')",
            "SELECT write_log('x')",
            "SELECT * FROM enable_logging()",
            "PIVOT flights ON origin USING count(*)",
            # names written otherwise
            "SELECT * FROM READ_CSV('/etc/passwd')",
            "SELECT * FROM \"read_text\"('/etc/passwd')",
            "SELECT * FROM main.read_text('/etc/passwd')",
            "SELECT * FROM system.main.read_text('/etc/passwd')",
            "SELECT GETENV('HOME')",
            "SELECT \"getenv\"('HOME')",
            "SELECT 'HOME'.getenv()",
            "SELECT system.main.getenv('HOME')",
            "FROM 'file:///etc/passwd'",
            "FROM 'hf://datasets/x/y.parquet'",
            'TABLE "/etc/passwd"',
            # places where one forgets to look
            "SELECT * FROM flights, LATERAL (FROM read_text('/etc/passwd'))",
            "SELECT * FROM flights ORDER BY (SELECT content FROM read_text('/etc/passwd'))",
            "SELECT * FROM flights LIMIT (SELECT count(*) FROM glob('/*'))",
            "SELECT count(*) FROM flights HAVING (SELECT true FROM glob('/*'))",
            "SELECT * FROM flights QUALIFY (SELECT true FROM glob('/*'))",
            "SELECT sum(number) OVER (PARTITION BY (SELECT count(*) FROM glob('/*'))) FROM flights",
            "SELECT count(*) FILTER ((SELECT true FROM glob('/*'))) FROM flights",
            "SELECT * REPLACE (getenv('HOME') AS origin) FROM flights",
            "SELECT COLUMNS(lambda c: getenv('HOME') = c) FROM flights",
            "SELECT list_transform([1], lambda x: getenv('HOME'))",
            "SELECT [getenv('HOME') FOR x IN [1]]",
            "SELECT {'a': (FROM read_text('/etc/passwd') SELECT content)}",
            "VALUES (getenv('HOME'))",
            "WITH t AS MATERIALIZED (FROM read_text('/etc/passwd')) FROM t",
            "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a FROM t, glob('/*')) FROM t",
            "FROM flights POSITIONAL JOIN (FROM glob('/*'))",
            "UNPIVOT (FROM glob('/*')) ON file",
            "SELECT EXISTS (FROM glob('/*'))",
            # statements behind comments and odd spaces
            "SELECT 1 --\n; ATTACH '/tmp/x.db'",
            "SELECT 1 /* ; */ ; /* x */ SELECT 2",
            "SELECT 1;\u00a0SELECT 2",
            "SELECT ';'; COPY flights TO '/tmp/stolen.csv'",
            "SELECT $$;$$; DROP VIEW flights",
            "SELECT $a$ ' $a$; INSTALL httpfs",
            "/* SELECT */ COPY flights TO '/tmp/stolen.csv'",
            "\ufeffCOPY flights TO '/tmp/stolen.csv'",
            "\uff33\uff25\uff2c\uff25\uff23\uff34 1",
            "(SELECT 1); LOAD httpfs",
            # further kinds of statements
            "UPDATE EXTENSIONS",
            "FORCE INSTALL httpfs",
            "TRUNCATE flights",
            "SET VARIABLE a = 1",
            "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
            "COPY FROM DATABASE memory TO m",
            "COMMENT ON VIEW flights IS 'x'",
            "MERGE INTO flights USING flights AS f ON true WHEN MATCHED THEN DELETE",
            # SQL, plans and values from text
            "SELECT json_serialize_plan('SELECT 1', optimize := true)",
            "SELECT json_serialize_sql('SELECT 1')",
            "SELECT json_deserialize_sql('{}')",
            "SELECT version()",
            "SELECT filename FROM flights",
            "SELECT * FROM repeat_row(1, num_rows = 1000000000)",
            "SELECT * FROM seq_scan('flights')",
            "SELECT * FROM parquet_kv_metadata('/etc/passwd')",
            "FROM flights WHERE number = $1",
        ],
    )
    def test_refused(self, database, sql, tmp_path):
        message = refusal(database, sql)
        assert str(tmp_path) not in message
        assert re.search("hat exist|llowed|DuckDB refused|may not be named|no value", message)
        assert database.query("SELECT count(*) FROM flights").rows == [(10,)]

    def test_python_variables_are_no_tables(self, database):
        secret = [("planted",)]
        assert "no table 'secret'" in refusal(database, "SELECT * FROM secret")
        del secret

    def test_the_engine_itself_is_locked_behind_the_inspection(self, database, flights):
        other = flights.with_name("other.parquet")
        other.write_bytes(flights.read_bytes())
        cursor = database._connection.cursor()
        for sql in (
            "FROM read_csv('/etc/passwd')",
            f"FROM read_parquet('{str(other).replace(chr(39), chr(39) * 2)}')",
            "COPY (SELECT 1) TO '/tmp/stolen.csv'",
            "ATTACH '/tmp/stolen.db'",
            "SET memory_limit = '100GB'",
            "SET lock_configuration = false",
            "INSTALL httpfs",
            "LOAD httpfs",
        ):
            with pytest.raises(duckdb.Error):
                cursor.execute(sql)

    def test_a_parameter_is_never_sql(self, database):
        hostile = "x' OR 1=1; DROP VIEW flights; --"
        rows = database.query("SELECT count(*) FROM flights WHERE origin = $o", {"o": hostile}).rows
        assert rows == [(0,)]

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT count(*) FROM range(100000000) a, range(1000) b WHERE hash(a.range, b.range) = 7",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
        ],
    )
    def test_endless_work_is_stopped(self, flights, sql):
        with Database({"flights": flights}, timeout=0.3) as database:
            assert "ran longer than 0.3 s" in refusal(database, sql)
            assert database.query("SELECT 1").rows == [(1,)]

    def test_memory_is_bounded(self, flights):
        with Database({"flights": flights}, memory_limit="64MiB") as database:
            assert "memory limit of 64MiB" in refusal(
                database, "SELECT len(list(range)) FROM range(100000000)"
            )
            assert database.query("SELECT 1").rows == [(1,)]

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT repeat('x', 2000000000)",
            "SELECT repeat('x', number * 1000000) FROM flights",
            "SELECT repeat(repeat('x', 1000), 1000)",
            "SELECT 'x'.repeat(2000000000)",
            "SELECT lpad('x', 2000000000, 'y')",
            "SELECT len(range(1000000000))",
            "SELECT generate_series(-1000000000, 0)",
            "SELECT list_resize([1], 1000000000)",
            "SELECT printf('%2000000000d', 1)",
            "SELECT printf('%*d', 2000000000, 1)",
            "SELECT format('{:>{}}', 'x', 2000000000)",
            "SELECT format('{:>' || 2000000000 || '}', 'x')",
            "SELECT unnest(range(1000000000))",
            "SELECT bitstring('1', 2000000000)",
        ],
    )
    def test_inflating_functions_are_refused(self, database, sql):
        assert "only allowed with a" in refusal(database, sql)

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT replace(replace(origin, 'J', repeat('y', 999)), 'y', repeat('z', 999)) FROM flights",
            "SELECT regexp_replace(replace(origin, 'J', origin), '.', origin, 'g') FROM flights",
            f"SELECT replace(replace(origin, 'J', '{'y' * 200}'), 'y', '{'z' * 200}') FROM flights",
            f"{'SELECT s || s AS s FROM (' * 20}SELECT origin AS s FROM flights{') AS t' * 20}",
        ],
    )
    def test_texts_heaped_upon_texts_are_refused(self, database, sql):
        assert "puts too many or too long texts together" in refusal(database, sql)

    @pytest.mark.parametrize(
        "name",
        [
            "levenshtein",
            "editdist3",
            "damerau_levenshtein",
            "jaro_similarity",
            "Jaro_Winkler_Similarity",
        ],
    )
    def test_what_nothing_could_stop_is_refused(self, database, name):
        assert "is not allowed" in refusal(database, f"SELECT {name}(origin, origin) FROM flights")

    @pytest.mark.parametrize("name", ["list_reduce", "reduce", "array_reduce"])
    def test_a_text_doubled_in_a_fold_is_refused(self, database, name):
        sql = f"SELECT {name}(list(origin), lambda a, b: a || a) FROM flights"
        assert "not allowed to join" in refusal(database, sql)
        total = f"SELECT {name}(list(number), lambda a, b: a + b) FROM flights"
        assert database.query(total).rows == [(45,)]

    @pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory is not known here")
    def test_memory_that_duckdb_does_not_see_is_bounded_too(self, flights):
        inner = "list_transform(range(1000), lambda y: list_transform(range(1000), lambda z: z))"
        with Database({"flights": flights}, memory_limit="64MiB", timeout=60.0) as database:
            assert "memory limit of 64MiB" in refusal(
                database, f"SELECT list_transform(range(1000), lambda x: {inner})"
            )
            assert database.query("SELECT 1").rows == [(1,)]

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT list(range) AS n FROM range(20000)",
            "SELECT string_agg('0123456789', '') FROM range(200000)",
            "SELECT {'a': list(range)} FROM range(2000000)",
            "SELECT string_agg('0123456789', '')::BLOB FROM range(200000)",
        ],
    )
    def test_a_huge_cell_never_leaves_duckdb(self, database, sql):
        assert "larger than 1000000 characters or 10000 items" in refusal(database, sql)

    def test_a_huge_result_is_cut_and_memory_stays(self, database):
        result = database.query("SELECT a.number FROM flights a, range(100000000)", max_rows=3)
        assert (len(result.rows), result.truncated) == (3, True)

    def test_an_interrupt_never_hits_the_next_query(self, flights):
        slow = "SELECT count(*) FROM range(100000000) a, range(1000) b WHERE hash(a.range, b.range) = 7"
        with Database({"flights": flights}, timeout=0.05) as database:
            for _ in range(5):
                refusal(database, slow)
                assert database.query("SELECT 1").rows == [(1,)]

    def test_deep_nesting_is_refused(self, database):
        refusal(database, "SELECT " + "(" * 5_000 + "1" + ")" * 5_000)
        refusal(database, "SELECT " + "-" * 1 + "+ 1 " * 4_000)

    def test_long_sql_is_refused(self, database):
        assert "characters" in refusal(database, "SELECT 1 -- " + "x" * 30_000)

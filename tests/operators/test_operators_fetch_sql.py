"""SQL connections as tasks use them: PostgreSQL and SQLite, by Airflow's own hooks."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from importlib import import_module
from types import SimpleNamespace

import psycopg  # noqa: TID253 — a test pays no DAG parse
import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.exceptions import ConfigurationError, SourceUnavailableError
from kimi_provider.hooks.sql import one_select, reading_cursor
from kimi_provider.operators.fetch_sql import SqlFetchOperator
from kimi_provider.sources.protect import Columns


@pytest.fixture
def storage(monkeypatch, tmp_path):
    folder = tmp_path / "storage"
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", folder.as_uri())
    monkeypatch.setenv("AIRFLOW__KIMI__HASH_KEY", "a key of the tests only")
    return folder


@pytest.fixture
def sqlite_file(monkeypatch, tmp_path):
    file = tmp_path / "flights.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE flights (day TEXT, carrier TEXT, delay REAL)")
        rows = [("2013-02-08", "UA", 23.5), ("2013-02-08", "AA", None), ("2013-02-09", "UA", 1.0)]
        connection.executemany("INSERT INTO flights VALUES (?, ?, ?)", rows)
        connection.commit()
    connection = {"conn_type": "sqlite", "host": str(file)}
    monkeypatch.setenv("AIRFLOW_CONN_FLIGHTS_DB", json.dumps(connection))
    return file


@pytest.fixture
def warehouse(monkeypatch, postgres):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS orders")
        connection.execute("CREATE TABLE orders (id int, day date, amount numeric(9,2), note text)")
        connection.execute(
            "INSERT INTO orders SELECT i, date '2013-02-01' + i % 10, i / 4.0, 'note ' || i "
            "FROM generate_series(1, 10000) AS i"
        )
        yield connection
        connection.execute("DROP TABLE IF EXISTS orders")


@pytest.fixture
def run(storage):
    def execute(sql, *, render=None, search_path=None, **arguments):
        dag = DAG("d", schedule=None, template_searchpath=search_path)
        task = SqlFetchOperator(task_id="fetch", dag=dag, sql=sql, **arguments)
        if search_path:
            task.resolve_template_files()
        task.render_template_fields(render or {})
        ti = SimpleNamespace(dag_id="d", run_id="r", task_id="fetch", map_index=-1, try_number=1)
        return task.execute({"ti": ti})

    return execute


def _types(dataset):
    return {column["name"]: column["type"] for column in dataset["columns"]}


class TestSqlite:
    def test_parameters_are_rendered_and_bound(self, run, sqlite_file):
        dataset = run(
            "SELECT carrier, delay FROM flights WHERE day = :day",
            parameters={"day": "{{ ds }}"},
            conn_id="{{ database }}",
            render={"ds": "2013-02-08", "database": "flights_db"},
        )
        assert dataset["rows"] == 2
        assert dataset["source"] == "The sqlite connection 'flights_db'"
        assert _types(dataset) == {"carrier": "VARCHAR", "delay": "DECIMAL(18,1)"}

    def test_a_value_that_is_sql_finds_nothing_and_changes_nothing(self, run, sqlite_file):
        dataset = run(
            "SELECT carrier FROM flights WHERE day = ?",
            parameters=["{{ day }}"],
            conn_id="flights_db",
            render={"day": "' OR 1 = 1; DROP TABLE flights; --"},
            allow_empty=True,
        )
        assert dataset["rows"] == 0

    def test_the_statement_can_lie_in_a_file(self, run, sqlite_file, tmp_path):
        (tmp_path / "late.sql").write_text("SELECT * FROM {{ table }} WHERE delay > :least -- late\n;\n")
        dataset = run(
            "late.sql",
            parameters={"least": 5},
            conn_id="flights_db",
            search_path=[str(tmp_path)],
            render={"table": "main.flights"},
        )
        assert dataset["rows"] == 1

    @pytest.mark.parametrize(
        "value",
        ["' OR ''='", "x y", "1;2", "a--b", "a/*", "", "a.b.c.d.e", "(1)", "a,b", "'a'", None, [1], "ł"],
    )
    def test_a_statement_is_not_put_together_from_values(self, run, sqlite_file, value):
        if value is None or value == "ł":
            value = "a\nb"
        with pytest.raises(ConfigurationError, match="bind the value by parameters"):
            run("SELECT '{{ value }}'", conn_id="flights_db", render={"value": value})

    @pytest.mark.parametrize("value", ["flights", "main.flights", 7, -1.5, "2013-02-08"])
    def test_names_numbers_and_dates_may_be_put_in(self, run, sqlite_file, value):
        dataset = run("SELECT '{{ value }}' AS a", conn_id="flights_db", render={"value": value})
        assert dataset["columns"][0]["minimum"] == str(value)

    def test_nothing_is_written_to_the_database(self, run, sqlite_file):
        before = sqlite_file.read_bytes()
        for statement in ("DELETE FROM flights", "CREATE TABLE x (a)", "PRAGMA query_only = OFF"):
            with pytest.raises(AirflowFailException, match="has to be a SELECT"):
                run(statement, conn_id="flights_db")
        with pytest.raises(AirflowFailException, match="DELETE"):
            run("WITH x AS (SELECT 1) DELETE FROM flights RETURNING *", conn_id="flights_db")
        assert sqlite_file.read_bytes() == before

    def test_the_connection_itself_only_reads(self, sqlite_file):
        with reading_cursor("flights_db", timeout=10) as reading:
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reading.cursor.execute("DELETE FROM flights")
            assert reading.cursor.execute("SELECT count(*) FROM flights").fetchone() == (3,)

    def test_a_statement_that_runs_too_long_is_stopped(self, run, sqlite_file):
        sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        with pytest.raises(AirflowFailException, match=r"interrupted.*raise timeout"):
            run(sql, conn_id="flights_db", limits={"timeout": 0.2})

    def test_a_failure_stores_nothing(self, run, sqlite_file, storage):
        with pytest.raises(AirflowFailException, match="max_rows=2"):
            run("SELECT * FROM flights", conn_id="flights_db", limits={"max_rows": 2})
        assert not [path for path in storage.rglob("*") if path.is_file()]


class TestPostgres:
    def test_rows_come_typed(self, run, warehouse):
        dataset = run(
            "SELECT id, day, amount, note FROM orders WHERE day >= %(day)s",
            parameters={"day": "{{ ds }}"},
            conn_id="warehouse",
            render={"ds": "2013-02-08"},
        )
        assert dataset["rows"] == 3000
        assert _types(dataset) == {
            "id": "BIGINT", "day": "DATE", "amount": "DECIMAL(9,2)", "note": "VARCHAR"
        }  # fmt: skip

    def test_columns_are_protected_before_they_are_stored(self, run, warehouse):
        policy = Columns(drop=["note"], hash=["id"])
        dataset = run("SELECT id, amount, note FROM orders", conn_id="warehouse", columns=policy)
        assert _types(dataset) == {"id": "VARCHAR", "amount": "DECIMAL(9,2)"}
        assert dataset["dropped"] == ["note"]
        assert dataset["columns"][0]["protected"] == "hash"

    def test_rows_stay_on_the_server_until_they_are_asked_for(self, run, warehouse):
        sql = "SELECT generate_series(1, 1000000000000) AS i"
        with pytest.raises(AirflowFailException, match="max_rows=1000 "):
            run(sql, conn_id="warehouse", limits={"max_rows": 1000})

    @pytest.mark.parametrize(
        ("sql", "told"),
        [
            ("WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone", "refused"),
            ("SELECT nextval('numbers')", "read-only"),
            ("SELECT 1; DELETE FROM orders", "2 statements"),
            ("SELECT 1; COMMIT; DELETE FROM orders; SELECT 2", "4 statements"),
            ("DELETE FROM orders RETURNING id", "DELETE"),
            ("-- SELECT\nDROP TABLE orders", "DROP"),
            ("CALL something()", "has to be a SELECT"),
            ("", "0 statements"),
            ("-- nothing;", "0 statements"),
        ],
    )
    def test_nothing_is_written_to_the_database(self, run, warehouse, sql, told):
        warehouse.execute("CREATE SEQUENCE IF NOT EXISTS numbers")
        with pytest.raises(AirflowFailException, match=told):
            run(sql, conn_id="warehouse")
        assert warehouse.execute("SELECT count(*) FROM orders").fetchone() == (10_000,)

    def test_a_statement_that_runs_too_long_is_stopped_by_the_server(self, run, warehouse):
        with pytest.raises(AirflowFailException, match=r"statement timeout.*raise timeout"):
            run("SELECT pg_sleep(60)::text AS a", conn_id="warehouse", limits={"timeout": 0.2})

    def test_rows_as_dictionaries_are_read_as_any_other(self, run, warehouse, monkeypatch, postgres):
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"{postgres}?cursor=dictcursor")
        assert run("SELECT id FROM orders", conn_id="warehouse")["rows"] == 10_000
        with pytest.raises(AirflowFailException, match="'a' twice"):
            run("SELECT 1 AS a, 2 AS a", conn_id="warehouse")

    @pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
    def test_each_driver_reads_only_and_streams(self, warehouse, postgres, monkeypatch, driver):
        connect = import_module(driver).connect
        monkeypatch.setattr(PostgresHook, "get_conn", lambda self: connect(postgres))
        with reading_cursor("warehouse", timeout=30) as reading:
            assert reading.postgres
            reading.cursor.execute("SELECT generate_series(1, 1000000000000) AS i")
            assert reading.cursor.fetchmany(2) == [(1,), (2,)]
            assert reading.cursor.description[0][0] == "i"
        warehouse.execute("CREATE SEQUENCE IF NOT EXISTS numbers")
        for sql, told in (
            ("SELECT nextval('numbers')", "read-only transaction"),
            ("SELECT pg_sleep(60)", "statement timeout"),
        ):
            with pytest.raises(Exception, match=told):
                _first_row(sql, timeout=0.5)

    def test_no_connection_stays_open(self, run, warehouse):
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        before = warehouse.execute(sessions).fetchone()
        run("SELECT id FROM orders", conn_id="warehouse")
        with pytest.raises(AirflowFailException):
            run("SELECT nothing FROM orders", conn_id="warehouse")
        with pytest.raises(AirflowFailException):
            run("SELECT id FROM orders", conn_id="warehouse", limits={"max_rows": 1})
        assert _eventually(lambda: warehouse.execute(sessions).fetchone() == before)

    def test_a_retry_gives_the_same_dataset(self, run, warehouse):
        first = run("SELECT * FROM orders ORDER BY id", conn_id="warehouse")
        second = run("SELECT * FROM orders ORDER BY id DESC", conn_id="warehouse")
        assert (first["uri"], first["sha256"]) == (second["uri"], second["sha256"])


def _first_row(sql, *, timeout):
    with reading_cursor("warehouse", timeout=timeout) as reading:
        reading.cursor.execute(sql)
        return reading.cursor.fetchmany(1)


def _eventually(condition):
    """Give the server a moment to notice that a client has left."""
    import time

    return any(condition() or time.sleep(0.05) for _ in range(100))


class TestConnections:
    def test_that_cannot_be_reached_are_tried_again_by_airflow(self, run, monkeypatch):
        import socket

        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        url = f"postgresql://someone:secret-word@127.0.0.1:{port}/x"
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", url)
        with pytest.raises(SourceUnavailableError, match=r"'warehouse' failed: .*refused") as caught:
            run("SELECT 1", conn_id="warehouse")
        assert "secret-word" not in str(caught.value)

    def test_of_another_kind_are_refused(self, run, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_WEB", "http://127.0.0.1")
        with pytest.raises(AirflowFailException, match=r"'web'.*http"):
            run("SELECT 1", conn_id="web")
        monkeypatch.setenv("AIRFLOW_CONN_KIMI", "kimi://127.0.0.1")
        with pytest.raises(AirflowFailException, match=r"'kimi'.*no SQL database"):
            run("SELECT 1", conn_id="kimi")

    def test_that_do_not_exist_are_named(self, run):
        with pytest.raises(Exception, match="nowhere"):
            run("SELECT 1", conn_id="nowhere")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ';' AS a",
        'SELECT 1 AS "a;b"',
        "SELECT 1 -- a; b",
        "SELECT 1 /* ; */ ;",
        "WITH x AS (SELECT 1) SELECT * FROM x;",
        "(SELECT 1) UNION (SELECT 2)",
        "select 1;;",
    ],
)
def test_one_statement_is_one(sql):
    assert one_select(sql).rstrip().endswith(sql.rstrip("; "))

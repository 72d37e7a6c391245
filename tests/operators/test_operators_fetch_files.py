"""Files in object storage as tasks use them; and the same data by every way in."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import zipfile
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import duckdb  # noqa: TID253 — a test pays no DAG parse
import msgspec
import openpyxl  # noqa: TID253 — the same
import psycopg  # noqa: TID253 — the same
import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from kimi_provider.exceptions import SourceUnavailableError
from kimi_provider.operators.fetch_files import FileFetchOperator
from kimi_provider.operators.fetch_sql import SqlFetchOperator
from kimi_provider.sources.protect import Columns

FLIGHTS = Path(__file__).parents[3] / "shared" / "data" / "flights.csv.zip"
ALL_FLIGHTS = 336_776
PER_PAGE = 1_000


@pytest.fixture
def storage(monkeypatch, tmp_path):
    folder = tmp_path / "storage"
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", folder.as_uri())
    return folder


@pytest.fixture
def folder(tmp_path):
    """A folder of files of two days."""
    folder = tmp_path / "in"
    for day, rows in (("2013-02-08", "1\n2\n"), ("2013-02-09", "3\n")):
        (folder / day).mkdir(parents=True)
        (folder / day / "flights.csv").write_text(f"n\n{rows}")
        (folder / day / "notes.md").write_text("no data")
    (folder / "2013-02-10").mkdir()
    return folder


def run(operator_class, *, render=None, **arguments):
    task = operator_class(task_id="fetch", dag=DAG("d", schedule=None), **arguments)
    task.render_template_fields(render or {})
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="fetch", map_index=-1, try_number=1)
    return task.execute({"ti": ti})


@pytest.fixture
def fetch(storage):
    return lambda path, **arguments: run(FileFetchOperator, path=path, **arguments)


@pytest.fixture
def bucket():
    """An object store in memory, opened by a connection, as S3 is."""
    files = MemoryFileSystem()
    attach("memory", conn_id="vault", fs=files)
    yield files
    files.rm("/", recursive=True)


class TestPaths:
    def test_wildcards_are_matched(self, fetch, folder):
        assert fetch(f"{folder}/2013-02-08/flights.csv")["rows"] == 2
        assert fetch(f"{folder.as_uri()}/*/flights.csv")["rows"] == 3
        assert fetch(f"{folder}/2013-02-0[9]/*.csv")["rows"] == 1
        assert fetch(f"{folder}/**/*.csv")["rows"] == 3
        assert fetch(f"{folder}/2013-02-0?/fl*")["rows"] == 3

    def test_files_are_named_below_the_fixed_part(self, fetch, folder):
        dataset = fetch(f"{folder}/*/flights.csv", source_column="file")
        names = {top["value"] for top in dataset["columns"][0]["top"]}
        assert names == {"2013-02-08/flights.csv"}
        assert dataset["columns"][0]["maximum"] == "2013-02-09/flights.csv"
        assert dataset["source"] == f"{folder}/*/flights.csv"

    def test_the_path_is_rendered(self, storage, folder):
        path = f"{folder}/{{{{ ds }}}}/*.csv"
        assert run(FileFetchOperator, path=path, render={"ds": "2013-02-09"})["rows"] == 1

    @pytest.mark.parametrize("value", ["..", "../2013-02-08", "2013-02-08/../../in/2013-02-08"])
    def test_a_value_cannot_climb_out(self, storage, folder, value):
        path = f"{folder}/2013-02-09/{{{{ value }}}}/flights.csv"
        with pytest.raises(AirflowFailException, match=r"'\.\.' could lead out"):
            run(FileFetchOperator, path=path, render={"value": value})

    @pytest.mark.parametrize(
        ("path", "told"),
        [
            ("in/*.csv", "relative"),
            ("{folder}/2013-02-08", "names the folder .*add what to read"),
            ("{folder}/2013-02-10/*.csv", r"No file matches .*2013-02-10/\*\.csv.*sensor"),
            ("{folder}/2013-02-08/gone.csv", r"No file matches .*gone\.csv"),
            ("{folder}/2013-02-08/*", "'2013-02-08/notes.md'|'notes.md' does not say"),
        ],
    )
    def test_that_lead_nowhere_are_told(self, fetch, folder, path, told):
        with pytest.raises(AirflowFailException, match=told):
            fetch(path.format(folder=folder))

    def test_a_scheme_without_a_provider_is_told(self, fetch):
        with pytest.raises(AirflowFailException, match=r"nosuch://bucket.*Unsupported.*Install"):
            fetch("nosuch://bucket/x.csv")

    def test_an_object_store_is_read_by_its_connection(self, fetch, bucket, tmp_path):
        bucket.pipe("/data/2013/a.csv", b"n\n1\n")
        bucket.pipe("/data/2013/b.csv.gz", gzip.compress(b"n\n2\n"))
        made = str(tmp_path / "made.parquet")
        duckdb.connect().execute(f"COPY (SELECT 7 AS n) TO '{made}'")
        bucket.pipe("/data/c.parquet", Path(made).read_bytes())
        assert fetch("memory://data/2013/*", storage_conn_id="vault", format="csv")["rows"] == 2
        assert fetch("memory://vault@data/**/*.csv*")["rows"] == 2
        dataset = fetch("memory://vault@data/c.parquet")
        assert (dataset["rows"], dataset["source"]) == (1, "memory://vault@data/c.parquet")
        with pytest.raises(AirflowFailException, match="max_file_bytes=3 "):
            fetch("memory://vault@data/2013/*.csv", limits={"max_file_bytes": 3})

    @pytest.mark.parametrize(
        ("path", "refused"),
        [
            ("in/*.csv", "find"),
            ("in/*.csv", "info"),
            ("in/*.csv", "open"),
            ("in/a.csv", "info"),
            ("in/a.csv", "read"),
        ],
    )
    def test_what_a_vendors_client_raises_is_told_with_the_file(
        self, fetch, bucket, monkeypatch, path, refused
    ):
        bucket.pipe("/in/a.csv", b"n\n1\n")

        class ClientError(Exception):
            """Such as botocore's, which is no OSError."""

        def refuse(*_, **__):
            raise ClientError("key AKIA123 is refused")

        with monkeypatch.context() as store:
            if refused == "read":
                store.setattr("fsspec.implementations.memory.MemoryFile.read", refuse, raising=False)
            else:
                store.setattr(MemoryFileSystem, refused, refuse)
            with pytest.raises(SourceUnavailableError, match=r"a\.csv|in/\*\.csv") as told:
                fetch(f"memory://vault@{path}")
        assert "did not answer (ClientError)" in str(told.value)
        assert "AKIA123" not in str(told.value)

    def test_a_dataset_in_the_storage_can_be_read_again(self, fetch, folder):
        first = fetch(f"{folder}/*/flights.csv")
        second = fetch(first["uri"])
        assert first["sha256"] == second["sha256"]


def test_columns_are_protected_before_they_are_stored(fetch, tmp_path):
    (tmp_path / "a.csv").write_text("mail,note,n\nann@example.com,to bob@example.com,1\n")
    dataset = fetch(f"{tmp_path}/a.csv", columns=Columns(drop=["note"], mask=["mail"]))
    assert dataset["dropped"] == ["note"]
    assert [column["protected"] for column in dataset["columns"]] == ["mask", None]
    assert "example.com" not in json.dumps(dataset)


@pytest.mark.parametrize(
    ("operator_class", "arguments"),
    [(FileFetchOperator, {"path": "/x"}), (SqlFetchOperator, {"sql": "SELECT 1", "conn_id": "x"})],
)
def test_datasets_are_announced_as_assets(operator_class, arguments, storage, folder, monkeypatch):
    task = operator_class(task_id="fetch", dag=DAG("d", schedule=None), **arguments)
    assert task.outlets == [Asset(name="x-kimi://d/fetch", uri="x-kimi://d/fetch")]
    monkeypatch.setenv("AIRFLOW_CONN_X", json.dumps({"conn_type": "sqlite", "host": str(folder / "x")}))
    if "path" in arguments:
        task.path = f"{folder}/*/flights.csv"
    events = OutletEventAccessors()
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="fetch", map_index=-1, try_number=1)
    dataset = task.execute({"ti": ti, "outlet_events": events})
    assert events[task.outlets[0]].extra["sha256"] == dataset["sha256"]


def test_a_failure_leaves_what_was_there(fetch, folder, storage):
    before = fetch(f"{folder}/*/flights.csv")
    (folder / "2013-02-09" / "flights.csv").write_text("n\n3\n4,5\n")
    with pytest.raises(AirflowFailException, match=r"2013-02-09/flights\.csv has 2 cells in row 2"):
        fetch(f"{folder}/*/flights.csv")
    files = [path for path in storage.rglob("*") if path.is_file()]
    assert [path.as_uri() for path in files] == [before["uri"]]
    assert files[0].stat().st_size == before["bytes"]


# --- the same data by every way in ----------------------------------------------------------------


def test_a_day_has_one_hash_by_every_way_in(chain, simulator, tmp_path, monkeypatch):
    fetched = chain.fetch("flights", query={"from": "2013-02-08", "to": "2013-02-08"})
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'America/New_York'")
    connection.execute(
        "CREATE TABLE flights AS SELECT * REPLACE (strftime(make_timestamp(epoch_us(time_hour)), "
        f"'%Y-%m-%dT%H:%M:%SZ') AS time_hour) FROM '{fetched['uri'].removeprefix('file://')}'"
    )
    for name, options in {
        "a.csv": "FORMAT csv, NULLSTR 'NA'", "b.tsv.gz": "FORMAT csv, DELIMITER '\t', NULLSTR 'NA'",
        "c.jsonl.zst": "FORMAT json, COMPRESSION zstd", "d.json": "FORMAT json, ARRAY true",
        "e.parquet": "FORMAT parquet",
    }.items():  # fmt: skip
        connection.execute(f"COPY flights TO '{tmp_path / name}' ({options})")
    rows = connection.execute("SELECT * FROM flights").fetchall()
    names = [column[0] for column in connection.description]
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Flights")
    for row in (names, *rows):
        sheet.append(list(row))
    book.save(tmp_path / "f.xlsx")
    with closing(sqlite3.connect(tmp_path / "g.db")) as database:
        database.execute(f"CREATE TABLE flights ({', '.join(names)})")
        marks = ", ".join("?" * len(names))
        as_text = [
            [str(v) if n == "flight_date" else v for n, v in zip(names, r, strict=True)] for r in rows
        ]
        database.executemany(f"INSERT INTO flights VALUES ({marks})", as_text)
        database.commit()
    monkeypatch.setenv(
        "AIRFLOW_CONN_DAY", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "g.db")})
    )
    hashes = {
        path.name: run(FileFetchOperator, path=str(path), csv={"nulls": ["NA"]})["sha256"]
        for path in sorted(tmp_path.glob("[a-f].*"))
    }
    hashes["g.db"] = run(SqlFetchOperator, sql="SELECT * FROM flights", conn_id="day")["sha256"]
    assert len(hashes) == 7
    assert set(hashes.values()) == {fetched["sha256"]}


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    """All flights as a CSV file."""
    if not FLIGHTS.exists():
        pytest.skip("The data of all flights is not beside this checkout.")
    folder = tmp_path_factory.mktemp("flights")
    with zipfile.ZipFile(FLIGHTS) as archive:
        archive.extract("flights.csv", folder)
    return folder / "flights.csv"


@pytest.fixture
def flights_api(flights, tmp_path):
    """All flights in pages, as the simulator's API answers those of two months; the URL."""
    pages = tmp_path / "pages"
    pages.mkdir()
    total = -(-ALL_FLIGHTS // PER_PAGE)
    rows = duckdb.connect().execute(
        f"FROM read_csv('{flights}', nullstr = 'NA', types = {{'time_hour': 'VARCHAR'}})"
    )
    names = [column[0] for column in rows.description]
    for page in range(1, total + 1):
        data = [dict(zip(names, row, strict=True)) for row in rows.fetchmany(PER_PAGE)]
        answer = {"data": data, "page": page, "pages": total, "total": ALL_FLIGHTS}
        (pages / str(page)).write_bytes(msgspec.json.encode(answer))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            number = re.search(r"[?&]page=(\d+)", self.path)
            body = (pages / (number[1] if number else "1")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def flights_table(flights, postgres):
    """All flights in PostgreSQL; its URL."""
    kinds = {"carrier": "text", "tailnum": "text", "origin": "text", "dest": "text"}
    with flights.open(newline="") as file:
        names = next(csv.reader(file))
        columns = ", ".join(f"{name} {kinds.get(name, 'int')}" for name in names)
        columns = columns.replace("time_hour int", "time_hour timestamptz")
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS flights")
            connection.execute(f"CREATE TABLE flights ({columns})")
            with connection.cursor().copy("COPY flights FROM STDIN (FORMAT csv, NULL 'NA')") as copy:
                while part := file.read(1 << 20):
                    copy.write(part)
    yield postgres
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP TABLE flights")


OPERATOR = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import duckdb
from airflow.sdk import DAG, Asset
from kimi_provider.operators.fetch import HttpFetchOperator
from kimi_provider.operators.fetch_files import FileFetchOperator
from kimi_provider.operators.fetch_sql import SqlFetchOperator
from kimi_provider.sources.protect import Columns
from kimi_provider.sources.pagination import PagePagination
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
task = eval(sys.argv[1])
ti = SimpleNamespace(dag_id="d", run_id="r", task_id=task.task_id, map_index=-1, try_number=1)
before = peak()
dataset = task.execute({"ti": ti})
print(json.dumps([dataset["rows"], dataset["sha256"], peak() - before]))
"""
TASKS = {
    "http": 'HttpFetchOperator(task_id="http", dag=DAG("d"), endpoint="flights", records_path="data", '
    'http_conn_id="flights_api", pagination=PagePagination())',
    "sql": 'SqlFetchOperator(task_id="sql", dag=DAG("d"), sql="SELECT * FROM flights", '
    'conn_id="warehouse")',
    "file": 'FileFetchOperator(task_id="file", dag=DAG("d"), path={path!r}, csv={{"nulls": ["NA"]}})',
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Only Linux tells a process's peak.")
def test_all_flights_have_one_hash_by_every_way_in(
    flights, flights_api, flights_table, storage, monkeypatch
):
    """Each operator in a process of its own, so that the peak of its memory can be read."""
    monkeypatch.setenv("AIRFLOW_CONN_FLIGHTS_API", flights_api)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", flights_table)
    found = {}
    for name, task in TASKS.items():
        done = subprocess.run(
            [sys.executable, "-c", OPERATOR, task.format(path=str(flights)) if name == "file" else task],
            capture_output=True, text=True, check=False, env=dict(os.environ),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        rows, sha256, grown = json.loads(done.stdout.splitlines()[-1])
        assert (name, rows) == (name, ALL_FLIGHTS)
        assert grown < 300
        found[name] = sha256
    assert len(set(found.values())) == 1, found

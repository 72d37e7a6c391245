"""A fetch killed as its dataset goes into place: nothing of it is seen, and a retry is whole."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kimi_provider.sources.files import FileRequest, fetch_files
from kimi_provider.sources.http import HttpRequest, fetch_http
from kimi_provider.sources.incremental import Incremental
from kimi_provider.sources.sql import SqlQuery, fetch_sql
from kimi_provider.sources.state import Progress

ROOT = Path(__file__).parents[2]
ROWS = [{"id": n, "at": f"2013-02-08T{n // 60:02}:{n % 60:02}:00Z"} for n in range(500)]
KILLED = """
import os, pathlib, signal, sys
from kimi_provider import storage
from tests.sources import test_sources_killed as test

# The file is complete, and lies beside the place where it belongs.
storage._flush_to_disk = lambda file: os.kill(os.getpid(), signal.SIGKILL)
getattr(test, sys.argv[1])(sys.argv[2], pathlib.Path(sys.argv[3]))
"""


def over_http(url, folder):
    progress = Progress(Incremental("at", "since"), task=folder / "task", run=folder / "run")
    request = HttpRequest(base_url=url, endpoint="rows", query=progress.query)
    return asyncio.run(fetch_http(request, folder / "run" / "dataset.parquet", progress=progress))


def over_files(file, folder):
    target = folder / "run" / "dataset.parquet"
    return fetch_files(FileRequest(format="csv"), {"a.csv": Path(file)}, target, source="a.csv")


def over_sql(file, folder):
    with closing(sqlite3.connect(file)) as connection:
        query = SqlQuery(sql="SELECT id, at FROM records")
        target = folder / "run" / "dataset.parquet"
        return fetch_sql(query, connection.cursor(), target, source="records")


@pytest.fixture
def places(api, tmp_path):
    api.answer = lambda asked: [row for row in ROWS if row["at"] > asked.query.get("since", "")]
    csv = tmp_path / "a.csv"
    csv.write_text("id,at\n" + "".join(f"{row['id']},{row['at']}\n" for row in ROWS))
    file = tmp_path / "records.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE records (id INTEGER, at TEXT)")
        connection.executemany("INSERT INTO records VALUES (:id, :at)", ROWS)
    return {over_http: api.url, over_files: str(csv), over_sql: str(file)}


@pytest.mark.parametrize("fetch", [over_http, over_files, over_sql], ids=lambda fetch: fetch.__name__)
def test_nothing_half_done_is_seen_and_a_retry_is_whole(places, fetch, tmp_path):
    place, folder = places[fetch], tmp_path / "out"
    command = [sys.executable, "-c", KILLED, fetch.__name__, place, str(folder)]
    # The state that must be whole is written before; only the dataset's own file is to be lost.
    if fetch is over_http:
        Progress(Incremental("at", "since"), task=folder / "task", run=folder / "run")
    killed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [file.name for file in (folder / "run").glob("[!.]*") if file.name != "window.json"] == []
    assert list((folder / "run").glob(".dataset.parquet.*.tmp")), "it was as good as there"
    assert not (folder / "task" / "watermark.json").exists()

    again = fetch(place, folder)
    whole = fetch(place, tmp_path / "undisturbed")
    assert (again.rows, again.sha256) == (len(ROWS), whole.sha256)
    if fetch is over_http:
        assert again.watermark == ROWS[-1]["at"]

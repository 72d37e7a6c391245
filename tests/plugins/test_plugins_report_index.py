"""The index over many runs: each report on one page and no other, whatever is asked for."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from kimi_provider.plugins import report_index
from kimi_provider.plugins.report_index import PAGE, Wanted, reports

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "bench" / "pages.py"))
STORED = 1_000


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    session = BENCH["connect"](tmp_path_factory.mktemp("many") / "airflow.db")
    dag_ids = BENCH["seed"](session, STORED)
    yield session, dag_ids
    session.close()


def walk(stored, **wanted):
    """Go through all pages; return the run ids as they come, and how many pages there were."""
    session, dag_ids = stored
    found, after, pages = [], "", 0
    while pages == 0 or after:
        rows, after = reports(session, dag_ids, Wanted(after=after, **wanted))
        found += [row.place.run_id for row in rows]
        assert len(rows) <= PAGE
        pages += 1
    return found, pages


@pytest.mark.parametrize("first", [1, 3, 200])
def test_every_report_is_on_one_page(stored, monkeypatch, first):
    monkeypatch.setattr(report_index, "_FIRST_RUNS", first)
    found, pages = walk(stored)
    assert found == [f"run_{n}" for n in reversed(range(STORED))]
    assert pages == STORED / PAGE


def test_what_is_rare_is_found_behind_what_is_not(stored, monkeypatch):
    rare = [f"run_{n}" for n in reversed(range(0, STORED, 100))]
    assert walk(stored, status="incomplete")[0] == rare
    # Where a page ends before it is full, the next one goes on.
    monkeypatch.setattr(report_index, "_FIRST_RUNS", 40)
    monkeypatch.setattr(report_index, "_MOST_RUNS", 40)
    found, pages = walk(stored, status="incomplete")
    assert found == rare
    assert pages > STORED / 100


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({"text": "report 99"}, 11),  # 99 and 990 to 999
        ({"text": "DAG_7"}, STORED // 20),
        ({"dag_id": "dag_7"}, STORED // 20),
        ({"dag_id": "elsewhere"}, 0),
        ({"status": "no data"}, STORED // 250),
        ({"status": "failed"}, 0),
        ({"first": BENCH["FIRST"], "last": BENCH["FIRST"]}, 24 * 4),
    ],
)
def test_what_is_asked_for_is_found(stored, wanted, number):
    assert len(walk(stored, **wanted)[0]) == number


def test_the_mails_of_each_report_are_counted(stored):
    session, dag_ids = stored
    rows, _ = reports(session, dag_ids, Wanted())
    assert {sum(row.recipients.values()) for row in rows} == {3}

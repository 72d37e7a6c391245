"""The book in storage, with several runs at once."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from kimi_provider.alerts import Threshold
from kimi_provider.alerts.book import Book, Plan, Progress
from kimi_provider.alerts.desk import Claim, Desk, Material
from kimi_provider.alerts.settings import AlertSettings
from kimi_provider.alerts.state import Attention, Moment
from kimi_provider.alerts.store import Store
from kimi_provider.exceptions import AlertError
from kimi_provider.schemas import Fact, Lineage
from kimi_provider.storage import create_bytes

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 3, 1, tzinfo=UTC)
RULES = [Threshold("x", above=0)]


def add_plan(book: Book, name: str) -> tuple[Book, int]:
    plan = Plan(run_id=name, at=START, made_at=START)
    return book.with_plan(plan), len(book.plans)


def test_of_many_writers_at_once_none_is_lost(tmp_path: Path) -> None:
    names = [f"run{n}" for n in range(16)]
    barrier = Barrier(4)

    def work(mine: list[str]) -> None:
        store = Store(tmp_path / "book")
        barrier.wait()
        for name in mine:
            store.update(lambda book, name=name: add_plan(book, name))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [names[n::4] for n in range(4)]))
    book = Store(tmp_path / "book").read()
    assert sorted(plan.run_id for plan in book.plans) == sorted(names)
    assert len(list((tmp_path / "book").iterdir())) <= 6, "old versions are tidied up"


def test_one_of_two_creates_a_file(tmp_path: Path) -> None:
    create_bytes(tmp_path / "a" / "f", b"one")
    with pytest.raises(FileExistsError):
        create_bytes(tmp_path / "a" / "f", b"two")
    assert (tmp_path / "a" / "f").read_bytes() == b"one"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["f"]


def test_a_writer_that_slept_through_the_tidying_does_not_win(tmp_path: Path) -> None:
    store = Store(tmp_path)
    calls = []

    def slow(book: Book) -> tuple[Book, int]:
        calls.append(len(book.plans))
        if len(calls) == 1:
            for n in range(12):
                Store(tmp_path).update(lambda other, n=n: add_plan(other, f"fast{n}"))
        return add_plan(book, "slow")

    assert store.update(slow) == 12
    assert calls == [0, 12]
    assert len(store.read().plans) == 13


def test_no_change_writes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "book")
    store.update(lambda book: (book, None))
    assert not (tmp_path / "book").exists()


def test_a_broken_book_is_named_and_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "000000000007.json").write_text("{broken")
    with pytest.raises(AlertError, match=r"000000000007\.json cannot be understood.*Remove the file"):
        Store(tmp_path).update(lambda book: add_plan(book, "a"))


def test_a_storage_that_cannot_keep_writers_apart_is_called_so(caplog: pytest.LogCaptureFixture) -> None:
    from upath import UPath

    caplog.set_level(logging.WARNING)
    store = Store(UPath("memory://alerts-test/book"))
    store.update(lambda book: add_plan(book, "a"))
    assert [plan.run_id for plan in store.read().plans] == ["a"]
    assert "cannot keep two writers apart" in caplog.text


def desk(folder: Path, run_id: str, at: datetime = START, settings: AlertSettings | None = None) -> Desk:
    return Desk(Store(folder), settings or AlertSettings(), Moment(at, at, {"dag_id": "d"}), run_id)


def opened(one: Desk, value: int = 1) -> list:
    facts = {"x": Fact(id="x", label="X", value=value, lineage=Lineage(sql="SELECT 1"))}
    return list(one.open(RULES, Material(facts=facts), Attention()).items)


def test_two_runs_at_once_do_not_both_tell(tmp_path: Path) -> None:
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        barrier = Barrier(2)

        def work(run_id: str, folder: Path = folder, barrier: Barrier = barrier) -> int:
            one = desk(folder, run_id)
            barrier.wait()
            return sum(one.claim(item)[0] is Claim.SEND for item in opened(one))

        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(work, ["a", "b"])) == 1


def test_two_tries_of_one_run_do_not_both_tell(tmp_path: Path) -> None:
    first, second = desk(tmp_path, "a"), desk(tmp_path, "a")
    (item,), (same,) = opened(first), opened(second)
    assert item.id == same.id
    assert first.claim(item)[0] is Claim.SEND
    assert second.claim(same)[0] is Claim.AMBIGUOUS
    first.close(item, Progress.SENT)
    assert second.claim(same)[0] is Claim.DONE


def test_what_failed_is_told_by_the_retry_or_by_the_next_run_and_not_by_both(tmp_path: Path) -> None:
    for retry_first in (True, False):
        folder = tmp_path / str(retry_first)
        first = desk(folder, "a")
        (item,) = opened(first)
        assert first.claim(item)[0] is Claim.SEND
        first.close(item, Progress.FAILED, "refused")
        if retry_first:
            assert desk(folder, "a").claim(opened(first)[0])[0] is Claim.SEND
            assert opened(desk(folder, "b", START + timedelta(hours=1))) == []
        else:
            assert len(opened(desk(folder, "b", START + timedelta(hours=1)))) == 1
            assert desk(folder, "a").claim(item)[0] is Claim.SUPERSEDED


def test_a_cleared_run_is_silent_unless_told(tmp_path: Path) -> None:
    first = desk(tmp_path, "a")
    (item,) = opened(first)
    first.claim(item)
    first.close(item, Progress.SENT)
    assert desk(tmp_path, "a").claim(opened(desk(tmp_path, "a"))[0])[0] is Claim.DONE
    loud = desk(tmp_path, "a", settings=AlertSettings(tell_cleared=True))
    (again,) = opened(loud)
    assert again.id != item.id
    assert loud.claim(again)[0] is Claim.SEND


def test_an_ambiguous_one_is_sent_again_only_when_told(tmp_path: Path) -> None:
    first = desk(tmp_path, "a")
    (item,) = opened(first)
    first.claim(item)
    assert desk(tmp_path, "a").claim(item)[0] is Claim.AMBIGUOUS
    assert (
        desk(tmp_path, "a", settings=AlertSettings(resend_ambiguous=True)).claim(item)[0] is Claim.SEND
    )


def test_the_opening_explains_each_rule_and_each_decision(tmp_path: Path) -> None:
    first = desk(tmp_path, "a")
    facts = {"x": Fact(id="x", label="X", value=1, lineage=Lineage(sql="SELECT 1"))}
    opening = first.open(RULES, Material(facts=facts), Attention()).as_json()
    assert opening["rules"][0]["saw"] == {"x": 1.0}
    assert opening["decisions"][0]["why"] == "firing"
    assert opening["decisions"][0]["receiver"] == "mail"

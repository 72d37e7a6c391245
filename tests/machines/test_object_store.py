"""Files in an S3-compatible store: whole or not at all, seen at once, claimed by one writer alone."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import httpx
import pytest
from servers import S3_HEADERS, S3_USER

from kimi_provider.alerts.addresses import Recipient
from kimi_provider.alerts.book import Book, Plan
from kimi_provider.alerts.ledger import Ledger
from kimi_provider.alerts.silences import Notes
from kimi_provider.alerts.store import Store
from kimi_provider.analysis.journal import Journal, fingerprint
from kimi_provider.cli.check import _storage
from kimi_provider.hooks.retention import Retention, expire
from kimi_provider.hooks.storage import open_uri, storage_root
from kimi_provider.hooks.stored import listing
from kimi_provider.storage import (
    children,
    create_bytes,
    exists,
    read_bytes,
    read_text,
    reading,
    remove,
    write_bytes,
    write_text,
    writing,
)


@pytest.fixture(params=["by a connection", "by the environment"])
def root(request, monkeypatch, s3_url, bucket):
    """The provider's storage, as Airflow opens it, in an empty bucket."""
    from airflow.sdk.io import store

    # Airflow keeps one file system a connection for as long as the process lives.
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    connection = {
        "conn_type": "aws", "login": S3_USER, "password": "no-secret",
        "extra": {"endpoint_url": s3_url, "region_name": "us-east-1"},
    }  # fmt: skip
    if request.param == "by a connection":
        monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", f"s3://store@{bucket}/kimi")
    else:  # as on a machine that has a role
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_USER)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no-secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3_url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", f"s3://{bucket}/kimi")
    return storage_root()


@pytest.fixture
def elsewhere(s3_url, bucket):
    """Another machine's hand on the same bucket."""
    with httpx.Client(base_url=f"{s3_url}/{bucket}/kimi/", headers=S3_HEADERS) as client:
        yield client


def test_what_is_written_is_read_and_listed(root):
    path = root / "a" / "b.txt"
    assert not exists(path)
    assert children(root / "a") == []
    write_text(path, "first")
    write_text(path, "zażółć")
    assert exists(path)
    assert read_text(path) == "zażółć"
    assert [child.name for child in children(root / "a")] == ["b.txt"]
    with reading(path) as copy:
        assert copy.read_text() == "zażółć"
    assert not copy.exists()
    remove(path)
    remove(path)
    assert not exists(path)
    with pytest.raises(FileNotFoundError):
        read_bytes(path)
    with pytest.raises(FileNotFoundError), reading(path):
        pass


def test_a_file_that_was_not_finished_is_not_there(root):
    write_text(root / "x.txt", "before")
    with pytest.raises(RuntimeError, match="halfway"), writing(root / "x.txt") as scratch:  # noqa: PT012
        scratch.write_text("half")
        raise RuntimeError("halfway")
    assert read_text(root / "x.txt") == "before"


def test_a_large_file_arrives_whole(root):
    data = bytes(range(256)) * (5 << 12)  # 5 MiB
    write_bytes(root / "large.bin", data)
    with reading(root / "large.bin") as copy:
        assert copy.read_bytes() == data


def test_what_another_machine_writes_is_seen_at_once(root, elsewhere):
    write_text(root / "d" / "one", "1")
    assert [child.name for child in children(root / "d")] == ["one"]
    elsewhere.put("d/two", content=b"22").raise_for_status()
    elsewhere.put("d/one", content=b"much longer than before").raise_for_status()
    assert exists(root / "d" / "two")
    assert [child.name for child in children(root / "d")] == ["one", "two"]
    assert read_text(root / "d" / "one") == "much longer than before"
    elsewhere.delete("d/two").raise_for_status()
    assert not exists(root / "d" / "two")
    # What a console makes of a folder is no file in it.
    elsewhere.put("d/", content=b"").raise_for_status()
    assert [child.name for child in children(root / "d")] == ["one"]


def test_one_writer_alone_creates_a_file(root):
    at_once = Barrier(8)

    def create(number: int) -> bool:
        at_once.wait()
        try:
            create_bytes(root / "claim", str(number).encode())
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert read_text(root / "claim") == str(won.index(True))


def test_two_at_once_cannot_both_send(root):
    someone = Recipient("ann@example.com")
    at_once = Barrier(4)

    def claim(_: int) -> bool:
        ledger = Ledger(root / "ledger", "abc")
        before = ledger.read(someone)
        at_once.wait()
        try:
            ledger.begin(someone, before)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(claim, range(4))).count(True) == 1
    known = Ledger(root / "ledger", "abc").read(someone)
    assert known is not None
    assert known.status == "sending"


def test_no_change_of_the_alerts_state_is_lost(root):
    def add(number: int) -> None:
        at = datetime(2026, 3, 1, tzinfo=UTC)

        def change(book: Book) -> tuple[Book, None]:
            return book.with_plan(Plan(run_id=f"run{number}", at=at, made_at=at)), None

        Store(root / "alerts").update(change)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(8)))
    assert len(Store(root / "alerts").read().plans) == 8


def test_the_journal_finds_what_another_machine_paid_for(root):
    async def pay() -> None:
        here = Journal(root / "journal")
        assert await here.get("call", fingerprint("a")) is None
        await here.begin("call", fingerprint("a"))
        await here.put("call", fingerprint("a"), {"text": "x", "usage": None})
        await here.end("call", fingerprint("a"))
        await here.begin("call", fingerprint("b"))  # and then it is killed

        there = Journal(root / "journal")
        assert await there.get("call", fingerprint("a")) == {"text": "x", "usage": None}
        assert await there.begin("call", fingerprint("b"))
        assert not await there.begin("call", fingerprint("a"))

    asyncio.run(pay())


def test_notes_on_alerts_come_and_go(root):
    notes = Notes(root / "alerts")
    assert notes.acknowledged() == {}
    notes.acknowledge("k1", "ann")
    assert notes.acknowledged() == {"k1": "ann"}


def test_what_is_old_is_removed(root):
    folder = root / "d" / "r" / "t"
    for name in ("trace.json", "journal/x.entry", "page.html"):
        target = folder
        for part in name.split("/"):
            target = target / part
        write_text(target, "{}")
    later = datetime.now(UTC) + timedelta(days=40)
    gone = expire(Retention.parse("trace=30, journal=30"), now=later)
    assert sorted(path for group in gone for path in group.paths) == [
        "d/r/t/journal/x.entry", "d/r/t/trace.json",
    ]  # fmt: skip
    assert list(listing(root)) == ["d/r/t/page.html"]


@pytest.mark.filterwarnings("error")
def test_the_store_is_opened_also_while_a_loop_runs(monkeypatch, root):
    from airflow.sdk.io import store

    monkeypatch.setattr(store, "_STORE_CACHE", {})

    async def write() -> str:
        write_text(storage_root() / "x", "in a loop")
        return read_text(open_uri((root / "x").as_uri()))

    assert asyncio.run(write()) == "in a loop"


def test_a_store_that_cannot_be_reached_is_an_os_error(monkeypatch, root):
    def refuse(*arguments, **options):
        raise LookupError("a vendor's own error")

    write_text(root / "there", "x")
    monkeypatch.setattr(root.fs, "find", refuse)
    with pytest.raises(OSError, match="did not answer"):
        listing(root)
    for name in ("put_file", "pipe_file", "cat_file", "get_file", "info", "ls", "rm"):
        monkeypatch.setattr(root.fs, name, refuse)
    path = root / "x"
    with pytest.raises(OSError, match=r"did not answer \(LookupError\)"):
        write_text(path, "x")
    for ask in (read_bytes, exists, children, remove, lambda one: create_bytes(one, b"x")):
        with pytest.raises(OSError, match="did not answer"):
            ask(path)


def test_a_store_that_does_not_say_why_it_refuses_is_asked_what_is_there(monkeypatch, root):
    write_text(root / "claim", "taken")

    def refuse(*arguments, **options):
        raise OSError(22, "PreconditionFailed")

    monkeypatch.setattr(root.fs, "pipe_file", refuse)
    with pytest.raises(FileExistsError):
        create_bytes(root / "claim", b"mine")
    with pytest.raises(OSError, match="PreconditionFailed"):
        create_bytes(root / "free", b"mine")


def test_the_check_finds_a_store_that_does_not_keep_writers_apart(monkeypatch, root):
    assert _storage() == (True, f"{root.as_uri()} can be written and read.")

    def write_over(path, data, mode="overwrite"):
        real(path, data)

    real = root.fs.pipe_file
    monkeypatch.setattr(root.fs, "pipe_file", write_over)
    ok, told = _storage()
    assert not ok
    assert "two processes at once could both send one mail" in told
    assert listing(root) == {}

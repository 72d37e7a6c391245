"""What expires and when, what stays, and how one person's address is blotted out."""

from __future__ import annotations

import hashlib
import json
import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.erasure import ERASED, erase
from kimi_provider.hooks.retention import Retention, expire, summary
from kimi_provider.hooks.stored import Kind, stored_files

ROOT = Path(__file__).parents[2]
ENTRY = "call-" + "a" * 64 + "-0.entry"


def days_of(text):
    return {kind.value: days for kind, days in Retention.parse(text).days.items()}


# --- the setting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("", {}),
        ("30", dict.fromkeys(Kind, 30.0)),
        ("30, report=365, ledger=never", {"journal": 30, "trace": 30, "dataset": 30, "report": 365}),
        ("report=365,30", dict.fromkeys(Kind, 30.0) | {"report": 365}),
        ("journal=0.5", {"journal": 0.5}),
        ("never", {}),
    ],
)
def test_a_retention_is_a_number_or_numbers_by_kind(text, days):
    assert days_of(text) == days


@pytest.mark.parametrize("text", ["a month", "-3", "mail=3", "report=", "30 days"])
def test_a_wrong_retention_names_what_is_wrong(text):
    with pytest.raises(ConfigurationError, match="retention_days"):
        Retention.parse(text)


# --- what expires ---------------------------------------------------------------------------------


def test_each_file_is_of_its_kind_and_nothing_else_is_touched(put):
    task = "shop/run-1/analyze"
    put(f"{task}/journal/{ENTRY}")
    put(f"{task}/trace.json")
    put(f"{task}/facts.json")
    put("shop/run-1/fetch/dataset.parquet")
    put("shop/run-1/report/3/page.html")
    put("shop/run-1/report/3/chart-1.png")
    put("shop/run-1/alert/ledger/abc/def.json")
    put("shop/run-1/alert/ledger/abc/def.1.claim")
    put("shop/run-1/@run/owner-told-analyze")
    put("@mails/abc.ledger")
    put("@check/probe")
    put("shop/run-1/analyze/notes.txt")  # somebody's
    put("shop/@memory/fetch/watermark.json")
    put("alerts/shop/alert/000000000001.json")
    put("alerts/silences/abc.json")
    put("readme.md")
    assert {(g.kind.value, g.folder, len(g.paths)) for g in stored_files()} == {
        ("journal", task, 1),
        ("trace", task, 1),
        ("report", task, 1),
        ("dataset", "shop/run-1/fetch", 1),
        ("report", "shop/run-1/report/3", 2),
        ("ledger", "shop/run-1/alert", 2),
        ("ledger", "shop/run-1/@run", 1),
        ("ledger", "@mails/abc.ledger", 1),
    }


def test_old_files_go_with_their_folders_and_young_ones_stay(put, storage):
    old = put("shop/run-1/analyze/trace.json", days=40)
    kept = put("shop/run-1/report/page.html", days=40)
    young = put("shop/run-2/analyze/trace.json", days=20)
    gone = expire(Retention.parse("30, report=365"))
    assert [files.folder for files in gone] == ["shop/run-1/analyze"]
    assert summary(gone) == {"trace": {"files": 1, "bytes": 1}}
    assert not old.parent.exists()
    assert kept.exists()
    assert young.exists()


def test_what_a_run_still_writes_goes_as_a_whole_or_not_at_all(put):
    first = put(f"shop/run-1/analyze/journal/{ENTRY}", days=90)
    put("shop/run-1/analyze/journal/call-new.begun", days=0)
    assert expire(Retention.parse("30")) == ()
    assert first.exists()


def test_a_dry_run_says_the_same_and_removes_nothing(put):
    file = put("shop/run-1/analyze/trace.json", days=40)
    assert expire(Retention.parse("30"), dry_run=True) != ()
    assert file.exists()
    assert expire(Retention.parse("30"), now=datetime.now(UTC) - timedelta(days=20)) == ()


def test_the_dataset_that_the_next_run_may_take_again_stays(put, storage):
    again = put("shop/run-1/fetch/dataset.parquet", days=90)
    other = put("shop/run-0/fetch/dataset.parquet", days=90)
    put("shop/@memory/fetch/pages.json", json.dumps({"dataset": {"uri": again.as_uri()}}), days=90)
    expire(Retention.parse("30"))
    assert again.exists()
    assert not other.exists()


def test_a_link_is_not_followed(put, storage, tmp_path):
    outside = tmp_path / "outside" / "run" / "task"
    outside.mkdir(parents=True)
    (outside / "trace.json").write_text("x")
    (storage / "shop").symlink_to(tmp_path / "outside", target_is_directory=True)
    expire(Retention.parse("0"), now=datetime.now(UTC) + timedelta(days=9))
    assert (outside / "trace.json").exists()


def test_it_is_the_same_in_an_object_store(monkeypatch):
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    from kimi_provider.hooks.storage import storage_root
    from kimi_provider.storage import write_text

    attach("memory", fs=MemoryFileSystem())
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", "memory://bucket/kimi")
    task = storage_root() / "shop" / "run-1" / "report"
    write_text(task / "page.html", "to ann@example.org")
    write_text(task / "trace.json", "ann@example.org")
    assert erase("ann@example.org").times == 2
    assert [len(files.paths) for files in stored_files()] == [1, 1]
    later = datetime.now(UTC) + timedelta(days=31)
    assert expire(Retention.parse("32"), now=later) == ()
    assert len(expire(Retention.parse("30, report=never"), now=later)) == 1
    assert [files.kind.value for files in stored_files()] == ["report"]
    expire(Retention.parse("30"), now=later)
    assert stored_files() == ()


# --- the command and the DAG ----------------------------------------------------------------------


def test_clean_tells_by_kind_what_went(put, kimi):
    file = put("shop/run-1/analyze/trace.json", days=40)
    dry = kimi("clean", "--days", "trace=30", "--dry-run", "-o", "json")
    expected = {"kind": "trace", "older_than_days": 30.0, "files": 1, "bytes": 1}
    assert dry.rows == [{**expected, "removed": False}]
    assert file.exists()
    done = kimi("clean", "--days", "trace=30", "--yes", "-o", "json")
    assert done.rows == [{**expected, "removed": True}]
    assert done.code == 0
    assert not file.exists()


def test_clean_takes_the_setting(put, kimi, monkeypatch):
    put("shop/run-1/analyze/trace.json", days=40)
    monkeypatch.setenv("AIRFLOW__KIMI__RETENTION_DAYS", "30, report=365")
    ran = kimi("clean", "--yes", "-o", "json")
    files = {row["kind"]: row["files"] for row in ran.rows}
    assert files == {"journal": 0, "trace": 1, "dataset": 0, "report": 0, "ledger": 0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--yes"], "retention_days in the section kimi is empty"),
        (["--days", "30"], "There is nobody to ask"),
        (["--days", "x", "--yes"], "retention_days has 'x'"),
        (["--days", "3", "--recipient", "ann@example.org"], "not both"),
        (["--recipient", "ann", "--yes"], "is not an e-mail address"),
        (["--recipient", "ann@example.org, bob@example.org", "--yes"], "must be one address"),
    ],
)
def test_what_clean_does_not_do_is_said_with_code_2(storage, kimi, arguments, said):
    ran = kimi("clean", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_the_maintenance_dag_removes_what_has_expired(put, monkeypatch):
    from airflow.sdk.exceptions import AirflowSkipException

    file = put("shop/run-1/analyze/trace.json", days=40)
    dag = runpy.run_path(str(ROOT / "dags" / "kimi_maintenance.py"))["kimi_maintenance"]()
    (task,) = dag.tasks
    work = task.python_callable
    assert dag.catchup is False
    with pytest.raises(AirflowSkipException, match="all is kept"):
        work(params={"days": "", "dry_run": False})
    monkeypatch.setenv("AIRFLOW__KIMI__RETENTION_DAYS", "30")
    assert work(params={"days": "", "dry_run": True}) == {"trace": {"files": 1, "bytes": 1}}
    assert file.exists()
    assert work(params={"days": "", "dry_run": False}) == {"trace": {"files": 1, "bytes": 1}}
    assert not file.exists()


# --- one person -----------------------------------------------------------------------------------


def entry_of(body):
    return f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def test_an_address_is_blotted_out_wherever_it_is_text(put, storage):
    put("shop/run-1/analyze/trace.json", '{"text": "Ann <Ann@Example.org> and joann@example.org"}')
    put("shop/run-1/report/report.html", '<a href="mailto:ann%40example.org">ann@example.org</a>')
    journal = put(f"shop/run-1/analyze/journal/{ENTRY}", entry_of('{"said": "ann@example.org."}'))
    put("shop/run-1/fetch/dataset.parquet", "ann@example.org")
    found = erase("ann@example.org")
    assert (len(found.files), found.times, found.sealed) == (3, 4, 1)
    left = "".join(p.read_text() for p in storage.rglob("*") if p.is_file() and p.suffix != ".parquet")
    assert "joann@example.org" in left
    assert "ann@example.org" not in left.lower().replace("joann@example.org", "")
    assert journal.read_text() == entry_of(f'{{"said": "{ERASED}."}}'), "the journal still is a hit"


def test_a_part_of_another_address_is_another_address(put, storage):
    text = "ann@example.org.pl ann@example.organic a.ann@example.org ann@example.org-x.com"
    put("shop/run-1/analyze/trace.json", text)
    assert erase("ann@example.org").times == 0


def test_a_ledger_without_the_address_still_knows_whose_mail_has_left(storage):
    from kimi_provider.alerts.addresses import recipients
    from kimi_provider.alerts.ledger import Ledger
    from kimi_provider.hooks.storage import storage_root
    from kimi_provider.schemas import DeliveryStatus

    (ann,) = recipients("Ann@example.org")
    folder = storage_root() / "shop" / "run-1" / "alert" / "ledger"
    ledger = Ledger(folder, "abc")
    begun = ledger.begin(ann, None)
    ledger.write(ann, begun.model_copy(update={"status": DeliveryStatus.QUEUED}))
    assert erase("ann@example.org").times == 2
    known = Ledger(folder, "abc").read(ann)
    assert known.known is DeliveryStatus.QUEUED
    assert known.recipient == ERASED


def test_what_alert_tasks_returned_is_blotted_out_too(chain, kimi):
    dry = kimi("clean", "--recipient", "operations@example.com", "--dry-run", "-o", "json")
    found = {row["place"]: row["found_in"] for row in dry.rows}
    assert found["storage"] >= 1
    assert found["what tasks returned"] == 1
    assert found["what tasks were given"] == 1
    done = kimi("clean", "--recipient", "Operations@example.com", "--yes", "-o", "json")
    assert done.code == 0
    assert {row["place"]: row["found_in"] for row in done.rows} == found
    again = kimi("clean", "--recipient", "operations@example.com", "--dry-run", "-o", "json")
    assert [row["found_in"] for row in again.rows] == [0, 0, 0, 0]
    assert "operations@" not in done.out + done.err


@pytest.fixture
def recorded(chain, airflow_db):
    """Give the run records as other tasks of ours leave them; return how to read all of them."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    planted = ("kimi_report", "planted")
    with create_session() as session:
        query = select(TaskInstance).where(TaskInstance.run_id == chain.run_id)
        tasks = {ti.task_id: ti for ti in session.scalars(query)}
        mail, other = tasks["alert"], tasks["fetch_flights"]
        mail_operator, other_operator = mail.operator, other.operator
        mail.operator, other.operator = "SendGridEmailOperator", "SomebodysOperator"
        key = {"dag_id": mail.dag_id, "run_id": mail.run_id, "dag_run_id": mail.dag_run.id}
        receipts = [{"recipient": "eve@example.org", "status": "queued", "ledger_uri": "file:///x"}]
        for name, value in (("kimi_report", receipts), ("planted", {"to": ["Eve@example.org"]})):
            session.add(XComModel(task_id="alert", key=name, value=value, **key))
        session.add(XComModel(task_id="fetch_flights", key="planted", value="eve@example.org", **key))
        session.add(
            HITLDetail(
                ti_id=mail.id, options=["Approve"], subject="Send?", body="It goes to eve@example.org."
            )
        )

    def read():
        with create_session() as session:
            xcoms = session.scalars(select(XComModel).where(XComModel.key.in_(planted)))
            values = {(x.task_id, x.key): json.dumps(x.value) for x in xcoms}
            body = session.scalar(select(HITLDetail.body).where(HITLDetail.ti_id == mail.id))
            return {**values, "question": body}

    yield read
    with create_session() as session:
        for one in session.scalars(select(XComModel).where(XComModel.key.in_(planted))):
            session.delete(one)
        session.delete(session.get(HITLDetail, mail.id))
        session.get(TaskInstance, mail.id).operator = mail_operator
        session.get(TaskInstance, other.id).operator = other_operator


def test_every_record_of_our_tasks_loses_the_address_and_no_other_does(recorded, kimi):
    done = kimi("clean", "--recipient", "eve@example.org", "--yes", "-o", "json")
    found = {row["place"]: row["found_in"] for row in done.rows}
    assert found["what tasks returned"] == 2
    assert found["what people were asked"] == 1
    left = recorded()
    assert left.pop(("fetch_flights", "planted")) == json.dumps("eve@example.org")
    assert "eve@" not in json.dumps(list(left.values())).lower()
    assert left["question"] == "It goes to erased@invalid."

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.alerts.recipients_from import FromFile, FromQuery, FromVariable
from kimi_provider.exceptions import DeliveryError
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.operators.email import SendGridEmailOperator

if TYPE_CHECKING:
    from pathlib import Path

    from kimi_provider.testing import Simulator


def send(chain, task_id: str = "mail", **arguments: object) -> list[dict[str, object]]:
    given = {"to": "ann@example.com; bob@example.com", "subject": "S", "html_content": "<p>H</p>"}
    return chain.run(SendGridEmailOperator, task_id, **given | arguments)


def addresses(simulator: Simulator) -> list[tuple[str, ...]]:
    return sorted(mail.recipients for mail in simulator.mailbox)


def test_a_mail_with_all_that_it_can_have(chain, simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    (tmp_path / "chart.png").write_bytes(b"png")
    receipts = send(
        chain,
        html_content='<p>Hello</p><img src="cid:chart">',
        files=[
            str(tmp_path / "data.csv"),
            {"uri": (tmp_path / "data.csv").as_uri(), "name": "x.txt", "media_type": "text/plain"},
        ],
        images={"chart": str(tmp_path / "chart.png")},
        cc="cc@example.com",
        bcc=["bcc@example.com", "ann@example.com"],
        from_email="me@example.com",
        from_name="Me",
        reply_to="team@example.com",
        headers={"X-Team": "data"},
        categories=["daily"],
        custom_args={"team": "data"},
        unsubscribe_group=7,
    )
    assert [(r["recipient"], r["status"]) for r in receipts] == [
        (f"{name}@example.com", "queued") for name in ("ann", "bob", "cc", "bcc")
    ]
    assert addresses(simulator) == [(f"{n}@example.com",) for n in ("ann", "bcc", "bob", "cc")]
    mail = simulator.mailbox.to("cc@example.com")[0]
    assert (mail.sender, mail.sender_name, mail.reply_to) == (
        "me@example.com", "Me", ("team@example.com",),
    )  # fmt: skip
    assert (mail.subject, mail.text, mail.headers) == ("S", "Hello", {"X-Team": "data"})
    assert [(a.filename, a.media_type, a.content) for a in mail.attachments] == [
        ("chart.png", "image/png", b"png"),
        ("data.csv", "text/csv", b"a,b\n1,2\n"),
        ("x.txt", "text/plain", b"a,b\n1,2\n"),
    ]
    assert mail.categories == ("daily",)
    assert mail.custom_args["team"] == "data"
    assert mail.payload["asm"] == {"group_id": 7}


def test_a_shared_mail_is_one(chain, simulator: Simulator) -> None:
    receipts = send(chain, cc="cc@example.com", bcc="bcc@example.com", shared=True)
    (mail,) = simulator.mailbox.messages
    assert mail.to == ("ann@example.com", "bob@example.com")
    assert (mail.cc, mail.bcc) == (("cc@example.com",), ("bcc@example.com",))
    assert {r["status"] for r in receipts} == {"queued"}
    assert send(chain, cc="cc@example.com", bcc="bcc@example.com", shared=True) == receipts
    assert len(simulator.mailbox) == 1


def test_a_retry_and_a_cleared_task_never_send_twice(chain, simulator: Simulator) -> None:
    simulator.faults.add("/v3/mail/send", "too_large")
    with pytest.raises((DeliveryError, AirflowFailException)):
        send(chain, to="ann@example.com", subject="at 08:00")
    first = send(chain, to="ann@example.com", subject="at 08:01")
    second = send(chain, to=["ANN@example.com", "bob@example.com"], subject="at 08:02")
    assert second[0] == first[0]
    assert addresses(simulator) == [("ann@example.com",), ("bob@example.com",)]
    send(chain, to="ann@example.com", key="again")
    assert len(simulator.mailbox.to("ann@example.com")) == 2


def test_a_dynamic_template_and_its_values(chain, simulator: Simulator) -> None:
    send(chain, subject="", html_content=None, template_id="d-1", template_data={"n": 3})
    assert {
        json.dumps(m.payload["personalizations"][0]["dynamic_template_data"]) for m in simulator.mailbox
    } == {'{"n": 3}'}


def test_a_mail_can_be_undone(chain, simulator: Simulator) -> None:
    receipts = send(chain, undo_window=timedelta(hours=1))
    (batch_id,) = {r["batch_id"] for r in receipts}
    assert {mail.status for mail in simulator.mailbox} == {"scheduled"}
    SendGridHook().cancel(batch_id)
    assert {mail.status for mail in simulator.mailbox} == {"canceled"}
    again = send(chain, undo_window=timedelta(hours=1))
    assert {r["status"] for r in again} == {"canceled"}
    assert len(simulator.mailbox) == 2


def test_taking_back_too_late_is_no_promise(chain, simulator: Simulator, monkeypatch) -> None:
    receipts = send(chain, to="ann@example.com", undo_window=timedelta(hours=1))

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + timedelta(hours=1, minutes=5)

    monkeypatch.setattr("kimi_provider.hooks.sendgrid.datetime", Later)
    with pytest.raises(DeliveryError, match="nearer than ten minutes"):
        SendGridHook().cancel(receipts[0]["batch_id"])
    assert send(chain, to="ann@example.com")[0]["status"] == "queued"


@pytest.mark.parametrize("moment", ["iso", "datetime"])
def test_a_time_to_send_at(chain, simulator: Simulator, moment: str) -> None:
    at = datetime.now(UTC) + timedelta(hours=2)
    (receipt,) = send(chain, to="a@example.com", send_at=at.isoformat() if moment == "iso" else at)
    (mail,) = simulator.mailbox.messages
    assert mail.send_at == int(at.timestamp()) + 1
    assert datetime.fromisoformat(receipt["send_at"]) == at


def test_the_sandbox_sends_nothing(chain, simulator: Simulator) -> None:
    assert {r["status"] for r in send(chain, sandbox=True)} == {"checked"}
    assert len(simulator.mailbox) == 0


def test_recipients_are_read_from_where_they_are_kept(
    chain, simulator: Simulator, tmp_path: Path, monkeypatch
) -> None:
    with sqlite3.connect(tmp_path / "people.db") as database:
        database.execute("CREATE TABLE people (email, team)")
        rows = [
            ("q1@example.com", "a"),
            ("Ann <ANN@example.com>", "a"),
            (None, "a"),
            ("x@example.com", "b"),
        ]
        database.executemany("INSERT INTO people VALUES (?, ?)", rows)
    database.close()
    monkeypatch.setenv(
        "AIRFLOW_CONN_PEOPLE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "people.db")})
    )
    monkeypatch.setenv("AIRFLOW_VAR_READERS", "v1@example.com; v2@example.com\n# v3@example.com\n")
    monkeypatch.setenv("AIRFLOW_VAR_LISTED", '["v4@example.com"]')
    (tmp_path / "list.csv").write_text("\ufeffname,E-Mail\nF,f1@example.com\nG,\n")
    (tmp_path / "list.txt").write_text("t1@example.com\n\nann@example.com\n")
    receipts = send(
        chain,
        to=[
            "ann@example.com",
            FromQuery("SELECT email FROM people WHERE team = ?", "people", ["a"]),
            FromVariable("readers"),
            FromVariable("listed"),
        ],
        cc=FromFile(str(tmp_path / "list.csv")),
        bcc=FromFile((tmp_path / "list.txt").as_uri()),
    )
    names = ("ann", "q1", "v1", "v2", "v4", "f1", "t1")
    assert [r["recipient"] for r in receipts] == [f"{name}@example.com" for name in names]
    assert len(simulator.mailbox) == 7


@pytest.mark.parametrize(
    ("to", "says"),
    [
        (FromVariable("no_such"), "no Variable 'no_such'"),
        (FromVariable("readers"), "JSON list of addresses"),
        (FromFile("/no/such/file.txt"), "is 0 files"),
        (FromFile("relative.txt"), "relative"),
        (FromQuery("DELETE FROM people", "people"), "has to be a SELECT"),
        ([3], "Recipients must be text"),
        ("ann@evil.test", "not among the allowed ones: example.com"),
        ([], "There is no recipient"),
    ],
)
def test_recipients_that_cannot_be_had_stop_all(
    chain, simulator: Simulator, monkeypatch, to: object, says: str
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_READERS", '{"a": 1}')
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE", "sqlite:////tmp/none.db")
    connection = json.loads(simulator.connections()["AIRFLOW_CONN_SENDGRID_DEFAULT"])
    connection["extra"] = {**connection.get("extra", {}), "allowed_domains": "example.com"}
    monkeypatch.setenv("AIRFLOW_CONN_SENDGRID_DEFAULT", json.dumps(connection))
    with pytest.raises(AirflowFailException, match=says) as caught:
        send(chain, to=to)
    assert "evil.test" not in str(caught.value)
    assert len(simulator.mailbox) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"subject": "a\nBcc: x@y.org"}, "control character"),
        ({"files": ["/no/such/file"]}, "cannot be read"),
        ({"send_at": "tomorrow"}, "write it as 2026-03-01"),
        ({"html_content": None}, "HTML part of the message is empty"),
        ({"headers": {"Bcc": "x@y.org"}}, "SendGrid's own to set"),
    ],
)
def test_what_cannot_be_sent_is_told_before(chain, simulator, arguments: dict, says: str) -> None:
    with pytest.raises(AirflowFailException, match=says):
        send(chain, **arguments)
    assert len(simulator.mailbox) == 0


def test_a_file_beyond_the_limit_is_not_read_to_its_end(chain, simulator, tmp_path: Path) -> None:
    huge = tmp_path / "huge.bin"
    with huge.open("wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(AirflowFailException, match=r"beyond the 22\.5 MB"):
        send(chain, files=[str(huge)])


def test_declared_recipients_are_templates_too() -> None:
    dag = DAG("d", schedule=None)
    query = FromQuery("SELECT email FROM {{ table }}", "people", {"day": "{{ ds }}"})
    operator = SendGridEmailOperator(task_id="m", dag=dag, to=["{{ who }}", query], subject="{{ ds }}")
    context = {"ds": "2013-02-08", "table": "readers", "who": "a@x.org"}
    operator.render_template_fields(context)
    assert (operator.to[0], operator.subject) == ("a@x.org", "2013-02-08")
    assert (query.sql, query.parameters) == ("SELECT email FROM readers", {"day": "2013-02-08"})


def test_two_thousand_get_a_mail_each_by_three_requests(chain, simulator: Simulator) -> None:
    people = [f"p{number}@example.com" for number in range(2001)]
    receipts = send(chain, to=people, per_request=1000)
    assert {r["status"] for r in receipts} == {"queued"}
    assert len(simulator.mailbox) == 2001
    assert all(len(mail.recipients) == 1 for mail in simulator.mailbox)
    assert len({mail.message_id for mail in simulator.mailbox}) == 3

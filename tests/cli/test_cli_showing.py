"""Previews, test mails, deliveries and silences, and the command line as people start it."""

from __future__ import annotations

import ast
import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from kimi_provider.cli.live import serve, watch
from kimi_provider.cli.send_test import MARK
from kimi_provider.cli.source import source_of
from kimi_provider.hooks.alert_state import alert_notes
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.hooks.storage import storage_root

DAG_ID = "example_flight_report"
REPORTS = ("daily_brief", "detailed", "executive", "incident")
ALERTS = ("alert", "digest", "failure", "resolved")


# --- preview --------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [*REPORTS, *ALERTS])
def test_every_bundled_template_shows_sample_data(kimi, tmp_path, template):
    file = tmp_path / "made" / "x.html"
    ran = kimi("preview", "--template", template, "--output", str(file), "-o", "json")
    assert ran.code == 0, ran.err
    (row,) = ran.rows
    assert (row["template"], row["failures"], row["where"]) == (template, 0, str(file))
    page = file.read_text()
    assert "<html" in page
    assert "cid:" not in page
    assert "58.2" in page or template in ("failure", "resolved")


@pytest.mark.parametrize(
    ("ending", "begins"),
    [(".txt", b"Sample report"), (".md", b""), (".pdf", b"%PDF-"), (".xlsx", b"PK")],
)
def test_what_the_file_ends_in_says_what_is_written(kimi, tmp_path, ending, begins):
    if ending in (".pdf", ".xlsx"):
        pytest.importorskip({".pdf": "typst", ".xlsx": "openpyxl"}[ending])
    file = tmp_path / f"x{ending}"
    ran = kimi("preview", "--template", "daily_brief", "--output", str(file))
    assert ran.code == 0, ran.err
    assert file.read_bytes().startswith(begins)
    assert file.stat().st_size > 500


def test_preview_speaks_the_language_that_is_asked_for(kimi, tmp_path):
    file = tmp_path / "x.txt"
    kimi("preview", "--template", "daily_brief", "--locale", "pl", "--output", str(file))
    assert "23 listopada 2026" in file.read_text()


def test_a_dags_preview_is_its_last_report_drawn_again(chain, kimi, tmp_path):
    from kimi_provider.hooks.storage import instance_folder

    calls = len(chain.simulator.calls)
    file = tmp_path / "x.txt"
    ran = kimi("preview", DAG_ID, "--output", str(file), "-o", "json")
    assert ran.code == 0, ran.err
    sent = (instance_folder(DAG_ID, chain.run_id, "report") / "report.txt").read_text()

    def without_the_time(text):
        return [line for line in text.splitlines() if "UTC" not in line]

    assert without_the_time(file.read_text()) == without_the_time(sent)
    assert "930" in file.read_text()
    assert len(chain.simulator.calls) == calls


def test_a_dags_preview_follows_its_file_and_the_template_asked_for(chain, kimi, tmp_path):
    text = chain.file.read_text()
    file = tmp_path / "x.txt"
    try:
        chain.file.write_text(text.replace('"New York flights"', '"Planes of New York"'))
        ran = kimi("preview", DAG_ID, "--template", "executive", "--output", str(file), "-o", "json")
    finally:
        chain.file.write_text(text)
    assert ran.rows[0]["template"] == "executive"
    assert ran.rows[0]["subject"].startswith("Planes of New York")


def test_a_slices_preview_has_the_title_that_its_report_had(storage):
    from airflow.sdk import DAG

    from kimi_provider.cli.results import Returned
    from kimi_provider.cli.source import _recipe
    from kimi_provider.hooks.recipes import ReportRecipe
    from kimi_provider.hooks.storage import instance_folder
    from kimi_provider.operators.report import ReportOperator

    for index, title in ((-1, "Whole"), (1, "Slice · JFK")):
        folder = instance_folder("d", "r", "report", index)
        ReportRecipe(template="daily_brief", title=title).store(folder)
    task = ReportOperator(
        task_id="report", dag=DAG("d", schedule=None), analysis="{{ a }}", title="{{ value }}"
    )
    for index, title in ((-1, "Whole"), (1, "Slice · JFK")):
        place = Returned("d", "r", "analyze", index, datetime.now(UTC), None)
        assert _recipe(task, place).title == title


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Name a DAG that has made an analysis, or a --template"),
        (["no_such_dag"], "Airflow knows no DAG 'no_such_dag'"),
        ([DAG_ID, "--task-id", "alert"], "'alert' makes no report. Tasks with a ReportOperator: report"),
        (["--template", "weekly"], "There is no template 'weekly'. Reports: daily_brief"),
        (["--template", "daily_brief", "--output", "x.docx"], "--output must end in one of .html"),
        (["--template", "alert", "--output", "x.pdf"], "Alerts are drawn as .html and .txt"),
        (["--template", "daily_brief", "--locale", "xx"], "xx"),
        (["--template", "daily_brief", "--watch", "--output", "x.html"], "not both"),
    ],
)
def test_what_preview_cannot_show_is_said_with_code_2(chain, kimi, arguments, said, tmp_path):
    ran = kimi("preview", "--no-browser", *arguments)
    assert ran.code == 2
    assert said in ran.err


# --- live -----------------------------------------------------------------------------------------


def get(port, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def test_what_is_saved_is_shown_without_asking_again(tmp_path, monkeypatch):
    templates = tmp_path / "reports"
    templates.mkdir()
    (templates / "mine.html.j2").write_text("<html><p>One {{ doc.headline }}</p></html>")
    (templates / "mine.txt.j2").write_text("{{ doc.headline }}")
    monkeypatch.setenv("AIRFLOW__KIMI__TEMPLATES_PATH", str(tmp_path))
    from argparse import Namespace

    args = Namespace(dag_id=None, task_id=None, template="mine", locale=None)
    told, ready, failures = [], threading.Event(), []

    def tell(source, drawing, seconds, where):
        told.append((drawing.subject, where))
        ready.set()

    def work():
        try:
            watch(lambda: source_of(args), port=0, browser=False, tell=tell, changes=2)
        except Exception as error:  # noqa: BLE001 — a thread's own error would be lost
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(60)
    assert not failures
    port = int(told[0][1].rsplit(":", 1)[1].strip("/"))
    assert "One Sample: slow" in get(port, "/page")[1]
    (templates / "mine.html.j2").write_text("<html><p>{{ doc.headlines }}</p></html>")
    assert json.loads(get(port, "/changes?after=1")[1]) == {"version": 2}
    status, page, headers = get(port, "/page")
    assert status == 200
    assert "TemplateError" in page
    assert "headline" in page
    assert "script" not in headers["Content-Security-Policy"]
    (templates / "mine.html.j2").write_text("<html><p>Two {{ doc.headline }}</p></html>")
    thread.join(60)
    assert not thread.is_alive()
    assert [subject for subject, _ in told] == [told[0][0]] * 2


def test_the_server_answers_its_own_address_only_and_lets_no_page_run():
    from kimi_provider.cli.live import Stage

    stage = Stage()
    stage.show("<script>alert(1)</script>")
    server = serve(stage, 0)
    try:
        port = server.server_port
        status, frame, headers = get(port, "/")
        assert status == 200
        assert "alert(1)" not in frame
        assert 'sandbox="allow-same-origin"' in frame
        nonce = frame.split('nonce="')[1].split('"')[0]
        assert f"script-src 'nonce-{nonce}'" in headers["Content-Security-Policy"]
        assert get(port, "/page")[2]["Content-Security-Policy"].startswith("default-src 'none'")
        assert get(port, "/", host="evil.example")[0] == 403
        assert get(port, "/etc/passwd")[0] == 404
        assert json.loads(get(port, "/changes?after=x")[1]) == {"version": 1}
        assert server.server_address[0] == "127.0.0.1"
    finally:
        server.shutdown()
        server.server_close()


# --- send-test ------------------------------------------------------------------------------------


def test_a_test_mail_is_the_report_to_one_person_and_marked(chain, kimi):
    from kimi_provider.hooks.storage import storage_root

    before = sorted(str(path) for path in storage_root().rglob("ledger/*/*"))
    mails = len(chain.simulator.mailbox.messages)
    for _ in range(2):  # the second one is a mail of its own
        ran = kimi("send-test", DAG_ID, "--to", "Me <me@example.org>", "-o", "json")
        assert ran.code == 0, ran.err
        assert ran.rows[0]["status"] == "queued"
    got = chain.simulator.mailbox.messages[mails:]
    assert len(got) == 2
    assert all(mail.subject.startswith(f"{MARK}New York flights") for mail in got)
    assert sorted(str(path) for path in storage_root().rglob("ledger/*/*")) == before
    assert "me@example.org" not in ran.out + ran.err


def test_a_template_can_be_sent_as_a_test_too(chain, kimi):
    ran = kimi("send-test", "--template", "alert", "--to", "me@example.org", "-o", "json")
    assert ran.code == 0, ran.err
    assert chain.simulator.mailbox.messages[-1].subject == ran.rows[0]["subject"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--to", "a@example.org, b@example.org"], 2, "--to must be one address"),
        (["--to", "nobody"], 2, "is not an e-mail address"),
        (["--to", "a@example.org", "--sendgrid-conn-id", "absent"], 1, "absent"),
    ],
)
def test_what_cannot_be_sent_is_said(chain, kimi, arguments, code, said):
    ran = kimi("send-test", DAG_ID, *arguments)
    assert ran.code == code
    assert said in ran.err


def test_a_refused_test_mail_is_no_success(chain, kimi, monkeypatch):
    connection = json.loads(os.environ["AIRFLOW_CONN_SENDGRID_DEFAULT"])
    monkeypatch.setenv(
        "AIRFLOW_CONN_SENDGRID_WRONG", json.dumps({**connection, "password": "wrong-key-planted"})
    )
    ran = kimi(
        "send-test", "--template", "alert", "--to", "a@example.org",
        "--sendgrid-conn-id", "sendgrid_wrong", "-o", "json",
    )  # fmt: skip
    assert ran.code == 1
    assert ran.rows[0]["status"] != "queued"
    assert "wrong-key-planted" not in ran.out + ran.err


# --- deliveries -----------------------------------------------------------------------------------


@pytest.fixture
def stored_connection(chain):
    """Put SendGrid's connection into Airflow's database, where most people have it; return its id."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    given = json.loads(os.environ["AIRFLOW_CONN_SENDGRID_DEFAULT"])
    stored = Connection.from_json(json.dumps(given), conn_id="sendgrid_stored")
    with create_session() as session:
        session.add(stored)
    yield "sendgrid_stored"
    with create_session() as session:
        session.query(Connection).filter_by(conn_id="sendgrid_stored").delete()


def test_deliveries_say_what_became_of_each_mail_once_sendgrid_is_asked(
    storage, kimi, stored_connection
):
    hook = SendGridHook()
    message = hook.get_conn().config.message(subject="S", html="H", text="T")
    folder = storage_root() / "flights" / "run_1" / "alert" / "ledger"
    people = ["ann@example.org", "bounced@example.org"]
    asyncio.run(hook.deliver(message, people, message_id="m1", ledger=folder))
    before = kimi("deliveries", "-o", "json")
    assert {row["status"] for row in before.rows} == {"queued"}
    after = kimi("deliveries", "--poll", "--sendgrid-conn-id", stored_connection, "-o", "json")
    assert after.code == 0
    assert "1 bounced, 1 delivered" in after.err
    ann, bob = sorted(after.rows, key=lambda row: row["recipient"])
    assert (ann["status"], bob["status"]) == ("delivered", "bounced")
    assert bob["detail"].startswith("550")
    assert ann["task"] == "flights/run_1/alert"


def test_deliveries_without_any_mail_are_no_error(chain, storage, kimi):
    assert kimi("deliveries", "--poll", "-o", "json").rows == []
    assert kimi("deliveries", "--days", "0").code == 2


# --- silence --------------------------------------------------------------------------------------


def test_a_silence_is_added_listed_and_ended(storage, kimi):
    added = kimi(
        "silence", "add", "--match", "rule=bad day", "--match", "dag_id=shop", "--for", "8h",
        "--comment", "known", "--author", "ann", "-o", "json",
    )  # fmt: skip
    (row,) = added.rows
    assert (row["state"], row["match"], row["author"]) == ("active", "rule=bad day dag_id=shop", "ann")
    (stored,) = alert_notes().silences()
    left = datetime.fromisoformat(stored.until) - datetime.now(UTC)
    assert timedelta(hours=7, minutes=55) < left <= timedelta(hours=8)
    assert stored.covers({"rule": "bad day", "dag_id": "shop"}, datetime.now(UTC))
    assert kimi("silence", "list", "-o", "json").rows == [row]
    assert kimi("silence", "expire", row["id"]).code == 0
    assert kimi("silence", "list", "--all", "-o", "json").rows == []


def test_ended_silences_and_those_of_the_variable_are_listed_when_asked_for(storage, kimi, monkeypatch):
    old = {"match": ["rule=x"], "until": "2020-01-01T00:00:00+00:00", "author": "bob"}
    monkeypatch.setenv("AIRFLOW_VAR_KIMI_SILENCES", json.dumps([old]))
    assert kimi("silence", "list", "-o", "json").rows == []
    (row,) = kimi("silence", "list", "--all", "-o", "json").rows
    assert (row["state"], row["place"]) == ("ended", "Variable kimi_silences")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "--match", "rule=x"], 2, "Say how long"),
        (
            ["add", "--match", "rule=x", "--for", "1h", "--until", "2030-01-01T00:00Z"],
            2,
            "one of the two",
        ),
        (["add", "--match", "rule=x", "--for", "soon"], 2, "--for must be such as 30m"),
        (["add", "--match", "rule=x", "--for", "99999999999d"], 2, "longer than any silence"),
        (["add", "--match", "rule=x", "--until", "2030-01-01"], 2, "needs a time zone"),
        (["add", "--match", "rule=x", "--until", "2020-01-01T00:00Z"], 2, "which is past"),
        (["add", "--match", "rule", "--for", "1h"], 2, "such as severity=critical"),
        (["expire", "abc"], 1, "There is no silence 'abc'"),
    ],
)
def test_a_wrong_silence_is_said(storage, kimi, arguments, code, said):
    ran = kimi("silence", *arguments)
    assert ran.code == code
    assert said in ran.err


# --- as people start it ---------------------------------------------------------------------------


def airflow(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_real_command_prints_json_and_nothing_else(airflow_db, tmp_path):
    file = tmp_path / "x.html"
    ran = airflow("kimi", "preview", "--template", "daily_brief", "--output", str(file), "-o", "json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)[0]["where"] == str(file)
    assert file.exists()


def test_the_real_command_fails_with_a_sentence_and_a_code(airflow_db):
    ran = airflow(
        "kimi", "check", AIRFLOW_CONN_KIMI_DEFAULT="", AIRFLOW__KIMI__STORAGE_PATH="file:///proc/x"
    )
    assert ran.returncode == 1
    assert "kimi_default" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_every_command_says_how_it_is_used():
    from airflow.cli.cli_parser import get_parser

    seen = []

    def walk(parser, name):
        groups = [a for a in parser._actions if hasattr(a, "choices") and isinstance(a.choices, dict)]
        for group in groups:
            for word, inner in group.choices.items():
                walk(inner, f"{name} {word}")
        if not groups:
            seen.append(name)
            text = parser.format_help()
            example = text.rsplit("Example: ", 1)[1].strip()
            assert example.startswith(f"airflow {name.strip()}"), name
            assert "-o" in text

    kimi = next(a for a in get_parser()._actions if isinstance(getattr(a, "choices", None), dict))
    walk(kimi.choices["kimi"], "kimi")
    assert sorted(seen) == [
        "kimi check", "kimi clean", "kimi cost", "kimi deliveries", "kimi preview", "kimi send-test",
        "kimi silence add", "kimi silence expire", "kimi silence list", "kimi trace",
    ]  # fmt: skip


def test_knowing_the_commands_loads_none_of_them():
    code = (
        "import airflow.cli.cli_config, sys; before = set(sys.modules)\n"
        "from kimi_provider.cli.definition import get_kimi_cli_commands; get_kimi_cli_commands()\n"
        "print(sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    added = set(ast.literal_eval(ran.stdout.strip().splitlines()[-1]))
    assert {name for name in added if name != "kimi_provider"} == {
        "kimi_provider.cli",
        "kimi_provider.cli.definition",
    }

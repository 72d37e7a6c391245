"""Approval in a real Airflow: asked by the scheduler's task, answered by REST and in a browser."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

DAG = "approvals"
SECOND = "The second version says what was asked for"
PICTURES = Path(__file__).parents[2] / "out" / "pictures"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _path(dag_id, run_id):
    return f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/alert/-1/hitlDetails"


def _question(airflow, dag_id, run_id, number=1):
    """Wait until a person is asked for the nth time; return what is asked."""

    def asked():
        if airflow.task_states(dag_id, run_id).get("alert") != "awaiting_input":
            return None
        found = airflow.get(_path(dag_id, run_id))
        return None if found["response_received"] else found

    question = airflow.wait("the question", asked)
    # Whoever answers before that, faster than any person does, is taken for a lost worker.
    airflow.wait(
        "the scheduler",
        lambda: airflow.has_seen_worker_leave(run_id, "task_id='alert'", times=number),
    )
    return question


def _answer(airflow, run_id, choice, comment=""):
    answer = airflow.api.patch(
        _path(DAG, run_id), json={"chosen_options": [choice], "params_input": {"comment": comment}}
    )
    assert answer.status_code == 200, answer.text


def _mails_since(airflow, before):
    return [mail["to"][0] for mail in airflow.mails()[before:]]


def test_a_report_waits_is_rewritten_and_only_what_was_approved_is_sent(airflow):
    before = len(airflow.mails())
    run_id = airflow.trigger(DAG, "2013-02-08")
    question = _question(airflow, DAG, run_id)
    assert question["options"] == ["Approve", "Reject", "Rewrite"]
    assert "930" in question["body"]
    page = re.search(r"\]\((\S+?)\)", question["body"])[1]
    assert f"/{DAG}/" in page
    first = airflow.api.get(page)
    assert first.status_code == 200
    assert SECOND not in first.text
    assert _mails_since(airflow, before) == []

    content = {
        "headline": SECOND,
        "summary": "There were [[day.flights]] flights.",
        "findings": [
            {
                "title": "Flights were canceled",
                "detail": "[[day.cancelled]] of them did not leave.",
                "severity": "warning",
                "kind": "change",
            }
        ],
        "actions": [],
        "charts": [],
    }
    airflow.script(
        kind="answers", match="asks for another version", answers=[{"content": json.dumps(content)}]
    )
    _answer(airflow, run_id, "Rewrite", "Say less about carriers.")
    _question(airflow, DAG, run_id, number=2)
    assert SECOND in airflow.api.get(page).text, "the link shows the newest version"
    assert _mails_since(airflow, before) == []

    _answer(airflow, run_id, "Approve")
    assert airflow.finish(DAG, run_id) == "success"
    mails = airflow.mails()[before:]
    assert sorted(mail["to"][0] for mail in mails) == ["ann@example.com", "bob@example.com"]
    assert all(SECOND in json.dumps(mail) for mail in mails)
    assert SECOND in airflow.api.get(page).text, "the page stays when the mail is sent"


def test_a_rejected_report_reaches_nobody(airflow):
    before = len(airflow.mails())
    run_id = airflow.trigger(DAG, "2013-02-06")
    _question(airflow, DAG, run_id)
    _answer(airflow, run_id, "Reject", "The weather is missing.")
    airflow.finish(DAG, run_id)

    assert airflow.task_states(DAG, run_id)["alert"] == "skipped"
    assert _mails_since(airflow, before) == []


@pytest.mark.parametrize(
    ("default", "state", "mails"), [("approve", "success", 1), ("reject", "skipped", 0)]
)
def test_the_default_holds_where_nobody_answers(airflow, default, state, mails):
    dag_id, before = f"unanswered_{default}", len(airflow.mails())
    run_id = airflow.trigger(dag_id, "2013-02-08")
    airflow.finish(dag_id, run_id)

    assert airflow.task_states(dag_id, run_id)["alert"] == state
    assert _mails_since(airflow, before) == [f"{default}@example.com"] * mails


def test_a_person_approves_in_the_browser(airflow, browser):
    before = len(airflow.mails())
    run_id = airflow.trigger(DAG, "2013-02-05")
    _question(airflow, DAG, run_id)
    browser.sign_in(airflow)
    browser.open(f"{airflow.api.base_url}/dags/{DAG}/runs/{run_id}/tasks/alert/required_actions")
    browser.wait_for("Key figures")
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "approval.png").write_bytes(browser.picture())
    text = browser.text()
    for said in ("Shall this be sent?", "ann@example.com", "Open the report as it will be sent"):
        assert said in text
    browser.press("Approve")

    assert airflow.finish(DAG, run_id) == "success"
    assert sorted(_mails_since(airflow, before)) == ["ann@example.com", "bob@example.com"]


class Browser:
    """One headless Chromium, driven over its DevTools protocol."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [
                CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--no-first-run", "--disable-extensions", "--disable-background-networking",
                "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        found = (re.search(r"ws://\S+", line) for line in self.process.stderr)
        address = next((match[0] for match in found if match), None)
        if address is None:
            pytest.fail("Chromium ended before it could be driven.")
        from websockets.sync.client import connect

        self.socket = connect(address, max_size=None, proxy=None)
        self.numbers = itertools.count(1)
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=1280, height=1600, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def call(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")

    def sign_in(self, airflow):
        token = airflow.api.headers["Authorization"].removeprefix("Bearer ")
        self.call("Network.setCookie", name="_token", value=token, url=str(airflow.api.base_url))

    def open(self, url):
        self.call("Page.navigate", url=url)

    def text(self):
        return self.run("document.body ? document.body.innerText : ''") or ""

    def wait_for(self, said, seconds=90.0):
        end = time.monotonic() + seconds
        while said not in self.text():
            assert time.monotonic() < end, f"{said!r} is not on the page: {self.text()[:2000]}"
            time.sleep(0.5)
        time.sleep(1)  # what slides in has arrived

    def press(self, label):
        script = (
            f"[...document.querySelectorAll('button')].filter(b => b.innerText.trim() === '{label}')"
            ".map(b => b.click()).length"
        )
        assert self.run(script) == 1, f"one button {label!r} is there"

    def picture(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@pytest.fixture
def browser(tmp_path):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed, so nothing can be looked at in it.")
    pytest.importorskip("websockets", reason="websockets is not installed; Chromium is driven by it.")
    started = Browser(tmp_path / "chromium")
    yield started
    started.socket.close()
    started.process.terminate()
    started.process.wait(timeout=20)

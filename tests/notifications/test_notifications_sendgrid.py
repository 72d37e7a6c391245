from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import DAG, BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.alerts.recipients_from import FromVariable
from kimi_provider.exceptions import ConfigurationError, DeliveryError, SourceError
from kimi_provider.notifications.sendgrid import SendGridNotifier
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What dag.test() hands to a DAG's callbacks has no template environment.
SERIALIZED = SimpleNamespace(dag_id="sales", render_template_as_native_obj=False)
SECRET = "{{ conn.sendgrid_default.password }}"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def simulator(running: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    running.reset()
    connection = {
        "conn_type": "sendgrid",
        "password": "SG.very-secret",
        "host": running.sendgrid_url,
        "extra": {"from_email": "robot@example.org"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_SENDGRID_DEFAULT", json.dumps(connection))
    return running


def of_task(exception: object = None, state: str = "failed", **more: object) -> dict[str, object]:
    ti = SimpleNamespace(
        dag_id="sales",
        task_id="report",
        run_id="run1",
        map_index=-1,
        try_number=2,
        state=SimpleNamespace(value=state),
        log_url="https://airflow.example.org/dags/sales/runs/run1/tasks/report",
    )
    return {"ti": ti, "run_id": "run1", "exception": exception, **more}


def call(notifier: SendGridNotifier, context: dict[str, object]) -> None:
    notifier(context)


def wait(notifier: SendGridNotifier, context: dict[str, object]) -> None:
    async def go() -> None:
        notifier.context = context
        await notifier

    asyncio.run(go())


both = pytest.mark.parametrize("tell", [call, wait], ids=["sync", "async"])
Tell = Callable[[SendGridNotifier, dict[str, object]], None]


@both
def test_a_failed_task_is_told_with_what_the_owner_needs(tell: Tell, simulator: Simulator) -> None:
    tell(SendGridNotifier(to="owner@example.org; boss@example.org"), of_task(ValueError("pw=hunter2")))
    assert sorted(mail.to for mail in simulator.mailbox.messages) == [
        ("boss@example.org",),
        ("owner@example.org",),
    ]
    mail = simulator.mailbox.messages[0]
    assert mail.subject == "[Airflow] sales.report failed"
    for part in (mail.text, mail.html):
        for value in ("sales", "run1", "report", "ValueError", "https://airflow.example.org/dags/sales"):
            assert value in part
        assert "hunter2" not in part  # an error's text can hold anything that the task touched


@both
def test_fields_are_rendered_and_values_escaped(tell: Tell, simulator: Simulator) -> None:
    notifier = SendGridNotifier(
        to=["{{ owner }}@example.org"],
        subject="{{ ti.task_id }} failed:\n{{ exception }}",
        html_content="<b>{{ exception }}</b> {{ 1 + 1 }}",
        from_name="Team {{ ti.dag_id }}",
    )
    tell(notifier, of_task(ValueError(f"<script>x</script>\r\nBcc: eve@x.org {SECRET}"), owner="ann"))
    (mail,) = simulator.mailbox.messages
    assert mail.to == ("ann@example.org",)
    assert mail.subject == f"report failed: <script>x</script> Bcc: eve@x.org {SECRET}"
    assert mail.html.startswith("<b>&lt;script&gt;x&lt;/script&gt;")
    assert mail.html.endswith("</b> 2")
    assert mail.text.startswith("<script>x</script>")
    assert mail.sender_name == "Team sales"
    assert "SG.very-secret" not in str(mail.payload)


@both
def test_one_notifier_serves_many_callbacks(tell: Tell, simulator: Simulator) -> None:
    notifier = SendGridNotifier(to="owner@example.org", subject="{{ exception }}", text_content="t")
    tell(notifier, of_task(ValueError(SECRET)))
    tell(notifier, of_task(ValueError("second")))
    assert [mail.subject for mail in simulator.mailbox.messages] == [SECRET, "second"]
    assert notifier.subject == "{{ exception }}"


def test_values_are_escaped_in_the_environment_of_a_dag(simulator: Simulator) -> None:
    for native in (False, True):
        dag = DAG(
            "sales",
            schedule=None,
            render_template_as_native_obj=native,
            user_defined_macros={"team": "<team>"},
            user_defined_filters={"loud": str.upper},
        )
        notifier = SendGridNotifier(
            to="owner@example.org",
            subject="{{ 6 * 7 }}",
            html_content="<i>{{ exception }}</i>{{ team | loud }}",
        )
        notifier(of_task(ValueError("<b>"), dag=dag))
    for mail in simulator.mailbox.messages:
        assert (mail.subject, mail.html) == ("42", "<i>&lt;b&gt;</i>&lt;TEAM&gt;")


def test_one_part_makes_the_other(simulator: Simulator) -> None:
    SendGridNotifier(to="a@example.org", subject="S", text_content="1 < 2\nnext")(of_task())
    SendGridNotifier(to="a@example.org", subject="S", html_content="<p>1 &lt; 2</p>")(of_task())
    SendGridNotifier(to="a@example.org", subject="S", html_content="<hr>")(of_task())
    first, second, third = simulator.mailbox.messages
    assert "1 &lt; 2<br>\nnext" in first.html
    assert second.text == "1 < 2"
    assert "DAG: sales" in third.text


def test_advice_of_our_own_errors_reaches_the_owner(simulator: Simulator) -> None:
    wrapped = AirflowFailException("x")
    wrapped.__cause__ = SourceError("The column 'dep_delay' is missing; the source has: a, b.")
    SendGridNotifier(to="owner@example.org")(of_task(wrapped))
    (mail,) = simulator.mailbox.messages
    assert "WHAT TO DO" in mail.text
    assert "The column 'dep_delay' is missing; the source has: a, b." in " ".join(mail.text.split())
    assert "\nAirflowFailException\n" in mail.text


@pytest.mark.parametrize(
    ("context", "subject"),
    [
        (of_task(ValueError(), "up_for_retry"), "sales.report failed and will be tried again"),
        (of_task(None, "success"), "sales.report succeeded"),
        (of_task(None, "failed"), "sales.report failed"),
        (of_task(None, "restarting"), "sales.report needs attention"),
        (of_task(None, "failed", reason="task_failure"), "sales failed (task_failure)"),
        ({"dag": DAG("sales", schedule=None), "run_id": "r", "reason": "success"}, "sales succeeded"),
        (
            {"dag_run": {"dag_id": "sales", "dag_run_id": "r"}, "deadline": {"id": "1"}},
            "sales missed a deadline",
        ),
        ({"dag": SERIALIZED, "run_id": "r", "reason": "timed_out"}, "sales failed (timed_out)"),
        ({}, "A DAG needs attention"),
    ],
)
def test_each_kind_of_callback_has_its_own_words(
    simulator: Simulator, context: dict[str, object], subject: str
) -> None:
    SendGridNotifier(to="owner@example.org")(context)
    (mail,) = simulator.mailbox.messages
    assert mail.subject == f"[Airflow] {subject}"


def test_a_mapped_task_is_named_by_its_index(simulator: Simulator) -> None:
    context = of_task(ValueError())
    context["ti"].map_index = 0
    SendGridNotifier(to="owner@example.org")(context)
    assert simulator.mailbox.messages[0].subject == "[Airflow] sales.report[0] failed"


@both
def test_a_passing_failure_of_the_service_is_survived(tell: Tell, simulator: Simulator) -> None:
    simulator.faults.add("/v3/mail/send", "rate_limit", retry_after=0)
    tell(SendGridNotifier(to="owner@example.org"), of_task(ValueError()))
    assert len(simulator.mailbox) == 1


@both
def test_a_notice_that_did_not_leave_is_an_error(tell: Tell, simulator: Simulator) -> None:
    simulator.faults.add("/v3/mail/send", "forbidden")
    with pytest.raises(DeliveryError, match="Sender Authentication"):
        tell(SendGridNotifier(to="owner@example.org"), of_task(ValueError()))
    with pytest.raises(ConfigurationError, match="recipient number 1"):
        tell(SendGridNotifier(to="owner"), of_task(ValueError()))


def test_logs_tell_no_recipient(simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    simulator.faults.add("/v3/mail/send", "forbidden")
    with pytest.raises(DeliveryError):
        SendGridNotifier(to="owner@example.org")(of_task(ValueError()))
    assert "owner@" not in caplog.text
    assert "very-secret" not in caplog.text


def test_the_notifier_has_what_airflow_looks_for() -> None:
    assert issubclass(SendGridNotifier, BaseNotifier)
    made = SendGridNotifier(to="a@example.org", context={"k": 1})
    assert made.context == {"k": 1}  # how a deadline's callback hands it over
    assert set(SendGridNotifier.template_fields) == set(vars(made)) & set(
        SendGridNotifier.template_fields
    )


def test_importing_the_notifier_loads_no_mail_library() -> None:
    code = (
        "import sys; from airflow.sdk import BaseNotifier; before = set(sys.modules);"
        "import kimi_provider.notifications.sendgrid; new = set(sys.modules) - before;"
        "print(sorted(m for m in new if not m.startswith(('airflow', 'kimi_provider'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_dag_takes_it_as_a_callback() -> None:
    with DAG(
        "sales",
        schedule=None,
        start_date=dt.datetime(2013, 1, 1, tzinfo=dt.UTC),
        on_failure_callback=SendGridNotifier(to="owner@example.org"),
    ) as dag:
        pass
    assert dag.has_on_failure_callback


def test_a_failure_is_drawn_by_its_template_and_told_without_it(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setenv("AIRFLOW__KIMI__TEMPLATES_PATH", str(tmp_path))
    (tmp_path / "alerts").mkdir()
    SendGridNotifier(to="owner@example.org")(of_task(ValueError()))
    (tmp_path / "alerts" / "failure.html.j2").write_text("<b>Own: {{ doc.headline }}</b>")
    SendGridNotifier(to="owner@example.org")(of_task(ValueError()))
    (tmp_path / "alerts" / "failure.html.j2").write_text("{{ broken")
    SendGridNotifier(to="owner@example.org")(of_task(ValueError()))
    first, second, third = simulator.mailbox.messages
    assert "Attempt: 2" in first.text
    assert "Own: " in second.html
    assert "Error: ValueError" in third.text
    assert "sent plain" in caplog.text


def test_recipients_can_be_kept_elsewhere(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_OWNERS_SALES", "ann@example.org\nbob@example.org")
    source = FromVariable("owners_{{ ti.dag_id }}")
    notifier = SendGridNotifier(to=source)
    notifier(of_task(ValueError()))
    assert sorted(mail.to for mail in simulator.mailbox) == [("ann@example.org",), ("bob@example.org",)]
    assert source.key == "owners_{{ ti.dag_id }}"


def test_the_triggerer_tells_of_a_missed_deadline(simulator: Simulator) -> None:
    from airflow.triggers.callback import CallbackTrigger

    context = {"dag_run": {"dag_id": "sales", "dag_run_id": "r1"}, "deadline": {"id": "1"}}
    trigger = CallbackTrigger(
        "kimi_provider.notifications.sendgrid.SendGridNotifier",
        {"to": "owner@example.org", "context": context},
    )

    async def events() -> list[str]:
        return [str(event.payload["state"]) async for event in trigger.run()]

    assert asyncio.run(events())[-1] == "success"
    assert simulator.mailbox.messages[0].subject == "[Airflow] sales missed a deadline"


def test_an_approval_is_asked_for(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.standard.operators import hitl
    from airflow.sdk.exceptions import TaskAwaitingInput

    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    report = hitl.ApprovalOperator(
        task_id="report",
        subject="Send the report?",
        dag=DAG("sales", schedule=None),
        notifiers=SendGridNotifier(
            to="boss@example.org", subject="{{ task.subject }}", text_content="x"
        ),
    )
    context = of_task(None, "running", task=report)
    context["ti"].id = uuid.uuid4()
    context["task_instance"] = context["ti"]
    with pytest.raises(TaskAwaitingInput):
        report.execute(context)
    (mail,) = simulator.mailbox.messages
    assert (mail.to, mail.subject) == (("boss@example.org",), "Send the report?")

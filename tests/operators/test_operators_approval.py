"""A person's approval: what is held, what the person sees, and what each answer leads to."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from uuid import uuid4

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

from kimi_provider.alerts.approval import Approval
from kimi_provider.alerts.rules import Always, Threshold
from kimi_provider.exceptions import ConfigurationError, UngroundedError
from kimi_provider.operators.alert import AlertOperator
from kimi_provider.schemas import Severity

CALLS = "chat/completions"
SECOND = "The second version says what was asked for"


@pytest.fixture
def supervisor():
    """What Airflow's supervisor is told; it is there only in a real task process."""
    with mock.patch(
        "airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True
    ) as supervisor:
        yield supervisor


@pytest.fixture
def asked(supervisor):
    """Return a function that gives the questions that people were asked, in order."""

    def questions():
        messages = (call.kwargs.get("msg") for call in supervisor.send.call_args_list)
        return [message for message in messages if isinstance(message, CreateHITLDetailPayload)]

    return questions


@pytest.fixture
def made(chain):
    """Make a report; return a function that runs the alert up to its end or a question."""
    chain.analyze()
    chain.report()
    pushed = {}

    def run(event=None, **arguments):
        settings = {
            "analysis": chain.values["analyze"],
            "report": chain.values["report"],
            "rules": [Always()],
            "to": "ann@example.com, bob@example.com",
            "require_approval": "always",
        }
        operator = AlertOperator(
            task_id="alert", dag=DAG("flight_report", schedule=None), **settings | arguments
        )
        ti = SimpleNamespace(
            id=uuid4(),
            dag_id="flight_report",
            run_id=chain.run_id,
            task_id="alert",
            map_index=-1,
            try_number=1,
            xcom_push=lambda key, value: pushed.update({key: value}),
        )
        if event is None:
            return operator.execute({"ti": ti})
        return operator.execute_decided({"ti": ti}, event)

    run.pushed = pushed
    return run


def _answer(choice, comment="", by="Ann"):
    return {
        "chosen_options": [choice],
        "params_input": {"comment": comment},
        "responded_by_user": {"id": by.lower(), "name": by},
        "timedout": False,
    }


def _second_version(simulator):
    """Let the model answer the second turn of the conversation otherwise."""
    answer = {
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
    simulator.script(
        "answers", match="asks for another version", answers=[{"content": json.dumps(answer)}]
    )


def test_the_mail_is_held_until_it_is_approved(made, asked, simulator):
    with pytest.raises(TaskAwaitingInput) as waiting:
        made()
    question = asked()[0]

    assert not simulator.mailbox.messages
    assert waiting.value.method_name == "execute_decided"
    assert question.options == ["Approve", "Reject", "Rewrite"]
    assert "930" in question.body, "the figures of the report are in the preview"
    assert r"ann@example.com" in question.body.replace("\\", "")
    assert question.params["comment"]["schema"]["type"] == ["string", "null"]
    assert question.defaults is None, "nobody decides in a person's place unless told"

    result = made(_answer("Approve"))
    assert len(simulator.mailbox.messages) == 2
    assert {receipt["status"] for receipt in result["receipts"]} == {"queued"}


def test_a_retry_after_the_approval_asks_nobody_again(made, asked, simulator):
    with pytest.raises(TaskAwaitingInput):
        made()
    made(_answer("Approve"))
    made()

    assert len(asked()) == 1
    assert len(simulator.mailbox.messages) == 2


@pytest.mark.parametrize(
    ("on_rejection", "error"), [("skip", AirflowSkipException), ("fail", AirflowFailException)]
)
def test_what_is_rejected_reaches_nobody_and_says_why(made, asked, simulator, on_rejection, error):
    approval = Approval(on_rejection=on_rejection)
    with pytest.raises(TaskAwaitingInput):
        made(require_approval=approval)
    with pytest.raises(error, match="rejected by Ann: The weather is missing"):
        made(_answer("Reject", "The weather is missing"), require_approval=approval)
    assert not simulator.mailbox.messages

    with pytest.raises(TaskAwaitingInput):
        made(require_approval=approval)
    made(_answer("Approve"), require_approval=approval)
    assert len(simulator.mailbox.messages) == 2, "a cleared task asks again"
    assert len(asked()) == 2


def test_a_rewrite_is_a_further_turn_and_only_the_last_version_is_sent(made, asked, simulator):
    with pytest.raises(TaskAwaitingInput):
        made()
    first = made.pushed["kimi_report"]
    _second_version(simulator)
    paid = simulator.calls.count(CALLS)
    with pytest.raises(TaskAwaitingInput):
        made(_answer("Rewrite", "Say less about carriers"))
    second = made.pushed["kimi_report"]

    assert simulator.calls.count(CALLS) == paid + 1, "what was said before is not paid again"
    folder = Path(second["page_uri"].removeprefix("file://")).parent
    entries = json.loads((folder / "trace.json").read_text())["entries"]
    requests = [entry for entry in entries if entry["kind"] == "request"]
    first_turn, second_turn = (request["messages"] for request in requests)
    assert second_turn == first_turn + 2, "the conversation goes on"
    assert "Say less about carriers" in requests[-1]["new_messages"][-1]["content"]
    assert second["page_uri"] != first["page_uri"]
    assert SECOND in asked()[-1].body

    made(_answer("Approve"))
    assert SECOND in simulator.mailbox.messages[0].html
    assert "930" in simulator.mailbox.messages[0].text, "its figures are computed as before"
    assert simulator.calls.count(CALLS) == paid + 1
    record = json.loads((folder.parent / "approval.json").read_text())
    assert [(one["version"], one["choice"], one["by"]) for one in record["rounds"]] == [
        (1, "Rewrite", "Ann"),
        (2, "Approve", "Ann"),
    ]


def test_a_rewrite_that_lies_is_repaired_like_any_other_answer(made, asked, simulator):
    with pytest.raises(TaskAwaitingInput):
        made()
    lie = {"headline": "Flights fell by 99 percent", "summary": "All is well.", "findings": []}
    simulator.script("answers", match="asks for another version", answers=[{"content": json.dumps(lie)}])
    with pytest.raises(UngroundedError):
        made(_answer("Rewrite", "Shorter"))
    assert not simulator.mailbox.messages

    _second_version(simulator)
    with pytest.raises(TaskAwaitingInput):
        made()
    assert SECOND in asked()[-1].body, "a retry makes what was asked for"


@pytest.mark.parametrize(("default", "mails"), [("approve", 2), ("reject", 0)])
def test_the_default_holds_when_the_time_is_over(made, asked, simulator, default, mails):
    approval = Approval(timeout=timedelta(hours=2), default=default)
    with pytest.raises(TaskAwaitingInput) as waiting:
        made(require_approval=approval)
    assert waiting.value.timeout == timedelta(hours=2)
    assert asked()[-1].defaults == [default.capitalize()]

    over = {"chosen_options": [default.capitalize()], "params_input": {}, "timedout": True}
    if default == "approve":
        made(over, require_approval=approval)
    else:
        with pytest.raises(AirflowSkipException, match="Nobody approved"):
            made(over, require_approval=approval)
    assert len(simulator.mailbox.messages) == mails


def test_nobody_is_asked_about_what_is_not_told(made, asked, simulator):
    result = made(rules=[Threshold("day.cancelled_share", above=0.9, severity="critical")])

    assert result["receipts"] == []
    assert not asked()


def test_another_report_of_the_run_is_asked_about_anew(made, chain, asked, simulator):
    with pytest.raises(TaskAwaitingInput):
        made()
    with pytest.raises(AirflowSkipException):
        made(_answer("Reject"))
    chain.report(title="Another title")
    with pytest.raises(TaskAwaitingInput):
        made()
    assert "Another title" in asked()[-1].body


def test_only_those_assigned_may_decide_and_notifiers_ask_them(made, asked):
    told = []
    approval = Approval(
        assigned_users=[{"id": "7", "name": "ann"}],
        notifiers=[lambda context: told.append(context["kimi_approval"])],
    )
    with pytest.raises(TaskAwaitingInput):
        made(require_approval=approval)

    assert [user.id for user in asked()[-1].assigned_users] == ["7"]
    assert "930" in told[0]["text"]
    assert told[0]["version"] == 1


def test_a_notifier_that_fails_keeps_nobody_from_deciding(made, asked):
    def fails(context):
        raise RuntimeError("no network")

    with pytest.raises(TaskAwaitingInput):
        made(require_approval=Approval(notifiers=[fails]))


def test_markup_from_data_is_text_in_the_preview(made, chain, asked, simulator):
    with pytest.raises(TaskAwaitingInput):
        made(to="x](https://evil.example)<img src=x>@example.com")
    body = asked()[-1].body
    assert "](https://evil.example)" not in body.replace("\\]", "")


def test_an_address_in_the_data_is_no_link_in_the_preview(made, chain, asked):
    chain.report(title="See https://evil.example or www.evil.example")
    with pytest.raises(TaskAwaitingInput):
        made()
    body = asked()[-1].body
    assert "evil.example" in body
    assert "https://evil" not in body.partition("---")[2]
    assert "www.evil" not in body.partition("---")[2]


@pytest.mark.parametrize(
    ("when", "severity", "score", "written", "asks"),
    [
        ("never", Severity.CRITICAL, 0.1, True, False),
        ("always", Severity.INFO, 1.0, False, True),
        ("warning", Severity.INFO, 0.5, True, False),
        ("warning", Severity.WARNING, 1.0, True, True),
        ("warning", Severity.CRITICAL, 1.0, True, True),
        ("critical", Severity.WARNING, 1.0, True, False),
        ("unless_grounded", Severity.CRITICAL, 1.0, True, False),
        ("unless_grounded", Severity.INFO, 0.99, True, True),
        ("unless_grounded", Severity.INFO, None, True, True),
        ("unless_grounded", Severity.CRITICAL, None, False, False),
    ],
)
def test_when_a_person_is_asked(when, severity, score, written, asks):
    assert Approval(when=when).asks(severity, score, written=written) is asks


@pytest.mark.parametrize(
    "wrong",
    [
        {"when": "sometimes"},
        {"default": "maybe"},
        {"on_rejection": "shout"},
        {"timeout": timedelta(0)},
        {"assigned_users": [{"id": "1"}]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_approval_is_refused_at_parse(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Approval(**wrong)

"""Each part of Airflow killed at each stage of a run: the same report, one mail each, one call again."""

from __future__ import annotations

import re

import pytest

DAY = "2013-02-08"
PARTS = ("worker", "scheduler", "api-server", "triggerer")
# Long enough to be killed in; whoever lives goes on then.
HELD = 5.0


_MADE_AT = re.compile(r"\d+:\d\d [AP]M")


def told(airflow, dag_id, run_id):
    """Return what an analysis says."""
    analysis = airflow.xcom(dag_id, run_id, "analyze")
    fields = ("headline", "summary", "findings", "actions", "charts", "facts")
    return {name: analysis[name] for name in fields}


@pytest.fixture(scope="module")
def undisturbed(airflow):
    mails = len(airflow.mails())
    run_id = airflow.trigger("restarts", DAY)
    assert airflow.finish("restarts", run_id) == "success"
    return told(airflow, "restarts", run_id), texts(airflow, mails)


def texts(airflow, since):
    """Return each recipient's mails, which leave in any order, without when they were made."""
    mails = airflow.mails()[since:]
    return sorted((mail["to"], mail["subject"], _MADE_AT.sub("", mail["text"])) for mail in mails)


def reached(hold):
    """Return a mark of each process that a file holds, or has held."""
    return list(hold.parent.glob(f"{hold.name}-reached-*"))


def strike(airflow, part, dag_id, run_id, task_id, *, whole):
    """Kill a part while a task is under way, and start it again."""
    if part == "worker":
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        airflow.kill_worker(airflow.get(path)["id"], whole=whole)
        return
    airflow.kill(part)
    airflow.start(part)
    if part == "api-server":
        airflow.wait("the API server", airflow.log_in)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_killed_at_every_stage(airflow, undisturbed, part):
    dag_id = f"restarts_{part}"
    mails, asked, read = len(airflow.mails()), airflow.calls(), airflow.calls("data/flights")
    airflow.disturb("/data/flights", "stall", seconds=HELD)
    airflow.disturb("/v1/chat", "stall", at_event=20, seconds=HELD)
    holds = {name: airflow.home / f"hold-{dag_id}-{name}" for name in ("report", "alert")}
    for hold in holds.values():
        hold.touch()
    run_id = airflow.trigger(dag_id, DAY)

    airflow.wait("the fetch", lambda: airflow.calls("data/flights") > read)
    strike(airflow, part, dag_id, run_id, "fetch_flights", whole=False)
    airflow.wait("the call", lambda: airflow.calls() > asked)
    strike(airflow, part, dag_id, run_id, "analyze", whole=True)
    for name, hold in holds.items():
        airflow.wait(f"the {name}", lambda hold=hold: reached(hold))
        strike(airflow, part, dag_id, run_id, name, whole=False)
        if (part, name) == ("scheduler", "alert"):
            # The next scheduler lets the task run again while its first process still lives.
            airflow.wait("the second process", lambda hold=hold: len(reached(hold)) > 1)
        hold.unlink()

    assert airflow.finish(dag_id, run_id) == "success"
    analysis, mailed = undisturbed
    assert told(airflow, dag_id, run_id) == analysis
    assert texts(airflow, mails) == mailed
    assert airflow.calls() - asked <= 2


@pytest.mark.parametrize(("held", "sent"), [("stall_before", 2), ("stall_after", 3)])
def test_a_worker_killed_while_it_mails_sends_nothing_twice(airflow, held, sent):
    """Whether the third mail has left cannot be known, so its receipt says that, and nobody sends it."""
    mails, posted = len(airflow.mails()), airflow.calls("mail/send")
    airflow.disturb("/v3/mail/send", held, after=2)
    run_id = airflow.trigger("restarts_mailing")
    airflow.wait("the mails", lambda: airflow.calls("mail/send") == posted + 3)
    path = f"/api/v2/dags/restarts_mailing/dagRuns/{run_id}/taskInstances/alert"
    airflow.kill_worker(airflow.get(path)["id"], whole=False)

    assert airflow.finish("restarts_mailing", run_id) == "failed"
    assert airflow.calls("mail/send") == posted + 3
    told = [mail["to"] for mail in airflow.mails()[mails:]]
    assert len(told) == len({*map(tuple, told)}) == sent

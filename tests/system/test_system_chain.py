"""The chain in a real Airflow: triggered by REST, run by the scheduler, seen in the API server."""

from __future__ import annotations

import json
from functools import partial

DAG = "example_flight_report"


def test_a_triggered_run_ends_in_one_mail_and_a_page(airflow):
    before = len(airflow.mails())
    run_id = airflow.trigger(DAG, "2013-02-08")
    assert airflow.finish(DAG, run_id) == "success"

    mails = airflow.mails()[before:]
    assert [mail["to"] for mail in mails] == [["operations@example.com"]]
    assert airflow.xcom(DAG, run_id, "alert")["receipts"][0]["status"] == "queued"

    page = airflow.api.get(f"/kimi/reports/{DAG}/{run_id}/report/-1")
    assert page.status_code == 200
    assert "sandbox" in page.headers["content-security-policy"]
    assert "<h1" in page.text


def test_a_person_approves_what_the_agent_wants_to_do(airflow):
    airflow.script(kind="tools", match="Restart", steps=1, tool="restart", arguments={"service": "web"})
    run_id = airflow.trigger("agent_with_approval")
    task = f"/api/v2/dags/agent_with_approval/dagRuns/{run_id}/taskInstances/agent"
    states = partial(airflow.task_states, "agent_with_approval", run_id)
    airflow.wait("the question", lambda: states()["agent"] == "awaiting_input")
    asked = airflow.get(f"{task}/-1/hitlDetails")
    restarted = airflow.home / "restarted.txt"
    assert asked["options"] == ["Approve 1: restart", "Refuse"]
    assert '"service": "web"' in asked["body"]
    assert not restarted.exists()

    # An answer faster than any person's meets a scheduler that has not seen the worker leave, and takes
    # it for lost.
    airflow.wait("the scheduler", lambda: airflow.has_seen_worker_leave(run_id))
    answer = airflow.api.patch(
        f"{task}/-1/hitlDetails", json={"chosen_options": ["Approve 1: restart"], "params_input": {}}
    )
    assert answer.status_code == 200, answer.text
    assert airflow.finish("agent_with_approval", run_id) == "success"
    assert restarted.read_text() == "web\n"
    assert airflow.xcom("agent_with_approval", run_id, "agent")["tool_calls"] == 1


def test_no_secret_is_in_any_log(airflow):
    run_id = airflow.trigger(DAG, "2013-02-07")
    assert airflow.finish(DAG, run_id) == "success"
    logs = [path.read_text(errors="replace") for path in (airflow.home / "logs").rglob("*.log")]
    assert any("Asking kimi" in log for log in logs)
    keys = {"sk-simulator", "SG.sk-simulator"}
    assert not [key for key in keys for log in logs if key in log]
    assert json.dumps(airflow.xcom(DAG, run_id, "analyze")).count("sk-simulator") == 0

"""Every route of the pages as nobody, as somebody without rights and with them, and hostile texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from kimi_provider.alerts.store import Store
from kimi_provider.hooks.alert_state import alert_notes
from kimi_provider.hooks.storage import storage_root
from kimi_provider.plugins.pages import PAGE_POLICY, URL_PREFIX

TRICKS = ("<script", "<img", "</style></pre>")


def routes():
    """Return every route that the application has, so that a new one cannot be forgotten."""
    from fastapi.routing import APIRoute

    from kimi_provider.plugins.app import create_app

    return [
        (method, route.path)
        for route in create_app().routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]


def task_of(path):
    if path.startswith(("/traces", "/lineage")):
        return "analyze"
    return "alert" if path.startswith("/alerts") else "report"


@pytest.fixture
def ask(server, reports, token):
    """Ask for a route of the chain's run, as a role; ``None`` is nobody."""

    def send(path, *, role="viewer", method="GET", dag_id="chain", task=None, index="-1", **kwargs):
        values = {
            "dag_id": dag_id, "run_id": reports["runs"][dag_id], "task_id": task or task_of(path),
            "map_index": index, "number": "0",
        }  # fmt: skip
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        if role is not None:
            kwargs["headers"] = {"Authorization": f"Bearer {token(role)}", **kwargs.get("headers", {})}
        return server.request(method, f"{URL_PREFIX}{path}", **kwargs)

    return send


def test_there_are_routes_to_walk():
    paths = {path for _, path in routes()}
    assert {"/reports", "/costs", "/alerts"} < paths
    assert len(paths) >= 11


@pytest.mark.parametrize(("method", "path"), routes())
def test_nobody_gets_in(ask, method, path):
    answer = ask(path, method=method, role=None)
    assert answer.status_code == 401
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(("method", "path"), routes())
def test_a_user_without_rights_gets_nothing(ask, method, path):
    answer = ask(path, method=method, role="")
    assert answer.status_code == 403
    assert "Report" not in answer.text


@pytest.mark.parametrize(("method", "path"), [r for r in routes() if r[0] == "GET"])
def test_a_viewer_sees_every_page_and_no_trick_works(ask, method, path):
    answer = ask(path)
    assert answer.status_code in {200, 303}
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox")
    assert "allow-scripts" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-store"
    if answer.status_code == 303 or answer.headers["content-type"].startswith("application/octet"):
        return
    if policy == PAGE_POLICY:
        assert not any(trick in answer.text for trick in TRICKS)
        Strict().feed(answer.text)
    else:
        assert policy.startswith("sandbox; default-src 'none'")


class Strict(HTMLParser):
    """Refuses what our pages never have."""

    def handle_starttag(self, tag, attributes):
        assert tag not in {"script", "img", "object", "embed", "link", "base"}
        for name, value in attributes:
            assert not name.startswith("on"), (tag, name)
            assert name != "style"
            if name in {"href", "src", "action"}:
                assert value.startswith((f"{URL_PREFIX}/", "#")), value


@pytest.mark.parametrize(("method", "path"), [r for r in routes() if r[0] == "POST"])
def test_a_viewer_changes_nothing(ask, method, path):
    assert ask(path, method="POST", role="viewer").status_code == 403


@pytest.mark.parametrize(
    "path", [path for method, path in routes() if method == "GET" and "{dag_id}" in path]
)
@pytest.mark.parametrize(
    "task", ["../../../etc/passwd", "..", "no such", "%2e%2e%2f", "<script>", "\x00"]
)
def test_what_the_index_does_not_name_is_not_there(ask, path, task):
    answer = ask(path, task=task)
    assert answer.status_code == 404
    assert "<script>" not in answer.text


@pytest.mark.parametrize("index", ["x", "-2", "99999999999999999999", "٣", "1.0", "0"])
def test_a_map_index_is_one_of_the_task(ask, index):
    assert ask("/view/{dag_id}/{run_id}/{task_id}/{map_index}", index=index).status_code == 404


def test_lists_hold_only_the_dags_that_a_user_may_read(ask, monkeypatch):
    from airflow.api_fastapi.app import get_auth_manager

    manager = type(get_auth_manager())
    monkeypatch.setattr(manager, "get_authorized_dag_ids", lambda *_, **__: {"chain"})
    for path in ("/reports", "/costs", "/alerts"):
        assert "chain" in ask(path).text
        assert "secret" not in ask(path).text
        assert "secret \u203a " not in ask(path, params={"dag_id": "secret"}).text


def test_rights_on_one_dag_are_none_on_another(ask, monkeypatch):
    from airflow.api_fastapi.app import get_auth_manager

    def only_chain(self, *, method, user, access_entity=None, details=None):
        return details is not None and details.id == "chain"

    monkeypatch.setattr(type(get_auth_manager()), "is_authorized_dag", only_chain)
    for method, path in routes():
        if "{dag_id}" in path and method == "GET":
            assert ask(path).status_code in {200, 303}
            assert ask(path, dag_id="secret").status_code == 403
            # The right that counts is that to the DAG of the path, whatever the query says.
            assert ask(path, dag_id="secret", params={"dag_id": "chain"}).status_code == 403


def test_the_list_finds_and_counts(ask):
    page = ask("/reports", params={"dag_id": "chain"}).text
    assert "3 " in page
    assert "(2 queued, 1 rejected)" in re.sub(r"\s+", " ", page)
    assert "person0@example.com" not in page
    assert "50 %" in page
    assert "$0.2500" in page
    assert "incomplete" in page
    for params in ({"q": "REPORT"}, {"status": "incomplete"}, {"first": "2013-02-08"}):
        assert "/view/chain/" in ask("/reports", params=params).text
    for params in ({"q": "100%"}, {"status": "failed"}, {"last": "2013-02-07"}, {"dag_id": "no"}):
        assert "No report fits." in ask("/reports", params=params).text


@pytest.mark.parametrize(
    "params",
    [
        {"after": "x"}, {"after": '{"at":"2013-02-08","run":1,"task":"a","index":0}'}, {"first": "x"},
        {"last": "9999-99-99"}, {"status": "' OR 1=1"}, {"q": "' OR 1=1 --"}, {"q": "\\"}, {"q": "%_"},
    ],
)  # fmt: skip
def test_no_query_breaks_the_list(ask, params):
    assert ask("/reports", params=params).status_code == 200


@pytest.mark.parametrize("params", [{"first": "0001-01-01"}, {"last": "9999-12-31"}, {"first": "x"}])
def test_no_query_breaks_the_costs(ask, params):
    assert ask("/costs", params=params).status_code == 200


def test_a_report_says_what_is_known_of_it(ask):
    page = ask("/view/{dag_id}/{run_id}/{task_id}/{map_index}").text
    assert '<iframe class="report" sandbox title=' in page
    assert "Parts of this report could not be made." in page
    assert "/lineage/chain/" in page
    assert "/traces/chain/" in page


def test_a_file_is_saved_and_never_shown(ask):
    answer = ask("/reports/{dag_id}/{run_id}/{task_id}/{map_index}/files/{number}")
    assert answer.content == b"%PDF"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert "/" not in answer.headers["content-disposition"].partition("''")[2]
    path = "/reports/{dag_id}/{run_id}/{task_id}/{map_index}/files/"
    assert ask(f"{path}1").status_code == 404  # it lies outside
    for number in ("2", "-1", "x", "00", "../0"):
        assert ask(path + number).status_code == 404


def test_a_trace_has_turns_tools_and_sums(ask):
    page = ask("/traces/{dag_id}/{run_id}/{task_id}/{map_index}").text
    for text in ("a prompt", "a thought", "an answer", "SELECT 2", "$0.2500", "2.5 s", "500 ms"):
        assert text in page, text
    assert "root:" not in page  # what trace_uri named


def test_a_figure_leads_to_its_query_and_its_source(ask):
    page = ask("/lineage/{dag_id}/{run_id}/{task_id}/{map_index}").text
    assert re.search(r'<bdi>930</bdi><a href="#figure-1"', page)
    assert 'id="figure-1"' in page
    assert 'href="#query-1"' in page
    assert 'id="query-1"' in page
    assert "SELECT 1 --" in page
    assert "7,013 rows" in page
    assert '<span class="unknown">[[gone.fact]]</span>' in page
    assert "not verified" in page
    assert "~note" not in page


def test_costs_are_summed_once_and_held_against_the_budget(ask):
    page = re.sub(r"\s+", " ", ask("/costs", params={"dag_id": "chain"}).text)
    assert "<dd>$0.2500</dd>" in page
    assert "chain \u203a analyze" in page
    assert "$0.5000" in page
    assert "50 %" in page
    # A sum alone would hide that one call was billed and is not in it.
    assert "1 call was cut off by the end of a process" in page
    assert "+ 1 cut off" in page


@pytest.fixture
def form(ask):
    page = ask("/alerts/{dag_id}/{run_id}/{task_id}/{map_index}", role="admin").text
    return {
        "form": re.search(r'name="form" value="([^"]+)"', page)[1],
        "key": re.search(r'name="key" value="([^"]+)"', page)[1],
        "hours": "4",
        "comment": "<b>being moved</b>",
    }


SILENCE = "/alerts/{dag_id}/{run_id}/{task_id}/{map_index}/silence"
LIFT = "/alerts/{dag_id}/{run_id}/{task_id}/{map_index}/lift"


def test_a_viewer_has_no_form(ask):
    assert 'name="form"' not in ask("/alerts/{dag_id}/{run_id}/{task_id}/{map_index}").text


def test_an_alert_is_silenced_and_the_silence_ended(ask, form, airflow_home):
    answer = ask(SILENCE, method="POST", role="admin", data=form)
    assert answer.status_code == 303
    (silence,) = alert_notes().silences()
    alert = Store(storage_root() / "alerts" / "chain" / "alert").read().alerts["abc123"]
    labels = alert.routing_labels({"dag_id": "chain", "task_id": "alert"})
    assert silence.covers(labels, datetime.now(UTC))
    assert not silence.covers({**labels, "task_id": "other"}, datetime.now(UTC))
    assert not silence.covers({**labels, "carrier": "UA"}, datetime.now(UTC))
    page = ask("/alerts/{dag_id}/{run_id}/{task_id}/{map_index}", role="admin").text
    assert "&lt;b&gt;being moved" in page
    other = ask(
        LIFT, method="POST", role="admin", dag_id="secret", data=form | {"silence_id": silence.id}
    )
    assert other.status_code == 403  # a form of another task
    assert len(alert_notes().silences()) == 1
    answer = ask(LIFT, method="POST", role="admin", data=form | {"silence_id": silence.id})
    assert answer.status_code == 303
    assert alert_notes().silences() == ()


@pytest.mark.parametrize(
    "change",
    [{"form": ""}, {"form": "x.y.z"}, {"key": "other"}, {"hours": "99999"}, {"hours": "x"}],
)
def test_a_form_that_is_not_whole_does_nothing(ask, form, change):
    answer = ask(SILENCE, method="POST", role="admin", data=form | change)
    assert answer.status_code in {403, 404}
    assert alert_notes().silences() == ()


def test_another_site_cannot_send_the_form(ask, form):
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = ask(SILENCE, method="POST", role="admin", data=form, headers=headers)
    assert answer.status_code == 403


def test_the_form_of_one_user_is_none_of_another(ask, form, token):
    assert ask(SILENCE, method="POST", role="op", data=form).status_code == 403


def test_the_tab_of_a_task_leads_to_its_page(ask):
    path = "/tasks/{dag_id}/{run_id}/{task_id}/{map_index}"
    for task, page in (("report", "view"), ("analyze", "traces"), ("alert", "alerts")):
        answer = ask(path, task=task)
        assert answer.headers["location"].startswith(f"/kimi/{page}/chain/")
    nothing = ask(path, task="fetch")
    assert nothing.status_code == 200
    assert "nothing of Kimi" in nothing.text

"""The report's page, in Airflow's own API server: who sees it, what it can do, what it can never be."""

from __future__ import annotations

from urllib.parse import quote

import pytest

POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


@pytest.fixture
def get(server, reports, token):
    def ask(task, map_index="-1", *, role="viewer", dag_id=reports["dag_id"], **kwargs):
        path = "/".join(quote(part, safe="") for part in (dag_id, reports["run_id"], task, map_index))
        if role is not None:
            kwargs["headers"] = {"Authorization": f"Bearer {token(role)}"}
        return server.get(f"/kimi/reports/{path}", **kwargs)

    return ask


def test_a_reader_sees_the_page_as_it_was_rendered(get):
    answer = get("report")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Grüße: <script>" in answer.text


def test_the_page_can_neither_act_nor_call_home_nor_be_kept(get):
    answer = get("report")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "private, no-store"


def test_errors_carry_the_same_headers(get):
    for answer in (get("gone"), get("report", role=None), get("report", role="")):
        assert answer.status_code >= 400
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_cookie_of_the_web_ui_opens_it(server, get, token):
    server.cookies.set("_token", token("viewer"))
    try:
        assert get("report", role=None).status_code == 200
    finally:
        server.cookies.clear()


def test_nobody_sees_it_without_signing_in(get):
    assert get("report", role=None).status_code == 401


def test_nobody_sees_it_without_the_right(get):
    assert get("report", role="").status_code == 403


def test_a_forged_token_opens_nothing(get):
    answer = get("report", role=None, headers={"Authorization": "Bearer forged"})
    assert answer.status_code in {401, 403}


def test_a_task_that_is_not_mapped_is_found_by_the_placeholder_that_the_web_ui_leaves(get):
    assert get("report", "{MAP_INDEX}").status_code == 200


def test_each_mapped_task_has_its_own(get):
    assert get("mapped", "0").status_code == 404
    assert get("mapped", "1").status_code == 200
    assert get("mapped").status_code == 404


@pytest.mark.parametrize("task", ["number", "text", "almost", "no_such_task"])
def test_there_is_nothing_to_see_where_no_report_was_made(get, task):
    answer = get(task)
    assert answer.status_code == 404
    assert answer.text == "This task has made no report.\n"


@pytest.mark.parametrize("map_index", ["x", "-2", "99999999999999999999", "٣", "1.0"])
def test_map_indexes_are_numbers(get, map_index):
    assert get("mapped", map_index).status_code == 404


@pytest.mark.parametrize("dag_id", ["~", "other", ".."])
def test_reports_are_found_by_their_own_dag_only(get, dag_id):
    assert get("report", dag_id=dag_id).status_code == 404


def test_a_report_that_was_removed_is_told_as_such(get):
    answer = get("gone")
    assert answer.status_code == 404
    assert "no longer" in answer.text


@pytest.mark.parametrize("task", ["outside", "config", "climbing", "link", "root", "strange"])
def test_a_dag_cannot_make_the_server_read_its_own_files(get, task):
    answer = get(task)
    assert answer.status_code == 404
    assert "storage_path" in answer.text


def test_a_folder_is_no_page(get):
    assert get("folder").status_code == 404


def test_the_application_describes_itself_to_nobody(server):
    for path in ("docs", "redoc", "openapi.json", ""):
        answer = server.get(f"/kimi/{path}")
        assert answer.status_code == 404


def test_the_web_ui_gets_the_tab(server, token):
    answer = server.get("/api/v2/plugins", headers={"Authorization": f"Bearer {token('admin')}"})
    (plugin,) = [p for p in answer.json()["plugins"] if p["name"] == "kimi"]
    prefixes = {app["name"]: app["url_prefix"] for app in plugin["fastapi_apps"]}
    assert prefixes["Kimi"] == "/kimi"
    views = {view["destination"]: view for view in plugin["external_views"]}
    assert views["nav"]["href"] == "/kimi/reports"
    assert views["nav"]["url_route"] == "kimi"  # the links of tasks lead to /plugin/kimi/…
    assert views["dag"]["href"] == "/kimi/reports?dag_id={DAG_ID}"
    assert views["task_instance"]["href"] == "/kimi/tasks/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}"
    errors = server.get(
        "/api/v2/plugins/importErrors", headers={"Authorization": f"Bearer {token('admin')}"}
    )
    assert errors.json()["import_errors"] == []


def test_the_tab_follows_airflow_to_the_path_it_is_served_at(monkeypatch):
    from kimi_provider.plugins import kimi

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.test/airflow/")
    assert all(view["href"].startswith("/airflow/kimi/") for view in kimi._external_views())


def test_airflow_may_take_the_class_or_an_instance():
    from kimi_provider.plugins.kimi import KimiPlugin

    assert KimiPlugin.fastapi_apps is KimiPlugin().fastapi_apps
    assert KimiPlugin.external_views == KimiPlugin().external_views

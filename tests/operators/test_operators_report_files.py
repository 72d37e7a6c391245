"""Reports as YAML: what a file says, and how what is wrong with it is told."""

from __future__ import annotations

import textwrap
from datetime import timedelta

import pytest
from airflow.utils.file import might_contain_dag

from kimi_provider.alerts.recipients_from import FromFile, FromQuery, FromVariable
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.operators.report_files import load_report, load_reports

GOOD = """\
id: sales
schedule: "@daily"
start_date: 2026-01-31
timezone: Europe/Warsaw
sources:
  sales: {sql: {conn_id: warehouse, sql: SELECT * FROM sales}}
prompt: executive_summary
to: board@example.com
owner: data@example.com
rules: [always, total.sales > 100]
require_approval: {when: unless_grounded, timeout: 4h, default: approve}
settings: {repeat_interval: 2d}
retries: 2
retry_delay: 5m
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="report.yaml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_a_file_makes_the_whole_chain(write):
    dag = load_report(write(GOOD))

    assert dag.dag_id == "sales"
    assert dag.task_ids == ["fetch_sales", "analyze", "report", "alert"]
    assert dag.timezone.name == "Europe/Warsaw"
    alert = dag.get_task("alert")
    assert alert.rules[0].label == "always"
    assert alert.approval.timeout == timedelta(hours=4)
    assert alert.settings.repeat_interval == timedelta(days=2)
    assert (alert.retries, alert.retry_delay) == (2, timedelta(minutes=5))
    assert all(task.on_failure_callback for task in dag.tasks)


def test_fifteen_lines_are_enough():
    assert len(GOOD.splitlines()) <= 15


def test_a_file_without_an_id_is_called_by_its_name(write):
    text = GOOD.replace("id: sales\n", "")
    assert load_report(write(text, "weekly_report.yaml")).dag_id == "weekly_report"


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "said"),
    [
        ("prompt:", "promt:", 7, "promt", "Did you mean 'prompt'"),
        ("executive_summary", "no_such", 7, "prompt", "executive_summary"),
        ("conn_id: warehouse", "connection: x", 6, "sources.sales.sql.connection", "conn_id"),
        ("conn_id: warehouse, ", "", 6, "sources.sales.sql", "'conn_id' is missing"),
        ("{sql: {", "{csv: {", 6, "sources.sales", "http, sql, files"),
        ("sales > 100", "sales >> 100", 10, "rules[2]", "expression"),
        ("to: board@example.com", "to: {table: readers}", 8, "to", "query, variable, file"),
        ("to: board@example.com", "to: [a@b.com, {query: SELECT 1}]", 8, "to[2].query", "conn_id"),
        ("to: board@example.com", "to: [{variable: readers}, nobody]", 8, "to", "number 1"),
        ("4h", "soon", 11, "require_approval.timeout", "30m"),
        ("unless_grounded", "perhaps", 11, "require_approval.when", "never, always"),
        ("default: approve", "defautl: approve", 11, "require_approval.defautl", "default"),
        ("repeat_interval: 2d", "receivers: {}", 12, "settings.receivers", "Python"),
        ("retries: 2", "retries: two", 13, "retries", "a whole number"),
        ('"@daily"', "'* * *'", 2, "schedule", "five fields"),
        ('"@daily"', '"@dayly"', 2, "schedule", "preset"),
        ("start_date: 2026-01-31\n", "", 2, "schedule", "needs a start_date"),
        ("Europe/Warsaw", "Mars/Base", 4, "timezone", "no time zone"),
        ("to: board@example.com", "to: 7", 8, "to", "a text"),
        ("id: sales", "id: the sales", 1, "id", "letters"),
        ("retries: 2", "to: x@example.com", 13, "to", "line 8"),
        ("retries: 2", "ask: once", 13, "ask", "slice_by"),
        ("2026-01-31", "2026-02-30", 3, "start_date", "day is out of range"),
        ('"@daily"', '"99 99 * * *"', 2, "schedule", "five fields"),
        ("to: board@example.com", "to: board", 8, "to", "not an e-mail address"),
        ("retries: 2", "formats: [pdff]", 13, "formats", "pdf, xlsx, csv"),
        ("retries: 2", "max_cost_usd: -1", 13, "max_cost_usd", "above 0"),
        ("retries: 2", "alert: {to: x@example.com}", 13, "alert.to", "not known"),
        ("retries: 2", "alert: {execution_timeout: soon}", 13, "alert.execution_timeout", "30m"),
        ("retries: 2", "title: !!int x", 13, "title", "is no int"),
        ("[always, total.sales > 100]", "[{kind: and, rules: 5}]", 10, "rules[1]", "two rules"),
        ("[always, total.sales > 100]", "[always, always]", 10, "rules[2]", "there already"),
        (
            "[always, total.sales > 100]",
            "[{kind: schema_drift, dataset: s, ignore: 5}]",
            10,
            "rules[1]",
            "list",
        ),
        ("repeat_interval: 2d", "most_per_run: x", 12, "settings.most_per_run", "whole number"),
        ("timeout: 4h", "assigned_users: 5", 11, "require_approval.assigned_users", "mappings"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_told_with_file_line_and_key(write, old, new, line, key, said):  # noqa: PLR0917 — a table
    path = write(GOOD.replace(old, new))
    with pytest.raises(ConfigurationError) as refused:
        load_report(path)
    message = str(refused.value)
    assert f"{path}, line {line}, key {key!r}" in message, message
    assert said in message, message


def test_all_that_is_wrong_is_told_at_once(write):
    text = GOOD.replace("prompt:", "promt:").replace("retries: 2", "retries: two")
    with pytest.raises(ConfigurationError) as refused:
        load_report(write(text))
    assert [part in str(refused.value) for part in ("line 7", "line 13")] == [True, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "no YAML"),
        ("- a", "mapping"),
        ("", "mapping"),
        ("prompt: executive_summary", "sources"),
        ("rules: &r [{kind: and, rules: *r}]", "50 levels"),
        (f"a: {'[' * 600}{']' * 600}", "too deep"),
    ],
)
def test_what_is_no_report_is_refused(write, text, said):
    with pytest.raises(ConfigurationError, match=said):
        load_report(write(text))


def test_what_a_stage_may_take_can_be_written_as_a_duration(write):
    text = GOOD + "alert: {execution_timeout: 10m}\n"
    assert load_report(write(text)).get_task("alert").execution_timeout == timedelta(minutes=10)


def test_readers_may_be_kept_elsewhere(write):
    readers = (
        "[boss@example.com, {query: {sql: SELECT email FROM readers, conn_id: warehouse}},"
        " {variable: readers}, {file: {path: /data/readers.csv, column: mail}}]"
    )
    dag = load_report(write(GOOD.replace("to: board@example.com", f"to: {readers}")))
    assert dag.get_task("alert").to == [
        "boss@example.com",
        FromQuery("SELECT email FROM readers", "warehouse"),
        FromVariable("readers"),
        FromFile("/data/readers.csv", column="mail"),
    ]
    alone = load_report(write(GOOD.replace("to: board@example.com", "to: {variable: readers}")))
    assert alone.get_task("alert").to == FromVariable("readers")


def test_a_country_is_no_boolean(write):
    text = GOOD + "slice_by: country\nrecipients: {NO: a@example.com, PL: b@example.com}\n"
    dag = load_report(write(text))
    assert set(dag.get_task("slice").recipients) == {"NO", "PL"}


def test_all_files_beside_the_dag_file_are_loaded_and_all_errors_told(write, tmp_path):
    write(GOOD)
    write(GOOD.replace("id: sales", "id: costs"), "costs_report.yaml")
    write("nothing: of ours", "other.yaml")
    assert {dag.dag_id for dag in load_reports(tmp_path / "dags.py")} == {"sales", "costs"}

    write(GOOD.replace("prompt:", "promt:"), "bad_report.yaml")
    write(GOOD, "twin_report.yaml")
    with pytest.raises(ConfigurationError) as refused:
        load_reports(tmp_path / "dags.py")
    assert "bad_report.yaml, line 7" in str(refused.value)
    assert "twin_report.yaml" in str(refused.value)


def test_no_file_is_said_too(tmp_path):
    with pytest.raises(ConfigurationError, match="No file"):
        load_reports(tmp_path / "dags.py")


def test_airflow_looks_into_the_example_file(tmp_path):
    from pathlib import Path

    example = Path(__file__).parents[2] / "dags" / "example_yaml_reports.py"
    assert might_contain_dag(str(example), safe_mode=True)

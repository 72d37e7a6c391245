"""The chain in one call, its slices, and the notice to its owner."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.alerts.recipients_from import FromVariable
from kimi_provider.alerts.settings import AlertSettings
from kimi_provider.exceptions import ConfigurationError, DeliveryError, RuleError, SourceError
from kimi_provider.notifications.owner import OncePerRun, owner_notifier
from kimi_provider.operators.fetch_sql import SqlFetchOperator
from kimi_provider.operators.kimi_report import kimi_report
from kimi_provider.operators.report import ReportOperator
from kimi_provider.operators.slices import KimiRetellOperator, KimiSliceOperator
from kimi_provider.reports.brand import Brand

DAY = "2013-02-08"
SALES = {"sales": {"sql": {"conn_id": "warehouse", "sql": "SELECT 1"}}}


def _report(group_id="report", **arguments):
    settings = {"sources": SALES, "prompt": "executive_summary", "to": "board@example.com"}
    with DAG("sales", schedule=None) as dag:
        kimi_report(group_id, **settings | arguments)
    return dag


def test_one_call_builds_the_chain():
    dag = _report(owner="owner@example.com", retries=2, retry_delay=timedelta(minutes=1))

    assert dag.task_ids == [f"report.{name}" for name in ("fetch_sales", "analyze", "report", "alert")]
    assert dag.get_task("report.analyze").upstream_task_ids == {"report.fetch_sales"}
    assert dag.get_task("report.alert").upstream_task_ids >= {"report.report", "report.analyze"}
    assert {task.retries for task in dag.tasks} == {2}
    assert all(task.on_failure_callback for task in dag.tasks)


def test_tasks_that_are_there_already_are_sources_too():
    with DAG("sales", schedule=None) as dag:
        fetch = SqlFetchOperator(task_id="fetch", conn_id="warehouse", sql="SELECT 1")
        other = SqlFetchOperator(task_id="other", conn_id="warehouse", sql="SELECT 1")
        kimi_report(
            None, sources={"a": fetch, "b": other.output}, prompt="executive_summary", to="a@example.com"
        )
    assert dag.get_task("analyze").upstream_task_ids == {"fetch", "other"}


def test_further_parameters_reach_the_operators():
    dag = _report(
        analyze={"strategy": "tools"}, report={"on_no_data": "skip"}, alert={"reply_to": "x@example.com"}
    )
    assert dag.get_task("report.analyze").strategy == "tools"
    assert dag.get_task("report.report").on_no_data == "skip"
    assert dag.get_task("report.alert").reply_to == "x@example.com"


def test_the_alerts_own_mails_look_and_speak_as_the_report():
    brand, other = Brand(name="Acme"), Brand(name="Other")
    told = _report(brand=brand, locale="pl", timezone="{{ var.value.zone }}").get_task("report.alert")
    assert (told.settings.brand, told.settings.locale, told.settings.timezone) == (brand, "pl", "UTC")
    own = AlertSettings(keep_runs=3)
    told = _report(brand=brand, locale="pl", settings=own).get_task("report.alert").settings
    assert told == replace(own, brand=brand)
    own = AlertSettings(brand=other)
    assert _report(brand=brand, settings=own).get_task("report.alert").settings is own


def test_a_brand_is_set_once_for_all_reports_of_a_dag():
    brand = Brand(name="Acme")
    with DAG("d", schedule=None, default_args={"brand": brand}):
        assert ReportOperator(task_id="report", analysis="{{ a }}").brand is brand


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"sources": {}}, ConfigurationError, "sources is empty"),
        ({"sources": {"a": {"csv": {}}}}, ConfigurationError, "http, sql, files"),
        ({"ask": "twice", "slice_by": "a"}, ConfigurationError, "'each' or 'once'"),
        ({"ask": "once"}, ConfigurationError, "slice_by"),
        ({"recipients": {"a": "b@example.com"}}, ConfigurationError, "slice_by"),
        ({"rules": ["a >> 1"]}, RuleError, "expression"),
        ({"require_approval": "perhaps"}, ConfigurationError, "never, always"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_refused_at_parse(arguments, error, said):
    with pytest.raises(error, match=said):
        _report(**arguments)


def test_slices_are_one_mapped_group_and_the_model_is_asked_where_told():
    each = _report(slice_by="region", recipients={"*": "all@example.com"})
    once = _report(slice_by="region", ask="once")

    assert "report.each.analyze" in each.task_ids
    assert "report.analyze" not in each.task_ids
    assert {"report.analyze", "report.each.retell"} <= set(once.task_ids)
    assert "report.each.analyze" not in once.task_ids


# --- slices ---------------------------------------------------------------------------------------


def _slices(chain, **arguments):
    datasets = {name: chain.fetch(name) for name in ("flights", "weather", "airlines")}
    return chain.run(KimiSliceOperator, "slice", datasets=datasets, by="carrier", **arguments)


def test_each_value_has_its_rows_and_what_has_no_such_column_goes_to_all(chain):
    slices = _slices(
        chain, recipients={"UA": "ua@example.com", "*": ["rest@example.com"]}, title="On time"
    )
    flights = chain.values["fetch_flights"]

    by_value = {one["value"]: one for one in slices}
    assert sum(one["datasets"]["flights"]["rows"] for one in slices) == flights["rows"]
    assert by_value["UA"]["to"] == "ua@example.com"
    assert by_value["DL"]["to"] == ["rest@example.com"]
    assert by_value["UA"]["title"] == "On time · UA"
    assert {one["datasets"]["weather"]["sha256"] for one in slices} == {
        chain.values["fetch_weather"]["sha256"]
    }
    (carrier,) = [
        column
        for column in by_value["UA"]["datasets"]["flights"]["columns"]
        if column["name"] == "carrier"
    ]
    assert (carrier["minimum"], carrier["maximum"]) == ("UA", "UA")


def test_readers_kept_elsewhere_are_read_before_slices_are_handed_on(chain, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_READERS", "a@example.com, b@example.com")
    slices = _slices(chain, to=FromVariable("readers"))
    assert len(slices) > 1
    assert all(one["to"] == ["a@example.com, b@example.com"] for one in slices)
    (slice_,) = _slices(chain, recipients={"UA": FromVariable("readers")})
    assert slice_["to"] == ["a@example.com, b@example.com"]


def test_only_values_with_rows_and_readers_are_slices(chain):
    slices = _slices(chain, recipients='{"UA": "ua@example.com", "ZZ": "nobody@example.com"}')
    assert [one["value"] for one in slices] == ["UA"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"by": "nothing", "to": "a@example.com"}, "no dataset has this column"),
        ({"recipients": "UA"}, "must be a mapping"),
        ({"recipients": {"ZZ": "a@example.com"}}, "nothing is reported"),
        ({"to": "a@example.com", "max_slices": 2}, "more than 2 values"),
    ],
    ids=["no column", "no mapping", "no rows", "too many"],
)
def test_wrong_slices_are_refused(chain, arguments, said):
    datasets = {"flights": chain.fetch("flights")}
    settings = {"datasets": datasets, "by": "carrier"}
    with pytest.raises(AirflowFailException, match=said):
        chain.run(KimiSliceOperator, "slice", **settings | arguments)


def test_a_retold_text_is_true_of_the_slice_and_knows_nothing_of_the_whole(chain, simulator):
    whole = chain.analyze()
    calls = simulator.calls.count("chat/completions")
    (slice_,) = _slices(chain, recipients={"UA": "ua@example.com"})
    told = chain.run(
        KimiRetellOperator,
        "retell",
        whole=whole,
        prompt="flight_on_time",
        datasets=slice_["datasets"],
        parameters={"day": DAY},
    )

    assert simulator.calls.count("chat/completions") == calls
    facts = {fact["id"]: fact["value"] for fact in told["facts"]}
    all_flights = next(fact["value"] for fact in whole["facts"] if fact["id"] == "day.flights")
    assert 0 < facts["day.flights"] < all_flights
    texts = " ".join([told["headline"], told["summary"], *(f["detail"] for f in told["findings"])])
    assert "Mesa" in str(whole), "the whole names another carrier"
    assert "Mesa" not in texts
    assert told["grounding"]["score"] == 1.0
    assert told["usage"]["calls"] == 0
    chain.values["analyze"] = told
    chain.report()


# --- the owner ------------------------------------------------------------------------------------


def _context(task="analyze", run="run", error=None, clears=0):
    ti = SimpleNamespace(
        dag_id="sales", run_id=run, task_id=task, map_index=-1, try_number=2, max_tries=1,
        log_url="https://airflow.example.com/log", state=SimpleNamespace(value="failed"),
    )  # fmt: skip
    return {
        "ti": ti,
        "run_id": run,
        "exception": error,
        "dag_run": SimpleNamespace(run_id=run, clear_number=clears),
    }


def test_the_owner_is_told_once_a_run_what_failed_and_what_to_do(simulator):
    owner = owner_notifier("owner@example.com")
    owner(_context("analyze", error=SourceError("The dataset 'sales' is gone.")))
    owner(_context("report", error=RuntimeError("secret words")))

    (mail,) = simulator.mailbox.messages
    for said in ("analyze", "SourceError", "The dataset 'sales' is gone.", "told nothing", "Clear"):
        assert said.lower() in mail.text.lower(), said
    assert "https://airflow.example.com/log" in mail.html

    owner(_context("analyze", run="next"))
    owner(_context("analyze", clears=1))
    assert len(simulator.mailbox.messages) == 3, "another run, and one that was cleared"


def test_the_text_of_an_error_that_is_not_ours_stays_in_the_log(simulator):
    owner_notifier("owner@example.com")(_context(error=RuntimeError("password=hunter2")))
    (mail,) = simulator.mailbox.messages
    assert "RuntimeError" in mail.text
    assert "hunter2" not in mail.text + mail.html


def test_a_half_told_report_is_not_called_untold(simulator):
    owner_notifier("owner@example.com")(_context("alert", error=DeliveryError("Two are not queued.")))
    (mail,) = simulator.mailbox.messages
    assert "some readers may have got the mail" in mail.text.lower()


def test_two_reports_of_a_dag_tell_their_owners_each(simulator):
    told = []
    for scope in ("first", "second"):
        OncePerRun(told.append, scope)(_context())
    assert len(told) == 2


def test_an_owner_is_told_even_where_the_storage_fails(monkeypatch, simulator):
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", "file:///proc/nothing")
    told = []
    once = OncePerRun(told.append)
    once(_context())
    once(_context())
    assert len(told) == 2, "twice is better than never"


def test_an_owner_who_could_not_be_told_is_told_of_the_next_failure(simulator):
    told = []

    def notifier(context):
        told.append(context["ti"].task_id)
        if len(told) == 1:
            raise DeliveryError("SendGrid could not be reached, and nothing was sent.")

    once = OncePerRun(notifier)
    with pytest.raises(DeliveryError):
        once(_context("first"))
    once(_context("second"))
    once(_context("third"))
    assert told == ["first", "second"]


def test_an_empty_owner_is_refused():
    with pytest.raises(ConfigurationError, match="owner is empty"):
        owner_notifier("")

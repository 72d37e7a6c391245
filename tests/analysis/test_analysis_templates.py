"""Each bundled template as a DAG would use it: real data, the simulator, a report that can be read."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb  # noqa: TID253 — a test pays no DAG parse
import httpx
import pytest

import kimi_provider.testing
from kimi_provider.analysis.analyst import analyze
from kimi_provider.analysis.budget import Budget
from kimi_provider.analysis.caller import Caller
from kimi_provider.analysis.cells import label_of
from kimi_provider.analysis.grounding import references
from kimi_provider.analysis.merging import Theme
from kimi_provider.analysis.prompts import PromptTemplate
from kimi_provider.analysis.theme_facts import theme_sheet
from kimi_provider.analysis.trace import Trace
from kimi_provider.client.client import KimiClient
from kimi_provider.client.config import ClientConfig
from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.reports.build import build_report
from kimi_provider.reports.format import Formatter
from kimi_provider.schemas import DatasetRef, FactSheet
from kimi_provider.testing import Simulator, airflow_api

BUNDLED = Path(__file__).parents[2] / "templates" / "prompts"
DATA = Path(kimi_provider.testing.__file__).parent / "data"
FLIGHTS = f"""
    SELECT make_date(2013, regexp_extract(filename, '-0(\\d)', 1)::INTEGER, day::INTEGER) AS flight_date,
           * EXCLUDE (filename)
    FROM read_csv('{DATA}/flights-2013-0*.csv.gz', filename = true)
"""


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as running:
        yield running


@pytest.fixture
def dataset(tmp_path):
    """Write what a SELECT returns, with a profile, as a data set."""

    def write(name, select):
        path = tmp_path / f"{name}.parquet"
        with duckdb.connect() as connection:
            connection.sql(select).write_parquet(str(path))
            (rows,) = connection.execute(f"SELECT count(*) FROM '{path}'").fetchone()
        size = path.stat().st_size
        return DatasetRef(
            uri=path.as_uri(), rows=rows, bytes=size, sha256="0" * 64, source="test", columns=()
        ), path

    return write


@pytest.fixture
def run(simulator, dataset, tmp_path):
    """Analyze by a bundled template; return the analysis and its facts by id."""

    @asynccontextmanager
    async def calling():
        config = ClientConfig.from_mapping(
            base_url=simulator.kimi_url, api_key="k", model="kimi-k2.6", extra={"host": "moonshot"}
        )
        async with KimiClient(config) as client:
            yield Caller(
                client, journal=None, budget=Budget(), trace=Trace(), on_progress=lambda _: None
            )

    def analyzed(name, params=None, /, *, path=(BUNDLED,), **selects):
        async def go():
            async with calling() as caller:
                return await analyze(
                    caller=caller,
                    template=PromptTemplate.load(name, path),
                    datasets={table: dataset(table, select) for table, select in selects.items()},
                    params=params or {},
                    folder=tmp_path / "out",
                )

        analysis = asyncio.run(go())
        sheet = FactSheet.model_validate_json((tmp_path / "out" / "facts.json").read_text())
        assert analysis.simulated
        return analysis, {fact.id: fact for fact in sheet.facts}

    return analyzed


def texts_of(analysis):
    findings = [text for finding in analysis.findings for text in (finding.title, finding.detail)]
    return [analysis.headline, analysis.summary, *findings, *analysis.actions]


def cited(analysis):
    return {name for text in texts_of(analysis) for name in references(text)}


# --- flights ---------------------------------------------------------------------------------------


# The 6th of February has two airports whose shares differ by less than anybody is shown.
@pytest.mark.parametrize("language", ["en", "pl"])
@pytest.mark.parametrize("day", ["2013-01-08", "2013-01-21", "2013-02-06", "2013-02-08", "2013-02-28"])
def test_no_day_of_flights_is_written_about_in_vain(run, day, language):
    analysis, facts = run(
        "flight_on_time",
        {"day": day, "language": language},
        flights=f"SELECT *, sched_dep_time // 100 AS hour FROM ({FLIGHTS}) "
        f"WHERE flight_date BETWEEN DATE '{day}' - 7 AND DATE '{day}'",
        weather=f"FROM read_csv('{DATA}/weather-*.csv.gz')",
        airlines=f"FROM read_csv('{DATA}/airlines.csv')",
    )
    assert analysis.grounding.score == 1.0
    assert cited(analysis) & facts.keys()


# --- any data --------------------------------------------------------------------------------------


def test_an_executive_summary_needs_no_metrics(run):
    analysis, facts = run("executive_summary", flights=FLIGHTS)
    assert facts["flights_week.dep_delay"].kpi
    assert cited(analysis) & {name for name in facts if name.startswith("flights_week.")}
    assert analysis.charts
    assert analysis.language == "en"


def test_an_executive_summary_of_several_datasets(run):
    _, facts = run(
        "executive_summary", flights=FLIGHTS, airlines=f"FROM read_csv('{DATA}/airlines.csv')"
    )
    assert facts["airlines.rows"].value == 16
    assert "flights_week.rows" in facts


def test_an_executive_summary_of_nothing_is_refused_before_anything_is_paid(run, simulator):
    before = simulator.calls.count("chat/completions")
    with pytest.raises(SourceError, match="nothing to analyze"):
        run("executive_summary", sales="SELECT 1 AS amount WHERE false")
    assert simulator.calls.count("chat/completions") == before


def test_triage_finds_the_day_of_the_blizzard(run):
    analysis, facts = run(
        "anomaly_triage",
        {"measures": "dep_delay", "date_column": "flight_date", "until": "2013-02-11"},
        flights=FLIGHTS,
    )
    assert facts["flights_day.rows"].period == "2013-02-11"
    odd = [name for name in facts if name.startswith("flights_unusual.") and name.endswith(".value")]
    assert odd
    assert all(facts[name].value > facts[name.replace(".value", ".usual")].value for name in odd)
    assert analysis.findings


def test_a_period_against_the_one_before(run):
    analysis, facts = run(
        "period_vs_period",
        {"grain": "week", "until": "2013-02-10", "measures": "arr_delay", "dimensions": "origin"},
        flights=FLIGHTS,
    )
    fact = facts["flights_week.arr_delay"]
    assert (fact.period, fact.comparisons[0].id) == ("2013-02-04 to 2013-02-10", "week_before")
    assert "flights_by_origin.JFK.arr_delay.week_before.delta" in facts
    assert any(name.startswith("flights_week.arr_delay") for name in cited(analysis))


@pytest.mark.parametrize("name", ["anomaly_triage", "period_vs_period"])
def test_a_wrong_column_or_grain_says_what_exists(run, name):
    with pytest.raises(ConfigurationError, match=r"no column 'delay'.*dep_delay"):
        run(name, {"measures": "delay"}, flights=FLIGHTS)
    with pytest.raises(ConfigurationError, match="day, week, month, year"):
        run(name, {"grain": "hour"}, flights=FLIGHTS)


# --- pipelines -------------------------------------------------------------------------------------


@pytest.fixture
def pipelines(simulator, tmp_path):
    """Fetch runs and tasks page by page; return a SELECT over each."""

    def fetch(endpoint, name):
        rows, query = [], {"run_after_gte": "2013-01-31T00:00:00Z", "limit": 100}
        while True:
            url = f"{simulator.url}/api/v2/dags/~/dagRuns{endpoint}"
            page = httpx.get(url, params={**query, "offset": len(rows)}).json()
            rows += page[name]
            if len(rows) == page["total_entries"]:
                break
        path = tmp_path / f"{name}.json"
        path.write_bytes(httpx.Response(200, json=rows).content)
        return f"FROM read_json('{path}')"

    return {"runs": fetch("", "dag_runs"), "tasks": fetch("/~/taskInstances", "task_instances")}


def test_pipeline_health_names_what_failed_and_what_was_slow(run, pipelines):
    analysis, facts = run("pipeline_health", {"day": "2013-02-08"}, **pipelines)
    runs = duckdb.sql(
        f"SELECT count(*), count(*) FILTER (state = 'failed') FROM ({pipelines['runs']}) "
        "WHERE CAST(run_after AS DATE) = DATE '2013-02-08'"
    ).fetchall()[0]
    assert (facts["day.runs"].value, facts["day.failed"].value) == runs
    assert facts["day.failed"].comparisons[0].direction == "up"
    assert facts["failing.ingest_orders.failed"].value > 1
    assert facts["slow.build_marts.times_usual"].value > 2
    assert "slow.ingest_clicks.duration" not in facts
    assert facts["tasks.cured_by_retry"].value > 0
    assert analysis.period == "2013-02-08"
    assert cited(analysis) & {name for name in facts if name.startswith("day.")}


def test_pipeline_health_of_a_calm_day(run, pipelines):
    analysis, facts = run("pipeline_health", {"day": "2013-02-07", "slow_factor": 3}, **pipelines)
    assert not any(name.startswith("slow.") for name in facts)
    assert analysis.findings


def test_the_fake_has_the_shape_of_airflows_own_answers(simulator):
    dag_run = pytest.importorskip("airflow.api_fastapi.core_api.datamodels.dag_run")
    task_instances = pytest.importorskip("airflow.api_fastapi.core_api.datamodels.task_instances")
    runs = httpx.get(f"{simulator.url}/api/v2/dags/build_marts/dagRuns").json()
    one = runs["dag_runs"][0]
    assert set(one) == {
        field.serialization_alias or name for name, field in dag_run.DAGRunResponse.model_fields.items()
    }
    read = dag_run.DAGRunResponse.model_validate(one)
    assert (read.dag_id, read.duration) == ("build_marts", one["duration"])

    url = f"{simulator.url}/api/v2/dags/build_marts/dagRuns/{one['dag_run_id']}/taskInstances"
    tasks = httpx.get(url).json()
    assert tasks["total_entries"] == 4
    fields = task_instances.TaskInstanceResponse.model_fields
    assert set(tasks["task_instances"][0]) == {
        field.serialization_alias or name for name, field in fields.items()
    }


def test_the_fake_pages_filters_and_refuses(simulator):
    url = f"{simulator.url}/api/v2/dags/~/dagRuns"
    total = httpx.get(url).json()["total_entries"]
    assert len(httpx.get(url, params={"limit": 1000}).json()["dag_runs"]) == airflow_api.MAX_LIMIT
    last = httpx.get(url, params={"offset": total - 1}).json()["dag_runs"]
    assert len(last) == 1
    day = httpx.get(url, params={"run_after_gte": "2013-02-08T00:00:00+00:00"}).json()
    assert {row["run_after"][:10] for row in day["dag_runs"]} == {"2013-02-08"}
    assert httpx.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert httpx.get(url, params={"limit": "x"}).status_code == 422


# --- texts and forecasts ---------------------------------------------------------------------------


def test_text_themes_are_read_in_all_records_and_counted(run, simulator):
    notes = """
        SELECT DATE '2024-01-01' + (range % 20)::INTEGER AS day,
               ['web', 'phone'][range % 2 + 1] AS channel, range % 5 AS score,
               ['The delivery came late and the parcel was broken',
                'I cannot sign in with my password on the website',
                'Please send the invoice again, the amount is wrong'][range % 3 + 1]
               || ', customer number ' || range || ' [[fact]] {{ conn.x }}' AS comment
        FROM range(150)
    """
    analysis, facts = run("text_themes", {"about": "answers to a survey"}, answers=notes)
    assert analysis.strategy == "map_reduce"
    assert facts["texts.records"].value == 150
    themes = [name for name in facts if re.fullmatch(r"themes\.[^.]+\.records", name)]
    assert themes
    assert all(0 < facts[name].value <= 150 for name in themes)
    assert "answers_by_channel.web.rows" in facts
    assert analysis.charts[0].table == "themes"
    assert not any("conn.x" in text for text in texts_of(analysis))


FORECAST = """
    SELECT DATE '2024-01-01' + (range % 80)::INTEGER AS date,
           ['north', 'south'][range // 80 + 1] AS series,
           CASE WHEN range % 80 < 60 THEN 100 + range % 7 END AS actual,
           CASE WHEN range < 80 THEN 110 ELSE 104 END AS expected,
           expected - 6 AS low, expected + 6 AS high
    FROM range(160)
"""


def test_a_forecast_is_measured_against_what_came(run):
    analysis, facts = run(
        "forecast_commentary",
        {"as_of": "2024-02-29", "days": 28, "ahead": 7, "unit": "orders"},
        forecast=FORECAST,
    )
    days = [100 + n % 7 for n in range(32, 60)]
    missed = sum(abs(110 - value) + abs(104 - value) for value in days)
    leaned = sum((110 - value) + (104 - value) for value in days)
    assert facts["past.periods"].value == 56
    assert float(facts["past.error"].value) == pytest.approx(missed / (2 * sum(days)))
    assert float(facts["past.bias"].value) == pytest.approx(leaned / (2 * sum(days)))
    assert facts["past.error.stretch_before"].value is not None
    assert facts["next.expected"].value == 7 * (110 + 104)
    assert facts["next.last"].value == "2024-03-07"
    assert facts["by_series.north.error"].value > facts["by_series.south.error"].value
    assert [chart.table for chart in analysis.charts][:2] == ["by_day", "by_series"]


def test_a_forecast_for_which_nothing_came_yet_is_refused(run):
    with pytest.raises(SourceError, match=r"past\.periods is zero"):
        run("forecast_commentary", {"as_of": "2023-06-01"}, forecast=FORECAST)


# --- all -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.md.j2")), ids=lambda path: path.name)
def test_each_says_what_it_wants_and_steers_clear_of_figures(path):
    template = PromptTemplate.load(path.name, [BUNDLED])
    head = path.read_text(encoding="utf-8").split("---\n")[1]
    comments = " ".join(re.findall(r"^# (.*)", head, re.MULTILINE))
    assert re.search(r"[Dd]atasets?", comments)
    assert template.front.description.endswith((".", "?"))
    assert "possib" in template.front.system or "do not" in template.front.system
    for named in template.front.parameters:
        assert named in comments


def test_a_team_can_extend_each_and_reword_its_focus(run, tmp_path):
    (tmp_path / "ours.md.j2").write_text(
        "---\nextends: period_vs_period\n---\n"
        "{% block focus %}{{ super() }}Say it to pilots.{% endblock %}"
    )
    analysis, _ = run("ours", {"grain": "month"}, path=(tmp_path, BUNDLED), flights=FLIGHTS)
    assert analysis.findings


# --- language --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "key"),
    [
        ("executive_summary", {}, "flights_week.dep_delay"),
        ("period_vs_period", {"grain": "month"}, "flights_month.dep_delay"),
    ],
)
def test_a_report_in_polish_from_the_facts_to_the_printed_figures(run, tmp_path, name, params, key):
    analysis, facts = run(name, {"language": "pl", **params}, flights=FLIGHTS)
    assert analysis.language == "pl"
    told = " ".join(texts_of(analysis))
    assert re.search(r"\b(?:wzrost|spadek|wynosi|najwyższa)\b", told)
    assert not re.search(r"\b(?:the|rose|fell|highest|compared)\b", told)
    assert facts[key].label == "Średnia (dep delay)"

    text = report_of(analysis, tmp_path, locale="pl")
    assert Formatter("pl").fact(facts[key]) in text
    assert re.search(r"\d,\d", text)
    assert "wcześniej" in text
    assert "[[" not in text


def test_the_labels_of_a_template_are_polish_too_in_a_polish_report(run, pipelines, tmp_path):
    analysis, facts = run("pipeline_health", {"day": "2013-02-08", "language": "pl"}, **pipelines)
    text = report_of(analysis, tmp_path, locale="pl")
    assert "gorzej niż dzień wcześniej" in text
    assert facts["day.failed.day_before.delta"].label == "Awarie, zmiana (dzień wcześniej)"
    assert "Potok | Przebiegi | Awarie" in text
    english = r"\b(?:the|day|before|of|failures?|pipelines?|duration)\b"
    assert not re.search(english, text, re.IGNORECASE)


def test_the_counts_of_themes_are_polish_too(tmp_path):
    theme = Theme(label="Dostawa", description="", rows={0}, quotes={0: "za późno"})
    sheet = theme_sheet([theme], [0, 1], tmp_path, source={}, period=None, language="pl-PL")
    said = {fact.label for fact in sheet.facts}
    said |= {
        label for table in sheet.tables for label in (table.label, *(c.label for c in table.columns))
    }
    assert "Wpisy bez tematu" in said
    assert not re.search(r"record|theme|words|quote", " ".join(said), re.IGNORECASE)


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.md.j2")), ids=lambda path: path.name)
def test_each_label_has_its_polish(path):
    front = PromptTemplate.load(path.name, [BUNDLED]).front
    labels = {spec.label for spec in front.comparisons} | {chart.title for chart in front.charts}
    for metric in front.metrics:
        labels |= {metric.label or label_of(metric.id)} if metric.key else set()
        for name in (*metric.columns, *metric.key):
            declared = metric.columns.get(name)
            labels.add((declared and declared.label) or label_of(name))
    assert labels == set(front.translations.get("pl", {}))


def test_a_template_in_a_language_of_its_own_takes_its_labels(tmp_path):
    (tmp_path / "ours.md.j2").write_text(
        "---\nextends: pipeline_health\nlanguage: Polish\n"
        "translations: {pl: {the day before: wczoraj}, de: {Runs: Läufe}}\n---\n"
    )
    front = PromptTemplate.load("ours", (tmp_path, BUNDLED)).spoken({}).front
    assert [spec.label for spec in front.comparisons] == ["wczoraj", "a week before"]
    german = PromptTemplate.load("ours", (tmp_path, BUNDLED)).spoken({"language": "de-AT"}).front
    assert german.metrics[0].columns["runs"].label == "Läufe"
    (tmp_path / "ours.md.j2").write_text("---\ntranslations: {klingon: {a: b}}\n---\nx\n")
    with pytest.raises(ConfigurationError, match="klingon"):
        PromptTemplate.load("ours", (tmp_path,))


def test_the_same_report_in_english(run, tmp_path):
    analysis, facts = run("executive_summary", flights=FLIGHTS)
    text = report_of(analysis, tmp_path, locale="en")
    assert Formatter("en").fact(facts["flights_week.dep_delay"]) in text
    assert "the week before" in text
    assert "[[" not in text


def report_of(analysis, tmp_path, *, locale):
    """Print a report; return its plain text."""
    sheet = FactSheet.model_validate_json((tmp_path / "out" / "facts.json").read_text())
    report = asyncio.run(
        build_report(
            analysis,
            sheet,
            template="daily_brief",
            search_path=[BUNDLED.parent / "reports"],
            folder=tmp_path / "report",
            now=datetime(2013, 3, 1, tzinfo=UTC),
            locale=locale,
        )
    )
    return Path(report.text_uri.removeprefix("file://")).read_text(encoding="utf-8")

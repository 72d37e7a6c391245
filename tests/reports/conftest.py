"""Small analyses and fact sheets, made by hand, for the tests of reports."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import kimi_provider.testing
from kimi_provider.analysis.database import Database
from kimi_provider.analysis.facts import compute_facts
from kimi_provider.analysis.metrics import Metric
from kimi_provider.analysis.prompts import PromptTemplate
from kimi_provider.reports.alert_document import Failure, Link, NoticeEvent
from kimi_provider.reports.build import build_report
from kimi_provider.schemas import (
    Analysis,
    ChartRequest,
    Comparison,
    Fact,
    FactSheet,
    FactTable,
    Finding,
    Lineage,
    Severity,
    TableColumn,
    Unit,
    Usage,
)

TEMPLATES = Path(__file__).parents[2] / "templates" / "reports"
NOW = datetime(2013, 2, 9, 11, 0, tzinfo=UTC)
LINEAGE = Lineage(sql="SELECT 1", datasets={"flights": "3f2a91bc77aa"})


def make_fact(fact_id, value, unit="number", **fields):
    number = Decimal(str(value)) if isinstance(value, int | float) else value
    fields.setdefault("label", fact_id)
    return Fact(id=fact_id, value=number, unit=Unit(unit), lineage=LINEAGE, **fields)


def make_comparison(baseline, delta, *, comparison_id="day_before", label="the day before"):
    base, change = Decimal(str(baseline)), Decimal(str(delta))
    return Comparison(
        id=comparison_id,
        label=label,
        baseline=base,
        delta=change,
        percent=float(change / abs(base)) if base else None,
        direction="up" if change > 0 else "down" if change < 0 else "flat",
    )


def make_table(
    table_id, rows, *, label="Carriers", columns=("avg_delay",), unit="minutes", key_unit="text"
):
    """Return a table and its facts; ``rows`` is [(name, value, …)]."""
    facts, cells = [], []
    for number, (name, *values) in enumerate(rows):
        ids = [f"{table_id}.{number}.{column}" for column in columns]
        facts += [
            make_fact(i, value, unit, decimals=1 if unit == "minutes" else None)
            for i, value in zip(ids, values, strict=True)
        ]
        cells.append((name, *ids))
    head = TableColumn(name="carrier", label="Carrier", unit=Unit(key_unit), key=True)
    rest = [TableColumn(name=c, label=c.replace("_", " "), unit=Unit(unit)) for c in columns]
    table = FactTable(
        id=table_id, label=label, columns=(head, *rest), rows=tuple(cells), lineage=LINEAGE
    )
    return table, facts


def make_sheet(facts=(), tables=()):
    return FactSheet(
        facts=(*facts, *(fact for _, of_table in tables for fact in of_table)),
        tables=tuple(table for table, _ in tables),
    )


def make_analysis(**fields):
    given = {
        "headline": "A day",
        "summary": "",
        "findings": (),
        "period": "2013-02-08",
        "facts": (),
        "facts_uri": "file:///facts.json",
        "trace_uri": "file:///trace.json",
        "model": "kimi-k3",
        "usage": Usage(calls=2, input_tokens=1200, output_tokens=300, cost_usd=Decimal("0.0123")),
    }
    return Analysis(**(given | fields))


def make_finding(**fields):
    return Finding(**({"title": "T", "detail": "", "severity": "info"} | fields))


@pytest.fixture
def make():
    """The makers above, for tests that put their own values together."""
    return SimpleNamespace(
        fact=make_fact,
        comparison=make_comparison,
        table=make_table,
        sheet=make_sheet,
        analysis=make_analysis,
        finding=make_finding,
    )


@pytest.fixture
def storm():
    """A bad day, with everything that a report can have."""
    carriers = [("Southwest Airlines Co.", 38.11), ("Envoy Air", 29.97), ("Mesa Airlines Inc.", None)]
    sheet = make_sheet(
        [
            make_fact(
                "day.flights",
                930,
                "count",
                label="Flights",
                kpi=True,
                comparisons=[make_comparison(932, -2)],
            ),
            make_fact(
                "day.delay",
                14.86,
                "minutes",
                label="Average delay",
                good="down",
                decimals=1,
                kpi=True,
                comparisons=[make_comparison(6.5, 8.36)],
            ),
            make_fact("day.delay.day_before", 6.5, "minutes", decimals=1, kpi=True),
            make_fact("day.delay.day_before.delta", 8.36, "minutes", change=True, kpi=True),
            make_fact("day.cancelled", 0.5075, "percent", label="Cancelled", good="down", kpi=True),
        ],
        [make_table("by_carrier", carriers)],
    )
    analysis = make_analysis(
        headline="Storm stops New York: [[day.cancelled]] cancelled",
        summary="Flights left **[[day.delay]]** late, [[day.delay.day_before.delta]] more.\n\nThe end.",
        findings=(
            Finding(title="Calm", detail="All [[day.flights]] flights.", severity="info"),
            Finding(title="Worst", detail="By [[by_carrier.0.avg_delay]].", severity="critical"),
        ),
        actions=("Call *them*.",),
        charts=(
            ChartRequest(title="Delay", kind="bar", table="by_carrier", x="carrier", y="avg_delay"),
        ),
    )
    return analysis, sheet


class Report:
    """A report that was built, with its files."""

    def __init__(self, ref, folder):
        self.ref = ref
        self.folder = folder
        self.html = (folder / "report.html").read_text()
        self.page = (folder / "page.html").read_text()
        self.text = (folder / "report.txt").read_text()
        self.markdown = (folder / "report.md").read_text()

    @property
    def seen(self):
        """The text that a reader of the HTML sees, on one line."""
        return visible_text(self.html)


@pytest.fixture
def build(tmp_path):
    """Build a report into a folder of its own and return it with its files."""

    def run(analysis, sheet, **options):
        folder = tmp_path / "report"
        options = {"template": "daily_brief", "search_path": [TEMPLATES], "now": NOW} | options
        return Report(asyncio.run(build_report(analysis, sheet, folder=folder, **options)), folder)

    return run


class _Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.parts = []
        self.skip = 0

    def handle_starttag(self, tag, attrs):
        self.skip += tag in ("style", "title")

    def handle_endtag(self, tag):
        self.skip -= tag in ("style", "title")

    def handle_data(self, data):
        if not self.skip:
            self.parts.append(data)


def visible_text(html):
    parser = _Text()
    parser.feed(html)
    return re.sub(r"\s+", " ", " ".join(parser.parts))


# --- whole reports for the templates --------------------------------------------------------------

ALERT_TEMPLATES = TEMPLATES.parent / "alerts"
DATA = Path(kimi_provider.testing.__file__).parent / "data"
LONG_NAME = ("Société Générale de Transport Aérien et Maritime " * 7)[:300]
_EXTRA_CHARTS = (
    ("line", "Average delay by day", "last_days", "day", "avg_dep_delay", None),
    ("stacked_bar", "Flights by airport and hour", "by_hour_origin", "hour", "flights", "airport"),
    ("heatmap", "Average delay by hour and weekday", "by_week", "hour", "avg_dep_delay",
     "weekday"),
    ("slope", "Share on time against the day before", "by_carrier", "carrier", "on_time_share", None),
    ("distribution", "Delays by destination", "by_dest", "dest", "avg_dep_delay", None),
)  # fmt: skip
_EXTRA_METRICS = """
- {id: last_days, label: By day, key: [day], compare: [], sql: "SELECT
   flight_date AS day, count(*) AS flights, avg(dep_delay) AS avg_dep_delay FROM flights
   WHERE flight_date BETWEEN $day - 13 AND $day GROUP BY ALL ORDER BY day",
   columns: {flights: {label: Flights scheduled, unit: count},
   avg_dep_delay: {label: Average departure delay, unit: minutes, decimals: 1}}}
- {id: by_hour_origin, label: By hour and airport, key: [hour, airport], compare: [], sql: "SELECT
   format('{:02d}:00', hour) AS hour, origin AS airport, count(*) AS flights FROM flights
   WHERE flight_date = $day GROUP BY ALL ORDER BY ALL",
   columns: {flights: {label: Flights, unit: count}}}
- {id: by_week, label: By hour and weekday, key: [hour, weekday], compare: [], sql: "SELECT
   hour::VARCHAR AS hour, dayname(flight_date) AS weekday, avg(dep_delay) AS avg_dep_delay FROM flights
   WHERE hour > 4 GROUP BY ALL ORDER BY ALL", columns: {avg_dep_delay: {label: Average departure delay,
   unit: minutes, decimals: 1}}}
- {id: by_dest, label: By destination, key: [dest], compare: [], sql: "SELECT dest, avg(dep_delay) AS
   avg_dep_delay FROM flights WHERE flight_date = $day GROUP BY ALL ORDER BY ALL",
   columns: {avg_dep_delay: {label: Average departure delay, unit: minutes, decimals: 1}}}
"""


@pytest.fixture(scope="session")
def flights(tmp_path_factory):
    """The analysis of a stormy day, over the flights that come with the simulator."""
    import duckdb

    template = PromptTemplate.load("flight_on_time", [TEMPLATES.parent / "prompts"])
    parameters = template.parameters({"day": "2013-02-08"})
    folder = tmp_path_factory.mktemp("flights")
    date = "make_date(2013, CASE WHEN filename LIKE '%-01.%' THEN 1 ELSE 2 END, day)"
    flights = f"*, {date} AS flight_date, sched_dep_time // 100 AS hour"
    for name, what, file in (
        ("flights", flights, "flights-2013-0*.csv.gz"),
        ("airlines", "*", "airlines.csv"),
        ("weather", "*", "weather-2013-01-02.csv.gz"),
    ):
        query = f"SELECT {what} FROM read_csv('{DATA / file}', filename=true)"
        duckdb.sql(query).write_parquet(str(folder / f"{name}.parquet"))
    files = {path.stem: path for path in folder.iterdir()}
    extra = [Metric.model_validate(metric) for metric in yaml.safe_load(_EXTRA_METRICS)]
    with Database(files) as database:
        sheet = compute_facts(
            database,
            (*template.front.metrics, *extra),
            parameters,
            template.front.comparisons,
            datasets={},
            period="2013-02-08",
        )
    charts = [
        ChartRequest(kind=kind, title=title, table=table, x=x, y=y, series=series)
        for kind, title, table, x, y, series in _EXTRA_CHARTS
    ]
    analysis = make_analysis(
        headline="Winter storm stops New York: [[day.cancelled_share]] of flights canceled",
        summary=(
            "Of [[day.flights]] scheduled flights, **[[day.cancelled_share]]** were canceled. Those "
            "that left were [[day.avg_dep_delay]] late on average; [[day.on_time_share]] came on time."
        ),
        findings=(
            Finding(
                title="Half of all flights were canceled",
                detail="Canceled were [[day.cancelled]], [[day.cancelled.day_before.delta]] more.",
                severity="critical",
            ),
            Finding(
                title="Who left, left late",
                detail="On average by [[day.avg_dep_delay]].",
                severity="warning",
            ),
            Finding(
                title="The morning was calm", detail="Nothing stands out before noon.", severity="info"
            ),
            Finding(title="The week before too", detail="Nothing stands out there.", severity="info"),
        ),
        actions=("Offer rebooking **before noon**.", "Ask the carriers for their recovery plans."),
        charts=(*charts[:1], *template.front.charts, *charts[1:]),
    )
    return analysis, sheet


@pytest.fixture(scope="session")
def hostile():
    """What data and models may come up with: ``{name: (analysis, sheet)}``."""
    names = [
        LONG_NAME,
        "x" * 300,
        "😀👩‍👩‍👧‍👦 ✈️",
        "شركة الطيران العربية",
        "חברת תעופה",
        "<b>&amp;</b>",
        "",
    ]
    wide = make_table(
        "wide",
        [(name, *(at * 10**6 - 7 for at in range(60))) for name in names],
        columns=tuple(f"a_rather_long_column_{at}" for at in range(60)),
        unit="count",
    )
    values = [1e18, -1e9, -0.001, 5, None, 0, 12345678901]
    huge = make_table("huge", list(zip(names, values, strict=True)), unit="minutes")
    facts = [
        make_fact("a", 1e17, "count", label=LONG_NAME, kpi=True,
                  comparisons=[make_comparison(1, 1e17)]),
        make_fact("b", -123456789.12, "currency", unit_label="USD", label="x" * 90, kpi=True, good="up",
                  comparisons=[make_comparison(9e9, -9.1e9, label=LONG_NAME)]),
        make_fact("c", LONG_NAME, "text", label="😀 النص", kpi=True),
        make_fact("d", None, "percent", label="Nothing", kpi=True),
        make_fact("e", 0.5, "percent", label="Only", kpi=True),
    ]  # fmt: skip
    charts = tuple(
        ChartRequest(kind=kind, title=LONG_NAME, table="huge", x="carrier", y="avg_delay")
        for kind in ("bar", "line", "distribution", "slope")
    )
    told = {
        "headline": f"{'y' * 120} {LONG_NAME}",
        "summary": f"- {'z' * 400}\n- [[c]]\n\n> {LONG_NAME}\n\n`{'code' * 100}`",
        "findings": tuple(
            Finding(title=f"شركة {'w' * 200}", detail=f"[[c]] {'v' * 300}", severity=severity)
            for severity in ("critical", "warning", "info")
        ),
        "actions": ("u" * 300, "قم بإعادة الحجز 😀"),
        "model": "m" * 200,
        "charts": charts,
    }
    one = make_table("huge", [("Only one", 5)])
    return {
        "hostile": (make_analysis(**told), make_sheet(facts, [wide, huge])),
        "one_row": (make_analysis(charts=charts[:3]), make_sheet(facts[-1:], [one])),
        "no_rows": (make_analysis(headline=""), make_sheet((), [make_table("huge", [])])),
    }


@pytest.fixture(scope="session")
def notices():
    """What the templates of alerts are told: ``{name: {template: about}}``."""
    begun = NOW - timedelta(hours=30)
    link = Link("Open the run", "https://airflow.example/dags/flight_report")
    event = NoticeEvent(
        "Share canceled above 20%",
        "Share canceled is 50.8%, which is above 20.0%.",
        Severity.CRITICAL,
        labels={"fact": "day.cancelled_share", "airport": "JFK"},
        since=begun,
        times=2,
        steps=("Check whether the storm goes on.", "Tell the duty manager."),
        links=(link, Link("Runbook", "https://wiki.example/storm")),
    )
    warning = NoticeEvent("Delay above 15 min", "It is 22.9 min.", Severity.WARNING)
    over = NoticeEvent(
        "No rows for JFK", "JFK has rows again.", Severity.WARNING, "resolved", since=begun, until=NOW
    )
    long = NoticeEvent(
        "r" * 300,
        f"{LONG_NAME} شركة 😀",
        Severity.WARNING,
        labels={f"{'l' * 60}{at}": "v" * 300 for at in range(9)},
        since=begun,
        times=10**9,
        steps=("s" * 300, "قم بإعادة الحجز"),
        links=(Link("k" * 200, f"https://airflow.example/{'p' * 900}"),),
    )
    failure = Failure(
        "report", "flight_report", "scheduled__2013-02-08", "RenderError: too large.\nShow less.", NOW,
        attempt=3, attempts=3, steps=("Show fewer tables.",), log_url="https://airflow.example/log",
    )  # fmt: skip
    broken = Failure("t" * 200, "d" * 200, "r" * 250, "e" * 9000 + "\n😀 خطأ", NOW, steps=("s" * 400,))
    return {
        "flights": {
            "alert": [event], "digest": [warning, over, event], "resolved": [over], "failure": failure
        },
        "hostile": {
            "alert": [long], "digest": [long, over] * 20, "resolved": [over, over], "failure": broken
        },
    }  # fmt: skip

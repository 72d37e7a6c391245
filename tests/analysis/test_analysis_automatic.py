"""Facts about any data: the same as pandas finds by hand, bounded, and safe with any names."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb  # noqa: TID253 — a test pays no DAG parse
import pandas as pd  # noqa: TID253 — the independent count
import pytest

import kimi_provider.testing
from kimi_provider.analysis.automatic import MAX_FACTS, automatic_sheet
from kimi_provider.analysis.automatic_settings import AutomaticSettings
from kimi_provider.analysis.column_roles import Role, column_roles
from kimi_provider.analysis.database import Database
from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.schemas import DatasetRef, Unit

DATA = Path(kimi_provider.testing.__file__).parent / "data"
REF = DatasetRef(uri="x", rows=1, bytes=1, sha256="ab" * 32, source="x", columns=())


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """Two months of flights, read without any code of the package."""
    months = []
    for month in (1, 2):
        frame = pd.read_csv(DATA / f"flights-2013-0{month}.csv.gz")
        frame["flight_date"] = pd.to_datetime({"year": 2013, "month": month, "day": frame["day"]})
        months.append(frame)
    return pd.concat(months, ignore_index=True)


@pytest.fixture
def profile(tmp_path):
    """Write frames as Parquet and return the automatic sheet of them."""

    def run(settings=None, /, *, language="en", max_facts=MAX_FACTS, **frames):
        paths = {}
        for name, frame in frames.items():
            paths[name] = tmp_path / f"{name}.parquet"
            with duckdb.connect() as connection:
                if isinstance(frame, str):
                    relation = connection.sql(frame)
                else:
                    connection.register("frame", frame)
                    relation = connection.sql("FROM frame")
                relation.write_parquet(str(paths[name]))
        with Database(paths) as database:
            return automatic_sheet(
                database,
                dict.fromkeys(frames, REF),
                settings,
                language=language,
                max_facts=max_facts,
            )

    return run


def by_id(sheet):
    assert len({fact.id for fact in sheet.facts}) == len(sheet.facts)
    return {fact.id: fact for fact in sheet.facts}


def table_of(sheet, name):
    """Return a table as a dictionary of rows, each a dictionary of values."""
    facts = by_id(sheet)
    (table,) = (table for table in sheet.tables if table.id == name)
    names = [column.name for column in table.columns if not column.key]
    return {
        row[0]: {name: facts[cell].value for name, cell in zip(names, row[1:], strict=True)}
        for row in table.rows
    }


# --- the same as by hand ---------------------------------------------------------------------------


def test_size_totals_and_means(profile, flights):
    facts = by_id(profile(flights=flights))
    expected = {
        "flights.rows": len(flights),
        "flights_dep_delay.avg": flights["dep_delay"].mean(),
        "flights_dep_delay.median": flights["dep_delay"].median(),
        "flights_dep_delay.min": flights["dep_delay"].min(),
        "flights_dep_delay.max": flights["dep_delay"].max(),
        "flights_arr_delay.avg": flights["arr_delay"].mean(),
        "flights_distance.sum": flights["distance"].sum(),
        "flights_distance.avg": flights["distance"].mean(),
    }
    assert {name: float(facts[name].value) for name in expected} == pytest.approx(expected)
    assert facts["flights.first"].value.startswith("2013-01-01")
    assert facts["flights.last"].value.startswith("2013-02-28")
    named = {fact_id.split(".")[0] for fact_id in facts}
    # Times written as 1545, numbers of flights and days of the month are no quantities.
    assert not named & {"flights_dep_time", "flights_sched_arr_time", "flights_flight", "flights_day"}


def test_the_last_full_week_against_the_one_before(profile, flights):
    facts = by_id(profile(flights=flights))
    weeks = flights.set_index("flight_date")
    # February ends on a Thursday: the week of the 25th is not full.
    last, before = weeks["2013-02-18":"2013-02-24"], weeks["2013-02-11":"2013-02-17"]
    expected = {
        "flights_week.rows": len(last),
        "flights_week.rows.week_before": len(before),
        "flights_week.rows.week_before.delta": len(last) - len(before),
        "flights_week.rows.week_before.percent": len(last) / len(before) - 1,
        "flights_week.dep_delay": last["dep_delay"].mean(),
        "flights_week.dep_delay.week_before": before["dep_delay"].mean(),
        "flights_week.distance": last["distance"].sum(),
    }
    assert {name: float(facts[name].value) for name in expected} == pytest.approx(expected)
    assert facts["flights_week.rows"].period == "2013-02-18 to 2013-02-24"
    assert facts["flights_week.rows.week_before"].period == "2013-02-11 to 2013-02-17"
    assert facts["flights_dep_delay.avg"].period is None
    (comparison,) = facts["flights_week.dep_delay"].comparisons
    assert comparison.label == "the week before"
    assert comparison.direction == ("up" if comparison.delta > 0 else "down")
    assert facts["flights_week.dep_delay"].good == "down"
    assert [fact.id for fact in facts.values() if fact.kpi] == [
        "flights_week.rows",
        "flights_week.dep_delay",
        "flights_week.arr_delay",
        "flights_week.air_time",
    ]


def test_the_trend_by_week(profile, flights):
    found = table_of(profile(flights=flights), "flights_by_week")
    start = flights["flight_date"] - pd.to_timedelta(flights["flight_date"].dt.weekday, unit="D")
    expected = flights.groupby(start).agg(rows=("day", "size"), dep_delay=("dep_delay", "mean"))
    expected = expected[expected.index <= "2013-02-18"]
    assert list(found) == [f"{day:%Y-%m-%d}" for day in expected.index]
    for day, row in expected.iterrows():
        values = found[f"{day:%Y-%m-%d}"]
        assert values["rows"] == row["rows"]
        assert float(values["dep_delay"]) == pytest.approx(row["dep_delay"])


def test_the_carriers_that_changed_most(profile, flights):
    sheet = profile(flights=flights)
    found = table_of(sheet, "flights_by_carrier")
    last = flights[flights["flight_date"].between("2013-02-18", "2013-02-24")].groupby("carrier")
    before = flights[flights["flight_date"].between("2013-02-11", "2013-02-17")].groupby("carrier")
    rows = pd.concat([last["dep_delay"].count(), before["dep_delay"].count()], axis=1).min(axis=1)
    effect = ((last["dep_delay"].mean() - before["dep_delay"].mean()) * rows).abs()

    assert set(found) == set(effect.nlargest(8).index)
    for carrier, values in found.items():
        assert values["rows"] == len(last.get_group(carrier))
        assert float(values["dep_delay"]) == pytest.approx(last["dep_delay"].mean()[carrier])
        before_it = by_id(sheet)[f"flights_by_carrier.{carrier}.dep_delay.week_before"].value
        assert float(before_it) == pytest.approx(before["dep_delay"].mean()[carrier])


def test_outliers_by_the_median_deviation(profile, flights):
    found = table_of(profile(flights=flights), "flights_outliers")
    delays = flights["dep_delay"].dropna()
    spread = 3.5 * (delays - delays.median()).abs().median() / 0.6745
    outside = ((delays - delays.median()).abs() > spread).sum()
    row = found["dep_delay"]
    assert row["rows_outside"] == int(outside)
    assert float(row["share_outside"]) == pytest.approx(outside / len(delays))
    assert float(row["usual_to"]) == pytest.approx(delays.median() + spread)


def test_unusual_days(profile, flights):
    found = table_of(profile(flights=flights), "flights_unusual")
    days = flights[flights["flight_date"] <= "2013-02-24"].groupby("flight_date")["dep_delay"].mean()
    distance = (days - days.median()).abs()
    odd = distance[distance > 3.5 * distance.median() / 0.6745].nlargest(5)
    assert list(found) == [f"{day:%Y-%m-%d}" for day in odd.index]
    for day in odd.index:
        assert float(found[f"{day:%Y-%m-%d}"]["value"]) == pytest.approx(days[day])


def test_what_is_missing_and_how_many_differ(profile, flights):
    found = table_of(profile(flights=flights), "flights_columns")
    for name, row in found.items():
        assert row["missing"] == int(flights[name].isna().sum())
        assert float(row["missing_share"]) == pytest.approx(flights[name].isna().mean())
        assert row["different"] == flights[name].nunique()
    lacking = {name for name in flights if flights[name].isna().any()}
    assert lacking == set(found), "as so many columns lack values, none of the others is told"


def test_every_fact_has_sql_that_gives_it_again(profile, flights, tmp_path):
    sheet = profile(flights=flights)
    path = tmp_path / "flights.parquet"
    for fact in sheet.facts:
        assert fact.lineage.datasets == {"flights": REF.sha256}
    single = next(fact for fact in sheet.facts if fact.id == "flights_distance.sum")
    with Database({"flights": path}) as database:
        again = database.query(single.lineage.sql)
        position = [name for name, _ in again.columns].index("sum")
        assert again.rows[0][position] == single.value


def test_ids_and_facts_are_the_same_whatever_the_order_of_the_rows(profile, flights):
    shuffled = flights.sample(frac=1, random_state=7)
    first, second = by_id(profile(flights=flights)), by_id(profile(flights=shuffled))
    assert list(first) == list(second)
    for name, fact in first.items():
        if isinstance(fact.value, Decimal):
            assert float(fact.value) == pytest.approx(float(second[name].value))


# --- periods ---------------------------------------------------------------------------------------


def daily(first, days, column="day", **more):
    value = ", ".join(f"{sql} AS {name}" for name, sql in more.items()) or "range AS amount"
    return f"SELECT (DATE '{first}' + range::INTEGER) AS {column}, {value} FROM range({days})"


@pytest.mark.parametrize(
    ("days", "grain", "last"),
    [(10, "day", "2024-01-10"), (100, "week", "2024-04-01 to 2024-04-07"), (400, "month", "2025-01")],
)
def test_the_grain_follows_the_span_and_the_last_period_is_full(profile, days, grain, last):
    facts = by_id(profile(sales=daily("2024-01-01", days)))
    assert facts[f"sales_{grain}.rows"].period == last
    assert f"sales_{grain}.amount.{grain}_before.delta" in facts


def test_a_day_is_compared_with_the_week_before_too(profile):
    facts = by_id(profile(sales=daily("2024-01-01", 20)))
    assert facts["sales_day.amount"].value == 19
    assert facts["sales_day.amount.day_before"].value == 18
    assert facts["sales_day.amount.week_before"].value == 12
    assert facts["sales_day.amount.week_before"].period == "2024-01-13"


def test_a_day_under_way_is_left_out(profile):
    sql = (
        "SELECT TIMESTAMP '2024-01-01' + to_hours(range::INTEGER) AS at, range AS amount "
        "FROM range(24 * 9 + 10)"
    )
    assert by_id(profile(events=sql))["events_day.rows"].period == "2024-01-09"


def test_sparse_data_gets_longer_periods(profile):
    sql = (
        "SELECT (DATE '2023-01-01' + to_months(range::INTEGER))::DATE AS day, range AS amount "
        "FROM range(14)"
    )
    facts = by_id(profile(sales=sql))
    assert facts["sales_month.rows"].period == "2024-02"
    assert facts["sales_month.amount.month_before.delta"].value == 1


def test_a_slip_in_a_date_does_not_stretch_the_series(profile):
    sql = (
        f"{daily('2024-01-01', 30)} UNION ALL SELECT DATE '9999-12-31', 5 "
        "UNION ALL SELECT DATE '0202-01-01', 6"
    )
    assert by_id(profile(sales=sql))["sales_day.rows"].period == "2024-01-30"


def test_times_with_a_zone(profile):
    sql = (
        "SELECT TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_days(range::INTEGER) AS at, range AS n_items "
        "FROM range(9)"
    )
    assert by_id(profile(events=sql))["events_day.n_items"].value == 8


def test_no_time_no_trend(profile):
    sheet = profile(
        shops="SELECT range AS id, ['a', 'b', 'c'][range % 3 + 1] AS region, range * 2 AS seats "
        "FROM range(30)"
    )
    facts = by_id(sheet)
    assert facts["shops.rows"].value == 30
    assert facts["shops.rows"].kpi
    assert facts["shops_seats.sum"].value == sum(range(0, 60, 2))
    assert table_of(sheet, "shops_by_region")["c"] == {"rows": 10, "seats": sum(range(4, 60, 6))}
    assert not any(".delta" in name for name in facts)


def test_a_group_that_vanished_is_a_mover(profile):
    sql = """
        SELECT DATE '2024-01-01' + (range // 10)::INTEGER AS day,
               CASE WHEN range % 10 < 3 AND range < 190 THEN 'gone'
                    WHEN range % 2 = 0 THEN 'a' ELSE 'b' END AS team
        FROM range(200)
    """
    sheet = profile(tickets=sql)
    assert table_of(sheet, "tickets_by_team")["gone"]["rows"] == 0
    facts = by_id(sheet)
    assert facts["tickets_by_team.gone.rows.day_before"].value == 3


# --- which columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sql", "role", "aggregate"),
    [
        ("customer_id", "range % 100", Role.OTHER, None),
        ("zip", "range + 10000", Role.OTHER, None),
        ("latitude", "range / 10", Role.OTHER, None),
        ("order", "range % 90", Role.OTHER, None),
        ("serial", "range", Role.OTHER, None),
        ("year", "2000 + range % 9", Role.OTHER, None),
        ("start_time", "(range % 24) * 100 + range % 60", Role.OTHER, None),
        ("status", "200 + range % 3", Role.GROUP, None),
        ("region", "['x', 'y'][range % 2 + 1]", Role.GROUP, None),
        ("comment", "'text ' || range", Role.OTHER, None),
        ("revenue", "range * 1.5", Role.MEASURE, "sum"),
        ("orders", "range % 7", Role.MEASURE, "sum"),
        ("delay_minutes", "range % 7", Role.MEASURE, "avg"),
        ("price_eur", "range * 1.5", Role.MEASURE, "avg"),
        ("conversion_rate", "(range % 10) / 10", Role.MEASURE, "avg"),
        ("temperature", "range % 30 - 10", Role.MEASURE, "avg"),
        ("air_time", "range % 300", Role.MEASURE, "avg"),
        ("paid", "range % 2 = 0", Role.MEASURE, "share"),
        ("late", "range % 2", Role.MEASURE, "share"),
        ("always", "7", Role.OTHER, None),
    ],
)
def test_what_a_column_is_good_for(tmp_path, name, sql, role, aggregate):
    path = tmp_path / "orders.parquet"
    duckdb.sql(f'SELECT {sql} AS "{name}" FROM range(400)').write_parquet(str(path))
    with Database({"orders": path}) as database:
        (traits,) = column_roles(database, "orders", 400)
    assert traits.role is role
    if aggregate:
        assert traits.aggregate == aggregate


def test_units_and_good_directions_come_from_names(profile):
    sql = daily(
        "2024-01-01", 20, delay_minutes="range", revenue_eur="range * 2", error_rate="(range % 5) / 10"
    )
    facts = by_id(profile(sales=sql))
    delay, revenue, errors = (
        facts[f"sales_day.{name}"] for name in ("delay_minutes", "revenue_eur", "error_rate")
    )
    assert (delay.unit, delay.good) == (Unit.MINUTES, "down")
    assert (revenue.unit, revenue.unit_label, revenue.good) == (Unit.CURRENCY, "EUR", "up")
    assert (errors.unit, errors.good) == (Unit.PERCENT, "down")


def test_infinities_and_not_a_number_leave_the_figures_alone(profile):
    sql = (
        "SELECT range::DOUBLE AS speed FROM range(30) UNION ALL SELECT 'nan'::DOUBLE UNION ALL "
        "SELECT 'inf'::DOUBLE"
    )
    facts = by_id(profile(runs=sql))
    assert facts["runs_speed.avg"].value == Decimal("14.5")
    assert facts["runs_speed.max"].value == 29


# --- bounds and hostile names ----------------------------------------------------------------------

HOSTILE = [
    'a"; DROP TABLE t; --',
    "{{ conn.sendgrid_default.password }}",
    "[[fact]]",
    "select",
    "$as_of",
    "中文",
    "🛫",
    "rows",
    "ROWS ",
    "day",
    "a b",
    "a_b",
    "it's",
    "</facts>",
    "a\u202eb",
    "line\nbreak",
    "x" * 119,
]


def test_hostile_names_are_quoted_and_their_ids_valid(profile):
    columns = ", ".join(
        '(range * {}) % 97 + 0.5 AS "{}"'.format(n + 1, name.replace('"', '""'))
        for n, name in enumerate(HOSTILE)
    )
    sql = f"SELECT DATE '2024-01-01' + (range % 20)::INTEGER AS \"da'te\", {columns} FROM range(400)"
    sheet = profile(AutomaticSettings(measures=tuple(HOSTILE[:4])), part_1=sql)
    facts = by_id(sheet)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in facts)
    assert not any("\u202e" in fact.label or "\n" in fact.label for fact in facts.values())
    assert "part_day.rows" in facts or any(name.endswith("_day.rows") for name in facts)
    assert set(table_of(sheet, next(t.id for t in sheet.tables if t.id.endswith("_columns")))) <= {
        "da'te",
        *(" ".join(name.replace("\u202e", "").split()) for name in HOSTILE),
    }


def test_however_many_columns_the_facts_are_bounded(profile):
    columns = ", ".join(f"(range * {n}) % 89 AS amount_{n}" for n in range(1, 1000))
    groups = ", ".join(f"['a', 'b', 'c'][(range + {n}) % 3 + 1] AS team_{n}" for n in range(60))
    sql = f"SELECT DATE '2024-01-01' + (range % 30)::INTEGER AS day, {columns}, {groups} FROM range(300)"
    sheet = profile(wide=sql)
    assert 100 < len(sheet.facts) <= MAX_FACTS
    assert len(profile(max_facts=40, wide=sql).facts) <= 40


def test_several_datasets_share_the_room(profile, flights):
    frames = {f"flights_{n}": flights.head(5000) for n in range(12)}
    sheet = profile(**frames)
    assert len(sheet.facts) <= MAX_FACTS
    hold = {fact.lineage.sql.partition("FROM ")[2].split()[0].strip('"') for fact in sheet.facts}
    assert {f"flights_{n}" for n in range(12)} <= hold


def test_two_datasets_of_alike_names_keep_their_facts_apart(profile):
    sheet = profile(
        orders=daily("2024-01-01", 20), orders_by=daily("2024-01-01", 10), day="SELECT 1 AS n"
    )
    by_id(sheet)
    assert len({table.id for table in sheet.tables}) == len(sheet.tables)


def test_an_empty_dataset_is_left_out_and_nothing_but_empty_ones_is_refused(profile):
    empty = "SELECT 1 AS amount WHERE false"
    assert by_id(profile(sales=daily("2024-01-01", 20), empty=empty))
    with pytest.raises(SourceError, match="nothing to analyze: empty has no rows"):
        profile(empty=empty)


def test_nothing_but_nulls_lists_and_bytes(profile):
    sql = "SELECT NULL::INTEGER AS a, [1, 2] AS b, {'x': 1} AS c, 'x'::BLOB AS d FROM range(50)"
    sheet = profile(odd=sql)
    assert by_id(sheet)["odd.rows"].value == 50
    assert table_of(sheet, "odd_columns")["a"]["missing"] == 50


@pytest.mark.parametrize(
    "names", [("low", "high", "name"), ("name", "low", "high"), ("high", "name", "low")]
)
def test_columns_may_be_named_like_parts_of_the_statements(profile, names):
    def values(time, measure, group):
        sql = (
            f"SELECT DATE '2024-01-01' + (i % 60)::INTEGER AS {time}, i * 7 % 23 + 0.5 AS {measure}, "
            f"'g' || i % 4 AS {group} FROM range(600) AS t(i)"
        )
        return [fact.value for fact in profile(each_row=sql).facts]

    assert values(*names) == values("a", "b", "c")


def test_nothing_but_yes_and_no(profile):
    facts = by_id(profile(checks="SELECT i % 4 = 0 AS passed FROM range(40) AS t(i)"))
    assert facts["checks_passed.share"].value == Decimal("0.25")


def test_a_single_row_is_told(profile):
    facts = by_id(profile(day="SELECT date '2013-02-08' AS day, 120 AS revenue, NULL::INTEGER AS cost"))
    assert facts["day_revenue.sum"].value == 120
    assert "day_cost.sum" not in facts


@pytest.mark.parametrize("kind", ["DECIMAL(38,0)", "DECIMAL(38,9)"])
def test_a_sum_of_more_digits_than_a_decimal_has(profile, kind):
    largest = 9 * 10 ** (27 if kind.endswith("9)") else 36)
    sql = f"SELECT {largest}::{kind} - i::{kind} AS revenue FROM range(60) t(i)"
    facts = by_id(profile(bank=sql))
    assert facts["bank_revenue.sum"].value == pytest.approx(60 * largest)


# --- settings and language -------------------------------------------------------------------------


def test_columns_and_periods_can_be_given(profile, flights):
    given = AutomaticSettings(
        date="{date}", grain="day", until="{day}", measures="{figures}", dimensions=["origin"]
    ).filled({"date": "flight_date", "day": date(2013, 2, 8), "figures": "arr_delay, distance"})
    sheet = profile(given, flights=flights)
    facts = by_id(sheet)
    day = flights[flights["flight_date"] == "2013-02-08"]
    before = flights[flights["flight_date"] == "2013-02-07"]
    assert float(facts["flights_day.arr_delay"].value) == pytest.approx(day["arr_delay"].mean())
    assert facts["flights_day.rows.day_before"].value == len(before)
    assert "flights_day.dep_delay" not in facts
    assert {table.id for table in sheet.tables} >= {"flights_by_origin", "flights_by_day"}
    assert "flights_by_carrier" not in {table.id for table in sheet.tables}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"date": "flightdate"}, ["'flightdate'", "flights (", "flight_date"]),
        ({"measures": ["nope"]}, ["measures", "'nope'"]),
        ({"grain": "hour"}, ["'hour'", "day, week, month, year"]),
        ({"until": "soon"}, ["until", "'soon'"]),
        ({"date": "{dat}"}, ["dat", "Parameters"]),
    ],
)
def test_wrong_settings_name_what_exists(profile, flights, settings, words):
    with pytest.raises(ConfigurationError) as caught:
        profile(AutomaticSettings(**settings).filled({}), flights=flights.head(10))
    for word in words:
        assert word in str(caught.value)


def test_labels_can_be_polish(profile, flights):
    facts = by_id(profile(flights=flights, language="pl"))
    assert facts["flights_dep_delay.avg"].label == "Średnia (dep delay)"
    assert facts["flights_week.rows"].comparisons[0].label == "tydzień wcześniej"

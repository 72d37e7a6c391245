"""Metrics to facts, against real DuckDB over Parquet."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb  # noqa: TID253 — a test pays no DAG parse
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kimi_provider.analysis.cells import row_slugs
from kimi_provider.analysis.database import Database
from kimi_provider.analysis.facts import compute_facts, facts_csv, tables_csv
from kimi_provider.analysis.metrics import ComparisonSpec, Metric, period_text, typed_parameters
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import DatasetRef, FactSheet, Unit

DAY = {"day": date(2013, 2, 8)}
DAY_BEFORE = ComparisonSpec(id="day_before", label="the day before", shift={"day": -1})
WEEK_BEFORE = ComparisonSpec(id="week_before", label="a week before", shift={"day": -7})

ROWS = """
    ('2013-02-08', 'UA', 10.5, 1.10), ('2013-02-08', 'UA', 20.5, 2.20), ('2013-02-08', 'DL', NULL, 3.30),
    ('2013-02-08', NULL, 4.0, 4.40),
    ('2013-02-07', 'UA', 5.0, 5.50), ('2013-02-07', 'AA', 1.0, 6.60)
"""


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "flights.parquet"
    duckdb.connect().execute(
        f"""COPY (SELECT day::DATE AS day, carrier, delay::DOUBLE AS delay, fare::DECIMAL(9,2) AS fare
            FROM (VALUES {ROWS}) AS t(day, carrier, delay, fare)) TO '{path}' (FORMAT parquet)"""
    )
    with Database({"flights": path}) as opened:
        yield opened


@pytest.fixture
def ref():
    return DatasetRef(uri="file:///f", rows=6, bytes=1, sha256="ab" * 32, source="x", columns=())


@pytest.fixture
def compute(database, ref):
    def run(*metrics, parameters=DAY, comparisons=(), **settings):
        return compute_facts(
            database,
            [Metric.model_validate(metric) for metric in metrics],
            parameters,
            comparisons,
            datasets={"flights": ref},
            **settings,
        )

    return run


def by_id(sheet):
    assert len({fact.id for fact in sheet.facts}) == len(sheet.facts)
    return {fact.id: fact for fact in sheet.facts}


SCALAR = {
    "id": "day",
    "sql": "SELECT count(*) AS flights, avg(delay) AS avg_delay FROM flights WHERE day = $day",
    "columns": {
        "flights": {"label": "Flights", "unit": "count", "kpi": True},
        "avg_delay": {"label": "Average delay", "unit": "minutes", "decimals": 1, "good": "down"},
    },
}
BY_CARRIER = {
    "id": "by_carrier",
    "label": "Delays by carrier",
    "key": ["carrier"],
    "sql": "SELECT carrier, count(*) AS flights, avg(delay) AS delay FROM flights WHERE day = $day "
    "GROUP BY carrier ORDER BY carrier NULLS LAST",
    "columns": {"delay": {"label": "Average delay", "unit": "minutes"}, "flights": {"unit": "count"}},
}


class TestScalars:
    def test_one_fact_a_column(self, compute):
        facts = by_id(compute(SCALAR, period="{day}"))
        assert set(facts) == {"day.flights", "day.avg_delay"}
        flights, delay = facts["day.flights"], facts["day.avg_delay"]
        assert (flights.value, flights.unit, flights.kpi, flights.label) == (4, "count", True, "Flights")
        assert delay.value == Decimal(repr((10.5 + 20.5 + 4.0) / 3))
        assert (delay.decimals, delay.good, delay.period) == (1, "down", "2013-02-08")

    def test_a_format_goes_to_figure_baseline_and_column_but_not_to_the_percent(self, compute):
        columns = {"delay": {"unit": "minutes", "format": "#,##0.00"}}
        facts = by_id(compute(BY_CARRIER | {"columns": columns}, comparisons=(DAY_BEFORE,)))
        formats = {end: facts[f"by_carrier.UA.delay{end}"].format for end in (
            "", ".day_before", ".day_before.delta", ".day_before.percent")}  # fmt: skip
        assert list(formats.values()) == ["#,##0.00", "#,##0.00", "#,##0.00", None]
        table = compute(BY_CARRIER | {"columns": columns}).tables[0]
        assert [column.format for column in table.columns] == [None, None, "#,##0.00"]

    @pytest.mark.parametrize("pattern", ["0", "#,##0.00", "0.0%", "¤#,##0", "0.###E0", "0.0 'kg'"])
    def test_number_patterns(self, pattern):
        assert (
            Metric.model_validate({"id": "x", "sql": "s", "columns": {"a": {"format": pattern}}})
            .columns["a"]
            .format
            == pattern
        )

    @pytest.mark.parametrize("pattern", ["", "x", "0 42", "0.0.0", "7", "0" * 50 + "x" * 50])
    def test_what_is_no_number_pattern(self, pattern):
        with pytest.raises(ValidationError):
            Metric.model_validate({"id": "x", "sql": "s", "columns": {"a": {"format": pattern}}})

    def test_the_only_column_has_the_id_of_the_metric(self, compute):
        facts = by_id(compute({"id": "fares", "sql": "SELECT sum(fare) AS total FROM flights"}))
        assert facts["fares"].value == Decimal("23.10")
        assert facts["fares"].label == "Total"

    def test_lineage_has_sql_parameters_and_hashes(self, compute, ref):
        lineage = compute(SCALAR).facts[0].lineage
        assert lineage.datasets == {"flights": ref.sha256}
        assert lineage.sql.startswith("SELECT count(*)")
        assert lineage.sql.endswith("-- $day = 2013-02-08")

    @pytest.mark.parametrize(
        ("expression", "value", "unit"),
        [
            ("0.1::DOUBLE + 0.2::DOUBLE", Decimal("0.30000000000000004"), "number"),
            ("'nan'::DOUBLE", None, "number"),
            ("-0.0::DOUBLE", Decimal(0), "number"),
            ("170141183460469231731687303715884105727::HUGEINT", 2**127 - 1, "number"),
            ("NULL::BIGINT", None, "number"),
            ("DATE '2013-02-08'", "2013-02-08", "date"),
            ("TIMESTAMPTZ '2013-02-08 05:00:00-05'", "2013-02-08T10:00:00+00:00", "date"),
            ("INTERVAL 90 MINUTE", Decimal(5400), "seconds"),
            ("true", "true", "text"),
            ("'UA' || chr(10) || chr(8238) || ' x'", "UA x", "text"),
        ],
    )
    def test_values(self, compute, expression, value, unit):
        (fact,) = compute({"id": "x", "sql": f"SELECT {expression} AS v"}).facts
        assert fact.value == value
        assert fact.unit == unit
        assert str(fact.value) != "-0.0"

    def test_a_number_declared_as_text_is_text(self, compute):
        metric = {"id": "x", "sql": "SELECT 1545 AS v", "columns": {"v": {"unit": "text"}}}
        assert compute(metric).facts[0].value == "1545"


class TestComparisons:
    def test_baseline_delta_and_percent_are_facts(self, compute):
        facts = by_id(compute(SCALAR, comparisons=(DAY_BEFORE, WEEK_BEFORE), period="{day}"))
        (day, week) = facts["day.flights"].comparisons
        assert (day.baseline, day.delta, day.percent, day.direction) == (2, 2, 1.0, "up")
        assert (week.baseline, week.delta, week.percent, week.direction) == (0, 4, None, "up")
        baseline = facts["day.flights.day_before"]
        assert (baseline.value, baseline.period, baseline.change) == (2, "2013-02-07", False)
        assert baseline.label == "Flights, the day before"
        delta, percent = facts["day.flights.day_before.delta"], facts["day.flights.day_before.percent"]
        assert (delta.value, delta.unit, delta.change, delta.kpi) == (2, "count", True, False)
        assert (percent.value, percent.unit, percent.change) == (1, "percent", True)
        assert facts["day.avg_delay.day_before.delta"].good == "down"

    def test_without_a_baseline_the_changes_exist_and_have_no_value(self, compute):
        facts = by_id(compute(SCALAR, comparisons=(WEEK_BEFORE,)))
        assert facts["day.flights.week_before.percent"].value is None
        assert facts["day.avg_delay.week_before"].value is None
        assert facts["day.avg_delay"].comparisons == ()

    def test_delta_is_exact_for_decimals(self, compute):
        sql = "SELECT sum(fare) AS v FROM flights WHERE day = $day"
        facts = by_id(compute({"id": "fares", "sql": sql}, comparisons=(DAY_BEFORE,)))
        assert facts["fares.day_before.delta"].value == Decimal("11.00") - Decimal("12.10")
        assert facts["fares"].comparisons[0].direction == "down"

    def test_only_those_that_the_metric_names(self, compute):
        facts = by_id(
            compute(SCALAR | {"compare": ["week_before"]}, comparisons=(DAY_BEFORE, WEEK_BEFORE))
        )
        assert "day.flights.week_before" in facts
        assert "day.flights.day_before" not in facts
        assert len(compute(SCALAR | {"compare": []}, comparisons=(DAY_BEFORE,)).facts) == 2

    def test_rows_are_compared_by_their_key(self, compute):
        facts = by_id(compute(BY_CARRIER, comparisons=(DAY_BEFORE,)))
        assert facts["by_carrier.UA.flights.day_before.delta"].value == 1
        assert facts["by_carrier.DL.flights.day_before"].value is None

    def test_texts_and_dates_are_not_compared(self, compute):
        metric = {
            "id": "x",
            "sql": "SELECT max(day) AS last, count(*) AS n FROM flights WHERE day = $day",
        }
        ids = set(by_id(compute(metric, comparisons=(DAY_BEFORE,))))
        assert ids == {
            "x.last",
            "x.n",
            "x.n.day_before",
            "x.n.day_before.delta",
            "x.n.day_before.percent",
        }


class TestTables:
    def test_a_row_a_key(self, compute):
        sheet = compute(BY_CARRIER)
        (table,) = sheet.tables
        facts = by_id(sheet)
        assert table.label == "Delays by carrier"
        assert [(c.name, c.key, c.unit) for c in table.columns] == [
            ("carrier", True, Unit.TEXT),
            ("flights", False, Unit.COUNT),
            ("delay", False, Unit.MINUTES),
        ]
        assert table.rows[0] == ("DL", "by_carrier.DL.flights", "by_carrier.DL.delay")
        assert table.rows[2][0] == "(none)"
        assert facts["by_carrier.DL.delay"].value is None
        assert facts["by_carrier.UA.delay"].value == Decimal("15.5")
        assert facts["by_carrier.UA.delay"].label == "Average delay — UA"

    def test_several_keys(self, compute):
        sql = "SELECT day, carrier, count(*) AS n FROM flights GROUP BY ALL ORDER BY day, carrier DESC"
        sheet = compute({"id": "t", "key": ["day", "carrier"], "sql": sql})
        assert sheet.tables[0].rows[0] == ("2013-02-07", "UA", "t.2013-02-07-UA.n")
        assert sheet.tables[0].columns[0].unit == "date"
        assert sheet.facts[0].label == "N — 2013-02-07, UA"

    def test_no_rows_is_an_empty_table(self, compute):
        sheet = compute(BY_CARRIER, parameters={"day": date(2020, 1, 1)})
        assert sheet.tables[0].rows == ()
        assert sheet.facts == ()

    def test_hostile_names_get_valid_unique_ids(self, compute):
        names = [
            "United Air",
            "United.Air",
            "United_Air",
            "Łódź",
            "中文",
            "",
            " ",
            "[[x]]",
            "ua",
            "UA",
            "a\u202eb",
        ]
        values = ", ".join(f"('{name}', {i})" for i, name in enumerate(names))
        sql = f"SELECT * FROM (VALUES {values}, (NULL, 99)) AS t(name, n)"
        sheet = compute({"id": "t", "key": ["name"], "sql": sql})
        facts = by_id(sheet)
        assert len(facts) == len(names) + 1
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", fact_id) for fact_id in facts)
        for row in sheet.tables[0].rows:
            assert facts[row[1]].label == f"N — {row[0]}"
            assert "\u202e" not in row[0]

    def test_a_long_name_is_cut(self, compute):
        sheet = compute({"id": "t", "key": ["k"], "sql": "SELECT repeat('x', 500) AS k, 1 AS n"})
        assert len(sheet.tables[0].rows[0][0]) == 120

    @given(
        st.lists(st.tuples(st.text(max_size=60), st.text(max_size=10)), unique=True, max_size=12),
        st.randoms(use_true_random=False),
    )
    def test_slugs_are_unique_valid_and_stable(self, keys, shuffler):
        slugs = row_slugs(keys)
        assert len({slug.lower() for slug in slugs.values()}) == len(keys)
        assert all(re.fullmatch(r"[A-Za-z0-9_-]+", slug) for slug in slugs.values())
        shuffled = list(keys)
        shuffler.shuffle(shuffled)
        assert row_slugs(shuffled) == slugs

    def test_a_row_named_like_the_digest_of_another(self):
        taken = row_slugs([("a b",), ("a_b",)])[("a b",)]
        assert len(set(row_slugs([("a b",), ("a_b",), (taken,)]).values())) == 3


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"sql": "SELECT nope FROM flights"}, ["'nope'", "carrier", "delay"]),
            ({"sql": "SELECT 1 AS x FROM flight"}, ["'flight'", "Tables that exist: flights"]),
            ({"sql": "SELECT $hour AS x"}, ["hour", "$day"]),
            ({"sql": "SELECT 1 AS a", "columns": {"b": {}}}, ["'b'", "It returns: a"]),
            ({"sql": "SELECT 1 AS a", "key": ["k"]}, ["'k'", "It returns: a"]),
            ({"sql": "SELECT 1 AS a WHERE false"}, ["no row"]),
            ({"sql": "SELECT range AS a FROM range(2)"}, ["2 rows", "key"]),
            ({"sql": "SELECT range AS a FROM range(201)"}, ["200 rows", "LIMIT"]),
            ({"sql": "SELECT 1 AS a, 2 AS b FROM range(2)", "key": ["a"]}, ["two rows", "'1'"]),
            ({"sql": "SELECT 1 AS a", "key": ["a"]}, ["no column besides its key"]),
            ({"sql": "SELECT 1 AS a, 2 AS a"}, ["'a'", "AS"]),
            ({"sql": 'SELECT 1 AS "中"'}, ["'中'", "AS"]),
            ({"sql": "SELECT [1] AS a"}, ["list", "'a'"]),
            ({"sql": "SELECT 'x' AS a", "columns": {"a": {"unit": "count"}}}, ["'a'", "'count'"]),
            ({"sql": "SELECT 1 AS a", "columns": {"a": {"unit": "date"}}}, ["'a'", "'date'"]),
            ({"sql": "SELECT 1 AS a", "compare": ["year_before"]}, ["'year_before'", "none"]),
        ],
    )
    def test_names_the_metric_and_the_way_out(self, compute, change, words):
        with pytest.raises(ConfigurationError) as caught:
            compute({"id": "trouble"} | change)
        for word in ["trouble", *words]:
            assert word in str(caught.value)

    def test_an_error_in_a_comparison_names_it(self, compute):
        sql = "SELECT range AS n FROM range(1 + ($day = DATE '2013-02-07')::INTEGER)"
        with pytest.raises(ConfigurationError, match="comparison 'day_before'"):
            compute({"id": "x", "sql": sql}, comparisons=(DAY_BEFORE,))

    def test_two_metrics_of_one_id(self, compute):
        with pytest.raises(ConfigurationError, match="'day'"):
            compute(SCALAR, SCALAR)

    def test_a_shift_of_no_date(self, compute):
        spec = ComparisonSpec(id="b", label="b", shift={"origin": -1})
        with pytest.raises(ConfigurationError, match=r"'origin', which is no date.*: day"):
            compute(SCALAR, comparisons=(spec,))

    @pytest.mark.parametrize(
        "wrong",
        [{"id": "a.b"}, {"id": ""}, {"idd": "x"}, {"key": ["a"], "columns": {"a": {"kpi": True}}}],
    )
    def test_malformed_declarations(self, wrong):
        with pytest.raises(ValidationError):
            Metric.model_validate({"id": "x", "sql": "SELECT 1"} | wrong)


class TestParameters:
    def test_texts_become_typed(self):
        declared = {"a": "date", "b": "datetime", "c": "int", "d": "float", "e": "str", "f": "bool"}
        given = {
            "a": "2013-02-08",
            "b": "2013-02-08T01:02:03Z",
            "c": " 7",
            "d": "1.5",
            "e": 5,
            "f": "True",
        }
        assert typed_parameters(declared, given) == {
            "a": date(2013, 2, 8),
            "b": datetime(2013, 2, 8, 1, 2, 3, tzinfo=UTC),
            "c": 7,
            "d": 1.5,
            "e": "5",
            "f": True,
        }

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("date", "08.02.2013"), ("date", None), ("int", "1.5"), ("int", True), ("float", "nan"),
            ("float", "x"), ("bool", "maybe"), ("str", None), ("datetime", ""),
        ],
    )  # fmt: skip
    def test_wrong_type_names_parameter_and_value(self, kind, value):
        with pytest.raises(ConfigurationError, match=r"'p' should be .*"):
            typed_parameters({"p": kind}, {"p": value})

    def test_unknown_and_missing_list_what_exists(self):
        with pytest.raises(ConfigurationError, match=r"no parameter 'dya'.*day"):
            typed_parameters({"day": "date"}, {"dya": "x"})
        with pytest.raises(ConfigurationError, match="'day' has no value"):
            typed_parameters({"day": "date"}, {})

    def test_period(self):
        assert period_text("week to {day}", DAY) == "week to 2013-02-08"
        assert period_text("2013", DAY) == "2013"
        assert period_text(None, DAY) is None
        for wrong in ("{night}", "{day", "{}"):
            with pytest.raises(ConfigurationError, match="Parameters: day"):
                period_text(wrong, DAY)


class TestCsv:
    def test_facts_with_their_comparisons(self, compute):
        sheet = compute(SCALAR, BY_CARRIER, comparisons=(DAY_BEFORE,), period="{day}")
        singles, cells = facts_csv(sheet, (DAY_BEFORE,)).split("\n\n")
        rows = list(csv.DictReader(io.StringIO(singles)))
        assert list(rows[0]) == [
            "id", "label", "value", "unit", "good", "period",
            "day_before", "day_before.delta", "day_before.percent",
        ]  # fmt: skip
        assert [row["id"] for row in rows] == ["day.flights", "day.avg_delay"]
        assert list(rows[1].values()) == [
            "day.avg_delay", "Average delay", "11.7", "minutes", "down", "2013-02-08",
            "3", "8.7", "2.889",
        ]  # fmt: skip
        values = {fact.id: fact.value for fact in sheet.facts}
        for row in csv.DictReader(io.StringIO(cells)):
            for column, value in row.items():
                if column not in {"id", "carrier"}:
                    said = values.pop(f"{row['id']}.{column}")
                    assert float(value or "nan") == pytest.approx(
                        float("nan" if said is None else said), rel=1e-3, nan_ok=True
                    )
        assert not {fact_id for fact_id in values if fact_id.startswith("by_carrier.")}

    def test_empty_cells_at_the_end_are_left_out(self, compute):
        sheet = compute({"id": "x", "sql": "SELECT 1 AS a, 2 AS b", "columns": {"a": {"good": "up"}}})
        assert facts_csv(sheet).splitlines()[1:] == ["x.a,A,1,,up", "x.b,B,2"]

    def test_a_row_says_its_key_where_its_id_does_not(self, compute):
        sql = "SELECT unnest(['Rome', 'São Paulo', 'a,b']) AS city, unnest([1, 2, 3]) AS n"
        metric = {"id": "by_city", "sql": sql, "key": ["city"]}
        assert facts_csv(compute(metric)).split("\n\n")[1].splitlines() == [
            "id,city,n", "by_city.Rome,Rome,1", "by_city.Sao_Paulo,São Paulo,2", 'by_city.a_b,"a,b",3',
        ]  # fmt: skip
        metric["sql"] += " LIMIT 1"
        assert facts_csv(compute(metric)).split("\n\n")[1] == "id,n\nby_city.Rome,1\n"

    @pytest.mark.parametrize("column", ["id", "the n"])
    def test_a_table_whose_ids_do_not_follow_from_its_columns_is_told_cell_by_cell(
        self, compute, column
    ):
        metric = {"id": "t", "sql": f"""SELECT 'x' AS k, 1 AS "{column}" """, "key": ["k"]}
        sheet = compute(metric)
        assert facts_csv(sheet).splitlines()[1:] == [f"{sheet.facts[0].id},{sheet.facts[0].label},1"]

    def test_digits_are_those_that_a_reader_is_shown(self, compute):
        sql = "SELECT 1234567890.123456 AS a, 0.000123456789::DOUBLE AS b, 0.23456789::DOUBLE AS c"
        metric = {"id": "x", "sql": sql, "columns": {"c": {"unit": "percent", "decimals": 1}}}
        sheet = compute(metric)
        values = [row["value"] for row in csv.DictReader(io.StringIO(facts_csv(sheet)))]
        assert values == ["1234567890", "0.0001235", "0.235"]
        assert sheet.facts[2].value == Decimal("0.23456789")

    def test_cells_are_quoted(self, compute):
        text = facts_csv(compute({"id": "x", "sql": """SELECT 'a,"b"' AS v"""}))
        assert text.splitlines()[1] == 'x,V,"a,""b""",text'

    def test_tables(self, compute):
        assert tables_csv(compute(SCALAR, BY_CARRIER)).splitlines() == [
            "table,label,column,role,unit,good,heading,period",
            "by_carrier,Delays by carrier,carrier,key,text,,Carrier",
            "by_carrier,,flights,fact,count,,Flights",
            "by_carrier,,delay,fact,minutes,,Average delay",
        ]

    def test_a_sheet_survives_json(self, compute):
        sheet = compute(SCALAR, BY_CARRIER, comparisons=(DAY_BEFORE,))
        again = FactSheet.model_validate_json(sheet.model_dump_json())
        assert [fact.id for fact in again.facts] == [fact.id for fact in sheet.facts]
        assert facts_csv(again, (DAY_BEFORE,)) == facts_csv(sheet, (DAY_BEFORE,))

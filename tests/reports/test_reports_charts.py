import struct

import pytest

from kimi_provider.exceptions import RenderError
from kimi_provider.reports import vega
from kimi_provider.reports.brand import Brand
from kimi_provider.reports.charts import draw
from kimi_provider.reports.format import Formatter
from kimi_provider.schemas import ChartRequest


@pytest.fixture
def drawn(make):
    def run(rows, kind="bar", *, y="avg_delay", table="t", **options):
        sheet = make.sheet((), [make.table("t", rows, **options)])
        request = ChartRequest(title="Delay", kind=kind, table=table, x="carrier", y=y)
        tables = {t.id: t for t in sheet.tables}
        facts = {f.id: f for f in sheet.facts}
        return draw(request, tables, facts, title="Delay", formatter=Formatter(), brand=Brand())

    return run


@pytest.mark.parametrize("kind", ["bar", "line"])
@pytest.mark.parametrize(
    "rows",
    [
        [("Envoy", 30), ("Delta", -22.8), ("Mesa", None)],
        [("Only", 5)],
        [("Same", 5), ("Same", 5)],
        [("all", 0), ("zero", 0)],
        [(f"2013-01-{day:02}", day) for day in range(1, 32)],
        [(str(hour), hour * hour) for hour in range(24)],
        [(f"{hour:02}:00", None if hour > 16 else hour) for hour in range(24)],
        [("<script>alert(1)</script>" + "x" * 300, 1e18), ("شركة", -1e9), ("", 3)],
    ],
)
def test_a_chart_is_a_png_of_double_density(drawn, rows, kind):
    picture = drawn(rows, kind).picture
    assert picture.png.startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.png.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", picture.png[16:24])
    assert (picture.width, width) == (592, 1184)
    assert abs(height / 2 - picture.height) <= 1
    assert 60 < picture.height < 700


def test_the_caption_says_what_the_chart_shows(drawn):
    chart = drawn(
        [("Delta Inc.", 22.8), ("Envoy", 30), ("Alaska", -6), ("Hawaiian", -6), ("Mesa", None)]
    )
    assert chart.caption == (
        "Highest: Envoy, 30.0 min; lowest: Alaska and 1 more, \N{MINUS SIGN}6.0 min; no value for Mesa."
    )
    assert chart.alt == "Bar chart: Delay"


def test_many_bars_are_cut_and_said_to_be(drawn):
    chart = drawn([(f"Carrier {i}", i) for i in range(400)])
    assert "shown are 15 of 400" in chart.caption


def test_bars_over_time_keep_their_order(drawn):
    by_time = drawn([("05:00", 1), ("06:00", 9), ("07:00", 4)])
    by_name = drawn([("a", 1), ("b", 9), ("c", 4)])
    assert by_time.picture.height > 200
    assert by_name.picture.height < 200


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (0, 1, [0, 0.5, 1]),
        (-6, 38.1, [0, 20]),
        (0, 0, [0]),
        (-100, 0, [-100, -50, 0]),
        (0, 9e17, [0, 5e17]),
        (0, 35, [0, 10, 20, 30]),
    ],
)
def test_the_axis_ends_where_the_values_end(lowest, highest, expected):
    assert vega.round_steps(lowest, highest) == pytest.approx(expected)


def test_numbers_as_names_are_told_by_their_column(drawn):
    caption = drawn([("16", 0.9), ("17", 1.0)], "line", unit="percent").caption
    assert caption == "Highest: Carrier 17, 100%; lowest: Carrier 16, 90.0%."


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "no values"),
        ([("a", None)], {}, "no values"),
        ([("a", "text")], {"unit": "text"}, "no numbers"),
        ([("a", 1)], {"y": "nope"}, "no column 'nope'"),
        ([("a", 1)], {"table": "nope"}, "no table 'nope'"),
        ([("a", 1)], {"y": "carrier"}, "no figures 'carrier'"),
        ([(str(i), i) for i in range(61)], {}, "do not fit"),
    ],
)
def test_a_chart_that_cannot_be_says_why(drawn, rows, options, message):
    with pytest.raises(RenderError, match=message):
        drawn(rows, **options)

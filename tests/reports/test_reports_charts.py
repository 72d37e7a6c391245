import json
import re
import struct
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_provider.exceptions import ConfigurationError, RenderError
from kimi_provider.reports import vega
from kimi_provider.reports.brand import Brand
from kimi_provider.reports.chart_data import in_order
from kimi_provider.reports.chart_groups import counted
from kimi_provider.reports.charts import draw, spark
from kimi_provider.reports.colors import contrast, lightness
from kimi_provider.reports.format import Formatter
from kimi_provider.schemas import ChartRequest, TableColumn


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


@pytest.mark.parametrize("kind", ["line", "bar"])
def test_what_has_no_value_is_told_by_its_ends(drawn, kind):
    known = {4, 5, 6, 9, 12}
    caption = drawn([(f"{hour:02}:00", hour if hour in known else None) for hour in range(4, 16)], kind)
    assert caption.caption.endswith("no value for 07:00, 08:00, 10:00, 11:00, 13:00 \N{EN DASH} 15:00.")


def test_names_without_an_order_are_all_told(drawn):
    caption = drawn([("a", 1), ("b", None), ("c", None), ("d", None)]).caption
    assert caption.endswith("no value for b, c, d.")


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


# --- the other kinds ------------------------------------------------------------------------------


@pytest.fixture
def crossed(make):
    """Draw a chart of a table with two columns of names."""

    def run(rows, kind, *, series=None, keys=("carrier", "part"), period=None, brand=None, unit="count"):
        table, facts = make.table("t", [(name, value) for name, _, value in rows], unit=unit)
        second = TableColumn(name=keys[1], label=keys[1].capitalize(), unit="text", key=True)
        head = table.columns[0].model_copy(update={"name": keys[0], "label": keys[0].capitalize()})
        table = table.model_copy(
            update={
                "columns": (head, second, *table.columns[1:]),
                "rows": tuple(
                    (row[0], part, *row[1:]) for row, (_, part, _) in zip(table.rows, rows, strict=True)
                ),
            }
        )
        request = ChartRequest(title="T", kind=kind, table="t", x=keys[0], y="avg_delay", series=series)
        by_id = {fact.id: fact for fact in facts}
        return draw(
            request, {"t": table}, by_id, title="T", formatter=Formatter(), brand=brand or Brand(),
            period=period,
        )  # fmt: skip

    return run


GRID = [(f"{hour:02}:00", day, hour + at) for at, day in enumerate(("Mon", "Tue")) for hour in range(6)]


@pytest.mark.parametrize("kind", ["stacked_bar", "heatmap", "slope", "line", "bar"])
def test_two_names_are_drawn_by_every_kind_that_can(crossed, kind):
    chart = crossed(GRID, kind, series="part")
    width, height = struct.unpack(">II", chart.picture.png[16:24])
    assert (chart.picture.width, width) == (592, 1184)
    assert abs(height / 2 - chart.picture.height) <= 1
    assert chart.caption.endswith(".")
    assert chart.alt.endswith(": T")


@pytest.mark.parametrize("kind", ["stacked_bar", "heatmap"])
def test_the_only_other_name_splits_by_itself(crossed, kind):
    by_itself, told = crossed(GRID, kind), crossed(GRID, kind, series="part")
    assert by_itself.picture == told.picture
    assert "Highest: 05:00, Tue, 6; lowest: 00:00, Mon, 0." in by_itself.caption


@pytest.mark.parametrize(
    ("rows", "kind", "options", "message"),
    [
        (GRID, "heatmap", {"series": "nope"}, "no column 'nope'"),
        (GRID, "heatmap", {"series": "avg_delay"}, "cannot split table 't'; it may be: part"),
        (GRID, "stacked_bar", {"series": "carrier"}, "cannot split"),
        ([*GRID, GRID[0]], "heatmap", {}, "fall into one cell"),
        ([(str(i), "a", i) for i in range(61)], "heatmap", {}, "61 by 1 cells do not fit"),
        ([(str(i), "a", i) for i in range(61)], "stacked_bar", {}, "do not fit"),
        ([("1", str(i), i) for i in range(9)] * 2, "line", {}, "9 lines cannot be told apart"),
        ([("a", "b", 1)], "slope", {}, "no baselines"),
        ([("a", "b", 1)], "slope", {"series": "part"}, "there is only one"),
    ],
)
def test_a_chart_of_two_names_that_cannot_be_says_why(crossed, rows, kind, options, message):
    with pytest.raises(RenderError, match=message):
        crossed(rows, kind, **options)


@pytest.mark.parametrize("kind", ["stacked_bar", "heatmap"])
def test_one_column_of_names_is_not_enough_and_says_so(drawn, kind):
    with pytest.raises(RenderError, match="needs a series, a second column of names; there are: none"):
        drawn([("a", 1)], kind)


@pytest.fixture
def seen(monkeypatch):
    """What is given to the chart library."""
    given_to = []
    png = vega.png

    def spy(marks, *rest, **options):
        given_to.append(marks)
        return png(marks, *rest, **options)

    monkeypatch.setattr(vega, "png", spy)
    return given_to


def test_more_parts_than_colors_become_others(crossed, seen):
    crossed([(name, f"p{at}", at + 1) for name in "ab" for at in range(9)], "stacked_bar")
    (marks,) = seen
    parts = marks["encoding"]["color"]["scale"]["domain"]
    assert parts[-1] == "others (3)"
    assert len(parts) == 7
    # 1 + 2 + 3, the smallest parts, of each of the two.
    assert [row["v"] for row in marks["data"]["values"] if row["s"] == "others (3)"] == [6.0, 6.0]


def test_a_slope_leads_from_the_baseline_to_the_value(make):
    table, facts = make.table("t", [("Envoy", 30), ("Delta", 10), ("Mesa", None)])
    before = make.comparison(12, 18)
    facts[0] = facts[0].model_copy(update={"comparisons": (before,)})
    request = ChartRequest(title="T", kind="slope", table="t", x="carrier", y="avg_delay")
    chart = draw(
        request, {"t": table}, {f.id: f for f in facts}, title="T", formatter=Formatter(), brand=Brand()
    )
    assert chart.caption == ("Changed most: Envoy, from 12.0 min to 30.0 min; no value for Delta, Mesa.")


def test_a_distribution_counts_the_rows_by_ranges(drawn):
    chart = drawn([(f"r{i}", value) for i, value in enumerate([1, 2, 2, 3, 11, 19])], "distribution")
    assert chart.caption == "6 values from 1.0 min to 19.0 min; 4 of them lie from 0 to 5."
    same = drawn([("a", 4), ("b", 4)], "distribution")
    assert same.caption == "2 values, all 4.0 min."


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=300))
def test_every_value_falls_into_one_range(values):
    ranges = counted(values)
    assert sum(number for _, _, number in ranges) == len(values)
    assert len(ranges) <= 25
    slack = (ranges[0][1] - ranges[0][0]) / 1e6
    assert ranges[0][0] <= min(values) + slack
    assert max(values) - slack <= ranges[-1][1]
    for (_, end, _), (start, _, _) in pairwise(ranges):
        assert end == start


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("2013-02-02", "Feb 2, 2013 (marked): 2. Highest: "),
        ("2013-01-31", "Jan 31, 2013 (marked): 9, the highest; lowest: Feb 1, 2013, 1."),
        ("2013-02-01", "Feb 1, 2013 (marked): 1, the lowest; highest: Jan 31, 2013, 9."),
        ("2013-02", "Highest: "),
        ("2013-02-01 to 2013-02-02", "Highest: "),
        ("2014-01-01", "Highest: "),
        (None, "Highest: "),
    ],
)
def test_the_period_is_marked_and_said(drawn_over_days, period, said):
    chart, bands = drawn_over_days(period)
    assert chart.caption.startswith(said)
    covered = {"2013-02": 3, "2013-02-01 to 2013-02-02": 2}.get(period, len(said) > len("Highest: "))
    assert bands == covered


def test_the_mark_of_a_period_takes_no_room_from_the_line(drawn_over_days, monkeypatch):
    vl_convert = pytest.importorskip("vl_convert")
    specs, draw_spec = [], vega._drawn

    def spy(spec, scale):
        specs.append(spec)
        return draw_spec(spec, scale)

    monkeypatch.setattr(vega, "_drawn", spy)
    for period in (None, "2013-01-31"):
        drawn_over_days(period)
    plots = [re.search(r"translate\(([\d.]+),([\d.]+)\)", vl_convert.vegalite_to_svg(s)) for s in specs]
    without, marked = (float(plot[2]) for plot in plots)
    assert marked <= without + 1


@pytest.fixture
def drawn_over_days(make, seen):
    def run(period):
        days = ["2013-01-31", "2013-02-01", "2013-02-02", "2013-02-03"]
        table, facts = make.table(
            "t", list(zip(days, (9, 1, 2, 3), strict=True)), unit="count", key_unit="date"
        )
        request = ChartRequest(title="T", kind="line", table="t", x="carrier", y="avg_delay")
        chart = draw(
            request, {"t": table}, {f.id: f for f in facts}, title="T", formatter=Formatter(),
            brand=Brand(), period=period,
        )  # fmt: skip
        rows = seen[-1]["data"]["values"]
        assert [row["n"] for row in rows] == ["Jan 31", "Feb 1", "Feb 2", "Feb 3"]
        return chart, sum(row["period"] for row in rows)

    return run


def test_axes_are_numbered_as_the_locale_writes(make, seen):
    table, facts = make.table("t", [("1", 0.1), ("2", 1.1)], unit="number")
    request = ChartRequest(title="T", kind="line", table="t", x="carrier", y="avg_delay")
    by_id = {fact.id: fact for fact in facts}
    draw(request, {"t": table}, by_id, title="T", formatter=Formatter("pl"), brand=Brand())
    axis = seen[0]["encoding"]["y"]["axis"]
    assert axis["values"] == [0, 0.5, 1]
    assert json.loads(axis["labelExpr"].partition("]")[0] + "]") == ["0", "0,5", "1"]


@pytest.mark.parametrize("values", [(1361, 1300, 1248), (9, 5, 0), (-1, -4, -9)])
def test_a_label_under_the_last_point_stands_above_the_names(drawn, seen, values):
    drawn([(f"{hour:02}:00", value) for hour, value in enumerate(values)], "line", unit="count")
    (marks,) = seen
    (last,) = (row for row in marks["data"]["values"] if row["top"] and row["under"])
    low, high = marks["encoding"]["y"]["scale"]["domain"]
    assert (last["v"] - low) / (high - low) > 0.1


def test_a_trend_is_a_small_picture_of_double_density():
    picture = spark([1, 5, 2, 9], Brand())
    width, height = struct.unpack(">II", picture.png[16:24])
    assert (picture.width, picture.height, width, height) == (240, 40, 480, 80)


# --- colors ---------------------------------------------------------------------------------------

ACCENTS = ["#1d4f91", "#b3261e", "#0b7a4b", "#f2c200", "#111111", "#7a3ea1", "#ffffff"]
# Brettel's and Viénot's matrices, as Machado 2009 prints them for full dichromacy, in linear light.
BLIND = {
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def _seen_by(color, matrix):
    light = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    light = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in light]
    return [min(1, max(0, sum(m * v for m, v in zip(row, light, strict=True)))) for row in matrix]


@pytest.mark.parametrize("accent", ACCENTS)
def test_series_are_told_apart_in_greyscale(accent):
    series = Brand(accent=accent).series
    assert series[0] == Brand(accent=accent).mark
    assert len(series) >= 5
    for one, other in combinations(series, 2):
        assert abs(lightness(one) - lightness(other)) >= 7


@pytest.mark.parametrize("blindness", BLIND)
def test_series_are_told_apart_without_a_kind_of_cone(blindness):
    for one, other in combinations(Brand().series, 2):
        pairs = zip(_seen_by(one, BLIND[blindness]), _seen_by(other, BLIND[blindness]), strict=True)
        assert sum((a - b) ** 2 for a, b in pairs) ** 0.5 > 0.03, (one, other)


@pytest.mark.parametrize("accent", ACCENTS)
def test_a_brand_is_readable_whatever_its_color(accent):
    brand = Brand(accent=accent)
    assert contrast(brand.accent_text, "#ffffff") >= 4.5
    assert contrast(brand.mark, "#ffffff") >= 3
    assert contrast(brand.on_accent, accent) >= 4.5
    shades = [lightness(color) for color in brand.scale]
    assert shades == sorted(shades, reverse=True)
    assert shades[0] - shades[-1] > 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accent": "blue"}, "'blue' is not a color"),
        ({"colors": ("#12345",)}, "'#12345' is not a color"),
        ({"colors": ("#0072b2", "#d55e00", "#009e73")}, "equally light"),
        ({"colors": tuple(f"#{at * 16:02x}0000" for at in range(7))}, "7 colors"),
        ({"font": "Inter'; } body {"}, "is not the name of one font family"),
    ],
)
def test_a_brand_that_cannot_be_says_why(options, message):
    with pytest.raises(ConfigurationError, match=message):
        Brand(**options)


def test_a_logo_is_measured_and_shown_small(tmp_path):
    png = spark([1, 2], Brand()).png
    for logo in (png, tmp_path / "logo.png", str(tmp_path / "logo.png")):
        (tmp_path / "logo.png").write_bytes(png)
        picture = Brand(logo=logo).picture
        assert (picture.width, picture.height, picture.media_type) == (240, 40, "image/png")
    gif = b"GIF89a" + struct.pack("<HH", 20, 10) + b"rest"
    assert Brand(logo=gif).picture.media_type == "image/gif"
    jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 80, 40) + b"\x03" * 9
    shown = Brand(logo=jpeg).picture
    assert (shown.width, shown.height, shown.media_type) == (20, 40, "image/jpeg")
    for wrong in (b"<svg/>", b"\xff\xd8\xff", b""):
        with pytest.raises(ConfigurationError, match="no PNG, JPEG or GIF"):
            _ = Brand(logo=wrong).picture
    with pytest.raises(ConfigurationError, match="200,000"):
        _ = Brand(logo=png + bytes(200_000)).picture


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10", "9", "10"], ["9", "10"]),
        (["Sunday", "Monday", "friday"], ["Monday", "friday", "Sunday"]),
        (["Tue", "Mon"], ["Mon", "Tue"]),
        (["Sunrise", "Monaco"], ["Sunrise", "Monaco"]),
        (["EWR", "JFK", "EWR"], ["EWR", "JFK"]),
    ],
)
def test_names_with_an_order_of_their_own_are_put_into_it(names, ordered):
    assert in_order(names) == ordered


def test_lines_are_seen_on_white_and_told_apart_by_dashes(crossed, seen):
    rows = [(str(hour), f"p{part}", hour + part) for part in range(5) for hour in range(4)]
    crossed(rows, "line", series="part")
    marks = seen[0]["layer"][-1]["encoding"]
    assert all(contrast(color, "#ffffff") >= 3 for color in marks["color"]["scale"]["range"])
    dashes = [tuple(dash) for dash in marks["strokeDash"]["scale"]["range"]]
    assert len(set(dashes)) == 5

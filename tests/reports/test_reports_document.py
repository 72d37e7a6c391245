from datetime import UTC, datetime

import pytest

from kimi_provider.exceptions import ConfigurationError, RenderError
from kimi_provider.reports.brand import Brand, contrast
from kimi_provider.reports.compose import Frame, compose
from kimi_provider.reports.fit import Length, fitted
from kimi_provider.reports.format import Formatter
from kimi_provider.reports.prose import Prose
from kimi_provider.schemas import ChartRequest

NOW = datetime(2013, 2, 9, 11, 0, tzinfo=UTC)


@pytest.fixture
def composed():
    def run(analysis, sheet, subject=None, **options):
        formatter = Formatter(**options)
        prose = Prose({fact.id: fact for fact in sheet.facts}, formatter)
        document = compose(analysis, sheet, prose, Frame("Brief", subject, NOW))
        return fitted(document, formatter, Length(rows=3))

    return run


@pytest.mark.parametrize(
    ("delta", "unit", "good", "expected"),
    [
        (8.36, "minutes", "down", ("▲", "+8.4 min", "", "worse than the day before", "bad")),
        (-8.36, "minutes", "down", ("▼", "-8.4 min", "", "better than the day before", "good")),
        (8.36, "minutes", None, ("▲", "+8.4 min", "", "up from the day before", "neutral")),
        (-2, "count", None, ("▼", "-2", "(-20.0%)", "down from the day before", "neutral")),
        (0.042, "percent", "up", ("▲", "+4.2 pp", "", "better than the day before", "good")),
        (0.0001, "minutes", "down", ("=", "0.0 min", "", "same as the day before", "neutral")),
        (0, "count", "down", ("=", "0", "", "same as the day before", "neutral")),
        (500, "count", "up", ("▲", "+500", "", "better than the day before", "good")),
    ],
)
def test_a_change_has_arrow_sign_and_word(make, composed, delta, unit, *, good, expected):
    fact = make.fact("x", 10, unit, good=good, kpi=True, comparisons=[make.comparison(10, delta)])
    (change,) = composed(make.analysis(), make.sheet([fact])).cards[0].changes
    share = f"({change.share})" if change.share else ""
    seen = (change.arrow, change.amount, share, change.words, change.tone)
    assert tuple(text.replace("\N{MINUS SIGN}", "-") for text in seen) == expected


def test_cards_are_the_single_key_figures(storm, composed):
    document = composed(*storm)
    assert [(card.label, card.value) for card in document.cards] == [
        ("Flights", "930"),
        ("Average delay", "14.9 min"),
        ("Cancelled", "50.8%"),
    ]


def test_key_figures_beyond_the_cards_are_not_lost(make, composed):
    sheet = make.sheet([make.fact(f"k{i}", i, "count", label=f"Key {i}", kpi=True) for i in range(8)])
    document = composed(make.analysis(), sheet)
    assert len(document.cards) == 6
    assert document.tables[0].rows == (("Key 6", "6"), ("Key 7", "7"))


def test_findings_come_worst_first(storm, composed):
    document = composed(*storm)
    assert [(f.level, f.title) for f in document.findings] == [("Critical", "Worst"), ("Info", "Calm")]
    assert document.level == "Critical"


def test_long_and_wide_tables_are_cut_and_say_so(make, composed):
    columns = tuple(f"c{i}" for i in range(60))
    table = make.table("t", [(f"r{i}", *range(60)) for i in range(10)], columns=columns, unit="count")
    (block,) = composed(make.analysis(), make.sheet((), [table])).tables
    assert len(block.rows) == 3
    assert {len(row) for row in block.rows} == {6}
    assert block.more == "and 7 more; columns not shown: 55; all of it in t.csv"


@pytest.mark.parametrize("key_unit", ["date", "text"])
@pytest.mark.parametrize("order", [1, -1])
def test_of_rising_days_the_latest_are_shown(make, composed, key_unit, order):
    days = [f"2013-02-{day:02}" for day in range(1, 9)][::order]
    table = make.table("t", [(day, at) for at, day in enumerate(days)], unit="count", key_unit=key_unit)
    (block,) = composed(make.analysis(), make.sheet((), [table])).tables
    latest = key_unit == "date" and order == 1
    assert [row[1] for row in block.rows] == (["5", "6", "7"] if latest else ["0", "1", "2"])
    assert block.more == f"and 5 more{' (earlier)' if latest else ''}; all of it in t.csv"


def test_columns_are_as_wide_as_what_they_hold(make, composed):
    rows = [("Société Générale", 1, 2), ("Delta", 3, 4)]
    table = make.table("t", rows, columns=("n", "a_long_precipitation"), unit="count")
    (block,) = composed(make.analysis(), make.sheet((), [table])).tables
    name, short, long = block.widths
    assert name > long > short
    assert sum(block.widths) in range(98, 103)


def test_a_table_says_its_units_once_and_its_nulls(make, composed):
    table = make.table("t", [("Mesa", None), ("", -6)])
    (block,) = composed(make.analysis(), make.sheet((), [table])).tables
    assert [(h.label, h.unit) for h in block.headings] == [("Carrier", ""), ("avg delay", "min")]
    assert block.rows == (("Mesa", "n/a"), ("(no name)", "\N{MINUS SIGN}6.0"))


def test_tables_beyond_the_bound_are_noted(make, composed):
    tables = [make.table(f"t{i}", [("a", i)]) for i in range(14)]
    document = composed(make.analysis(), make.sheet((), tables))
    assert len(document.tables) == 12
    assert document.notes == ("Tables not shown: 2.",)


@pytest.mark.parametrize(
    ("template", "period", "expected"),
    [
        (None, "2013-02-08", "Brief — Feb 8, 2013: Half cancelled"),
        (None, None, "Brief: Half cancelled"),
        ("[{level}] {headline} {title.__class__}", None, "[Info] Half cancelled {title.__class__}"),
    ],
)
def test_subject(make, composed, template, period, expected):
    document = composed(make.analysis(headline="Half\ncancelled", period=period), make.sheet(), template)
    assert document.subject == expected


def test_subject_is_one_bounded_line(make, composed):
    document = composed(make.analysis(headline="x\r\nBcc: y " * 100), make.sheet())
    assert len(document.subject) <= 150
    assert document.subject.isprintable()


def test_a_wrong_subject_field_is_named(make, composed):
    with pytest.raises(ConfigurationError, match=r"\{date\}.*\{title\}, \{period\}, \{when\}"):
        composed(make.analysis(), make.sheet(), "{date}")


def test_a_table_over_a_missing_fact_fails(make, composed):
    table, _ = make.table("t", [("a", 1)])
    with pytest.raises(RenderError, match=r"'t' names the fact 't.0.avg_delay'"):
        composed(make.analysis(), make.sheet((), [(table, [])]))


def test_provenance_says_who_wrote_and_from_what(storm, composed):
    analysis, sheet = storm
    provenance = composed(analysis, sheet, timezone="Europe/Warsaw").provenance
    assert provenance.model == "kimi-k3"
    assert provenance.sources == "8 figures from flights (3f2a91bc)"
    assert provenance.cost == "$0.0123"
    assert provenance.generated == "Feb 9, 2013, 12:00 PM CET"
    simulated = composed(analysis.model_copy(update={"simulated": True}), sheet).provenance
    assert (simulated.model, simulated.cost) == (
        "the simulator (kimi-k3)",
        "nothing was charged (simulator)",
    )


@pytest.mark.parametrize("accent", ["#1d4f91", "#ffff00", "#000000", "#ffffff", "#e63946"])
def test_any_brand_color_reads(accent):
    brand = Brand(accent=accent)
    assert contrast(brand.accent_text, "#ffffff") >= 4.5
    assert contrast(brand.on_accent, accent) >= 4.5 or accent == "#e63946"


def test_a_brand_color_must_be_one():
    with pytest.raises(ConfigurationError, match="#rrggbb"):
        Brand(accent="red;}body{display:none")


def test_each_cited_figure_leads_to_its_query_in_titles_of_charts_too(make, composed):
    facts = [make.fact("a", 10, label="A"), make.fact("b", 0.5, "percent", label="B")]
    charts = [ChartRequest(title="Of [[b]]", kind="bar", table="t", x="x", y="y")]
    analysis = make.analysis(
        headline="No figure", summary="It is [[a]]. So be it.", findings=(), charts=charts
    )
    document = composed(analysis, make.sheet(facts))
    notes = [
        (note.number, note.sentence, [(f.label, f.value, f.query) for f in note.figures])
        for note in document.footnotes
    ]
    assert notes == [(1, "It is 10.", [("A", "10", 1)]), (2, "Of 50.0%", [("B", "50.0%", 1)])]
    assert [query.sql for query in document.queries] == [facts[0].lineage.sql]

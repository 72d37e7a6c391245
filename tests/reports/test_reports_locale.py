import re
from datetime import UTC, date, datetime
from decimal import Decimal
from string import Formatter as Fields

import pytest

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.reports.format import Formatter, Style
from kimi_provider.reports.text import clipped, isolated
from kimi_provider.reports.words import LANGUAGES, form, words
from kimi_provider.schemas import Finding, Unit

NOW = datetime(2013, 2, 9, 11, 0, tzinfo=UTC)
ISOLATES = str.maketrans("", "", "\u2066\u2067\u2068\u2069\u200e")


def fields(text):
    return {name for _, name, _, _ in Fields().parse(text) if name}


def base(name):
    return name.rpartition(".")[0] or name


def test_every_word_is_there_in_every_language_with_the_same_fields():
    english = LANGUAGES["en"]
    plain = {name for name in english if "." not in name}
    for language, spoken in LANGUAGES.items():
        assert {name for name in spoken if "." not in name} == plain, language
        for name, text in spoken.items():
            asked = fields(english[base(name)])
            # "one" may say so in words.
            assert fields(text) == asked or ("." in name and fields(text) < asked), (language, name)
            assert text.strip(), (language, name)


def test_polish_is_not_left_in_english():
    same = {n for n, text in LANGUAGES["pl"].items() if text == LANGUAGES["en"].get(n)}
    figures_only = {n for n in same if not re.sub(r"\{\w+\}", "", LANGUAGES["pl"][n]).strip(" :,()")}
    assert {base(name) for name in same - figures_only} <= {"sparkline", "dag", "alerts_count"}


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, "i 1 kolejny"), (2, "i 2 kolejne"), (12, "i 12 kolejnych"), (22, "i 22 kolejne"),
     (214, "i 214 kolejnych"), (1234, "i 1\N{NO-BREAK SPACE}234 kolejne")],
)  # fmt: skip
def test_polish_counts_as_poles_do(number, expected):
    assert Formatter("pl").counted("more_rows", number) == expected


def test_a_fraction_has_a_form_of_its_own():
    polish = words("pl")
    assert form(polish, "percentage_points", Decimal("4.2")) == "punktu procentowego"
    points = Formatter("pl").number(
        Decimal("0.05"), Unit.PERCENT, decimals=0, style=Style.PROSE, points=True
    )
    assert points == "5 punktów procentowych"


@pytest.mark.parametrize(
    ("text", "english", "polish"),
    [
        ("2013-02-09", "today", "dziś"),
        ("2013-02-08", "yesterday", "wczoraj"),
        ("2013-02-07", "the day before yesterday", "przedwczoraj"),
        ("2013-02-10", "tomorrow", "jutro"),
        ("2013-02-05", "4 days ago", "4 dni temu"),
        ("2013-W05", "last week", "w zeszłym tygodniu"),
        ("2013-W04", "", ""),
        ("2012-02-09", "", ""),
        ("the storm", "", ""),
    ],
)
def test_relative_days(text, english, polish):
    assert Formatter("en").relative(text, NOW) == english
    assert Formatter("pl").relative(text, NOW) == polish


def test_today_is_the_zones():
    late = datetime(2013, 2, 9, 23, 30, tzinfo=UTC)
    assert Formatter("en", "UTC").relative("2013-02-09", late) == "today"
    assert Formatter("en", "Europe/Warsaw").relative("2013-02-09", late) == "yesterday"


@pytest.mark.parametrize(
    ("text", "english", "polish"),
    [
        ("2013-02-08", "Friday, February 8, 2013", "piątek, 8 lutego 2013"),
        (
            "2013-W06",
            "week 6 of 2013 (Feb 4 \N{EN DASH} 10, 2013)",
            "tydzień 6, 2013 (4\N{EN DASH}10 lut 2013)",
        ),
        ("2013-02", "February 2013", "luty 2013"),
        ("2013-02-01/2013-02-07", "Feb 1 \N{EN DASH} 7, 2013", "1\N{EN DASH}7 lut 2013"),
        ("2013-W99", "2013-W99", "2013-W99"),
        ("2013-13", "2013-13", "2013-13"),
        ("winter\n2013", "winter 2013", "winter 2013"),
    ],
)
def test_periods(text, english, polish):
    # CLDR sets thin spaces around the dash of an interval.
    thin = str.maketrans("\N{THIN SPACE}\N{NO-BREAK SPACE}", "  ")
    assert Formatter("en").moment(text, "full").translate(thin) == english
    assert Formatter("pl").moment(text, "full").translate(thin) == polish


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("#,##0.00", "1234.5", "1\N{NO-BREAK SPACE}234,50"),
        ("0.0%", "0.256", "25,6%"),
        ("#,##0 'szt.'", "-3", "\N{MINUS SIGN}3 szt."),
        ("#,##0.00 \xa4", "3", "3,00 zł"),
    ],
)
def test_a_facts_own_pattern_prints_it(make, pattern, value, expected):
    fact = make.fact("x", float(value), "minutes", format=pattern, unit_label="PLN")
    assert Formatter("pl").fact(fact, Style.PLAIN) == expected


def test_a_pattern_that_is_none_is_told():
    with pytest.raises(ConfigurationError, match=r"not a pattern of Unicode's LDML.*'#,##0\.00'"):
        Formatter().number(Decimal(1), Unit.COUNT, pattern="abc")


def test_an_unknown_locale_names_what_there_is():
    with pytest.raises(ConfigurationError, match=r"'tlh'.*'en_GB'.*fixed words are there in: en, pl"):
        Formatter("tlh")


def test_a_polish_report(storm, build):
    analysis, sheet = storm
    report = build(
        analysis, sheet, locale="pl_PL", timezone="Europe/Warsaw", subject="{when}: {headline}"
    )
    assert report.ref.subject == "wczoraj: Storm stops New York: 50,8% cancelled"
    assert '<html lang="pl"' in report.html
    for text in (report.seen, report.text, report.markdown):
        assert "14,9 min" in text
        assert "9 lut 2013, 12:00 CET" in text
        assert "Europe/Warsaw" in text or text is not report.markdown
        assert "Recommended actions".lower() not in text.lower()


@pytest.mark.parametrize("locale", ["ar", "he"])
def test_right_to_left(make, build, locale):
    facts = [
        make.fact("a", -14.86, "minutes", label="L", kpi=True, comparisons=[make.comparison(1, -2)]),
        make.fact("n", "Envoy Air", "text"),
    ]
    table = make.table("t", [("Envoy Air", -3)])
    findings = (Finding(title="[[a]]", detail="[[a]] [[n]]", severity="info"),)
    analysis = make.analysis(summary="شركة [[a]] [[n]].", findings=findings, language=locale)
    report = build(analysis, make.sheet(facts, [table]), locale=locale)
    assert f'<html lang="{locale}"' in report.html
    assert 'dir="rtl"' in report.html
    for text in (report.html, report.text, report.markdown):
        assert text.count("\u2067") == text.count("\u2067\u200e")
        assert text.count("\u2067") + text.count("\u2068") == text.count("\u2069")
        # The sign of every figure stands behind a mark that keeps it before its number.
        assert "\u200e\N{MINUS SIGN}14.9" in text.replace("\\", "")
        assert not re.search(r"(?<!\u200e)\N{MINUS SIGN}\d", text.replace("\\", ""))
    assert "\u2067" not in report.ref.subject


def test_left_to_right_has_no_marks(storm, build):
    report = build(*storm)
    for text in (report.seen, report.text, report.markdown, report.ref.subject):
        assert text.translate(ISOLATES) == text
    assert 'dir="rtl"' not in report.html


def test_a_cut_line_closes_its_isolates():
    cut = clipped(f"Later by {isolated('123456789')} end", 16)
    assert cut.count("\u2067") == cut.count("\u2069") == 1


def test_days_in_tables_and_keys(make, build):
    days = make.table("d", [(date(2013, 2, 8).isoformat(), 1)], key_unit="date")
    assert "8 lut 2013" in build(make.analysis(), make.sheet((), [days]), locale="pl").text

from decimal import Decimal

import pytest

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.reports.format import Formatter, Style
from kimi_provider.schemas import Unit


@pytest.mark.parametrize(
    ("value", "unit", "fields", "expected"),
    [
        (23.4, "minutes", {}, "23.4 min"),
        (12, "seconds", {"decimals": 0}, "12 sec"),
        (0.1234, "percent", {}, "12.3%"),
        (0.1234, "percent", {"decimals": 0}, "12%"),
        (2.5, "percent", {}, "250%"),
        (1234, "currency", {"unit_label": "USD"}, "$1,234"),
        (0.42, "currency", {"unit_label": "EUR"}, "€0.42"),
        (1234, "count", {}, "1,234"),
        (1234.5678, "number", {}, "1,234.57"),
        (15, "other", {"unit_label": "mph"}, "15 mph"),
        (-6, "minutes", {}, "\N{MINUS SIGN}6.0 min"),
        (-0.04, "minutes", {}, "0.0 min"),
        ("2013-02-08", "date", {}, "Feb 8, 2013"),
        ("not a date", "date", {}, "not a date"),
        ("a\r\nb\u202e", "text", {}, "a b"),
        (None, "minutes", {}, "n/a"),
        (1e20, "count", {}, "1E20"),
    ],
)
def test_fact_in_english(make, value, unit, fields, expected):
    assert Formatter().fact(make.fact("x", value, unit, **fields)) == expected


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (Style.PROSE, "12.3 min"),
        (Style.PLAIN, "\N{MINUS SIGN}12.3 min"),
        (Style.SIGNED, "\N{MINUS SIGN}12.3 min"),
        (Style.NUMBER, "12.3"),
        (Style.ROUNDED, "12 min"),
    ],
)
def test_a_change_has_no_sign_in_prose(make, style, expected):
    assert Formatter().fact(make.fact("x.delta", -12.3, "minutes", change=True), style) == expected


def test_signed_shows_a_rise(make):
    assert Formatter().fact(make.fact("x", 12.3, "minutes"), Style.SIGNED) == "+12.3 min"
    assert Formatter().fact(make.fact("x", 0, "minutes"), Style.SIGNED) == "0.0 min"


def test_the_change_of_a_share_is_in_points_and_its_relative_change_in_percent(make):
    delta = make.fact("share.day_before.delta", 0.042, "percent", change=True)
    percent = make.fact("share.day_before.percent", 0.042, "percent", change=True)
    assert Formatter().fact(delta) == "4.2 percentage points"
    assert Formatter().fact(delta, Style.SIGNED) == "+4.2 pp"
    assert Formatter().fact(percent, Style.SIGNED) == "+4.2%"


def test_a_style_never_makes_another_figure_of_it(make):
    flights = make.fact("flights", 930, "count")
    assert {Formatter().fact(flights, style) for style in Style if style is not Style.SIGNED} == {"930"}


@pytest.mark.parametrize(
    ("locale", "expected"),
    [("pl", "1\xa0234,5 min"), ("de-DE", "1.234,5 Min."), ("en_GB", "1,234.5 mins")],
)
def test_numbers_follow_the_locale(locale, expected):
    assert Formatter(locale).number(Decimal("1234.5"), Unit.MINUTES) == expected


def test_times_are_shown_in_the_zone_with_its_name():
    formatter = Formatter(timezone="America/New_York")
    assert formatter.moment("2013-02-08T12:00:00Z") == "Feb 8, 2013, 7:00 AM EST"
    assert formatter.moment("2013-02-08T12:00:00") == "Feb 8, 2013, 12:00 PM"


@pytest.mark.parametrize("options", [{"locale": "xx"}, {"locale": ""}, {"timezone": "Mars/Base"}])
def test_unknown_locale_or_zone_is_named(options):
    with pytest.raises(ConfigurationError, match=repr(next(iter(options.values())))):
        Formatter(**options)

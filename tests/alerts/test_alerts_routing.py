from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_provider.alerts.hours import DAYS, Hours
from kimi_provider.alerts.matching import Matcher
from kimi_provider.alerts.routing import Escalation, Route
from kimi_provider.alerts.settings import AlertSettings, Mail
from kimi_provider.exceptions import ConfigurationError

HOUR = timedelta(hours=1)
SOME_DAY = datetime(2025, 1, 1, tzinfo=UTC)

TREE = Route(
    receiver="everyone",
    group_by=["rule"],
    repeat_interval=4 * HOUR,
    routes=[
        Route("audit", match=["rule=~.*"], continue_=True, digest=24 * HOUR),
        Route(
            match="team=data",
            routes=[
                Route("data-pager", "severity=critical", group_by=["..."], repeat_interval=HOUR),
                Route("data-chat", "severity>=warning"),
            ],
            receiver="data-mail",
        ),
        Route("web", match=["team=web", "severity!=info"], escalate=[Escalation(HOUR, "boss")]),
    ],
)


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({"team": "data", "severity": "critical"}, ["audit", "data-pager"]),
        ({"team": "data", "severity": "warning"}, ["audit", "data-chat"]),
        ({"team": "data", "severity": "info"}, ["audit", "data-mail"]),
        ({"team": "web", "severity": "warning"}, ["audit", "web", "boss"]),
        ({"team": "web", "severity": "info"}, ["audit"]),
        ({"severity": "critical"}, ["audit"]),
    ],
)
def test_an_alert_goes_down_the_tree_as_in_alertmanager(labels: dict, receivers: list) -> None:
    assert [target.receiver for target in TREE.targets({"rule": "r", **labels})] == receivers


def test_where_no_child_matches_the_route_itself_takes_it() -> None:
    route = Route("root", routes=[Route("a", "x=1")])
    assert [target.receiver for target in route.targets({"x": "2"})] == ["root"]


def test_what_a_route_does_not_say_it_has_from_its_parent() -> None:
    pager, chat = (
        TREE.targets({"rule": "r", "team": "data", "severity": severity})[1]
        for severity in ("critical", "warning")
    )
    assert (pager.group_by, pager.repeat_interval) == (("...",), HOUR)
    assert (chat.group_by, chat.repeat_interval) == (("rule",), 4 * HOUR)
    assert (pager.digest, TREE.targets({"rule": "r"})[0].digest) == (None, 24 * HOUR)


def test_a_receiver_that_two_routes_name_is_told_once() -> None:
    route = Route("a", routes=[Route("b", continue_=True), Route("b"), Route("c")])
    assert [target.receiver for target in route.targets({})] == ["b"]


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {}, False),
        ("a!=b", {}, True),
        ("a=", {}, True),
        ("a=~b.*", {"a": "bcd"}, True),
        ("a=~b", {"a": "bcd"}, False),
        ("a!~b.*", {"a": "bcd"}, False),
        (' a = "b c " ', {"a": "b c "}, True),
        ("severity>=warning", {"severity": "critical"}, True),
        ("severity>=warning", {"severity": "info"}, False),
        ("rule=x > 5% and y != 3", {"rule": "x > 5% and y != 3"}, True),
    ],
)
def test_matchers(text: str, labels: dict[str, str], fits: bool) -> None:
    assert Matcher(text).matches(labels) is fits


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("severity", "such as severity=critical"),
        ("severity=crit", "severity is one of info, warning, critical; got 'crit'"),
        ("rule>=3", "only severity"),
        ("rule=~(", "malformed pattern"),
        (3, "got 3"),
    ],
)
def test_a_malformed_matcher_is_refused_with_its_route(text: object, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Route("a", match=[text])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: AlertSettings(route=TREE), "names the receiver 'audit'; there are mail"),
        (lambda: AlertSettings(receivers={"a": "b@c.de"}), "must be an Airflow notifier or Mail"),
        (lambda: AlertSettings(most_per_run=0), "most_per_run must be a whole number, 1 or more; got 0"),
        (lambda: AlertSettings(tolerance=1), "tolerance must be from 0 to 1"),
        (
            lambda: AlertSettings(repeat_interval=-HOUR),
            "repeat_interval must be a timedelta that is not negative",
        ),
        (lambda: Route("a", group_by="rule"), "group_by must be a list"),
        (lambda: Hours("Europe/Berlnn"), "no time zone 'Europe/Berlnn'"),
        (lambda: Hours("UTC", "8"), "HH:MM; got '8'"),
        (lambda: Hours("UTC", "08:00", "08:00"), "are none"),
        (lambda: Hours("UTC", days=["monday"]), "days must be some of mon"),
        (lambda: Hours("UTC", holidays=["Christmas"]), "such as 2026-12-25"),
    ],
)
def test_wrong_settings_are_refused_where_they_are_written(make: object, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert says in str(caught.value)


def test_recipients_are_not_shown() -> None:
    assert "ann" not in repr(AlertSettings(receivers={"a": Mail("ann@example.org")}))


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "open_then"),
    [
        ("2026-03-27T07:59", False),  # a Friday, before the clocks change
        ("2026-03-27T08:00", True),
        ("2026-03-27T17:59", True),
        ("2026-03-27T18:00", False),
        ("2026-03-28T12:00", False),  # Saturday
        ("2026-03-29T12:00", False),  # Sunday of 23 hours
        ("2026-03-30T08:00", True),  # Monday in summer time
        ("2026-03-30T07:59", False),
        ("2026-10-26T08:00", True),  # winter time again
        ("2026-12-25T12:00", False),  # a Friday, and a holiday
    ],
)
def test_business_hours_follow_the_clock_on_the_wall(moment: str, open_then: bool) -> None:
    hours = Hours("Europe/Berlin", "08:00", "18:00", holidays=["2026-12-25"])
    assert hours.open_at(berlin(moment)) is open_then


@pytest.mark.parametrize(
    ("moment", "open_then"),
    [
        ("2026-03-27T21:59", False),
        ("2026-03-27T22:00", True),  # Friday's night
        ("2026-03-28T05:59", True),  # still Friday's
        ("2026-03-28T06:00", False),
        ("2026-03-28T23:00", False),
        ("2026-03-30T03:00", False),  # Sunday's night
    ],
)
def test_hours_over_midnight_belong_to_the_day_on_which_they_start(moment: str, open_then: bool) -> None:
    assert Hours("Europe/Berlin", "22:00", "06:00").open_at(berlin(moment)) is open_then


@given(
    st.integers(0, 3 * 365 * 24 * 60).map(lambda minutes: SOME_DAY + timedelta(minutes=minutes)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    st.integers(0, 1439),
    st.integers(0, 1439),
)
def test_a_moment_is_in_hours_or_in_their_complement(
    moment: datetime, zone: str, start: int, end: int
) -> None:
    if start == end:
        return
    a, b = (f"{minute // 60:02}:{minute % 60:02}" for minute in (start, end))
    inside = Hours(zone, a, b, days=DAYS).open_at(moment)
    assert inside is not Hours(zone, b, a, days=DAYS).open_at(moment)

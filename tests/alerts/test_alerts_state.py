"""Alerts over simulated time: what is told when, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kimi_provider.alerts.book import Book, Item, Plan, Progress, alert_key
from kimi_provider.alerts.evaluation import Explanation
from kimi_provider.alerts.grouping import group
from kimi_provider.alerts.hours import DAYS, Hours
from kimi_provider.alerts.routing import Escalation, Route
from kimi_provider.alerts.settings import AlertSettings
from kimi_provider.alerts.state import Attention, Moment, advance, recover
from kimi_provider.schemas import Severity

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PLACE = {"dag_id": "d", "task_id": "t"}
NO_DAMPING = AlertSettings(flap_changes=0)


class Pager:
    """Stands for Airflow's notifiers where only names matter."""

    def notify(self, context: object) -> None:
        raise AssertionError


def seen(rule: str, fired: bool, severity: str = "warning", **labels: str) -> Explanation:
    return Explanation(rule, labels, fired, Severity(severity), "because", {})


def on(rule: str, severity: str = "warning", **labels: str) -> Explanation:
    return seen(rule, fired=True, severity=severity, **labels)


def off(rule: str) -> Explanation:
    return seen(rule, fired=False)


class Runs:
    """Runs one after another, each with the book that the one before left, through JSON."""

    def __init__(self, settings: AlertSettings = NO_DAMPING) -> None:
        self.settings = settings
        self.book = Book()
        self.decisions = ()

    def run(
        self,
        *observed: Explanation,
        at: datetime,
        attention: Attention | None = None,
        backfill: bool = False,
        now: datetime | None = None,
    ) -> list[tuple[str, str, str]]:
        """Return what was told: receiver, rule, why."""
        moment = Moment(at, now or at, PLACE, backfill)
        self.book, self.decisions = advance(
            self.book,
            observed,
            moment,
            self.settings,
            targets=self.settings.route.targets,
            attention=attention,
        )
        self.book = Book.model_validate_json(self.book.model_dump_json())
        return [(d.target.receiver, d.event.rule, d.why) for d in self.decisions if d.tell]

    def series(self, pattern: str, step: timedelta = DAY) -> list[str]:
        """Return why somebody was told in each run, for a rule that fires at each ``1``."""
        told = []
        for number, sign in enumerate(pattern):
            got = self.run(seen("r", sign == "1"), at=START + number * step)
            told.append(",".join(why for _, _, why in got))
        return told


def test_firing_repeats_and_the_end_are_told() -> None:
    runs = Runs()
    assert runs.series("0111001", 12 * HOUR) == ["", "firing", "", "repeat", "resolved", "", "firing"]


def test_without_repeats_and_without_resolves() -> None:
    assert Runs(AlertSettings(repeat_interval=None)).series("1110") == ["firing", "", "", "resolved"]
    quiet = AlertSettings(repeat_interval=None, send_resolved=False, flap_changes=0)
    assert Runs(quiet).series("11011") == ["firing", "", "", "firing", ""]


@pytest.mark.parametrize("missing", [timedelta(0), timedelta(minutes=50), HOUR])
def test_a_daily_repeat_forgives_the_hour_of_summer_time(missing: timedelta) -> None:
    runs = Runs()
    runs.run(on("r"), at=START)
    assert runs.run(on("r"), at=START + DAY - missing) == [("mail", "r", "repeat")]
    assert runs.run(on("r"), at=START + DAY + 12 * HOUR) == []


def test_rising_severity_is_told_at_once_and_falling_is_not() -> None:
    runs = Runs()
    severities = ["info", "critical", "warning", "critical"]
    got = [runs.run(on("r", severity), at=START + n * HOUR) for n, severity in enumerate(severities)]
    assert [[why for *_, why in told] for told in got] == [["firing"], ["more severe"], [], []]


def test_the_same_run_twice_tells_once() -> None:
    runs = Runs(AlertSettings(repeat_interval=timedelta(0)))
    assert len(runs.run(on("r"), at=START)) == 1
    assert runs.run(on("r"), at=START) == []


def test_backfills_and_old_runs_are_silent_unless_told() -> None:
    runs = Runs()
    runs.run(off("r"), at=START)
    assert runs.run(on("r"), at=START - DAY) == []
    assert runs.decisions[0].why == "silent: older than the newest run"
    assert runs.run(on("r"), at=START + DAY, backfill=True) == []
    assert runs.run(on("r"), at=START + DAY) == [("mail", "r", "firing")]
    told = Runs(AlertSettings(tell_backfills=True))
    assert told.run(on("r"), at=START, backfill=True) == [("mail", "r", "firing")]


def test_a_report_is_asked_for_at_each_run_and_only_a_backfill_is_silent() -> None:
    runs = Runs()
    report = Explanation(
        "always", {}, fired=True, severity=Severity.INFO, reason="", saw={}, every_run=True
    )
    for at in (START, START + HOUR, START - DAY):
        assert runs.run(report, at=at) == [("mail", "always", "every run")]
    assert runs.run(report, at=START + DAY, backfill=True) == []


def test_one_quiet_run_does_not_end_an_alert_if_two_are_asked_for() -> None:
    settings = AlertSettings(resolve_after=2, repeat_interval=None)
    assert Runs(settings).series("1011001") == ["firing", "", "", "", "", "resolved", "firing"]


def test_flapping_is_damped_and_the_truth_is_told_when_it_settles() -> None:
    settings = AlertSettings(flap_changes=4, flap_window=6, repeat_interval=None)
    told = Runs(settings).series("10101010111111")
    assert told[:4] == ["firing", "resolved", "firing", "resolved"]
    assert set(told[4:10]) == {""}
    assert [why for why in told[10:] if why] == ["firing"]


def test_a_silence_delays_and_does_not_lose() -> None:
    runs = Runs()
    quiet = Attention(silenced=lambda labels: "tomorrow" if labels["rule"] == "r" else None)
    assert runs.run(on("r"), on("s"), at=START, attention=quiet) == [("mail", "s", "firing")]
    assert runs.decisions[0].why == "firing, but silenced until tomorrow"
    state = runs.book.alerts[alert_key(PLACE, "r", {})]
    assert (state.firing, state.silenced_until) == (True, "tomorrow")
    assert ("mail", "r", "firing") in runs.run(on("r"), on("s"), at=START + HOUR)


def test_what_came_and_went_in_a_silence_is_told_to_nobody() -> None:
    runs = Runs()
    runs.run(on("r"), at=START, attention=Attention(silenced=lambda _: "x"))
    assert runs.run(off("r"), at=START + HOUR) == []


def test_quiet_hours_delay_until_morning() -> None:
    hours = Hours("Europe/Berlin", "08:00", "18:00", days=DAYS)
    runs = Runs(AlertSettings(route=Route("mail", hours=hours)))
    night = datetime(2026, 3, 2, 3, tzinfo=UTC)
    assert runs.run(on("r"), at=night) == []
    assert "outside the receiver's hours" in runs.decisions[0].why
    assert runs.run(on("r"), at=night + 5 * HOUR) == [("mail", "r", "firing")]


def test_an_acknowledged_alert_is_neither_repeated_nor_escalated_until_it_ends() -> None:
    settings = AlertSettings(
        route=Route("mail", escalate=[Escalation(2 * HOUR, "boss")]),
        receivers={"boss": Pager()},
        repeat_interval=HOUR,
        flap_changes=0,
    )
    said = Attention(acknowledged={alert_key(PLACE, "r", {}): "ann"})
    runs = Runs(settings)
    assert runs.run(on("r"), at=START) == [("mail", "r", "firing")]
    for hours in (1, 2, 3):
        assert runs.run(on("r"), at=START + hours * HOUR, attention=said) == []
    state = runs.book.alerts[alert_key(PLACE, "r", {})]
    assert state.acknowledged == "ann"
    worse = runs.run(on("r", "critical"), at=START + 4 * HOUR, attention=said)
    assert worse == [("mail", "r", "more severe")]
    runs.run(off("r"), at=START + 5 * HOUR, attention=said)
    again = [runs.run(on("r"), at=START + n * HOUR, attention=said) for n in (6, 7, 8)]
    assert again == [
        [("mail", "r", "firing")],
        [("mail", "r", "repeat")],
        [("mail", "r", "repeat"), ("boss", "r", "firing")],
    ], "an acknowledgement is spent with the alert that it was for"


def test_escalation_tells_after_its_time_and_tells_the_end() -> None:
    route = Route("mail", escalate=[Escalation(2 * HOUR, "boss"), Escalation(4 * HOUR, "chief")])
    settings = AlertSettings(route=route, receivers={"boss": Pager(), "chief": Pager()})
    runs = Runs(settings)
    got = [runs.run(seen("r", n < 5), at=START + n * HOUR) for n in range(6)]
    assert [sorted(receiver for receiver, *_ in told) for told in got] == [
        ["mail"],
        [],
        ["boss"],
        [],
        ["chief"],
        ["boss", "chief", "mail"],
    ]


def test_who_was_told_of_the_beginning_is_told_of_the_end_though_the_severity_changed() -> None:
    route = Route("mail", routes=[Route("pager", "severity=critical")])
    runs = Runs(AlertSettings(route=route, receivers={"pager": Pager()}))
    assert runs.run(on("r", "warning"), at=START) == [("mail", "r", "firing")]
    assert runs.run(on("r", "critical"), at=START + HOUR) == [("pager", "r", "firing")]
    over = runs.run(off("r"), at=START + 2 * HOUR)
    assert sorted(over) == [("mail", "r", "resolved"), ("pager", "r", "resolved")]


def test_a_row_that_is_no_longer_there_ends() -> None:
    runs = Runs()
    runs.run(on("r", fact="a"), on("r", fact="b"), at=START)
    assert runs.run(on("r", fact="a"), at=START + HOUR) == [("mail", "r", "resolved")]
    assert runs.decisions[0].event.labels == {"fact": "b"}


def test_the_worst_come_first_and_the_others_wait() -> None:
    runs = Runs(AlertSettings(most_per_run=2))
    many = [on("r", "critical" if n == 3 else "info", fact=str(n)) for n in range(5)]
    told = []
    for hour in range(4):
        runs.run(*many, at=START + hour * HOUR)
        told.append([d.event.labels["fact"] for d in runs.decisions if d.tell])
    assert "3" in told[0]
    assert [len(one) for one in told] == [2, 2, 1, 0]
    assert sorted(fact for one in told for fact in one) == list("01234"), "none is lost"


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 3))
def test_beginnings_and_ends_alternate_and_the_last_word_is_true(
    fired: list[bool], resolve_after: int
) -> None:
    settings = AlertSettings(repeat_interval=None, flap_changes=0, resolve_after=resolve_after)
    runs = Runs(settings)
    words = []
    for number, one in enumerate(fired):
        words += [why for *_, why in runs.run(seen("r", one), at=START + number * HOUR)]
    assert words == [("firing", "resolved")[i % 2] for i in range(len(words))]
    state = runs.book.alerts.get(alert_key(PLACE, "r", {}))
    assert bool(len(words) % 2) == bool(state and state.firing)


EVENT = st.tuples(
    st.sampled_from("abc"),
    st.booleans(),
    st.sampled_from(["info", "warning", "critical"]),
)


@hypothesis_settings(max_examples=60)
@given(
    st.lists(st.tuples(st.lists(EVENT, max_size=3, unique_by=lambda e: e[0]), st.integers(0, 30))),
    st.integers(1, 3),
    st.booleans(),
)
def test_what_is_told_and_what_holds_never_part_for_good(days: list, most: int, damped: bool) -> None:
    """Whatever comes, repeats keep their distance, and in the end each receiver knows the truth."""
    settings = AlertSettings(most_per_run=most, flap_changes=5 if damped else 0)
    runs = Runs(settings)
    at, last = START, {}
    for events, hours in days:
        at += hours * HOUR
        for receiver, rule, why in runs.run(*(seen(r, f, s) for r, f, s in events), at=at):
            if why == "repeat":
                assert at - last[receiver, rule] >= DAY * 0.95
            last[receiver, rule] = at
    final = {rule: rule == "a" for rule in "abc"}
    for _ in range(25):
        at += HOUR
        runs.run(*(seen(rule, fired) for rule, fired in final.items()), at=at)
    told = {
        state.rule: told.firing for state in runs.book.alerts.values() for told in state.told.values()
    }
    assert told == {"a": True}
    assert runs.run(*(seen(rule, fired) for rule, fired in final.items()), at=at) == []


def test_the_book_forgets_what_no_run_needs() -> None:
    runs = Runs()
    for hour in range(30):
        runs.run(on("r", fact=str(hour)), at=START + hour * HOUR)
    assert len(runs.book.alerts) <= runs.settings.flap_window + 2


def item(**more: object) -> Item:
    runs = Runs()
    runs.run(on("r"), at=START)
    book, items = group(
        runs.book, runs.decisions, Moment(START, START, PLACE), item_prefix="p", tolerance=0
    )
    assert book == runs.book
    return items[0].model_copy(update=more)


def planned(one: Item) -> Book:
    runs = Runs()
    runs.run(on("r"), at=START)
    return runs.book.with_plan(Plan(run_id="lost", at=START, made_at=START, items=(one,)))


def test_what_failed_counts_as_not_told_and_a_later_run_tells_it() -> None:
    one = item()
    runs = Runs()
    runs.book = planned(one).with_item("lost", one.model_copy(update={"progress": Progress.FAILED}))
    assert runs.run(on("r"), at=START + HOUR) == [("mail", "r", "firing")]
    assert not runs.book.retold(one, START)[1].keys, "the earlier run must not tell it too"


def test_a_try_that_tells_after_all_counts_as_told() -> None:
    one = item()
    failed = planned(one).with_item("lost", one.model_copy(update={"progress": Progress.FAILED}))
    runs = Runs()
    runs.book, left = failed.retold(one, START)
    assert left == one
    assert runs.run(on("r"), at=START + HOUR) == []


@pytest.mark.parametrize(
    ("progress", "after", "again"),
    [
        (Progress.PLANNED, 2 * HOUR, True),
        (Progress.PLANNED, HOUR / 2, False),
        (Progress.SENDING, 2 * HOUR, False),
        (Progress.SENT, 2 * HOUR, False),
    ],
)
def test_what_a_killed_run_never_began_is_told_by_a_later_one(
    progress: Progress, after: timedelta, again: bool
) -> None:
    runs = Runs()
    runs.book = recover(planned(item(progress=progress)), "other", START + after)
    assert bool(runs.run(on("r"), at=START + after)) is again


def grouped(runs: Runs, at: datetime) -> list[Item]:
    runs.book, items = group(
        runs.book, runs.decisions, Moment(at, at, PLACE), item_prefix=str(at), tolerance=0.05
    )
    return list(items)


def test_each_receiver_hears_how_many_of_its_own_alerts_wait() -> None:
    route = Route("chat", routes=[Route("pager", "severity=critical"), Route("chat")])
    settings = AlertSettings(
        route=route, receivers={"chat": Pager(), "pager": Pager()}, most_per_run=3, flap_changes=0
    )
    runs = Runs(settings)
    runs.run(*(on("r", "critical" if n < 2 else "info", fact=str(n)) for n in range(6)), at=START)
    more = {one.receiver: (len(one.events), one.more) for one in grouped(runs, START)}
    assert more == {"pager": (2, 0), "chat": (1, 3)}


def test_a_plan_that_waits_is_kept_while_others_come_and_go() -> None:
    def plan(run_id: str, *items: Item) -> Plan:
        return Plan(run_id=run_id, at=START, made_at=START, items=items)

    book = Book().with_plan(plan("waits", item(progress=Progress.PLANNED)))
    for number in range(60):
        book = book.with_plan(plan(f"run{number}"))
    assert book.plan_of("waits") is not None, "its approval may take days"
    assert book.plan_of("run59") is not None
    assert len(book.plans) == 21


def test_a_digest_gathers_and_comes_once() -> None:
    runs = Runs(AlertSettings(route=Route("mail", digest=DAY), flap_changes=0))
    got = []
    for hour in range(0, 80, 6):
        at = START + hour * HOUR
        runs.run(seen("r", hour == 6), on("s"), at=at)
        got.append([len(one.events) for one in grouped(runs, at)])
    assert [n for n, sizes in enumerate(got) if sizes] == [4, 12]
    assert got[4] == [2]


def test_groups_by_label_and_by_alert() -> None:
    many = [on("r", fact=f"{c}.{n}", carrier=c) for c in "ab" for n in (1, 2)]
    for by, sizes in (((), [4]), (("carrier",), [2, 2]), (("...",), [1, 1, 1, 1])):
        runs = Runs(AlertSettings(route=Route("mail", group_by=by)))
        runs.run(*many, at=START)
        items = grouped(runs, START)
        assert [len(one.events) for one in items] == sizes
        assert len({one.dedup_key for one in items}) == len(sizes)


def test_the_dedup_key_is_the_same_in_each_run_and_a_group_ends_with_its_last_alert() -> None:
    runs = Runs(AlertSettings(route=Route("mail", group_by=("rule",)), flap_changes=0))
    runs.run(on("r", fact="a"), on("r", fact="b"), at=START)
    (first,) = grouped(runs, START)
    runs.run(on("r", fact="a"), seen("r", fired=False, fact="b"), at=START + HOUR)
    (second,) = grouped(runs, START + HOUR)
    runs.run(seen("r", fired=False, fact="a"), seen("r", fired=False, fact="b"), at=START + 2 * HOUR)
    (third,) = grouped(runs, START + 2 * HOUR)
    assert first.dedup_key == second.dedup_key == third.dedup_key
    assert len({first.id, second.id, third.id}) == 3
    assert [one.group_firing for one in (first, second, third)] == [True, True, False]
    assert [event.status for event in second.events] == ["resolved"]

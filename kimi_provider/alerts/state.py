"""The state of alerts from run to run: a pure function, which tells nobody and reads no clock.

What a receiver was told is kept beside what holds, and each run tells the difference: so a silence or
a night that hides an alert delays it, and one that came and went meanwhile is told of to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from kimi_provider.alerts.book import AlertState, Book, Progress, Told, alert_key
from kimi_provider.alerts.routing import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from kimi_provider.alerts.evaluation import Explanation
    from kimi_provider.alerts.settings import AlertSettings
    from kimi_provider.schemas import AlertEvent

    Targets = Callable[[Mapping[str, str]], Sequence[Target]]

# A run that planned to tell something and did not even begin was lost with its worker.
_LOST_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class Moment:
    """A run, as alerts see it.

    :param at: its logical date, or when it was to run; with its time zone.
    :param now: the clock's time.
    :param place: the task: ``dag_id``, ``task_id`` and, where it is mapped, ``map_index``.
    :param backfill: whether it is a run of a backfill.
    """

    at: datetime
    now: datetime
    place: Mapping[str, str] = field(default_factory=dict)
    backfill: bool = False


@dataclass(frozen=True)
class Attention:
    """What people have said.

    :param silenced: returns until when an alert with these labels is silenced, or ``None``.
    :param acknowledged: who acknowledged which alert, by its key.
    """

    silenced: Callable[[Mapping[str, str]], str | None] = lambda _: None
    acknowledged: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """Whether a receiver is told of an alert in this run, and why or why not.

    :param key: the alert's name.
    :param target: who.
    :param tell: whether the receiver is told.
    :param why: ``every run``, ``firing``, ``more severe``, ``repeat``, ``resolved``, and what stands
        against telling.
    :param event: the alert as it is now.
    :param before: what the receiver was told of it before.
    :param over: whether it waits because the run has too much to tell.
    """

    key: str
    target: Target
    tell: bool
    why: str
    event: AlertEvent
    before: Told | None = None
    over: bool = False


def advance(
    book: Book,
    seen: Sequence[Explanation],
    moment: Moment,
    settings: AlertSettings,
    *,
    targets: Targets,
    attention: Attention | None = None,
) -> tuple[Book, tuple[Decision, ...]]:
    """Return what is known after a run, and what is to be told.

    :param book: what was known before.
    :param seen: what the run's rules saw.
    :param moment: the run.
    :param settings: how alerts behave.
    :param targets: who is told of an alert with these labels.
    :param attention: silences and acknowledgements.
    :returns: the book, in which what is decided to be told counts as told, and the decisions.
    """
    attention = attention or Attention()
    late = moment.backfill or (book.newest is not None and moment.at < book.newest)
    if late and not settings.tell_backfills:
        return book, _late(seen, moment, targets)
    alerts = _observed(book, seen, moment, settings, attention)
    every_run = {alert_key(moment.place, one.rule, one.labels) for one in seen if one.every_run}
    decisions: list[Decision] = []
    for key, state in alerts.items():
        labels = state.routing_labels(moment.place)
        chosen = list(targets(labels))
        if key in every_run:
            event = state.as_event()
            decisions += [Decision(key, one, tell=True, why="every run", event=event) for one in chosen]
            continue
        if not state.firing:
            # Who was told that it fires is told that it is over, even if the routes changed since.
            known = {target.receiver for target in chosen}
            chosen += [Target(name) for name in state.told if name not in known]
        for target in chosen:
            decision = _decide(key, state, target, moment, settings)
            if decision is not None:
                decisions.append(decision)
    decisions = _bounded(decisions, alerts, every_run, settings.most_per_run)
    told = _told(alerts, decisions, every_run, moment, settings)
    newest = moment.at if book.newest is None else max(book.newest, moment.at)
    kept = {
        key: state
        for key, state in told.items()
        if key not in every_run and _worth_keeping(state, moment)
    }
    return book.model_copy(update={"alerts": kept, "newest": newest}), tuple(decisions)


def recover(book: Book, run_id: str, now: datetime) -> Book:
    """Return the book without what other runs planned to tell and were killed before they began.

    :param book: what is known.
    :param run_id: the run that looks; its own plan stays.
    :param now: the clock's time.
    """
    for plan in book.plans:
        if plan.run_id == run_id or now - plan.made_at < _LOST_AFTER:
            continue
        for item in plan.items:
            if item.progress is Progress.PLANNED:
                detail = "The run was lost before it told this; a later run tells it anew."
                lost = item.model_copy(update={"progress": Progress.FAILED, "detail": detail})
                book = book.with_item(plan.run_id, lost)
    return book


def _late(seen: Sequence[Explanation], moment: Moment, targets: Targets) -> tuple[Decision, ...]:
    decisions = []
    why = "silent: a backfill" if moment.backfill else "silent: older than the newest run"
    for one in seen:
        if not one.fired:
            continue
        labels = {**one.labels, **moment.place, "rule": one.rule, "severity": one.severity.value}
        key = alert_key(moment.place, one.rule, one.labels)
        # A report that somebody asks for out of turn is wanted; only a backfill makes many at once.
        tell = one.every_run and not moment.backfill
        reason = "every run" if tell else why
        event = one.as_event()
        decisions += [Decision(key, target, tell, reason, event) for target in targets(labels)]
    return tuple(decisions)


def _observed(
    book: Book,
    seen: Sequence[Explanation],
    moment: Moment,
    settings: AlertSettings,
    attention: Attention,
) -> dict[str, AlertState]:
    """Return each alert as it is now: those that rules saw, and those that they no longer see."""
    alerts: dict[str, AlertState] = {}
    for one in seen:
        key = alert_key(moment.place, one.rule, one.labels)
        before = book.alerts.get(key)
        fresh = AlertState(
            rule=one.rule,
            labels=one.labels,
            severity=one.severity,
            reason=one.reason,
            firing=False,
            since=moment.at,
        )
        alerts[key] = _next(before or fresh, moment, settings, fired=one.fired).model_copy(
            # What is over was as severe as it was when it fired.
            update={"reason": one.reason} | ({"severity": one.severity} if one.fired else {})
        )
    for key, before in book.alerts.items():
        if key not in alerts:
            gone = before.model_copy(update={"reason": "What it was about is no longer there."})
            alerts[key] = _next(gone, moment, settings, fired=False)
    return {key: _attended(key, state, moment, attention) for key, state in alerts.items()}


def _next(state: AlertState, moment: Moment, settings: AlertSettings, *, fired: bool) -> AlertState:
    quiet = 0 if fired else state.quiet + 1
    firing = fired or (state.firing and quiet < settings.resolve_after)
    return state.model_copy(
        update={
            "firing": firing,
            "quiet": quiet,
            "since": state.since if firing == state.firing else moment.at,
            "count": state.count + fired if firing and state.firing else int(fired),
            "runs": (state.runs + str(int(fired)))[-settings.flap_window :],
        }
    )


def _attended(key: str, state: AlertState, moment: Moment, attention: Attention) -> AlertState:
    said = attention.acknowledged.get(key)
    until = attention.silenced(state.routing_labels(moment.place))
    spent = state.spent if state.firing else said
    return state.model_copy(
        update={
            "acknowledged": said if state.firing and said != spent else None,
            "spent": spent,
            "silenced_until": until,
        }
    )


def _decide(
    key: str, state: AlertState, target: Target, moment: Moment, settings: AlertSettings
) -> Decision | None:
    """Return what a receiver is to be told and what stands against it; ``None`` without news."""
    why = _news(state, target, moment, settings)
    if why is None:
        return None
    objection = _objection(state, target, why, moment, settings)
    return Decision(
        key,
        target,
        tell=objection is None,
        why=f"{why}, but {objection}" if objection else why,
        event=state.as_event(),
        before=state.told.get(target.receiver),
    )


def _news(state: AlertState, target: Target, moment: Moment, settings: AlertSettings) -> str | None:
    """Return what is new to a receiver, ``None`` where nothing is."""
    told = state.told.get(target.receiver)
    if state.firing:
        return _firing_news(state, told, target, moment, settings)
    return "resolved" if told and told.firing and settings.send_resolved else None


def _objection(
    state: AlertState, target: Target, why: str, moment: Moment, settings: AlertSettings
) -> str | None:
    """Return what stands against telling it now, ``None`` where nothing does."""
    if state.silenced_until:
        return f"silenced until {state.silenced_until}"
    if not target.open_at(moment.now):
        return "outside the receiver's hours"
    turned = why in {"firing", "resolved"} and target.receiver in state.told
    return "it flaps" if turned and state.flaps(settings.flap_changes) else None


def _firing_news(
    state: AlertState, told: Told | None, target: Target, moment: Moment, settings: AlertSettings
) -> str | None:
    if target.after is not None:
        waited = _passed(moment.at - state.since, target.after, settings.tolerance)
        if state.acknowledged is not None or not waited:
            return None
    if told is None or not told.firing:
        return "firing"
    if state.severity.rank > told.severity.rank:
        return "more severe"
    interval = target.repeat_interval or settings.repeat_interval
    if state.acknowledged is not None or interval is None:
        return None
    repeats = _passed(moment.at - told.at, interval, settings.tolerance) and moment.at > told.at
    return "repeat" if repeats else None


def _passed(elapsed: timedelta, interval: timedelta, tolerance: float) -> bool:
    return elapsed >= interval * (1 - tolerance)


def _bounded(
    decisions: list[Decision], alerts: Mapping[str, AlertState], exempt: set[str], most: int
) -> list[Decision]:
    keys = dict.fromkeys(d.key for d in decisions if d.tell and d.key not in exempt)
    order = sorted(keys, key=lambda key: (-alerts[key].severity.rank, alerts[key].since, key))
    waiting = set(order[most:])
    return [
        replace(d, tell=False, over=True, why=f"{d.why}, but over {most} in one run")
        if d.tell and d.key in waiting
        else d
        for d in decisions
    ]


def _told(
    alerts: Mapping[str, AlertState],
    decisions: Sequence[Decision],
    every_run: set[str],
    moment: Moment,
    settings: AlertSettings,
) -> dict[str, AlertState]:
    after = dict(alerts)
    if not settings.send_resolved:
        # Nobody is told of the end, but the next beginning is news again.
        over = {key: state for key, state in alerts.items() if not state.firing and state.told}
        after |= {key: state.model_copy(update={"told": {}}) for key, state in over.items()}
    for decision in decisions:
        if not decision.tell or decision.key in every_run:
            continue
        state = after[decision.key]
        before = state.told.get(decision.target.receiver)
        again = before is not None and before.firing and state.firing
        told = Told(
            firing=state.firing,
            severity=state.severity,
            at=moment.at,
            count=before.count + 1 if before and again else 1,
        )
        after[decision.key] = state.model_copy(
            update={"told": {**state.told, decision.target.receiver: told}}
        )
    return after


def _worth_keeping(state: AlertState, moment: Moment) -> bool:
    """Whether a later run needs to know of an alert; else rows that come and go would pile up."""
    told = state.told.values()
    recent = any(one.firing or one.at == moment.at for one in told)
    return state.firing or "1" in state.runs or recent

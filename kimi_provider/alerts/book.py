"""What is known of alerts between runs: one small document for each alert task.

It holds each alert's state, what each receiver was told of it, the figures that later runs compare with,
and the plans of the latest runs: what they had to tell, and what came of it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import Field

from kimi_provider.alerts.history import History
from kimi_provider.schemas import AlertEvent, Severity, Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_PLANS = 20
# Of those that are not done: a person may take days to approve, and a retry its time to come.
_OPEN_PLANS = 200


class Told(Value):
    """What a receiver was last told of an alert: that it fires or is over, and how often in a row.

    ``at`` is the logical date of the run that told it.
    """

    firing: bool
    severity: Severity
    at: datetime
    count: int = 1


class AlertState(Value):
    """One alert: a rule and its labels.

    ``since`` is the logical date at which it began to fire (or ended), ``quiet`` for how many runs in a
    row its rule has not fired, ``runs`` the latest runs, oldest first, ``1`` where it fired. ``told`` is
    by receiver. ``acknowledged`` is who looks after it, ``spent`` an acknowledgement of an earlier time.
    """

    rule: str
    labels: dict[str, str] = Field(default_factory=dict)
    severity: Severity
    reason: str
    firing: bool
    since: datetime
    count: int = 0
    quiet: int = 0
    runs: str = ""
    told: dict[str, Told] = Field(default_factory=dict)
    acknowledged: str | None = None
    spent: str | None = None
    silenced_until: str | None = None

    def flaps(self, changes: int) -> bool:
        """Whether it began or ended at least so often in the runs that are remembered."""
        turns = sum(a != b for a, b in zip(self.runs, self.runs[1:], strict=False))
        return 0 < changes <= turns

    def routing_labels(self, place: Mapping[str, str]) -> dict[str, str]:
        """Return the labels that routes and silences see."""
        return {**self.labels, **place, "rule": self.rule, "severity": self.severity.value}

    def as_event(self) -> AlertEvent:
        """Return the alert as the event that it is now."""
        return AlertEvent(
            rule=self.rule,
            severity=self.severity,
            reason=self.reason,
            labels=self.labels,
            status="firing" if self.firing else "resolved",
        )


class Progress(StrEnum):
    """What is known of a notification. ``sending`` is written before it leaves."""

    PLANNED = "planned"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    AMBIGUOUS = "ambiguous"


class Item(Value):
    """A notification that a run has to send: to one receiver, of one group of alerts.

    ``id`` is the same for each try of the run. ``dedup_key`` names the group, in each run the same.
    ``keys`` are the alerts', in the order of ``events``; ``before`` what the receiver had been told of
    each. ``group_firing`` says whether any alert of the group fires, told now or before. ``more`` counts
    alerts that wait for the next run; ``why`` is each event's.
    """

    id: str
    receiver: str
    dedup_key: str
    keys: tuple[str, ...]
    events: tuple[AlertEvent, ...]
    why: tuple[str, ...] = ()
    digest: bool = False
    before: dict[str, Told | None] = Field(default_factory=dict)
    group_firing: bool
    more: int = 0
    progress: Progress = Progress.PLANNED
    detail: str = ""

    @property
    def group(self) -> str:
        """Name of the receiver's group among what waits for digests."""
        return f"{self.receiver}:{self.dedup_key}"

    def only(self, keys: Collection[str]) -> Item:
        """Return the notification with these of its alerts."""
        chosen = [n for n, key in enumerate(self.keys) if key in keys]
        return self.model_copy(
            update={
                "keys": tuple(self.keys[n] for n in chosen),
                "events": tuple(self.events[n] for n in chosen),
                "why": tuple(self.why[n] for n in chosen),
                "before": {key: told for key, told in self.before.items() if key in keys},
            }
        )


class Plan(Value):
    """What one run had to tell. ``made_at`` is the clock's time, ``at`` the run's logical date."""

    run_id: str
    at: datetime
    made_at: datetime
    generation: int = 0
    items: tuple[Item, ...] = ()

    @property
    def done(self) -> bool:
        """Whether everything was told."""
        return all(item.progress is Progress.SENT for item in self.items)


class Held(Value):
    """What waits for a receiver's next digest, which the first run at or after ``due`` tells."""

    receiver: str
    due: datetime
    keys: tuple[str, ...] = ()
    events: tuple[AlertEvent, ...] = ()


class Book(Value):
    """All that is known between runs. ``newest`` is the latest logical date that was looked at."""

    alerts: dict[str, AlertState] = Field(default_factory=dict)
    newest: datetime | None = None
    history: History = History()
    plans: tuple[Plan, ...] = ()
    held: dict[str, Held] = Field(default_factory=dict)

    def plan_of(self, run_id: str) -> Plan | None:
        """Return the plan that a run made, ``None`` if it made none."""
        return next((plan for plan in self.plans if plan.run_id == run_id), None)

    def with_plan(self, plan: Plan) -> Book:
        """Return the book with a plan in place of the run's earlier one; of many, the oldest go."""
        plans = [one for one in self.plans if one.run_id != plan.run_id] + [plan]
        ended = [one.run_id for one in plans[:-1] if one.done]
        open_ = [one.run_id for one in plans[:-1] if not one.done]
        gone = {*ended[: -_PLANS + 1], *open_[: -_OPEN_PLANS + 1]}
        return self.model_copy(update={"plans": tuple(one for one in plans if one.run_id not in gone)})

    def with_item(self, run_id: str, item: Item) -> Book:
        """Return the book with what came of a notification.

        What failed was not told: the receiver knows what it knew before, and a later run tells it anew.
        """
        plan = self.plan_of(run_id)
        if plan is None:
            return self
        items = tuple(item if one.id == item.id else one for one in plan.items)
        book = self.with_plan(plan.model_copy(update={"items": items}))
        return book.untold(item, plan.at) if item.progress is Progress.FAILED else book

    def untold(self, item: Item, at: datetime) -> Book:
        """Return the book with the receiver knowing what it knew before; a digest is due again.

        Of what a later run has told meanwhile, the receiver knows that.
        """
        if item.digest:
            again = Held(receiver=item.receiver, due=at, keys=item.keys, events=item.events)
            return self.model_copy(update={"held": self.held | {item.group: again}})
        standing = self.standing(item, at)
        known = {key: before for key, before in item.before.items() if key in standing}
        return self._knowing(item.receiver, known)

    def retold(self, item: Item, at: datetime) -> tuple[Book, Item]:
        """Return the book with the receiver told after all, and the notification.

        It has no more what a later run has told meanwhile; it may be empty.
        """
        if item.digest:
            held = {name: one for name, one in self.held.items() if name != item.group}
            left = item.only(item.keys if item.group in self.held else ())
            return self.model_copy(update={"held": held}), left
        left = item.only(tuple(key for key in item.keys if self._unchanged(item, key)))
        told = {
            key: Told(firing=event.status == "firing", severity=event.severity, at=at)
            for key, event in zip(left.keys, left.events, strict=True)
            if key in left.before
        }
        return self._knowing(item.receiver, told), left

    def standing(self, item: Item, at: datetime) -> tuple[str, ...]:
        """Return the alerts of a notification of which no later run has told its receiver.

        :param item: the notification.
        :param at: the logical date of its run.
        """
        return tuple(
            key for key in item.keys if key not in item.before or self._told_at(item, key) == at
        )

    def _told_at(self, item: Item, key: str) -> datetime | None:
        state = self.alerts.get(key)
        told = state.told.get(item.receiver) if state else None
        return told.at if told else None

    def _unchanged(self, item: Item, key: str) -> bool:
        state = self.alerts.get(key)
        before = item.before.get(key)
        return key not in item.before or (state.told.get(item.receiver) if state else before) == before

    def _knowing(self, receiver: str, known: Mapping[str, Told | None]) -> Book:
        alerts = dict(self.alerts)
        for key, told in known.items():
            state = alerts.get(key)
            if state is None:
                continue
            others = {name: one for name, one in state.told.items() if name != receiver}
            now = others if told is None else {**others, receiver: told}
            alerts[key] = state.model_copy(update={"told": now})
        return self.model_copy(update={"alerts": alerts})


def alert_key(place: Mapping[str, str], rule: str, labels: Mapping[str, str]) -> str:
    """Return the name of an alert: the same in each run, for the same rule and labels.

    :param place: the task that looks after it: DAG, task, map index.
    :param rule: how events name the rule.
    :param labels: the alert's, in any order.
    """
    parts = [sorted(place.items()), rule, sorted(labels.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

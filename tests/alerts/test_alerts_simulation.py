"""Many runs with kills, refusals, retries and clears: nobody told twice, nothing lost unseen."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from kimi_provider.alerts import Threshold
from kimi_provider.alerts.book import Progress
from kimi_provider.alerts.desk import Claim, Desk, Material
from kimi_provider.alerts.routing import Route
from kimi_provider.alerts.settings import AlertSettings
from kimi_provider.alerts.state import Attention, Moment
from kimi_provider.alerts.store import Store
from kimi_provider.schemas import Fact, Lineage

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULES = [Threshold(name, above=0, name=name) for name in "abc"]


class Pager:
    def notify(self, context: object) -> None: ...


SETTINGS = AlertSettings(
    route=Route("chat", routes=[Route("pager", continue_=True, group_by=["..."]), Route("chat")]),
    receivers={"chat": Pager(), "pager": Pager()},
    repeat_interval=None,
    flap_changes=0,
)


class Killed(Exception):  # noqa: N818 — a worker that dies raises nothing; this stands for it
    """The worker died."""


@dataclass
class World:
    """The receivers' inboxes, and a chance of misfortune at each step."""

    folder: Path
    dice: random.Random
    misfortune: float
    inbox: list[tuple[str, str, str]] = field(default_factory=list)
    planned: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)

    def perhaps_die(self) -> None:
        if self.dice.random() < self.misfortune:
            raise Killed

    def attempt_or_die(self, run: int, at: datetime, values: dict[str, int]) -> bool:
        try:
            return self.attempt(run, at, values)
        except Killed:
            return False

    def attempt(self, run: int, at: datetime, values: dict[str, int]) -> bool:
        """Try a run; return whether it came to its end with everybody told."""
        desk = Desk(Store(self.folder), SETTINGS, Moment(at, at, {"dag_id": "d"}), f"run{run}")
        lineage = Lineage(sql="SELECT 1")
        facts = {k: Fact(id=k, label=k, value=v, lineage=lineage) for k, v in values.items()}
        self.perhaps_die()
        items = desk.open(RULES, Material(facts=facts), Attention()).items
        for item in items:
            if item.id not in self.planned:
                self.planned[item.id] = {(item.receiver, event.rule) for event in item.events}
        fine = True
        for item in items:
            self.perhaps_die()
            claim, item = desk.claim(item)  # noqa: PLW2901 — it may have less to say by now
            if claim is not Claim.SEND:
                fine = fine and claim is not Claim.AMBIGUOUS
                continue
            if self.dice.random() < self.misfortune:
                raise Killed  # between saying so and doing it: the one case in which a word is missing
            if self.dice.random() < self.misfortune:
                desk.close(item, Progress.FAILED, "refused")
                fine = False
                continue
            self.sent[item.id] += 1
            self.planned[item.id] -= {(item.receiver, event.rule) for event in item.events}
            self.inbox += [(item.receiver, event.rule, event.status) for event in item.events]
            self.perhaps_die()
            desk.close(item, Progress.SENT)
        return fine


@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_told_twice_and_nothing_is_lost_without_a_record(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, random.Random(seed), misfortune=0.12)  # noqa: S311 — no secret
    values = dict.fromkeys("abc", 0)
    at = START
    moments = [at := at + world.dice.choice([HOUR / 6, HOUR / 3, 3 * HOUR]) for _ in range(63)]
    for run, at in enumerate(moments[:60]):
        if run < 50:
            values = {k: int(not v) if world.dice.random() < 0.3 else v for k, v in values.items()}
        for _ in range(world.dice.choice([1, 1, 2, 3])):
            if world.attempt_or_die(run, at, values):
                break
        if world.dice.random() < 0.2:  # somebody clears an old run
            old = max(run - world.dice.choice([1, 3]), 0)
            world.attempt_or_die(old, moments[old], values)
    world.misfortune = 0
    for run in (60, 61, 62):
        world.attempt(run, moments[-1] + run * 2 * HOUR, values)

    assert len(world.sent) > 20
    assert set(world.sent.values()) == {1}, "no notification left twice"
    words: dict[tuple[str, str], list[str]] = defaultdict(list)
    for receiver, rule, status in world.inbox:
        words[receiver, rule].append(status)
    book = Store(tmp_path).read()
    alerts = {one.rule: one for one in book.alerts.values()}
    on_record = Counter(
        (item.receiver, event.rule)
        for plan in book.plans
        for item in plan.items
        if item.progress in {Progress.AMBIGUOUS, Progress.SENDING}
        for event in item.events
    )
    unsaid = Counter(word for words in world.planned.values() for word in words)
    for rule, value in values.items():
        for receiver in ("chat", "pager"):
            said = words[receiver, rule]
            same = sum(one == other for one, other in pairwise(said))
            assert same <= unsaid[receiver, rule], (receiver, rule, said)
            told = alerts[rule].told.get(receiver) if rule in alerts else None
            assert bool(told and told.firing) == bool(value), "the book knows what holds"
            knows = bool(said and said[-1] == "firing") == bool(value)
            assert knows or on_record[receiver, rule], "a word that is missing is on record"

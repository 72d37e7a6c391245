"""Many runs of an alert, with kills, refusals, cuts and clocks that jump: mailed once, or on record.

Also a program, for more runs than a test should take::

    python tests/alerts/test_alerts_delivery_simulation.py 10000
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import structlog

RUNS_IN_A_SERIES = 25
START = datetime(2026, 3, 20, tzinfo=UTC)  # a change to summer time is near
PEOPLE = ("ann@example.org", "bob@example.org", "eve@example.org")
RULES = "abc"


class Killed(BaseException):
    """The worker died: nothing catches this, and nothing of its process goes on."""


@dataclass
class Process:
    """One try of a task on one worker, with its chance to die at each step."""

    dice: random.Random
    misfortune: float
    dead: bool = False

    def step(self) -> None:
        if self.dead or self.dice.random() < self.misfortune:
            self.dead = True
            raise Killed


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def step() -> None:
    process = PROCESS.get()
    if process is not None:
        process.step()


@dataclass
class Service:
    """SendGrid, strictly: refuses what it would refuse, and loses answers."""

    taken: list[tuple[str, str, list[list[str]]]] = field(default_factory=list)
    refusals: list[Any] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    planned: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def post(self, body: dict[str, Any]) -> Any:
        from kimi_provider.alerts.verdict import Answer
        from kimi_provider.testing.sendgrid_rules import check_mail

        process = PROCESS.get()
        assert process is not None
        step()
        kinds = ["429", "500", "503", "504", "504 taken", "refused", "cut", "cut taken", "400"]
        ill = process.misfortune and process.dice.random() < 0.25
        fault = process.dice.choice(kinds) if ill else ""
        with self.lock:
            self.faults[fault or "none"] += 1
        if fault == "refused":
            return Answer(None, sent=False, detail="Connection refused")
        if fault and not fault.endswith("taken"):
            return Answer(None, sent=True) if fault == "cut" else Answer(int(fault[:3]), sent=True)
        problems = check_mail(body, set())
        with self.lock:
            self.refusals += problems
            for person in body["personalizations"]:
                (to,) = person["to"]
                words = json.loads(body["content"][0]["value"])
                self.taken.append((body["custom_args"]["kimi_message_id"], to["email"], words))
        step()
        if fault:
            return Answer(None, sent=True) if fault == "cut taken" else Answer(504, sent=True)
        return Answer(202, sent=True, message_id="sg")

    def events(self, dice: random.Random, since: int) -> bytes:
        """Tell of the mails taken since then: some twice, some not, in any order."""
        told = []
        for number, (message_id, email, _) in enumerate(self.taken[since:], since):
            fate = dice.choice(["delivered", "delivered", "bounce", "deferred", "spamreport"])
            told += [
                {
                    "event": kind,
                    "email": email,
                    "kimi_message_id": message_id,
                    "timestamp": 1_770_000_000 + number,
                    "sg_event_id": f"{number}-{kind}",
                }
                for kind in ("processed", fate)
            ]
        told = [one for one in told if dice.random() < 0.7] + [
            one for one in told if dice.random() < 0.2
        ]
        dice.shuffle(told)
        return json.dumps(told).encode()


@contextmanager
def installed(service: Service, clock: Any) -> Any:
    """Put the service in SendGrid's place, a step at each write, and the clock in the wall's place."""
    from kimi_provider.alerts import delivery, desk, ledger, sendgrid, store
    from kimi_provider.hooks import alert_state, telling
    from kimi_provider.storage import create_bytes, write_text

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return clock().astimezone(tz)

    def creating(path: Any, data: bytes) -> None:
        step()
        create_bytes(path, data)
        step()

    def writing(path: Any, text: str) -> None:
        step()
        write_text(path, text)
        step()

    async def send(_: object, body: Any) -> Any:
        return service.post(body)

    open_desk = desk.Desk.open

    def opening(self: Any, *of: Any) -> Any:
        opened = open_desk(self, *of)
        for item in opened.items:  # before a claim takes out what a later run has told
            service.planned.setdefault(item.id, item)
        return opened

    def notice(self: Any, hook: Any, item: Any, context: Any) -> Any:
        words = json.dumps([[event.rule, event.status] for event in item.events])
        return self._build(hook, subject="Alert", html=f"<p>{words}</p>", text=words)

    with (
        patch.object(ledger, "create_bytes", creating),
        patch.object(ledger, "write_text", writing),
        patch.object(store, "create_bytes", creating),
        patch.object(desk.Desk, "open", opening),
        patch.object(ledger, "datetime", Clock),
        patch.object(alert_state, "datetime", Clock),
        patch.object(sendgrid.SendGridClient, "send", send),
        patch.object(delivery._Delivery, "_wait", lambda *_: 0.0),
        patch.object(telling.Telling, "_notice", notice),
    ):
        yield


@dataclass
class Series:
    """Runs of one alert task, one after the other, some at once."""

    folder: Path
    dice: random.Random
    misfortune: float
    service: Service = field(default_factory=Service)
    items: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, str] = field(default_factory=dict)
    order: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    now: datetime = START

    def clock(self) -> datetime:
        return self.now

    def play(self) -> dict[str, int]:
        """Go through the runs; return each rule's last figure."""
        values = dict.fromkeys(RULES, 0)
        at, told = START, 0
        moments: list[tuple[datetime, dict[str, int]]] = []
        for run in range(RUNS_IN_A_SERIES):
            at += self.dice.choice([timedelta(minutes=10), timedelta(hours=1), timedelta(hours=23)])
            values = {k: int(not v) if self.dice.random() < 0.3 else v for k, v in values.items()}
            moments.append((at, values))
            # Wall clocks are put right, and servers of other zones take over.
            self.now = at + timedelta(hours=self.dice.choice([0, 0, 0, -5, 3]))
            self.run(f"run{run}", at, values)
            if self.dice.random() < 0.2:
                old = max(run - self.dice.choice([1, 3]), 0)
                self.counts["cleared"] += 1
                self.attempt(f"run{old}", *moments[old])
            if self.dice.random() < 0.1:
                self.backfill(run)
            if self.dice.random() < 0.3:
                told = self.tell(told)
        self.misfortune = 0.0
        for calm in range(3):
            self.run(f"calm{calm}", at + (calm + 1) * timedelta(hours=30), values)
        return values

    def run(self, run_id: str, at: datetime, values: dict[str, int]) -> None:
        for _ in range(4):
            if self.dice.random() < 0.1:
                self.at_once(run_id, at, values)
            if self.attempt(run_id, at, values):
                return

    def at_once(self, run_id: str, at: datetime, values: dict[str, int]) -> None:
        """Let two workers try the same run: the first is thought to be lost, and is not."""
        self.counts["at once"] += 1
        seeds = [self.dice.random(), self.dice.random()]
        both = [
            threading.Thread(target=self.attempt, args=(run_id, at, values), kwargs={"seed": seed})
            for seed in seeds
        ]
        for one in both:
            one.start()
        for one in both:
            one.join()

    def backfill(self, run: int) -> None:
        before = len(self.service.taken)
        self.counts["backfills"] += 1
        at = START - timedelta(days=30 - run)
        self.attempt(f"backfill{run}", at, dict.fromkeys(RULES, 1), kind="backfill")
        assert len(self.service.taken) == before, "a backfill told somebody"

    def tell(self, since: int) -> int:
        from kimi_provider.alerts.events import parse_events, record
        from kimi_provider.hooks.mail_index import ledger_of_mail

        self.counts["events"] += sum(
            record(parse_events(self.service.events(self.dice, since)), ledger_of_mail).values()
        )
        return len(self.service.taken)

    def attempt(
        self,
        run_id: str,
        at: datetime,
        values: dict[str, int],
        *,
        kind: str = "scheduled",
        seed: float | None = None,
    ) -> bool:
        """Try a run as Airflow would; return whether it would be tried again by itself no more."""
        from airflow.sdk import DAG
        from airflow.sdk.exceptions import AirflowFailException

        from kimi_provider.alerts import Threshold
        from kimi_provider.alerts.settings import AlertSettings
        from kimi_provider.exceptions import AlertError
        from kimi_provider.operators.alert import AlertOperator
        from kimi_provider.schemas import Fact, FactSheet, Lineage

        seed = self.dice.random() if seed is None else seed
        process = Process(random.Random(seed), self.misfortune)  # noqa: S311 — no secret
        lineage = Lineage(sql="SELECT 1")
        facts = [Fact(id=k, label=k, value=v, lineage=lineage) for k, v in values.items()]
        operator = AlertOperator(
            task_id="alert",
            dag=DAG("d", schedule=None),
            rules=[Threshold(name, above=0, name=name) for name in RULES],
            to=list(PEOPLE),
            facts=FactSheet(facts=facts).model_dump(mode="json"),
            settings=AlertSettings(repeat_interval=None, flap_changes=0),
        )
        zone = timezone(timedelta(hours=process.dice.choice([0, -8, 9])))
        run = SimpleNamespace(logical_date=at.astimezone(zone), run_after=at, run_type=kind)
        ti = SimpleNamespace(
            dag_id="d", run_id=run_id, task_id="alert", map_index=-1, try_number=1, xcom_push=dict
        )
        self.counts["tries"] += 1
        token = PROCESS.set(process)
        try:
            operator.execute({"ti": ti, "dag_run": run})
        except Killed:
            self.counts["kills"] += 1
            return False
        except AirflowFailException:
            self.counts["errors"] += 1
            return True
        except AlertError:
            self.counts["errors"] += 1
            return False
        else:
            return True
        finally:
            PROCESS.reset(token)
            self.look()

    def look(self) -> None:
        """Keep what the book has planned; it forgets old runs."""
        for plan in self.book().plans:
            for item in plan.items:
                self.items.setdefault(item.id, (plan.run_id, item))
                self.progress[item.id] = item.progress.value

    def book(self) -> Any:
        from kimi_provider.alerts.store import Store
        from kimi_provider.hooks.storage import storage_root

        return Store(storage_root() / "alerts" / "d" / "alert").read()

    def judge(self, values: dict[str, int]) -> Counter[str]:
        """Hold the mailbox against the ledger and the book; return how many mails are in which state."""
        from kimi_provider.alerts.addresses import Recipient
        from kimi_provider.alerts.ledger import Ledger, message_id
        from kimi_provider.hooks.mail_index import ledger_of_mail

        assert not self.service.refusals, self.service.refusals
        taken = Counter((mail, person) for mail, person, _ in self.service.taken)
        heard = {(mail, person): words for mail, person, words in self.service.taken}
        assert set(taken.values()) <= {1}, "a recipient got one mail twice"
        states: Counter[str] = Counter()
        unsaid: Counter[tuple[str, str]] = Counter()
        for item_id, (run_id, item) in self.items.items():
            mail = message_id("d", run_id, "alert", -1, content=item_id)
            number = int(run_id.removeprefix("run").removeprefix("calm"))
            self.order[mail] = number + RUNS_IN_A_SERIES * run_id.startswith("calm")
            folder = ledger_of_mail(mail)
            for person in PEOPLE:
                entry = None if folder is None else Ledger(folder, mail).read(Recipient(person))
                status = "none" if entry is None else entry.known.value
                states[status] += 1
                got = taken.pop((mail, person), 0)
                where = (item_id, person, status, self.progress[item_id])
                if status in {"none", "failed", "rejected"}:
                    assert got == 0, where
                elif status != "ambiguous":
                    assert got == 1, where
                if self.progress[item_id] == "sent":
                    assert got == 1, where
                words = [rule for rule, _ in heard.get((mail, person), ())]
                planned = self.service.planned.get(item_id, item)
                unsaid.update((person, e.rule) for e in planned.events if e.rule not in words)
        assert not taken, "a mail that no run had planned"
        self.judge_words(values, unsaid)
        states["mails"] = len(self.service.taken)
        return states

    def judge_words(self, values: dict[str, int], unsaid: Counter[tuple[str, str]]) -> None:
        """Hold what each recipient has heard against what held, and against what is on record."""
        said: dict[tuple[str, str], list[str]] = defaultdict(list)
        # In the order of the runs: a retry of an old one can still send what one recipient has missed.
        for _, person, words in sorted(self.service.taken, key=lambda one: self.order[one[0]]):
            for rule, status in words:
                said[person, rule].append(status)
        for person in PEOPLE:
            for rule, value in values.items():
                heard = said[person, rule]
                again = sum(one == other for one, other in pairwise(heard))
                assert again <= unsaid[person, rule], ("told twice", person, rule, heard)
                knows = bool(heard and heard[-1] == "firing") == bool(value)
                assert knows or unsaid[person, rule], ("lost without a record", person, rule, heard)


def simulate(runs: int, seed: int, home: Path) -> Counter[str]:
    """Play series until so many runs are done; return what happened, counted."""
    total: Counter[str] = Counter()
    connection = {
        "conn_type": "sendgrid",
        "password": "SG.key",
        "extra": {"from_email": "robot@example.org"},
    }
    for number in range(-(-runs // RUNS_IN_A_SERIES)):
        folder = home / str(number)
        environment = {
            "AIRFLOW__KIMI__STORAGE_PATH": folder.as_uri(),
            "AIRFLOW_CONN_SENDGRID_DEFAULT": json.dumps(connection),
        }
        dice = random.Random(f"{seed}-{number}")  # noqa: S311 — no secret
        series = Series(folder, dice, misfortune=dice.choice([0.005, 0.02, 0.06]))
        with patch.dict(os.environ, environment), installed(series.service, series.clock):
            values = series.play()
            total += series.judge(values)
        total += series.counts
        total += Counter({f"answer {name}": n for name, n in series.service.faults.items()})
        total["runs"] += RUNS_IN_A_SERIES
        shutil.rmtree(folder, ignore_errors=True)
    return total


def test_everyone_is_mailed_once_or_the_ledger_says_why_not(tmp_path: Path) -> None:
    logging.disable(logging.ERROR)
    try:
        seen = simulate(150, seed=7, home=tmp_path)
    finally:
        logging.disable(logging.NOTSET)
    for kind in ("kills", "errors", "at once", "backfills", "cleared", "events", "ambiguous"):
        assert seen[kind], f"the dice never threw {kind}"
    assert {name for name in seen if name.startswith("answer")} >= {
        f"answer {kind}" for kind in ("none", "429", "500", "504 taken", "cut", "cut taken", "refused")
    }
    assert seen["mails"] > 100


def main() -> None:
    """Simulate as many runs as asked for, and print what happened."""
    import airflow.sdk  # noqa: F401 — sets up logging of its own, which is taken back here

    logging.disable(logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    memory = Path("/dev/shm")  # noqa: S108 — nothing in it is secret
    home = Path(tempfile.mkdtemp(prefix="kimi-simulation-", dir=memory if memory.is_dir() else None))
    began = time.monotonic()
    try:
        seen = simulate(runs, seed, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"{seen['runs']} runs in {time.monotonic() - began:.0f} s, seed {seed}")  # noqa: T201 — a program
    print(json.dumps(dict(sorted(seen.items())), indent=1))  # noqa: T201 — the same


if __name__ == "__main__":
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-simulation-"))
    with suppress(KeyboardInterrupt):
        main()

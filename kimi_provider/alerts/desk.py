"""One run at work: look, decide, write the plan down, and claim each notification before it leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.book import Book, Item, Plan, Progress
from kimi_provider.alerts.evaluation import Explanation, explain_scene
from kimi_provider.alerts.grouping import group
from kimi_provider.alerts.scene import Scene
from kimi_provider.alerts.state import Attention, Decision, Moment, advance, recover
from kimi_provider.schemas import AlertEvent, DeliveryReceipt, DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.alerts.rule import Rule
    from kimi_provider.alerts.settings import AlertSettings
    from kimi_provider.alerts.store import Store
    from kimi_provider.schemas import Analysis, DatasetRef, Fact

# What a task returns lies in Airflow's database; all of it is in alert.json.
_MOST_EVENTS = 50

_STATUS = {
    Progress.SENT: DeliveryStatus.QUEUED,
    Progress.FAILED: DeliveryStatus.FAILED,
    Progress.AMBIGUOUS: DeliveryStatus.AMBIGUOUS,
    Progress.SENDING: DeliveryStatus.AMBIGUOUS,
    Progress.PLANNED: DeliveryStatus.FAILED,
}


@dataclass(frozen=True)
class Material:
    """What a run has for its rules.

    :param analysis: what the model made of the data, where one was asked.
    :param facts: the fact sheet by id.
    :param datasets: the fetched datasets by name.
    """

    analysis: Analysis | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    datasets: Mapping[str, DatasetRef] = field(default_factory=dict)


@dataclass(frozen=True)
class Opening:
    """What a run saw and has to tell.

    :param seen: what each rule saw.
    :param decisions: who is told of what, who is not, and why; none where an earlier try decided.
    :param items: the notifications, with what is known of each.
    :param resumed: whether an earlier try of the run decided.
    """

    seen: tuple[Explanation, ...]
    decisions: tuple[Decision, ...]
    items: tuple[Item, ...]
    resumed: bool = False

    @property
    def events(self) -> tuple[AlertEvent, ...]:
        """The rules that fired, and the alerts that are over; the worst of them, if they are many."""
        fired = [one.as_event() for one in self.seen if one.fired]
        over = [event for item in self.items for event in item.events if event.status == "resolved"]
        # Several receivers are told of the same end.
        events = list({event.model_dump_json(): event for event in (*fired, *over)}.values())
        if len(events) <= _MOST_EVENTS:
            return tuple(events)
        worst = sorted(events, key=lambda event: (event.status != "firing", -event.severity.rank))
        return tuple(worst[:_MOST_EVENTS])

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON: each rule and why it fired or did not, and who was told of what."""
        return {
            "rules": [one.as_row() for one in self.seen],
            "decisions": [
                {
                    "rule": one.event.rule,
                    "labels": one.event.labels,
                    "status": one.event.status,
                    "receiver": one.target.receiver,
                    "told": one.tell,
                    "why": one.why,
                    "key": one.key,
                }
                for one in self.decisions
            ],
        }


class Claim(Enum):
    """Whether a notification may leave now."""

    SEND = auto()
    DONE = auto()
    AMBIGUOUS = auto()
    SUPERSEDED = auto()  # a later run has told it


class Desk:
    """One run of one alert task. Its methods block.

    :param store: the task's book.
    :param settings: how alerts behave.
    :param moment: the run.
    :param run_id: the run; each of its tries has the same.
    :param decided: whether an earlier try of the run has decided. The book forgets plans in time, and a
        run that is cleared after that is still no new one.
    """

    def __init__(
        self,
        store: Store,
        settings: AlertSettings,
        moment: Moment,
        run_id: str,
        *,
        decided: bool = False,
    ) -> None:
        self._store = store
        self._decided = decided
        self._settings = settings
        self._moment = moment
        self._run_id = run_id

    def open(self, rules: Sequence[Rule], material: Material, attention: Attention) -> Opening:
        """Show the run to the rules, and write down what is to be told.

        A later try of the run finds the plan and keeps to it, and has nothing to tell where the plan is
        forgotten.

        :param rules: the rules.
        :param material: what they look at.
        :param attention: silences and acknowledgements.
        :raises RuleError: if a rule asks for something that the run does not have; nothing is told.
        :raises AlertError: if the book cannot be read or written.
        """
        return self._store.update(lambda book: self._plan(book, rules, material, attention))

    def claim(self, item: Item) -> tuple[Claim, Item]:
        """Write down that a notification is about to leave, unless it did, or another try sends it.

        :returns: whether it may leave, and the notification as it is now: without what a later run has
            told meanwhile.
        """
        return self._store.update(lambda book: self._claim(book, item))

    def close(self, item: Item, progress: Progress, detail: str = "") -> None:
        """Write down what came of a notification.

        :param item: the notification.
        :param progress: what is known of it.
        :param detail: why, without addresses and keys.
        """
        after = item.model_copy(update={"progress": progress, "detail": detail})
        self._store.update(lambda book: (book.with_item(self._run_id, after), None))

    def _plan(
        self, book: Book, rules: Sequence[Rule], material: Material, attention: Attention
    ) -> tuple[Book, Opening]:
        moment, settings = self._moment, self._settings
        scene = Scene(
            material.analysis,
            material.facts,
            datasets=material.datasets,
            history=book.history.before(moment.at),
        )
        seen = explain_scene(rules, scene)
        plan = book.plan_of(self._run_id)
        again = plan is not None and plan.done and settings.tell_cleared
        if plan is not None and not again:
            return book, Opening(seen, (), plan.items, resumed=True)
        generation = 0
        if plan is None and self._decided:
            if not settings.tell_cleared:
                return book, Opening(seen, (), (), resumed=True)
            # Which one it was is forgotten, too; what the ledger knows must not be taken for this one.
            generation = int(moment.now.timestamp())
        if plan is not None:
            generation = plan.generation + 1
            for item in plan.items:
                book = book.untold(item, plan.at)
        book = recover(book, self._run_id, moment.now)
        book, decisions = advance(
            book, seen, moment, settings, targets=settings.route.targets, attention=attention
        )
        book, items = group(
            book,
            decisions,
            moment,
            item_prefix=f"{sorted(moment.place.items())}:{self._run_id}:{generation}",
            tolerance=settings.tolerance,
        )
        history = book.history.with_record(scene.record(rules, moment.at), keep=settings.keep_runs)
        plan = Plan(
            run_id=self._run_id,
            at=moment.at,
            made_at=moment.now,
            generation=generation,
            items=items,
        )
        book = book.model_copy(update={"history": history}).with_plan(plan)
        return book, Opening(seen, decisions, items)

    def _claim(self, book: Book, item: Item) -> tuple[Book, tuple[Claim, Item]]:
        plan = book.plan_of(self._run_id)
        current = next((one for one in plan.items if one.id == item.id), None) if plan else None
        if plan is None or current is None or current.progress is Progress.SENT:
            return book, (Claim.DONE, current or item)
        doubtful = current.progress in {Progress.SENDING, Progress.AMBIGUOUS}
        if doubtful and not self._settings.resend_ambiguous:
            lost = current.model_copy(update={"progress": Progress.AMBIGUOUS})
            return book.with_item(self._run_id, lost), (Claim.AMBIGUOUS, lost)
        if current.progress is Progress.FAILED:
            again, left = book.retold(current, plan.at)
        else:
            again, left = book, current.only(book.standing(current, plan.at))
        if not left.keys:
            return book, (Claim.SUPERSEDED, current)
        begun = left.model_copy(update={"progress": Progress.SENDING, "detail": ""})
        return again.with_item(self._run_id, begun), (Claim.SEND, begun)


def receipt_of(item: Item, progress: Progress, detail: str = "") -> DeliveryReceipt:
    """Return what is known of a notification as a receipt; the recipient is the receiver's name."""
    return DeliveryReceipt(
        recipient=item.receiver, status=_STATUS[progress], message_id=item.id, detail=detail
    )

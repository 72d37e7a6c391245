"""From decisions to notifications: which alerts go together to whom, now or with the next digest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.alerts.book import Book, Held, Item
from kimi_provider.alerts.routing import EACH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.alerts.routing import Target
    from kimi_provider.alerts.state import Decision, Moment
    from kimi_provider.schemas import AlertEvent


@dataclass(frozen=True)
class _Group:
    receiver: str
    dedup_key: str


def group(
    book: Book, decisions: Sequence[Decision], moment: Moment, *, item_prefix: str, tolerance: float
) -> tuple[Book, tuple[Item, ...]]:
    """Return the notifications of a run, and the book with what waits for digests.

    :param book: what is known after the run.
    :param decisions: what is to be told.
    :param moment: the run.
    :param item_prefix: makes the notifications' ids the run's own.
    :param tolerance: the part of a digest's time that may be missing.
    """
    gathered: dict[_Group, list[Decision]] = defaultdict(list)
    for decision in decisions:
        if decision.tell:
            gathered[_group_of(decision.key, decision.event, decision.target, moment)].append(decision)
    over = Counter(d.target.receiver for d in decisions if d.over)
    held = dict(book.held)
    items = []
    for key, members in gathered.items():
        digest = members[0].target.digest
        before = held.get(_held_name(key))
        if digest is not None:
            due = moment.at + digest * (1 - tolerance)
            held[_held_name(key)] = _hold(before, members, Held(due=due, receiver=key.receiver))
        else:
            items.append(_item(key, members, book, moment, more=over[key.receiver], prefix=item_prefix))
    for name, waiting in list(held.items()):
        if moment.at >= waiting.due:
            items.append(_digest_item(name, waiting, item_prefix))
            del held[name]
    return book.model_copy(update={"held": held}), tuple(items)


def _group_of(key: str, event: AlertEvent, target: Target, moment: Moment) -> _Group:
    if EACH in target.group_by:
        return _Group(target.receiver, key)
    labels = {**event.labels, **moment.place, "rule": event.rule}
    parts = [sorted(moment.place.items()), target.receiver, target.group_of(labels)]
    return _Group(target.receiver, hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32])


def _item(
    key: _Group,
    members: Sequence[Decision],
    book: Book,
    moment: Moment,
    *,
    more: int,
    prefix: str,
) -> Item:
    ordered = sorted(
        members,
        key=lambda d: (d.event.status != "firing", -d.event.severity.rank, d.event.rule, d.key),
    )
    return Item(
        id=_item_id(prefix, key),
        receiver=key.receiver,
        dedup_key=key.dedup_key,
        keys=tuple(d.key for d in ordered),
        events=tuple(d.event for d in ordered),
        why=tuple(d.why for d in ordered),
        before={d.key: d.before for d in ordered if d.why != "every run"},
        group_firing=_still_firing(key, members, book, moment),
        more=more,
    )


def _still_firing(key: _Group, members: Sequence[Decision], book: Book, moment: Moment) -> bool:
    """Whether the receiver knows of any alert of the group that fires."""
    if any(member.event.status == "firing" for member in members):
        return True
    target = members[0].target
    return any(
        _group_of(name, state.as_event(), target, moment) == key
        for name, state in book.alerts.items()
        if key.receiver in state.told and state.told[key.receiver].firing
    )


def _hold(before: Held | None, members: Sequence[Decision], fresh: Held) -> Held:
    held = before or fresh
    latest: Mapping[str, AlertEvent] = dict(zip(held.keys, held.events, strict=True)) | {
        member.key: member.event for member in members
    }
    return held.model_copy(update={"keys": tuple(latest), "events": tuple(latest.values())})


def _digest_item(name: str, held: Held, prefix: str) -> Item:
    return Item(
        id=_item_id(prefix, _Group(held.receiver, f"digest:{name}")),
        receiver=held.receiver,
        dedup_key=name.rpartition(":")[2],
        keys=held.keys,
        events=held.events,
        why=("digest",) * len(held.keys),
        group_firing=any(event.status == "firing" for event in held.events),
        digest=True,
    )


def _held_name(key: _Group) -> str:
    return f"{key.receiver}:{key.dedup_key}"


def _item_id(prefix: str, key: _Group) -> str:
    return hashlib.sha256(f"{prefix}:{key.receiver}:{key.dedup_key}".encode()).hexdigest()[:32]

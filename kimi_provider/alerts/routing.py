"""Who is told of what: a tree of routes, in the manner of Alertmanager's.

DAG files import this at every parse, so it takes nothing heavier than the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.alerts.matching import all_match, matchers
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from kimi_provider.alerts.hours import Hours

MAIL = "mail"
# Alertmanager's word for grouping by all labels: each alert is told of by itself.
EACH = "..."


@dataclass(frozen=True)
class Escalation:
    """Tells somebody else of what nobody has acknowledged.

    :param after: how long an alert fires, by logical dates, before the receiver is told.
    :param receiver: who is told.
    """

    after: timedelta
    receiver: str


@dataclass(frozen=True)
class Route:
    """Which receiver is told of which alerts.

    An alert enters at the root, which takes everything, and goes to the first child that it matches, and
    so on down; behind a child with ``continue_`` the next ones are looked at too. Where no child
    matches, the route itself takes the alert. What a route does not say, it has from its parent.

    :param receiver: name of the receiver.
    :param match: conditions on labels, all of which must hold: ``severity=critical``, ``rule!=always``,
        ``fact=~by_carrier.*``, ``severity>=warning``. Labels are those of the rule, and ``severity``,
        ``rule``, ``dag_id``, ``task_id``.
    :param routes: children.
    :param continue_: whether the siblings after this one are looked at too.
    :param group_by: labels; alerts that agree in them are told of together. By default all alerts of a
        run are; ``["..."]`` is one notification for each alert, which is what PagerDuty needs.
    :param repeat_interval: instead of that of the settings.
    :param digest: gather for this much time, and tell all at once.
    :param hours: when the receiver may be told; see :class:`~kimi_provider.alerts.hours.Hours`.
    :param escalate: whom to tell else, and after what time without acknowledgement.
    :raises ConfigurationError: if a matcher is malformed.
    """

    receiver: str | None = None
    match: str | Sequence[str] = ()
    routes: Sequence[Route] = ()
    continue_: bool = False
    group_by: Sequence[str] | None = None
    repeat_interval: timedelta | None = None
    digest: timedelta | None = None
    hours: Hours | None = None
    escalate: Sequence[Escalation] | None = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        matchers(self.match)
        if isinstance(self.group_by, str):
            raise ConfigurationError(f"group_by must be a list of labels; got {self.group_by!r}.")

    def named_receivers(self) -> set[str]:
        """Return the names of all receivers in the tree."""
        own = {self.receiver} if self.receiver else set()
        own |= {step.receiver for step in self.escalate or ()}
        return own.union(*(child.named_receivers() for child in self.routes))

    def targets(self, labels: Mapping[str, str]) -> tuple[Target, ...]:
        """Return who is told of an alert, each receiver once.

        :param labels: those of the alert, with ``severity`` and ``rule``.
        """
        found: dict[str, Target] = {}
        for target in self._descend(labels, Target(receiver=MAIL)):
            for one in (target, *target.escalations()):
                found.setdefault(one.receiver, one)
        return tuple(found.values())

    def _descend(self, labels: Mapping[str, str], parent: Target) -> Iterator[Target]:
        own = parent.refined(self)
        taken = False
        for child in self.routes:
            if all_match(matchers(child.match), labels):
                taken = True
                yield from child._descend(labels, own)  # noqa: SLF001 — a route's child
                if not child.continue_:
                    break
        if not taken:
            yield own


@dataclass(frozen=True)
class Target:
    """Whom to tell of an alert, and how.

    :param receiver: name of the receiver.
    :param after: tell only what nobody acknowledged for so long: an escalation.

    The rest is as in :class:`Route`.
    """

    receiver: str
    group_by: tuple[str, ...] = ()
    repeat_interval: timedelta | None = None
    digest: timedelta | None = None
    hours: Hours | None = None
    escalate: tuple[Escalation, ...] = ()
    after: timedelta | None = None

    def refined(self, route: Route) -> Target:
        """Return the target with what a route below says."""
        return Target(
            receiver=route.receiver or self.receiver,
            group_by=self.group_by if route.group_by is None else tuple(route.group_by),
            repeat_interval=route.repeat_interval or self.repeat_interval,
            digest=route.digest or self.digest,
            hours=route.hours or self.hours,
            escalate=self.escalate if route.escalate is None else tuple(route.escalate),
        )

    def escalations(self) -> tuple[Target, ...]:
        """Return those who are told later; at any hour and at once, since nobody answered."""
        return tuple(
            Target(step.receiver, self.group_by, self.repeat_interval, after=step.after)
            for step in self.escalate
        )

    def open_at(self, now: datetime) -> bool:
        """Whether the receiver may be told at a moment."""
        return self.hours is None or self.hours.open_at(now)

    def group_of(self, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """Return what tells the group of an alert from others."""
        names = sorted(labels) if EACH in self.group_by else self.group_by
        return tuple((name, labels.get(name, "")) for name in names if name != "severity")

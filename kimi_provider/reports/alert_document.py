"""Alerts and failures: as they come in, and as a document that the templates of alerts print."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from kimi_provider.reports.document import Direction
    from kimi_provider.schemas import Severity

AlertStatus = Literal["firing", "resolved"]


# --- what comes in --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """Where to look; the address is http or https."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class NoticeEvent:
    """An alert to be told of.

    :param rule: how the rule is named.
    :param reason: what it saw, as a sentence.
    :param labels: tell the alert from others of the same rule.
    :param since: when it began, with its offset.
    :param until: when it was over.
    :param times: how many runs in a row saw it; 0 where nobody counts.
    :param steps: what to do, a sentence each.
    """

    rule: str
    reason: str
    severity: Severity
    status: AlertStatus = "firing"
    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    times: int = 0
    steps: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that failed, for its owner.

    :param error: type and message, secrets taken out; several lines are kept.
    :param attempt: which try it was, from 1; ``attempts`` is how many there are. 0 where not known.
    :param steps: what to do, a sentence each.
    :param log_url: address of the task's log.
    """

    task: str
    dag: str
    run: str
    error: str
    at: datetime
    attempt: int = 0
    attempts: int = 0
    steps: tuple[str, ...] = ()
    log_url: str = ""
    links: tuple[Link, ...] = ()


# --- what the templates print ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AlertBlock:
    """An alert, printed. ``level`` and ``status_word`` are severity and status as words.

    ``mark`` is what it is colored by: the severity, or ``resolved``. ``facts`` are (name, value) lines:
    since, lasted, seen, and the labels.
    """

    title: str
    reason: str
    severity: Severity
    level: str
    status: AlertStatus
    status_word: str
    mark: str
    facts: tuple[tuple[str, str], ...]
    steps: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertDocument:
    """A notice: alerts (``events``, the most serious first), or a failure (``error``, ``details``).

    ``mark`` colors the bar at the top: a severity, or ``resolved``; ``state`` is the word in it.
    ``firing`` and ``resolved`` part the events by status. ``more`` says how many are not shown.
    ``steps`` and ``links`` are those of the failure, or of the alerts, each once.
    """

    title: str
    headline: str
    subject: str
    preheader: str
    language: str
    direction: Direction
    mark: str
    state: str
    generated: str
    events: tuple[AlertBlock, ...] = ()
    more: str = ""
    error: str = ""
    details: tuple[tuple[str, str], ...] = ()
    steps: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def firing(self) -> tuple[AlertBlock, ...]:
        """The events that go on."""
        return tuple(event for event in self.events if event.status == "firing")

    @property
    def resolved(self) -> tuple[AlertBlock, ...]:
        """The events that are over."""
        return tuple(event for event in self.events if event.status == "resolved")

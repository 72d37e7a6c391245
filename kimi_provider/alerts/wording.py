"""A notification in words: title, text and HTML, and the fields that notifiers get."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.plain import html_of_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.alerts.book import Item
    from kimi_provider.schemas import AlertEvent

_NAMED_IN_TITLE = 3
_LONGEST_TITLE = 150


@dataclass(frozen=True)
class Place:
    """The run that tells, as its readers know it.

    :param labels: DAG, task and, where it is mapped, map index.
    :param run_id: the run.
    :param logical_date: its date, as text.
    :param report_url: link to the report's page, where there is one.
    :param report_subject: the report's subject.
    :param log_url: link to the task's log.
    """

    labels: Mapping[str, str]
    run_id: str
    logical_date: str = ""
    report_url: str | None = None
    report_subject: str | None = None
    log_url: str | None = None


def title_of(item: Item) -> str:
    """Return one line: how severe, and what."""
    events = item.events
    firing = [event for event in events if event.status == "firing"]
    names = list(dict.fromkeys(_name(event) for event in (firing or events)))
    shown = ", ".join(names[:_NAMED_IN_TITLE])
    rest = len(names) - _NAMED_IN_TITLE
    what = f"{shown} and {rest} more" if rest > 0 else shown
    mark = _worst(firing).capitalize() if firing else "Resolved"
    title = f"[{mark}] {what}"
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"


def text_of(item: Item, place: Place) -> str:
    """Return the notification as plain text."""
    lines = [
        f"{event.severity.value.upper() if event.status == 'firing' else 'RESOLVED'}: {_name(event)}\n"
        f"{event.reason}"
        for event in item.events
    ]
    if item.more:
        lines.append(f"And {item.more} more, which wait for the next run.")
    where = f"{place.labels.get('dag_id', '')}, task {place.labels.get('task_id', '')}"
    lines.append(f"{where}, run {place.run_id}")
    lines += [
        f"{name}: {url}" for name, url in (("Report", place.report_url), ("Log", place.log_url)) if url
    ]
    return "\n\n".join(lines)


def fields_of(item: Item, place: Place) -> dict[str, Any]:
    """Return what a notifier's templates find under ``kimi_alert``.

    :param item: the notification.
    :param place: the run.

    ``title``, ``text`` and ``html`` say it; ``slack`` is the same with Slack's three special characters
    escaped, so that no text from data can call a channel. ``status`` is ``firing`` or ``resolved``,
    ``event_action`` PagerDuty's word for it, ``dedup_key`` the group's in each run. ``events`` are the
    alerts, each with its ``key``; ``labels`` those that all of them share.
    """
    title, text = title_of(item), text_of(item, place)
    firing = item.group_firing
    shared = _shared([event.labels for event in item.events])
    return {
        "title": title,
        "text": text,
        "html": html_of_text(text),
        "slack": html.escape(f"*{title}*\n{text}", quote=False),
        "status": "firing" if firing else "resolved",
        "severity": _worst([e for e in item.events if e.status == "firing"] or item.events),
        "event_action": "trigger" if firing else "resolve",
        "dedup_key": item.dedup_key,
        "labels": shared,
        "events": [
            {**event.model_dump(mode="json"), "key": key, "why": why}
            for event, key, why in zip(item.events, item.keys, item.why, strict=True)
        ],
        "more": item.more,
        "report_url": place.report_url,
        "report_subject": place.report_subject,
        "log_url": place.log_url,
        "run": {**place.labels, "run_id": place.run_id, "logical_date": place.logical_date},
    }


def _name(event: AlertEvent) -> str:
    fact = event.labels.get("fact")
    return f"{event.rule} ({fact})" if fact and fact not in event.rule else event.rule


def _worst(events: Sequence[AlertEvent]) -> str:
    return max((event.severity for event in events), key=lambda severity: severity.rank).value


def _shared(labels: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first = labels[0] if labels else {}
    return {name: v for name, v in first.items() if all(one.get(name) == v for one in labels)}

"""A notification of alerts as a mail of its own, drawn by the templates of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from kimi_provider.alerts.book import Item
    from kimi_provider.alerts.settings import AlertSettings
    from kimi_provider.alerts.wording import Place
    from kimi_provider.reports.notice import Notice

# From so many alerts on, a table of them is easier to read than one card after the other.
_MANY = 6


async def draw_notice(item: Item, place: Place, settings: AlertSettings, dag: DAG | None) -> Notice:
    """Draw a notification as a mail.

    :param item: the notification.
    :param place: the run.
    :param settings: language, time zone and brand.
    :param dag: the DAG, whose template folders come first.
    :raises TemplateError: if a template is malformed.
    """
    from datetime import UTC, datetime

    from kimi_provider.hooks.templates import template_search_path
    from kimi_provider.reports.alert_document import Link, NoticeEvent
    from kimi_provider.reports.notice import build_notice

    pages = (("Report", place.report_url), ("Log", place.log_url))
    links = tuple(Link(label, url) for label, url in pages if url and url.startswith("http"))
    events = [
        NoticeEvent(
            rule=event.rule,
            reason=event.reason,
            severity=event.severity,
            status=event.status,
            labels=event.labels,
            links=links,
        )
        for event in item.events
    ]
    return await build_notice(
        _template(item),
        events,
        search_path=(*template_search_path("alerts", dag), *template_search_path("reports", dag)),
        now=datetime.now(UTC),
        waiting=item.more,
        title=_title(place),
        brand=settings.brand,
        locale=settings.locale,
        timezone=settings.timezone,
    )


def _title(place: Place) -> str:
    task = place.labels.get("task_id")
    return ", ".join(
        [
            place.labels.get("dag_id", ""),
            *([f"task {task}"] if task else []),
            f"run {place.run_id}",
        ]
    )


def _template(item: Item) -> str:
    if all(event.status == "resolved" for event in item.events):
        return "resolved"
    return "digest" if item.digest or len(item.events) >= _MANY else "alert"

"""The plugin that Airflow loads in every process; it stays empty until the API server asks.

Each task process imports this module before the task starts. Building the web application there
would add about 300 modules and more than a second to every task, so it is built when it is read.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from collections.abc import Callable

URL_PREFIX = "/kimi"
MAIL_EVENTS_PREFIX = "/kimi-sendgrid"


class _OnFirstUse:
    """A list that is made when it is first read, from the class or from an instance of it.

    Airflow makes an instance of a plugin that an entry point names, but takes the class itself
    where the provider's metadata names it, so a property would not do.
    """

    def __init__(self, make: Callable[[], list[dict[str, Any]]]) -> None:
        self._make = cache(make)

    def __get__(self, instance: object, owner: type) -> list[dict[str, Any]]:
        return self._make()


def _fastapi_apps() -> list[dict[str, Any]]:
    from kimi_provider.plugins.app import create_app
    from kimi_provider.plugins.sendgrid_events import create_app as create_mail_events

    return [
        {"name": "Kimi", "url_prefix": URL_PREFIX, "app": create_app()},
        {"name": "Kimi mail events", "url_prefix": MAIL_EVENTS_PREFIX, "app": create_mail_events()},
    ]


def _external_views() -> list[dict[str, Any]]:
    from airflow.sdk import conf

    base_path = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    pages = f"{base_path}{URL_PREFIX}"
    task = "{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}"
    return [
        # Airflow's UI shows any page of ours at /plugin/kimi/…; the links of tasks lead there.
        {"name": "Kimi", "href": f"{pages}/reports", "destination": "nav", "url_route": "kimi"},
        {
            "name": "Reports",
            "href": f"{pages}/reports?dag_id={{DAG_ID}}",
            "destination": "dag",
            "url_route": "kimi-reports",
        },
        {
            "name": "Kimi",
            "href": f"{pages}/tasks/{task}",
            "destination": "task_instance",
            "url_route": "kimi-task",
        },
    ]


class KimiPlugin(AirflowPlugin):
    """Shows reports, traces, costs and alerts, and what a task made as a tab of its instance."""

    name = "kimi"
    fastapi_apps = _OnFirstUse(_fastapi_apps)
    external_views = _OnFirstUse(_external_views)

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
    from kimi_provider.plugins.report_page import create_app

    return [{"name": "Kimi", "url_prefix": URL_PREFIX, "app": create_app()}]


def _external_views() -> list[dict[str, Any]]:
    from airflow.sdk import conf

    base_path = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    page = "/reports/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}"
    return [
        {
            "name": "Kimi report",
            "href": f"{base_path}{URL_PREFIX}{page}",
            "destination": "task_instance",
            "url_route": "kimi-report",
        }
    ]


class KimiPlugin(AirflowPlugin):
    """Shows the report that a task made as a tab of its task instance."""

    name = "kimi"
    fastapi_apps = _OnFirstUse(_fastapi_apps)
    external_views = _OnFirstUse(_external_views)

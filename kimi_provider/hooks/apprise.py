"""Apprise, with the word that Airflow's hook does not pass on: whether the services took it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Apprise's services catch what the network does to them and say so in the log alone.
_UNANSWERED = "onnection error"


class NotTakenError(Exception):
    """A service did not take a message."""


class PerhapsTakenError(Exception):
    """It is not known which services took a message."""


def with_answers(notifier: Any) -> Any:
    """Return a notifier that raises where its service takes nothing; others as they are.

    :param notifier: a copy of any notifier, which is changed.
    """
    known = sys.modules.get("airflow.providers.apprise.notifications.apprise")
    if known is not None and isinstance(notifier, known.AppriseNotifier):
        # A cached property of the notifier: what is set takes its place.
        notifier.__dict__["hook"] = _Answering(notifier.hook)
    return notifier


class _Answering:
    """Airflow's hook, of which the result of Apprise is looked at."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook

    def notify(self, *, config: Any = None, tag: Any = "all", **message: Any) -> None:
        import apprise

        services = apprise.Apprise()
        if config:
            services.add(config)
        else:
            connection = self._hook.get_connection(self._hook.apprise_conn_id)
            self._hook.set_config_from_conn(conn=connection, apprise_obj=services)
        with apprise.LogCapture(level=logging.WARNING) as said:  # type: ignore[no-untyped-call]  # it has no types
            taken = services.notify(tag=tag, **_given(message))
            words = said.getvalue()
        if taken:
            return
        alone = len(list(services.find(tag))) <= 1
        raise NotTakenError if alone and _UNANSWERED not in words else PerhapsTakenError


def _given(message: Mapping[str, Any]) -> dict[str, Any]:
    return {**message, "title": message.get("title") or ""}

"""Silences of one alert, set by a signed form: which labels they match, and whose they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from itsdangerous import BadData, URLSafeTimedSerializer

from kimi_provider.alerts.silences import Silence
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.alert_state import alert_notes

if TYPE_CHECKING:
    from kimi_provider.alerts.book import AlertState
    from kimi_provider.plugins.places import Place

HOURS = {"1": "1 hour", "4": "4 hours", "24": "1 day", "72": "3 days", "168": "1 week"}
_SALT = "kimi-alerts"
_LASTS = 8 * 3600  # seconds that a page may stay open before its forms are refused


@dataclass(frozen=True)
class Listed:
    """A silence as a page shows it."""

    id: str
    match: tuple[str, ...]
    until: str
    comment: str
    author: str


def token(user: str, place: Place) -> str:
    """Return what a form carries, so that nobody else can make this user's browser send one."""
    return _signer().dumps(_about(user, place))


def is_token(text: str, user: str, place: Place) -> bool:
    """Whether a form is one that this user was given for this task."""
    try:
        return bool(_signer().loads(text, max_age=_LASTS) == _about(user, place))
    except BadData:
        return False


def silence(place: Place, state: AlertState, *, hours: int, comment: str, author: str) -> None:
    """Silence one alert of one task.

    :param hours: for how long.
    :raises ConfigurationError: if one of its labels cannot be matched.
    :raises OSError: if the storage refuses.
    """
    until = datetime.now(UTC) + timedelta(hours=hours)
    labels = {**state.labels, **_place_labels(place), "rule": state.rule}
    match = tuple(f'{name}="{value}"' for name, value in labels.items())
    alert_notes().silence(
        Silence(match, until.isoformat(timespec="seconds"), comment[:500], author[:200])
    )


def silences_of(place: Place) -> list[Listed]:
    """Return the silences that hold now and were made for alerts of one task."""
    now = datetime.now(UTC)
    own = {f'{name}="{value}"' for name, value in _place_labels(place).items()}
    try:
        found = alert_notes().silences()
    except (ConfigurationError, OSError, ValueError):
        return []
    return [
        Listed(one.id, tuple(one.match), one.until, one.comment, one.author)
        for one in found
        if own <= set(one.match) and now < datetime.fromisoformat(one.until)
    ]


def lift(place: Place, silence_id: str) -> bool:
    """End a silence of one task's alerts; whether there was such."""
    if silence_id not in {one.id for one in silences_of(place)}:
        return False  # of another task's, perhaps, over which this user has no say
    alert_notes().lift(silence_id)
    return True


def _place_labels(place: Place) -> dict[str, str]:
    """Return the labels that the alerts of a task have of it; see ``hooks.alert_state.moment_of``."""
    labels = {"dag_id": place.dag_id, "task_id": place.task_id}
    if place.map_index >= 0:
        labels["map_index"] = str(place.map_index)
    return labels


def _about(user: str, place: Place) -> str:
    return json.dumps([user, place.dag_id, place.task_id, place.map_index])


def _signer() -> URLSafeTimedSerializer:
    from airflow.sdk import conf

    return URLSafeTimedSerializer(conf.get("api", "secret_key"), salt=_SALT)

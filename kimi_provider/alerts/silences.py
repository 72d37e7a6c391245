"""Silences and acknowledgements: set by people while runs come and go.

Both can lie in object storage, one small file each, or come as JSON from an Airflow Variable, which can
be set in Airflow's UI and by ``airflow variables set``::

    [{"match": ["fact=~by_carrier.*"], "until": "2026-12-01T08:00:00+01:00",
      "comment": "carrier feed is being moved", "author": "ann"}]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.matching import all_match, matchers
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kimi_provider.storage import StoragePath

    PassedOver = Callable[[ConfigurationError], None]

_KEYS = ("match", "until", "comment", "author", "since")


@dataclass(frozen=True)
class Silence:
    """Nobody is told of what it matches, until it ends; what then still fires is told.

    :param match: conditions on labels, as routes have them; all of one silence must hold.
    :param until: when it ends, with a time zone (ISO 8601).
    :param comment: why.
    :param author: who.
    :param since: when it begins; by default it has begun.
    :raises ConfigurationError: if a matcher or a date is malformed, or there is no matcher.
    """

    match: Sequence[str]
    until: str
    comment: str = ""
    author: str = ""
    since: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would silence nothing, or everything, by mistake."""
        if not self.match or isinstance(self.match, str):
            raise ConfigurationError(
                f"A silence needs a list of matchers, such as ['rule=bad day']; got {self.match!r}."
            )
        object.__setattr__(self, "match", tuple(self.match))
        matchers(self.match)
        for name in ("until", "since"):
            if getattr(self, name) is not None:
                _moment(name, getattr(self, name))

    @property
    def id(self) -> str:
        """A name for exactly this silence."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def covers(self, labels: Mapping[str, str], now: datetime) -> bool:
        """Whether an alert is silenced at a moment."""
        if self.since is not None and now < _moment("since", self.since):
            return False
        return now < _moment("until", self.until) and all_match(matchers(self.match), labels)


def silences_from_json(
    data: object, where: str, *, passed_over: PassedOver | None = None
) -> tuple[Silence, ...]:
    """Return the silences of a JSON list.

    :param data: the list, or its text.
    :param where: what holds it, for messages.
    :param passed_over: is told of an entry that is malformed, and the others hold; by default none does.
    :raises ConfigurationError: says which entry is malformed, and why.
    """
    entries = _json(data, where)
    if not isinstance(entries, list):
        raise ConfigurationError(f"{where} must be a list of silences; got {type(entries).__name__}.")
    silences = []
    for number, entry in enumerate(entries, 1):
        try:
            silences.append(_silence(entry, f"{where}, entry {number}"))
        except ConfigurationError as error:
            if passed_over is None:
                raise
            passed_over(error)
    return tuple(silences)


def _silence(entry: object, place: str) -> Silence:
    if not isinstance(entry, Mapping) or not {"match", "until"} <= set(entry) <= set(_KEYS):
        raise ConfigurationError(
            f"{place} must have match and until, and may have comment, author and since."
        )
    try:
        return Silence(**entry)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from None


def acknowledgements_from_json(data: object, where: str) -> dict[str, str]:
    """Return who acknowledged which alert, by dedup key.

    :param data: ``{"dedup key": "who"}``, or its text.
    :param where: what holds it, for messages.
    :raises ConfigurationError: if it is something else.
    """
    entries = _json(data, where)
    if not isinstance(entries, Mapping) or not all(isinstance(v, str) for v in entries.values()):
        raise ConfigurationError(f"{where} must be a mapping of dedup keys to names.")
    return dict(entries)


class Notes:
    """Silences and acknowledgements in object storage. Its methods block.

    :param folder: the folder that holds them, for all DAGs.
    """

    def __init__(self, folder: StoragePath) -> None:
        self._silences = folder / "silences"
        self._acknowledged = folder / "acknowledged"

    def silence(self, silence: Silence) -> str:
        """Write a silence; return its id.

        :raises OSError: if the storage refuses.
        """
        _write(self._silences / f"{silence.id}.json", asdict(silence))
        return silence.id

    def lift(self, silence_id: str) -> None:
        """End a silence now; one that is not there is no error."""
        from kimi_provider.storage import remove

        remove(self._silences / f"{_safe(silence_id)}.json")

    def acknowledge(self, dedup_key: str, author: str) -> None:
        """Write that somebody looks after an alert: it is neither repeated nor escalated until it ends.

        :param dedup_key: the alert's, as notifications show it.
        :param author: who.
        :raises OSError: if the storage refuses.
        """
        _write(self._acknowledged / f"{_safe(dedup_key)}.json", {dedup_key: author})

    def silences(self, *, passed_over: PassedOver | None = None) -> tuple[Silence, ...]:
        """Return all silences, ended ones too.

        :param passed_over: see :func:`silences_from_json`.
        """
        entries = list(_entries(self._silences, passed_over))
        return silences_from_json(entries, "The silences in storage", passed_over=passed_over)

    def acknowledged(self) -> dict[str, str]:
        """Return who acknowledged which alert, by dedup key."""
        return {key: str(who) for entry in _entries(self._acknowledged) for key, who in entry.items()}


def _write(path: StoragePath, data: Mapping[str, Any]) -> None:
    from kimi_provider.storage import write_text

    write_text(path, json.dumps(data))


def _entries(folder: StoragePath, passed_over: PassedOver | None = None) -> Iterable[dict[str, Any]]:
    from kimi_provider.storage import children, read_text

    for path in children(folder):
        if not path.name.endswith(".json") or path.name.startswith("."):
            continue
        try:
            yield json.loads(read_text(path))
        except ValueError as error:
            if passed_over is None:
                raise
            passed_over(ConfigurationError(f"{path.as_uri()} is no JSON: {error}."))


def _safe(name: str) -> str:
    if not name.isalnum() or not name.isascii():
        raise ConfigurationError(f"An id is letters and digits; got {name!r}.")
    return name


def _json(data: object, where: str) -> object:
    if not isinstance(data, str):
        return data
    try:
        return json.loads(data)
    except ValueError as error:
        raise ConfigurationError(f"{where} is no JSON: {error}.") from None


def _moment(name: str, text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise ConfigurationError(f"{name} must be a date in ISO 8601; got {text!r}.") from None
    if moment.tzinfo is None:
        raise ConfigurationError(f"{name} needs a time zone, such as {text}+00:00; got {text!r}.")
    return moment

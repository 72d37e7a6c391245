"""``airflow kimi silence``: add, list and end silences of alerts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.silences import Silence, silences_from_json
from kimi_provider.cli.console import FAILED, command, note, show
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.alert_state import SILENCES_VARIABLE, alert_notes

if TYPE_CHECKING:
    from argparse import Namespace

_LENGTH = re.compile(r"(\d+)\s*(m|h|d)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@command
def add(args: Namespace) -> int:
    """Add a silence; see ``airflow kimi silence add --help``."""
    now = datetime.now(UTC)
    silence = Silence(args.match, _end(args, now), comment=args.comment, author=args.author or _user())
    if datetime.fromisoformat(silence.until) <= now:
        raise ConfigurationError(f"The silence would have ended at {silence.until}, which is past.")
    alert_notes().silence(silence)
    show([_row(silence, "storage", now)], args.output)
    return 0


@command
def show_all(args: Namespace) -> int:
    """List silences; see ``airflow kimi silence list --help``."""
    now = datetime.now(UTC)
    rows = [_row(silence, "storage", now) for silence in alert_notes().silences()]
    rows += [_row(silence, f"Variable {SILENCES_VARIABLE}", now) for silence in _in_variable()]
    rows.sort(key=lambda row: datetime.fromisoformat(row["until"]))
    show([row for row in rows if args.all or row["state"] != "ended"], args.output)
    return 0


@command
def expire(args: Namespace) -> int:
    """End silences; see ``airflow kimi silence expire --help``."""
    notes = alert_notes()
    known = {silence.id: silence for silence in notes.silences()}
    absent = [silence_id for silence_id in args.silence_id if silence_id not in known]
    ended = [known[silence_id] for silence_id in args.silence_id if silence_id in known]
    for silence in ended:
        notes.lift(silence.id)
    now = datetime.now(UTC)
    show([{**_row(silence, "storage", now), "state": "ended"} for silence in ended], args.output)
    for silence_id in absent:
        note(
            f"There is no silence {silence_id!r} in storage. See: airflow kimi silence list --all; those"
            f" in the Variable {SILENCES_VARIABLE} are ended there."
        )
    return FAILED if absent else 0


def _row(silence: Silence, place: str, now: datetime) -> dict[str, Any]:
    begins = silence.since is not None and now < datetime.fromisoformat(silence.since)
    ended = datetime.fromisoformat(silence.until) <= now
    return {
        "id": silence.id,
        "state": "ended" if ended else "waiting" if begins else "active",
        "match": " ".join(silence.match),
        "until": silence.until,
        "author": silence.author,
        "comment": silence.comment,
        "place": place,
    }


def _in_variable() -> tuple[Silence, ...]:
    from airflow.sdk import Variable

    text = Variable.get(SILENCES_VARIABLE, default=None)
    return silences_from_json(text, f"The Variable {SILENCES_VARIABLE}") if text else ()


def _end(args: Namespace, now: datetime) -> str:
    if (args.length is None) == (args.until is None):
        raise ConfigurationError(
            "Say how long: --for 8h, or --until 2026-12-01T08:00+01:00; one of the two."
        )
    if args.until is not None:
        return str(args.until)
    match = _LENGTH.fullmatch(args.length.strip())
    if match is None:
        raise ConfigurationError(f"--for must be such as 30m, 8h or 3d; got {args.length!r}.")
    try:
        end = now + timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise ConfigurationError(f"--for {args.length!r} is longer than any silence can be.") from None
    return end.isoformat(timespec="seconds")


def _user() -> str:
    from airflow.utils.platform import getuser

    return str(getuser())

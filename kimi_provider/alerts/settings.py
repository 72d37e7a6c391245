"""How alerts behave across runs: repeats, resolves, damping, bounds, and who is told.

DAG files import this at every parse, so it takes nothing heavier than the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.routing import MAIL, Route
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.alerts.recipients_from import Source
    from kimi_provider.alerts.silences import Silence


@dataclass(frozen=True)
class Mail:
    """A receiver that is told by our own mail, like the alert's ``to``.

    :param to: recipients: a list, one text with commas between, or where they are kept; see
        :mod:`kimi_provider.alerts.recipients_from`. A query's text is not templated here.
    """

    to: str | Source | Sequence[str | Source] = field(repr=False)


@dataclass(frozen=True)
class AlertSettings:
    """How alerts behave across runs.

    :param route: who is told of what; by default everything goes to the alert's own ``to``.
    :param receivers: by the names that routes use: any Airflow notifier, or :class:`Mail`. The name
        ``mail`` is the alert's own ``to``.
    :param repeat_interval: tell again of what still fires after this much time between logical dates;
        ``None`` for never. A route can say otherwise.
    :param tolerance: the part of an interval that may be missing: runs of a daily DAG are 23 hours apart
        when the clocks change, and a little more or less when somebody starts them by hand.
    :param send_resolved: whether to tell when an alert is over.
    :param resolve_after: an alert is over when its rule did not fire in so many runs in a row.
    :param flap_changes: an alert that began or ended so often in the last ``flap_window`` runs is not
        told of until it settles; 0 for no damping.
    :param flap_window: see ``flap_changes``.
    :param most_per_run: alerts told of in one run, the most severe first; the others wait for the next.
    :param tell_backfills: whether runs of a backfill, and those older than the newest, tell anyone.
    :param tell_cleared: whether a run that told all that it had to tell does so again when cleared.
    :param resend_ambiguous: tell again where it is not known whether a receiver was told.
    :param keep_runs: how many runs' figures are kept for changes, bands and runs in a row.
    :param silences: silences that the DAG declares, beside those set from outside.
    :param locale: language and format of mails that come without a report, such as ``en`` or ``pl``.
    :param timezone: IANA name of the zone in which their times are shown.
    :param brand: their :class:`~kimi_provider.reports.brand.Brand`.
    :raises ConfigurationError: if a number is out of range, or a route names an unknown receiver.
    """

    route: Route = field(default_factory=lambda: Route(receiver=MAIL))
    receivers: Mapping[str, Any] = field(default_factory=dict)
    repeat_interval: timedelta | None = timedelta(days=1)
    tolerance: float = 0.05
    send_resolved: bool = True
    resolve_after: int = 1
    flap_changes: int = 5
    flap_window: int = 10
    most_per_run: int = 20
    tell_backfills: bool = False
    tell_cleared: bool = False
    resend_ambiguous: bool = False
    keep_runs: int = 100
    silences: Sequence[Silence] = ()
    locale: str = "en"
    timezone: str = "UTC"
    brand: Any = None

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        for name in ("resolve_after", "flap_changes", "flap_window", "most_per_run", "keep_runs"):
            least, value = int(name != "flap_changes"), getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigurationError(
                    f"{name} must be a whole number, {least} or more; got {value!r}."
                )
        if not isinstance(self.tolerance, int | float) or not 0 <= self.tolerance < 1:
            raise ConfigurationError(f"tolerance must be from 0 to 1; got {self.tolerance!r}.")
        interval = self.repeat_interval
        if interval is not None and (not isinstance(interval, timedelta) or interval < timedelta(0)):
            raise ConfigurationError(
                f"repeat_interval must be a timedelta that is not negative; got {interval!r}."
            )
        known = {MAIL, *self.receivers}
        unknown = sorted(self.route.named_receivers() - known)
        if unknown:
            raise ConfigurationError(
                f"A route names the receiver {unknown[0]!r}; there are {', '.join(sorted(known))}. "
                "Put it into the receivers of the settings."
            )
        for name, receiver in self.receivers.items():
            if not isinstance(receiver, Mail) and not hasattr(receiver, "notify"):
                raise ConfigurationError(
                    f"The receiver {name!r} must be an Airflow notifier or Mail(...); got {receiver!r}."
                )

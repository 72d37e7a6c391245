"""Which column of an unknown table is its time, and by what periods it is best told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from kimi_provider.analysis.column_roles import ColumnTraits, Role, quoted
from kimi_provider.analysis.metrics import ComparisonSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.analysis.database import Database

AS_OF = "as_of"
"""The parameter that says which period a metric is of: a day in the middle of it."""

_PREFERRED = ("date", "day", "created", "started", "start", "timestamp", "time", "ts", "at", "month")
_AVOIDED = (
    "birth",
    "due",
    "expiry",
    "expires",
    "updated",
    "modified",
    "deleted",
    "end",
    "ended",
    "valid",
)
_MAX_DAYS, _MAX_WEEKS, _MAX_MONTHS = 35, 40, 36
_LEAST_FILLED = 0.5
_PERIODS_LOOKED_AT = 12


@dataclass(frozen=True, slots=True)
class Grain:
    """A length of periods.

    :ivar name: as ``date_trunc`` takes it.
    :ivar back: days from the middle of a period to a day of the one before.
    :ivar middle: days from a period's start to its middle.
    """

    name: str
    back: int
    middle: int


_GRAINS = {
    "day": Grain("day", 1, 0),
    "week": Grain("week", 7, 3),
    "month": Grain("month", 30, 14),
    "year": Grain("year", 365, 180),
}
GRAINS = tuple(_GRAINS)
"""Names of the periods there are."""


@dataclass(frozen=True, slots=True)
class Series:
    """The time of a table.

    :ivar column: its time column.
    :ivar grain: the length of a period.
    :ivar starts: first days of the periods shown, in order; the last is the last full period's.
    :ivar weekly: whether the period is a day, and there is the same weekday a week before.
    """

    column: ColumnTraits
    grain: Grain
    starts: tuple[date, ...]
    weekly: bool

    def bucket(self, table: str = "") -> str:
        """Return the SQL of the first day of the period that a row belongs to.

        :param table: alias of the table, with its dot.
        """
        return bucket_of(self.grain.name, f"{table}{self.column.quoted}")

    @property
    def current(self) -> str:
        """Return the SQL of the first day of the period that is asked for."""
        return bucket_of(self.grain.name, f"${AS_OF}")

    @property
    def parameters(self) -> dict[str, object]:
        """Values of ``$as_of``, of ``$last`` and ``$previous`` and of ``$since``, first days of periods.

        Only ``$as_of`` is shifted by the comparisons.
        """
        last = self.starts[-1]
        return {
            AS_OF: last + timedelta(days=self.grain.middle),
            "last": last,
            "previous": start_of(self.grain, last - timedelta(days=1)),
            "since": self.starts[0],
        }

    def comparisons(self, labels: Mapping[str, str]) -> tuple[ComparisonSpec, ...]:
        """Return the comparison with the period before; of a day, with the week before too.

        :param labels: how a text names ``day_before``, ``week_before`` and so on.
        """
        name = f"{self.grain.name}_before"
        specs = [ComparisonSpec(id=name, label=labels[name], shift={AS_OF: -self.grain.back})]
        if self.weekly:
            specs.append(
                ComparisonSpec(id="week_before", label=labels["week_before"], shift={AS_OF: -7})
            )
        return tuple(specs)

    def named(self, day: date) -> str:
        """Name the period that a day lies in, such as ``2013-02-04 to 2013-02-10`` or ``2013-02``."""
        start = start_of(self.grain, day)
        if self.grain.name == "week":
            return f"{start} to {start + timedelta(days=6)}"
        return {"day": f"{start}", "month": f"{start:%Y-%m}", "year": f"{start:%Y}"}[self.grain.name]


def bucket_of(grain: str, value: str) -> str:
    """Return the SQL of the first day of the period that a date or time lies in."""
    return f"CAST(date_trunc('{grain}', CAST({value} AS DATE)) AS DATE)"


def start_of(grain: Grain, day: date) -> date:
    """Return the first day of the period that a day lies in."""
    if grain.name == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(
        day=day.day if grain.name == "day" else 1, month=1 if grain.name == "year" else day.month
    )


def time_column(columns: Sequence[ColumnTraits]) -> ColumnTraits | None:
    """Choose the column that says when something happened; ``None`` if there is none."""
    times = [column for column in columns if column.role is Role.TIME and column.distinct > 1]
    if not times:
        return None
    most = max(column.filled for column in times)

    def rank(column: ColumnTraits) -> tuple[bool, bool, int]:
        words = column.alias.lower().replace("-", "_").split("_")
        avoided = any(word in _AVOIDED for word in words)
        preferred = [_PREFERRED.index(word) for word in words if word in _PREFERRED]
        return column.filled * 2 < most, avoided, min(preferred, default=len(_PREFERRED))

    return min(times, key=rank)


def find_series(
    database: Database,
    table: str,
    column: ColumnTraits,
    *,
    grain: str | None = None,
    until: date | None = None,
) -> Series | None:
    """Return how a table is best told over time; ``None`` if it has no two periods to compare.

    :param column: its time column.
    :param grain: one of :data:`GRAINS`; else the shortest that keeps the number of periods readable and
        leaves no more than half of them empty.
    :param until: a day of the last period to look at; else the last full one is. A period counts as
        full if its data reaches as close to its end as that of the periods before usually does.
    """
    for name in (grain,) if grain else GRAINS:
        found = _periods(database, table, column, name, until)
        if len(found) < 2:  # noqa: PLR2004 — a last and a previous one
            continue
        first, last = found[0][0], found[-1][0]
        most = {"day": _MAX_DAYS, "week": _MAX_WEEKS * 7, "month": _MAX_MONTHS * 31}.get(name)
        expected = (last - first).days / _GRAINS[name].back + 1
        sparse = len(found) < _LEAST_FILLED * expected
        if grain is None and name != GRAINS[-1] and (sparse or (most and (last - first).days > most)):
            continue
        starts = [start for start, _ in (found if until else _full(found, _GRAINS[name]))]
        if len(starts) < 2:  # noqa: PLR2004
            continue
        shown = tuple(starts[-_PERIODS_LOOKED_AT:])
        weekly = name == "day" and starts[-1] - timedelta(days=7) in starts
        return Series(column, _GRAINS[name], shown, weekly)
    return None


def _periods(
    database: Database, table: str, column: ColumnTraits, grain: str, until: date | None
) -> list[tuple[date, timedelta]]:
    """Return first day of each period that has rows, and how long before its end its data ends."""
    # A slip such as the year 9999 in one row must not stretch the series: what lies further from the
    # bulk than the bulk is long does not count.
    # The table has a name of ours, for it may have columns that are named like those of the other parts.
    own = f"each_row.{column.quoted}"
    day = f"CAST({own} AS DATE)"
    usual = (
        f"SELECT quantile_disc({day}, 0.05) AS low, quantile_disc({day}, 0.95) AS high "  # noqa: S608
        f"FROM {quoted(table)} AS each_row WHERE isfinite({day})"
    )
    span = "CAST(usual.high - usual.low AS INTEGER)"
    near = f"BETWEEN usual.low - {span} - 7 AND usual.high + {span} + 7"
    bucket = bucket_of(grain, own)
    condition = "" if until is None else f"AND {bucket} <= {bucket_of(grain, '$until')}"
    moments = (
        f"SELECT {bucket} AS start, CAST({own} AS TIMESTAMP) AS moment "  # noqa: S608
        f"FROM {quoted(table)} AS each_row, ({usual}) AS usual WHERE {day} {near} {condition}"
    )
    found = database.query(
        f"SELECT start, start + INTERVAL 1 {grain} - max(moment) AS gap FROM ({moments}) AS moments "  # noqa: S608
        "GROUP BY start ORDER BY start",
        {} if until is None else {"until": until},
    )
    return [
        (start, gap)
        for start, gap in found.rows
        if isinstance(start, date) and isinstance(gap, timedelta)
    ]


def _full(periods: list[tuple[date, timedelta]], grain: Grain) -> list[tuple[date, timedelta]]:
    """Leave out the last period if it is still under way."""
    *before, (_, gap) = periods
    gaps = sorted(gap for _, gap in before[-_PERIODS_LOOKED_AT:])
    usual = gaps[len(gaps) // 2]
    return periods if gap <= usual + timedelta(days=grain.back / 10) else before

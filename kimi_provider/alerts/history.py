"""What earlier runs saw: the values of facts, which conditions held, what the datasets looked like."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import Field

from kimi_provider.schemas import Value

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunRecord(Value):
    """What one run saw.

    ``at`` is the run's logical date (or when it was to run), with its time zone. ``facts`` are the
    numbers of the facts that rules want to find again, by id; ``held`` the conditions that count runs in
    a row, by key; ``schemas`` each dataset's columns and their types.
    """

    at: datetime
    facts: dict[str, Decimal] = Field(default_factory=dict)
    held: dict[str, bool] = Field(default_factory=dict)
    schemas: dict[str, dict[str, str]] = Field(default_factory=dict)


class History(Value):
    """The runs there were, oldest first, one a logical date."""

    records: tuple[RunRecord, ...] = ()

    def before(self, at: datetime) -> History:
        """Return the runs earlier than a date, so that a backfill does not look into its future."""
        return History(records=tuple(record for record in self.records if record.at < at))

    def with_record(self, record: RunRecord, *, keep: int) -> History:
        """Return the history with a run put in its place; a run of the same date is replaced.

        :param record: the run.
        :param keep: how many runs to keep, the latest.
        """
        others = [other for other in self.records if other.at != record.at]
        records = sorted([*others, record], key=lambda one: one.at)
        return History(records=tuple(records[-keep:]))

    @property
    def last(self) -> RunRecord | None:
        """The latest run, ``None`` if there was none."""
        return self.records[-1] if self.records else None

    def values(self, fact_id: str, last: int) -> tuple[Decimal, ...]:
        """Return a fact's numbers in the latest runs, oldest first; runs without one are left out."""
        recent = self.records[-last:]
        return tuple(record.facts[fact_id] for record in recent if fact_id in record.facts)

    def streak(self, key: str) -> int:
        """Return for how many runs in a row, up to the latest, a condition held."""
        count = 0
        for record in reversed(self.records):
            if not record.held.get(key, False):
                break
            count += 1
        return count

    def schema_of(self, dataset: str) -> Mapping[str, str] | None:
        """Return a dataset's columns and types in the latest run that had it."""
        found = (r.schemas[dataset] for r in reversed(self.records) if dataset in r.schemas)
        return next(found, None)

"""What a template says of the automatic profile: which columns, which periods."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from kimi_provider.analysis.metrics import period_text
from kimi_provider.analysis.series import GRAINS
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _listed(value: object) -> object:
    return tuple(value.split(",")) if isinstance(value, str) else value


_Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class AutomaticSettings(Value):
    """Which columns and periods the automatic profile tells of; what is left empty, it chooses.

    In each text ``{name}`` stands for a parameter of the template, so that the DAG can give it; lists
    may be written as one text with commas.

    :ivar date: the column that says when something happened.
    :ivar grain: ``day``, ``week``, ``month`` or ``year``.
    :ivar until: a day of the last period to look at.
    :ivar measures: the columns of figures, the most important first.
    :ivar dimensions: the columns whose values group the rows.
    """

    date: str = ""
    grain: str = ""
    until: str = ""
    measures: _Names = ()
    dimensions: _Names = ()

    def filled(self, parameters: Mapping[str, object]) -> AutomaticSettings:
        """Return the settings with the parameters in place.

        :raises ConfigurationError: if one names no parameter, or the grain or the day is malformed.
        """
        one = {
            name: (period_text(getattr(self, name), parameters) or "").strip()
            for name in ("date", "grain", "until")
        }
        if one["grain"] and one["grain"] not in GRAINS:
            raise ConfigurationError(
                f"automatic: the grain {one['grain']!r} is not known; take one of {', '.join(GRAINS)}, "
                "or leave it empty."
            )
        try:
            one["until"] = one["until"] and dt.date.fromisoformat(one["until"][:10]).isoformat()
        except ValueError:
            raise ConfigurationError(
                f"automatic: until should be a date like 2013-02-08, but is {one['until'][:40]!r}."
            ) from None
        several = {
            name: tuple(
                part.strip()
                for text in getattr(self, name)
                for part in (period_text(text, parameters) or "").split(",")
                if part.strip()
            )
            for name in ("measures", "dimensions")
        }
        return AutomaticSettings.model_validate(one | several)

    @property
    def last_day(self) -> dt.date | None:
        """Return ``until`` as a date."""
        return dt.date.fromisoformat(self.until) if self.until else None

    def check(self, tables: Mapping[str, Sequence[str]]) -> None:
        """Refuse a column that no dataset has.

        :param tables: names of the columns, by dataset.
        :raises ConfigurationError: naming it, and those that exist.
        """
        known = {name for names in tables.values() for name in names}
        for setting in ("date", "measures", "dimensions"):
            given = getattr(self, setting)
            for name in (given,) if isinstance(given, str) else given:
                if name and name not in known:
                    listed = "; ".join(
                        f"{t} ({', '.join(names[:60])}{', …' if len(names) > 60 else ''})"  # noqa: PLR2004 — a screenful
                        for t, names in tables.items()
                    )
                    raise ConfigurationError(
                        f"automatic: {setting}: there is no column {name!r}. Columns that exist: "
                        f"{listed}."
                    )

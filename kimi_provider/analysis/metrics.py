"""What a prompt template declares about its figures: metrics, comparisons and typed parameters."""

from __future__ import annotations

import math
import string
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import Unit, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# No dots: they join the parts of a fact's id.
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60)]
ParameterType = Literal["date", "datetime", "int", "float", "str", "bool"]

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


# A number pattern of Unicode's LDML: digits once, with what stands around them.
Format = Annotated[
    str,
    StringConstraints(pattern=r"^[^0-9#,.]{0,12}[#,]*[0,]*[#0](?:\.0*#*)?(?:E\+?0+)?[^0-9#]{0,12}$"),
]


class MetricColumn(Value):
    """How a metric's column is named, printed and judged; the fields are those of a ``Fact``."""

    label: str | None = None
    unit: Unit | None = None
    unit_label: str | None = None
    decimals: int | None = Field(default=None, ge=0, le=12)
    format: Format | None = None
    good: Literal["up", "down"] | None = None
    kpi: bool = False


class ComparisonSpec(Value):
    """Run a metric's SQL again with shifted date parameters, for a baseline.

    :ivar id: last part of the baseline's fact id, such as ``day_before``.
    :ivar label: how a text names the baseline, such as ``the day before``.
    :ivar shift: days to add, by parameter.
    """

    id: Identifier
    label: str
    shift: dict[str, int] = Field(min_length=1)


class Metric(Value):
    """SQL over the datasets whose result becomes facts.

    Without ``key``, the SQL returns one row, and each column is the fact ``{id}.{column}`` (``{id}``
    alone where there is one column). With ``key``, each row is a row of a table, named by the key
    columns, and each other column is the fact ``{id}.{row}.{column}``.

    :ivar compare: ids of the comparisons to make; all of the template's where not given.
    :ivar columns: what is known of the columns; one that is not declared is named after itself.
    """

    id: Identifier
    sql: str
    label: str | None = None
    key: tuple[str, ...] = ()
    compare: tuple[str, ...] | None = None
    columns: dict[str, MetricColumn] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _keys_hold_no_facts(self) -> Self:
        judged = [k for k in self.key if (c := self.columns.get(k)) and (c.kpi or c.good)]
        if judged:
            raise ValueError(f"key column {judged[0]!r} names rows: it can be neither kpi nor good")
        return self

    def chosen(self, comparisons: Sequence[ComparisonSpec]) -> tuple[ComparisonSpec, ...]:
        """Return the comparisons that this metric makes.

        :raises ConfigurationError: if it names one that is not declared.
        """
        if self.compare is None:
            return tuple(comparisons)
        known = {spec.id: spec for spec in comparisons}
        for name in self.compare:
            if name not in known:
                raise ConfigurationError(
                    f"Metric '{self.id}' compares with '{name}', which the template does not declare. "
                    f"Declared comparisons: {', '.join(known) or 'none'}."
                )
        return tuple(known[name] for name in self.compare)


def typed_parameters(
    declared: Mapping[str, ParameterType], given: Mapping[str, object]
) -> dict[str, object]:
    """Turn the values given for a template's parameters into the declared types.

    :param declared: type by name.
    :param given: values by name; Airflow's templating makes text of most.
    :raises ConfigurationError: if one is missing, not declared, or not of its type.
    """
    unknown = [name for name in given if name not in declared]
    missing = [name for name in declared if name not in given]
    known = ", ".join(declared) or "none"
    if unknown:
        raise ConfigurationError(
            f"The template has no parameter '{unknown[0]}'. Its parameters: {known}."
        )
    if missing:
        raise ConfigurationError(
            f"The template's parameter '{missing[0]}' has no value: give it in params. "
            f"Its parameters: {known}."
        )
    return {name: _typed(name, kind, given[name]) for name, kind in declared.items()}


def shifted(parameters: Mapping[str, Any], spec: ComparisonSpec) -> dict[str, Any]:
    """Return the parameters with the comparison's shift applied.

    :raises ConfigurationError: if the shift names a parameter that does not exist or is no date.
    """
    result = dict(parameters)
    for name, days in spec.shift.items():
        if not isinstance(result.get(name), date):
            dates = [n for n, value in parameters.items() if isinstance(value, date)]
            raise ConfigurationError(
                f"Comparison '{spec.id}' shifts '{name}', which is no date parameter. "
                f"Date parameters: {', '.join(dates) or 'none'}."
            )
        try:
            result[name] += timedelta(days=days)
        except OverflowError:
            raise ConfigurationError(
                f"Comparison '{spec.id}' shifts '{name}' by {days} days, out of the calendar."
            ) from None
    return result


def period_text(pattern: str | None, parameters: Mapping[str, object]) -> str | None:
    """Name the period: ``"{day}"`` with the parameters put in; other text stays as it is.

    :raises ConfigurationError: if the pattern is malformed or names no parameter.
    """
    if pattern is None:
        return None
    try:
        fields = [(text, name) for text, name, _, _ in string.Formatter().parse(pattern)]
        return "".join(
            text + ("" if name is None else _spelled(parameters[name])) for text, name in fields
        )
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"The period {pattern!r} cannot be filled ({error}): write {{name}} for a parameter. "
            f"Parameters: {', '.join(parameters) or 'none'}."
        ) from None


def _typed(name: str, kind: ParameterType, value: object) -> object:
    try:
        return _READERS[kind](value)
    except (ValueError, TypeError, OverflowError):
        raise ConfigurationError(
            f"Parameter '{name}' should be {_EXPECTED[kind]}, but is {str(value)[:80]!r}."
        ) from None


def _date(value: object) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(str(value).strip())


def _datetime(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())


def _int(value: object) -> int:
    if isinstance(value, bool):
        raise TypeError
    return value if isinstance(value, int) else int(str(value).strip())


def _float(value: object) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(str(value).strip())):
        raise ValueError
    return number


def _str(value: object) -> str:
    if not isinstance(value, str | int | float | date):
        raise TypeError
    return str(value)


def _bool(value: object) -> bool:
    if (text := str(value).strip().lower()) not in _BOOLEANS:
        raise ValueError
    return _BOOLEANS[text]


_READERS = {
    "date": _date,
    "datetime": _datetime,
    "int": _int,
    "float": _float,
    "str": _str,
    "bool": _bool,
}
_EXPECTED = {
    "date": "a date like 2013-02-08",
    "datetime": "a time like 2013-02-08T05:00:00+00:00",
    "int": "a whole number",
    "float": "a finite number",
    "str": "a text",
    "bool": "true or false",
}


def _spelled(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)

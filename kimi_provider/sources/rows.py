"""Values as databases, Parquet files and spreadsheets give them, as the JSON values of a row.

The same data has to become the same dataset whatever it came through, so each value takes the form
in which an API would answer it: a date or a time is ISO 8601 text, an instant is in UTC, a decimal is
a number with all of its digits. Not a number (NaN) is null, for JSON has none.
"""

from __future__ import annotations

import math
from base64 import b64encode
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from kimi_provider.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_AS_THEY_ARE = frozenset({str, int, bool, type(None)})


def records(
    names: Sequence[str], rows: Iterable[Sequence[Any]], *, first: int = 1
) -> Iterator[dict[str, Any]]:
    """Give each row by its columns' names, in JSON's values.

    :param first: number of the first row, for messages.
    :raises SourceError: if a value has no such form; the message names row and column.
    """
    for number, row in enumerate(rows, start=first):
        record = dict(zip(names, row, strict=True))
        for name, value in record.items():
            if type(value) not in _AS_THEY_ARE:
                try:
                    record[name] = plain(value)
                except ValueError as error:
                    raise SourceError(f"Row {number} has in the column {name!r} {error}.") from None
        yield record


def unique(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the columns' names, if no two are the same.

    :param where: what has them and "has", for the message.
    :raises SourceError: if two are.
    """
    for place, name in enumerate(names):
        if name in names[:place]:
            raise SourceError(
                f"{where} the column {name!r} twice, as number {names.index(name) + 1} and "
                f"{place + 1}. Give one of them another name."
            )
    return tuple(names)


def plain(value: Any) -> Any:
    """Return a value in the form in which JSON has it.

    :raises ValueError: if there is none; the text says what it is.
    """
    if type(value) in _AS_THEY_ARE:
        return value
    convert = _FORMS.get(type(value))
    if convert is None:  # a subclass, such as an enumeration or a driver's own list
        convert = next((form for kind, form in _FORMS.items() if isinstance(value, kind)), None)
    if convert is None:
        raise ValueError(f"a {type(value).__name__}, which is no value of a table; convert it to text")
    return convert(value)


def _float(value: float) -> float | None:
    if math.isinf(value):
        raise ValueError("an infinite number, which no sum survives; leave it out or make it null")
    return None if math.isnan(value) else value


def _decimal(value: Decimal) -> Any:
    if value.is_nan():
        return None
    if value.is_infinite():
        raise ValueError("an infinite number, which no sum survives; leave it out or make it null")
    text = str(value)
    # With an exponent it would count as inexact.
    return msgspec.Raw(f"{value:f}".encode()) if "E" in text else value


def _datetime(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    try:
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
    except OverflowError:
        raise ValueError("a time at the end of all time, which UTC has not") from None


def _binary(value: bytes | bytearray | memoryview) -> str:
    return b64encode(value).decode()


def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): plain(part) for name, part in value.items()}


def _list(value: Iterable[Any]) -> list[Any]:
    return [plain(part) for part in value]


def _enumeration(value: Enum) -> Any:
    return plain(value.value)


# By type, the more special one first where one inherits from another.
_FORMS: dict[type, Callable[[Any], Any]] = {
    Enum: _enumeration,
    str: str.__str__,
    int: int,
    float: _float,
    Decimal: _decimal,
    datetime: _datetime,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: lambda value: value.total_seconds(),
    UUID: str,
    bytes: _binary,
    bytearray: _binary,
    memoryview: _binary,
    dict: _mapping,
    list: _list,
    tuple: _list,
    set: _list,
    frozenset: _list,
}

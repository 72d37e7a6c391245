"""JSON as rows need it: with all digits of its numbers, and no name twice in a row unnoticed."""

from __future__ import annotations

import json
import math
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kimi_provider.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

# As long as this a number has to be written to have more digits than a double holds.
_LONG: Final = sys.float_info.dig + 2
_DIGITS: Final = bytes(ord("0") if chr(code) in ".0123456789" else code for code in range(256))
_LONG_RUN: Final = b"0" * _LONG


class Ambiguous(dict[str, Any]):
    """An object that names something twice.

    :ivar twice: what.
    """

    twice: str


def json_value(content: bytes) -> Any:
    """Return a JSON value; an object in it that names something twice is :class:`Ambiguous`.

    :raises msgspec.DecodeError: if it is none, or has a number beyond a double's range.
    :raises UnicodeDecodeError: if it is not in UTF-8.
    """
    decoder = _EXACT if _LONG_RUN in content.translate(_DIGITS) else _QUICK
    value = decoder.decode(content)
    return _slowly(content) if _maybe_twice(content, value) else value


def json_lines(content: bytes) -> list[Any]:
    """Return the values of JSON Lines; empty lines are left out.

    :raises SourceError: if a line is no JSON; the message names it.
    """
    if _LONG_RUN not in content.translate(_DIGITS):
        try:
            rows = _QUICK.decode_lines(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # which line it is, reading them one by one tells
        else:
            if not _maybe_twice(content, rows):
                return rows
    return list(_each(content))


def json_line(line: bytes, number: int) -> Any:
    """Return the value of a line of JSON Lines.

    :raises SourceError: if it is no JSON; the message names it.
    """
    try:
        return json_value(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = str(error)[:100] if isinstance(error, msgspec.DecodeError) else "not UTF-8, or too deep"
        raise SourceError(f"is no JSON Lines at line {number}: {detail}") from None


def exact(text: str) -> float | Decimal:
    """Return a fraction as a double, or as a decimal where a double has not all of its digits.

    :raises ValueError: if it is beyond a double's range.
    """
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is no number")
    if len(text) < _LONG:
        return number
    decimal = Decimal(text)
    return number if Decimal(repr(number)) == decimal else decimal


def named_twice(text: str, value: Any) -> str | None:
    """Return a name that an object has twice, ``None`` if there is none.

    :param text: the JSON that ``value`` was read from.
    """
    if not isinstance(value, dict) or _written(text.encode()) == len(value):  # as in most rows
        return None
    found = json.loads(text, object_pairs_hook=_pairs)
    return found.twice if isinstance(found, Ambiguous) else None


def _each(content: bytes) -> Iterator[Any]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line and not line.isspace():
            yield json_line(line, number)


def _slowly(content: bytes) -> Any:
    return json.loads(content, object_pairs_hook=_pairs, parse_float=exact)


def _maybe_twice(content: bytes, body: Any) -> bool:
    """Whether a name may be in one object twice, of which the decoder would keep the last.

    The names are counted in the text. Texts that hold JSON count too: then the page is read again by a
    slower decoder, which looks.
    """
    written = _written(content)
    if type(body) is dict and written == len(body):  # most lines of JSON Lines
        return False
    return written != _names(body, deep=False) and written != _names(body, deep=True)


def _written(content: bytes) -> int:
    """Count the colons behind quotation marks: one a name, and maybe more in texts, never fewer."""
    return content.translate(None, b" \t\r\n").count(b'":')


def _names(value: Any, *, deep: bool) -> int:
    """Count the names in all objects; if not deep, without the cells of rows."""
    if type(value) is dict:
        inner = sum(_names(part, deep=deep) for part in value.values() if type(part) in {dict, list})
        return len(value) + inner
    if type(value) is list:
        if deep:
            return sum(_names(part, deep=True) for part in value)
        return sum(len(part) for part in value if type(part) is dict)
    return 0


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    ambiguous = Ambiguous(found)
    ambiguous.twice = next(name for name in names if names.count(name) > 1)
    return ambiguous


_QUICK: Final = msgspec.json.Decoder()
_EXACT: Final = msgspec.json.Decoder(float_hook=exact)

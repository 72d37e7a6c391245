"""From DuckDB's values to the values, names and ids of facts."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from kimi_provider.analysis.sanitize import one_line
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT_LIMIT = 120
"""Characters of a text cell that a fact or a row's name keeps."""

Key = tuple[str | None, ...]
"""What tells a row of a table from the others: the text of each key column, as it is in the data."""

_SLUG_LIMIT = 48
_LONG_DIGEST = 32


def unit_of(kind: str) -> Unit:
    """Return the unit of a column that declares none, by its DuckDB type."""
    if kind.startswith(("DATE", "TIME")):
        return Unit.DATE
    if kind == "INTERVAL":
        return Unit.SECONDS
    return Unit.TEXT if kind.startswith(("VARCHAR", "ENUM", "UUID", "BOOLEAN", "JSON")) else Unit.NUMBER


def value_of(value: object) -> Decimal | str | None:
    """Return DuckDB's value as a fact's value.

    :raises TypeError: for a list, a struct, or bytes.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal | timedelta):
        return _number(value)
    if isinstance(value, str | UUID):
        return one_line(str(value), TEXT_LIMIT)
    if isinstance(value, date | time):
        return _in_utc(value).isoformat()
    raise TypeError


def _number(value: float | Decimal | timedelta) -> Decimal | None:
    if isinstance(value, timedelta):
        value = Decimal(value // timedelta(microseconds=1)) / 1_000_000
    # By its shortest text, a float 0.1 is 0.1, and not 0.1000000000000000055….
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        return None
    return number or Decimal(0)  # no minus before a zero


def _in_utc(value: date | time) -> date | time:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


def key_of(value: object) -> str | None:
    """Text of a key cell, as it is in the data; a list or struct is written out."""
    if isinstance(value, str):
        return value
    try:
        cell = value_of(value)
    except TypeError:
        return str(value)
    return plain(cell) if isinstance(cell, Decimal) else cell


def shown(key: Key) -> tuple[str, ...]:
    """Return the key's texts as a person reads them."""
    return tuple("(none)" if part is None else one_line(part, TEXT_LIMIT) or "(empty)" for part in key)


def plain(number: Decimal) -> str:
    """Write without exponent and without zeros at the end: ``9``, not ``9.0`` or ``9E+0``."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def label_of(name: str) -> str:
    """Return a name as a label: ``avg_delay`` as ``Avg delay``."""
    text = one_line(name.replace("_", " "), TEXT_LIMIT)
    return text[:1].upper() + text[1:]


def name_slug(text: str) -> str:
    """Return the text in the characters of a fact's id, without dots; empty if none is left."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", folded).strip("_")


def row_slugs(keys: Sequence[Key]) -> dict[Key, str]:
    """Part of a fact's id for each key: unique, and the same whatever the order of the rows."""
    short = {
        key: "-".join(filter(None, (name_slug(part or "") for part in key)))[:_SLUG_LIMIT].strip("-_")
        for key in keys
    }
    taken = Counter(slug.lower() for slug in short.values())
    slugs = {
        key: slug if slug and taken[slug.lower()] == 1 else f"{slug or 'row'}-{_digest(key)[:6]}"
        for key, slug in short.items()
    }
    if len({slug.lower() for slug in slugs.values()}) == len(slugs):
        return slugs
    # Somebody named a row like the digest of another.
    return {key: _digest(key)[:_LONG_DIGEST] for key in keys}


def _digest(key: Key) -> str:
    return hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()

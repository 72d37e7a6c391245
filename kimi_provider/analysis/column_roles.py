"""What the columns of an unknown table are good for: figures, names of groups, time, or nothing.

DuckDB's type and a few statistics decide; where they leave it open, the words in a column's name do.
A wrong guess costs little: a mean of what is no quantity is not wrong, only dull. A wrong sum is worse,
so a column is summed only where its name says that it adds up.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from kimi_provider.analysis.cells import label_of, name_slug
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kimi_provider.analysis.database import Database

MAX_COLUMNS = 200
"""Columns of a table that are looked at, the first ones."""
_LONGEST_NAME = 120
_COLUMNS_AT_ONCE = 20
_MAX_GROUPS = 50
_FEW_ROWS = 20
_TAKEN = frozenset({"rows", "day", "week", "month", "year"})  # the profile's own columns
_HUNDRED = 100
_BROKEN = 1000

_INTEGERS = re.compile(r"U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?\Z")
_REALS = re.compile(r"DOUBLE|FLOAT|REAL|DECIMAL")
_TIMES = re.compile(r"DATE|TIMESTAMP")
_GROUPS = re.compile(r"VARCHAR|ENUM")
_COMPLEX = re.compile(r".*\]\Z|(?:STRUCT|MAP|UNION|BLOB|BIT|VARIANT|GEOMETRY|JSON)")
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_IDENTIFIERS = _words(
    "id ids uid uuid guid key pk fk code no nr num number zip zipcode postcode postal plz phone mobile "
    "tel fax iban account sku ean isbn serial version hash tz"
)
_PLACES = _words("lat latitude lon lng long longitude x y")
_CODES = _words("status type class kind category grade gender flag rank")
_CALENDAR = _words("year month day hour minute week weekday dow doy quarter")
_ADDITIVE = _words(
    "amount revenue sales turnover total sum count cnt qty quantity units orders visits clicks views "
    "impressions cost costs spend spent expense expenses profit income distance bytes tokens precip "
    "precipitation volume items value passengers seats hits requests errors failures downloads kwota "
    "ilosc sprzedaz przychod"
)
_AVERAGED = _words(
    "rate ratio share pct percent percentage avg average mean median score rating temp temperature "
    "price speed age height weight index level delay duration latency humidity pressure balance stock"
)
_FRACTIONS = _words("rate ratio share pct percent percentage fraction probability")
_LEADING = _words("revenue sales turnover amount profit income")
_TELLING = _words(
    "cost costs spend delay duration latency downtime errors failures score rating quantity qty orders "
    "count price"
)
_GOOD_DOWN = _words(
    "delay error errors failure failures failed latency defect defects complaint complaints churn "
    "downtime outage late cancelled canceled overdue retries"
)
_GOOD_UP = _words("revenue sales turnover profit margin income satisfaction uptime")
_UNITS = {
    **dict.fromkeys(("minutes", "mins"), Unit.MINUTES),
    **dict.fromkeys(("seconds", "secs", "sec"), Unit.SECONDS),
}
_CURRENCIES = _words("usd eur gbp pln chf czk sek nok dkk jpy cad aud")
# DuckDB adds decimals up in as many digits, and fails where they are too few.
_DECIMAL = re.compile(r"DECIMAL\([0-9]+,([0-9]+)\)")
_LONGEST_DECIMAL = 38


class Role(StrEnum):
    """What a column is good for."""

    MEASURE = "measure"
    GROUP = "group"
    TIME = "time"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ColumnTraits:
    """A column, and what is known of it.

    ``quoted`` stands for it in SQL; ``alias`` is what it is called in a result, and in ids of facts:
    unique in the table. ``aggregate`` says how a measure becomes one figure. ``finite`` is false where
    it holds infinities or not-a-numbers, which no figure is made of, and ``fits`` where its sum would
    have more digits than a decimal can have.
    """

    name: str
    quoted: str
    alias: str
    label: str
    role: Role
    type: str
    filled: int
    distinct: int
    aggregate: Literal["sum", "avg", "share"] = "avg"
    finite: bool = True
    fits: bool = True
    unit: Unit = Unit.NUMBER
    unit_label: str | None = None
    good: Literal["up", "down"] | None = None
    weight: int = 0

    def expression(self, function: str | None = None, table: str = "") -> str:
        """Return the SQL of its figure.

        :param function: in place of its own aggregate.
        :param table: alias of the table, with its dot.
        """
        column = f"{table}{self.quoted}"
        if self.aggregate == "share":
            column = f"CAST({column} AS INTEGER)"
        if not self.fits:
            column = f"CAST({column} AS DOUBLE)"
        condition = "" if self.finite else f" FILTER (isfinite({column}))"
        return f"{function or ('sum' if self.aggregate == 'sum' else 'avg')}({column}){condition}"


def column_roles(database: Database, table: str, rows: int) -> list[ColumnTraits]:
    """Look at the columns of a table.

    :param table: name of the dataset.
    :param rows: how many rows it has.
    """
    names = [n for n in database.columns[table] if n and len(n) <= _LONGEST_NAME and "\0" not in n]
    names = names[:MAX_COLUMNS]
    kinds = dict(database.query(f"SELECT * FROM {quoted(table)} LIMIT 0").columns)  # noqa: S608
    aliases = _aliases(names)
    found: list[ColumnTraits] = []
    for start in range(0, len(names), _COLUMNS_AT_ONCE):
        batch = names[start : start + _COLUMNS_AT_ONCE]
        chosen = ", ".join(part for name in batch for part in _statistics(quoted(name), kinds[name]))
        values = iter(database.query(f"SELECT {chosen} FROM {quoted(table)}").rows[0])  # noqa: S608
        for name, statistics in zip(batch, zip(*[values] * 5, strict=True), strict=True):
            column = _Column(name, kinds[name], table, rows, *statistics)
            found.append(column.traits(aliases[name]))
    return found


def quoted(name: str) -> str:
    """Return a name as SQL writes it, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def free_names(count: int, datasets: Sequence[str]) -> list[str]:
    """Return names for parts of a statement, none of them a dataset's."""
    taken = {name.lower() for name in datasets}
    names = (f"part_{number}" for number in range(1, count + len(taken) + 1))
    return [name for name in names if name not in taken][:count]


def _statistics(column: str, kind: str) -> Iterator[str]:
    """Return the SQL of five values: filled, distinct, least, greatest, and the last two digits.

    Of the digits the greatest, and :data:`_BROKEN` where not all values are whole numbers: these come as
    reals too, where some are missing.
    """
    plain = not _COMPLEX.match(kind)
    number = _INTEGERS.match(kind) or _REALS.match(kind)
    yield f"count({column})"
    yield f"approx_count_distinct({column})" if plain else "0"
    yield f"min({column})" if number else "NULL"
    yield f"max({column})" if number else "NULL"
    whole = f"CASE WHEN {column} % 1 <> 0 THEN {_BROKEN} ELSE {column} % 100 END"
    yield f"max({whole})" if number else "NULL"


@dataclass(frozen=True, slots=True)
class _Column:
    """A column with its statistics, while its role is being decided."""

    name: str
    kind: str
    table: str
    rows: int
    filled: object
    distinct: object
    least: object
    greatest: object
    last_digits: object

    def traits(self, alias: str) -> ColumnTraits:
        tokens = _tokens(self.name)
        filled, distinct = int(str(self.filled)), int(str(self.distinct))
        low, high = _real(self.least), _real(self.greatest)
        finite = not (_REALS.match(self.kind) and _has_no_number(self.least, self.greatest))
        role = self._role(tokens, filled, distinct)
        measured = set(tokens) if role is Role.MEASURE else set()
        unit, unit_label = _unit_of(tokens, low, high)
        currency = next((token for token in tokens if token in _CURRENCIES), None)
        share = role is Role.MEASURE and (self.kind == "BOOLEAN" or self._is_flag(distinct))
        if share:
            unit, unit_label = Unit.PERCENT, None
        elif currency:
            unit, unit_label = Unit.CURRENCY, currency.upper()
        return ColumnTraits(
            name=self.name,
            quoted=quoted(self.name),
            alias=alias,
            label=label_of(self.name),
            role=role,
            type=self.kind,
            filled=filled,
            distinct=distinct,
            aggregate="share" if share else "sum" if self._adds_up(tokens, unit) else "avg",
            finite=finite,
            fits=self._sum_fits(filled, low, high),
            unit=unit if role is Role.MEASURE else Unit.NUMBER,
            unit_label=unit_label if role is Role.MEASURE else None,
            good="down" if measured & _GOOD_DOWN else "up" if measured & _GOOD_UP else None,
            weight=3 if measured & _LEADING else 2 if measured & _TELLING else 1,
        )

    def _sum_fits(self, filled: int, low: float | None, high: float | None) -> bool:
        decimal = _DECIMAL.fullmatch(self.kind)
        if decimal is None or low is None or high is None:
            return True
        return filled * max(abs(low), abs(high)) < 10.0 ** (_LONGEST_DECIMAL - int(decimal[1]))

    def _role(self, tokens: Sequence[str], filled: int, distinct: int) -> Role:
        integer = self._is_whole()
        grouping = self._groups(filled, distinct)
        if _TIMES.match(self.kind):
            return Role.TIME
        if _GROUPS.match(self.kind):
            return Role.GROUP if grouping else Role.OTHER
        # One value says nothing, unless there is but one row.
        telling = distinct > 1 or (distinct and self.rows == 1)
        if not telling or not (integer or _REALS.match(self.kind) or self.kind == "BOOLEAN"):
            return Role.OTHER
        last = tokens[-1] if tokens else ""
        if integer and (last in _CODES or (self._is_flag(distinct) and last in _IDENTIFIERS)):
            return Role.GROUP if grouping else Role.OTHER
        named = bool(set(tokens) & (_IDENTIFIERS | _PLACES)) and not set(tokens) & _ADDITIVE
        told = set(tokens) & (_ADDITIVE | _AVERAGED)
        counted = integer and (
            last in _CALENDAR
            or _singular(self.table) == "".join(tokens)
            or (not told and self._is_serial(filled))
        )
        clock = integer and "time" in tokens and self._is_clock(distinct)
        return Role.OTHER if named or counted or clock else Role.MEASURE

    def _groups(self, filled: int, distinct: int) -> bool:
        return 2 <= distinct <= _MAX_GROUPS and filled * 2 >= self.rows and distinct * 2 <= filled  # noqa: PLR2004

    def _is_whole(self) -> bool:
        digits = _real(self.last_digits)
        return digits is not None and digits < _BROKEN

    def _is_flag(self, distinct: int) -> bool:
        return (
            self._is_whole()
            and distinct == 2  # noqa: PLR2004 — yes and no
            and (self.least, self.greatest) == (0, 1)
        )

    def _is_serial(self, filled: int) -> bool:
        """Whether it numbers the rows: whole, and as many values as rows, without great gaps."""
        low, high = _real(self.least), _real(self.greatest)
        if low is None or high is None or filled <= _FEW_ROWS:
            return False
        return int(str(self.distinct)) >= 0.9 * filled and high - low < 2 * filled

    def _is_clock(self, distinct: int) -> bool:
        """Whether it writes times as whole numbers, 1545 for a quarter to four."""
        low, high, digits = _real(self.least), _real(self.greatest), _real(self.last_digits)
        if low is None or high is None or digits is None:
            return False
        return distinct > _FEW_ROWS and low >= 0 and _HUNDRED < high <= 24 * _HUNDRED and digits < 60  # noqa: PLR2004

    def _adds_up(self, tokens: Sequence[str], unit: Unit) -> bool:
        if unit is Unit.PERCENT or set(tokens) & _AVERAGED:
            return False
        if set(tokens) & _ADDITIVE:
            return True
        least = _real(self.least)
        plural = bool(tokens) and re.search(r"[^sui]s\Z", tokens[-1]) is not None
        whole = self._is_whole() and plural and tokens[-1] not in _UNITS
        return least is not None and least >= 0 and whole


def _tokens(name: str) -> tuple[str, ...]:
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return tuple(token.lower() for token in _TOKEN.findall(folded) if not token.isdigit())


def _singular(table: str) -> str:
    name = "".join(_tokens(table))
    return name.removesuffix("s") if len(name) > 3 else name  # noqa: PLR2004 — "as" has none


def _unit_of(tokens: Sequence[str], low: float | None, high: float | None) -> tuple[Unit, str | None]:
    if set(tokens) & _FRACTIONS and low is not None and high is not None and 0 <= low <= high <= 1:
        return Unit.PERCENT, None
    unit = next((_UNITS[token] for token in tokens if token in _UNITS), None)
    return (
        (unit, None) if unit else (Unit.OTHER, "ms") if tokens[-1:] == ("ms",) else (Unit.NUMBER, None)
    )


def _real(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _has_no_number(*values: object) -> bool:
    return any(str(value).lower().lstrip("-") in {"nan", "inf", "infinity"} for value in values)


def _aliases(names: Sequence[str]) -> dict[str, str]:
    """Return names for results: of the characters of ids, each once, whatever the case."""
    used = set(_TAKEN)
    aliases = {}
    for position, name in enumerate(names):
        stem = name_slug(name)[:40].strip("_-") or f"column_{position}"
        alias, number = stem, 2
        while alias.lower() in used:
            alias, number = f"{stem}_{number}", number + 1
        used.add(alias.lower())
        aliases[name] = alias
    return aliases

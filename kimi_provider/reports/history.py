"""How a key figure went: from a table of the same measure by day, week or month."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.schemas import Fact, FactTable

_IN_TIME = re.compile(r"\d{4}-(\d{2}|W\d{2})(-\d{2})?")
# Two points are a change, which the card tells already.
_LEAST = 3


def history(fact: Fact, tables: Sequence[FactTable], facts: Mapping[str, Fact]) -> tuple[Fact, ...]:
    """Return the facts that tell how a figure went, the oldest first; empty where no table does.

    A table tells it if its one key column holds dates, weeks or months, and it has a column of the
    figure's name (what follows the last dot of its id) and unit.
    """
    name = fact.id.rpartition(".")[2]
    for table in tables:
        keys = [at for at, column in enumerate(table.columns) if column.key]
        columns = [at for at, c in enumerate(table.columns) if c.name == name and c.unit == fact.unit]
        if len(keys) != 1 or not columns or fact.unit in (Unit.TEXT, Unit.DATE):
            continue
        rows = sorted(table.rows, key=lambda row, at=keys[0]: row[at])  # type: ignore[misc]
        if not all(_IN_TIME.fullmatch(row[keys[0]]) for row in rows):
            continue
        known = [facts[row[columns[0]]] for row in rows if row[columns[0]] in facts]
        known = [
            point for point in known if point.value is not None and not isinstance(point.value, str)
        ]
        if len(known) >= _LEAST:
            return tuple(known)
    return ()

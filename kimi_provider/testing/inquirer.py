"""The simulator's questions to ``query_data``: sound SQL over whatever tables the tool describes."""

from __future__ import annotations

import re
from typing import Any

QUERY_TOOL = "query_data"
_TABLES = re.compile(r"^Tables: (.*)\.$", re.MULTILINE)
_TABLE = re.compile(r"([A-Za-z_]\w*) \(([^()]*(?:\([^()]*\)[^()]*)*)\)")
_GROUPED = (
    'SELECT "{name}" AS name, avg("{figure}") AS average, count(*) AS cases'
    ' FROM "{table}" GROUP BY "{name}" ORDER BY cases DESC, name'
)
_COUNTED = 'SELECT count(*) AS cases FROM "{table}"'
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")


def first_query(tool: dict[str, Any]) -> str:
    """Return a query by a name's column over a figure's column, or the count of rows.

    :param tool: as a request brings it; its description lists the tables.
    """
    described = _TABLES.search(tool["function"].get("description", ""))
    tables = dict(_TABLE.findall(described[1])) if described else {}
    for table, listed in tables.items():
        columns = [part.strip().rpartition(" ") for part in re.split(r", (?![^(]*\))", listed)]
        names = [name for name, _, kind in columns if kind == "VARCHAR" and name]
        figures = [name for name, _, kind in columns if kind.startswith(_NUMBERS) and name]
        if names and figures:
            return _GROUPED.format(name=names[0], figure=figures[0], table=table)
    table = next(iter(tables), "data")
    return _COUNTED.format(table=table)

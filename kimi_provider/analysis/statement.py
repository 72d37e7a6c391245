"""Decide from its syntax tree whether a SQL statement only reads the datasets it may read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import duckdb

_QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_FUNCTIONS = {"generate_series", "range", "unnest", "json_each", "json_tree"}
# They tell about the machine or the session, run SQL from text, or write.
_REFUSED_FUNCTIONS = {
    "current_connection_id",
    "current_query",
    "current_setting",
    "getenv",
    "getvariable",
    "in_search_path",
    "version",
    "nextval",
    "query",
    "query_table",
    "sleep_ms",
    "txid_current",
    "write_log",
}
_REFUSED_PREFIXES = (
    *("duckdb_", "has_", "pg_", "pragma_"),
    *("json_deserialize_", "json_execute_", "json_serialize_"),
)
# Their time, and of some the memory, grows with the square of the text, and nothing can stop them.
_SLOW_FUNCTIONS = {
    "damerau_levenshtein",
    "editdist3",
    "jaro_similarity",
    "jaro_winkler_similarity",
    "levenshtein",
}
# What they put in place of each match says how much they may inflate.
_REPLACING_FUNCTIONS = {"regexp_replace", "replace"}
_JOINING_FUNCTIONS = {
    "||",
    "concat",
    "concat_ws",
    "list_concat",
    "list_cat",
    "array_concat",
    "array_cat",
}
_FOLDING_FUNCTIONS = {"array_reduce", "list_reduce", "reduce"}
_MAX_SIZE = 1_000
_MAX_GROWTH = 10_000
_UNKNOWN_LENGTH = _MAX_SIZE
# They build a large value from a short argument, which DuckDB's memory limit does not see: which of
# their arguments say how large.
_INFLATING_FUNCTIONS = {
    "array_resize": slice(1, 2),
    "bitstring": slice(1, 2),
    "generate_series": slice(0, 3),
    "list_resize": slice(1, 2),
    "lpad": slice(1, 2),
    "range": slice(0, 3),
    "repeat": slice(1, 2),
    "rpad": slice(1, 2),
}
# What of an expression comes from data: columns, or how many rows there are.
_FROM_DATA = {"COLUMN_REF", "STAR", "SUBQUERY", "WINDOW"}
_COUNTING = {"count", "count_star", "sum"}
_FORMATTING_FUNCTIONS = {"format", "printf"}
_WIDE_FORMAT = re.compile(r"[0-9]{4,}|\*|\{[^}]*\{")
_MAX_SQL = 20_000


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that may run.

    :ivar sql: its text, without a closing semicolon.
    :ivar parameters: names of the parameters that it uses.
    :ivar datasets: the tables that it reads.
    :ivar invented: positions of the columns that no data goes into (``SELECT 42``), from the end
        where negative.
    """

    sql: str
    parameters: frozenset[str]
    datasets: frozenset[str]
    invented: frozenset[int]


def inspect_statement(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    *,
    datasets: Collection[str],
    reserved: Collection[str],
) -> Statement:
    """Return the statement if it is one SELECT over the datasets.

    :param connection: what parses; nothing is run of the statement.
    :param sql: text of the statement.
    :param datasets: the tables that exist.
    :param reserved: names of DuckDB's own catalog views in lower case, which no CTE may take.
    :raises ConfigurationError: if it is more than one statement, no SELECT, does not parse, or names
        a table or function that is not allowed.
    :raises duckdb.Error: where DuckDB's parser refuses the text.
    """
    if len(sql) > _MAX_SQL:
        raise ConfigurationError(f"The SQL has {len(sql)} characters; at most {_MAX_SQL} are allowed.")
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise ConfigurationError(f"Exactly one SQL statement is allowed, not {len(statements)}.")
    try:
        kind = statements[0].type.name
    except ValueError:  # a kind that DuckDB's Python does not know
        raise ConfigurationError("Only a SELECT is allowed.") from None
    if kind == "MULTI":
        raise ConfigurationError(
            "This PIVOT is not allowed, because its columns depend on the data: name the values "
            "(ON column IN (…)), or use aggregates with FILTER."
        )
    if kind != "SELECT":
        raise ConfigurationError(f"Only a SELECT is allowed, not {kind}.")
    row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    try:
        tree = json.loads(row[0] if row else "{}")
    except RecursionError:
        raise ConfigurationError("The SQL is nested too deeply: simplify it.") from None
    if tree.get("error") or len(tree.get("statements", ())) != 1:
        raise ConfigurationError(f"Only a SELECT is allowed: {tree.get('error_message', 'unknown')}.")
    node = tree["statements"][0]["node"]
    parameters = _check(node, datasets, reserved)
    # json_serialize_sql and extract_statements agree that there is one statement: what follows the
    # last semicolon, if there is one at the end, is empty.
    return Statement(
        statements[0].query.rstrip().rstrip(";"),
        frozenset(parameters),
        _read(node, datasets),
        frozenset(_invented(node)),
    )


def _read(tree: object, datasets: Collection[str]) -> frozenset[str]:
    """Return the datasets that a checked statement names; a CTE of such a name stands before it."""
    nodes = list(_nodes(tree))
    ctes = {str(name).lower() for node in nodes for name in _cte_names(node)}
    tables = {str(n["table_name"]).lower() for n in nodes if n.get("type") == "BASE_TABLE"}
    return frozenset(name for name in datasets if name.lower() in tables - ctes)


def _invented(node: dict[str, Any]) -> Iterator[int]:
    """Find the columns that hold what the statement's writer thought of, not what the data says."""
    if node.get("type") == "SET_OPERATION_NODE":
        for part in (node.get("left"), node.get("right"), *node.get("children", ())):
            if isinstance(part, dict):
                yield from _invented(part)
        return
    chosen = node.get("select_list", ())
    kinds = [{str(inner.get("class")) for inner in _nodes(item)} for item in chosen]
    stars = [position for position, found in enumerate(kinds) if "STAR" in found]
    for position, found in enumerate(kinds):
        counts = any(inner.get("function_name") in _COUNTING for inner in _nodes(chosen[position]))
        if found & _FROM_DATA or counts:
            continue
        if not stars or position < stars[0]:
            yield position
        elif position > stars[-1]:
            yield position - len(kinds)


def _check(tree: object, datasets: Collection[str], reserved: Collection[str]) -> set[str]:
    """Refuse what is not allowed anywhere in the tree; return the names of the parameters."""
    nodes = list(_nodes(tree))
    ctes = {str(name).lower() for node in nodes for name in _cte_names(node)}
    if ctes & set(reserved):
        raise ConfigurationError(
            f"A CTE may not be named {min(ctes & set(reserved))!r}: take another name."
        )
    known = ctes | {name.lower() for name in datasets}
    tables = {id(node["function"]) for node in nodes if node.get("type") == "TABLE_FUNCTION"}
    parameters = set()
    for node in nodes:
        kind = str(node.get("type"))
        if kind.endswith("_NODE") and kind not in _QUERY_NODES:
            raise ConfigurationError(f"Only a SELECT is allowed, not {kind.partition('_')[0]}.")
        if kind == "SHOW_REF":
            raise ConfigurationError("Only a SELECT is allowed, not DESCRIBE, SHOW or SUMMARIZE.")
        if kind == "BASE_TABLE":
            _check_table(node, known, datasets)
        elif kind == "VALUE_PARAMETER":
            parameters.add(str(node["identifier"]))
        elif node.get("class") == "FUNCTION" and id(node) in tables:
            _check_table_function(node)
        elif node.get("class") == "FUNCTION":
            _check_function(node)
    if _growth(nodes) > _MAX_GROWTH:
        raise ConfigurationError(
            "The SQL puts too many or too long texts together, one level upon the other: join and "
            "replace less."
        )
    return parameters


def _growth(nodes: Sequence[dict[str, Any]]) -> int:
    """Return by how much the statement might at most inflate a text, a level of it upon the other."""
    growth = 1
    for node in nodes:
        name = str(node.get("function_name")).lower()
        if name in _REPLACING_FUNCTIONS:
            argument = _arguments(node)[2:3]
            constant = bool(argument) and argument[0].get("class") == "CONSTANT"
            growth *= max(len(_literal(argument[0])), 1) if constant else _UNKNOWN_LENGTH
        elif node.get("type") == "SELECT_NODE":
            growth *= max((_joined(item) for item in node.get("select_list", ())), default=1)
        growth = min(growth, _MAX_GROWTH + 1)
    return growth


def _joined(expression: object) -> int:
    """Return how many parts that are no constants an expression puts together."""
    joining = [
        n for n in _nodes(expression) if str(n.get("function_name")).lower() in _JOINING_FUNCTIONS
    ]
    parts = [part for node in joining for part in _arguments(node) if part.get("class") != "CONSTANT"]
    return max(len(parts) - len(joining) + 1, 1)


def _check_table(node: dict[str, Any], known: Collection[str], datasets: Collection[str]) -> None:
    parts = (node.get("catalog_name"), node.get("schema_name"), node["table_name"])
    name = ".".join(str(part) for part in parts if part)
    if name.lower() not in known:
        raise ConfigurationError(
            f"There is no table '{name}'. Tables that exist: {', '.join(datasets) or 'none'}."
        )


def _check_table_function(node: dict[str, Any]) -> None:
    name = str(node["function_name"]).lower()
    if name not in _TABLE_FUNCTIONS:
        allowed = ", ".join(sorted(_TABLE_FUNCTIONS))
        raise ConfigurationError(f"The table function '{name}' is not allowed; allowed are {allowed}.")


def _check_function(node: dict[str, Any]) -> None:
    name = str(node["function_name"]).lower()
    if name in _REFUSED_FUNCTIONS or name in _SLOW_FUNCTIONS or name.startswith(_REFUSED_PREFIXES):
        raise ConfigurationError(f"The function '{name}' is not allowed.")
    arguments = _arguments(node)
    if name in _INFLATING_FUNCTIONS:
        nested = any(
            str(inner.get("function_name")).lower() in _INFLATING_FUNCTIONS
            for argument in arguments
            for inner in _nodes(argument)
        )
        if nested or not all(_is_small(a) for a in arguments[_INFLATING_FUNCTIONS[name]]):
            raise ConfigurationError(
                f"The function '{name}' is only allowed with a size written as a number of at most "
                f"{_MAX_SIZE}, and not inside another such function."
            )
    if name in _FOLDING_FUNCTIONS and any(
        str(inner.get("function_name")).lower() in _JOINING_FUNCTIONS
        for argument in arguments
        for inner in _nodes(argument)
    ):
        raise ConfigurationError(
            f"The function '{name}' is not allowed to join texts or lists: take string_agg or flatten."
        )
    if name in _FORMATTING_FUNCTIONS and arguments and _WIDE_FORMAT.search(_literal(arguments[0])):
        raise ConfigurationError(
            f"The function '{name}' is only allowed with a format written as a text, with widths "
            f"below {_MAX_SIZE}."
        )


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Every object of the tree, without recursion, so that deep nesting cannot exhaust the stack."""
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _cte_names(node: dict[str, Any]) -> Iterator[object]:
    entries = node.get("cte_map")
    if isinstance(entries, dict):
        yield from (entry["key"] for entry in entries.get("map", ()))


def _arguments(node: dict[str, Any]) -> list[Any]:
    if "arguments" in node:
        return [argument["expression"] for argument in node["arguments"]]
    return list(node.get("children", ()))  # DuckDB before 2.0


def _literal(node: dict[str, Any]) -> str:
    """Text of a constant; of anything else, ``*``, which no rule takes for small."""
    if node.get("class") != "CONSTANT":
        return "*"
    if "literal" in node:
        return str(node["literal"].get("text"))
    return str(node.get("value", {}).get("value"))  # DuckDB before 2.0


def _is_small(node: dict[str, Any]) -> bool:
    text = _literal(node)
    return bool(re.fullmatch(r"-?[0-9]{1,4}", text)) and abs(int(text)) <= _MAX_SIZE

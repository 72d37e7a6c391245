"""Rules in YAML: read with the line of each key, so that an error can name it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from kimi_provider.exceptions import RuleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.alerts.rule import Rule

_NAMED = re.compile(r"'([A-Za-z_][\w]*)'|\b([a-z_]+) must\b|: (\w+) must\b")


def read_rules(source: str | Path, make: Callable[[object], Rule]) -> tuple[Rule, ...]:
    """Read a list of rules.

    :param source: path of the file, or its text.
    :param make: makes one rule from plain data.
    :raises RuleError: names the file, the line and the key of what is wrong.
    """
    name, text = _read(source)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise RuleError(f"{name}, line {line}: this is no YAML: {problem}.") from None
    except RecursionError:
        raise RuleError(f"{name}, line 1: the rules are nested too deep.") from None
    nodes = _rule_nodes(name, root)
    rules: list[Rule] = []
    seen: dict[str, int] = {}
    for node in nodes:
        line = _line(node)
        try:
            rule = _rule(name, node, make)
        except RecursionError:
            raise RuleError(f"{name}, line {line}: the rule is nested too deep, or in itself.") from None
        if rule.label in seen:
            raise RuleError(
                f"{name}, line {line}: the rule {rule.label!r} is there already, at line "
                f"{seen[rule.label]}. Give one of them a name of its own."
            )
        seen[rule.label] = line
        rules.append(rule)
    return tuple(rules)


def _read(source: str | Path) -> tuple[str, str]:
    if isinstance(source, str) and "\n" in source:
        return "The rules", source
    path = Path(source)
    try:
        return str(path), path.read_text()
    except OSError as error:
        raise RuleError(f"{path}: the rules cannot be read: {error.strerror}.") from None


def _rule_nodes(name: str, root: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value != "rules":
                raise RuleError(
                    f"{name}, line {_line(key)}, key {key.value!r}: only 'rules' is known here."
                )
            root = value
    if not isinstance(root, yaml.SequenceNode) or not root.value:
        line = _line(root) if root is not None else 1
        raise RuleError(f"{name}, line {line}: a list of rules is needed here.")
    return list(root.value)


def _rule(name: str, node: yaml.Node, make: Callable[[object], Rule]) -> Rule:
    _refuse_doubles(name, node)
    plain = _plain(name, node)
    _make_parts(name, node, make)
    try:
        return make(plain)
    except RuleError as error:
        key, line = _culprit(node, str(error))
        where = f"{name}, line {line}" + (f", key {key!r}" if key else "")
        raise RuleError(f"{where}: {error}") from None


def _plain(name: str, node: yaml.Node) -> object:
    try:
        return yaml.SafeLoader("").construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or node.start_mark
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise RuleError(f"{name}, line {mark.line + 1}: {problem}.") from None
    except (ValueError, TypeError, AttributeError) as error:  # of a date that there is not, or the like
        raise RuleError(f"{name}, line {_line(node)}: a value cannot be read: {error}.") from None


def _make_parts(name: str, node: yaml.Node, make: Callable[[object], Rule]) -> None:
    """Make the rules inside a rule first, so that an error names the innermost line."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if key.value == "rules" and isinstance(value, yaml.SequenceNode):
            for part in value.value:
                _rule(name, part, make)
        elif key.value == "rule":
            _rule(name, value, make)


def _refuse_doubles(name: str, node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise RuleError(f"{name}, line {_line(key)}: a key is a word.")
            if key.value in seen:
                raise RuleError(
                    f"{name}, line {_line(key)}, key {key.value!r}: it is there already, at line "
                    f"{seen[key.value]}."
                )
            seen[key.value] = _line(key)


def _culprit(node: yaml.Node, message: str) -> tuple[str | None, int]:
    """Return the key that the message is about and its line; without one, the rule's line."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    keys = {key.value: _line(key) for key, _ in pairs}
    if "In the expression" in message and "when" in keys:
        return "when", keys["when"]
    for found in _NAMED.finditer(message):
        name = next((group for group in found.groups() if group in keys), None)
        if name:
            return name, keys[name]
    if "kind must" in message and "kind" in keys:
        return "kind", keys["kind"]
    return None, _line(node)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1

"""A YAML file with the line of each of its keys, so that what is wrong can be pointed at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

Key = tuple[str | int, ...]
"""Where a value is: the keys, and places in lists, that lead to it."""


_DEEPEST = 50
_MOST_VALUES = 10_000
_BOOL = "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """Reads as YAML 1.2 does where 1.1 surprises: ``NO`` is a country, and ``on`` a word."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != _BOOL]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


@dataclass(frozen=True)
class ReportYaml:
    """What a file says.

    :param path: the file.
    :param data: its mapping, as plain values.
    :param lines: line of each key, from 1.
    """

    path: Path
    data: Mapping[str, Any]
    lines: Mapping[Key, int]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        :raises ConfigurationError: if it cannot be read, is no YAML or no mapping, or has a key twice.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8"
            raise ConfigurationError(f"{path}: the report cannot be read: {reason}.") from None
        lines: dict[Key, int] = {}
        try:
            root = yaml.compose(text, Loader=_Loader)
            if isinstance(root, yaml.MappingNode):
                _walk(path, root, (), lines)
            data = None if root is None else _Loader("").construct_document(root)
        except RecursionError:
            raise ConfigurationError(f"{path}, line 1: the report is nested too deep.") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(error, "problem", None) or "it cannot be read"
            raise ConfigurationError(f"{path}, line {line}: this is no YAML: {problem}.") from None
        if not isinstance(root, yaml.MappingNode) or not isinstance(data, dict):
            raise ConfigurationError(f"{path}, line 1: a report is a mapping of keys to values.")
        return cls(path, data, lines)

    def at(self, key: Key, problem: str) -> str:
        """Return a problem with its file, line and key."""
        shown = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(
            "."
        )
        found = key
        while found and found not in self.lines:
            found = found[:-1]
        line = self.lines.get(found, 1)
        where = f"{self.path}, line {line}" + (f", key {shown!r}" if key else "")
        return f"{where}: {problem}"


def _walk(path: Path, node: yaml.Node, key: Key, lines: dict[Key, int]) -> None:
    # Aliases can make much of little, and even hold themselves.
    if len(key) > _DEEPEST or len(lines) > _MOST_VALUES:
        line = node.start_mark.line + 1
        raise ConfigurationError(
            f"{path}, line {line}: a report has {_DEEPEST} levels and {_MOST_VALUES:,} values at most; "
            "is there an alias of what it is in?"
        )
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = (*key, str(name.value))
            line = name.start_mark.line + 1
            if inner in lines:
                raise ConfigurationError(
                    f"{path}, line {line}, key {name.value!r}: it is there already, at line "
                    f"{lines[inner]}."
                )
            lines[inner] = line
            _walk(path, value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[*key, number] = item.start_mark.line + 1
            _walk(path, item, (*key, number), lines)
    else:
        _check_scalar(path, node, key)


def _check_scalar(path: Path, node: yaml.Node, key: Key) -> None:
    """Refuse what only looks like its kind, such as the thirtieth of February."""
    try:
        _Loader("").construct_object(node)
    except yaml.YAMLError:
        raise
    except Exception as error:  # noqa: BLE001 — whatever a kind's constructor raises
        line, kind = node.start_mark.line + 1, node.tag.rpartition(":")[2]
        name = ".".join(map(str, key))
        raise ConfigurationError(
            f"{path}, line {line}, key {name!r}: {node.value!r} is no {kind}: {error}."
        ) from None

"""Alert rules: small frozen values that a DAG file or a YAML file declares.

A rule says what it looks for; :mod:`kimi_provider.alerts.evaluation` shows it a run and turns what it
saw into events. A new kind of rule is a frozen dataclass with the members of
:class:`~kimi_provider.alerts.rule.Rule` and a line in ``_KINDS``.

DAG files import this module at every parse, so it takes nothing heavier than the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.baselines import Band, Change, SchemaDrift
from kimi_provider.alerts.combinations import And, ForRuns, Not, Or
from kimi_provider.alerts.conditions import Range, Threshold
from kimi_provider.alerts.expression import Expression
from kimi_provider.alerts.presence import Always, FindingSeverity, NoData
from kimi_provider.alerts.rule import SEVERITIES, Rule
from kimi_provider.exceptions import RuleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "SEVERITIES",
    "Always",
    "And",
    "Band",
    "Change",
    "Expression",
    "FindingSeverity",
    "ForRuns",
    "NoData",
    "Not",
    "Or",
    "Range",
    "Rule",
    "SchemaDrift",
    "Threshold",
    "rule_from_json",
    "rules_from_yaml",
]

_KINDS: dict[str, Callable[..., Rule]] = {
    cls.kind: cls
    for cls in (
        *(Always, Threshold, Range, Change, Band, NoData, SchemaDrift),
        *(FindingSeverity, Expression, And, Or, Not, ForRuns),
    )
}


def rule_from_json(data: object) -> Rule:
    """Make a rule from plain JSON or YAML.

    :param data: a rule's ``kind`` and the parameters that its class takes; or its ``when``, an
        expression; or the expression alone, as text; or a rule, which stays what it is. ``for_runs``
        beside them asks for so many runs in a row.
    :raises RuleError: if the kind or a parameter is not known, one is missing, or a value is wrong.

    ::

        {"kind": "threshold", "fact": "day.cancelled_share", "above": 0.2, "severity": "critical"}
        {"when": "day.cancelled_share > 20%", "for_runs": 3}
    """
    if isinstance(data, str):
        return Expression(data)
    if not isinstance(data, Mapping):
        if hasattr(data, "observe"):
            return data  # type: ignore[return-value]  # a rule
        raise RuleError(f"A rule is a mapping with a kind, or an expression; got {data!r}.")
    given = dict(data)
    kind = given.pop("kind", "expression" if "when" in given else None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise RuleError(f"A rule's kind must be one of {', '.join(_KINDS)}; got {kind!r}.")
    runs = given.pop("for_runs", None)
    _check_parameters(kind, given)
    if kind in {"and", "or"} and isinstance(given["rules"], list | tuple):
        given["rules"] = tuple(rule_from_json(part) for part in given["rules"])
    if kind in {"not", "for_runs"}:
        given["rule"] = rule_from_json(given["rule"])
    rule = _KINDS[kind](**given)
    return rule if runs is None else ForRuns(rule, runs)


def rules_from_yaml(source: str | Path) -> tuple[Rule, ...]:
    """Read rules from a YAML file (or its text): a list, or a mapping with a list under ``rules``.

    :param source: path of the file; text with a line break in it is taken as the YAML itself.
    :raises RuleError: names the file, the line and the key of what is wrong.

    ::

        rules:
          - when: day.cancelled_share > 5%
            severity: critical
          - {kind: band, fact: day.flights, for_runs: 2}
    """
    from kimi_provider.alerts.rules_file import read_rules

    return read_rules(source, rule_from_json)


def _check_parameters(kind: str, given: Mapping[Any, Any]) -> None:
    parameters = {field.name: field for field in fields(_KINDS[kind])}  # type: ignore[arg-type]  # dataclasses
    unknown = [name for name in given if name not in parameters]
    if unknown:
        raise RuleError(
            f"A rule of kind {kind} takes {', '.join(parameters)}; it does not know {unknown[0]!r}."
        )
    missing = [n for n, field in parameters.items() if field.default is MISSING and n not in given]
    if missing:
        raise RuleError(f"A rule of kind {kind} needs {', '.join(missing)}.")

"""What a rule is: what it is asked, and what it answers.

DAG files import the rules at every parse, so this takes nothing heavier than the standard library.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from kimi_provider.exceptions import RuleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.alerts.scene import Scene

# The values of schemas.Severity in rising order. The schemas cost 20 ms of pydantic at each DAG parse.
SEVERITIES = ("info", "warning", "critical")

BOUNDS: dict[str, tuple[str, Callable[[Decimal, Decimal], bool]]] = {
    "above": ("above", lambda value, limit: value > limit),
    "below": ("below", lambda value, limit: value < limit),
    "at_least": ("at least", lambda value, limit: value >= limit),
    "at_most": ("at most", lambda value, limit: value <= limit),
}


@dataclass(frozen=True)
class Observation:
    """What a rule saw, of one thing that it looks at.

    :param severity: of the alert, or the one it would have had.
    :param reason: a sentence for people.
    :param fired: whether it deserves an alert.
    :param labels: tell this alert from others of the same rule.
    :param saw: the values looked at, by the id of the fact (or the name of what it was).
    """

    severity: str
    reason: str
    fired: bool
    labels: dict[str, str] = field(default_factory=dict)
    saw: dict[str, Decimal | str | None] = field(default_factory=dict)

    def relabeled(self, **labels: str) -> Observation:
        """Return the observation with further labels."""
        return replace(self, labels={**self.labels, **labels})


class Rule(Protocol):
    """What the evaluation needs of a rule."""

    @property
    def label(self) -> str:
        """How events and explanations name the rule."""

    @property
    def facts(self) -> tuple[str, ...]:
        """Ids of the facts whose values the rule wants to find again in later runs."""

    def observe(self, scene: Scene) -> tuple[Observation, ...]:
        """Look at a run and say what was seen, fired or not: one observation for each alert.

        :raises RuleError: if the rule asks for something that the run does not have.
        """

    def as_json(self) -> dict[str, object]:
        """Return the rule as plain JSON, from which ``rule_from_json`` makes it again."""


def as_json(rule: Any, kind: str) -> dict[str, object]:
    """Return a rule's kind and the parameters that it was given."""
    values = {f.name: getattr(rule, f.name) for f in fields(rule)}
    given = {f.name for f in fields(rule) if values[f.name] is not None}
    return {"kind": kind, **{name: _plain(values[name]) for name in values if name in given}}


def fingerprint(rule: Rule) -> str:
    """Return a short name for exactly this rule: another if a parameter of it changes."""
    return hashlib.sha256(json.dumps(rule.as_json(), sort_keys=True).encode()).hexdigest()[:12]


def check_severity(where: str, parameter: str, value: object) -> None:
    """Refuse what is no severity.

    :raises RuleError: if it is none of the three.
    """
    if value not in SEVERITIES:
        raise RuleError(f"{where}: {parameter} must be one of {', '.join(SEVERITIES)}; got {value!r}.")


def check_name(where: str, name: object) -> None:
    """Refuse a name that would break a line.

    :raises RuleError: if it is given and not one line of text.
    """
    if name is not None and (not isinstance(name, str) or not name.isprintable() or not name.strip()):
        raise RuleError(f"{where}: name must be one line of text; got {name!r}.")


def check_whole(where: str, parameter: str, value: object, *, least: int) -> None:
    """Refuse what is no whole number.

    :raises RuleError: if it is none, or less than ``least``.
    """
    check_number(where, parameter, value, least=least)
    if not isinstance(value, int):
        raise RuleError(f"{where}: {parameter} must be a whole number; got {value!r}.")


def check_number(where: str, parameter: str, value: object, *, least: float | None = None) -> None:
    """Refuse what is no finite number.

    :raises RuleError: if it is none, or less than ``least``.
    """
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if not number or not math.isfinite(value):  # type: ignore[arg-type]  # just checked
        raise RuleError(f"{where}: {parameter} must be a finite number; got {value!r}.")
    if least is not None and value < least:  # type: ignore[operator]  # just checked
        raise RuleError(f"{where}: {parameter} must be {least:g} or more; got {value!r}.")


def check_choice(where: str, parameter: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse what is not among the choices.

    :raises RuleError: if it is none of them.
    """
    if value not in choices:
        raise RuleError(f"{where}: {parameter} must be one of {', '.join(choices)}; got {value!r}.")


def check_bound(where: str, rule: object) -> None:
    """Refuse a rule that has not exactly one bound, or one that is no number.

    :raises RuleError: says which were given.
    """
    given = [name for name in BOUNDS if getattr(rule, name) is not None]
    if len(given) != 1:
        raise RuleError(
            f"{where} needs exactly one of above, below, at_least, at_most; "
            f"got {' and '.join(given) or 'none'}."
        )
    check_number(where, given[0], getattr(rule, given[0]))


def bound_of(rule: object) -> tuple[str, Decimal]:
    """Return which bound a rule has and its limit, as written: 0.2 is two tenths exactly."""
    name = next(name for name in BOUNDS if getattr(rule, name) is not None)
    return name, Decimal(str(getattr(rule, name)))


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "as_json"):
        return value.as_json()
    return str(value) if isinstance(value, str) else value  # a schemas.Severity is a str too

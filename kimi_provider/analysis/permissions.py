"""Which tool calls run by themselves, which ask a person, and which never run.

The policy comes from the DAG, never from the model or the data::

    Policy.from_mapping({
        "query_data": "allow",
        "fetch_url": [
            {"arguments": {"url": "https://api.example.com/**"}, "decision": "allow"},
            {"decision": "ask", "reason": "leaves the company"},
        ],
        "*": "deny",
    })
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_RULE_FIELDS = {"decision", "arguments", "reason"}
_MISSING = object()


class Decision(StrEnum):
    """What happens to a tool call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True)
class Rule:
    r"""A decision for the calls that fit.

    :param tool: glob over the tool's name.
    :param decision: what happens to a call that fits.
    :param arguments: a pattern, or a list of alternatives, by argument (``a.b`` reaches into
        objects). A text is a glob: ``*`` is any run of characters except ``/ ? # \ @`` and line
        ends, ``**`` any run at all; so ``https://*.example.com/**`` cannot be met by another host
        that has the rest in its path or query. Anything else must be equal. An argument that is
        not there never fits.
    :param reason: why; shown to the person who is asked, and to the model where it is denied.
    """

    tool: str
    decision: Decision
    arguments: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    def fits(self, tool: str, arguments: Mapping[str, Any]) -> bool:
        """Whether this rule speaks of the call."""
        if not _glob(self.tool, tool):
            return False
        return all(
            _fits(pattern, _argument(arguments, name)) for name, pattern in self.arguments.items()
        )


@dataclass(frozen=True)
class Verdict:
    """What was decided of a call, and why."""

    decision: Decision
    reason: str


@dataclass(frozen=True)
class Policy:
    """Rules in order; the first that fits decides, else the tool's own setting does."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Policy:
        """Read a policy from plain data, as a DAG gives it.

        :param data: by glob over tool names: a decision, a rule (``decision``, ``arguments``,
            ``reason``), or a list of rules. The order counts.
        :raises ConfigurationError: names the tool and what is allowed.
        """
        return cls(
            tuple(
                _rule(tool, item)
                for tool, value in data.items()
                for item in (value if isinstance(value, list | tuple) else [value])
            )
        )

    def decide(self, tool: str, arguments: Mapping[str, Any], default: Decision) -> Verdict:
        """Decide of one call.

        :param tool: its name.
        :param arguments: its arguments, validated.
        :param default: the tool's own setting.
        """
        for rule in self.rules:
            if rule.fits(tool, arguments):
                return Verdict(rule.decision, rule.reason or f"policy rule for {rule.tool!r}")
        return Verdict(default, "the tool's own setting")


@dataclass(frozen=True)
class Approval:
    """A person's decision of one call that was asked about.

    :param approved: whether it may run.
    :param by: who decided; goes into the trace.
    :param note: goes to the model where the call was refused.
    """

    approved: bool
    by: str = ""
    note: str = ""


def _rule(tool: str, value: object) -> Rule:
    fields = {"decision": value} if isinstance(value, str) else value
    if not isinstance(fields, dict) or set(fields) - _RULE_FIELDS or "decision" not in fields:
        raise ConfigurationError(
            f"The policy for tool {tool!r} is {value!r}; allowed is allow, ask or deny, or an object "
            f"with decision and perhaps {', '.join(sorted(_RULE_FIELDS - {'decision'}))}, or a list."
        )
    try:
        decision = Decision(fields["decision"])
    except ValueError:
        raise ConfigurationError(
            f"The policy for tool {tool!r} says {fields['decision']!r}; allowed is allow, ask or deny."
        ) from None
    arguments = fields.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise ConfigurationError(
            f"The policy's arguments for tool {tool!r} are {arguments!r}; allowed is an object of "
            "patterns by argument."
        )
    return Rule(tool, decision, arguments, str(fields.get("reason") or ""))


def _argument(arguments: Mapping[str, Any], name: str) -> object:
    value: Any = arguments
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _fits(pattern: object, value: object) -> bool:
    if value is _MISSING:
        return False
    if isinstance(pattern, list | tuple):
        return any(_fits(one, value) for one in pattern)
    if isinstance(pattern, str):
        return isinstance(value, str) and _glob(pattern, value)
    # True == 1 in Python, but not in JSON.
    return type(pattern) is type(value) and pattern == value


def _glob(pattern: str, text: str) -> bool:
    parts = re.split(r"(\*+)", pattern)
    expression = "".join(
        {"*": r"[^/?#\\@\r\n]*"}.get(part, r"(?s:.*)") if part.startswith("*") else re.escape(part)
        for part in parts
    )
    return re.fullmatch(expression, text) is not None

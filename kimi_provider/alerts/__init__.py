"""Who is told, and with what proof: rules, state, routing, the message, delivery and its ledger.

DAG files take their rules from here, so importing this package loads the standard library only::

    from kimi_provider.alerts import Expression, FindingSeverity, Threshold

    rules = [Threshold("day.cancelled_share", above=0.2), FindingSeverity("critical")]
"""

from kimi_provider.alerts.rules import (
    Always,
    And,
    Band,
    Change,
    Expression,
    FindingSeverity,
    ForRuns,
    NoData,
    Not,
    Or,
    Range,
    Rule,
    SchemaDrift,
    Threshold,
    rule_from_json,
    rules_from_yaml,
)

__all__ = [
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

"""Who is told, and with what proof: rules, the message, delivery and its ledger.

DAG files take their rules from here, so importing this package loads the standard library only::

    from kimi_provider.alerts import FindingSeverity, Threshold

    rules = [Threshold("day.cancelled_share", above=0.2), FindingSeverity("critical")]
"""

from kimi_provider.alerts.rules import Always, FindingSeverity, Rule, Threshold, rule_from_json

__all__ = ["Always", "FindingSeverity", "Rule", "Threshold", "rule_from_json"]

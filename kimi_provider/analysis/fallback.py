"""An analysis without a model: the facts alone, in plain words of ours, and marked as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider import exceptions
from kimi_provider.analysis.sanitize import one_line
from kimi_provider.exceptions import APIError, BudgetExceededError, KimiProviderError, ModelOutputError
from kimi_provider.schemas import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.schemas import Comparison, Fact

MODEL_FAILURES = (APIError, ModelOutputError, BudgetExceededError)
"""What can stop the model and leave the facts as they are; a wrong setting or source does not."""

NO_DATA = "no_data"
"""``Analysis.failure`` where there was nothing to analyze."""

# The first class that fits names the failure.
_WORDS: tuple[tuple[type[KimiProviderError], str], ...] = (
    (exceptions.DailyLimitError, "daily_limit"),
    (exceptions.QuotaExceededError, "no_balance"),
    (exceptions.OverloadedError, "overloaded"),
    (exceptions.RateLimitError, "rate_limited"),
    (exceptions.ContextLengthError, "too_long"),
    (exceptions.ContentFilterError, "content_filter"),
    (exceptions.AuthenticationError, "access_denied"),
    (exceptions.PermissionDeniedError, "access_denied"),
    (exceptions.NotFoundError, "model_not_found"),
    (exceptions.APITimeoutError, "timed_out"),
    (exceptions.APIConnectionError, "unreachable"),
    (exceptions.ServerError, "host_failed"),
    (exceptions.APIError, "call_failed"),
    (exceptions.UngroundedError, "ungrounded"),
    (exceptions.ModelOutputError, "unusable_answer"),
    (exceptions.BudgetExceededError, "over_budget"),
)
_MAX_FINDINGS, _MAX_SUMMED = 8, 4

# English, and Polish where the template asks for it.
_CHANGE = {"en": "change", "pl": "zmiana"}
_KIND = {"en": "figure", "pl": "wskaźnik"}
_NOTHING = {"en": "No figures could be computed", "pl": "Nie udało się obliczyć żadnych wartości"}


def failure_word(error: KimiProviderError) -> str:
    """Return an error as ``Analysis.failure`` names it, such as ``rate_limited``."""
    return next((word for kind, word in _WORDS if isinstance(error, kind)), "call_failed")


def plain_texts(facts: Sequence[Fact], language: str | None) -> tuple[str, str, tuple[Finding, ...]]:
    """Return headline, summary and findings that say the facts and nothing about them.

    :param facts: the single facts; those marked for the top of a report come first.
    :param language: ``pl`` or ``Polish`` for Polish; anything else gives English.

    Figures stand as references alone, no direction is claimed, and nothing is a warning: nobody has
    judged them.
    """
    words = "pl" if (language or "").lower().startswith(("pl", "pol")) else "en"
    known = [fact for fact in facts if fact.value is not None and not fact.change]
    ordered = sorted(known, key=lambda fact: (not fact.kpi, not fact.comparisons))
    if not ordered:
        return _NOTHING[words], f"{_NOTHING[words]}.", ()
    summary = " ".join(f"{_said(fact)}." for fact in ordered[:_MAX_SUMMED])
    findings = tuple(
        Finding(
            title=_said(fact),
            detail=_detail(fact, words),
            severity=Severity.INFO,
            kind=_KIND[words],
        )
        for fact in ordered[:_MAX_FINDINGS]
    )
    return _said(ordered[0]), summary, findings


def _said(fact: Fact) -> str:
    return f"{_label(fact.label)}: [[{fact.id}]]"


def _detail(fact: Fact, words: str) -> str:
    parts = [_compared(fact, comparison, words) for comparison in fact.comparisons]
    return " ".join(parts) or f"{_said(fact)}."


def _compared(fact: Fact, comparison: Comparison, words: str) -> str:
    base = f"{fact.id}.{comparison.id}"
    label = _label(comparison.label)
    change = f"[[{base}.delta|signed]]"
    if comparison.percent is not None:
        change += f" ([[{base}.percent|signed]])"
    return f"{label[:1].upper()}{label[1:]}: [[{base}]]; {_CHANGE[words]}: {change}."


def _label(text: str) -> str:
    """Return a label that cannot pass for a reference."""
    return one_line(text).replace("[[", "[ [").replace("]]", "] ]")

"""What becomes of an answer that the checks object to: sentences dropped or marked, and a score."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from kimi_provider.analysis.grounding_index import FactIndex
from kimi_provider.analysis.grounding_kinds import Kind
from kimi_provider.analysis.grounding_policy import Policy
from kimi_provider.analysis.grounding_text import REFERENCE, sentences
from kimi_provider.exceptions import UngroundedError
from kimi_provider.schemas import Grounding, GroundingIssue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kimi_provider.analysis.draft import AnalysisDraft
    from kimi_provider.analysis.grounding_kinds import Violation
    from kimi_provider.analysis.grounding_policy import GroundingPolicy
    from kimi_provider.schemas import Fact, FactSheet

MARK = "[[~note:unverified]]"
"""Reserved: stands behind a sentence that a check objects to. No fact has such an id, the check refuses
it in a model's text, and the reports print it as a visible note."""

_KIND = ".kind"
_END = ".!?\u2026"
_OWN_SENTENCES = 3
_ACTIONS: dict[Policy, Literal["dropped", "annotated", "warned"]] = {
    Policy.STRICT: "dropped",
    Policy.ANNOTATE: "annotated",
    Policy.WARN: "warned",
}


@dataclass(frozen=True)
class Treated:
    """An answer as it goes on, and what was found in it."""

    draft: AnalysisDraft
    grounding: Grounding


def treated(
    draft: AnalysisDraft,
    violations: Sequence[Violation],
    sheet: FactSheet,
    policy: GroundingPolicy,
    *,
    repaired: Iterable[Violation] = (),
) -> Treated:
    """Drop or mark the sentences of an answer that are objected to, each by its check's policy.

    :param violations: what the checks found in the answer.
    :param repaired: what they had found in an earlier one, and the model has mended.
    :raises UngroundedError: if neither summary nor findings have a sentence left.
    """
    undrawn = {f"{violation.where}.title" for violation in violations if violation.kind is Kind.CHART}
    by_place: dict[str, list[Violation]] = {}
    for violation in violations:
        if violation.kind is not Kind.CHART and violation.where not in undrawn:
            by_place.setdefault(violation.where, []).append(violation)
    texts = draft.texts()
    kept = {place: _text(texts[place], found, policy) for place, found in by_place.items()}
    for place, found in by_place.items():
        if place.endswith(_KIND):
            # Rules go by a finding's kind, and no reader sees it: it stays whole, or goes.
            kept[place] = "" if any(_drops(v, policy) for v in found) else texts[place]
    left = _with_texts(draft, kept | dict.fromkeys(undrawn, ""), sheet)
    said = _said(left)
    total = sum(len(sentences(text)) for text in said.values())
    marked = 0
    for place, found in by_place.items():
        if place.endswith(_KIND):
            continue
        stays = _objected(texts[place], [v for v in found if not _drops(v, policy)])
        marked += len(stays - _objected(texts[place], [v for v in found if _drops(v, policy)]))
    issues = [_issue(violation, "repaired") for violation in repaired]
    for violation in violations:
        left_out = violation.where in undrawn
        issues.append(
            _issue(violation, "dropped" if left_out else _ACTIONS[policy.of(violation.kind.check)])
        )
    score = 1.0 - min(marked, total) / total if total else 0.0
    grounding = Grounding(score=round(score, 4), sentences=total, issues=tuple(issues))
    return Treated(left, grounding)


def own_words(sheet: FactSheet, most: int = _OWN_SENTENCES) -> str:
    """Return the facts that matter most in plain words of no language: "Label: [[id]].".

    :raises UngroundedError: if no single figure has a value.
    """
    cells = FactIndex(sheet).cells
    shown = [fact for fact in sheet.facts if _is_own(fact) and fact.id not in cells]
    shown.sort(key=lambda fact: not fact.kpi)
    if not shown:
        raise UngroundedError(
            "The answer is not grounded in the facts, and there is no single figure to put in its place."
        )
    return ". ".join(f"{fact.label}: [[{fact.id}]]" for fact in shown[:most])


def _is_own(fact: Fact) -> bool:
    derived = fact.change or any(mark in fact.label for mark in "[]{}<>")
    return isinstance(fact.value, Decimal) and not derived


def _drops(violation: Violation, policy: GroundingPolicy) -> bool:
    return policy.of(violation.kind.check) is Policy.STRICT


def _objected(text: str, found: Sequence[Violation]) -> set[int]:
    """Return the starts of the sentences in which something was found."""
    return {
        sentence.start
        for sentence in sentences(text)
        if any(v.start < sentence.end and v.end > sentence.start for v in found)
    }


def _text(text: str, found: Sequence[Violation], policy: GroundingPolicy) -> str:
    """Return a text without what is dropped, and with a mark behind what is annotated."""
    dropped = _objected(text, [v for v in found if _drops(v, policy)])
    noted = _objected(text, [v for v in found if policy.of(v.kind.check) is Policy.ANNOTATE])
    unknown = {text[v.start : v.end] for v in found if v.kind is Kind.UNKNOWN_ID}
    parts = []
    for sentence in sentences(text):
        if sentence.start in dropped:
            continue
        part = text[sentence.start : sentence.end]
        # Nothing could be printed for an id that there is not.
        part = REFERENCE.sub(lambda match: MARK if match[0] in unknown else match[0], part)
        if sentence.start in noted and MARK not in part:
            bare = part.rstrip(_END)
            part = f"{bare} {MARK}{part[len(bare) :]}"
        parts.append(part)
    return "".join(parts).strip()


def _said(draft: AnalysisDraft) -> dict[str, str]:
    places = draft.texts()
    return {place: text for place, text in places.items() if text and not place.endswith(_KIND)}


def _with_texts(draft: AnalysisDraft, texts: dict[str, str], sheet: FactSheet) -> AnalysisDraft:
    """Return the answer with other texts; what has no title or no words left goes whole."""
    findings = []
    for number, finding in enumerate(draft.findings):
        here = f"findings[{number}]"
        update = {
            "title": texts.get(f"{here}.title", finding.title),
            "detail": texts.get(f"{here}.detail", finding.detail),
            "kind": texts.get(f"{here}.kind", finding.kind) or "observation",
        }
        if update["title"]:
            findings.append(finding.model_copy(update=update))
    summary = texts.get("summary", draft.summary)
    if not summary and not findings:
        raise UngroundedError(
            "The answer is not grounded in the facts: after its repair no sentence of its summary and "
            "no finding is left. What it said is in the trace; run the task again, or ask for less."
        )
    actions = [texts.get(f"actions[{n}]", action) for n, action in enumerate(draft.actions)]
    charts = [
        chart.model_copy(update={"title": title})
        for n, chart in enumerate(draft.charts)
        if (title := texts.get(f"charts[{n}].title", chart.title))
    ]
    return draft.model_copy(
        update={
            "headline": texts.get("headline", draft.headline) or own_words(sheet, 1),
            "summary": summary or own_words(sheet) + ".",
            "findings": tuple(findings),
            "actions": tuple(action for action in actions if action),
            "charts": tuple(charts),
        }
    )


def _issue(
    violation: Violation, action: Literal["repaired", "dropped", "annotated", "warned"]
) -> GroundingIssue:
    return GroundingIssue(
        kind=violation.kind.name.lower(),
        where=violation.where,
        excerpt=violation.excerpt,
        hint=violation.hint,
        action=action,
    )

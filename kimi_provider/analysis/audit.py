"""The audit record of an analysis: from each sentence to the facts it cites, their SQL, their data."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding import references
from kimi_provider.analysis.grounding_text import sentences
from kimi_provider.storage import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from kimi_provider.analysis.answer import Answering
    from kimi_provider.analysis.grounding_policy import GroundingPolicy
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.schemas import Analysis, Fact, FactSheet, Grounding
    from kimi_provider.storage import StoragePath

FILE = "audit.json"
VERSION = 1


def audit_record(
    analysis: Analysis,
    sheet: FactSheet,
    *,
    grounding: Grounding,
    policy: GroundingPolicy,
    template: str,
    template_sha256: str,
    request_ids: Sequence[str],
    repairs: int,
) -> dict[str, JsonValue]:
    """Return the record of an analysis, as JSON.

    :param analysis: as it goes on to the report.
    :param sheet: all its facts.
    :param grounding: what the checks found.
    :param policy: what each check led to.
    :param template: name of the prompt template; ``template_sha256`` is the hash of its text.
    :param request_ids: ids that the host gave the calls that the answer came from.
    :param repairs: how often the model was asked for a repair.

    ``sentences`` has each sentence in the order of the document: ``where`` (``findings[0].detail``),
    ``text``, ``facts`` (ids as cited), ``footnotes`` (numbers). ``footnotes`` has each cited fact once,
    numbered from 1 in the order of its first citation: id, label, value, unit, period, ``sql``, and
    ``datasets`` (content hash by name). The same analysis makes the same numbers.
    """
    facts = {fact.id: fact for fact in sheet.facts}
    numbers: dict[str, int] = {}
    said: list[JsonValue] = []
    for where, text in texts_of(analysis).items():
        for sentence in sentences(text):
            words = text[sentence.start : sentence.end].strip()
            cited = [fact_id for fact_id in dict.fromkeys(references(words)) if fact_id in facts]
            notes: list[JsonValue] = [numbers.setdefault(name, len(numbers) + 1) for name in cited]
            said.append({"where": where, "text": words, "facts": [*cited], "footnotes": notes})
    return {
        "version": VERSION,
        "template": {"name": template, "sha256": template_sha256},
        "model": analysis.model,
        "simulated": analysis.simulated,
        "request_ids": [*request_ids],
        "period": analysis.period,
        "policy": policy.model_dump(mode="json"),
        "score": grounding.score,
        "repairs": repairs,
        "sentences": said,
        "footnotes": [_footnote(number, facts[name]) for name, number in numbers.items()],
        "issues": [issue.model_dump(mode="json") for issue in grounding.issues],
    }


async def audited(
    analysis: Analysis,
    sheet: FactSheet,
    answering: Answering,
    template: PromptTemplate,
    folder: StoragePath,
) -> Analysis:
    """Write the audit record of an analysis into its folder; return the analysis with its grounding.

    :param answering: got the answer; says what was found in it, and how it came about.
    :param folder: gets ``audit.json``.
    """
    if answering.grounding is None:
        return analysis
    record = audit_record(
        analysis,
        sheet,
        grounding=answering.grounding,
        policy=answering.policy,
        template=template.name,
        template_sha256=template.sha256,
        request_ids=answering.request_ids,
        repairs=answering.repairs,
    )
    path = folder / FILE
    await asyncio.to_thread(write_audit, path, record)
    grounding = answering.grounding.model_copy(update={"audit_uri": path.as_uri()})
    return analysis.model_copy(update={"grounding": grounding})


def write_audit(path: StoragePath, record: Mapping[str, JsonValue]) -> None:
    """Write the record as a JSON file, whole or not at all."""
    write_text(path, json.dumps(record, ensure_ascii=False, indent=1) + "\n")


def texts_of(analysis: Analysis) -> dict[str, str]:
    """Return the texts of an analysis in the order of the document, under their places."""
    texts = {"headline": analysis.headline, "summary": analysis.summary}
    for number, finding in enumerate(analysis.findings):
        texts[f"findings[{number}].title"] = finding.title
        texts[f"findings[{number}].detail"] = finding.detail
    texts |= {f"actions[{number}]": action for number, action in enumerate(analysis.actions)}
    texts |= {f"charts[{number}].title": chart.title for number, chart in enumerate(analysis.charts)}
    return {where: text for where, text in texts.items() if text}


def _footnote(number: int, fact: Fact) -> dict[str, JsonValue]:
    shown = fact.model_dump(mode="json")
    kept = ("label", "value", "unit", "unit_label", "period")
    return {
        "number": number,
        "fact": fact.id,
        **{name: shown[name] for name in kept},
        "sql": fact.lineage.sql,
        "datasets": dict(fact.lineage.datasets),
    }

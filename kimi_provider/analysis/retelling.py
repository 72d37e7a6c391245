"""A text that was written about the whole, told again of a part, as far as it is true of it.

The model's text holds no figures, only the ids of facts. The same ids, computed over a part of the data,
are the part's own figures; so the text can be told of it, once each sentence has been held against the
part's facts. What is not true of the part is left out, and so is what names something of the whole that
the part does not know.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kimi_provider.analysis.computing import check_sheet, compute_sheet, single_facts
from kimi_provider.analysis.draft import AnalysisDraft, DraftChart, DraftFinding
from kimi_provider.analysis.fallback import plain_texts
from kimi_provider.analysis.grounding import chart_problem, check, references
from kimi_provider.analysis.grounding_policy import GroundingPolicy
from kimi_provider.analysis.grounding_treatment import treated
from kimi_provider.analysis.result import days_named
from kimi_provider.exceptions import UngroundedError
from kimi_provider.schemas import Severity, Usage
from kimi_provider.storage import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.schemas import Analysis, DatasetRef, FactSheet
    from kimi_provider.storage import StoragePath

_STRICT = GroundingPolicy(on_failure="drop")


async def retold(
    whole: Analysis,
    *,
    template: PromptTemplate,
    datasets: Mapping[str, tuple[DatasetRef, StoragePath]],
    params: Mapping[str, object],
    folder: StoragePath,
) -> Analysis:
    """Tell the analysis of the whole of a part of the data; asks no model, and costs nothing.

    :param whole: the analysis.
    :param template: the one that it was made by.
    :param datasets: the part, by the names that the template's SQL uses.
    :param params: values for the template's parameters.
    :param folder: gets ``facts.json``.
    :returns: with the part's facts. Where no sentence is true of the part, its facts stand alone.
    :raises ConfigurationError: if template or parameters are wrong.
    :raises NoDataError: if the part has nothing of what the template needs.
    """
    parameters = template.parameters(params)
    template = template.spoken(parameters)
    sheet = await asyncio.to_thread(compute_sheet, template, datasets, parameters, period=None)
    period = template.period(parameters)
    check_sheet(template, sheet, period)
    path = folder / "facts.json"
    await asyncio.to_thread(write_text, path, sheet.model_dump_json(indent=1) + "\n")
    part = await asyncio.to_thread(_true_of, whole, template, sheet, parameters, period)
    texts = [
        part.headline,
        part.summary,
        *part.actions,
        *(text for finding in part.findings for text in (finding.title, finding.detail)),
    ]
    cited = {fact_id for text in texts for fact_id in references(text)}
    cited |= {fact.id for fact in single_facts(sheet, template.front.comparisons)}
    return part.model_copy(
        update={
            "period": period,
            "facts": tuple(fact for fact in sheet.facts if fact.id in cited),
            "facts_uri": path.as_uri(),
            "charts": tuple(chart for chart in whole.charts if not chart_problem(chart, sheet)),
            "usage": Usage(),
        }
    )


def _true_of(
    whole: Analysis,
    template: PromptTemplate,
    sheet: FactSheet,
    parameters: Mapping[str, object],
    period: str | None,
) -> Analysis:
    """Return the text as far as it holds of the sheet; the facts alone, where nothing of it does."""
    if whole.failure is None:
        draft = _draft(whole)
        violations = check(
            draft,
            sheet,
            period=period,
            dates=days_named(template, parameters),
            vocabulary=[template.front.system, *template.front.entities],
        )
        try:
            kept = treated(draft, violations, sheet, _STRICT)
        except UngroundedError:
            pass
        else:
            return whole.model_copy(
                update={
                    "headline": kept.draft.headline,
                    "summary": kept.draft.summary,
                    "findings": tuple(finding.as_finding() for finding in kept.draft.findings),
                    "actions": kept.draft.actions,
                    "grounding": kept.grounding,
                }
            )
    single = single_facts(sheet, template.front.comparisons)
    headline, summary, findings = plain_texts(single, template.front.language)
    return whole.model_copy(
        update={
            "headline": headline,
            "summary": summary,
            "findings": findings,
            "actions": (),
            "failure": whole.failure or "ungrounded",
            "grounding": None,
        }
    )


def _draft(whole: Analysis) -> AnalysisDraft:
    """Return the text as the checks read it; how bad the whole is says nothing of its parts."""
    return AnalysisDraft.model_construct(
        headline=whole.headline,
        summary=whole.summary,
        findings=tuple(
            DraftFinding.model_construct(
                title=finding.title,
                detail=finding.detail,
                severity=Severity.INFO,
                kind=finding.kind,
            )
            for finding in whole.findings
        ),
        actions=whole.actions,
        charts=tuple[DraftChart, ...](),
    )

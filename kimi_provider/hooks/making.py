"""Analyses and reports made by their recipes: the first time, and again as a person wants them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.storage import open_uri
from kimi_provider.schemas import FactSheet
from kimi_provider.storage import read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.partial import PartResult
    from kimi_provider.analysis.trace import Trace
    from kimi_provider.exceptions import KimiProviderError
    from kimi_provider.hooks.kimi import KimiHook
    from kimi_provider.hooks.recipes import AnalysisRecipe, ReportRecipe
    from kimi_provider.schemas import Analysis, ReportRef
    from kimi_provider.storage import StoragePath


def _never(_: KimiProviderError) -> bool:
    return False


async def analyzed(
    recipe: AnalysisRecipe,
    hook: KimiHook,
    *,
    journal: StoragePath,
    folder: StoragePath,
    trace: Trace,
    search_path: Sequence[Path],
    on_progress: Callable[[str], None],
    falls_back: Callable[[KimiProviderError], bool] = _never,
    reports_no_data: bool = False,
    remarks: Sequence[str] = (),
) -> Analysis:
    """Make an analysis by its recipe.

    :param hook: of the recipe's connections, which it has read.
    :param journal: the folder in whose journal finished calls are; what is there is not paid again.
    :param folder: gets facts, audit record and trace.
    :param trace: gets all that happens.
    :param search_path: folders of the prompt templates.
    :param falls_back: whether a failure of the model is answered by the facts alone.
    :param reports_no_data: whether nothing to write about gives an empty analysis.
    :param remarks: what a person wants otherwise, each a further turn of the conversation.
    :raises KimiProviderError: what :func:`kimi_provider.analysis.analyst.analyze` raises.
    """
    from kimi_provider.analysis.budget import Budget
    from kimi_provider.hooks.metrics import calls_of

    budget = Budget(max_cost_usd=recipe.max_cost_usd)
    async with hook.caller(
        journal, trace=trace, budget=budget, on_progress=on_progress, on_call=calls_of(None)
    ) as caller:
        return await analyzed_by(
            caller,
            recipe,
            folder=folder,
            search_path=search_path,
            on_progress=on_progress,
            falls_back=falls_back,
            reports_no_data=reports_no_data,
            remarks=remarks,
        )


async def analyzed_by(
    caller: Caller,
    recipe: AnalysisRecipe,
    *,
    folder: StoragePath,
    search_path: Sequence[Path],
    on_progress: Callable[[str], None],
    falls_back: Callable[[KimiProviderError], bool] = _never,
    reports_no_data: bool = False,
    remarks: Sequence[str] = (),
) -> Analysis:
    """Make an analysis by its recipe, through a caller that is open; see :func:`analyzed`.

    :raises KimiProviderError: what :func:`kimi_provider.analysis.analyst.analyze` raises.
    """
    from kimi_provider.analysis.analyst import AnalysisOptions, analyze
    from kimi_provider.analysis.grounding_policy import GroundingPolicy
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.analysis.strategy import strategy_named

    template = PromptTemplate.load(recipe.prompt, search_path)
    options = AnalysisOptions(
        model=recipe.model,
        strategy=strategy_named(recipe.strategy) if recipe.strategy else None,
        grounding=GroundingPolicy.given(recipe.grounding or None),
        falls_back=falls_back,
        reports_no_data=reports_no_data,
        parts=await asyncio.to_thread(_parts, recipe),
        remarks=remarks,
    )
    return await analyze(
        caller=caller,
        template=template,
        datasets={name: (ref, open_uri(ref.uri)) for name, ref in recipe.datasets.items()},
        params=recipe.parameters,
        folder=folder,
        options=options,
        on_progress=on_progress,
    )


async def drawn(
    recipe: ReportRecipe,
    analysis: Analysis,
    sheet: FactSheet,
    *,
    folder: StoragePath,
    search_path: Sequence[Path],
    now: datetime,
) -> ReportRef:
    """Draw a report by its recipe.

    :param sheet: all facts of the analysis.
    :param folder: where the files go.
    :param search_path: folders of the report templates.
    :param now: when the report is made, with its offset.
    :raises KimiProviderError: what :func:`kimi_provider.reports.build.build_report` raises.
    """
    from kimi_provider.reports.build import build_report

    return await build_report(
        analysis,
        sheet,
        template=recipe.template,
        search_path=search_path,
        folder=folder,
        now=now,
        title=recipe.title,
        subject=recipe.subject,
        brand=recipe.brand_again(),
        locale=recipe.locale,
        timezone=recipe.timezone,
        link_hosts=recipe.link_hosts,
        formats=recipe.formats,
        name=recipe.file_name,
        byte_order_mark=recipe.csv_byte_order_mark,
    )


def sheet_of(analysis: Analysis) -> FactSheet:
    """Read all facts of an analysis."""
    if not analysis.facts_uri:  # an analysis that had nothing to compute
        return FactSheet(facts=analysis.facts)
    return FactSheet.model_validate_json(read_bytes(open_uri(analysis.facts_uri)))


def _parts(recipe: AnalysisRecipe) -> tuple[PartResult, ...]:
    """Read what the tasks that read the parts of a text have stored.

    :raises ConfigurationError: if none has.
    """
    from kimi_provider.analysis.partial import PartResult

    if recipe.partials is None:
        return ()
    if not recipe.partials:
        raise ConfigurationError("partials is empty: no task has read a part of the text")
    return tuple(
        PartResult.model_validate_json(read_bytes(open_uri(one["uri"]))) for one in recipe.partials
    )

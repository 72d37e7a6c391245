"""From datasets to an analysis: compute the facts, ask the model what they mean, check what it wrote."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kimi_provider.analysis.answer import Answering
from kimi_provider.analysis.audit import audited
from kimi_provider.analysis.computing import check_sheet, compute_sheet
from kimi_provider.analysis.database import Database
from kimi_provider.analysis.elsewhere import handed_over
from kimi_provider.analysis.fallback import MODEL_FAILURES, NO_DATA, failure_word
from kimi_provider.analysis.grounding import references, without_repeated_units
from kimi_provider.analysis.grounding_policy import GroundingPolicy
from kimi_provider.analysis.partial import check_parts
from kimi_provider.analysis.preparing import (
    Prepared,
    choose,
    chunk_plan,
    local_files,
    read_text,
    window_of,
    with_profile,
    with_rows,
    with_themes,
)
from kimi_provider.analysis.query_facts import QueryFacts
from kimi_provider.analysis.request import DatasetView, analysis_request
from kimi_provider.analysis.result import Result, days_named
from kimi_provider.analysis.theme_facts import announced
from kimi_provider.analysis.with_tools import columns_block, explored
from kimi_provider.exceptions import KimiProviderError, NoDataError
from kimi_provider.schemas import Analysis, DatasetRef, FactSheet, Usage
from kimi_provider.storage import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.partial import PartResult
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.analysis.rows import Rows
    from kimi_provider.analysis.strategy import Strategy, Wanted
    from kimi_provider.storage import StoragePath


def _never(_: KimiProviderError) -> bool:
    """Let every failure through."""
    return False


@dataclass(frozen=True)
class AnalysisOptions:
    """How one analysis is made, in place of what the template says.

    :param period: name of the period.
    :param model: model id, in place of the connection's too.
    :param strategy: how the data reaches the model.
    :param falls_back: whether a failure of the model is answered by the facts alone; ``False`` for one
        raises it.
    :param reports_no_data: whether data that has nothing to write about gives an empty analysis.
    :param parts: what was found in all chunks of the text, where others have read it.
    :param grounding: what each check of the text leads to.
    :param remarks: what a person wants otherwise of the text, each a further turn of the conversation.
    """

    period: str | None = None
    model: str | None = None
    strategy: Wanted | None = None
    falls_back: Callable[[KimiProviderError], bool] = _never
    reports_no_data: bool = False
    parts: Sequence[PartResult] = ()
    grounding: GroundingPolicy | None = None
    remarks: Sequence[str] = ()


async def analyze(
    *,
    caller: Caller,
    template: PromptTemplate,
    datasets: Mapping[str, tuple[DatasetRef, StoragePath]],
    params: Mapping[str, object],
    folder: StoragePath,
    options: AnalysisOptions | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Analysis:
    """Analyze datasets by a prompt template.

    :param caller: calls the model; its trace gets all that happens here too.
    :param template: says what to compute and what to ask.
    :param datasets: each dataset and its file, by the name that the template's SQL uses.
    :param params: values for the template's parameters.
    :param folder: gets ``facts.json`` (a ``FactSheet``) and ``trace.json``.
    :param options: what is not to be as the template says.
    :param on_progress: gets one line at a time about what is going on.
    :raises ConfigurationError: if template, parameters, SQL or connection are wrong; nothing was paid.
    :raises NoDataError: if the datasets have nothing of what the template needs; nothing was paid.
    :raises SourceError: if a dataset is missing; nothing was paid.
    :raises UngroundedError: if the answer holds figures or ids that are not in the facts, after its
        repair too.
    :raises ModelOutputError: if an answer cannot be used otherwise.
    :raises BudgetExceededError: if a call, or all that reading a text takes, does not fit the budget.
    :raises APIError: if a call fails.

    The trace is written whether this succeeds or fails; an error names it in a note.
    """
    trace, trace_path = caller.trace, folder / "trace.json"
    try:
        run = _Run(caller, template, datasets, params, folder, options or AnalysisOptions(), on_progress)
        analysis = await run.analysis(trace_path.as_uri())
    except BaseException as error:
        if handed_over(error):
            raise
        trace.add("error", type=type(error).__name__, message=str(error))
        try:
            await asyncio.to_thread(trace.write, trace_path)
            error.add_note(f"Trace: {trace_path.as_uri()}")
        except OSError as refusal:
            error.add_note(f"The trace could not be written to {trace_path.as_uri()}: {refusal}")
        raise
    await asyncio.to_thread(trace.write, trace_path)
    return analysis


@dataclass
class _Run:
    """One analysis, from its datasets to its result."""

    caller: Caller
    template: PromptTemplate
    datasets: Mapping[str, tuple[DatasetRef, StoragePath]]
    params: Mapping[str, object]
    folder: StoragePath
    options: AnalysisOptions
    on_progress: Callable[[str], None]
    refs: Mapping[str, DatasetRef] = field(init=False)
    parameters: Mapping[str, object] = field(init=False)
    period: str | None = field(init=False)
    result: Result = field(init=False)

    async def analysis(self, trace_uri: str) -> Analysis:
        self.refs = {name: ref for name, (ref, _) in self.datasets.items()}
        self.parameters = self.template.parameters(self.params)
        self.template = self.template.spoken(self.parameters)
        self.period = self.options.period or self.template.period(self.parameters)
        self.result = Result(self.template, self.period, self._facts_path.as_uri(), trace_uri)
        self._trace_prompt()
        try:
            sheet = await asyncio.to_thread(
                compute_sheet,
                self.template,
                self.datasets,
                self.parameters,
                period=self.options.period,
            )
            await self._write(sheet)
            self._trace_facts(sheet)
            with ExitStack() as stack:
                return await self._by_strategy(sheet, stack)
        except NoDataError as error:
            if not self.options.reports_no_data:
                raise
            self.caller.trace.add("no_data", message=str(error))
            self.on_progress(f"Nothing to analyze: {error}")
            # The trace says what was found; a report has nothing of it to show.
            nothing = FactSheet(facts=())
            await self._write(nothing)
            return self.result.without_model(nothing, NO_DATA, usage=self.caller.usage)

    async def _by_strategy(self, sheet: FactSheet, stack: ExitStack) -> Analysis:
        database, strategy, measured = await self._opened(stack)
        check_sheet(self.template, announced(sheet) if strategy == "map_reduce" else sheet, self.period)
        self.caller.trace.add("strategy", strategy=strategy)
        try:
            return await self._asked(sheet, strategy, database, measured)
        except MODEL_FAILURES as error:
            if not self.options.falls_back(error):
                raise
            word = failure_word(error)
            self.caller.trace.add("fallback", failure=word, message=str(error))
            self.on_progress(f"The model gave no analysis ({word}); the facts stand alone")
            await self._write(sheet)
            return self.result.without_model(sheet, word, usage=self.caller.usage, strategy=strategy)

    async def _opened(self, stack: ExitStack) -> tuple[Database | None, Strategy, Rows | None]:
        """Choose the strategy; the database is opened only where data beside the facts may be needed."""
        wanted = self.options.strategy or self.template.front.strategy
        front = self.template.front
        if self.options.parts:
            return None, "map_reduce", None
        if wanted == "facts" or (wanted == "auto" and front.metrics and front.text is None):
            return None, "facts", None
        files = stack.enter_context(local_files(self.datasets))
        database = stack.enter_context(Database(files))
        window = window_of(self.template, self.caller.client.config, self.options.model)
        strategy, measured = await asyncio.to_thread(
            choose,
            self.template,
            database,
            self.refs,
            wanted=wanted,
            window=window,
            period=self.period,
        )
        return database, strategy, measured

    async def _asked(
        self,
        sheet: FactSheet,
        strategy: Strategy,
        database: Database | None,
        measured: Rows | None,
    ) -> Analysis:
        usage = Usage()
        prepared = Prepared(sheet)
        if strategy == "direct" and measured is not None:
            prepared = with_rows(sheet, measured)
        elif strategy == "tools":
            views = {name: DatasetView.of(name, ref) for name, ref in self.refs.items()}
            prepared = with_profile(sheet, columns_block(views))
        elif strategy == "map_reduce":
            prepared, usage = await self._read(sheet, database)
        # The cells of the rows stand in the blocks already, so they are no rows of the facts.
        shown = sheet if strategy == "direct" else prepared.sheet
        request = analysis_request(
            self.template,
            self.datasets,
            shown,
            self.parameters,
            period=self.period,
            model=self.options.model,
            rules=prepared.rules,
            blocks=prepared.blocks,
        )
        citable, queries = prepared.sheet, QueryFacts((), ())
        if strategy == "tools" and database is not None:
            request, queries = await explored(
                self.caller, request, database, self.refs, period=self.period
            )
            citable = queries.joined(sheet)
        answering = Answering(
            self.caller,
            citable,
            period=self.period,
            dates=days_named(self.template, self.parameters),
            source=self.template.path.name,
            on_progress=self.on_progress,
            policy=self.options.grounding or self.template.front.grounding or GroundingPolicy(),
            entities=self.template.front.entities,
        )
        draft, result = await answering.grounded(request)
        for remark in self.options.remarks:
            draft, result = await answering.revised(request, remark)
        draft = draft.rewritten(lambda text: without_repeated_units(text, citable))
        charts = self.result.charts(draft.charts, citable)
        cited = {fact_id for text in draft.texts().values() for fact_id in references(text)}
        kept = queries.used(cited, {chart.table for chart in charts}).joined(shown)
        if prepared.rows is not None:
            kept = prepared.rows.used(cited).joined(kept)
        await self._write(kept)
        analysis = self.result.analysis(
            kept, draft, charts, result, strategy=strategy, usage=usage + self.caller.usage
        )
        return await audited(analysis, kept, answering, self.template, self.folder)

    async def _read(self, sheet: FactSheet, database: Database | None) -> tuple[Prepared, Usage]:
        """Read the text, or take what others have read, and count it."""
        parts, usage = tuple(self.options.parts), Usage()
        if database is None:
            sources = check_parts(parts, self.refs)
            usage = sum((part.usage for part in parts), usage)
        else:
            window = window_of(self.template, self.caller.client.config, self.options.model)
            plan = await asyncio.to_thread(chunk_plan, self.template, database, self.refs, window=window)
            name = plan.source.dataset
            sources = {name: self.refs[name].sha256}
            parts = await read_text(
                self.caller, self.template, plan, sha256=sources[name], model=self.options.model
            )
        prepared = await with_themes(
            self.caller,
            self.template,
            parts,
            sheet,
            self.folder,
            period=self.period,
            model=self.options.model,
            sources=sources,
        )
        return prepared, usage

    @property
    def _facts_path(self) -> StoragePath:
        return self.folder / "facts.json"

    async def _write(self, sheet: FactSheet) -> None:
        text = sheet.model_dump_json(indent=1) + "\n"
        await asyncio.to_thread(write_text, self._facts_path, text)

    def _trace_prompt(self) -> None:
        self.caller.trace.add(
            "prompt",
            template=str(self.template.path),
            sha256=self.template.sha256,
            parameters={name: str(value) for name, value in self.parameters.items()},
            period=self.period,
            datasets={
                name: {"uri": ref.uri, "rows": ref.rows, "sha256": ref.sha256}
                for name, ref in self.refs.items()
            },
        )

    def _trace_facts(self, sheet: FactSheet) -> None:
        for metric in self.template.front.metrics:
            self.caller.trace.add("sql", metric=metric.id, sql=metric.sql)
        self.caller.trace.add(
            "facts", uri=self._facts_path.as_uri(), facts=len(sheet.facts), tables=len(sheet.tables)
        )
        rows = sum(ref.rows for ref in self.refs.values())
        self.on_progress(
            f"Computed {len(sheet.facts):,} facts and {len(sheet.tables)} tables from {rows:,} rows "
            f"of {', '.join(self.datasets)}"
        )

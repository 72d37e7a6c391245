"""From datasets to an analysis: compute the facts, ask the model what they mean, check what it wrote."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kimi_provider.analysis.answer import Answering
from kimi_provider.analysis.computing import check_sheet, compute_sheet, single_facts
from kimi_provider.analysis.grounding import chart_problem, references, without_repeated_units
from kimi_provider.analysis.metrics import shifted
from kimi_provider.analysis.request import analysis_request
from kimi_provider.schemas import Analysis, ChartRequest, DatasetRef, Fact, FactSheet
from kimi_provider.storage import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.draft import AnalysisDraft
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.storage import StoragePath

SIMULATOR = "fp_simulator"
"""The ``system_fingerprint`` of answers that no model wrote."""


async def analyze(
    *,
    caller: Caller,
    template: PromptTemplate,
    datasets: Mapping[str, tuple[DatasetRef, StoragePath]],
    params: Mapping[str, object],
    folder: StoragePath,
    period: str | None = None,
    model: str | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Analysis:
    """Analyze datasets by a prompt template.

    :param caller: calls the model; its trace gets all that happens here too.
    :param template: says what to compute and what to ask.
    :param datasets: each dataset and its file, by the name that the template's SQL uses.
    :param params: values for the template's parameters.
    :param folder: gets ``facts.json`` (a ``FactSheet``) and ``trace.json``.
    :param period: name of the period, in place of the template's.
    :param model: model id, in place of the template's and the connection's.
    :param on_progress: gets one line at a time about what is going on.
    :raises ConfigurationError: if template, parameters, SQL or connection are wrong; nothing was paid.
    :raises SourceError: if a dataset is missing, or has nothing of what the template needs; nothing
        was paid.
    :raises UngroundedError: if the answer holds figures or ids that are not in the facts, after its
        repair too.
    :raises ModelOutputError: if the answer cannot be used otherwise.
    :raises BudgetExceededError: if a call does not fit the budget.
    :raises APIError: if a call fails.

    The trace is written whether this succeeds or fails; an error names it in a note.
    """
    trace, trace_path = caller.trace, folder / "trace.json"
    try:
        analysis = await _Run(
            caller, template, datasets, params, folder, period, model, on_progress
        ).analysis(trace_path.as_uri())
    except BaseException as error:
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
    period_name: str | None
    model: str | None
    on_progress: Callable[[str], None]

    async def analysis(self, trace_uri: str) -> Analysis:
        parameters = self.template.parameters(self.params)
        period = self.period_name or self.template.period(parameters)
        self._trace_prompt(parameters, period)
        sheet = await asyncio.to_thread(
            compute_sheet, self.template, self.datasets, parameters, period=self.period_name
        )
        facts_path = self.folder / "facts.json"
        await asyncio.to_thread(write_text, facts_path, sheet.model_dump_json(indent=1) + "\n")
        self._trace_facts(sheet, facts_path.as_uri())
        check_sheet(self.template, sheet, period)
        request = analysis_request(
            self.template, self.datasets, sheet, parameters, period=period, model=self.model
        )
        answering = Answering(
            self.caller,
            sheet,
            period=period,
            dates=list(self._dates(parameters)),
            source=self.template.path.name,
            on_progress=self.on_progress,
        )
        draft, result = await answering.grounded(request)
        draft = draft.rewritten(lambda text: without_repeated_units(text, sheet))
        return Analysis(
            headline=draft.headline,
            summary=draft.summary,
            findings=tuple(finding.as_finding() for finding in draft.findings),
            actions=draft.actions,
            charts=self._charts(draft, sheet),
            period=period,
            facts=self._facts_to_pass_on(sheet, draft),
            facts_uri=facts_path.as_uri(),
            trace_uri=trace_uri,
            model=result.model,
            simulated=result.system_fingerprint == SIMULATOR,
            usage=self.caller.usage,
        )

    def _dates(self, parameters: Mapping[str, Any]) -> Iterable[date]:
        for spec in (None, *self.template.front.comparisons):
            values = shifted(parameters, spec) if spec else parameters
            for name, parameter in self.template.front.parameters.items():
                if parameter.type == "date":
                    yield values[name]
                elif parameter.type == "datetime":
                    yield values[name].date()

    def _charts(self, draft: AnalysisDraft, sheet: FactSheet) -> tuple[ChartRequest, ...]:
        """Return the template's charts, then those that the model wants, each picture once."""
        wanted = [*self.template.front.charts, *(chart.as_request() for chart in draft.charts)]
        charts: dict[tuple[str, str, str], ChartRequest] = {}
        for chart in wanted:
            if not chart_problem(chart, sheet):
                charts.setdefault((chart.table, chart.x, chart.y), chart)
        return tuple(charts.values())

    def _facts_to_pass_on(self, sheet: FactSheet, draft: AnalysisDraft) -> tuple[Fact, ...]:
        """Return the single facts and those cited; the sheet, which may be large, has the others."""
        wanted = {fact.id for fact in single_facts(sheet, self.template.front.comparisons)}
        wanted.update(cited for text in draft.texts().values() for cited in references(text))
        return tuple(fact for fact in sheet.facts if fact.id in wanted)

    def _trace_prompt(self, parameters: Mapping[str, object], period: str | None) -> None:
        self.caller.trace.add(
            "prompt",
            template=str(self.template.path),
            sha256=self.template.sha256,
            parameters={name: str(value) for name, value in parameters.items()},
            period=period,
            datasets={
                name: {"uri": ref.uri, "rows": ref.rows, "sha256": ref.sha256}
                for name, (ref, _) in self.datasets.items()
            },
        )

    def _trace_facts(self, sheet: FactSheet, uri: str) -> None:
        for metric in self.template.front.metrics:
            self.caller.trace.add("sql", metric=metric.id, sql=metric.sql)
        self.caller.trace.add("facts", uri=uri, facts=len(sheet.facts), tables=len(sheet.tables))
        rows = sum(ref.rows for ref, _ in self.datasets.values())
        self.on_progress(
            f"Computed {len(sheet.facts):,} facts and {len(sheet.tables)} tables from {rows:,} rows "
            f"of {', '.join(self.datasets)}"
        )

"""From datasets to an analysis: compute the facts, ask the model what they mean, check what it wrote."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.analysis.database import Database
from kimi_provider.analysis.draft import REPAIR, SCHEMA_NAME, AnalysisDraft
from kimi_provider.analysis.facts import compute_facts
from kimi_provider.analysis.grounding import chart_problem, check, references, without_repeated_units
from kimi_provider.analysis.metrics import shifted
from kimi_provider.analysis.request import analysis_request
from kimi_provider.analysis.tokens import TokenEstimator
from kimi_provider.client.messages import ChatRequest, ChatResult, Message
from kimi_provider.client.request import model_of
from kimi_provider.client.typed_answer import structured
from kimi_provider.exceptions import (
    ConfigurationError,
    ModelOutputError,
    SourceError,
    UngroundedError,
)
from kimi_provider.schemas import Analysis, ChartRequest, DatasetRef, Fact, FactSheet
from kimi_provider.storage import reading, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.grounding import Violation
    from kimi_provider.analysis.metrics import ComparisonSpec
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.storage import StoragePath

SIMULATOR = "fp_simulator"
"""The ``system_fingerprint`` of answers that no model wrote."""
MAX_GROUNDING_REPAIRS = 1


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
    asked: list[ChatRequest] = field(default_factory=list)

    async def analysis(self, trace_uri: str) -> Analysis:
        parameters = self.template.parameters(self.params)
        period = self.period_name or self.template.period(parameters)
        self._trace_prompt(parameters, period)
        sheet = await asyncio.to_thread(self._facts, parameters)
        facts_path = self.folder / "facts.json"
        await asyncio.to_thread(write_text, facts_path, sheet.model_dump_json(indent=1) + "\n")
        self._trace_facts(sheet, facts_path.as_uri())
        self._check_needs(sheet, period)
        self._check_charts(sheet)
        request = analysis_request(
            self.template, self.datasets, sheet, parameters, period=period, model=self.model
        )
        draft, result = await self._grounded(request, sheet, parameters, period)
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

    def _facts(self, parameters: Mapping[str, object]) -> FactSheet:
        front = self.template.front
        if not front.metrics:
            raise ConfigurationError(
                f"{self.template.path}: declares no metrics, so there is nothing to write about; "
                "add metrics to its front matter"
            )
        # A name that was given is no pattern.
        given = self.period_name and self.period_name.replace("{", "{{").replace("}", "}}")
        with ExitStack() as stack:
            files = {}
            for name, (ref, path) in self.datasets.items():
                try:
                    files[name] = stack.enter_context(reading(path))
                except FileNotFoundError:
                    raise SourceError(
                        f"The dataset {name!r} is not at {ref.uri} any more; fetch it again"
                    ) from None
            database = stack.enter_context(Database(files))
            return compute_facts(
                database,
                front.metrics,
                parameters,
                front.comparisons,
                datasets={name: ref for name, (ref, _) in self.datasets.items()},
                period=given or front.period,
            )

    def _check_needs(self, sheet: FactSheet, period: str | None) -> None:
        values = {fact.id: fact.value for fact in sheet.facts}
        for need in self.template.front.needs:
            if need not in values:
                raise ConfigurationError(
                    f"{self.template.path}: needs: there is no fact {need!r}; facts: "
                    f"{', '.join(fact.id for fact in _single(sheet, self.template.front.comparisons))}"
                )
            if not values[need]:
                found = "has no value" if values[need] is None else "is zero"
                raise SourceError(
                    f"There is nothing to analyze{f' for {period}' if period else ''}: {need} {found}. "
                    "Check the date and what was fetched."
                )

    def _check_charts(self, sheet: FactSheet) -> None:
        for chart in self.template.front.charts:
            if problem := chart_problem(chart, sheet):
                raise ConfigurationError(f"{self.template.path}: charts: {chart.title!r}: {problem}")

    async def _grounded(
        self,
        request: ChatRequest,
        sheet: FactSheet,
        parameters: Mapping[str, object],
        period: str | None,
    ) -> tuple[AnalysisDraft, ChatResult]:
        """Ask until the answer holds nothing but what the facts do, or until the repairs are used up."""
        dates = list(self._dates(parameters))
        for repairs_left in reversed(range(MAX_GROUNDING_REPAIRS + 1)):
            draft, result = await self._ask(request)
            violations = check(draft, sheet, period=period, dates=dates)
            for violation in violations:
                self.caller.trace.add(
                    "violation",
                    violation=violation.kind.value,
                    where=violation.where,
                    excerpt=violation.excerpt,
                    hint=violation.hint,
                )
            fatal = [violation for violation in violations if violation.fatal]
            if not fatal:
                return draft, result
            self.on_progress(
                f"The answer says {len(fatal)} things that the facts do not hold: {_summary(fatal)}"
                + ("; asking for a repair" if repairs_left else "")
            )
            if not repairs_left:
                break
            problems = "\n".join(f"- {violation}" for violation in violations)
            self.caller.trace.add("repair", reason="grounding", violations=len(violations))
            repair = Message.user(REPAIR.format(problems=problems))
            request = msgspec.structs.replace(
                request, messages=(*request.messages, result.message, repair)
            )
        await self._forget()
        raise UngroundedError(
            f"The answer is not grounded in the facts after {MAX_GROUNDING_REPAIRS} repair: "
            f"{_summary(fatal)}. What it said is in the trace; run the task again, or ask for less "
            f"in {self.template.path.name}."
        )

    async def _ask(self, request: ChatRequest) -> tuple[AnalysisDraft, ChatResult]:
        model = model_of(request, self.caller.client.config)
        tokens = TokenEstimator().estimate(request)
        self.on_progress(f"Asking {model} (about {tokens:,} prompt tokens)")
        try:
            answer = await structured(
                self._complete,
                request,
                AnalysisDraft,
                native_schema=self.caller.client.native_schema(model),
                name=SCHEMA_NAME,
            )
        except ModelOutputError:
            await self._forget()
            raise
        result = answer.results[-1]
        self.on_progress(_answered(result, answer.value))
        return answer.value, result

    async def _complete(self, request: ChatRequest) -> ChatResult:
        self.asked.append(request)
        return await self.caller.complete(request)

    async def _forget(self) -> None:
        """Let a retry ask anew: it would else find in the journal what could not be used."""
        for request in self.asked:
            await self.caller.reject(request)

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
        wanted = {fact.id for fact in _single(sheet, self.template.front.comparisons)}
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


def _single(sheet: FactSheet, comparisons: Iterable[ComparisonSpec]) -> tuple[Fact, ...]:
    """Return the facts that stand alone: neither cells of a table nor made by a comparison."""
    cells = {
        cell
        for table in sheet.tables
        for row in table.rows
        for cell, column in zip(row, table.columns, strict=True)
        if not column.key
    }
    made = tuple(f".{spec.id}{end}" for spec in comparisons for end in ("", ".delta", ".percent"))
    return tuple(fact for fact in sheet.facts if fact.id not in cells and not fact.id.endswith(made))


def _summary(violations: Iterable[Violation]) -> str:
    """Say what was found and where, without a word of the reply."""
    places: dict[str, list[str]] = {}
    for violation in violations:
        places.setdefault(violation.kind.value, []).append(violation.where)
    return "; ".join(f"{kind} in {', '.join(dict.fromkeys(where))}" for kind, where in places.items())


def _answered(result: ChatResult, draft: AnalysisDraft) -> str:
    usage = result.usage
    cost = "price unknown" if usage.cost_usd is None else f"{usage.cost_usd:.4f} USD"
    return (
        f"{result.model} answered with {len(draft.findings)} findings: {usage.input_tokens:,} tokens in,"
        f" {usage.output_tokens:,} out, of them {usage.reasoning_tokens:,} reasoning; {cost}"
    )

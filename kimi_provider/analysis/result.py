"""The analysis as it leaves: what the model wrote, or the facts alone, with what the reports need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kimi_provider.analysis.computing import single_facts
from kimi_provider.analysis.fallback import NO_DATA, plain_texts
from kimi_provider.analysis.grounding import chart_problem, references
from kimi_provider.analysis.metrics import shifted
from kimi_provider.schemas import Analysis, ChartRequest, Fact, FactSheet, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from kimi_provider.analysis.draft import AnalysisDraft, DraftChart
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.analysis.strategy import Strategy
    from kimi_provider.client.messages import ChatResult


@dataclass(frozen=True)
class Result:
    """Makes the result of one run.

    :param template: what was asked.
    :param period: name of the period.
    :param facts_uri: where the facts lie.
    :param trace_uri: where the trace lies.
    """

    template: PromptTemplate
    period: str | None
    facts_uri: str
    trace_uri: str

    def analysis(
        self,
        sheet: FactSheet,
        draft: AnalysisDraft,
        charts: tuple[ChartRequest, ...],
        answer: ChatResult,
        *,
        strategy: Strategy,
        usage: Usage,
    ) -> Analysis:
        """Return what the model wrote.

        :param sheet: all facts that may be cited.
        :param charts: see :meth:`charts`.
        :param answer: the model's last answer.
        """
        return Analysis(
            headline=draft.headline,
            summary=draft.summary,
            findings=tuple(finding.as_finding() for finding in draft.findings),
            actions=draft.actions,
            charts=charts,
            period=self.period,
            facts=self._facts(sheet, draft.texts().values()),
            facts_uri=self.facts_uri,
            trace_uri=self.trace_uri,
            model=answer.model,
            simulated=answer.simulated,
            language=self._language,
            strategy=strategy,
            usage=usage,
        )

    def without_model(
        self, sheet: FactSheet, failure: str, *, usage: Usage, strategy: Strategy = "facts"
    ) -> Analysis:
        """Return the facts alone, or nothing but the word where there are none to tell of.

        :param failure: why no model wrote it, in a word.
        """
        nothing = failure == NO_DATA
        single = () if nothing else single_facts(sheet, self.template.front.comparisons)
        headline, summary, findings = (
            plain_texts(single, self.template.front.language) if single else ("", "", ())
        )
        return Analysis(
            headline=headline,
            summary=summary,
            findings=findings,
            charts=() if nothing else self.charts((), sheet),
            period=self.period,
            facts=self._facts(sheet, [headline, summary, *(finding.detail for finding in findings)]),
            facts_uri=self.facts_uri,
            trace_uri=self.trace_uri,
            model="",
            failure=failure,
            language=self._language,
            strategy=strategy,
            usage=usage,
        )

    def charts(self, drawn: Iterable[DraftChart], sheet: FactSheet) -> tuple[ChartRequest, ...]:
        """Return the template's charts, then those that the model wants, each picture once."""
        wanted = [*self.template.front.charts, *(chart.as_request() for chart in drawn)]
        charts: dict[tuple[str, str, str], ChartRequest] = {}
        for chart in wanted:
            if not chart_problem(chart, sheet):
                charts.setdefault((chart.table, chart.x, chart.y), chart)
        return tuple(charts.values())

    @property
    def _language(self) -> str:
        return self.template.front.language or "en"

    def _facts(self, sheet: FactSheet, texts: Iterable[str]) -> tuple[Fact, ...]:
        """Return the single facts and those cited; the sheet, which may be large, has the others."""
        wanted = {fact.id for fact in single_facts(sheet, self.template.front.comparisons)}
        wanted.update(cited for text in texts for cited in references(text))
        return tuple(fact for fact in sheet.facts if fact.id in wanted)


def days_named(template: PromptTemplate, parameters: Mapping[str, Any]) -> list[date]:
    """Return the days of a template's parameters, and those that they are compared with."""
    days: list[date] = []
    for spec in (None, *template.front.comparisons):
        values = shifted(parameters, spec) if spec else parameters
        for name, parameter in template.front.parameters.items():
            if parameter.type == "date":
                days.append(values[name])
            elif parameter.type == "datetime":
                days.append(values[name].date())
    return days

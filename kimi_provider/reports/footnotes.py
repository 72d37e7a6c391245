"""What each sentence stands on: sentence, figures, SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.reports.document import CitedFigure, Footnote, Query
from kimi_provider.reports.format import Style
from kimi_provider.reports.text import isolated, one_line

if TYPE_CHECKING:
    from kimi_provider.reports.prose import Prose
    from kimi_provider.schemas import Analysis, Lineage

_LABEL_LIMIT = 80


def footnotes(analysis: Analysis, prose: Prose) -> tuple[tuple[Footnote, ...], tuple[Query, ...]]:
    """Lead every sentence that cites figures to them, and each figure to its SQL.

    :return: the footnotes in the order of the text, and the queries that they name by number.
    :raises RenderError: if a reference names no fact or no style.
    """
    texts = [analysis.headline, analysis.summary]
    for finding in sorted(analysis.findings, key=lambda f: f.severity.rank, reverse=True):
        texts += [finding.title, finding.detail]
    texts += analysis.actions
    texts += (chart.title for chart in analysis.charts)
    queries: dict[tuple[str, tuple[tuple[str, str], ...]], Query] = {}

    def query(lineage: Lineage) -> int:
        sources = tuple(lineage.datasets.items())
        named = tuple(
            f"{one_line(name, 60)} ({content})" if content else name for name, content in sources
        )
        made = Query(len(queries) + 1, lineage.sql.strip(), named)
        return queries.setdefault((made.sql, sources), made).number

    notes: list[Footnote] = []
    for text in texts:
        for sentence, cited in prose.sentences(text):
            if cited:
                figures = tuple(
                    CitedFigure(
                        fact_id=fact_id,
                        label=one_line(prose.facts[fact_id].label, _LABEL_LIMIT),
                        value=_value(prose, fact_id),
                        query=query(prose.facts[fact_id].lineage),
                    )
                    for fact_id in cited
                )
                notes.append(Footnote(len(notes) + 1, sentence, figures))
    return tuple(notes), tuple(queries.values())


def _value(prose: Prose, fact_id: str) -> str:
    value = prose.formatter.fact(prose.facts[fact_id], Style.PLAIN)
    return isolated(value) if prose.formatter.direction == "rtl" else value

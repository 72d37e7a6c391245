"""What a template's labels are called in the language of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.analysis.cells import label_of
from kimi_provider.analysis.metrics import MetricColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kimi_provider.analysis.frontmatter import FrontMatter
    from kimi_provider.analysis.metrics import Metric


def in_its_language(front: FrontMatter) -> FrontMatter:
    """Return the front matter with its labels and chart titles in the language it is written in.

    What ``translations`` does not name stays as it is.
    """
    words = words_of(front.translations, front.language)
    if not words:
        return front
    return front.model_copy(
        update={
            "metrics": tuple(translated(metric, words) for metric in front.metrics),
            "comparisons": tuple(
                spec.model_copy(update={"label": words.get(spec.label, spec.label)})
                for spec in front.comparisons
            ),
            "charts": tuple(
                chart.model_copy(update={"title": words.get(chart.title, chart.title)})
                for chart in front.charts
            ),
        }
    )


def words_of(translations: Mapping[str, Mapping[str, str]], language: str | None) -> Mapping[str, str]:
    """Return the words for a language (``pt-BR``), or for it in general (``pt``); none where unknown."""
    tag = language or ""
    return translations.get(tag) or translations.get(tag.partition("-")[0]) or {}


def translated(metric: Metric, words: Mapping[str, str]) -> Metric:
    """Return a metric with its labels translated, those too that are made of the names of its keys."""
    columns = dict(metric.columns)
    for name in (*metric.columns, *metric.key):
        column = columns.get(name) or MetricColumn()
        if word := words.get(column.label or label_of(name)):
            columns[name] = column.model_copy(update={"label": word})
    label = metric.label or label_of(metric.id)
    return metric.model_copy(update={"columns": columns, "label": words.get(label, metric.label)})

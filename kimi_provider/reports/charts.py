"""Charts over fact tables: asked for by names, drawn from the facts alone, told in words too."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from kimi_provider.exceptions import RenderError
from kimi_provider.reports import vega, vega_lines
from kimi_provider.reports.chart_data import other_key, read
from kimi_provider.reports.chart_shapes import Canvas
from kimi_provider.reports.document import ChartBlock, Picture
from kimi_provider.schemas import ChartKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.format import Formatter
    from kimi_provider.schemas import ChartRequest, Fact, FactTable

_WORDS = {
    ChartKind.LINE: "line_chart",
    ChartKind.BAR: "bar_chart",
    ChartKind.STACKED_BAR: "stacked_bar_chart",
    ChartKind.HEATMAP: "heatmap",
    ChartKind.DISTRIBUTION: "distribution",
    ChartKind.SLOPE: "slope_chart",
}


def draw(
    request: ChartRequest,
    tables: Mapping[str, FactTable],
    facts: Mapping[str, Fact],
    *,
    title: str,
    formatter: Formatter,
    brand: Brand,
    period: str | None = None,
) -> ChartBlock:
    """Draw one chart.

    :param request: what is wanted, by names of a table and its columns.
    :param title: the chart's title as it is printed.
    :param period: what the report is of, as the analysis names it (``2013-02-08``, ``2013-02``); a
        chart over time marks it.
    :raises RenderError: if there is no such table or column, no values, or the drawing fails; the
        message completes "The chart could not be drawn: …".
    """
    split = request.series
    if request.kind in (ChartKind.STACKED_BAR, ChartKind.HEATMAP):
        split = _split(request, tables)
    elif request.kind is ChartKind.LINE and _repeats(request, tables):
        split = other_key(request, tables.get(request.table))
    elif request.kind in (ChartKind.BAR, ChartKind.DISTRIBUTION):
        split = None
    series = read(request, tables, facts, formatter, split=split)
    drawing = Canvas(series, formatter, brand, period).draw(request.kind)
    png = vega.png(drawing.marks, drawing.height, font=brand.font)
    content_id = f"chart-{hashlib.sha256(png).hexdigest()[:16]}"
    picture = Picture(content_id, png, *vega.shown_size(png))
    alt = f"{formatter.words[_WORDS[request.kind]]}: {title}"
    return ChartBlock(title, drawing.caption, alt, picture)


def spark(values: Sequence[float], brand: Brand) -> Picture:
    """Draw how a figure went as a line of the size of a word.

    :param values: the oldest first, two at least.
    :raises RenderError: if the drawing fails.
    """
    width, height = vega_lines.SPARK
    marks = vega_lines.sparkline(values, brand)
    png = vega.png(marks, height, size=(width, width))
    content_id = f"spark-{hashlib.sha256(png).hexdigest()[:16]}"
    return Picture(content_id, png, *vega.shown_size(png, width))


def _split(request: ChartRequest, tables: Mapping[str, FactTable]) -> str:
    table = tables.get(request.table)
    split = other_key(request, table)
    if split is None and table is not None:
        names = ", ".join(c.name for c in table.columns if c.key and c.name != request.x) or "none"
        kind = request.kind.value.replace("_", " ")
        raise RenderError(f"a {kind} needs a series, a second column of names; there are: {names}")
    return split or request.x


def _repeats(request: ChartRequest, tables: Mapping[str, FactTable]) -> bool:
    """Whether several rows of the table share a name."""
    table = tables.get(request.table)
    at = next((i for i, c in enumerate(table.columns) if c.name == request.x), None) if table else None
    if table is None or at is None:
        return False
    return len({row[at] for row in table.rows}) < len(table.rows)

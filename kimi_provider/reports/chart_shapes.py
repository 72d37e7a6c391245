"""Each kind of chart over the same points: which of them it shows, how tall it is, what it says."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import RenderError
from kimi_provider.reports import captions, vega, vega_bars, vega_heat, vega_lines
from kimi_provider.reports.chart_data import in_order
from kimi_provider.reports.chart_groups import counted, largest_first, merged
from kimi_provider.reports.format import Style
from kimi_provider.reports.text import one_line
from kimi_provider.reports.vega import Baseline, Point, Scale
from kimi_provider.schemas import ChartKind, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.chart_data import Series
    from kimi_provider.reports.format import Formatter
    from kimi_provider.schemas import TableColumn

_MAX_BARS = 15
_MAX_SLOPES = 8
_HEIGHT = 200


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart before it is a picture: its Vega-Lite, its height in units, what it shows in words."""

    marks: dict[str, Any]
    height: int
    caption: str


def tick_printer(unit: Unit, formatter: Formatter, longest: float) -> Callable[[float], str]:
    """Return how an axis prints its values.

    :param longest: the largest of them, which decides whether all are shortened.
    """
    huge = longest >= 10_000  # noqa: PLR2004 — longer labels than 9,999 leave no room for the chart

    def tick(value: float) -> str:
        printed = Unit.PERCENT if unit is Unit.PERCENT else Unit.NUMBER
        exact = Decimal(repr(value))
        shown = exact * 100 if unit is Unit.PERCENT else exact
        exponent = shown.normalize().as_tuple().exponent
        places = max(0, -exponent) if isinstance(exponent, int) else 0
        style = Style.COMPACT if huge else Style.PLAIN
        return formatter.number(exact, printed, decimals=min(places, 4), style=style)

    return tick


class Canvas:
    """A chart being drawn: the points, and how everything is printed."""

    def __init__(self, series: Series, formatter: Formatter, brand: Brand, period: str | None) -> None:
        self.series = series
        self.formatter = formatter
        self.brand = brand
        self.period = period
        self.points = series.points
        self.below = one_line(series.x.label, 60)
        self.named = f"{self.below} " if series.numbered else ""
        longest = max(abs(point.value or 0.0) for point in series.known)
        tick = tick_printer(series.y.unit, formatter, longest)
        self.scale = Scale(_heading(series.y, formatter), tick)

    def draw(self, kind: ChartKind) -> Drawing:
        """Draw the points as a kind of chart.

        :raises RenderError: if that kind cannot show them.
        """
        return {
            ChartKind.LINE: self._line,
            ChartKind.BAR: self._bars,
            ChartKind.STACKED_BAR: self._stacked,
            ChartKind.HEATMAP: self._heatmap,
            ChartKind.DISTRIBUTION: self._distribution,
            ChartKind.SLOPE: self._slope,
        }[kind]()

    def _line(self) -> Drawing:
        marked = self.series.marked(self.period)
        told = [self.points[at] for at in sorted(marked)]
        if self.series.split is None:
            caption = captions.extremes(
                self.points, self.formatter, named=self.named, marked=told, ordered=self.series.ordered
            )
            marks = vega_lines.line(self.points, self.scale, self.below, self.brand, marked)
            return Drawing(marks, _HEIGHT, caption)
        count = len({point.series for point in self.points})
        most = min(len(self.brand.series), len(vega_lines.DASHES))
        if count > most:
            raise RenderError(f"{count} lines cannot be told apart; {most} at most can")
        names = {point.along for point in told}
        marks = vega_lines.lines(self.points, self.scale, self.below, self.brand, names)
        return Drawing(
            marks, _HEIGHT + 25, captions.extremes(self.points, self.formatter, named=self.named)
        )

    def _bars(self) -> Drawing:
        if self.series.ordered:
            marked = self.series.marked(self.period)
            told = [self.points[at] for at in sorted(marked)]
            marks = vega_bars.columns(self.points, self.scale, self.below, self.brand, marked)
            caption = captions.extremes(
                self.points, self.formatter, named=self.named, marked=told, ordered=True
            )
            return Drawing(marks, _HEIGHT, caption)
        known = self.series.known
        shown = sorted(known, key=lambda p: p.value or 0.0, reverse=True)[:_MAX_BARS]
        caption = captions.extremes(self.points, self.formatter, shown=len(shown))
        return Drawing(vega_bars.bars(shown, self.scale, self.brand), 24 * len(shown) + 34, caption)

    def _stacked(self) -> Drawing:
        known = self.series.known
        if not self.series.ordered:
            known = largest_first(known)[: _MAX_BARS * len({p.series for p in known})]
            names = list(dict.fromkeys(p.name for p in known))[:_MAX_BARS]
            known = [point for point in known if point.name in names]
        points = merged(known, len(self.brand.series), self.formatter)
        names = list(dict.fromkeys(point.along for point in points))
        parts = list(dict.fromkeys(point.series for point in points))
        upright = self.series.ordered or vega_bars.stands_upright(names)
        marks = vega_bars.stacked(points, self.scale, self.below, self.brand, upright=upright)
        height = (200 if upright else 26 * len(names) + 60) + vega.legend_height(parts)
        caption = captions.extremes(
            self.points, self.formatter, named=self.named, shown=len(known)
        )  # fmt: skip
        return Drawing(marks, height, caption)

    def _heatmap(self) -> Drawing:
        across = in_order([point.along for point in self.points])
        down = in_order([point.series for point in self.points])
        if len({(point.name, point.series) for point in self.points}) < len(self.points):
            raise RenderError("several rows of the table fall into one cell")
        marks, height = vega_heat.heatmap(
            self.points, (across, down), self.scale, self.below, self.brand
        )
        caption = captions.extremes(self.points, self.formatter, named=self.named)
        return Drawing(marks, height, caption)

    def _distribution(self) -> Drawing:
        values = [point.value for point in self.series.known if point.value is not None]
        ranges = counted(values)
        rows = self.formatter.words["rows"]
        marks = vega_bars.ranges(ranges, self.scale, rows, self.brand)
        caption = captions.spread(self.points, ranges, self.scale.tick, self.formatter)
        return Drawing(marks, _HEIGHT, caption)

    def _slope(self) -> Drawing:
        points, ends = self._slopes()
        told = [p for p in points if p.value is not None and p.baseline]
        if not told:
            raise RenderError(f"column {self.series.y.name!r} has no baselines to compare with")
        shown = sorted(told, key=lambda point: abs(point.change), reverse=True)[:_MAX_SLOPES]
        marks, height = vega_lines.slope(shown, ends, self.brand)
        return Drawing(marks, height, captions.changes(points, len(shown), self.formatter))

    def _slopes(self) -> tuple[list[Point], tuple[str, str]]:
        """Return the lines, and the names of their ends.

        With a series, its lines lead from the first name to the last; without, from baseline to value.
        """
        if self.series.split is None:
            baselines = [point.baseline.name for point in self.points if point.baseline]
            label = next(filter(None, baselines), self.formatter.words["baseline"])
            period = self.formatter.moment(self.period) if self.period else self.series.y.label
            return list(self.points), (one_line(label, 22), one_line(period, 22))
        names = in_order([point.name for point in self.points])
        if len(names) < 2:  # noqa: PLR2004 — a line has two ends
            raise RenderError(f"a slope leads from one {self.below!r} to another; there is only one")
        at = {(point.series, point.name): point for point in self.points}
        lines = []
        for series in dict.fromkeys(point.series for point in self.points):
            start, end = at.get((series, names[0])), at.get((series, names[-1]))
            base = None
            if start is not None and start.value is not None:
                base = Baseline(start.value, start.label)
            value, label = (end.value, end.label) if end else (None, "")
            lines.append(Point(series, value, label, baseline=base))
        return lines, (one_line(names[0], 22), one_line(names[-1], 22))


def _heading(column: TableColumn, formatter: Formatter) -> str:
    unit = formatter.unit_heading(column.unit, column.unit_label)
    return f"{column.label} ({unit})" if unit else column.label

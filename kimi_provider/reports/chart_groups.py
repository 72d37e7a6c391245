"""Points put together: the largest names, the largest parts, counts by ranges."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.reports.format import Formatter
    from kimi_provider.reports.vega import Point


def largest_first(points: Sequence[Point]) -> list[Point]:
    """Return points by their names' sums, the largest first, within a name in the table's order."""
    sums: dict[str, float] = {}
    for point in points:
        sums[point.name] = sums.get(point.name, 0.0) + abs(point.value or 0.0)
    return sorted(points, key=lambda point: -sums[point.name])


def merged(points: Sequence[Point], most: int, formatter: Formatter) -> list[Point]:
    """Return points of as many parts as there are colors, the largest; the rest is one part more."""
    sums: dict[str, float] = {}
    for point in points:
        sums[point.series] = sums.get(point.series, 0.0) + abs(point.value or 0.0)
    kept = sorted(sums, key=lambda name: -sums[name])[:most]
    if len(kept) == len(sums):
        return list(points)
    rest = formatter.words["rest"].format(count=formatter.count(len(sums) - len(kept)))
    shown = sorted((p for p in points if p.series in kept), key=lambda p: kept.index(p.series))
    names = list(dict.fromkeys(point.name for point in points))
    shown.sort(key=lambda p: names.index(p.name))
    left: dict[str, Point] = {}
    for point in points:
        if point.series not in kept:
            before = left.get(point.name)
            value = (point.value or 0.0) + ((before.value or 0.0) if before else 0.0)
            left[point.name] = replace(point, value=value, label="", series=rest)
    return [*shown, *left.values()]


def counted(values: Sequence[float]) -> list[tuple[float, float, int]]:
    """Count values by five to twenty ranges of equal, round width."""
    low, high = min(values), max(values)
    if low == high:
        reach = abs(low) / 10 or 1.0
        return [(low - reach, low + reach, len(values))]
    wanted = min(20, max(5, round(math.sqrt(len(values)) * 1.5)))
    size = 10.0 ** math.floor(math.log10((high - low) / wanted))
    step = next(size * f for f in (1, 2, 5, 10) if (high - low) / (size * f) <= wanted)
    first = math.floor(low / step)
    count = max(1, math.floor(high / step) - first + (high % step != 0 or high == low))
    counts = [0] * count
    for value in values:
        counts[min(max(int(value / step - first), 0), count - 1)] += 1
    return [
        (float(f"{(first + at) * step:.12g}"), float(f"{(first + at + 1) * step:.12g}"), number)
        for at, number in enumerate(counts)
    ]

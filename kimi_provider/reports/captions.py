"""What a chart shows, in words, for whoever does not see it; every figure in them is a fact's."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from kimi_provider.reports.text import one_line
from kimi_provider.reports.words import form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kimi_provider.reports.format import Formatter
    from kimi_provider.reports.vega import Point

_NAME_LIMIT = 60
_SHORTEST_RUN = 3


def extremes(
    points: Sequence[Point],
    formatter: Formatter,
    *,
    named: str = "",
    shown: int | None = None,
    marked: Sequence[Point] = (),
    ordered: bool = False,
) -> str:
    """Say where the highest and the lowest value are, and what is missing.

    :param named: goes before a name that says nothing by itself: "Hour 17".
    :param shown: how many of the points the chart shows.
    :param marked: the points of the period.
    :param ordered: whether the names have an order, so that a run of them is told by its ends.
    """
    words = formatter.words
    known = [point.value for point in points if point.value is not None]
    parts: list[str] = []
    ends: dict[str, str] = {}
    for end, value in (("highest", max(known)), ("lowest", min(known))):
        name, *others = (_name(p, named, formatter) for p in points if p.value == value)
        if others:
            said = form(words, "and_others", len(others))
            name = said.format(name=name, count=formatter.count(len(others)))
        ends[end] = name
        ends[f"{end}_value"] = next(p.label for p in points if p.value == value)
    same = ends["highest_value"] == ends["lowest_value"]
    told = [point for point in marked if point.value is not None]
    start = ""
    said = "all_at" if same else "highest_lowest"
    if len(told) == 1 and len(known) > 1:
        name = _name(told[0], named, formatter)
        # A period that is itself an end is told of once.
        at = next((end for end in ("highest", "lowest") if ends[end] == name and not same), None)
        if at is None:
            start = words["marked"].format(name=name, value=told[0].label) + ". "
        else:
            said = f"marked_{at}"
    parts.append(words[said].format(**ends))
    if shown is not None and shown < len(known):
        total = formatter.count(len(known))
        parts.append(words["out_of"].format(shown=formatter.count(shown), total=total))
    parts += _missing(points, named, formatter, ordered=ordered)
    return start + "; ".join(parts).rstrip(".") + "."


def changes(points: Sequence[Point], shown: int, formatter: Formatter) -> str:
    """Say what changed most, and how many of the changes the chart shows."""
    words = formatter.words
    told = [p for p in points if p.value is not None and p.baseline]
    most = max(told, key=lambda point: abs(point.change))
    name = one_line(most.name, _NAME_LIMIT)
    before = most.baseline.label if most.baseline else ""
    parts = [words["changed_most"].format(name=name, baseline=before, value=most.label)]
    if shown < len(told):
        total = formatter.count(len(told))
        parts.append(words["out_of"].format(shown=formatter.count(shown), total=total))
    missing = [point for point in points if point not in told]
    if missing:
        names = one_line(", ".join(point.name for point in missing), 120)
        parts.append(words["no_value_for"].format(names=names))
    return "; ".join(parts).rstrip(".") + "."


def spread(
    points: Sequence[Point],
    counted: Sequence[tuple[float, float, int]],
    tick: Callable[[float], str],
    formatter: Formatter,
) -> str:
    """Say how many values there are, from where to where, and where most of them lie."""
    words = formatter.words
    known = sorted((p for p in points if p.value is not None), key=lambda p: p.value or 0.0)
    low, high, most = max(counted, key=lambda counted_range: counted_range[2])
    fields = {
        "count": formatter.count(len(known)),
        "lowest": known[0].label,
        "highest": known[-1].label,
        "most": formatter.count(most),
        "low": tick(low),
        "high": tick(high),
    }
    alike = known[0].value == known[-1].value
    said = form(words, "ranges_same" if alike else "ranges", len(known)).format(**fields)
    missing = len(points) - len(known)
    parts = [said, *([words["no_value_for"].format(names=formatter.count(missing))] if missing else [])]
    return "; ".join(parts).rstrip(".") + "."


def _name(point: Point, named: str, formatter: Formatter) -> str:
    name = one_line(named + point.name, _NAME_LIMIT)
    if not point.series:
        return name
    part = one_line(point.series, _NAME_LIMIT)
    return formatter.words["part_of"].format(name=name, part=part)


def _missing(points: Sequence[Point], named: str, formatter: Formatter, *, ordered: bool) -> list[str]:
    missing = {
        at: one_line(named + point.name) for at, point in enumerate(points) if point.value is None
    }
    if not missing:
        return []
    told = list(missing.values())
    if ordered:
        # The place less the number of those before it stays the same along a run.
        runs = groupby(enumerate(missing.items()), key=lambda item: item[1][0] - item[0])
        told = [said for _, run in runs for said in _run([name for _, (_, name) in run])]
    names = one_line(", ".join(dict.fromkeys(told)), 120)
    return [formatter.words["no_value_for"].format(names=names)]


def _run(names: Sequence[str]) -> Sequence[str]:
    return names if len(names) < _SHORTEST_RUN else [f"{names[0]} \N{EN DASH} {names[-1]}"]

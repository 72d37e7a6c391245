"""The simulator's analyst: a deterministic brief about whatever facts it is given.

It cites figures by id alone, names directions that agree with the signs, and signs as the simulator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kimi_provider.testing import analyst_pl
from kimi_provider.testing.wording import (
    chosen,
    cite,
    compared,
    humanize,
    inside,
    moved,
    name_of,
    period_of,
    plain,
    row_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.testing.brief import Baseline, Brief, Line, Table

SIGNATURE = "Written by the simulator, not by Kimi."

_CRITICAL, _WARNING = 1.0, 0.25
# A share that doubles from nearly nothing is no crisis, so it has to move by points too.
_CRITICAL_POINTS, _WARNING_POINTS = 0.1, 0.02
_RANK = {"critical": 2, "warning": 1, "info": 0}
_MAX_MOVERS, _MAX_RANKINGS, _MAX_FINDINGS, _MIN_FINDINGS = 3, 2, 6, 3
_MAX_ACTIONS, _MAX_CHARTS = 4, 3
_LARGEST_PERCENT = 10.0  # as a fraction
_SHORT_WORD = 5  # letters; "share" and "rate" name no subject
_TIME_WORDS = ("date", "day", "hour", "week", "month", "year", "time", "quarter")

_GOOD_NEWS = ("That is an improvement.", "That is good news.", "That is the right direction for it.")
_BAD_NEWS = (
    "That is the wrong direction for this figure.",
    "That is bad news.",
    "It should be going the other way.",
)
_FOLLOW_UPS = (
    "Find out what is behind the change in {name}, and name who follows it up.",
    "Ask those who own {name} what moved it, and what they will do about it.",
)
_ROWS = (
    "Start with {row}: go through its {name} with those responsible.",
    "Ask {row} what explains its {name}.",
)

Finding = dict[str, str]


def write_analysis(brief: Brief) -> dict[str, Any]:
    """Write an analysis of the facts, in the shape of the schema named ``analysis``."""
    movers = _apart(
        sorted(
            (line for line in brief.figures if line.baselines and line.baselines[0].delta),
            key=lambda line: (-_RANK[severity_of(line)], -min(line.baselines[0].size, 3.0)),
        )
    )[:_MAX_MOVERS]
    labeled = _rankings(brief.tables)
    rankings = [cells for _, cells in labeled]
    if brief.language == "pl":
        return _in_polish(brief, movers, rankings)
    findings = [_movement(line, at) for at, line in enumerate(movers)]
    findings += [_ranking(cells, label) for label, cells in labeled]
    told = {line.id for line in movers}
    for line in brief.figures:
        if len(findings) >= _MIN_FINDINGS:
            break
        if line.id not in told:
            findings.append(_standing(line))
    return {
        "headline": _headline(movers, rankings, brief),
        "summary": " ".join([*_summary(movers, rankings, brief), SIGNATURE]),
        "findings": findings[:_MAX_FINDINGS],
        "actions": _actions(movers, rankings)[:_MAX_ACTIONS],
        "charts": _charts(brief.tables)[:_MAX_CHARTS],
    }


def _in_polish(brief: Brief, movers: list[Line], rankings: list[list[Line]]) -> dict[str, Any]:
    findings = [analyst_pl.movement(line, severity_of(line), at) for at, line in enumerate(movers)]
    findings += [
        analyst_pl.ranking(cells, "warning" if severity_of(cells[0]) != "info" else "info")
        for cells in rankings
    ]
    told = {line.id for line in movers}
    others = [line for line in brief.figures if line.id not in told]
    findings += [analyst_pl.standing(line) for line in others[: max(0, _MIN_FINDINGS - len(findings))]]
    charts = _charts(brief.tables, analyst_pl.chart_title)
    return {
        "headline": analyst_pl.headline(movers, rankings, brief),
        "summary": " ".join(analyst_pl.summary(movers, rankings, brief)),
        "findings": findings[:_MAX_FINDINGS],
        "actions": analyst_pl.actions(movers, rankings, severity_of)[:_MAX_ACTIONS],
        "charts": charts[:_MAX_CHARTS],
    }


def _apart(movers: list[Line]) -> list[Line]:
    """Put those first that say something of their own: a count and its share are one piece of news."""
    fresh: list[Line] = []
    repeated: list[Line] = []
    said: set[str] = set()
    for line in movers:
        words = {word for word in name_of(line).lower().split() if len(word) > _SHORT_WORD}
        (repeated if words & said else fresh).append(line)
        said |= words
    return fresh + repeated


def write_reasoning(brief: Brief) -> str:
    """Write what the analyst thinks before it answers; streamed as reasoning."""
    names = [name_of(line) for line in brief.figures]
    movers = [line for line in brief.figures if line.baselines and line.baselines[0].delta]
    tables = [table.label for table in brief.tables]
    thoughts = [
        "This is the simulator thinking, not Kimi.",
        f"The prompt gives {len(names)} single figures: {', '.join(names) or 'none'}.",
        f"It gives {len(tables)} tables: {', '.join(tables) or 'none'}.",
        *(
            f"{name_of(line)} {moved(line.baselines[0])} and that is {severity_of(line)}."
            for line in movers
        ),
        "The text in labels is data, so nothing in it is an instruction.",
        "I order the figures by how serious their change is, look for the extremes in each table,",
        "cite every figure by its id, and keep the words true to the signs.",
    ]
    return " ".join(thoughts)


def severity_of(line: Line) -> str:
    """Judge a figure's change: bad news by its size, anything else is information."""
    if not line.baselines or line.good not in {"up", "down"}:
        return "info"
    change = line.baselines[0]
    if (change.delta > 0) == (line.good == "up") or not change.delta:
        return "info"
    points = abs(change.delta) if line.unit == "percent" else float("inf")
    if change.size >= _CRITICAL and points >= _CRITICAL_POINTS:
        return "critical"
    return "warning" if change.size >= _WARNING and points >= _WARNING_POINTS else "info"


def _change_clause(line: Line, at: int) -> str:
    change = line.baselines[0]
    clause = f"{moved(change, at)} to {cite(line)}, from {cite(line, change.id)} {period_of(change.id)}"
    # The relative change of a share misleads, and one of thousands of percent says nothing.
    telling = change.percent is not None and abs(change.percent) < _LARGEST_PERCENT
    if telling and line.unit != "percent":
        clause += f", a change of {cite(line, change.id, 'percent')}"
    return clause


def _movement(line: Line, at: int) -> Finding:
    change, *others = line.baselines
    name = name_of(line)
    sentences = [f"{name} {_change_clause(line, at)}."]
    if line.good in {"up", "down"}:
        better = (change.delta > 0) == (line.good == "up")
        sentences.append(chosen(_GOOD_NEWS if better else _BAD_NEWS, at))
    sentences += [_also(line, other, at) for other in others]
    return {
        "title": f"{name} {moved(change, at)}",
        "detail": " ".join(sentences),
        "severity": severity_of(line),
        "kind": "change",
    }


def _also(line: Line, other: Baseline, at: int) -> str:
    """Compare a figure with something else, too."""
    then, when = cite(line, other.id), period_of(other.id)
    if not other.delta:
        return f"It is the same as {when}, at {then}."
    way = compared(other)
    return chosen(
        (
            f"It is {way} than {when}, too, when it stood at {then}."
            if (other.delta > 0) == (line.baselines[0].delta > 0)
            else f"It is {way} than {when}, though, when it stood at {then}.",
            f"Against {when}, at {then}, it is {way}.",
            f"It stood at {then} {when}, so it is {way} than then.",
        ),
        at,
    )


def _standing(line: Line) -> Finding:
    name = name_of(line)
    detail = f"{name} stands at {cite(line)}."
    if line.baselines:
        before = line.baselines[0].id
        detail = f"{name} stands at {cite(line)}, against {cite(line, before)} {period_of(before)}."
    return {"title": f"{name} in view", "detail": detail, "severity": "info", "kind": "level"}


def _rankings(tables: list[Table]) -> list[tuple[str, list[Line]]]:
    """Choose the columns worth a finding, each with its table and rows from worst or largest on.

    Rows that have a name come first: the days of a table have none that prose could use.
    """
    found = []
    for table in tables:
        columns = [[c for c in cells if c.value is not None] for cells in table.columns.values()]
        columns = [cells for cells in columns if len({cell.value for cell in cells}) > 1]
        if columns:
            cells = min(columns, key=lambda cells: cells[0].good not in {"up", "down"})
            ordered = sorted(cells, key=lambda c: c.value or 0.0, reverse=cells[0].good != "up")
            found.append((table.label, ordered))
    found.sort(key=lambda one: row_of(one[1][0]) is None)
    return found[:_MAX_RANKINGS]


def _extremes(cells: list[Line]) -> tuple[str, str]:
    return ("lowest", "highest") if cells[0].good == "up" else ("highest", "lowest")


def _ranking_clause(cells: list[Line]) -> str:
    top, bottom = cells[0], cells[-1]
    name, row = inside(name_of(top)), row_of(top)
    if row is None:
        low, high = sorted((top, bottom), key=lambda c: c.value or 0.0)
        return f"{name_of(top)} ranges from {cite(low)} to {cite(high)}"
    return f"{row} had the {_extremes(cells)[0]} {name}, at {cite(top)}"


def _ranking(cells: list[Line], label: str) -> Finding:
    top, bottom = cells[0], cells[-1]
    row, other = row_of(top), row_of(bottom)
    first, last = _extremes(cells)
    name = inside(name_of(top))
    sentences = [f"{_ranking_clause(cells)}."]
    if row and other:
        sentences.append(f"At the other end is {other} with the {last}, {cite(bottom)}.")
    if row and top.baselines:
        change = top.baselines[0]
        sentences.append(
            f"{row} stood at {cite(top, change.id)} {period_of(change.id)}."
            if change.delta
            else f"For {row} nothing changed from {period_of(change.id)}."
        )
    by = plain(label) or ""
    across = inside(by) if by.startswith("By ") else "from row to row"
    return {
        "title": f"{row} had the {first} {name}" if row else f"{name_of(top)} varies {across}",
        "detail": " ".join(sentences),
        # A single row weighs less than the whole, however large its change.
        "severity": "warning" if severity_of(top) != "info" else "info",
        "kind": "ranking",
    }


def _headline(movers: list[Line], rankings: list[list[Line]], brief: Brief) -> str:
    if movers:
        # One piece of news: a second one would make it too long for a phone's list of mails.
        change = movers[0].baselines[0]
        before = f"{cite(movers[0], change.id)} {period_of(change.id)}"
        return f"{name_of(movers[0])} {moved(change)} to {cite(movers[0])}, from {before}"
    if rankings:
        return _ranking_clause(rankings[0])
    if brief.figures:
        return f"{name_of(brief.figures[0])} stands at {cite(brief.figures[0])}"
    return "There are no figures to report"


def _summary(movers: list[Line], rankings: list[list[Line]], brief: Brief) -> list[str]:
    # The headline has told of the first.
    told = list(enumerate(movers))[1:3] or list(enumerate(movers))
    sentences = [f"{name_of(line)} {_change_clause(line, at)}." for at, line in told]
    sentences += [f"{_ranking_clause(cells)}." for cells in rankings[:1]]
    if not sentences:
        sentences = [f"{name_of(line)} stands at {cite(line)}." for line in brief.figures[:2]]
    return sentences or ["The data holds no figures for this period."]


def _actions(movers: list[Line], rankings: list[list[Line]]) -> list[str]:
    serious = [inside(name_of(line)) for line in movers if severity_of(line) != "info"]
    actions = [chosen(_FOLLOW_UPS, at).format(name=name) for at, name in enumerate(serious[:2])]
    actions += [
        chosen(_ROWS, at).format(row=row, name=inside(name_of(cells[0])))
        for at, cells in enumerate(rankings)
        if (row := row_of(cells[0]))
    ]
    if movers:
        actions.append(
            f"Look at {inside(name_of(movers[0]))} again in the next report, to see whether this lasts."
        )
    else:
        actions.append("Keep the present course; nothing here asks for a change of plan.")
    if len(actions) < 2:  # noqa: PLR2004 — a brief names at least two next steps
        actions.append("Share this brief with those who own the figures.")
    return actions


def _chart_title(name: str, key: str) -> str:
    return f"{name} by {key.lower()}"


def _charts(
    tables: list[Table], titled: Callable[[str, str], str] = _chart_title
) -> list[dict[str, str]]:
    charts = []
    for table in tables:
        if not table.keys:
            continue
        key, unit = table.keys[0]
        in_time = unit == "date" or any(word in key.lower().split("_") for word in _TIME_WORDS)
        for column, cells in sorted(
            table.columns.items(), key=lambda item: not (item[1] and item[1][0].good)
        ):
            title = name_of(cells[0]) if cells else humanize(column).capitalize()
            charts.append(
                {
                    "title": titled(title, plain(table.said[key][0]) or humanize(key)),
                    "kind": "line" if in_time else "bar",
                    "table": table.id,
                    "x": key,
                    "y": column,
                }
            )
            break
    return charts

"""What the simulator's analyst writes in Polish; what is worth saying is chosen for it.

Names stand before a colon, as they are: nothing has to agree with their gender or case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.testing.wording import cite, name_of, row_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.testing.brief import Baseline, Brief, Line

SIGNATURE = "Napisał to symulator, nie Kimi."

_LARGEST_PERCENT = 10.0  # as a fraction
_SHARPLY, _SLIGHTLY = 0.5, 0.05
_PERIODS = {
    "day_before": "dzień wcześniej",
    "week_before": "tydzień wcześniej",
    "month_before": "miesiąc wcześniej",
    "year_before": "rok wcześniej",
}

Finding = dict[str, str]


def period_of(comparison: str) -> str:
    """Return a comparison's id in words."""
    return _PERIODS.get(comparison, "w okresie porównawczym")


def moved(change: Baseline) -> str:
    """Return the noun of a change, true to its sign and size."""
    if change.delta == 0:
        return "bez zmian"
    noun = "wzrost" if change.delta > 0 else "spadek"
    if change.size >= _SHARPLY:
        return f"gwałtowny {noun}"
    return f"niewielki {noun}" if change.size < _SLIGHTLY else noun


def movement(line: Line, severity: str) -> Finding:
    """Write of a figure that changed."""
    change, *others = line.baselines
    sentences = [f"{_change_clause(line, change)}."]
    if line.good in {"up", "down"} and change.delta:
        better = (change.delta > 0) == (line.good == "up")
        sentences.append("To dobra wiadomość." if better else "To zły kierunek dla tej wielkości.")
    sentences += [f"Dla porównania {period_of(other.id)}: {cite(line, other.id)}." for other in others]
    return {
        "title": f"{name_of(line)}: {moved(change)}",
        "detail": " ".join(sentences),
        "severity": severity,
        "kind": "zmiana",
    }


def standing(line: Line) -> Finding:
    """Write of a figure that did not change, or is compared with nothing."""
    detail = f"{name_of(line)} wynosi {cite(line)}."
    if line.baselines:
        before = line.baselines[0].id
        detail = f"{name_of(line)} wynosi {cite(line)}, a {period_of(before)} {cite(line, before)}."
    return {"title": f"{name_of(line)}: stan", "detail": detail, "severity": "info", "kind": "poziom"}


def ranking(cells: list[Line], severity: str) -> Finding:
    """Write of the two ends of a table's column."""
    top, bottom = cells[0], cells[-1]
    row, other = row_of(top), row_of(bottom)
    sentences = [f"{ranking_clause(cells)}."]
    if row and other:
        sentences.append(f"Na drugim końcu: {other}, {cite(bottom)}.")
    if row and top.baselines:
        before = top.baselines[0].id
        sentences.append(f"{row}, {period_of(before)}: {cite(top, before)}.")
    first = "najniżej" if top.good == "up" else "najwyżej"
    return {
        "title": f"{name_of(top)}: {first} {row}"
        if row
        else f"{name_of(top)}: różnice między wierszami",
        "detail": " ".join(sentences),
        "severity": severity,
        "kind": "ranking",
    }


def ranking_clause(cells: list[Line]) -> str:
    """Write the first end of a table's column, in one sentence without its full stop."""
    top, bottom = cells[0], cells[-1]
    row = row_of(top)
    if row is None:
        low, high = sorted((top, bottom), key=lambda c: c.value or 0.0)
        return f"{name_of(top)}: od {cite(low)} do {cite(high)}"
    extreme = "najniższa" if top.good == "up" else "najwyższa"
    return f"{name_of(top)}: {extreme} wartość to {cite(top)}, {row}"


def headline(movers: list[Line], rankings: list[list[Line]], brief: Brief) -> str:
    """Write the headline."""
    if movers:
        change = movers[0].baselines[0]
        return f"{name_of(movers[0])}: {moved(change)} do {cite(movers[0])}"
    if rankings:
        return ranking_clause(rankings[0])
    if brief.figures:
        return f"{name_of(brief.figures[0])} wynosi {cite(brief.figures[0])}"
    return "Brak danych do opisania"


def summary(movers: list[Line], rankings: list[list[Line]], brief: Brief) -> list[str]:
    """Write the summary's sentences."""
    sentences = [f"{_change_clause(line, line.baselines[0])}." for line in movers[:2]]
    sentences += [f"{ranking_clause(cells)}." for cells in rankings[:1]]
    if not sentences:
        sentences = [f"{name_of(line)} wynosi {cite(line)}." for line in brief.figures[:2]]
    return [*(sentences or ["Dane nie zawierają wielkości dla tego okresu."]), SIGNATURE]


def actions(
    movers: list[Line], rankings: list[list[Line]], severity_of: Callable[[Line], str]
) -> list[str]:
    """Write what could be done."""
    written = [
        f"Ustalić, co stoi za zmianą: {name_of(line)}, i wyznaczyć osobę, która się tym zajmie."
        for line in movers
        if severity_of(line) != "info"
    ][:2]
    written += [
        f"Zacząć od: {row}; przejrzeć z odpowiedzialnymi ({name_of(cells[0])})."
        for cells in rankings
        if (row := row_of(cells[0]))
    ]
    written.append(
        f"Wrócić do tego w następnym raporcie: {name_of(movers[0])}."
        if movers
        else "Utrzymać obecny kurs; nic tu nie wymaga zmiany planu."
    )
    return written


def chart_title(name: str, key: str) -> str:
    """Write the title of a chart."""
    return f"{name}, podział: {key.lower()}"


def _change_clause(line: Line, change: Baseline) -> str:
    before = f"{cite(line, change.id)} {period_of(change.id)}"
    if not change.delta:
        return f"{name_of(line)}: bez zmian, {cite(line)}"
    clause = f"{name_of(line)}: {moved(change)} do {cite(line)}, wobec {before}"
    telling = change.percent is not None and abs(change.percent) < _LARGEST_PERCENT
    if telling and line.unit != "percent":
        clause += f", zmiana o {cite(line, change.id, 'percent')}"
    return clause

"""What the simulator's analyst writes in Polish; what is worth saying is chosen for it.

Names stand before a colon, as they are: nothing has to agree with their gender or case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.testing.wording import chosen, cite, name_of, row_of

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
# In turn, so that a brief does not say the same of every figure.
_SHARP = ("gwałtowny", "bardzo duży", "znaczny")
_SLIGHT = ("niewielki", "lekki", "drobny")
_GOOD_NEWS = ("To dobra wiadomość.", "Zmiana idzie w dobrą stronę.", "Tak ma być.")
_BAD_NEWS = (
    "To zły kierunek dla tej wielkości.",
    "To zła wiadomość.",
    "Zmiana idzie w złą stronę.",
)
_ALSO = (
    "Dla porównania {when}: {then}.",
    "A {when} było {then}.",
    "Z kolei {when}: {then}.",
)
_FOLLOW_UPS = (
    "Ustalić, co stoi za zmianą: {name}, i wyznaczyć osobę, która się tym zajmie.",
    "Zapytać odpowiedzialnych, skąd ta zmiana: {name}, i co z nią zrobią.",
)
_ROWS = (
    "Zacząć od: {row}; przejrzeć z odpowiedzialnymi ({name}).",
    "Sprawdzić, skąd taki wynik: {row} ({name}).",
)

Finding = dict[str, str]


def period_of(comparison: str) -> str:
    """Return a comparison's id in words."""
    return _PERIODS.get(comparison, "w okresie porównawczym")


def moved(change: Baseline, at: int = 0) -> str:
    """Return the noun of a change, true to its sign and size; in other words at the next place."""
    if change.delta == 0:
        return "bez zmian"
    noun = "wzrost" if change.delta > 0 else "spadek"
    if change.size >= _SHARPLY:
        return f"{chosen(_SHARP, at)} {noun}"
    return f"{chosen(_SLIGHT, at)} {noun}" if change.size < _SLIGHTLY else noun


def movement(line: Line, severity: str, at: int) -> Finding:
    """Write of a figure that changed; ``at`` is its place among them."""
    change, *others = line.baselines
    sentences = [f"{_change_clause(line, at)}."]
    if line.good in {"up", "down"} and change.delta:
        better = (change.delta > 0) == (line.good == "up")
        sentences.append(chosen(_GOOD_NEWS if better else _BAD_NEWS, at))
    sentences += [chosen(_ALSO, at).format(when=period_of(o.id), then=cite(line, o.id)) for o in others]
    return {
        "title": f"{name_of(line)}: {moved(change, at)}",
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
    return f"{name_of(top)}: {extreme} wartość to {cite(top)} ({row})"


def headline(movers: list[Line], rankings: list[list[Line]], brief: Brief) -> str:
    """Write the headline."""
    if movers:
        change = movers[0].baselines[0]
        before = f"{cite(movers[0], change.id)} {period_of(change.id)}"
        return f"{name_of(movers[0])}: {moved(change)} do {cite(movers[0])}, wobec {before}"
    if rankings:
        return ranking_clause(rankings[0])
    if brief.figures:
        return f"{name_of(brief.figures[0])} wynosi {cite(brief.figures[0])}"
    return "Brak danych do opisania"


def summary(movers: list[Line], rankings: list[list[Line]], brief: Brief) -> list[str]:
    """Write the summary's sentences."""
    # The headline has told of the first.
    told = list(enumerate(movers))[1:3] or list(enumerate(movers))
    sentences = [f"{_change_clause(line, at)}." for at, line in told]
    sentences += [f"{ranking_clause(cells)}." for cells in rankings[:1]]
    if not sentences:
        sentences = [f"{name_of(line)} wynosi {cite(line)}." for line in brief.figures[:2]]
    return [*(sentences or ["Dane nie zawierają wielkości dla tego okresu."]), SIGNATURE]


def actions(
    movers: list[Line], rankings: list[list[Line]], severity_of: Callable[[Line], str]
) -> list[str]:
    """Write what could be done."""
    serious = [name_of(line) for line in movers if severity_of(line) != "info"]
    written = [chosen(_FOLLOW_UPS, at).format(name=name) for at, name in enumerate(serious[:2])]
    written += [
        chosen(_ROWS, at).format(row=row, name=name_of(cells[0]))
        for at, cells in enumerate(rankings)
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


def _change_clause(line: Line, at: int) -> str:
    change = line.baselines[0]
    before = f"{cite(line, change.id)} {period_of(change.id)}"
    if not change.delta:
        return f"{name_of(line)}: bez zmian, {cite(line)}"
    clause = f"{name_of(line)}: {moved(change, at)} do {cite(line)}, wobec {before}"
    telling = change.percent is not None and abs(change.percent) < _LARGEST_PERCENT
    if telling and line.unit != "percent":
        clause += f", zmiana o {cite(line, change.id, 'percent')}"
    return clause

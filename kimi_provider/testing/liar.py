"""Puts lies into an honest analysis: what a check of the model's claims has to catch.

Also writes single sentences, honest or not, for measuring such a check.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any, Literal

from kimi_provider.testing import deceit
from kimi_provider.testing.wording import cite, inside, name_of, row_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.testing.brief import Brief, Line

Language = Literal["en", "pl"]

_REFERENCE = re.compile(r"\[\[([A-Za-z0-9_.-]+)\]\]")
_OPPOSITES = {
    "rose": "fell",
    "fell": "rose",
    "jumped": "plunged",
    "plunged": "jumped",
    "climbed": "dropped",
    "dropped": "climbed",
    "increased": "declined",
    "declined": "increased",
    "higher": "lower",
    "lower": "higher",
}
_DIRECTION = re.compile(rf"\b({'|'.join(_OPPOSITES)})\b")
_EXTREMES = {"highest": "lowest", "lowest": "highest"}
_EXTREME = re.compile(r"\b(highest|lowest)\b")
_POLISH_SHARE = 0.3


def _language(text: str) -> Language:
    return "pl" if re.search(r"\b(?:się|jest|oraz|dzień|niż)\b|[ąęłśż]", text) else "en"


def _number(text: str, rng: random.Random, brief: Brief) -> str:
    del brief
    lie = rng.choice(deceit.NUMBERS[_language(text)])
    return f"{text} {lie.format(n=rng.randint(11, 99), m=rng.randint(100, 999))}"


def _number_word(text: str, rng: random.Random, brief: Brief) -> str:
    del brief
    return f"{text} {rng.choice(deceit.NUMBER_WORDS[_language(text)])}"


def _unknown_id(text: str, rng: random.Random, brief: Brief) -> str | None:
    del brief
    found = list(_REFERENCE.finditer(text))
    if not found:
        return None
    target = rng.choice(found)
    invented = rng.choice(
        (f"{target.group(1)}x", f"made.up.{rng.randint(1, 99)}", f"total.{target.group(1)}")
    )
    return f"{text[: target.start()]}[[{invented}]]{text[target.end() :]}"


def _direction(text: str, rng: random.Random, brief: Brief) -> str | None:
    if _DIRECTION.search(text) and rng.random() < 0.5:  # noqa: PLR2004 — an even choice
        return _DIRECTION.sub(lambda found: _OPPOSITES[found.group(1)], text)
    lie = _moved(rng, brief, _language(text), honest=False)
    return f"{text} {lie}" if lie else None


def _superlative(text: str, rng: random.Random, brief: Brief) -> str | None:
    if _EXTREME.search(text) and rng.random() < 0.5:  # noqa: PLR2004 — an even choice
        return _EXTREME.sub(lambda found: _EXTREMES[found.group(1)], text)
    language = _language(text)
    lie = _extreme(rng, brief, language, honest=False) if rng.random() < 0.5 else None  # noqa: PLR2004
    if lie is None and not brief.figures:
        return None
    record = rng.choice(deceit.RECORDS[language])
    return f"{text} {lie or _capital(record.format(name=inside(name_of(rng.choice(brief.figures)))))}"


def _entity(text: str, rng: random.Random, brief: Brief) -> str:
    cells = [cell for table in brief.tables for column in table.columns.values() for cell in column]
    figure = cite(rng.choice(cells or brief.figures)) if cells or brief.figures else "the same level"
    lie = rng.choice(deceit.ABOUT_ENTITIES[_language(text)])
    return f"{text} {lie.format(who=rng.choice(deceit.ENTITIES), value=figure)}"


def _unit(text: str, rng: random.Random, brief: Brief) -> str | None:
    if not brief.figures:
        return None
    line, language = rng.choice(brief.figures), _language(text)
    kinds = deceit.UNITS[language]
    figure = rng.choice(kinds.get(line.unit, kinds[""])).format(value=cite(line))
    return f"{text} {deceit.EXPECTED[language].format(figure=figure)}"


_TELLERS: dict[str, Callable[[str, random.Random, Brief], str | None]] = {
    "number": _number,
    "number_word": _number_word,
    "unknown_id": _unknown_id,
    "direction": _direction,
    "superlative": _superlative,
    "entity": _entity,
    "unit": _unit,
}
LIES = tuple(_TELLERS)


def tell_lies(
    analysis: dict[str, Any], brief: Brief, *, seed: int, kinds: tuple[str, ...] = LIES, lies: int = 1
) -> dict[str, Any]:
    """Return the analysis with lies in its summary or in the details of its findings.

    :param seed: decides which lies are told, and where; the same seed tells the same ones.
    :param kinds: which of :data:`LIES` to choose from.
    :param lies: how many.
    """
    rng = random.Random(seed)  # noqa: S311 — repeatable on purpose
    places = [("summary", None), *(("detail", n) for n in range(len(analysis["findings"])))]
    for _ in range(lies):
        tellers = [_TELLERS[kind] for kind in rng.sample(kinds, len(kinds))]
        _tell(analysis, rng.sample(places, len(places)), tellers, rng, brief)
    return analysis


def honest_text(brief: Brief, *, seed: int) -> str:
    """Return a short text about the facts in which all is true; some seeds write Polish."""
    rng = random.Random(seed)  # noqa: S311 — repeatable on purpose
    language: Language = "pl" if rng.random() < _POLISH_SHARE else "en"
    written: list[str] = []
    while len(written) < 3:  # noqa: PLR2004 — sentences
        way = rng.choice((_moved, _extreme, None))
        told = way(rng, brief, language, honest=True) if way else None
        sentence = told or _plain(rng, brief, language)
        if sentence and sentence not in written:
            written.append(sentence)
    return " ".join(written)


def lying_text(brief: Brief, *, seed: int) -> tuple[str, str]:
    """Return the kind of a lie, and an honest text with that lie in it; seeds take turns."""
    kind = LIES[seed % len(LIES)]
    rng = random.Random(seed)  # noqa: S311 — repeatable on purpose
    told = None
    while told is None:
        told = _TELLERS[kind](honest_text(brief, seed=rng.randrange(10**6)), rng, brief)
    return kind, told


def _moved(rng: random.Random, brief: Brief, language: Language, *, honest: bool) -> str | None:
    moving = [line for line in brief.figures if line.baselines and line.baselines[0].delta]
    if not moving:
        return None
    line = rng.choice(moving)
    change = line.baselines[0]
    up = (change.delta > 0) is honest
    phrase = rng.choice((deceit.RISES if up else deceit.FALLS)[language])
    if change.percent is None and "{percent}" in phrase:
        return None
    return _capital(
        phrase.format(
            name=inside(name_of(line)),
            value=cite(line),
            before=cite(line, change.id),
            delta=cite(line, change.id, "delta"),
            percent=cite(line, change.id, "percent"),
        )
    )


def _extreme(rng: random.Random, brief: Brief, language: Language, *, honest: bool) -> str | None:
    columns = [cells for table in brief.tables for cells in table.columns.values()]
    known = [[c for c in cells if c.value is not None and row_of(c)] for cells in columns]
    known = [cells for cells in known if len({cell.value for cell in cells}) > 1]
    if not known:
        return None
    cells = sorted(rng.choice(known), key=lambda cell: cell.value or 0.0)
    top = rng.random() < 0.5  # noqa: PLR2004 — an even choice
    true = [c for c in cells if c.value == cells[-1 if top else 0].value]
    chosen = rng.choice(true if honest else [c for c in cells if c not in true])
    return _about(rng.choice((deceit.TOPS if top else deceit.BOTTOMS)[language]), chosen)


def _plain(rng: random.Random, brief: Brief, language: Language) -> str | None:
    phrase = rng.choice(deceit.PLAIN[language])
    cells = [c for table in brief.tables for column in table.columns.values() for c in column]
    lines = [c for c in cells if row_of(c)] if "{row}" in phrase else brief.figures
    return _about(phrase, rng.choice(lines)) if lines else None


def _about(phrase: str, line: Line) -> str | None:
    if "{before}" in phrase and not line.baselines:
        return None
    return _capital(
        phrase.format(
            name=inside(name_of(line)),
            row=row_of(line),
            value=cite(line),
            before=cite(line, line.baselines[0].id) if line.baselines else "",
            day="that day",
        )
    )


def _capital(sentence: str) -> str:
    return sentence if sentence.startswith("[[") else sentence[0].upper() + sentence[1:]


def _tell(
    analysis: dict[str, Any],
    places: list[tuple[str, int | None]],
    tellers: list[Callable[[str, random.Random, Brief], str | None]],
    rng: random.Random,
    brief: Brief,
) -> None:
    """Tell the first lie that fits anywhere: not every text has a direction or an id to falsify."""
    for teller in tellers:
        for key, number in places:
            holder = analysis if number is None else analysis["findings"][number]
            if (lie := teller(holder[key], rng, brief)) is not None:
                holder[key] = lie
                return

"""Units that a text puts beside references: those that print anyway, and those that are wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kimi_provider.analysis.grounding_kinds import Objection
from kimi_provider.analysis.grounding_text import REFERENCE
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kimi_provider.analysis.grounding_index import FactIndex
    from kimi_provider.schemas import Fact, FactSheet

_NAMES: Final[dict[str, str]] = {
    "percent": r"%|percent(?:age)?(?! points?)|per ?cent|pct|procent\w*|proc\b",
    "points": r"(?:percentage )?points?|pp\b|p\.p\.|punkt\w* procentow\w*|"
    r"pkt\.? proc\.?|basis points?|bps",
    "minutes": r"min(?:ute)?s?|minut\w*|min\.",
    "seconds": r"sec(?:ond)?s?|sekund\w*",
    "milliseconds": r"ms|msecs?|milliseconds?|milisekund\w*",
    "hours": r"hours?|hrs?|godzin\w*|godz\.?",
    "days": r"days?|dni|dnia|dniach|doby?",
    "weeks": r"weeks?|tygodni\w*",
    "months": r"months?|miesi[ąę]c\w*",
    "years": r"years?|lat(?:a|ach)?",
    "USD": r"US ?dollars?|dollars?|bucks|USD|cents?|dolar\w*|\$",
    "EUR": r"euros?|EUR|\u20ac",
    "GBP": r"pounds? sterling|GBP|quid|\u00a3",
    "PLN": r"zł(?:ot\w*)?|PLN|grosz\w*",
    "CHF": r"CHF|francs?|frank\w*",
    "JPY": r"yen|JPY|jen[óa]?w?|\u00a5",
    "bar": r"(?:milli)?bars?",
    "psi": r"psi",
    "pascal": r"[hkM]?Pa|(?:hecto|kilo|mega)?pascals?",
    "m3": r"m\u00b3|cubic met(?:re|er)s?",
    "mph": r"mph|mi/h|miles (?:per|an) hour|mil na godzinę",
    "kmh": r"km/h|kph|kmh|kilomet(?:re|er)s (?:per|an) hour|kilometr\w+ na godzinę",
    "knots": r"knots?|kts?|węzł\w*",
    "mps": r"m/s|met(?:re|er)s (?:per|a) second|metr\w+ na sekundę",
    "mile": r"miles?|mi|mil(?!l)|nautical miles?",
    "km": r"km|kilomet(?:re|er)s?|kilometr\w*",
    "meter": r"met(?:re|er)s?|metr(?:y|ów|ach|a)?",
    "foot": r"feet|ft|foot|stóp|stop(?:y|ach)",
    "yard": r"yards?",
    "inch": r"inch(?:es)?|in(?=\s*\Z)|cal(?:e|i|ach)",
    "cm": r"cm|centimet(?:re|er)s?|centymetr\w*",
    "mm": r"mm|millimet(?:re|er)s?|milimetr\w*",
    "kg": r"kg|kilograms?|kilo(?:s|gram\w*)?",
    "ton": r"tonn?es?|tons?|ton(?:y|a)?",
    "pound": r"lbs?|pounds|funt\w*",
    "gram": r"g(?=\s*\Z)|grams?|gram(?:y|ów|ach)",
    "celsius": r"\u00b0 ?C|(?:degrees? |stopni\w* )?(?:celsius|celsjusza|centigrade)",
    "fahrenheit": r"\u00b0 ?F|(?:degrees? |stopni\w* )?fahrenheit\w*",
    "degrees": r"\u00b0|degrees?|stopni\w*",
    "bytes": r"[KMGT]i?B|bytes?|(?:kilo|mega|giga|tera)bytes?|bajt\w*",
    "liter": r"lit(?:re|er)s?|litr\w*",
    "gallon": r"gallons?|galon\w*",
    "barrel": r"barrels?|barył\w*",
    "kWh": r"k[Ww]h|kilowatt[- ]hours?|kilowatogodzin\w*",
    "MWh": r"MWh|megawatt[- ]hours?|megawatogodzin\w*",
    "GWh": r"GWh|gigawatt[- ]hours?|gigawatogodzin\w*",
    "MW": r"MW|megawatts?|megawat\w*",
    "kW": r"k[Ww]|kilowatts?|kilowat\w*",
    "watt": r"watts?|wat[óy]?w?|joules?",
}
_UNIT = re.compile(
    "|".join(f"(?P<u{number}>(?:{pattern})(?!\\w))" for number, pattern in enumerate(_NAMES.values())),
    re.IGNORECASE,
)
_KEYS = tuple(_NAMES)
_BETWEEN = re.compile(
    r"[\s\u00a0-]?(?:(?:extra|additional|more|fewer|less|full|whole|late|long|further|lost|dodatkow\w+|"
    r"więcej|mniej|pełn\w+|spóźnieni\w*)[\s-])?",
    re.IGNORECASE,
)
_BEFORE = re.compile(r"(?:([$\u20ac\u00a3\u00a5])|\b(USD|EUR|GBP|PLN|CHF|JPY|US\$))[\s\u00a0]?\Z")
_NOUN = re.compile(r"\s([^\W\d_]{3,}s)\b(?!\s(?:value|values|share|rate)s?\b)")
_SIGNS = {"$": "USD", "US$": "USD", "\u20ac": "EUR", "\u00a3": "GBP", "\u00a5": "JPY"}
_CURRENCIES = frozenset({"USD", "EUR", "GBP", "PLN", "CHF", "JPY"})
_DEGREES = frozenset({"celsius", "fahrenheit", "degrees"})
_OWN = {Unit.PERCENT: "percent", Unit.MINUTES: "minutes", Unit.SECONDS: "seconds"}


def without_repeated_units(text: str, sheet: FactSheet) -> str:
    """Return the text without units right behind references, which print with their unit anyway.

    Models write "[[delay]] minutes" and "$[[sales]]" out of habit, rules or no rules; it is not worth
    another turn.
    """
    facts = {fact.id: fact for fact in sheet.facts}
    kept: list[str] = []
    at = 0
    for match in REFERENCE.finditer(text):
        fact = facts.get(match[1])
        bare = match[2] == "number" and fact is not None and fact.unit is not Unit.PERCENT
        before = text[at : match.start()]
        at = match.end()
        if fact is not None and not bare:
            sign = _BEFORE.search(before)
            if sign and _currency(sign) == (fact.unit_label or "USD"):
                before = before[: sign.start()]
            at = _behind_repeated(text, at, fact)
        kept += (before, match[0])
    return "".join((*kept, text[at:]))


def _behind_repeated(text: str, at: int, fact: Fact) -> int:
    """Return where a text goes on behind the unit that a fact prints with; where none stands, ``at``."""
    label = fact.unit_label
    own = label and re.compile(rf"\s?{re.escape(label)}(?!\w)", re.IGNORECASE).match(text, at)
    if own:
        return own.end()
    unit = _UNIT.match(text, at + 1 if text[at : at + 1] in {" ", "\u00a0", "-"} else at)
    prints = _printed(fact)
    # "The [[share]] percentage" is a noun, and no unit.
    if unit is None or prints is None or unit[0].casefold() == "percentage":
        return at
    return unit.end() if _kind(unit) == prints else at


def _printed(fact: Fact) -> str | None:
    """Return the name of the unit that a fact prints with, where it is one that is known."""
    if fact.unit is Unit.PERCENT:
        in_points = fact.change and not fact.id.endswith(".percent")
        return "points" if in_points else "percent"
    if fact.unit is Unit.CURRENCY:
        return (fact.unit_label or "USD").upper()
    found = _UNIT.match(fact.unit_label.strip()) if fact.unit_label else None
    return _kind(found) if found else _OWN.get(fact.unit)


def _kind(unit: re.Match[str]) -> str:
    return _KEYS[int((unit.lastgroup or "u0")[1:])]


def _currency(sign: re.Match[str]) -> str:
    return _SIGNS.get(sign[1] or sign[2], sign[2])


def units(text: str, index: FactIndex) -> Iterator[Objection]:
    """Return the units beside references that are not those of the cited facts."""
    for match in REFERENCE.finditer(text):
        fact = index.facts.get(match[1])
        if fact is None:
            continue
        if match[2] == "percent" and fact.value is not None and not _in_percent(fact):
            yield Objection(*match.span(), _instead_of_percent(fact, index))
        if fact.unit in {Unit.TEXT, Unit.DATE}:
            continue
        sign = _BEFORE.search(text[max(0, match.start() - 5) : match.start()])
        if sign:
            if not _fits(_currency(sign), fact):
                yield Objection(match.start() - len(sign[0]), match.end(), _hint(fact))
            continue
        between = _BETWEEN.match(text, match.end())
        unit = _UNIT.match(text, between.end() if between else match.end())
        counted = index.counted
        noun = _NOUN.match(text, match.end()) if unit is None else None
        if noun and noun[1].casefold() in counted and _cannot_count(fact):
            yield Objection(match.start(), noun.end(), _hint(fact))
        if unit is None:
            continue
        kind = _kind(unit)
        if not _fits(kind, fact) and not _is_counted(unit[0], kind, fact):
            yield Objection(match.start(), unit.end(), _hint(fact))


def _cannot_count(fact: Fact) -> bool:
    return fact.unit in {Unit.PERCENT, Unit.CURRENCY, Unit.MINUTES, Unit.SECONDS}


def _fits(kind: str, fact: Fact) -> bool:
    label = (fact.unit_label or "").strip()
    if kind == "points":
        # A relative change is in percent; only a difference of two shares is in points.
        relative = fact.id.endswith(".percent")
        return (fact.change and not relative) or fact.unit is Unit.NUMBER
    if fact.unit is Unit.CURRENCY:
        return kind in _CURRENCIES and (not label or label.upper() == kind)
    if fact.unit is Unit.OTHER or label:
        found = _UNIT.match(label)
        known = _kind(found) if found else None
        if known is None:
            # "Mbit/s" is no second; "h", "pts" and "bed days" may be what is written out.
            return not label or kind == "points" or kind[0] == label[0].casefold() or kind[:3] in label
        return known == kind or (kind == "degrees" and known in _DEGREES)
    return _OWN.get(fact.unit) == kind


def _is_counted(word: str, kind: str, fact: Fact) -> bool:
    """Whether a unit of time is what a fact counts: "[[days_with_delays]] days"."""
    if fact.unit not in {Unit.COUNT, Unit.NUMBER}:
        return False
    named = f"{fact.label} {fact.id}".casefold()
    return word.casefold()[:4] in named and (kind not in _CURRENCIES or fact.unit is Unit.NUMBER)


def _hint(fact: Fact) -> str:
    own = fact.unit_label or fact.unit.value
    return f"the fact is in {own}, and prints with its unit"


def _in_percent(fact: Fact) -> bool:
    return fact.unit is Unit.PERCENT or (fact.change and fact.id.endswith(".percent"))


def _instead_of_percent(fact: Fact, index: FactIndex) -> str:
    """Say what a fact is in, and which facts are its change in percent."""
    base = fact.id.rpartition(".")[0] if fact.id.endswith(".delta") else fact.id
    percents = [
        name for c in fact.comparisons if (name := f"{fact.id}.{c.id}.percent") in index.facts
    ] or [name for name in (f"{base}.percent",) if name in index.facts]
    instead = f"; its change in percent is {' or '.join(f'[[{name}]]' for name in percents)}"
    return f"{_hint(fact)}{instead if percents else ''}"

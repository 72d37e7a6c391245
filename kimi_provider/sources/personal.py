"""Personal data in texts: found by its form and its check digits, and blotted out. No I/O."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_EMAIL = re.compile(r"[\w.%+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")

# Candidates; what of one is an IBAN or a card, its check digits say.
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ \u00a0-]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])"
)
_SHORTEST_IBAN = 15
_FEWEST_IN_IBAN = 2
_IBAN_MODULUS = 97
# The first digit tells cards from times in milliseconds and most ids.
_CARD = re.compile(r"(?<![\w.-])[2-6](?:[ \u00a0-]?[0-9]){12,18}(?![\w-])(?!\.[0-9])")
_SHORTEST_CARD = 13
_PARTS = re.compile(r"[ \u00a0-]")

# Lookarounds keep dates, times, addresses of machines, ids in hexadecimal and fractions out.
_BEFORE = r"(?<![\w+])(?<![0-9][.,:/])(?<![0-9A-Fa-f]-)"
_GAP = r"[ \u00a0./-]"
_PHONE = re.compile(
    r"(?:"
    # International: +48 22 123 45 67, +1 (212) 555-0123, 0049 30/123456.
    rf"(?:(?<![0-9+])\+|{_BEFORE}00(?=[1-9][0-9]{{0,2}}{_GAP}))[1-9](?:{_GAP}?\(?[0-9]\)?){{6,14}}"
    # With an area code in parentheses: (212) 555-0123, (0)20 7946 0958.
    rf"|(?<![0-9])\([0-9]{{1,5}}\)(?:{_GAP}?[0-9]){{5,10}}"
    # With a trunk prefix: 020 7946 0958, 0171/1234567, 01 23 45 67 89.
    rf"|{_BEFORE}0[1-9][0-9]{{0,4}}{_GAP}[0-9](?:{_GAP}?[0-9]){{4,9}}"
    # In threes: 212-555-0123, 501 234 567.
    rf"|{_BEFORE}[1-9][0-9]{{2}}(?P<gap>{_GAP})[0-9]{{3}}(?P=gap)[0-9]{{3,4}}"
    r")(?![0-9])(?![.,:/-][0-9])"
)
_FRACTION = re.compile(r"\+?[0-9]+\.[0-9]+")
_EUROPEAN_DATE = re.compile(r"[0-9]{1,2}([./ -])[0-9]{1,2}\1(?:19|20)[0-9]{2}(?![0-9])")
_FEWEST_DIGITS = 7
_BARE = re.compile(r"\+?[0-9](?:[ \u00a0()./-]{0,2}[0-9]){6,14}")
# Dates and times would pass for numbers with dashes.
_DATE = re.compile(r"(?:19|20)[0-9]{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12][0-9]|3[01])")
_NO_PHONES = (_DATE, _EUROPEAN_DATE, _FRACTION)

# Longer texts are rarely seen twice, and would fill the memory.
_LONGEST_REMEMBERED = 200


def blot(text: str, *, whole: bool = False) -> str:
    """Return a text with e-mail addresses, IBANs, payment cards and phone numbers blotted out.

    :param whole: also blot a text that is nothing but 7 to 15 digits, which in free text would be any
        number, but in a column of phone numbers is one.
    """
    if len(text) <= _LONGEST_REMEMBERED:
        return _remembered(text, whole)
    return _blot(text, whole)


@lru_cache(maxsize=8_192)
def _remembered(text: str, whole: bool) -> str:
    return _blot(text, whole)


def _blot(text: str, whole: bool) -> str:
    if "@" in text:
        text = _EMAIL.sub("[email]", text)
    digits = sum(map(text.count, "0123456789"))
    if digits < _FEWEST_IN_IBAN:
        return text
    text = _scan(text, _IBAN, _SHORTEST_IBAN, _is_iban, "[iban]")
    if digits < _FEWEST_DIGITS:
        return text
    text = _scan(text, _CARD, _SHORTEST_CARD, _is_card, "[card]")
    text = _PHONE.sub(_phone, text)
    bare = text.strip()
    if whole and _BARE.fullmatch(bare) and not any(form.fullmatch(bare) for form in _NO_PHONES):
        return "[phone]"
    return text


def _scan(
    text: str, candidates: re.Pattern[str], shortest: int, check: Callable[[str], bool], mark: str
) -> str:
    """Replace what passes the check, wherever in a candidate it begins and ends."""
    kept: list[str] = []
    done = position = 0
    while found := candidates.search(text, position):
        end = _end(found, shortest, check)
        if end is None:
            position = found.start() + 1
        else:
            kept += (text[done : found.start()], mark)
            done = position = end
    return "".join((*kept, text[done:])) if kept else text


def _end(found: re.Match[str], shortest: int, check: Callable[[str], bool]) -> int | None:
    """Return where the longest passing part of a candidate ends, which other words may follow."""
    text = found.group()
    for end in (len(text), *(part.start() for part in reversed([*_PARTS.finditer(text)]))):
        compact = _PARTS.sub("", text[:end])
        if len(compact) < shortest:
            return None
        if check(compact):
            return found.start() + end
    return None


def _is_iban(text: str) -> bool:
    digits = "".join(str(int(character, 36)) for character in text[4:] + text[:4])
    return int(digits) % _IBAN_MODULUS == 1


def _is_card(text: str) -> bool:
    digits = [int(character) for character in text]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def _phone(found: re.Match[str]) -> str:
    text = found.group()
    return text if _FRACTION.fullmatch(text) or _EUROPEAN_DATE.match(text) else "[phone]"

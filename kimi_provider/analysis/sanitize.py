"""Text from data, made safe to put before a model: visible, on one line, and fenced."""

from __future__ import annotations

import hashlib
import re
import unicodedata

CELL_LIMIT = 200
"""Characters of a free-text cell that a prompt shows; longer ones end in an ellipsis."""

# Letters by category, yet blank on screen, or selectors that can carry hidden bytes: Unicode calls
# them default ignorable, and none has a use in a report.
_HIDDEN = frozenset(
    map(
        chr,
        (
            0x034F,  # combining grapheme joiner
            *(0x115F, 0x1160, 0x3164, 0xFFA0),  # Hangul fillers
            *(0x17B4, 0x17B5),  # Khmer inherent vowels
            *range(0x180B, 0x1810),  # Mongolian selectors
            *range(0xFE00, 0xFE10),  # variation selectors
            *range(0xE0000, 0xE1000),  # tags and further variation selectors
        ),
    )
)
_DOUBLE = re.compile(r"(\[(?=\[)|\](?=\]))")
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # control, format, surrogate, private, unassigned


def clean(text: str) -> str:
    r"""Strip what a reader cannot see: control, zero-width, bidirectional and tag characters.

    Line ends become ``\n`` and stay, as do tabs; everything visible stays as it is, markup and
    template syntax too: it is text, and nobody renders it.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = lines.replace("\u2028", "\n").replace("\u2029", "\n").replace("\x85", "\n")
    return "".join(c for c in lines if c in "\n\t" or _visible(c))


def one_line(text: str, limit: int = CELL_LIMIT) -> str:
    """Return the text cleaned, on one line, at most ``limit`` characters long.

    :param limit: characters to keep; a longer text ends in ``…`` within the limit.
    """
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def fenced(tag: str, text: str) -> str:
    """Put a block of data between marks that nothing in the data can close.

    :param tag: name of the block, such as ``facts``.
    :param text: the data, cleaned already.

    The mark is a digest of the data itself: whoever writes the data would have to put the digest of
    the whole into it. A random one would be as safe, but would make each retry a different request,
    and the journal could not know it again. Double brackets are set apart, so that nothing in the
    data can pass for a reference to a fact.
    """
    text = _DOUBLE.sub(r"\1 ", text)
    mark = hashlib.sha256(f"{tag}\n{text}".encode()).hexdigest()[:16]
    while mark in text:
        mark = hashlib.sha256(mark.encode()).hexdigest()[:16]
    edge = f'{tag} fence="{mark}"'
    body = text if text.endswith("\n") else text + "\n"
    return f"<{edge}>\n{body}</{edge}>"


def _visible(character: str) -> bool:
    return character not in _HIDDEN and unicodedata.category(character) not in _DROPPED

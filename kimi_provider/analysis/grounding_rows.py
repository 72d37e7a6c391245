"""Figures that stand beside the name of another row than their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.analysis.grounding_kinds import Objection
from kimi_provider.analysis.words_list import word_set

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kimi_provider.analysis.grounding_index import FactIndex
    from kimi_provider.analysis.grounding_text import Sentence, Token

_COMPARING = word_set("""
    than against versus vs unlike behind ahead beside besides like after before above below over under
    compared comparison contrast alongside following next except from between exceeds exceeded both and
    or matches matched beats beat trails trailed topped outperformed overtook overtakes leads led
    instead not by niż od wobec względem poza oprócz przed za po nad pod między oraz i obok zamiast nie
    jak podobnie whereas while with
""")
"""Words that bring in somebody else's figure."""


def strangers(sentence: Sentence, index: FactIndex) -> Iterator[Objection]:
    """Return the figures of a clause that names one row, spelled as in the data, and cites another's.

    Only what is plain is held against a text: one name, before one row's figures, and nothing that
    compares; the cited row's own name is nowhere in the sentence.
    """
    named_at_all = index.rows_named(sentence.tokens)
    for clause in sentence.clauses:
        first = next((at for at, token in enumerate(clause) if token.cited is not None), None)
        if not first:
            continue
        before = clause[:first]
        if any(token.lower in _COMPARING for token in before):
            continue
        token = clause[first]
        fact, _ = index.base(token.cited or "")
        cell = index.cells.get(fact.id) if fact else None
        if cell is None or (cell.table.id, cell.row) in named_at_all:
            continue
        keys = [at for at, column in enumerate(cell.table.columns) if column.key]
        named = [row for table, row in index.rows_named(before) if table == cell.table.id]
        own = {cell.table.rows[cell.row][at] for at in keys}
        if len(named) != 1 or len(keys) != 1 or not _spelled(cell.table.rows[named[0]][keys[0]], before):
            continue
        yield Objection(token.start, token.end, f"this is the figure of {', '.join(sorted(own))}")


def _spelled(name: str, tokens: Sequence[Token]) -> bool:
    """Whether a row's name, or its first word, stands there with its capitals."""
    first = name.split(maxsplit=1)[0].rstrip(",.")
    return any(token.text.removesuffix("'s").removesuffix("\u2019s") == first for token in tokens)

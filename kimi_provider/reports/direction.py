"""Figures among letters that are written right to left: each apart, so that its sign stays before it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kimi_provider.reports.text import isolated

if TYPE_CHECKING:
    from kimi_provider.reports.document import Card, Change, Document


def set_apart(document: Document) -> Document:
    """Isolate the figures of the cards; those in prose and in cut tables are already."""
    return replace(document, cards=tuple(_card(card) for card in document.cards))


def _card(card: Card) -> Card:
    return replace(
        card, value=isolated(card.value), changes=tuple(_change(change) for change in card.changes)
    )


def _change(change: Change) -> Change:
    return replace(change, amount=isolated(change.amount), share=isolated(change.share))

"""Parsed Markdown as a small tree, for renderings that are not HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from markdown_it.token import Token

_KINDS = {
    "paragraph": "paragraph",
    "heading": "heading",
    "bullet_list": "list",
    "ordered_list": "numbered",
    "list_item": "item",
    "blockquote": "quote",
    "strong": "strong",
    "em": "em",
    "link": "link",
}
_LITERAL = {"code_inline": "literal", "fence": "code", "code_block": "code"}


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of text.

    ``kind`` is one of the blocks ``paragraph``, ``heading``, ``list``, ``numbered``, ``item``,
    ``quote``, ``code``, ``rule``, or within a line one of ``text``, ``figure``, ``strong``, ``em``,
    ``link``, ``literal``, ``break``. ``text`` is a leaf's, and a link's address; ``start`` is the
    first number of a numbered list.
    """

    kind: str
    text: str = ""
    children: tuple[Node, ...] = ()
    start: int = 1


def tree(tokens: Sequence[Token], fill: Callable[[str], Iterable[Node]]) -> tuple[Node, ...]:
    """Make the tree of parsed Markdown.

    :param tokens: what markdown-it parsed, already cut down to what is allowed.
    :param fill: puts the figures into a leaf's text.
    """
    return tuple(_nodes(iter(tokens), fill))


def _nodes(tokens: Iterator[Token], fill: Callable[[str], Iterable[Node]]) -> Iterator[Node]:
    """Yield the nodes up to the end, or to the closing token of the node that they are in."""
    for token in tokens:
        name, _, side = token.type.rpartition("_")
        if token.type == "inline":
            yield from _nodes(iter(token.children or ()), fill)
        elif token.type == "text":
            yield from fill(token.content)
        elif token.type in _LITERAL:
            text = "".join(node.text for node in fill(token.content))
            yield Node(_LITERAL[token.type], text.rstrip("\n"))
        elif token.type == "softbreak":
            yield Node("text", " ")
        elif token.type in ("hardbreak", "hr"):
            yield Node("break" if token.type == "hardbreak" else "rule")
        elif side == "close":
            return
        elif side == "open" and name in _KINDS:
            children = tuple(_nodes(tokens, fill))
            text = str(token.attrGet("href") or "") if name == "link" else ""
            yield Node(_KINDS[name], text, children, int(token.attrGet("start") or 1))

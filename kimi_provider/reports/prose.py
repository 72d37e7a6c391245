"""The model's text, made fit to print: Markdown without HTML, references as figures.

The order is what makes it safe. References become marks that mean nothing in Markdown or HTML; the
model's text is parsed, cut down and sanitized; only then does each mark become its value, escaped, in
one pass. So a value, which may be any text from the data, is never parsed as Markdown, HTML or another
reference, and the model's words never become markup that we do not allow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, repeat
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from markupsafe import Markup, escape

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.format import Formatter, Style
from kimi_provider.reports.text import clipped, isolated, one_line, strip_hidden
from kimi_provider.reports.tree import Node, tree
from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    from kimi_provider.schemas import Fact

_REFERENCE = re.compile(r"\[\[\s*([A-Za-z0-9_.-]+)\s*(?:\|\s*(\w+)\s*)?\]\]")
# What stands behind a sentence that a check objected to; it may be read in any language.
_UNVERIFIED = "[[~note:unverified]]"
# Private-use characters, which strip_hidden() has removed from the model's text before.
_MARK = re.compile("\ue000(\\d+)\ue001")
_MARK_AND_STOP = re.compile("(\ue000(\\d+)\ue001)\\.(?!\\.)")
_BARE_LINK = re.compile(r"(?:\b[a-z][a-z0-9+.-]*://|\bwww\.)[^\s<>]+", re.IGNORECASE)
_LEAVES = {"softbreak": " ", "hardbreak": "\n"}
_TAGS = {"a", "blockquote", "br", "code", "em", "h4", "hr", "li", "ol", "p", "pre", "strong", "ul"}
_SENTENCE_END = re.compile(r"(?<=[.!?…。؟])\s+|\n+")
# A short figure must not be torn apart at a line's end; a long name must be.
_UNBREAKABLE = 24


@dataclass(frozen=True, slots=True)
class RichText:
    """One text for every rendering: safe HTML, the same words plain, and as a tree."""

    html: Markup
    text: str
    tree: tuple[Node, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to print."""
        return bool(self.text)


class _Value(NamedTuple):
    """What a reference prints as."""

    fact_id: str
    text: str
    html: Markup


@dataclass(frozen=True)
class Prose:
    """Prints the model's texts with their figures.

    :param facts: by id; what references may name.
    :param formatter: how figures print.
    :param link_hosts: hosts that a link may lead to, over https; other links keep only their words.
    """

    facts: Mapping[str, Fact]
    formatter: Formatter = field(default_factory=Formatter)
    link_hosts: Collection[str] = ()

    def line(self, text: str, limit: int | None = None) -> str:
        """Print a title or a subject: one plain line without Markdown.

        :param limit: most characters.
        :raises RenderError: if a reference names no fact or no style.
        """
        marked, values = self._mark(text)
        tokens = self._allowed(self._markdown.parseInline(_joined(_one_stop(marked, values))))
        return clipped(_fill_plain(_plain(tokens), values), limit)

    def inline(self, text: str) -> RichText:
        """Print a text of one paragraph.

        :raises RenderError: if a reference names no fact or no style.
        """
        return self._rich(text, block=False)

    def paragraphs(self, text: str) -> RichText:
        """Print a text of any length: paragraphs, lists, emphasis.

        :raises RenderError: if a reference names no fact or no style.
        """
        return self._rich(text, block=True)

    def sentences(self, text: str) -> list[tuple[str, tuple[str, ...]]]:
        """Return each sentence as it prints, with the ids of the facts that it cites, in order.

        :raises RenderError: if a reference names no fact or no style.
        """
        marked, values = self._mark(text)
        plain = _plain(self._allowed(self._markdown.parse(marked)))
        return [
            (
                clipped(_fill_plain(_one_stop(sentence, values), values)),
                tuple(dict.fromkeys(values[int(mark[1])].fact_id for mark in _MARK.finditer(sentence))),
            )
            for sentence in _SENTENCE_END.split(plain)
            if sentence.strip()
        ]

    @cached_property
    def _markdown(self) -> MarkdownIt:
        from markdown_it import MarkdownIt

        return MarkdownIt("commonmark", {"html": False})

    def _rich(self, text: str, *, block: bool) -> RichText:
        import nh3

        marked, values = self._mark(text)
        marked, parser = _one_stop(marked, values), self._markdown
        tokens = self._allowed(parser.parse(marked) if block else parser.parseInline(_joined(marked)))
        markup = nh3.clean(
            parser.renderer.render(tokens, parser.options, {}),
            tags=_TAGS,
            attributes={"*": set(), "a": {"href"}},
            url_schemes={"https"},
            link_rel="noopener noreferrer",
        )
        html = _MARK.sub(lambda mark: values[int(mark[1])].html, markup)
        return RichText(
            Markup(html.strip()),  # noqa: S704 — sanitized above
            _fill_plain(_plain(tokens), values),
            tree(tokens, lambda words: _filled(words, values)),
        )

    def _mark(self, text: str) -> tuple[str, list[_Value]]:
        """Replace each reference by a mark; return the text and what each mark stands for."""
        values: list[_Value] = []

        def mark(match: re.Match[str]) -> str:
            values.append(self._value(match[1], match[2]))
            return f"\ue000{len(values) - 1}\ue001"

        note = f"({self.formatter.words['unverified']})"
        marked = _REFERENCE.sub(mark, strip_hidden(text).replace(_UNVERIFIED, note))
        broken = re.search(r"\[\[.{0,60}", marked)
        if broken:
            raise RenderError(
                "The analysis has a malformed reference near "
                f"{one_line(broken[0], 40)!r}. A reference is written [[fact_id]] or [[fact_id|style]]."
            )
        return marked, values

    def _value(self, fact_id: str, style: str | None) -> _Value:
        fact = self.facts.get(fact_id)
        if fact is None:
            raise RenderError(
                f"The analysis cites the fact {fact_id!r}, which is not among its facts. "
                "Was it analyzed over other data? Run the analysis again."
            )
        try:
            value = self.formatter.fact(fact, Style(style or Style.PROSE))
        except ValueError as error:
            raise RenderError(
                f"The analysis asks for the fact {fact_id!r} in the style {style!r}. "
                f"Styles are: {', '.join(Style)}."
            ) from error
        right_to_left = self.formatter.direction == "rtl"
        text = isolated(value) if right_to_left else value
        if fact.unit is Unit.TEXT or isinstance(fact.value, str):
            # Names come from the data: their direction must not reorder our sentence.
            return _Value(fact_id, text, Markup("<bdi>{}</bdi>").format(value))
        if len(value) <= _UNBREAKABLE:
            return _Value(fact_id, text, Markup('<span class="figure">{}</span>').format(text))
        return _Value(fact_id, text, escape(text))

    def _allowed(self, tokens: Sequence[Token]) -> list[Token]:
        """Take images and foreign links out, and make every heading a small one."""
        kept: list[Token] = []
        open_links: list[bool] = []
        for token in tokens:
            if token.type == "image":
                continue
            if token.type == "link_open":
                open_links.append(self._may_link(str(token.attrGet("href") or "")))
            allowed = open_links.pop() if token.type == "link_close" else all(open_links[-1:])
            if token.type in ("link_open", "link_close") and not allowed:
                continue
            if token.type in ("heading_open", "heading_close"):
                token.tag = "h4"
            if token.type in ("text", "code_inline", "fence", "code_block"):
                token.content = _BARE_LINK.sub(self._bare_link, token.content)
            if token.children is not None:
                token.children = self._allowed(token.children)
            kept.append(token)
        return kept

    def _may_link(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        # %EE%80%80 is a mark: a figure in an address would carry data out.
        return parts.scheme == "https" and parts.hostname in self.link_hosts and "%EE%80%80" not in url

    def _bare_link(self, match: re.Match[str]) -> str:
        """Take foreign addresses out of running text: mail clients make links of them by themselves."""
        return match[0] if self._may_link(match[0]) else self.formatter.words["link_removed"]


def _one_stop(marked: str, values: Sequence[_Value]) -> str:
    """Let what ends in a full stop ("3 sek.") end its sentence too."""

    def stop(match: re.Match[str]) -> str:
        return match[1] if values[int(match[2])].text.endswith(".") else match[0]

    return _MARK_AND_STOP.sub(stop, marked)


def _joined(marked: str) -> str:
    """Return marked text as one line; one_line() would take the marks out."""
    return " ".join(marked.split())


def _fill_plain(text: str, values: Sequence[_Value]) -> str:
    return _MARK.sub(lambda mark: values[int(mark[1])].text, text).strip()


def _filled(text: str, values: Sequence[_Value]) -> Iterator[Node]:
    """Split text at its marks: words between them, and a figure for each."""
    for at, part in enumerate(_MARK.split(text)):
        if at % 2:
            yield Node("figure", values[int(part)].text)
        elif part:
            yield Node("text", part)


def _plain(tokens: Sequence[Token]) -> str:
    """Return parsed Markdown as plain text: paragraphs apart, list items with a dash or their number."""
    out: list[str] = []
    lists: list[Iterator[str]] = []  # the markers to come, one iterator for each list that we are in
    for token in tokens:
        if token.type == "bullet_list_open":
            lists.append(repeat("- "))
        elif token.type == "ordered_list_open":
            lists.append(f"{number}. " for number in count(int(token.attrGet("start") or 1)))
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            lists.pop()
            out.append("" if lists else "\n")
        elif token.type == "list_item_open":
            out.append("  " * (len(lists) - 1) + next(lists[-1]))
        elif token.type in ("paragraph_close", "heading_close"):
            out.append("\n" if lists else "\n\n")
        else:
            out.append(_LEAVES.get(token.type) or _plain(token.children or ()) or token.content)
    return "".join(out)

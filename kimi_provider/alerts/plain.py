"""The other part of a mail for which someone wrote only one: text of HTML, and HTML of text."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

_BLOCKS = frozenset(
    {
        "address", "article", "blockquote", "br", "div", "dl", "dt", "dd", "footer", "form", "h1", "h2",
        "h3", "h4", "h5", "h6", "header", "hr", "li", "ol", "p", "pre", "section", "table", "tr", "ul",
    }
)  # fmt: skip
_HIDDEN = frozenset({"head", "script", "style", "template", "title"})


def text_of_html(source: str) -> str:
    """Return what a reader of HTML sees, as plain text: a line a block, links with their address.

    :param source: HTML, well formed or not.
    """
    reader = _Reader()
    reader.feed(source)
    reader.close()
    lines = [" ".join(line.split()) for line in "".join(reader.parts).splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def html_of_text(text: str) -> str:
    """Return plain text as HTML that shows it as it is."""
    style = "font-family:Arial,Helvetica,sans-serif;font-size:14px;white-space:pre-wrap"
    body = html.escape(text).replace("\n", "<br>\n")
    return f'<div style="{style}">{body}</div>'


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0
        self._links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _BLOCKS:
            self.parts.append("\n")
        elif tag in {"td", "th"}:
            self.parts.append(" ")
        elif tag == "img":
            self.handle_data(given.get("alt") or "")
        elif tag == "a":
            self._links.append(given.get("href"))

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(self._hidden - 1, 0)
        elif tag in _BLOCKS:
            self.parts.append("\n")
        elif tag == "a" and self._links:
            href = self._links.pop()
            if href and href.startswith(("http://", "https://")):
                self.handle_data(f" ({href})")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            # Line breaks in the source are spaces to its reader.
            self.parts.append(data.replace("\n", " "))

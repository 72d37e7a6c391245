"""The readable text of a web page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from kimi_provider.analysis.sanitize import clean

_CHARSET = re.compile(r"charset=[\"']?([\w-]+)", re.IGNORECASE)
_HIDDEN = {"script", "style", "noscript", "template", "svg", "head"}
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figure", "footer"),
    *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p"),
    *("pre", "section", "table", "td", "th", "tr", "ul"),
}


def page_text(data: bytes, content_type: str) -> str:
    """Return a page's visible text; anything but HTML comes back as it is, decoded.

    :param data: the body.
    :param content_type: its media type, as the server says.
    """
    found = _CHARSET.search(content_type)
    try:
        text = data.decode(found[1] if found else "utf-8", "replace")
    except LookupError:
        text = data.decode("utf-8", "replace")
    if "html" not in content_type.lower():
        return clean(text)
    reader = _Reader()
    reader.feed(text)
    reader.close()
    lines = (" ".join(line.split()) for line in clean("".join(reader.parts)).splitlines())
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    """Collects text, with a line for each block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line at a block, and skip what nobody reads."""
        del attrs
        if tag == "body":
            self._hidden.clear()
        if tag in _HIDDEN:
            self._hidden.append(tag)
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """End what was skipped."""
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        """Keep text that is seen."""
        if not self._hidden:
            self.parts.append(data)

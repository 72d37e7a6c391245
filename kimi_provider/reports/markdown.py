"""The report as Markdown (CommonMark with GitHub's tables), for chats, wikis and repositories."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kimi_provider.reports.document import Card, Document, Footnote, Query, TableBlock
    from kimi_provider.reports.tree import Node

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&$])")
# At the start of a line these make lists and headings.
_LINE_START = re.compile(r"^(\s*)([-+=]|\d+(?=[.)](?:\s|$)))", re.MULTILINE)
_INLINE = {"strong": "**", "em": "*"}


def markdown(document: Document, words: Mapping[str, str]) -> str:
    """Write the report as Markdown.

    :param words: the fixed words of the report's language.

    Text from the data and the model is escaped: it cannot become a heading, a link, HTML or a table.
    Charts are told by their captions.
    """
    parts = (*_opening(document, words), *_body(document, words), *_closing(document, words))
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


def escaped(text: str) -> str:
    """Return text that Markdown prints as it is."""
    plain = _SPECIAL.sub(r"\\\1", text)
    return _LINE_START.sub(lambda m: f"{m[1]}{_escape_start(m[2])}", plain)


def _escape_start(text: str) -> str:
    return f"{text}\\" if text.isdigit() else f"\\{text}"


def _opening(document: Document, words: Mapping[str, str]) -> Iterator[str]:
    yield f"# {escaped(document.headline)}"
    yield " · ".join(f"**{escaped(part)}**" for part in (document.title, document.period) if part)
    if document.provenance.simulated:
        yield f"> **{words['simulated']}** {words['simulated_detail']}"
    if document.fallback:
        yield f"> {escaped(document.fallback)}"
    if document.cards:
        yield f"## {words['kpis']}"
        yield "\n".join(_card(card) for card in document.cards)
    yield _blocks(document.summary.tree)


def _body(document: Document, words: Mapping[str, str]) -> Iterator[str]:
    if not document.empty:
        yield f"## {words['findings']}"
        if not document.findings:
            yield words["no_findings"]
    for finding in document.findings:
        yield f"### {escaped(finding.level)}: {escaped(finding.title)}"
        yield _blocks(finding.detail.tree)
    if document.actions:
        yield f"## {words['actions']}"
        yield "\n".join(
            f"{number}. {_inline(action.tree)}"
            for number, action in enumerate(document.actions, start=1)
        )
    for chart in document.charts:
        yield f"## {escaped(chart.title)}"
        yield escaped(chart.caption)
    for table in document.tables:
        yield f"## {escaped(table.title)}"
        yield _table(table)
        yield escaped(table.more)


def _closing(document: Document, words: Mapping[str, str]) -> Iterator[str]:
    if document.notes:
        yield f"## {words['notes']}"
        yield "\n".join(f"- {escaped(note)}" for note in document.notes)
    if document.attached:
        yield f"{words['attached']}: {', '.join(map(escaped, document.attached))}"
    if document.footnotes:
        yield f"## {words['footnotes']}"
        yield from _footnotes(document.footnotes, document.queries, words)
    yield "---"
    yield words["how"]
    yield "\n".join(f"- {name}: {escaped(value)}" for name, value in _origin(document, words) if value)


def _origin(document: Document, words: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    origin = document.provenance
    return (
        (words["period"], document.period),
        (words["model"], origin.model),
        (words["data"], origin.sources),
        (words["cost"], f"{origin.cost} · {origin.calls}"),
        (words["grounding"], origin.grounding),
        (words["generated"], origin.generated),
        (words["timezone"], origin.timezone),
    )


def _card(card: Card) -> str:
    lines = [f"- {escaped(card.label)}: **{escaped(card.value)}**"]
    for change in card.changes:
        share = f" ({change.share})" if change.share else ""
        lines.append(escaped(f"{change.arrow} {change.amount}{share}, {change.words}"))
    if card.trend:
        lines.append(escaped(card.trend))
    return "  \n  ".join(lines)


def _table(table: TableBlock) -> str:
    if not table.rows:
        return ""
    heads = [f"{h.label}, {h.unit}" if h.unit else h.label for h in table.headings]
    rules = ["---:" if heading.number else "---" for heading in table.headings]
    rows = [[_cell(text) for text in row] for row in (heads, *table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rules, *rows[1:]))


def _cell(text: str) -> str:
    return " ".join(_SPECIAL.sub(r"\\\1", text).split("\n"))


def _footnotes(
    notes: Sequence[Footnote], queries: Sequence[Query], words: Mapping[str, str]
) -> Iterator[str]:
    for note in notes:
        lines = [f"{note.number}. {escaped(note.sentence)}"]
        for figure in note.figures:
            cited = escaped(f"{figure.label}: {figure.value}")
            lines.append(f"   - {cited} (`{figure.fact_id}`, {words['query']} {figure.query})")
        yield "\n".join(lines)
    for query in queries:
        over = f" ({escaped(', '.join(query.datasets))})" if query.datasets else ""
        yield f"**{words['query']} {query.number}**{over}"
        yield _fenced(query.sql, "sql")


def _blocks(nodes: Iterable[Node], indent: str = "") -> str:
    """Write blocks, each apart from the next by an empty line."""
    parts = [_block(node) for node in nodes]
    text = "\n\n".join(part for part in parts if part)
    return text.replace("\n", f"\n{indent}") if indent else text


def _block(node: Node) -> str:
    if node.kind in ("list", "numbered"):
        marks = [
            "- " if node.kind == "list" else f"{node.start + at}. " for at in range(len(node.children))
        ]
        return "\n".join(
            mark + _blocks(item.children, " " * len(mark))
            for mark, item in zip(marks, node.children, strict=True)
        )
    if node.kind == "heading":
        return f"#### {_inline(node.children)}"
    if node.kind == "quote":
        return "> " + _blocks(node.children).replace("\n", "\n> ")
    if node.kind == "code":
        return _fenced(node.text, "")
    if node.kind == "rule":
        return "---"
    return _inline(node.children) if node.children else _inline((node,))


def _inline(nodes: Iterable[Node]) -> str:
    return "".join(_leaf(node) for node in nodes)


def _leaf(node: Node) -> str:
    if node.kind in _INLINE:
        return f"{_INLINE[node.kind]}{_inline(node.children)}{_INLINE[node.kind]}"
    if node.kind == "link":
        return f"[{_inline(node.children)}](<{node.text}>)"
    if node.kind == "literal":
        ticks = "`" * (_longest_run(node.text) + 1)
        return f"{ticks} {node.text} {ticks}"
    return "\\\n" if node.kind == "break" else escaped(node.text)


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)

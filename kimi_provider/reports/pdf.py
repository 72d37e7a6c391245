"""The report as PDF (PDF/UA-1: tagged, titled, with bookmarks), typeset by Typst in process.

Typst refuses to write a PDF/UA with a character that no font has, so what is written is whole; such
characters are named in brackets before a second try. Its template sees the report as JSON and no
file but those it is given, and nothing in the report is read as markup.
"""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import RenderError, TemplateError
from kimi_provider.reports.fit import latest, widths
from kimi_provider.reports.text import isolated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.document import Card, DataTable, Document
    from kimi_provider.reports.format import Formatter

_DEFAULT = "report.typ"
# Tried in turn for each character; the last is inside Typst itself, for machines without fonts.
_FONTS = ("Noto Sans", "Liberation Sans", "Arial", "DejaVu Sans", "Libertinus Serif")
_NO_GLYPH = re.compile(r'the text `"(.+?)"` could not be displayed')
# Names in brackets help for a few emoji; a text of them is not readable any more.
_MOST_NAMED = 40
_TRIES = 4
_PROBE = """\
#let told = json("characters.json")
#set document(title: "x")
#set text(font: told.fonts)
#for character in told.characters { par(character) }
"""
_MAX_COLUMNS = 8
_MAX_ROWS = 5_000
_TEXT_LIMIT = 400


def pdf(
    document: Document,
    formatter: Formatter,
    brand: Brand,
    *,
    template: str,
    search_path: Sequence[Path],
    now: datetime,
) -> bytes:
    """Typeset the report.

    :param template: name of the report's template; ``{template}.typ``, else ``report.typ``, is used.
    :param search_path: folders of templates, the first that has a name wins; fonts in a folder
        ``fonts`` beside the templates are used too.
    :param now: when the report is made; goes into the file's properties.
    :raises TemplateError: if there is no such template, or it is malformed; has its place in it.
    :raises RenderError: if Typst is not installed, or too many characters are in no font.
    """
    try:
        import typst
    except ImportError as error:
        raise RenderError("a PDF needs Typst: pip install 'airflow-provider-kimi[pdf]'") from error
    source = _template(template, search_path)
    fonts = typst.Fonts(font_paths=[f for p in search_path if (f := Path(p) / "fonts").is_dir()])
    with tempfile.TemporaryDirectory(prefix="kimi-pdf-") as name:
        folder = Path(name)
        report = _report(document, formatter, brand, folder, families=set(fonts.families()))
        main = folder / source.name
        main.write_bytes(source.read_bytes())
        named = {c: _name(c) for c in _unprintable(report, folder, fonts)}
        for _ in range(_TRIES if len(named) <= _MOST_NAMED else 0):
            report["unprintable"] = [formatter.counted("glyphs", len(named))] if named else []
            text = json.dumps(report, ensure_ascii=False)
            (folder / "report.json").write_text(_with_names(text, named), encoding="utf-8")
            try:
                made: bytes = typst.compile(
                    main,
                    root=folder,
                    font_paths=fonts,
                    format="pdf",
                    pdf_standards="ua-1",
                    timestamp=int(now.timestamp()),
                )
            except typst.TypstError as error:
                missing = _missing(error.message)
                if not missing:
                    raise TemplateError(f"Template {source.name!r}: {_first(error.message)}") from error
                named |= {character: _name(character) for character in missing}
            else:
                return made
    most = "more than " if len(named) > _MOST_NAMED else ""
    count = min(len(named), _MOST_NAMED)
    raise RenderError(
        f"the fonts of this machine have no glyphs for {most}{count} of its characters, such as "
        f"U+{ord(next(iter(named))):04X}; install fonts that have them (Debian: fonts-noto), or put "
        "them into a folder fonts beside the templates"
    )


def _template(name: str, search_path: Sequence[Path]) -> Path:
    for wanted in (f"{name}.typ", _DEFAULT):
        for folder in search_path:
            if (Path(folder) / wanted).is_file():
                return Path(folder) / wanted
    raise TemplateError(
        f"There is no template {name + '.typ'!r} and no {_DEFAULT!r} in the search path."
    )


def _unprintable(report: Mapping[str, Any], folder: Path, fonts: Any) -> list[str]:
    """Return the characters of the report that no font has, up to one more than may be named.

    Typst tells of one or a few at a time, so they are looked for in a page that has nothing else.
    """
    import typst

    text = json.dumps(report, ensure_ascii=False)
    left = sorted({c for c in text if not c.isascii() and _needs_glyph(c)})
    main = folder / "characters.typ"
    main.write_text(_PROBE, encoding="utf-8")
    found: list[str] = []
    while left and len(found) <= _MOST_NAMED:
        told = json.dumps({"fonts": report["fonts"], "characters": left}, ensure_ascii=False)
        (folder / "characters.json").write_text(told, encoding="utf-8")
        try:
            typst.compile(main, root=folder, font_paths=fonts, format="pdf", pdf_standards="ua-1")
        except typst.TypstError as error:
            missing = [c for c in _missing(error.message) if c in left]
            if not missing:
                break
            found += missing
            left = [c for c in left if c not in missing]
        else:
            break
    return found


def _needs_glyph(character: str) -> bool:
    # What is invisible (joiners, variation selectors) means something to what is around it.
    return unicodedata.category(character) not in ("Cf", "Mn")


def _missing(message: str) -> list[str]:
    """Return the characters without a glyph that an error tells of, Rust's escapes undone."""
    runs = (
        re.sub(r"\\u\{([0-9a-f]+)\}", lambda m: chr(int(m[1], 16)), match[1])
        for match in _NO_GLYPH.finditer(message)
    )
    characters = dict.fromkeys(character for run in runs for character in run)
    return [c for c in characters if _needs_glyph(c)]


def _name(character: str) -> str:
    return f"[{unicodedata.name(character, f'U+{ord(character):04X}').lower()}]"


def _with_names(text: str, named: Mapping[str, str]) -> str:
    """Put names in brackets for what cannot be printed."""
    return text.translate({ord(character): name for character, name in named.items()})


def _first(message: str) -> str:
    return " ".join(message.split("\n\n", maxsplit=1)[0].split())[:300]


def _report(
    document: Document, formatter: Formatter, brand: Brand, folder: Path, *, families: set[str]
) -> dict[str, Any]:
    """Return the report as the template sees it, with its pictures in the folder."""
    words = formatter.words
    language, _, region = document.language.partition("-")
    origin = document.provenance
    own = [brand.font] if getattr(brand, "font", None) else []
    charts = []
    for number, chart in enumerate(document.charts, start=1):
        name = f"chart-{number}.png"
        (folder / name).write_bytes(chart.picture.png)
        charts.append({"title": chart.title, "caption": chart.caption, "alt": chart.alt, "file": name})
    rtl = document.direction == "rtl"
    return {
        "title": document.title,
        "headline": document.headline,
        "preheader": document.preheader,
        "period": document.period,
        "lang": language,
        "region": region if len(region) == 2 else None,  # noqa: PLR2004 — ISO 3166 codes have two letters
        "direction": document.direction,
        "severity": document.severity.value,
        "level": document.level,
        "empty": document.empty,
        "fallback": document.fallback,
        "simulated": origin.simulated,
        "words": dict(words),
        "brand": {
            "name": brand.name,
            "accent": brand.accent,
            "accent_text": brand.accent_text,
            "on_accent": brand.on_accent,
        },
        "fonts": [font for font in (*own, *_FONTS) if font in families],
        "cards": [_card(card, folder, number) for number, card in enumerate(document.cards)],
        "summary": [asdict(node) for node in document.summary.tree],
        "findings": [
            {
                "title": finding.title,
                "detail": [asdict(node) for node in finding.detail.tree],
                "severity": finding.severity.value,
                "level": finding.level,
            }
            for finding in document.findings
        ],
        "actions": [[asdict(node) for node in action.tree] for action in document.actions],
        "charts": charts,
        "tables": _tables(document, formatter, rtl=rtl),
        "notes": list(document.notes),
        "footnotes": [asdict(note) for note in document.footnotes],
        "queries": [asdict(query) for query in document.queries],
        "provenance": [
            [name, value]
            for name, value in (
                (words["model"], origin.model),
                (words["data"], origin.sources),
                (words["cost"], f"{origin.cost} · {origin.calls}"),
                (words["grounding"], origin.grounding),
                (words["generated"], origin.generated),
                (words["timezone"], origin.timezone),
            )
            if value
        ],
    }


def _card(card: Card, folder: Path, number: int) -> dict[str, Any]:
    spark = None
    if card.spark is not None:
        spark = {"file": f"spark-{number}.png"}
        (folder / spark["file"]).write_bytes(card.spark.png)
    changes = [
        {
            "amount": f"{change.arrow} {change.amount}" + (f" ({change.share})" if change.share else ""),
            "words": change.words,
            "tone": change.tone,
        }
        for change in card.changes
    ]
    return {
        "label": card.label,
        "value": card.value,
        "changes": changes,
        "trend": card.trend,
        "spark": spark,
    }


def _tables(document: Document, formatter: Formatter, *, rtl: bool) -> list[dict[str, Any]]:
    """Return the figures without a card, then all tables: every row, as many columns as a page has."""
    tables: list[DataTable] = list(document.data)
    if document.key_figures is not None and len(document.key_figures.rows) > len(document.cards):
        tables.insert(0, document.key_figures)
    return [_table(table, formatter, rtl=rtl) for table in tables]


def _table(table: DataTable, formatter: Formatter, *, rtl: bool) -> dict[str, Any]:
    columns = table.columns[:_MAX_COLUMNS]
    rows, earlier = latest(table, _MAX_ROWS)
    cut = {"more_rows": len(table.rows) - len(rows), "more_columns": len(table.columns) - len(columns)}
    more = [formatter.counted(name, count) for name, count in cut.items() if count]
    if earlier:
        more[0] = f"{more[0]} ({formatter.words['earlier']})"
    if not rows:
        more.append(formatter.words["no_rows"])
    labels = [f"{c.label}, {c.unit}" if c.unit else c.label for c in columns]
    return {
        "title": table.title,
        "columns": [
            {"label": label, "number": c.number} for label, c in zip(labels, columns, strict=True)
        ],
        "widths": widths([(label, *(row[at].text for row in rows)) for at, label in enumerate(labels)]),
        "rows": [
            [
                isolated(cell.text) if rtl and column.number else cell.text[:_TEXT_LIMIT]
                for cell, column in zip(row, columns, strict=False)
            ]
            for row in rows
        ],
        "more": "; ".join(more),
    }

"""From an analysis to a report in storage."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.brand import Brand
from kimi_provider.reports.charts import draw
from kimi_provider.reports.compose import Frame, compose
from kimi_provider.reports.environment import environment, render
from kimi_provider.reports.format import Formatter
from kimi_provider.reports.html import MAX_BYTES, inline_styles, self_contained
from kimi_provider.reports.prose import Prose
from kimi_provider.schemas import InlineImage, ReportRef
from kimi_provider.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from kimi_provider.reports.document import ChartBlock, Document
    from kimi_provider.schemas import Analysis, ChartRequest, FactSheet
    from kimi_provider.storage import StoragePath

log = logging.getLogger(__name__)

# Tried in turn, until the mail is small enough.
_ROWS = (12, 6, 3)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A report as it will be stored: the mail's HTML, the page, the text, and what they print."""

    document: Document
    html: str
    page: str
    text: str


async def build_report(
    analysis: Analysis,
    sheet: FactSheet,
    *,
    template: str,
    search_path: Sequence[Path],
    folder: StoragePath,
    now: datetime,
    title: str | None = None,
    subject: str | None = None,
    brand: Brand | None = None,
    locale: str = "en",
    timezone: str = "UTC",
    link_hosts: Collection[str] = (),
) -> ReportRef:
    """Draw a report and store it.

    :param analysis: what the model wrote.
    :param sheet: all facts of the analysis; every figure in the report is one of them.
    :param template: name of the template, ``daily_brief`` for ``daily_brief.html.j2`` and ``.txt.j2``.
    :param search_path: folders of templates, the first that has a name wins.
    :param folder: where the files go: ``report.html``, ``page.html``, ``report.txt``, the charts.
    :param now: when the report is made, with its offset.
    :param title: name of the report; by default the brand's name.
    :param subject: of the mail, with the fields ``{title}``, ``{period}``, ``{headline}``, ``{level}``.
    :param brand: name and color.
    :param locale: how numbers and dates are written, ``en``, ``en_GB``, ``pl``.
    :param timezone: IANA name of the zone in which times are shown.
    :param link_hosts: hosts that links in the model's text may lead to.
    :raises TemplateError: if a template is missing, malformed or wants what there is not.
    :raises RenderError: if the text cites what is not on the sheet, or the mail is too large.
    :raises ConfigurationError: if locale, time zone or subject are not known.
    :raises OSError: if the storage refuses.

    A chart that cannot be drawn is named in the report, and does not fail it.
    """
    brand = brand or Brand()
    frame = Frame(title=title or brand.name, subject=subject, now=now)
    formatter = Formatter(locale, timezone)
    rendered = await asyncio.to_thread(
        _render,
        analysis,
        sheet,
        prose=Prose({fact.id: fact for fact in sheet.facts}, formatter, link_hosts),
        frame=frame,
        brand=brand,
        template=template,
        search_path=search_path,
    )
    return await asyncio.to_thread(_store, rendered, analysis, folder, now)


def _render(
    analysis: Analysis,
    sheet: FactSheet,
    *,
    prose: Prose,
    frame: Frame,
    brand: Brand,
    template: str,
    search_path: Sequence[Path],
) -> Rendered:
    charts, notes = _draw_all(analysis, sheet, prose, brand)
    env = environment(search_path)
    size = 0
    for max_rows in _ROWS:
        document = compose(analysis, sheet, prose, frame, charts=charts, notes=notes, max_rows=max_rows)
        context = {"doc": document, "brand": brand, "words": prose.formatter.words}
        html = inline_styles(render(env, f"{template}.html.j2", context))
        size = len(html.encode())
        if size <= MAX_BYTES:
            text = render(env, f"{template}.txt.j2", context).strip() + "\n"
            page = self_contained(html, (chart.picture for chart in charts))
            return Rendered(document, html, page, text)
    raise RenderError(
        f"The mail is {size:,} bytes with tables of {_ROWS[-1]} rows; Gmail cuts off mails over "
        f"{MAX_BYTES:,}. Compute fewer tables, or show fewer of them in template {template!r}."
    )


def _draw_all(
    analysis: Analysis, sheet: FactSheet, prose: Prose, brand: Brand
) -> tuple[list[ChartBlock], list[str]]:
    """Draw what is wanted; return the charts, and a note for each that could not be drawn.

    The template and the model may well want the same chart; it is drawn once.
    """
    tables = {table.id: table for table in sheet.tables}
    charts: list[ChartBlock] = []
    notes: list[str] = []
    wanted: dict[tuple[str, ...], ChartRequest] = {}
    for request in analysis.charts:
        wanted.setdefault((request.kind, request.table, request.x, request.y), request)
    for request in wanted.values():
        title = prose.line(request.title, 120)
        try:
            charts.append(
                draw(request, tables, prose.facts, title=title, formatter=prose.formatter, brand=brand)
            )
        except RenderError as error:
            log.warning("A chart of table %r could not be drawn: %s", request.table, error)
            notes.append(prose.formatter.words["chart_failed"].format(title=title, reason=error))
    return charts, notes


def _store(rendered: Rendered, analysis: Analysis, folder: StoragePath, now: datetime) -> ReportRef:
    digest = hashlib.sha256()
    uris: list[str] = []
    contents = {"report.html": rendered.html, "page.html": rendered.page, "report.txt": rendered.text}
    for name, content in contents.items():
        data = content.encode()
        digest.update(hashlib.sha256(data).digest())
        write_bytes(folder / name, data)
        uris.append((folder / name).as_uri())
    images = []
    for number, chart in enumerate(rendered.document.charts, start=1):
        path = folder / f"chart-{number}.png"
        write_bytes(path, chart.picture.png)
        images.append(InlineImage(content_id=chart.picture.content_id, uri=path.as_uri()))
    return ReportRef(
        subject=rendered.document.subject,
        html_uri=uris[0],
        page_uri=uris[1],
        text_uri=uris[2],
        images=tuple(images),
        period=analysis.period,
        severity=analysis.severity,
        sha256=digest.hexdigest(),
        created_at=now,
    )

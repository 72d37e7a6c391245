"""From an analysis to a report in storage."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.exceptions import RenderError
from kimi_provider.reports.brand import Brand
from kimi_provider.reports.charts import draw, spark
from kimi_provider.reports.compose import Frame, compose, is_empty
from kimi_provider.reports.environment import environment, render
from kimi_provider.reports.figures import key_facts
from kimi_provider.reports.files import File, Workshop, check_formats, file_name
from kimi_provider.reports.fit import LENGTHS, PAGE, fitted
from kimi_provider.reports.format import Formatter
from kimi_provider.reports.history import history
from kimi_provider.reports.html import MAX_BYTES, inline_styles, self_contained
from kimi_provider.reports.markdown import markdown
from kimi_provider.reports.prose import Prose
from kimi_provider.schemas import Attachment, InlineImage, ReportRef
from kimi_provider.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    import jinja2

    from kimi_provider.reports.document import ChartBlock, Document, Picture
    from kimi_provider.schemas import Analysis, ChartRequest, FactSheet
    from kimi_provider.storage import StoragePath

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A report as it will be stored: every rendering, and the document that the mail prints."""

    document: Document
    html: str
    page: str
    text: str
    markdown: str
    pictures: tuple[Picture, ...]
    files: tuple[File, ...]
    failures: tuple[str, ...]


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
    formats: Sequence[str] | str = (),
    name: str | None = None,
    byte_order_mark: bool = True,
) -> ReportRef:
    """Draw a report and store it.

    :param analysis: what the model wrote.
    :param sheet: all facts of the analysis; every figure in the report is one of them.
    :param template: name of the template, ``daily_brief`` for ``daily_brief.html.j2`` and ``.txt.j2``.
    :param search_path: folders of templates, the first that has a name wins.
    :param folder: where the files go: ``report.html``, ``page.html``, ``report.txt``, ``report.md``, the
        pictures, and what is attached.
    :param now: when the report is made, with its offset.
    :param title: name of the report; by default the brand's name.
    :param subject: of the mail, with the fields ``{title}``, ``{period}``, ``{when}``, ``{headline}``,
        ``{level}``.
    :param brand: name, colors, logo and font.
    :param locale: how numbers and dates are written, ``en``, ``en_GB``, ``pl``.
    :param timezone: IANA name of the zone in which times are shown.
    :param link_hosts: hosts that links in the model's text may lead to.
    :param formats: files to attach: ``pdf``, ``xlsx``, ``csv``. A table that the mail cuts is attached
        as CSV in any case.
    :param name: of PDF and workbook, without what follows the dot; by default title and period.
    :param byte_order_mark: whether a CSV starts with the mark by which Excel knows UTF-8.
    :raises TemplateError: if a template is missing, malformed or wants what there is not.
    :raises RenderError: if the text cites what is not on the sheet, or the mail is too large.
    :raises ConfigurationError: if locale, time zone, subject or a format are not known.
    :raises OSError: if the storage refuses.

    A chart or a file that cannot be made is named in the report, and does not fail it.
    """
    brand = brand or Brand()
    frame = Frame(title=title or brand.name, subject=subject, now=now)
    formatter = Formatter(locale, timezone)
    workshop = Workshop(formatter, brand, template, search_path, now, byte_order_mark)
    rendered = await asyncio.to_thread(
        _render,
        analysis,
        sheet,
        prose=Prose({fact.id: fact for fact in sheet.facts}, formatter, link_hosts),
        frame=frame,
        workshop=workshop,
        formats=check_formats(formats),
        name=file_name(name, title=frame.title, period=analysis.period or ""),
    )
    return await asyncio.to_thread(_store, rendered, analysis, folder, now)


def _render(
    analysis: Analysis,
    sheet: FactSheet,
    *,
    prose: Prose,
    frame: Frame,
    workshop: Workshop,
    formats: Sequence[str],
    name: str,
) -> Rendered:
    brand, formatter = workshop.brand, prose.formatter
    charts, failures = _draw_all(analysis, sheet, prose, brand)
    document = compose(
        analysis,
        sheet,
        prose,
        frame,
        charts=charts,
        sparks=_sparks(sheet, prose, brand),
        notes=failures,
    )
    files, not_made = workshop.make(document, formats, name)
    env = environment(workshop.search_path)
    mail, html = _mail(document, workshop, env, [file.name for file in files], not_made)
    made = {file.name for file in files}
    files += workshop.tables(
        table for table in document.data if table.name in mail.cut and f"{table.name}.csv" not in made
    )
    page = fitted(document, formatter, PAGE, notes=not_made, attached=[file.name for file in files])
    context = {"brand": brand, "words": formatter.words}
    page_html = inline_styles(
        render(env, f"{workshop.template}.html.j2", {**context, "doc": page, "medium": "page"})
    )
    text = render(env, f"{workshop.template}.txt.j2", {**context, "doc": mail, "medium": "text"})
    pictures = (*document.pictures, *filter(None, [brand.picture]))
    fallback = [document.fallback] if document.fallback else []
    return Rendered(
        document=mail,
        html=html,
        page=self_contained(page_html, pictures),
        text=text.strip() + "\n",
        markdown=markdown(page, formatter.words),
        # A template may leave charts out; what nothing shows must not be attached.
        pictures=tuple(picture for picture in pictures if f"cid:{picture.content_id}" in html),
        files=tuple(files),
        failures=(*fallback, *failures, *not_made),
    )


def _mail(
    document: Document,
    workshop: Workshop,
    env: jinja2.Environment,
    attached: Sequence[str],
    notes: Sequence[str],
) -> tuple[Document, str]:
    """Render the mail, ever shorter until it is small enough."""
    words = workshop.formatter.words
    size = 0
    for length in LENGTHS:
        mail = fitted(document, workshop.formatter, length, notes=notes, attached=attached)
        context = {"doc": mail, "brand": workshop.brand, "words": words, "medium": "mail"}
        html = inline_styles(render(env, f"{workshop.template}.html.j2", context))
        size = len(html.encode())
        if size <= MAX_BYTES:
            return mail, html
    raise RenderError(
        f"The mail is {size:,} bytes without tables and with its texts cut; Gmail cuts off mails over "
        f"{MAX_BYTES:,}. Show less in template {workshop.template!r}."
    )


def _draw_all(
    analysis: Analysis, sheet: FactSheet, prose: Prose, brand: Brand
) -> tuple[list[ChartBlock], list[str]]:
    """Draw what is wanted; return the charts, and a note for each that could not be drawn.

    The template and the model may well want the same chart; it is drawn once. Where there is no data, a
    chart that has nothing to show has not failed.
    """
    if is_empty(analysis, sheet):
        return [], []
    tables = {table.id: table for table in sheet.tables}
    charts: list[ChartBlock] = []
    notes: list[str] = []
    wanted: dict[tuple[str | None, ...], ChartRequest] = {}
    for request in analysis.charts:
        asked = (request.kind, request.table, request.x, request.y, request.series)
        wanted.setdefault(asked, request)
    for request in wanted.values():
        title = prose.line(request.title, 120)
        try:
            charts.append(
                draw(
                    request,
                    tables,
                    prose.facts,
                    title=title,
                    formatter=prose.formatter,
                    brand=brand,
                    period=analysis.period,
                )
            )
        except RenderError as error:
            log.warning("A chart of table %r could not be drawn: %s", request.table, error)
            notes.append(prose.formatter.words["chart_failed"].format(title=title, reason=error))
    return charts, notes


def _sparks(sheet: FactSheet, prose: Prose, brand: Brand) -> dict[str, Picture]:
    """Draw how the key figures went; a trend is told in words too, so one that fails is only logged."""
    drawn: dict[str, Picture] = {}
    for fact in key_facts(sheet):
        points = history(fact, sheet.tables, prose.facts)
        if points:
            try:
                drawn[fact.id] = spark([float(point.value or 0) for point in points], brand)
            except RenderError as error:
                log.warning("The trend of %r could not be drawn: %s", fact.id, error)
    return drawn


def _store(rendered: Rendered, analysis: Analysis, folder: StoragePath, now: datetime) -> ReportRef:
    digest = hashlib.sha256()

    def put(name: str, content: bytes) -> str:
        write_bytes(folder / name, content)
        return (folder / name).as_uri()

    uris = []
    for name, text in (
        ("report.html", rendered.html),
        ("page.html", rendered.page),
        ("report.txt", rendered.text),
        ("report.md", rendered.markdown),
    ):
        digest.update(hashlib.sha256(text.encode()).digest())
        uris.append(put(name, text.encode()))
    images = [
        InlineImage(
            content_id=picture.content_id,
            uri=put(_picture_name(picture, rendered), picture.png),
            media_type=picture.media_type,
        )
        for picture in rendered.pictures
    ]
    attachments = []
    for file in rendered.files:
        digest.update(hashlib.sha256(file.content).digest())
        attachments.append(
            Attachment(
                name=file.name,
                uri=put(file.name, file.content),
                media_type=file.media_type,
                bytes=len(file.content),
            )
        )
    return ReportRef(
        subject=rendered.document.subject,
        html_uri=uris[0],
        page_uri=uris[1],
        text_uri=uris[2],
        markdown_uri=uris[3],
        images=tuple(images),
        attachments=tuple(attachments),
        failures=rendered.failures,
        empty=rendered.document.empty,
        grounding_score=analysis.grounding.score if analysis.grounding else None,
        cost_usd=analysis.usage.cost_usd,
        period=analysis.period,
        severity=analysis.severity,
        sha256=digest.hexdigest(),
        created_at=now,
    )


def _picture_name(picture: Picture, rendered: Rendered) -> str:
    """Charts are named by their place, since people open them; the rest by what they hold."""
    for number, chart in enumerate(rendered.document.charts, start=1):
        if chart.picture is picture:
            return f"chart-{number}.png"
    return f"{picture.content_id}.{picture.media_type.rpartition('/')[2]}"

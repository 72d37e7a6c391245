"""Drawing a preview: every part of a report or a notice, in memory."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from kimi_provider.alerts.message import Attachment, InlineFile
from kimi_provider.cli.source import NoticeSource, ReportSource

if TYPE_CHECKING:
    from kimi_provider.cli.source import Source
    from kimi_provider.reports.alert_document import Failure, NoticeEvent
    from kimi_provider.storage import StoragePath


@dataclass(frozen=True)
class Drawing:
    """What a reader would get.

    :param html: the mail's, which shows its pictures by ``cid:``.
    :param page: the same as one file.
    :param failures: what could not be made, in words.
    """

    subject: str
    html: str
    page: str
    text: str
    markdown: str
    images: tuple[InlineFile, ...]
    attachments: tuple[Attachment, ...]
    failures: tuple[str, ...]


def draw(source: Source, formats: tuple[str, ...] | None = ()) -> Drawing:
    """Draw a source.

    :param formats: files to attach; ``None`` attaches those that the recipe asks for.
    :raises KimiProviderError: what is wrong with the template or the data, as in a run.
    """
    if isinstance(source, NoticeSource):
        return asyncio.run(_notice(source))
    with tempfile.TemporaryDirectory(prefix="kimi-preview-") as folder:
        return asyncio.run(_report(source, Path(folder), formats))


async def _report(source: ReportSource, folder: Path, formats: tuple[str, ...] | None) -> Drawing:
    from kimi_provider.hooks.making import drawn

    recipe = source.recipe
    if formats is not None:
        recipe = recipe.model_copy(update={"formats": formats})
    ref = await drawn(
        recipe,
        source.analysis,
        source.sheet,
        folder=cast("StoragePath", folder),
        search_path=source.search_path,
        now=datetime.now(UTC),
    )

    def content(uri: str) -> bytes:
        return (folder / unquote(uri.rpartition("/")[2])).read_bytes()

    return Drawing(
        subject=ref.subject,
        html=content(ref.html_uri).decode(),
        page=content(ref.page_uri).decode(),
        text=content(ref.text_uri).decode(),
        markdown=content(ref.markdown_uri or ref.text_uri).decode(),
        images=tuple(InlineFile(i.content_id, content(i.uri), i.media_type) for i in ref.images),
        attachments=tuple(Attachment(a.name, content(a.uri), a.media_type) for a in ref.attachments),
        failures=ref.failures,
    )


async def _notice(source: NoticeSource) -> Drawing:
    from kimi_provider.reports.html import self_contained
    from kimi_provider.reports.notice import build_notice

    now = datetime.now(UTC)
    notice = await build_notice(
        source.template,
        _about(source.template, now),
        search_path=source.search_path,
        now=now,
        title="Sample",
        locale=source.locale,
    )
    images = tuple(InlineFile(p.content_id, p.png, p.media_type) for p in notice.pictures)
    page = self_contained(notice.html, notice.pictures)
    return Drawing(notice.subject, notice.html, page, notice.text, notice.text, images, (), ())


def _about(template: str, now: datetime) -> tuple[NoticeEvent, ...] | Failure:
    """Return what fits a template: one alert, those that are over, a failure, or all kinds."""
    from kimi_provider.reports.sample import sample_alerts, sample_failure

    if template == "failure":
        return sample_failure(now)
    alerts = sample_alerts(now)
    if template == "resolved":
        return tuple(alert for alert in alerts if alert.status == "resolved")
    return alerts[:1] if template == "alert" else alerts

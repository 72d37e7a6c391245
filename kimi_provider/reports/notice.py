"""Notices: short mails on alerts, on what is over again, and on tasks that failed."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kimi_provider.exceptions import ConfigurationError, RenderError
from kimi_provider.reports.alert_document import AlertBlock, AlertDocument, Failure, Link, NoticeEvent
from kimi_provider.reports.brand import Brand
from kimi_provider.reports.compose import Frame
from kimi_provider.reports.environment import environment, render
from kimi_provider.reports.format import Formatter
from kimi_provider.reports.html import MAX_BYTES, inline_styles
from kimi_provider.reports.text import one_line, strip_hidden
from kimi_provider.reports.words import form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from kimi_provider.reports.document import Picture

_SUBJECT_LIMIT = 150
_TITLE_LIMIT = 160
_TEXT_LIMIT = 600
_ERROR_LIMIT = 4000
_PREHEADER_LIMIT = 140
# Most alerts in one mail; tried in turn until it is small enough.
_EVENTS = (25, 12, 6, 3, 1)
_MAX_STEPS = 12
_MAX_LABELS = 8


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice, ready to be sent; ``pictures`` are what the HTML shows by ``cid:`` (the logo)."""

    subject: str
    html: str
    text: str
    pictures: tuple[Picture, ...]
    document: AlertDocument


async def build_notice(
    template: str,
    about: Sequence[NoticeEvent] | Failure,
    *,
    search_path: Sequence[Path],
    now: datetime,
    waiting: int = 0,
    title: str | None = None,
    subject: str | None = None,
    brand: Brand | None = None,
    locale: str = "en",
    timezone: str = "UTC",
) -> Notice:
    """Draw a notice by a template of ``templates/alerts``.

    :param template: ``alert``, ``digest``, ``resolved``, ``failure``, or a name of your own.
    :param about: the alerts, or the task that failed.
    :param search_path: folders of the alerts' templates, then of the reports', whose frame and parts
        they share; the first that has a name wins.
    :param now: when the notice is made, with its offset.
    :param waiting: how many more alerts there are, which are told of later.
    :param title: stands above the headline; by default the brand's name.
    :param subject: of the mail, with ``{title}``, ``{headline}``, ``{state}`` in it; by default state
        and headline.
    :param locale: how numbers and times are written, and in which language.
    :param timezone: IANA name of the zone in which times are shown.
    :raises ConfigurationError: if there is no alert to tell of, a link is none, or locale, time zone or
        subject are not known.
    :raises TemplateError: if the template is missing, malformed or wants what there is not.
    :raises RenderError: if the mail is larger than Gmail shows.
    """
    brand = brand or Brand()
    frame = Frame(one_line(title or brand.name, _TITLE_LIMIT), subject, now)
    return await asyncio.to_thread(
        _drawn,
        template,
        about,
        search_path,
        waiting=waiting,
        formatter=Formatter(locale, timezone),
        brand=brand,
        frame=frame,
    )


def _drawn(
    template: str,
    about: Sequence[NoticeEvent] | Failure,
    search_path: Sequence[Path],
    *,
    waiting: int,
    formatter: Formatter,
    brand: Brand,
    frame: Frame,
) -> Notice:
    env = environment(search_path)
    size = 0
    for most in _EVENTS:
        document = (
            _failure(about, formatter, frame)
            if isinstance(about, Failure)
            else _alerts(about, formatter, frame, most, waiting)
        )
        context = {"doc": document, "brand": brand, "words": formatter.words, "medium": "mail"}
        html = inline_styles(render(env, f"{template}.html.j2", context))
        size = len(html.encode())
        if size <= MAX_BYTES:
            text = render(env, f"{template}.txt.j2", {**context, "medium": "text"}).strip() + "\n"
            shown = brand.picture and f"cid:{brand.picture.content_id}" in html
            pictures = (brand.picture,) if brand.picture and shown else ()
            return Notice(document.subject, html, text, pictures, document)
    raise RenderError(
        f"The notice is {size:,} bytes with one alert; Gmail cuts off mails over {MAX_BYTES:,}. "
        f"Show less in template {template!r}."
    )


def _alerts(
    events: Sequence[NoticeEvent], formatter: Formatter, frame: Frame, most: int, waiting: int
) -> AlertDocument:
    if not events:
        raise ConfigurationError("There is no alert to tell of. Send a notice only where there is one.")
    words = formatter.words
    ranked = sorted(events, key=lambda event: (event.status != "firing", -event.severity.rank))
    blocks = tuple(_block(event, formatter) for event in ranked[:most])
    first = blocks[0]
    more = {"more_alerts": len(events) - len(blocks), "waiting_alerts": waiting}
    left = [words[name].format(count=formatter.count(n)) for name, n in more.items() if n]
    count = form(words, "alerts_count", len(events)).format(count=formatter.count(len(events)))
    alone = len(events) == 1
    state = first.status_word if first.status == "resolved" else first.level
    headline = first.title if alone else f"{count}: {first.title}"
    return AlertDocument(
        title=frame.title,
        headline=one_line(headline, _TITLE_LIMIT),
        subject=_subject(frame.subject, title=frame.title, headline=headline, state=state),
        preheader=one_line(" · ".join(block.reason for block in blocks), _PREHEADER_LIMIT),
        language=words["language"],
        direction=formatter.direction,
        mark=first.mark,
        state=state,
        generated=formatter.time(frame.now),
        events=blocks,
        more="; ".join(left),
        steps=_once(step for block in blocks for step in block.steps),
        links=tuple(dict.fromkeys(link for block in blocks for link in block.links)),
    )


def _block(event: NoticeEvent, formatter: Formatter) -> AlertBlock:
    words = formatter.words
    over = event.status == "resolved"
    facts: list[tuple[str, str]] = []
    if event.since:
        facts.append((words["since"], formatter.time(event.since)))
    if event.since and event.until:
        facts.append((words["lasted"], _span((event.until - event.since).total_seconds(), formatter)))
    if event.times:
        seen = form(words, "seen_times", event.times).format(count=formatter.count(event.times))
        facts.append((words["seen"], seen))
    labels = list(event.labels.items())[:_MAX_LABELS]
    facts += [(one_line(name, 40), one_line(value, 120)) for name, value in labels]
    return AlertBlock(
        title=one_line(event.rule, _TITLE_LIMIT),
        reason=one_line(event.reason, _TEXT_LIMIT),
        severity=event.severity,
        level=words[event.severity.value],
        status=event.status,
        status_word=words[event.status],
        mark="resolved" if over else event.severity.value,
        facts=tuple(facts),
        steps=_once(event.steps),
        links=_links(event.links),
    )


def _failure(failure: Failure, formatter: Formatter, frame: Frame) -> AlertDocument:
    words = formatter.words
    task, dag, run = (one_line(name, 120) for name in (failure.task, failure.dag, failure.run))
    headline = words["failed_headline"].format(task=task)
    attempt = formatter.count(failure.attempt) if failure.attempt else ""
    if attempt and failure.attempts:
        total = formatter.count(failure.attempts)
        attempt = words["attempt_of"].format(attempt=attempt, attempts=total)
    log = (Link(words["log_link"], failure.log_url),) if failure.log_url else ()
    error = strip_hidden(failure.error).strip()
    if len(error) > _ERROR_LIMIT:
        error = f"{error[:_ERROR_LIMIT]}…"
    preheader = words["failure_preheader"].format(dag=dag, run=run, error=one_line(error, 200))
    return AlertDocument(
        title=frame.title,
        headline=headline,
        subject=_subject(
            frame.subject, title=frame.title, headline=f"{headline} ({dag})", state=words["failed"]
        ),
        preheader=one_line(preheader, _PREHEADER_LIMIT),
        language=words["language"],
        direction=formatter.direction,
        mark="critical",
        state=words["failed"],
        generated=formatter.time(frame.now),
        error=error,
        details=(
            (words["dag"], dag),
            (words["task"], task),
            (words["run"], run),
            (words["attempt"], attempt),
            (words["time"], formatter.time(failure.at)),
        ),
        steps=_once(failure.steps),
        links=_links((*log, *failure.links)),
    )


def _subject(template: str | None, **fields: str) -> str:
    def fill(match: re.Match[str]) -> str:
        try:
            return fields[match[1]]
        except KeyError:
            raise ConfigurationError(
                f"The subject names {match[0]}, which is not a field. Fields are: "
                f"{', '.join('{' + name + '}' for name in fields)}."
            ) from None

    filled = re.sub(r"\{(\w*)\}", fill, template or "[{state}] {headline}")
    return one_line(filled, _SUBJECT_LIMIT)


def _once(steps: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one_line(step, _TEXT_LIMIT) for step in steps))[:_MAX_STEPS]


def _links(links: Iterable[Link]) -> tuple[Link, ...]:
    for link in links:
        if urlsplit(link.url).scheme not in {"http", "https"}:
            raise ConfigurationError(
                f"The link {one_line(link.label, 60)!r} leads to {one_line(link.url, 80)!r}, "
                "which is no http or https address."
            )
    return tuple(Link(one_line(link.label, 60), link.url) for link in links)


def _span(seconds: float, formatter: Formatter) -> str:
    from babel.dates import format_timedelta

    text = format_timedelta(round(seconds), threshold=2, locale=formatter.locale.replace("-", "_"))
    return str(text)

"""How an API hands out its pages. DAG files import this, so it costs only the standard library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Step:
    """What to ask for next: query parameters beside the request's own, or a whole URL instead."""

    query: dict[str, str] = field(default_factory=dict)
    url: str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What tells this step from others."""
        return (self.url, *sorted(self.query.items()))


@dataclass(frozen=True)
class Page:
    """A page that came: what was asked, the decoded JSON, its rows, and the ``Link`` with rel=next."""

    step: Step
    body: Any
    rows: int
    next_link: str | None = None


class Pagination(Protocol):
    """A way of asking for page after page."""

    def first(self) -> Step:
        """Return what to ask for first."""

    def following(self, page: Page) -> Step | None:
        """Return what to ask for after ``page``, ``None`` after the last."""


@dataclass(frozen=True)
class SinglePage:
    """All records come in one answer."""

    def first(self) -> Step:
        """Return the request as it is."""
        return Step()

    def following(self, page: Page) -> None:
        """Return ``None``."""


@dataclass(frozen=True)
class PagePagination:
    """Pages are numbered.

    :param page_param: query parameter of the page's number.
    :param size_param: query parameter of the page's size; ``None`` sends none.
    :param size: rows a page.
    :param first_page: number of the first page.
    :param pages_path: where the answer says how many pages there are, such as ``meta.pages``. Where
        it does not, the first empty page is the end: a page that is not full may only mean that the
        API gives fewer rows a page than it was asked for.
    """

    page_param: str = "page"
    size_param: str | None = "per_page"
    size: int = 1000
    first_page: int = 1
    pages_path: str = "pages"

    def first(self) -> Step:
        """Ask for the first page."""
        return self._step(self.first_page)

    def following(self, page: Page) -> Step | None:
        """Ask for the next number, until the last page or an empty one."""
        number = int(page.step.query[self.page_param])
        pages = _count(at_path(page.body, self.pages_path))
        last = page.rows == 0 if pages is None else number - self.first_page + 1 >= pages
        return None if last else self._step(number + 1)

    def _step(self, number: int) -> Step:
        size = {} if self.size_param is None else {self.size_param: str(self.size)}
        return Step({self.page_param: str(number)} | size)


@dataclass(frozen=True)
class OffsetPagination:
    """Pages begin at an offset, counted in rows.

    :param offset_param: query parameter of the offset.
    :param limit_param: query parameter of the page's size; ``None`` sends none.
    :param limit: rows a page.
    :param total_path: where the answer says how many rows there are in all, such as ``meta.total``.
        Where it does not, the first empty page is the end.
    """

    offset_param: str = "offset"
    limit_param: str | None = "limit"
    limit: int = 1000
    total_path: str | None = None

    def first(self) -> Step:
        """Ask from the first row."""
        return self._step(0)

    def following(self, page: Page) -> Step | None:
        """Ask from behind the rows that came."""
        offset = int(page.step.query[self.offset_param]) + page.rows
        total = _count(at_path(page.body, self.total_path)) if self.total_path else None
        if page.rows == 0 or (total is not None and offset >= total):
            return None
        return self._step(offset)

    def _step(self, offset: int) -> Step:
        limit = {} if self.limit_param is None else {self.limit_param: str(self.limit)}
        return Step({self.offset_param: str(offset)} | limit)


@dataclass(frozen=True)
class CursorPagination:
    """Each answer holds the cursor of the next page; none, or an empty one, ends.

    :param cursor_param: query parameter of the cursor.
    :param cursor_path: where the answer holds it, such as ``meta.next_cursor``.
    """

    cursor_param: str = "cursor"
    cursor_path: str = "next_cursor"

    def first(self) -> Step:
        """Ask without a cursor."""
        return Step()

    def following(self, page: Page) -> Step | None:
        """Ask with the cursor that came."""
        cursor = at_path(page.body, self.cursor_path)
        return Step({self.cursor_param: str(cursor)}) if cursor or cursor == 0 else None


@dataclass(frozen=True)
class LinkPagination:
    """The ``Link`` header with ``rel="next"`` holds the URL of the next page (RFC 8288)."""

    def first(self) -> Step:
        """Return the request as it is."""
        return Step()

    def following(self, page: Page) -> Step | None:
        """Follow the header."""
        return Step(url=page.next_link) if page.next_link else None


@dataclass(frozen=True)
class NextUrlPagination:
    """Each answer holds the URL of the next page.

    :param url_path: where, such as ``links.next``.
    """

    url_path: str = "next"

    def first(self) -> Step:
        """Return the request as it is."""
        return Step()

    def following(self, page: Page) -> Step | None:
        """Follow the URL in the answer."""
        url = at_path(page.body, self.url_path)
        return Step(url=str(url)) if url else None


def at_path(body: Any, path: str | None) -> Any:
    """Return what lies at a dotted path in decoded JSON, ``None`` where there is nothing."""
    for name in path.split(".") if path else ():
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _count(value: Any) -> int | None:
    """Return a count, which some APIs write as a text; ``None`` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if str(value).isdecimal() else None

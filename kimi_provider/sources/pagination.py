"""How an API hands out its pages. DAG files import this, so it costs only the standard library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from kimi_provider.exceptions import SourceError


@dataclass(frozen=True)
class Step:
    """What to ask for next: query parameters beside the request's own, or a whole URL instead."""

    query: dict[str, str] = field(default_factory=dict)
    url: str | None = None


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
    :param size_param: query parameter of the page's size.
    :param size: rows a page.
    :param first_page: number of the first page.
    :param pages_path: where the answer says how many pages there are, such as ``meta.pages``; an
        answer without it ends at the first page that is not full.
    """

    page_param: str = "page"
    size_param: str = "per_page"
    size: int = 1000
    first_page: int = 1
    pages_path: str = "pages"

    def first(self) -> Step:
        """Ask for the first page."""
        return self._step(self.first_page)

    def following(self, page: Page) -> Step | None:
        """Ask for the next number, until the last page or one that is not full."""
        number = int(page.step.query[self.page_param])
        pages = at_path(page.body, self.pages_path)
        read = number - self.first_page + 1
        last = read >= pages if isinstance(pages, int) else page.rows < self.size
        return None if last else self._step(number + 1)

    def _step(self, number: int) -> Step:
        return Step({self.page_param: str(number), self.size_param: str(self.size)})


@dataclass(frozen=True)
class OffsetPagination:
    """Pages begin at an offset, counted in rows; the first page that is not full is the last.

    :param offset_param: query parameter of the offset.
    :param limit_param: query parameter of the page's size.
    :param limit: rows a page.
    """

    offset_param: str = "offset"
    limit_param: str = "limit"
    limit: int = 1000

    def first(self) -> Step:
        """Ask from the first row."""
        return self._step(0)

    def following(self, page: Page) -> Step | None:
        """Ask from behind the rows that came."""
        if page.rows < self.limit:
            return None
        return self._step(int(page.step.query[self.offset_param]) + page.rows)

    def _step(self, offset: int) -> Step:
        return Step({self.offset_param: str(offset), self.limit_param: str(self.limit)})


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
        """Ask with the cursor that came; the same one twice would never end."""
        cursor = at_path(page.body, self.cursor_path)
        if cursor in (None, ""):
            return None
        step = Step({self.cursor_param: str(cursor)})
        if step == page.step:
            raise SourceError(
                f"The API returned the same cursor twice at {self.cursor_path!r}; its pages do not end."
            )
        return step


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

"""How pages are made: templates, the policy they are served under, and what they have in common."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response  # noqa: TID253 — only the API server loads this

if TYPE_CHECKING:
    from collections.abc import Mapping

URL_PREFIX = "/kimi"

_FOLDER = Path(__file__).parent / "pages"
_STYLE = (_FOLDER / "style.css").read_text()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}
# Airflow shows pages in a frame that may run scripts as the signed-in user; what ours show comes from
# models and data. No script runs, no request leaves for elsewhere, and no other site may frame the page
# (its buttons could be covered). The origin stays, since without one the browser sends no cookie for
# what a page leads to.
PAGE_POLICY = (
    "sandbox allow-same-origin allow-forms allow-downloads; default-src 'none'; "
    f"style-src 'sha256-{_STYLE_HASH}'; img-src data:; frame-src 'self'; form-action 'self'; "
    "frame-ancestors 'self'; base-uri 'none'"
)
# A report is foreign text altogether: it loses its origin, too.
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
REPORT_HEADERS = {"Content-Security-Policy": REPORT_POLICY, "Referrer-Policy": "no-referrer"}
# Under "no-referrer" a browser would not say where a form was sent from.
_PAGE_HEADERS = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "same-origin"}


def base_path() -> str:
    """Return where the pages are served, with the path that Airflow itself is served at."""
    from airflow.sdk import conf

    return f"{urlsplit(conf.get('api', 'base_url', fallback='')).path.rstrip('/')}{URL_PREFIX}"


def render(template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page.

    :param template: its name in ``pages``, without what follows the first dot.
    :param status: of the answer.
    :param values: what the template asks for.
    """
    page = _environment().get_template(f"{template}.html.j2")
    # Set anew for each page: tests and proxies change it.
    text = page.render(base=base_path(), **values)
    return Response(text, status, _PAGE_HEADERS, media_type="text/html; charset=utf-8")


def nothing(reason: str, *, status: int = 404) -> Response:
    """Return a page that says why there is nothing to see."""
    return render("nothing", status=status, reason=reason)


def query(values: Mapping[str, Any]) -> str:
    """Return the query of an address: what has a value."""
    return urlencode({name: value for name, value in values.items() if value not in {None, ""}})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"style": Markup(_STYLE)}  # noqa: S704 — our own file
    environment.filters |= {
        "moment": moment,
        "money": money,
        "count": lambda number: f"{number:,}",
        "seconds": seconds,
        "part": lambda text: quote(str(text), safe=""),
        "query": query,
    }
    return environment


def moment(value: datetime | str | None) -> str:
    """Print a time as ``2026-11-24 08:15 UTC``."""
    if value is None:
        return ""
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def money(value: Decimal | float | str | None) -> str:
    """Print US dollars: cents, and more places where that is less than a dollar."""
    if value is None:
        return "unknown"
    amount = Decimal(str(value))
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


def seconds(value: float | None) -> str:
    """Print a duration."""
    if value is None:
        return ""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:  # noqa: PLR2004 — two minutes are still told in seconds
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"

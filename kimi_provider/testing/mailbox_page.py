"""The mailbox as a person sees it in a browser."""

from __future__ import annotations

import base64
import html as markup
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kimi_provider.testing.exchange import Exchange
    from kimi_provider.testing.mailbox import Mail

_CID = re.compile(r"cid:([^\"'\s)>]+)")
_WIDTHS = {"640": "Desktop", "360": "Phone"}
_VIEWS = {"html": "HTML", "text": "Text", "headers": "Headers"}
_REFRESH_SECONDS = 10

# The pages hold no script; the mail itself may not load anything, nor run, nor navigate.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'; base-uri 'none'"
)
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none';"
    " sandbox"
)


@cache
def _style() -> str:
    return (files("kimi_provider.testing") / "mailbox.css").read_text()


async def listing(exchange: Exchange) -> tuple[int, bytes]:
    """Answer ``GET /mailbox``: all mails, the newest first."""
    mails = exchange.state.mailbox.messages
    rows = "".join(_row(mail) for mail in reversed(mails))
    count = f"{len(mails)} {'message' if len(mails) == 1 else 'messages'}"
    content = (
        f'<h1>Mailbox</h1><p class="dim">{count} that the simulated SendGrid took.'
        " Nothing left this machine.</p>"
        f'<div class="card">{rows or _EMPTY}</div>'
    )
    return 200, _page(exchange, "Mailbox", content, refresh=True)


_EMPTY = '<p class="empty">No mail yet. Run a DAG that sends some; this page looks again by itself.</p>'


def _row(mail: Mail) -> str:
    files = sum(attachment.disposition != "inline" for attachment in mail.attachments)
    extra = f" · {files} attached" if files else ""
    state = "" if mail.status == "queued" else f" · {mail.status}"
    return (
        f'<a class="mail" href="/mailbox/{mail.number}"><b>{_escaped(mail.subject)}</b>'
        f"<span>{mail.received_at:%d %b %Y, %H:%M:%S} UTC</span>"
        "<span>to"
        f" {_escaped(', '.join(mail.recipients))}</span><span>#{mail.number}{extra}{state}</span></a>"
    )


async def message(exchange: Exchange) -> tuple[int, bytes]:
    """Answer ``GET /mailbox/{number}``: one mail, as HTML, text or headers."""
    mail = _find(exchange)
    if mail is None:
        return 404, _page(
            exchange, "No such mail", '<h1>No such mail</h1><p><a href="/mailbox">Mailbox</a></p>'
        )
    view = exchange.query.get("view", "html" if mail.html else "text")
    width = exchange.query.get("width", "640")
    width = width if width in _WIDTHS else "640"
    people = {"From": f"{mail.sender_name} <{mail.sender}>".strip(), "To": ", ".join(mail.to)}
    people |= {
        "Cc": ", ".join(mail.cc),
        "Bcc": ", ".join(mail.bcc),
        "Reply to": ", ".join(mail.reply_to),
    }
    people["Files"] = ", ".join(a.filename for a in mail.attachments if a.disposition != "inline")
    people["Taken"] = f"{mail.received_at:%d %b %Y, %H:%M:%S} UTC · {mail.status}"
    details = "".join(
        f"<dt>{name}</dt><dd>{_escaped(value)}</dd>" for name, value in people.items() if value
    )
    content = (
        f'<p><a href="/mailbox">← Mailbox</a></p><h1>{_escaped(mail.subject)}</h1><dl>{details}</dl>'
        f'<div class="card"><nav>{_tabs(mail, view, width)}</nav>{_body(mail, view, width)}</div>'
    )
    return 200, _page(exchange, mail.subject, content)


def _tabs(mail: Mail, view: str, width: str) -> str:
    def tab(label: str, query: str, *, current: bool) -> str:
        return f'<a href="?{query}"{" aria-current=page" if current else ""}>{label}</a>'

    tabs = [tab(label, f"view={name}", current=view == name) for name, label in _VIEWS.items()]
    tabs.append("<i></i>")
    if view == "html":
        tabs += [
            tab(label, f"view=html&amp;width={pixels}", current=width == pixels)
            for pixels, label in _WIDTHS.items()
        ]
    tabs.append(f'<a href="/mailbox/{mail.number}/eml">Download .eml</a>')
    return "".join(tabs)


def _body(mail: Mail, view: str, width: str) -> str:
    if view == "html" and mail.html:
        return (
            f'<div class="stage"><iframe title="The mail" sandbox width="{width}"'
            f' src="/mailbox/{mail.number}/html"></iframe></div>'
        )
    if view == "headers":
        pairs = {
            "X-Message-Id": mail.message_id,
            **mail.headers,
            **{f"custom_args.{name}": value for name, value in mail.custom_args.items()},
            "categories": ", ".join(mail.categories),
            "inline pictures": ", ".join(
                f"cid:{a.content_id} ({a.media_type})" for a in mail.attachments if a.content_id
            ),
            "HTML size": f"{len(mail.html.encode()):,} bytes",
        }
        return (
            f"<pre>{_escaped(chr(10).join(f'{name}: {value}' for name, value in pairs.items()))}</pre>"
        )
    return f"<pre>{_escaped(mail.text) or 'This mail has no text part.'}</pre>"


async def html(exchange: Exchange) -> tuple[int, bytes]:
    """Answer ``GET /mailbox/{number}/html``: the mail's HTML alone, its ``cid:`` pictures in place."""
    mail = _find(exchange)
    exchange.reply_headers |= {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": MAIL_POLICY,
    }
    if mail is None:
        return 404, b""
    return 200, with_pictures(mail).encode()


def with_pictures(mail: Mail) -> str:
    """Return the mail's HTML with its ``cid:`` pictures as data, so that nothing needs loading."""

    def data(found: re.Match[str]) -> str:
        picture = mail.inline(found.group(1))
        if picture is None:
            return found.group(0)
        return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}"

    return _CID.sub(data, mail.html)


async def eml(exchange: Exchange) -> tuple[int, bytes]:
    """Answer ``GET /mailbox/{number}/eml``."""
    mail = _find(exchange)
    if mail is None:
        return 404, b""
    exchange.reply_headers |= {
        "Content-Type": "message/rfc822",
        "Content-Disposition": f'attachment; filename="{mail.number:04}.eml"',
    }
    return 200, mail.to_eml()


def _find(exchange: Exchange) -> Mail | None:
    number = exchange.path_values["number"]
    mails = exchange.state.mailbox.messages
    return mails[int(number) - 1] if number.isdecimal() and 1 <= int(number) <= len(mails) else None


def _escaped(value: Any) -> str:
    return markup.escape(str(value))


def _page(exchange: Exchange, title: str, content: str, *, refresh: bool = False) -> bytes:
    exchange.reply_headers |= {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": PAGE_POLICY,
    }
    again = f'<meta http-equiv="refresh" content="{_REFRESH_SECONDS}">' if refresh else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_escaped(title)}</title>'
        '<meta name="viewport" content="width=device-width,'
        f' initial-scale=1">{again}<style>{_style()}</style></head>'
        f"<body><main>{content}</main></body></html>"
    ).encode()

"""A preview that follows what is saved: a small server on loopback, and a look at the files.

The page is text of models and of data, so it is served with a policy under which nothing in it runs; the
frame around it alone has a script, which waits for the next version and keeps the place one reads at.
"""

from __future__ import annotations

import html
import json
import secrets
import threading
import time
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from kimi_provider.cli.console import note
from kimi_provider.cli.drawing import draw
from kimi_provider.exceptions import ConfigurationError, KimiProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kimi_provider.cli.drawing import Drawing
    from kimi_provider.cli.source import Source

_LOOK_EVERY = 0.2  # seconds
_WAIT = 20.0  # seconds that a browser's question for a newer version is held open
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
_FRAME = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Preview</title>
<style>html,body,iframe{{margin:0;border:0;width:100%;height:100%;display:block}}</style></head><body>
<iframe id="page" title="The report" sandbox="allow-same-origin" src="/page"></iframe>
<script nonce="{nonce}">
const frame = document.getElementById("page");
let version = {version}, top = 0;
frame.addEventListener("load", () => frame.contentWindow.scrollTo(0, top));
(async () => {{
  for (;;) {{
    try {{
      const answer = await fetch("/changes?after=" + version);
      const newest = (await answer.json()).version;
      if (newest !== version) {{
        version = newest;
        top = frame.contentWindow.scrollY;
        frame.src = "/page?version=" + version;
      }}
    }} catch {{ await new Promise(again => setTimeout(again, 1000)); }}
  }}
}})();
</script></body></html>"""


class Stage:
    """The newest version of the page, for whoever asks and whoever waits for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._page = ""
        self.version = 0

    @property
    def page(self) -> str:
        """The page as it is now."""
        with self._changed:
            return self._page

    def show(self, page: str) -> None:
        """Show another page, and wake those that wait for it."""
        with self._changed:
            self._page = page
            self.version += 1
            self._changed.notify_all()

    def wait(self, after: int, seconds: float) -> int:
        """Return the version as soon as it is another than ``after``, or when the time has passed."""
        with self._changed:
            self._changed.wait_for(lambda: self.version != after, seconds)
            return self.version


def serve(stage: Stage, port: int) -> ThreadingHTTPServer:
    """Serve a stage on loopback, in threads that end with the process.

    :param port: 0 takes a free one.
    :raises ConfigurationError: if the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        """Answers with the frame, the page, or the number of its version."""

        def do_GET(self) -> None:
            """Answer a browser."""
            here = f"127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]  # HTTPServer's
            if self.headers.get("Host") not in {here, here.replace("127.0.0.1", "localhost")}:
                # Another site's name that was made to lead here must not read the report.
                self._send(HTTPStatus.FORBIDDEN, "text/plain", "Ask for it by its own address.", "")
                return
            url = urlsplit(self.path)
            if url.path == "/":
                nonce = secrets.token_urlsafe(16)
                policy = f"default-src 'self'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'"
                body = _FRAME.format(nonce=nonce, version=stage.version)
                self._send(HTTPStatus.OK, "text/html", body, policy)
            elif url.path == "/page":
                self._send(HTTPStatus.OK, "text/html", stage.page, _PAGE_POLICY)
            elif url.path == "/changes":
                after = parse_qs(url.query).get("after", [""])[0]
                known = int(after) if after.isdecimal() else -1
                told = json.dumps({"version": stage.wait(known, _WAIT)})
                self._send(HTTPStatus.OK, "application/json", told, "default-src 'none'")
            else:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", "There is only the preview here.", "")

        def _send(self, status: HTTPStatus, media_type: str, body: str, policy: str) -> None:
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{media_type}; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Security-Policy", policy or "default-src 'none'")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — the standard library's
            """Stay silent."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} cannot be listened on ({error.strerror}). Give another, or leave --port out."
        ) from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def watch(
    find: Callable[[], Source],
    *,
    port: int,
    browser: bool,
    tell: Callable[[Source, Drawing, float, str], None],
    changes: int | None = None,
) -> int:
    """Show a preview until it is interrupted, drawn anew whenever a file that it stands on is saved.

    :param find: returns what to draw, read anew; its first error is raised, later ones are shown.
    :param tell: is told each drawing, the seconds that it took, and where it is.
    :param changes: after how many changes to stop; ``None`` goes on.
    :returns: the exit code.
    """
    source = find()
    stage = Stage()
    server = serve(stage, port)
    url = f"http://127.0.0.1:{server.server_port}/"
    try:
        _draw_onto(stage, source, tell, url)
        note(f"Live at {url}; Ctrl+C ends it.")
        if browser and not webbrowser.open(url):
            note("There is no browser here; open that address.")
        seen = _snapshot(source)
        while changes is None or changes > 0:
            time.sleep(_LOOK_EVERY)
            now = _snapshot(source)
            if now == seen:
                continue
            seen = now
            changes = None if changes is None else changes - 1
            try:
                source = find()
            except KimiProviderError as error:
                _fail(stage, error)
                continue
            _draw_onto(stage, source, tell, url)
            seen = _snapshot(source)
    except KeyboardInterrupt:
        pass
    finally:
        server.shutdown()
        server.server_close()
    return 0


def _draw_onto(
    stage: Stage, source: Source, tell: Callable[[Source, Drawing, float, str], None], url: str
) -> None:
    began = time.monotonic()
    try:
        drawing = draw(source)
    except KimiProviderError as error:
        _fail(stage, error)
        return
    stage.show(drawing.page)
    tell(source, drawing, time.monotonic() - began, url)


def _fail(stage: Stage, error: KimiProviderError) -> None:
    told = f"{type(error).__name__}: {error}"
    note(told)
    stage.show(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Error</title>'
        f'<pre style="white-space:pre-wrap;padding:2em;color:#8b0000">{html.escape(told)}</pre></html>'
    )


def _snapshot(source: Source) -> dict[str, tuple[int, int]]:
    """Return when each file that the drawing may use was last saved, and its size."""
    return {str(path): stamp for path in _files(source) if (stamp := _stamp(path)) is not None}


def _files(source: Source) -> Iterable[Path]:
    yield from source.files
    for folder in source.search_path:
        if folder.is_dir():
            yield from folder.iterdir()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:  # editors replace files
        return None
    return found.st_mtime_ns, found.st_size

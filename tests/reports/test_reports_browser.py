"""Every bundled template, looked at in a real browser: nothing cut, nothing overlapping, all readable.

The pictures are left in ``out/pictures`` of the checkout, for people to look at.
"""

import asyncio
import base64
import functools
import itertools
import json
import re
import shutil
import struct
import subprocess
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kimi_provider.reports import vega
from kimi_provider.reports.brand import Brand
from kimi_provider.reports.build import build_report
from kimi_provider.reports.notice import build_notice

NOW = datetime(2013, 2, 9, 11, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "out" / "pictures"
REPORTS, ALERTS = ROOT / "templates" / "reports", ROOT / "templates" / "alerts"
# Width, dark screen, pictures shown, greyscale.
VIEWS = {
    "640": (640, False, True, False),
    "360": (360, False, True, False),
    "dark": (640, True, True, False),
    "blocked": (640, False, False, False),
    "grey": (640, False, True, True),
}
NAMES = ("daily_brief", "executive", "detailed", "incident")
CASES = [(name, data) for name in NAMES for data in ("flights", "hostile", "one_row", "no_rows", "rtl")]
CASES += [
    (name, data)
    for name in ("alert", "digest", "resolved", "failure")
    for data in ("flights", "hostile", "rtl")
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _logo():
    """Return a PNG of 360 by 72 pixels: a green bar (PNG specification, 5)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = (b"\x00" + b"\x16\x96\x6f" * 360) * 72
    head = struct.pack(">IIBBBBB", 360, 72, 8, 2, 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + packed + chunk(b"IEND", b"")


# What a reader would find wrong, measured: text beyond the page or its cell, text over text, too little
# contrast (WCAG 2.2 AA), pictures without words.
MEASURE = r"""(() => {
  const wrong = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) wrong.push(`the page is ${wide} wide, the window ${innerWidth}`);
  const parse = (c) => (c.match(/[\d.]+/g) || []).map(Number);
  const lum = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const rects = [], lowest = {};
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, text = node.textContent.trim(), e = node.parentElement;
    if (!text || text === '\u00a0' || ['STYLE', 'TITLE'].includes(e.tagName)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter(b => b.width > 0.5 && b.height > 0.5);
    if (!boxes.length) continue;
    const style = getComputedStyle(e), said = text.slice(0, 40);
    const cell = e.closest('td, th, p, h1, h2, h3, h4, li, pre') || document.body;
    const room = cell.getBoundingClientRect();
    for (const b of boxes) {
      if (b.left < -1 || b.right > innerWidth + 1) wrong.push(`beyond the page: ${said}`);
      else if (b.left < room.left - 1 || b.right > room.right + 1)
        wrong.push(`beyond its cell: ${said}`);
      rects.push({l: b.left, r: b.right, t: b.top, b: b.bottom, said, e});
    }
    const [a, b] = [lum(parse(style.color)), lum(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), bold = +style.fontWeight >= 700;
    const least = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    if (ratio < least) wrong.push(`contrast ${ratio.toFixed(2)} of ${style.color}: ${said}`);
  }
  rects.sort((x, y) => x.t - y.t);
  for (let i = 0; i < rects.length; i++) {
    for (let j = i + 1; j < rects.length && rects[j].t < rects[i].b; j++) {
      const [x, y] = [rects[i], rects[j]];
      if (x.e === y.e || x.e.contains(y.e) || y.e.contains(x.e)) continue;
      const across = Math.min(x.r, y.r) - Math.max(x.l, y.l);
      // Lines' boxes are taller than letters, and touch.
      const down = Math.min(x.b, y.b) - Math.max(x.t, y.t);
      if (across > 1.5 && down > 4) wrong.push(`overlap: ${x.said} / ${y.said}`);
    }
  }
  for (const image of document.images) {
    if (!image.alt.trim()) wrong.push('a picture without alt text');
    const b = image.getBoundingClientRect();
    if (b.right > innerWidth + 1) wrong.push(`a picture beyond the page: ${image.alt}`);
    const natural = image.naturalWidth / image.naturalHeight;
    if (image.naturalWidth > 1 && Math.abs(b.width / b.height / natural - 1) > 0.03)
      wrong.push(`a picture out of shape: ${image.alt}`);
  }
  return [...new Set(wrong)].slice(0, 12);
})()"""


class Browser:
    """One headless Chromium, driven over its DevTools protocol."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [
                CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--no-first-run", "--disable-extensions", "--disable-background-networking",
                "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        found = (re.search(r"ws://\S+", line) for line in self.process.stderr)
        address = next((match[0] for match in found if match), None)
        if address is None:
            pytest.fail("Chromium ended before it could be driven.")
        from websockets.sync.client import connect

        self.socket = connect(address, max_size=None, proxy=None)
        self.numbers = itertools.count(1)
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        self.frame = self.call("Page.getFrameTree")["frameTree"]["frame"]["id"]

    def call(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def show(self, html, width, *, dark, grey):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        blindness = "achromatopsia" if grey else "none"
        self.call("Emulation.setEmulatedVisionDeficiency", type=blindness)
        self.call("Page.setDocumentContent", frameId=self.frame, html=html)
        self.run("Promise.all([...document.images].map(i => i.decode().catch(() => 0)))")

    def picture(self, most):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], most), "scale": 1}
        return base64.b64decode(
            self.call(
                "Page.captureScreenshot", captureBeyondViewport=True, clip=clip, optimizeForSpeed=True
            )["data"]
        )


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed, so nothing can be looked at in it.")
    pytest.importorskip("websockets", reason="websockets is not installed; Chromium is driven by it.")
    started = Browser(tmp_path_factory.mktemp("chromium"))
    yield started
    started.socket.close()
    started.process.terminate()
    started.process.wait(timeout=20)


@pytest.fixture(scope="module")
def shown(tmp_path_factory, flights, hostile, notices):
    """Return the HTML of a case, with its pictures inside."""
    drawn = {}
    draw = vega.png
    patch = pytest.MonkeyPatch()

    def once(marks, height, **options):
        key = json.dumps([marks, height, options])
        drawn[key] = drawn.get(key) or draw(marks, height, **options)
        return drawn[key]

    # Each template shows the same charts.
    patch.setattr(vega, "png", once)

    @functools.cache
    def make(template, data):
        locale = "ar" if data == "rtl" else "en"
        brand = Brand(name="Skyline Operations", logo=_logo() if data == "flights" else None)
        if template in NAMES:
            analysis, sheet = {"flights": flights, "rtl": flights, **hostile}[data]
            folder = tmp_path_factory.mktemp("report")
            done = build_report(
                analysis, sheet, template=template, search_path=[REPORTS], folder=folder,
                now=NOW, title="New York flights", brand=brand, locale=locale,
            )  # fmt: skip
            ref = asyncio.run(done)
            pictures = [
                (image.content_id, Path(image.uri.removeprefix("file://")).read_bytes())
                for image in ref.images
            ]
            html = (folder / "report.html").read_text()
        else:
            about = notices["hostile" if data == "hostile" else "flights"][template]
            notice = asyncio.run(
                build_notice(
                    template, about, search_path=[ALERTS, REPORTS], now=NOW, brand=brand, locale=locale
                )
            )
            pictures = [(picture.content_id, picture.png) for picture in notice.pictures]
            html = notice.html
        return html, pictures

    yield make
    patch.undo()


def _inside(html, pictures):
    for content_id, png in pictures:
        data = base64.b64encode(png).decode()
        html = html.replace(f"cid:{content_id}", f"data:image/png;base64,{data}")
    return html


@pytest.mark.parametrize(("template", "data"), CASES)
def test_nothing_is_cut_covered_or_hard_to_read(browser, shown, template, data):
    html, pictures = shown(template, data)
    assert len(html.encode()) < 100_000
    wrong = {}
    PICTURES.mkdir(parents=True, exist_ok=True)
    # Measured is all of it; pictures of what goes on and on take time.
    most = 9000 if data == "flights" else 3500
    for view, (width, dark, with_pictures, grey) in VIEWS.items():
        browser.show(_inside(html, pictures) if with_pictures else html, width, dark=dark, grey=grey)
        (PICTURES / f"{template}-{data}-{view}.png").write_bytes(browser.picture(most))
        found = browser.run(MEASURE)
        if found:
            wrong[view] = found
    assert not wrong, json.dumps(wrong, indent=1, ensure_ascii=False)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('<div style="width:900px">wide</div>', "the page is 908 wide"),
        ('<p style="color:#999">grey</p>', "contrast 2.85"),
        ('<p style="width:20px">Unbreakablelongword</p>', "beyond its cell"),
        ('<p style="margin:0">one</p><p style="margin:-14px 0 0">two</p>', "overlap: one / two"),
        ('<img src="cid:none" width="9" height="9">', "without alt text"),
    ],
)
def test_the_measuring_finds_what_is_wrong(browser, body, told):
    browser.show(f"<html><body>{body}</body></html>", 640, dark=False, grey=False)
    assert any(told in found for found in browser.run(MEASURE)), browser.run(MEASURE)

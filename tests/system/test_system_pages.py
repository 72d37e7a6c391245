"""The pages in a real Airflow and a real browser: what they look like, and whether all can use them.

The pictures are left in ``out/pictures/pages`` of the checkout, for people to look at.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import pytest

PICTURES = Path(__file__).parents[2] / "out" / "pictures" / "pages"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Width, dark screen.
VIEWS = {"light": (1280, False), "dark": (1280, True), "narrow": (390, False)}
AXE = "axe-core@4.10.3"
READY = 60.0
"""Seconds that Airflow's UI may take to draw a page on a busy machine."""


class Browser:
    """One headless Chromium, driven over its DevTools protocol."""

    def __init__(self, folder, base, token):
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

        self.base = base
        self.socket = connect(address, max_size=None, proxy=None)
        self.numbers = itertools.count(1)
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        self.call("Page.enable")
        self.call("Network.setCookie", name="_token", value=token, url=base)

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

    def write(self, html, width, *, dark):
        """Show a page's text by itself, without the policy that it is served under."""
        self.look(width, dark=dark)
        self.call("Page.navigate", url="about:blank")
        self.until("location.href === 'about:blank' && document.readyState === 'complete'")
        frame = self.call("Page.getFrameTree")["frameTree"]["frame"]["id"]
        self.call("Page.setDocumentContent", frameId=frame, html=html)

    def look(self, width, *, dark):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def show(self, path, width=1280, *, dark=False):
        self.look(width, dark=dark)
        self.call("Page.navigate", url=f"{self.base}{path}")
        self.until(f"location.href.endsWith({path!r}) && document.readyState === 'complete'")

    def until(self, script):
        end = time.monotonic() + READY
        while not self.run(script):
            assert time.monotonic() < end, script
            time.sleep(0.1)

    def picture(self, name, most=3000):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], most), "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / f"{name}.png").write_bytes(base64.b64decode(shot))


@pytest.fixture(scope="module")
def run_id(airflow):
    # A day of its own: one logical date has one run, and other tests share this Airflow.
    run = airflow.trigger("example_flight_report", "2013-02-11")
    assert airflow.finish("example_flight_report", run) == "success"
    return run


@pytest.fixture(scope="module")
def pages(run_id):
    """Return the path of each page about a real run."""
    run = f"example_flight_report/{quote(run_id, safe='')}"
    return {
        "reports": "/kimi/reports",
        "view": f"/kimi/view/{run}/report/-1",
        "trace": f"/kimi/traces/{run}/analyze/-1",
        "lineage": f"/kimi/lineage/{run}/analyze/-1",
        "costs": "/kimi/costs",
        "alerts": "/kimi/alerts",
        "alert": f"/kimi/alerts/{run}/alert/-1",
    }


@pytest.fixture(scope="module")
def browser(airflow, tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed, so nothing can be looked at in it.")
    pytest.importorskip("websockets", reason="websockets is not installed; Chromium is driven by it.")
    token = airflow.api.headers["Authorization"].removeprefix("Bearer ")
    base = str(airflow.api.base_url).rstrip("/")
    started = Browser(tmp_path_factory.mktemp("chromium"), base, token)
    yield started
    started.socket.close()
    started.process.terminate()
    started.process.wait(timeout=20)


@pytest.fixture(scope="module")
def axe(request):
    """Return the source of axe-core, which npm installs once into the tests' cache."""
    npm = shutil.which("npm")
    folder = Path(request.config.cache.mkdir("axe"))
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if npm is None:
            pytest.skip("npm is not installed, so axe-core cannot be had.")
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", AXE]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            pytest.skip(f"npm cannot install axe-core here: {done.stderr.strip()[-200:]}")
    return script.read_text()


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_fits_its_window(browser, pages, view):
    width, dark = VIEWS[view]
    for name, path in pages.items():
        browser.show(path, width, dark=dark)
        assert browser.run("document.querySelector('h1') !== null"), name
        assert browser.run("document.documentElement.scrollWidth") <= width, name
        assert browser.run("getComputedStyle(document.body).margin") == "0px"  # the style is allowed
        ground = browser.run("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") is not dark, name
        browser.picture(f"{name}-{view}")


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_no_serious_fault(airflow, browser, pages, axe, view):
    width, dark = VIEWS[view]
    faults = {}
    for name, path in pages.items():
        # Axe needs scripts, and served pages let none run, not even its timers.
        browser.write(airflow.api.get(path).text, width, dark=dark)
        browser.run(axe)
        # The report in its frame has tests of its own.
        found = browser.run("axe.run(document, {iframes: false}).then(r => r.violations)")
        serious = [
            (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]][:3])
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]
        if serious:
            faults[name] = serious
    assert faults == {}


def test_no_script_runs_in_a_page_or_a_report(browser, pages):
    for name in ("view", "reports"):
        browser.show(pages[name])
        browser.run(
            "document.body.insertAdjacentHTML('beforeend',"
            " '<img src=x onerror=\"window.hurt = 1\">');"
            "const s = document.createElement('script'); s.textContent = 'window.hurt = 2';"
            "document.body.append(s)"
        )
        time.sleep(0.3)
        assert browser.run("window.hurt === undefined"), name


def test_a_task_leads_to_its_page_inside_of_airflow(airflow, browser, run_id):
    found = airflow.get(
        f"/api/v2/dags/example_flight_report/dagRuns/{quote(run_id, safe='')}"
        "/taskInstances/report/links?map_index=-1"
    )
    link = found["extra_links"]["Report"]
    path = link.removeprefix(browser.base)
    assert path.startswith("/plugin/kimi/kimi/view/example_flight_report/")
    browser.show(path, 1400)
    frame = "document.querySelector('iframe')?.contentDocument"
    browser.until(f"{frame}?.querySelector('iframe.report') !== null && {frame} !== undefined")
    assert "New York flights" in browser.run(f"{frame}.querySelector('h1').textContent")
    time.sleep(1)  # the report in its frame draws
    browser.picture("inside-airflow")

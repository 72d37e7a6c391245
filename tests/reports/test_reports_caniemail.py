"""Every bundled template against caniemail's data: what Gmail, Outlook on Windows and Apple Mail can.

The data comes by npm; it is fetched once, into the checkout's ``out`` folder.
"""

import asyncio
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kimi_provider.reports.build import build_report
from kimi_provider.reports.notice import build_notice

NOW = datetime(2013, 2, 9, 11, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
REPORTS, ALERTS = ROOT / "templates" / "reports", ROOT / "templates" / "alerts"
CACHE = ROOT / "out" / "npm"
PACKAGE = "caniemail@1.0.5"  # the newest that runs on Node 20; its data is of 2025-09
CLIENTS = ("gmail.*", "outlook.windows", "apple-mail.*")
LINT = """
import { caniemail } from "caniemail";
import { readFileSync } from "node:fs";
const told = JSON.parse(readFileSync(0, "utf8"));
const found = {};
for (const [name, html] of Object.entries(told.mails)) {
  const { issues } = caniemail({ clients: told.clients, html });
  found[name] = {};
  for (const [client, all] of issues.errors)
    for (const issue of all) (found[name][issue.title] ??= []).push(client);
}
console.log(JSON.stringify(found));
"""
# What some of them cannot, and why the mail is whole there without it.
EXTRAS = {
    "@media": "only phones, dark screens and paper are better off with it; all else is inline",
    "<style> element": "holds nothing but the media queries; all else is inline",
    "<bdi> element": "keeps names of another direction apart; without it words stand in another order",
    "display:none": "of the preheader, which Gmail hides by its height, and Outlook by mso-hide",
    "overflow": "of the preheader, which Outlook hides by mso-hide",
    "overflow-wrap": "word-break says the same to those who do not know it",
    "table-layout": "Outlook lays columns out by their widths",
    "transform": "is text-transform, which the linter takes for it; all of them know that",
    "white-space": "a figure or SQL may break at another place",
}


@pytest.fixture(scope="module")
def linted(flights, hostile, notices, tmp_path_factory):
    """Return what caniemail finds: ``{template: {feature: [clients that lack it]}}``."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("Node and npm are not installed, so caniemail's data cannot be had.")
    if not (CACHE / "node_modules" / "caniemail" / "package.json").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "package.json").write_text('{"private": true, "type": "module"}')
        try:
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--silent", PACKAGE],
                cwd=CACHE, check=True, capture_output=True, timeout=120,
            )  # fmt: skip
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            pytest.skip(f"npm could not install {PACKAGE}; is the registry within reach?")
    mails = {}
    for name in ("daily_brief", "executive", "detailed", "incident"):
        for data, (analysis, sheet) in {"flights": flights, "hostile": hostile["hostile"]}.items():
            folder = tmp_path_factory.mktemp("report")
            done = build_report(
                analysis, sheet, template=name, search_path=[REPORTS], folder=folder, now=NOW
            )
            asyncio.run(done)
            mails[f"{name}, {data}"] = (folder / "report.html").read_text()
    for name, about in notices["flights"].items():
        done = build_notice(name, about, search_path=[ALERTS, REPORTS], now=NOW)
        mails[f"{name}, flights"] = asyncio.run(done).html
    mails["planted"] = '<html><body><div style="display:flex">a</div></body></html>'
    (CACHE / "lint.mjs").write_text(LINT)
    done = subprocess.run(
        ["node", "lint.mjs"],
        cwd=CACHE,
        input=json.dumps({"mails": mails, "clients": CLIENTS}),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = json.loads(done.stdout)
    return {
        name: {feature: sorted(set(clients)) for feature, clients in features.items()}
        for name, features in found.items()
    }


def test_nothing_is_used_that_a_client_cannot_and_needs(linted):
    wrong = {
        template: {feature: clients for feature, clients in found.items() if feature not in EXTRAS}
        for template, found in linted.items()
        if template != "planted"
    }
    assert not any(wrong.values()), json.dumps(wrong, indent=1)


def test_nothing_is_moved_or_turned():
    for style in (*REPORTS.glob("*.j2"), *ALERTS.glob("*.j2")):
        assert not re.search(r"(?<!text-)transform\s*:", style.read_text()), style


def test_the_lint_finds_what_is_planted(linted):
    assert any("flex" in feature for feature in linted["planted"])
    assert len(linted) == 13


def test_what_is_let_through_is_used(linted):
    used = {feature for found in linted.values() for feature in found}
    assert not EXTRAS.keys() - used

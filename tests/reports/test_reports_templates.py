"""The bundled templates: what each shows, and how people make them their own."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kimi_provider.exceptions import ConfigurationError, TemplateError
from kimi_provider.reports.alert_document import Failure, Link, NoticeEvent
from kimi_provider.reports.brand import Brand
from kimi_provider.reports.charts import spark
from kimi_provider.reports.notice import build_notice
from kimi_provider.schemas import Severity

REPORTS = Path(__file__).parents[2] / "templates" / "reports"
ALERTS = REPORTS.parent / "alerts"
NOW = datetime(2013, 2, 9, 11, 0, tzinfo=UTC)
NAMES = ("daily_brief", "executive", "detailed", "incident")


def _event(**fields):
    given = {"rule": "Share canceled above 20%", "reason": "It is 50.8%.", "severity": Severity.CRITICAL}
    return NoticeEvent(**(given | fields))


def _failure(**fields):
    given = {"task": "report", "dag": "flights", "run": "r1", "error": "RenderError: no", "at": NOW}
    return Failure(**(given | fields))


@pytest.fixture
def notify():
    def run(template, about, *, first=(), **options):
        options = {"now": NOW} | options
        return asyncio.run(
            build_notice(template, about, search_path=[*first, ALERTS, REPORTS], **options)
        )

    return run


# --- reports --------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [REPORTS, ALERTS])
def test_every_mail_has_a_text_part(folder):
    html = {path.name.partition(".")[0] for path in folder.glob("*.html.j2")}
    text = {path.name.partition(".")[0] for path in folder.glob("*.txt.j2")}
    assert html - {"frame", "parts", "alert_parts"} == text


@pytest.mark.parametrize("template", NAMES)
def test_every_report_says_what_matters(storm, build, template):
    report = build(*storm, template=template)
    for part in (report.seen, report.text):
        assert "Storm stops New York: 50.8% cancelled" in part
        assert "14.9 min" in part
        assert re.search(r"Call\s+them", part)
        assert "Worst" in part
        assert "better" in part or "worse" in part
    assert '<html lang="en" dir="ltr"' in report.html
    assert "<title>" in report.html
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall("<img[^>]*>", report.html))
    assert not re.search(
        r"display:\s*(flex|grid)|border-radius|<script|javascript:|@import", report.html
    )


def test_the_one_pager_leaves_tables_and_details_out(storm, build):
    brief, page = build(*storm).seen, build(*storm, template="executive").seen
    for left_out in ("Southwest Airlines Co.", "All 930 flights."):
        assert left_out in brief
    assert "All 930 flights." not in page
    assert page.count("Southwest Airlines Co.") == 1  # in the chart's caption


def test_the_incident_starts_with_what_to_do(storm, build):
    analysis, sheet = storm
    analysis = analysis.model_copy(update={"actions": ("Call them.",)})
    report = build(analysis, sheet, template="incident")
    for part in (report.seen, report.text):
        assert part.index("Call them.") < part.lower().index("average delay")
    assert report.text.startswith("CRITICAL")
    assert report.seen.count("Call them.") == 1


def test_the_detailed_report_leads_from_sentences_to_queries(storm, build):
    report = build(*storm, template="detailed")
    for part in (report.seen, report.text):
        assert "SELECT 1" in part
        assert re.search(r"Average delay:\s+14.9 min\s+\(Query 1\)", part)
    assert "3f2a91bc77aa" in report.seen


def test_a_logo_goes_with_the_mail_and_names_the_sender(storm, build):
    brand = Brand(name="Skyline", logo=spark([1, 2], Brand()).png)
    report = build(*storm, brand=brand, title="Flights")
    content_id = brand.picture.content_id
    assert f'src="cid:{content_id}"' in report.html
    assert 'alt="Skyline"' in report.html
    assert content_id in {image.content_id for image in report.ref.images}
    assert f"cid:{content_id}" not in report.page


def test_a_brands_font_and_colors_reach_every_mail(storm, build, notify):
    brand = Brand(accent="#0b7a4b", font="Open Sans")
    for html in (build(*storm, brand=brand).html, notify("alert", [_event()], brand=brand).html):
        assert "Open Sans" in html
        assert "#0b7a4b" in html


def test_a_folder_of_ones_own_replaces_parts_and_blocks(storm, build, notify, tmp_path):
    (tmp_path / "mine.html.j2").write_text(
        '{% extends "daily_brief.html.j2" %}'
        "{% block tables %}<tr><td>My own part</td></tr>{% endblock %}"
    )
    (tmp_path / "mine.txt.j2").write_text('{% extends "daily_brief.txt.j2" %}')
    report = build(*storm, template="mine", search_path=[tmp_path, REPORTS])
    assert "My own part" in report.seen
    assert "Storm stops" in report.seen
    (tmp_path / "alert.txt.j2").write_text("Mine: {{ doc.events[0].reason }}")
    assert notify("alert", [_event()], first=[tmp_path]).text == "Mine: It is 50.8%.\n"


# --- notices --------------------------------------------------------------------------------------


def test_an_alert_says_what_since_when_and_what_to_do(notify):
    event = _event(
        labels={"airport": "JFK"},
        since=NOW - timedelta(hours=26),
        times=3,
        steps=("Call the airport.",),
        links=(Link("Open the run", "https://airflow.example/run"),),
    )
    notice = notify("alert", [event], timezone="America/New_York", title="Flights")
    assert notice.subject == "[Critical] Share canceled above 20%"
    for part in (notice.html, notice.text):
        for said in ("It is 50.8%.", "Feb 8, 2013", "EST", "3 times in a row", "airport", "JFK"):
            assert said in part
        assert "Call the airport." in part
        assert "https://airflow.example/run" in part
    assert notice.document.preheader == "It is 50.8%."
    assert notice.pictures == ()


def test_a_digest_parts_what_goes_on_from_what_is_over(notify):
    over = _event(rule="No rows", status="resolved", since=NOW - timedelta(minutes=90), until=NOW)
    minor = _event(rule="Late", severity=Severity.INFO)
    notice = notify("digest", [over, minor, _event()])
    assert notice.subject == "[Critical] 3 alerts: Share canceled above 20%"
    order = [notice.html.rindex(name) for name in (">Share canceled above", ">Late<", ">No rows<")]
    assert order == sorted(order)
    assert "Active (2)" in notice.html
    assert "Resolved (1)" in notice.html
    assert "Lasted: 90 minutes" in notice.text


def test_all_clear_is_green_and_asks_nothing(notify):
    over = _event(status="resolved", steps=("Call the airport.",))
    notice = notify("resolved", [over])
    assert notice.subject == "[Resolved] Share canceled above 20%"
    assert notice.document.mark == "resolved"
    assert "Call the airport." not in notice.html + notice.text


def test_a_failure_tells_its_owner_what_where_and_what_to_do(notify):
    failure = _failure(
        error="RenderError: <too> large\nsecond line",
        attempt=2,
        attempts=3,
        steps=("Show fewer tables.",),
        log_url="https://airflow.example/log?a=1&b=2",
    )
    notice = notify("failure", failure)
    assert notice.subject == "[Failed] report failed (flights)"
    assert "&lt;too&gt; large\nsecond line" in notice.html
    assert 'href="https://airflow.example/log?a=1&amp;b=2"' in notice.html
    for said in ("<too> large", "second line", "2 of 3", "Show fewer tables.", "r1", "log?a=1&b=2"):
        assert said in notice.text


def test_a_notice_speaks_polish(notify):
    notice = notify("digest", [_event()] * 5, locale="pl")
    assert notice.subject.startswith("[Krytyczne] 5 alertów: ")
    assert '<html lang="pl"' in notice.html
    assert notify("failure", _failure(), locale="pl").subject == (
        "[Niepowodzenie] Zadanie report nie powiodło się (flights)"
    )


def test_many_alerts_are_cut_until_the_mail_is_small_enough(notify):
    events = [_event(rule=f"Rule {at}", reason="r" * 590) for at in range(300)]
    notice = notify("digest", events)
    assert len(notice.html.encode()) < 100_000
    shown = len(notice.document.events)
    assert 1 < shown <= 25
    assert f"and {300 - shown} more" in notice.html
    assert notice.document.headline.startswith("300 alerts: ")


def test_nothing_from_outside_becomes_markup_or_a_header(notify):
    evil = "<script>alert(1)</script>\r\nBcc: x@example.org {{ 7*7 }}"
    notice = notify("alert", [_event(rule=evil, reason=evil, labels={evil: evil}, steps=(evil,))])
    assert "<script" not in notice.html
    assert "49" not in notice.text
    assert "\n" not in notice.subject
    assert notice.subject.isprintable()


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "/relative", ""])
def test_a_link_leads_to_the_web_or_nowhere(notify, url):
    with pytest.raises(ConfigurationError, match="no http or https address"):
        notify("alert", [_event(links=(Link("Open", url),))])


def test_a_notice_on_nothing_is_refused(notify):
    with pytest.raises(ConfigurationError, match="no alert to tell of"):
        notify("alert", [])


def test_a_wrong_subject_field_names_those_there_are(notify):
    assert notify("alert", [_event()], subject="{title}: {state}").subject == "Kimi reports: Critical"
    with pytest.raises(ConfigurationError, match=r"\{date\}.*\{title\}, \{headline\}, \{state\}"):
        notify("alert", [_event()], subject="{date}")


def test_a_wrong_field_in_an_alerts_template_is_named_with_its_line(notify, tmp_path):
    (tmp_path / "alert.html.j2").write_text("\n\n{{ doc.events[0].sevrity }}")
    with pytest.raises(TemplateError) as error:
        notify("alert", [_event()], first=[tmp_path])
    assert "'alert.html.j2', line 3, wants the field 'sevrity' of a AlertBlock" in str(error.value)
    assert "fields available: title, reason, severity, level, status" in str(error.value)
    assert "Names at the top: brand, doc, medium, words." in str(error.value)

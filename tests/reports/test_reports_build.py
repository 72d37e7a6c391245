import logging
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kimi_provider.exceptions import RenderError, TemplateError
from kimi_provider.reports.brand import Brand, contrast
from kimi_provider.reports.html import MAX_BYTES
from kimi_provider.schemas import ChartRequest, Finding, ReportRef

BUNDLED = Path(__file__).parents[2] / "templates" / "reports"
FIGURE = re.compile(r"[+\N{MINUS SIGN}$]*\d[\d,.]*%?")
VOID = {"meta", "br", "img", "hr"}
HOSTILE = "<script>alert(1)</script>{{ conn.sendgrid_default.password }}[[day.flights]]"


class Elements(HTMLParser):
    """Every element with its attributes and styles, and every text with the colors that it has."""

    def __init__(self, html):
        super().__init__()
        self.stack = [{"color": "#000000", "background-color": "#ffffff"}]
        self.elements = []
        self.texts = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        rules = [rule.split(":", 1) for rule in attrs.get("style", "").split(";") if ":" in rule]
        style = {name.strip(): value.strip() for name, value in rules}
        self.elements.append((tag, attrs, style))
        if tag not in VOID:
            self.stack.append(
                {k: style.get(k, self.stack[-1][k]) for k in ("color", "background-color")}
                | {"hidden": tag in ("title", "style") or style.get("display") == "none"}
            )

    def handle_endtag(self, tag):
        if tag not in VOID:
            self.stack.pop()

    def handle_data(self, data):
        if data.strip() and not self.stack[-1].get("hidden"):
            self.texts.append((data.strip(), self.stack[-1]))


def figures(text):
    return {figure.rstrip(".,") for figure in FIGURE.findall(text)}


def test_files_and_reference(storm, build):
    report = build(*storm, title="On time")
    ref = report.ref
    assert ref.subject == "On time — Feb 8, 2013: Storm stops New York: 50.8% cancelled"
    assert (ref.period, ref.severity) == ("2013-02-08", "critical")
    assert ref.html_uri == (report.folder / "report.html").as_uri()
    assert [image.uri for image in ref.images] == [(report.folder / "chart-1.png").as_uri()]
    assert (report.folder / "chart-1.png").read_bytes().startswith(b"\x89PNG")
    assert ReportRef.model_validate(ref.model_dump(mode="json")) == ref


def test_the_hash_follows_the_content(storm, build):
    analysis, sheet = storm
    first = build(analysis, sheet).ref.sha256
    assert build(analysis, sheet).ref.sha256 == first
    assert build(analysis.model_copy(update={"summary": "Else."}), sheet).ref.sha256 != first


def test_pictures_are_attached_in_the_mail_and_inside_the_page(storm, build):
    report = build(*storm)
    (image,) = report.ref.images
    assert f'src="cid:{image.content_id}"' in report.html
    assert "data:image" not in report.html
    assert 'src="data:image/png;base64,iVBOR' in report.page
    assert "cid:" not in report.page


def test_html_and_text_hold_the_same_figures(storm, build):
    report = build(*storm)
    assert figures(report.seen) == figures(report.text)
    assert {"930", "14.9", "+8.4", "50.8%", "38.1", "30.0", "\N{MINUS SIGN}2"} <= figures(report.seen)


@pytest.mark.parametrize("accent", ["#1d4f91", "#f6d743"])
def test_every_text_is_readable_on_its_background(storm, build, accent):
    analysis, sheet = storm
    analysis = analysis.model_copy(
        update={"simulated": True, "charts": (*analysis.charts, _chart("nope"))}
    )
    texts = Elements(build(analysis, sheet, brand=Brand(accent=accent)).html).texts
    assert len(texts) > 40
    for text, style in texts:
        assert contrast(style["color"], style["background-color"]) >= 4.5, text


def test_the_mail_is_fit_for_old_clients(storm, build):
    html = build(*storm).html
    assert len(html.encode()) < MAX_BYTES
    assert html.startswith("<!DOCTYPE html>")
    for tag, attrs, style in Elements(html).elements:
        assert tag not in {"script", "link", "svg", "iframe", "form", "video", "object", "base"}
        assert not {"position", "float", "flex", "grid", "background-image"} & set(style), tag
        assert style.get("display", "block") in {"block", "none"}
        assert int(re.sub(r"\D.*", "", attrs.get("width", "0")) or 0) <= 640
        assert not attrs.get("src", "cid:").startswith(("http", "//", "data:"))
        assert "url(" not in attrs.get("style", "")
        if tag == "html":
            assert attrs["lang"] == "en"
        if tag == "img":
            assert attrs["alt"] == "Bar chart: Delay"
            assert (attrs["width"], attrs["height"].isdigit()) == ("592", True)
        if tag == "table" and "data" not in attrs.get("class", ""):
            assert attrs["role"] == "presentation"


def test_nothing_is_told_by_color_alone(storm, build):
    report = build(*storm)
    for part in (" ".join(text.split()) for text in (report.seen, report.text)):
        assert "▲ +8.4 min" in part
        assert "worse than the day before" in part
        assert "Critical" in part
        assert "no value for Mesa Airlines Inc." in part


def test_the_simulator_signs(storm, build):
    analysis, sheet = storm
    line = "Written by the simulator, not by Kimi."
    report = build(analysis, sheet)
    assert line not in report.seen + report.text
    report = build(analysis.model_copy(update={"simulated": True}), sheet)
    assert line in report.seen
    assert line in report.text


def test_a_chart_that_fails_is_named_in_the_report(storm, build, caplog):
    analysis, sheet = storm
    analysis = analysis.model_copy(update={"charts": (_chart("nope"), *analysis.charts)})
    with caplog.at_level(logging.WARNING):
        report = build(analysis, sheet)
    note = "The chart “Gone” could not be drawn: there is no table 'nope'."
    assert note in report.seen
    assert note in " ".join(report.text.split())
    assert len(report.ref.images) == 1
    assert "'nope'" in caplog.text


def test_a_chart_wanted_twice_is_drawn_once(storm, build):
    analysis, sheet = storm
    again = analysis.charts[0].model_copy(update={"title": "The same again"})
    report = build(analysis.model_copy(update={"charts": (*analysis.charts, again)}), sheet)
    assert len(report.ref.images) == 1
    assert "The same again" not in report.seen


def test_hostile_text_is_text_everywhere(make, build):
    table = make.table("t", [(HOSTILE, 3), ("شركة", -1e18), ("x" * 300, None)], label=HOSTILE)
    sheet = make.sheet(
        [make.fact("name", HOSTILE, "text", label=HOSTILE, kpi=True), make.fact("none", None, kpi=True)],
        [table],
    )
    analysis = make.analysis(
        headline="Worst: [[name]]",
        summary="[[name]] <script>alert(2)</script> ![x](http://e.example/x.png)",
        findings=(Finding(title="[[name]]", detail="[[name]]", severity="warning"),),
        actions=("[[name]]",),
        charts=(ChartRequest(title="[[name]]", kind="bar", table="t", x="carrier", y="avg_delay"),),
    )
    report = build(analysis, sheet, title=HOSTILE)
    for html in (report.html, report.page):
        assert not {"script", "svg"} & {tag for tag, _, _ in Elements(html).elements}
        assert "http://e.example" not in html
    assert report.seen.count("<script>alert(1)</script>") >= 8
    assert report.seen.count("{{ conn.sendgrid_default.password }}[[day.flights]]") >= 8
    assert HOSTILE in report.text
    assert report.ref.subject.isprintable()


@pytest.mark.parametrize("findings", [(), (Finding(title="T", detail="", severity="info"),)])
def test_an_empty_sheet_makes_a_whole_report(make, build, findings):
    report = build(make.analysis(findings=findings, period=None), make.sheet())
    assert ("There is no data for this report." in report.seen) is (not findings)
    assert "Period" not in report.seen


def test_tables_shrink_until_the_mail_is_small_enough(make, build):
    columns = ("a", "b", "c", "d", "e")
    rows = [("n" * 80, *range(5)) for _ in range(40)]
    tables = [make.table(f"t{i}", rows, columns=columns, unit="count") for i in range(12)]
    report = build(make.analysis(), make.sheet((), tables))
    assert len(report.html.encode()) <= MAX_BYTES
    assert "and 28 more" not in report.seen
    assert re.search(r"and 3\d more", report.seen)


def test_a_long_text_is_cut_in_the_mail_and_whole_on_the_page(make, build):
    report = build(make.analysis(summary="long word " * 20_000), make.sheet([make.fact("x", 1)]))
    assert len(report.html.encode()) <= MAX_BYTES
    assert "The text is cut to fit a mail; the web page has all of it." in report.seen
    assert report.page.count("long word") >= 20_000


def test_a_mail_that_cannot_be_small_enough_fails(storm, build, tmp_path):
    (tmp_path / "fat.html.j2").write_text("{% for _ in range(99999) %}much{% endfor %}")
    with pytest.raises(RenderError, match=r"Gmail cuts off .* 'fat'"):
        build(*storm, template="fat", search_path=[tmp_path, BUNDLED])


def test_own_templates_extend_ours(storm, build, tmp_path):
    (tmp_path / "mine.html.j2").write_text(
        '{% extends "daily_brief.html.j2" %}'
        "{% block findings %}<tr><td>Mine {{ brand.name }}</td></tr>{% endblock %}"
    )
    (tmp_path / "mine.txt.j2").write_text("Mine {{ doc.headline }}")
    bundled = build(*storm)
    search_path = [tmp_path, BUNDLED]
    report = build(*storm, template="mine", search_path=search_path)
    assert "Mine Kimi reports" in report.seen
    assert "Worst" in bundled.seen
    assert "Worst" not in report.seen
    assert report.text == "Mine Storm stops New York: 50.8% cancelled\n"


def test_a_template_that_wants_what_is_not_there_says_what_is(storm, build, tmp_path):
    (tmp_path / "bad.html.j2").write_text("\n{{ doc.titel }}")
    with pytest.raises(TemplateError, match=r"'bad.html.j2', line 2, .*'titel' of a Document.*headline"):
        build(*storm, template="bad", search_path=[tmp_path])
    with pytest.raises(TemplateError, match=r"no template 'nope.html.j2'.*daily_brief.html.j2"):
        build(*storm, template="nope")
    assert not (tmp_path / "report").exists()


def _chart(table):
    return ChartRequest(title="Gone", kind="bar", table=table, x="a", y="b")

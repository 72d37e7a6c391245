import pytest

from kimi_provider.reports.compose import is_empty
from kimi_provider.schemas import ChartRequest, Finding, Usage

FINDING = Finding(title="T", detail="", severity="info")


@pytest.mark.parametrize("template", ["daily_brief", "executive", "detailed", "incident"])
@pytest.mark.parametrize("rows", [None, []])
def test_no_data_makes_a_short_report_that_says_so(make, build, template, rows):
    sheet = make.sheet([make.fact("a", None)], [] if rows is None else [make.table("t", rows)])
    analysis = make.analysis(headline="", charts=(), usage=Usage())
    report = build(analysis, sheet, template=template, title="Brief")
    for text in (report.seen, " ".join(report.text.split()), report.markdown):
        assert "There is no data for this report." in text
        assert "Friday, February 8, 2013" in text
        assert "Nothing noteworthy was found." not in text
    assert report.ref.subject == "Brief — Feb 8, 2013: No data"
    assert report.ref.empty
    assert len(report.html.encode()) < 20_000


def test_without_data_no_chart_has_failed_and_nothing_is_listed(make, build):
    analysis = make.analysis(
        headline="",
        charts=(ChartRequest(kind="bar", title="Delays", table="t", x="carrier", y="avg_delay"),),
    )
    sheet = make.sheet([make.fact("a", None, kpi=True)], [make.table("t", [])])
    report = build(analysis, sheet)
    assert report.ref.failures == ()
    for text in (report.seen, report.text, report.markdown):
        assert "Delays" not in text
        assert "Carriers" not in text
        assert "n/a" not in text


def test_what_is_empty(make):
    some, none = make.fact("a", 0, "count"), make.fact("a", None)
    assert is_empty(make.analysis(), make.sheet())
    assert is_empty(make.analysis(headline="No data", summary="None."), make.sheet([none]))
    assert not is_empty(make.analysis(), make.sheet([some]))
    assert not is_empty(make.analysis(), make.sheet((), [make.table("t", [("a", None)])]))
    assert not is_empty(make.analysis(findings=(FINDING,)), make.sheet())


@pytest.mark.parametrize("template", ["daily_brief", "executive", "detailed", "incident"])
def test_facts_without_a_model_are_marked_as_such(storm, build, template):
    analysis, sheet = storm
    analysis = analysis.model_copy(
        update={"failure": "overloaded", "summary": "", "findings": (), "actions": (), "model": ""}
    )
    report = build(analysis, sheet, template=template)
    marker = "Figures only: no model wrote this report. The model's analysis failed (overloaded)."
    for text in (report.seen, " ".join(report.text.split()), report.markdown):
        assert marker in text.replace("\\", "")
        assert "no model" in text
        assert "14.9 min" in text
    assert report.ref.failures[0].startswith(marker)
    assert not report.ref.empty


def test_files_of_a_report_on_no_data(make, build):
    report = build(make.analysis(headline=""), make.sheet(), formats=["pdf", "xlsx", "csv"], name="a")
    assert report.ref.failures == ()
    assert [attachment.name for attachment in report.ref.attachments] == ["a.pdf", "a.xlsx"]

import csv
import io
import logging
import sys

import pytest

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.reports.files import check_formats, file_name
from kimi_provider.schemas import Grounding, Unit


def read(path, encoding="utf-8-sig"):
    return list(csv.reader(io.StringIO(path.read_bytes().decode(encoding), newline="")))


def names(report):
    return [attachment.name for attachment in report.ref.attachments]


def test_csv_has_every_digit_a_heading_with_the_unit_and_no_formula(make, build):
    rows = [("=1+1", -1234.56789, 0.25), ('Łódź, "x"\r\ny', None, 1e15), ("@a", 0, -0.5)]
    table, facts = make.table("By city!", rows, columns=("delay", "share"))
    columns = (
        table.columns[0],
        table.columns[1],
        table.columns[2].model_copy(update={"unit": Unit.PERCENT}),
    )
    facts = [f.model_copy(update={"unit": Unit.PERCENT}) if f.id.endswith("share") else f for f in facts]
    table = table.model_copy(update={"columns": columns, "rows": table.rows})
    report = build(make.analysis(), make.sheet((), [(table, facts)]), formats=["csv"])
    data = (report.folder / "by-city.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\r\n") == 4
    assert read(report.folder / "by-city.csv") == [
        ["Carrier", "delay, min", "share, fraction"],
        ["'=1+1", "-1234.56789", "0.25"],
        ['Łódź, "x" y', "", "1000000000000000"],
        ["'@a", "0", "-0.5"],
    ]


def test_the_byte_order_mark_is_a_choice(storm, build):
    report = build(*storm, formats=["csv"], byte_order_mark=False)
    assert (report.folder / "by-carrier.csv").read_bytes().startswith(b"Carrier")
    assert names(report) == ["key-figures.csv", "by-carrier.csv"]


def test_a_long_table_is_cut_in_the_mail_and_attached_whole(make, build):
    table = make.table("big", [(f"r{i}", i) for i in range(226)])
    report = build(make.analysis(), make.sheet((), [table, make.table("small", [("a", 1)])]))
    assert "and 214 more; all of it in big.csv" in report.seen
    assert "Attached big.csv" in report.seen
    assert names(report) == ["big.csv"]
    (attachment,) = report.ref.attachments
    assert attachment.media_type == "text/csv"
    rows = read(report.folder / "big.csv")
    assert len(rows) == 227
    assert rows[-1] == ["r225", "225"]
    assert "and 26 more" in report.page


def test_a_wide_table_is_attached_too(make, build):
    table = make.table("wide", [("a", *range(9))], columns=tuple("abcdefghi"))
    assert names(build(make.analysis(), make.sheet((), [table]))) == ["wide.csv"]


def test_no_file_comes_twice(make, build):
    table = make.table("key figures", [(f"r{i}", i) for i in range(50)])
    report = build(make.analysis(), make.sheet([make.fact("x", 1, kpi=True)], [table]), formats=["csv"])
    assert names(report) == ["key-figures.csv", "key-figures-2.csv"]


def test_every_mail_is_small_and_names_what_it_leaves_out(make, build):
    tables = [
        make.table(f"t{i}", [("n" * 80, i)] * 40, label=f"Table {i} {'l' * 500}") for i in range(90)
    ]
    findings = [make.finding(detail="word " * 300) for _ in range(40)]
    report = build(make.analysis(findings=tuple(findings)), make.sheet((), tables))
    assert len(report.html.encode()) <= 100_000
    assert "Tables left out to fit a mail: Table 0" in report.seen
    assert len(names(report)) == 90


def test_all_formats_hold_the_same_files_that_the_reference_names(storm, build):
    report = build(*storm, formats="pdf, xlsx,csv", title="Daily brief")
    assert names(report) == [
        "Daily-brief-2013-02-08.pdf",
        "Daily-brief-2013-02-08.xlsx",
        "key-figures.csv",
        "by-carrier.csv",
    ]
    for attachment in report.ref.attachments:
        assert (report.folder / attachment.name).stat().st_size == attachment.bytes
        assert attachment.name in report.seen
        assert attachment.name in report.text
    assert report.ref.failures == ()
    assert report.ref.markdown_uri == (report.folder / "report.md").as_uri()


def test_a_file_that_cannot_be_made_is_named_and_the_rest_is_there(storm, build, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "typst", None)
    monkeypatch.setattr("kimi_provider.reports.files.workbook", lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.WARNING):
        report = build(*storm, formats=["pdf", "xlsx", "csv"], name="brief")
    needs = "a PDF needs Typst: pip install 'airflow-provider-kimi[pdf]'"
    told = (
        f"The file brief.pdf could not be made: {needs}.",
        "The file brief.xlsx could not be made: ZeroDivisionError.",
    )
    assert report.ref.failures == told
    for text in (report.seen, " ".join(report.text.split())):
        assert all(sentence in text for sentence in told)
    assert names(report) == ["key-figures.csv", "by-carrier.csv"]
    assert "brief.pdf" in caplog.text


def test_a_chart_that_fails_marks_the_reference(storm, build):
    analysis, sheet = storm
    gone = analysis.charts[0].model_copy(update={"table": "nope"})
    report = build(analysis.model_copy(update={"charts": (gone,)}), sheet)
    assert report.ref.failures == ("The chart “Delay” could not be drawn: there is no table 'nope'.",)


def test_score_and_cost_are_in_the_reference(storm, build):
    analysis, sheet = storm
    assert build(analysis, sheet).ref.grounding_score is None
    ref = build(
        analysis.model_copy(update={"grounding": Grounding(score=0.9996, sentences=12)}), sheet
    ).ref
    assert (ref.grounding_score, float(ref.cost_usd)) == (0.9996, 0.0123)


def test_an_unknown_format_is_told():
    with pytest.raises(ConfigurationError, match=r"'docx' is not known\. Formats are: pdf, xlsx, csv"):
        check_formats(["pdf", "docx"])
    assert check_formats("pdf,,PDF , csv") == ("pdf", "csv")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, "Raport-dzienny-2013-02-08"),
        ("../../etc/passwd", "etc-passwd"),
        ("Łódź / brief", "Łódź-brief"),
        ("...", "report"),
        ("x" * 200, "x" * 80),
    ],
)
def test_file_names_are_safe(wanted, expected):
    assert file_name(wanted, title="Raport: dzienny", period="2013-02-08") == expected

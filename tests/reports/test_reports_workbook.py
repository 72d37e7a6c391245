import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from kimi_provider.reports.workbook import sheet_name

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture
def book(build):
    from openpyxl import load_workbook

    def run(analysis, sheet, **options):
        report = build(analysis, sheet, formats=["xlsx"], title="Brief", **options)
        (attached,) = (a for a in report.ref.attachments if a.name.endswith(".xlsx"))
        data = (report.folder / attached.name).read_bytes()
        assert (attached.media_type, attached.bytes) == (XLSX, len(data))
        return load_workbook(io.BytesIO(data))

    return run


def test_a_sheet_a_table_with_formats_and_a_frozen_heading(storm, book):
    workbook = book(*storm)
    assert workbook.sheetnames == [
        "Summary",
        "Key figures",
        "Carriers",
        "Where the figures come from"[:31],
    ]
    sheet = workbook["Carriers"]
    assert [cell.value for cell in sheet[1]] == ["Carrier", "avg delay, min"]
    assert [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)] == [
        ["Southwest Airlines Co.", 38.11],
        ["Envoy Air", 29.97],
        ["Mesa Airlines Inc.", None],
    ]
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("B2", "A1:B4")
    assert sheet["B2"].number_format == "#,##0.0"
    key = workbook["Key figures"]
    assert [key.cell(4, column).value for column in (1, 2)] == ["Cancelled", 0.5075]
    assert key["B4"].number_format == "#,##0.0%"
    assert [cell.value for cell in key[3]] == ["Average delay", 14.86, 6.5, 8.36]
    assert [sheet.cell(1, column).alignment.horizontal for column in (1, 2)] == [None, "right"]
    assert (sheet.print_title_rows, sheet.page_setup.orientation) == ("$1:$1", "landscape")
    assert workbook.properties.title == "Brief"
    assert workbook.properties.created == datetime(2013, 2, 9, 11, tzinfo=UTC).replace(tzinfo=None)


def test_wrapped_text_has_the_room_it_takes(make, book):
    words = "A few words of a summary. " * 40
    workbook = book(make.analysis(summary=words), make.sheet([make.fact("x", 1, kpi=True)]))
    sheet = workbook["Summary"]
    (at,) = (row[1].row for row in sheet.iter_rows() if row[1].value and words[:40] in row[1].value)
    assert sheet.row_dimensions[at].height >= 15 * len(words) / 100
    assert sheet.row_dimensions[at - 1].height < 40
    assert sheet.column_dimensions["A"].width >= 30


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en", '"$"#,##0.00'),
        ("pl", '#,##0.00\N{NO-BREAK SPACE}"USD"'),
        ("de", '#,##0.00\N{NO-BREAK SPACE}"$"'),
    ],
)
def test_money_stands_where_the_locale_puts_it(make, book, locale, expected):
    sheet = make.sheet([make.fact("x", 1.5, "currency", unit_label="USD", kpi=True)])
    assert book(make.analysis(), sheet, locale=locale).worksheets[1]["B2"].number_format == expected


def test_a_facts_own_pattern_is_the_cells(make, book):
    sheet = make.sheet([make.fact("x", 1.5, "minutes", format="0.000 'm'", kpi=True)])
    assert book(make.analysis(), sheet).worksheets[1]["B2"].number_format == '0.000 "m"'


def test_dates_are_dates(make, book):
    days = make.table("d", [("2013-02-08", 1), ("nope", 2)], key_unit="date")
    sheet = book(make.analysis(), make.sheet((), [days]))["Carriers"]
    assert (sheet["A2"].value, sheet["A2"].number_format) == (datetime(2013, 2, 8), "yyyy-mm-dd")  # noqa: DTZ001 — Excel knows no zones
    assert sheet["A3"].value == "nope"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "http://e.example"]
)
def test_no_text_becomes_a_formula_or_a_link(make, book, text):
    table = make.table("t", [(text, 1)], label=text)
    sheet = make.sheet([make.fact("n", text, "text", label=text, kpi=True)], [table])
    analysis = make.analysis(headline=text, summary=text, actions=(text,))
    workbook = book(analysis, sheet)
    cells = [
        cell for sheet in workbook for row in sheet.iter_rows() for cell in row if cell.value is not None
    ]
    assert {cell.data_type for cell in cells} <= {"s", "n"}
    assert all(cell.hyperlink is None for cell in cells)
    assert sum(cell.value == text for cell in cells) >= 3


def test_values_that_excel_has_no_room_for(make, book):
    rows = [("y" * 40_000, 1e300), ("\ud800x", -1e-9), ("z", None)]
    sheet = make.sheet((), [make.table("t", rows, unit="number")])
    written = book(make.analysis(), sheet)["Carriers"]
    assert [written.cell(row, 2).value for row in (2, 3, 4)] == [1e300, -1e-9, None]
    assert len(written["A2"].value) <= 32_767


def test_right_to_left_sheets(storm, book):
    assert all(sheet.sheet_view.rightToLeft for sheet in book(*storm, locale="ar"))
    assert not any(sheet.sheet_view.rightToLeft for sheet in book(*storm))


def test_sheet_names():
    taken = set()
    names = [sheet_name(n, taken) for n in ("a/b:c", "A?B*C", "", "x" * 40, "x" * 50, "History", "'q'")]
    assert names == ["a b c", "A B C 2", "Sheet", "x" * 31, "x" * 29 + " 2", "History 1", "q"]


def test_a_decimal_keeps_its_value(make, book):
    sheet = make.sheet([make.fact("x", 0.1, kpi=True)])
    assert Decimal(str(book(make.analysis(), sheet).worksheets[1]["B2"].value)) == Decimal("0.1")

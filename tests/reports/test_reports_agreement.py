"""One report, read back from each of its renderings: no two may show another figure.

The workbook is the one that has numbers rather than text, so it is read as Excel would show it, and all
others are held against it.
"""

import csv
import io
import re
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from types import SimpleNamespace

import pytest

pytest.importorskip("typst", reason="Typst, the extra pdf, is not installed")
MINUS = "\N{MINUS SIGN}"
NO_TABLES = {"Summary", "Key figures", "Where the figures come from"}
PROSE = {"Critical", "Warning", "Info", "Summary"}


@pytest.fixture
def read(flights, build):
    """Every rendering of the flights' report as text on one line, its workbook and its CSV files."""
    from openpyxl import load_workbook
    from pypdf import PdfReader

    report = build(*flights, formats=["pdf", "xlsx", "csv"], name="all")
    assert report.ref.failures == ()
    page = report.folder / "page.html"
    texts = {
        "mail": report.seen,
        "page": type(report).seen.fget(SimpleNamespace(html=page.read_text())),
        "text": report.text,
        "markdown": re.sub(r"\\|\||\*\*", " ", report.markdown),
        "pdf": " ".join(p.extract_text() for p in PdfReader(report.folder / "all.pdf").pages),
    }
    texts = {name: re.sub(r"\s+", " ", text) for name, text in texts.items()}
    book = load_workbook(report.folder / "all.xlsx")
    return texts, book, {file.stem: file for file in report.folder.glob("*.csv")}


def shown(cell):
    """Return what a reader of the sheet sees in a cell, as a pattern for the other renderings."""
    pattern, value = cell.number_format, cell.value
    if value is None:
        return "n/a"
    if isinstance(value, str):
        return re.escape(value)
    if isinstance(value, datetime):
        return re.escape(f"{value:%b} {value.day}, {value.year}")
    return re.escape(printed(value, pattern).replace("-", MINUS))


def printed(value, pattern):
    percent = "%" in pattern
    places = len(pattern.partition(".")[2].rstrip("%"))
    number = Decimal(repr(value)).scaleb(2 if percent else 0)
    return f"{number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):,f}{'%' if percent else ''}"


def test_every_figure_of_every_table_is_the_same_everywhere(read):
    texts, book, files = read
    csv_tables = [rows_of_csv(file) for file in files.values()]
    in_the_mail = 0
    tables = [book[name] for name in book.sheetnames if name not in NO_TABLES]
    assert len(tables) == 9
    for sheet in tables:
        rows = list(sheet.iter_rows(min_row=2))
        raw = [[plain(cell.value) for cell in row] for row in rows]
        assert csv_tables.count(raw) == 1, sheet.title
        for row in rows:
            line = re.compile(rf"(?<![\w.,]){' '.join(map(shown, row))}(?![\w.,]\w)")
            found = {name for name, text in texts.items() if line.search(text)}
            assert {"page", "markdown", "pdf"} <= found, (sheet.title, line.pattern)
            assert ("mail" in found) == ("text" in found), line.pattern  # both leave out the same rows
            in_the_mail += "mail" in found
    assert in_the_mail > 40


def test_the_key_figures_and_the_prose_are_the_same_everywhere(read):
    texts, book, _ = read
    rows = list(book["Key figures"].iter_rows(min_row=2))
    assert len(rows) == 4
    for label, value, _, first, _, second in rows:
        changes = [printed(cell.value, cell.number_format) for cell in (first, second)]
        signed = [(c if c[0] == "-" else f"+{c}").replace("-", MINUS).rstrip("%") for c in changes]
        told = "[^▲▼]*[▲▼] ".join([f"{label.value}:? {shown(value)}", *map(re.escape, signed)])
        for name, text in texts.items():
            assert re.search(told, text), (name, told)
    prose = [row[1].value for row in book["Summary"].iter_rows() if row[0].value in PROSE]
    sentences = [one for cell in prose for one in cell.split("\n")]
    assert len(sentences) == 10
    for name, text in texts.items():
        shut = text.replace(" ", "")  # where a figure is bold, HTML has a space beside it
        assert [one for one in sentences if one.replace(" ", "") not in shut] == [], name


def rows_of_csv(file):
    rows = csv.reader(io.StringIO(file.read_bytes().decode("utf-8-sig")))
    return [[plain(field) for field in row] for row in list(rows)[1:]]


def plain(value):
    """Return a number as one, whether a cell or a field of text had it."""
    if isinstance(value, datetime):
        return value.date().isoformat()
    try:
        return float(f"{float(value):.12g}")
    except (TypeError, ValueError):
        return value or ""

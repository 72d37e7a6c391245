"""Files of each format to datasets: values, types, what is refused, and what is bounded."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import zipfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb  # noqa: TID253 — a test pays no DAG parse
import openpyxl  # noqa: TID253 — the same
import pytest
import zstandard  # noqa: TID253 — the same

from kimi_provider.exceptions import ConfigurationError, SourceError, SourceUnavailableError
from kimi_provider.sources.file_request import CsvOptions, FileRequest
from kimi_provider.sources.files import fetch_files


@pytest.fixture
def fetch(tmp_path):
    """Write files, by name and content, and fetch them."""

    def run(contents, *, types=None, allow_empty=False, csv=None, **options):
        files = {}
        for name, content in contents.items():
            files[name] = tmp_path / "in" / name
            files[name].parent.mkdir(parents=True, exist_ok=True)
            files[name].write_bytes(content.encode() if isinstance(content, str) else content)
        return fetch_files(
            FileRequest(csv=CsvOptions(**csv or {}), **options),
            files,
            tmp_path / "dataset.parquet",
            source="The test",
            types=types,
            allow_empty=allow_empty,
        )

    return run


@pytest.fixture
def rows_of(fetch, table):
    def read(contents, sql="SELECT * FROM dataset", **options):
        return table(fetch(contents, **options).uri.removeprefix("file://"), sql)

    return read


def types_of(ref):
    return {column.name: column.type for column in ref.columns}


def _refuses(fetch, contents, told, **options):
    with pytest.raises(SourceError, match=told) as caught:
        fetch(contents, **options)
    assert next(reversed(contents)) in str(caught.value)
    return str(caught.value)


class TestCsv:
    def test_types_are_found_over_all_rows(self, fetch, rows_of):
        rows = "".join(f"{i},{i / 4},2013-02-{i % 28 + 1:02},x{i},{i}\n" for i in range(30_000))
        ref = fetch({"a.csv": f"i,quarter,day,text,late\n{rows}1,2,2013-02-01,x,never\n"})
        assert ref.rows == 30_001
        assert types_of(ref) == {
            "i": "BIGINT", "quarter": "DECIMAL(18,2)", "day": "DATE", "text": "VARCHAR",
            "late": "VARCHAR",
        }  # fmt: skip

    def test_quotes_line_breaks_and_blank_lines(self, rows_of):
        content = '\ufeffa,b\r\n"1, ""x""","line\nbreak"\r\n\r\n007,ł\r\n'
        assert rows_of({"a.csv": content}) == [('1, "x"', "line\nbreak"), ("007", "ł")]

    def test_null_words(self, fetch, table):
        ref = fetch({"a.csv": "a,b\n1,NA\nNA,\n-,x\n"}, csv={"nulls": ["NA", "", "-"]})
        assert types_of(ref) == {"a": "BIGINT", "b": "VARCHAR"}
        assert table(ref.uri.removeprefix("file://")) == [(1, None), (None, None), (None, "x")]

    def test_only_an_empty_cell_is_null_by_itself(self, rows_of):
        assert rows_of({"a.csv": "country,n\nNA,1\nnull,\n"}) == [("NA", 1), ("null", None)]

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("a,b\n1,2\n3\n", r"1 cells in row 2 \(line 3\), but 2 columns"),
            ("a,b\n1,2\n\n\n3,4,5\n", r"3 cells in row 2 \(line 5\), but 2 columns"),
            ('a,b\n"x\ny",2\n3\n', r"1 cells in row 2 \(line 4\)"),
            ("a,a\n1,2\n", "'a' twice, as number 1 and 2"),
            ("a,,c\n1,2,3\n", "no name for column 2 of 3"),
            ('a,b\n1,"x"y\n', "no such CSV at line 2"),
            ('a,b\n1,"x\n', "no such CSV"),
            (b"a\n\xff\xfe\n", "not in utf-8 near line"),
            ("a,A\n1,2\n", "'A' beside 'a'"),
            ("a\n" + "x" * (9 << 20), "line 2 of more than"),
        ],
    )  # fmt: skip
    def test_what_is_no_table_is_refused_by_file_and_row(self, fetch, content, told):
        message = _refuses(fetch, {"good.csv": "a,b\n1,2\n", "bad.csv": content}, told)
        assert "good.csv" not in message

    def test_dialects(self, rows_of):
        content = "made by a program\na;b\n'1;2';1.234,5\n'x';-7\n"
        options = {"delimiter": ";", "quote": "'", "decimal": ",", "skip_rows": 1}
        assert rows_of({"a.csv": content}, csv=options) == [
            ("1;2", Decimal("1234.5")), ("x", Decimal("-7.0"))
        ]  # fmt: skip
        assert rows_of({"a.tsv": "a\tb\n1,5\t2\n"}) == [("1,5", 2)]
        assert rows_of({"a.txt": "a|b\n1|2\n"}, format="csv", csv={"delimiter": "|"}) == [(1, 2)]

    def test_decimal_commas_are_those_of_whole_columns(self, fetch, table):
        contents = {"a.csv": "n;note;v\n1,5;1,5;1.2x\n;2,5;7\n", "b.csv": "n;note;v\n-0,25;no;8\n"}
        ref = fetch(contents, csv={"delimiter": ";", "decimal": ","})
        assert table(ref.uri.removeprefix("file://")) == [
            (Decimal("1.50"), "1,5", "1.2x"), (None, "2,5", "7"), (Decimal("-0.25"), "no", "8")
        ]  # fmt: skip

    def test_without_a_header(self, rows_of, fetch):
        ref = fetch({"a.csv": "1,x\n2,y\n"}, csv={"header": False})
        assert types_of(ref) == {"column_1": "BIGINT", "column_2": "VARCHAR"}
        ref = fetch({"a.csv": "1,x\n2,y\n"}, csv={"header": ["n", "t"]})
        assert (ref.rows, types_of(ref)) == (2, {"n": "BIGINT", "t": "VARCHAR"})
        _refuses(fetch, {"a.csv": "1,x\n2,y\n"}, "2 cells in row 1", csv={"header": ["n"]})

    def test_encodings(self, rows_of, fetch):
        content = "name\nZażółć €\n"
        assert rows_of({"a.csv": content.encode("cp1250")}, encoding="cp1250") == [("Zażółć €",)]
        assert rows_of({"a.csv": content.encode("utf-16")}, encoding="utf-16") == [("Zażółć €",)]
        _refuses(fetch, {"a.csv": content.encode("cp1250")}, "Set encoding")

    def test_types_that_are_asked_for_win(self, fetch):
        assert types_of(fetch({"a.csv": "id\n1\n"}, types={"id": "VARCHAR"})) == {"id": "VARCHAR"}


class TestManyFiles:
    def test_columns_are_matched_by_name(self, rows_of):
        contents = {"a.csv": "a,b\n1,x\n", "b.csv": "b,c\ny,2013-02-08\n"}
        assert rows_of(contents, source_column="from") == [
            ("a.csv", 1, "x", None), ("b.csv", None, "y", date(2013, 2, 8))
        ]  # fmt: skip

    def test_types_are_found_over_all_of_them(self, fetch):
        contents = {"a.csv": "a\n1\n", "b.csv": "a\nx\n"}
        assert types_of(fetch(contents)) == {"a": "VARCHAR"}

    def test_a_source_column_takes_no_others_place(self, fetch):
        _refuses(fetch, {"a.csv": "a,b\n1,2\n"}, "'b' of its own", source_column="b")

    def test_of_several_formats_are_refused(self, fetch):
        with pytest.raises(SourceError, match=r"a\.csv is csv, but b\.json is json"):
            fetch({"a.csv": "a\n1\n", "b.json": "[]"})

    def test_without_a_known_name_are_refused(self, fetch):
        with pytest.raises(SourceError, match=r"'_SUCCESS' does not say.*Set format"):
            fetch({"a.csv": "a\n1\n", "_SUCCESS": ""})

    @pytest.mark.parametrize(
        ("bound", "told"),
        [
            ({"max_rows": 3}, "more rows than max_rows=3"),
            ({"max_bytes": 20}, "more bytes than max_bytes=20"),
            ({"max_files": 1}, "2 files, more than max_files=1"),
            ({"max_file_bytes": 5}, "more bytes than max_file_bytes=5"),
        ],
    )
    def test_are_bounded(self, fetch, tmp_path, bound, told):
        contents = {"a.csv": "a\n1\n2\n", "b.csv": "a\n3\n4\n"}
        with pytest.raises(SourceError, match=told):
            fetch(contents, **bound)
        assert not (tmp_path / "dataset.parquet").exists()
        assert fetch(contents, max_rows=4).rows == 4

    def test_without_rows_are_refused_unless_allowed(self, fetch):
        with pytest.raises(SourceError, match="no rows in 1 files"):
            fetch({"a.csv": "a\n"})
        ref = fetch({"a.csv": "a\n"}, allow_empty=True, types={"a": "DATE"})
        assert (ref.rows, types_of(ref)) == (0, {"a": "DATE"})
        with pytest.raises(SourceError, match=r"No file matches.*sensor"):
            fetch({})
        assert fetch({}, allow_empty=True, types={"a": "DATE"}).rows == 0

    def test_that_are_gone_can_be_tried_again(self, tmp_path):
        files = {"gone.csv": tmp_path / "gone.csv"}
        with pytest.raises(SourceUnavailableError, match=r"gone\.csv cannot be read"):
            fetch_files(FileRequest(), files, tmp_path / "x", source="The test")


class TestPacked:
    CONTENT = b"a,b\n1,x\n"

    @pytest.mark.parametrize(
        ("name", "pack"),
        [
            ("a.csv.gz", gzip.compress),
            ("a.csv.zst", zstandard.ZstdCompressor().compress),
            ("a.csv", gzip.compress),
            ("a.CSV.GZ", lambda data: gzip.compress(data[:4]) + gzip.compress(data[4:])),
            ("a.csv.zstd", lambda d: b"".join(map(zstandard.ZstdCompressor().compress, (d[:4], d[4:])))),
        ],
    )
    def test_files_are_unpacked_by_their_content(self, rows_of, name, pack):
        assert rows_of({name: pack(self.CONTENT)}) == [(1, "x")]

    @pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
    @pytest.mark.parametrize("damage", [lambda d: d[:-9], lambda d: d[:9] + b"xxxxxx" + d[15:]])
    def test_a_damaged_one_is_refused(self, fetch, pack, damage):
        content = pack(b"a\n" + b"".join(b"%d\n" % (i * 7919 % 10_007) for i in range(50_000)))
        _refuses(fetch, {"a.csv.gz": damage(content)}, "is damaged|no such CSV|not in utf-8|cells")

    @pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
    def test_a_bomb_stays_small(self, fetch, pack):
        bomb = pack(b"a\n" + b"1\n" * (32 << 20))
        assert len(bomb) < 1 << 20
        _refuses(fetch, {"a.csv.gz": bomb}, "max_file_bytes=1000000 ", max_file_bytes=1_000_000)
        one_line = pack(b"a\n" + b"1" * (64 << 20))
        _refuses(fetch, {"a.csv.gz": one_line}, "line 2 of more than")

    def test_a_window_of_gigabytes_is_refused(self, fetch):
        parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
        packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        content = packer.compress(b"a\n1\n") + packer.flush()
        _refuses(fetch, {"a.csv.zst": content}, "is damaged")


class TestJson:
    ROWS = ({"a": 1, "b": "2013-02-08"}, {"b": None, "c": {"x": [1]}}, {"a": 2.5})

    @pytest.mark.parametrize(
        ("name", "content", "options"),
        [
            ("a.json", json.dumps(ROWS), {}),
            ("a.json", "\ufeff" + json.dumps(ROWS, indent=4), {}),
            ("a.json", json.dumps({"data": {"items": ROWS}}), {"records_path": "data.items"}),
            ("a.jsonl", "\n".join(map(json.dumps, ROWS)) + "\n\n", {}),
            ("a.ndjson", "\ufeff" + "\r\n".join(map(json.dumps, ROWS)), {}),
        ],
    )
    def test_rows_keep_their_types(self, rows_of, name, content, options):
        assert rows_of({name: content}, **options) == [
            (Decimal("1.0"), date(2013, 2, 8), None), (None, None, '{"x":[1]}'),
            (Decimal("2.5"), None, None),
        ]  # fmt: skip

    def test_a_long_list_is_read_row_by_row(self, rows_of):
        rows = [{"i": i, "text": 'x]}\\"' * (i % 50), "more": {"n": [i]}} for i in range(40_000)]
        rows[20_000]["text"] = "y" * 5_000_000  # longer than what is read at once
        found = rows_of({"a.json": json.dumps(rows)}, "SELECT sum(i), sum(length(text)) FROM dataset")
        assert found == [(sum(r["i"] for r in rows), sum(len(r["text"]) for r in rows))]

    @pytest.mark.parametrize(
        ("name", "content", "options"),
        [
            ("a.json", '[\n{"a": %s} ,\n{"a": 0.5}\n]\n', {}),
            ("a.json", '{"data": [{"a": %s}, {"a": 0.5}]}', {"records_path": "data"}),
            ("a.jsonl", '{"a": %s}\n{"a": 0.5}\n', {}),
            ("a.csv", "a\n%s\n0.5\n", {}),
        ],
    )
    def test_long_fractions_keep_their_digits(self, rows_of, name, content, options):
        number = Decimal("12345678901234567.123456789012")
        assert rows_of({name: content % number}, **options) == [(number,), (Decimal("0.5"),)]

    @pytest.mark.parametrize(
        ("name", "content", "told", "options"),
        [
            ("a.json", '{"data": []}', "no list of rows.*records_path", {}),
            ("a.json", '[{"a": 1}, 2]', "row 2 no object", {}),
            ("a.json", '[{"a": 1}, {"a": ]', "no JSON in row 2", {}),
            ("a.json", '[{"a": 1}', "no JSON in row 2", {}),
            ("a.json", '[{"a": 1}] x', "goes on behind", {}),
            ("a.json", '[{"a": 1}{"a": 2}]', "no JSON in row 2: no comma", {}),
            ("a.json", '[{"a": 1},,{"a": 2}]', "no JSON in row 2", {}),
            ("a.json", '[{"a": 1},]', "no JSON in row 2", {}),
            (
                "a.json",
                '[{"a": 1}, {"a": {"b": 1}, "c": "\\":", "a": 2}]',
                "row 2 the column 'a' twice",
                {},
            ),
            ("a.json", '[{"a": NaN}]', "no JSON in row 1", {}),
            ("a.json", '[{"a": 1e999}]', "no JSON in row 1", {}),
            ("a.json", "[" * 100_000, "no JSON", {}),
            ("a.json", b'[{"a": "\xff"}]', "no JSON in UTF-8", {}),
            (
                "a.json",
                '{"data": 1}',
                "no list of rows at 'data', but a number",
                {"records_path": "data"},
            ),
            ("a.json", "{", "is no JSON", {"records_path": "data"}),
            ("a.jsonl", '{"a": 1}\n{"a": \n', "no JSON Lines at line 2", {}),
            ("a.jsonl", '{"a": 1}\n[1]\n', "line 2 no object", {}),
            ("a.jsonl", '{"a": 1}\n{"a": 1, "b" : 2, "a": 3}\n', "line 2 the column 'a' twice", {}),
        ],
    )
    def test_what_has_no_rows_is_refused(self, fetch, name, content, told, options):
        _refuses(fetch, {name: content}, told, **options)


@pytest.fixture
def parquet(tmp_path):
    def write(select):
        file = tmp_path / "made.parquet"
        duckdb.connect().execute(f"SET TimeZone = 'Asia/Tokyo'; COPY ({select}) TO '{file}'")
        return file.read_bytes()

    return write


class TestParquet:
    def test_types_are_kept(self, fetch, parquet, table):
        ref = fetch({"a.parquet": parquet("""
            SELECT 1::TINYINT AS small, 1099511627776::BIGINT AS whole,
                18446744073709551615::UBIGINT AS huge,
                0.1::FLOAT AS single, 0.25::DOUBLE AS double, 12.50::DECIMAL(9,2) AS money, true AS flag,
                DATE '2013-02-08' AS day, TIMESTAMP '2013-02-08 05:00:00.5' AS local,
                TIMESTAMPTZ '2013-02-08 05:00:00-05' AS instant, 'ł' AS text, '2013-02-08' AS dates,
                [1, 2] AS list, {'x': 1, 'y': NULL} AS struct, '\\x00\\xFF'::BLOB AS blob,
                NULL::INTEGER AS nothing
        """)})  # fmt: skip
        assert types_of(ref) == {
            "small": "BIGINT", "whole": "BIGINT", "huge": "DECIMAL(38,0)", "single": "DOUBLE",
            "double": "DOUBLE", "money": "DECIMAL(9,2)", "flag": "BOOLEAN", "day": "DATE",
            "local": "TIMESTAMP", "instant": "TIMESTAMP WITH TIME ZONE", "text": "VARCHAR",
            "dates": "DATE", "list": "VARCHAR", "struct": "VARCHAR", "blob": "VARCHAR",
            "nothing": "BIGINT",
        }  # fmt: skip
        (row,) = table(
            ref.uri.removeprefix("file://"),
            "SELECT whole, huge, single, money, local, epoch(instant), list, struct, blob FROM dataset",
        )
        assert row == (
            2**40, Decimal(2**64 - 1), 0.1, Decimal("12.50"),
            datetime(2013, 2, 8, 5, 0, 0, 500_000),  # noqa: DTZ001 — this column has no zone
            1_360_317_600.0, "[1,2]", '{"x":1,"y":null}', "AP8=",
        )  # fmt: skip

    def test_files_that_do_not_agree_leave_the_type_to_be_found(self, fetch, parquet):
        contents = {"a.parquet": parquet("SELECT 1 AS a, 1 AS b")}
        contents["b.parquet"] = parquet("SELECT 'x' AS a, 2.5::DOUBLE AS b")
        assert types_of(fetch(contents)) == {"a": "VARCHAR", "b": "DECIMAL(18,1)"}

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1"])
    def test_a_damaged_one_is_refused(self, fetch, content):
        _refuses(fetch, {"a.parquet": content}, "no sound Parquet file")

    def test_an_infinite_number_is_refused(self, fetch, parquet):
        content = parquet("SELECT 'inf'::DOUBLE AS a")
        _refuses(fetch, {"a.parquet": content}, "Row 1 has in the column 'a' an infinite number")


def _xlsx(rows, *, title="Data", formats=None):
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.title = title
    for row in rows:
        sheet.append(row)
    for cell, form in (formats or {}).items():
        sheet[cell].number_format = form
    workbook.create_sheet("Other").append(["b"])
    workbook["Other"].append([7])
    content = io.BytesIO()
    workbook.save(content)
    return content.getvalue()


class TestXlsx:
    def test_values_keep_their_types(self, fetch, table):
        rows = [
            [],
            ["id", "day", "when", "amount", "flag", "text", "gone"],
            [1, date(2013, 2, 8), datetime(2013, 2, 8, 5, 30), 12.5, True, "007", "#N/A"],  # noqa: DTZ001
            [],
            [2, None, None, None, False, "x"],
        ]
        ref = fetch({"a.xlsx": _xlsx(rows)})
        assert types_of(ref) == {
            "id": "BIGINT", "day": "DATE", "when": "TIMESTAMP", "amount": "DECIMAL(18,1)",
            "flag": "BOOLEAN", "text": "VARCHAR", "gone": "VARCHAR",
        }  # fmt: skip
        assert table(ref.uri.removeprefix("file://"), "SELECT id, text, gone FROM dataset") == [
            (1, "007", None), (2, "x", None)
        ]  # fmt: skip

    def test_sheets_are_named(self, rows_of, fetch):
        assert rows_of({"a.xlsx": _xlsx([["a"], [1]])}, sheet="Other") == [(7,)]
        _refuses(fetch, {"a.xlsx": _xlsx([["a"]])}, "no sheet 'Day', but 'Data', 'Other'", sheet="Day")

    @pytest.mark.parametrize(
        ("rows", "told"),
        [
            ([["a"], [1], [2, 3]], "row 3 a value in column B"),
            ([["a", None, "c"], [1, 2, 3]], "no name in cell B1"),
            ([["a", "a"], [1, 2]], "'a' twice"),
            ([["a"], ["#DIV/0!"]], "cell A2 the error #DIV/0!"),
        ],
    )
    def test_what_is_no_table_is_refused(self, fetch, rows, told):
        _refuses(fetch, {"a.xlsx": _xlsx(rows)}, told)

    def test_a_damaged_one_is_refused(self, fetch):
        _refuses(fetch, {"a.xlsx": b"PK\x03\x04 no"}, "no sound XLSX file")
        content = _xlsx([["a"], [1]])
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
        for part in parts:  # in each of them, also in those that hold no cell
            middle = part.header_offset + 30 + len(part.filename) + part.compress_size // 2
            turned = bytes(byte ^ 0xFF for byte in content[middle : middle + 3])
            damaged = content[:middle] + turned + content[middle + 3 :]
            _refuses(fetch, {"a.xlsx": damaged}, "no sound XLSX file")

    def test_a_bomb_stays_small(self, fetch):
        content = io.BytesIO(_xlsx([["a"], [1]]))
        with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/bomb.xml", b" " * (64 << 20))
        _refuses(
            fetch, {"a.xlsx": content.getvalue()}, "max_file_bytes=1000000 ", max_file_bytes=1_000_000
        )
        with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/sharedStrings.xml", b" " * ((64 << 20) + 1))
        _refuses(fetch, {"a.xlsx": content.getvalue()}, "bytes of texts")

    def test_entities_do_not_multiply(self, fetch):
        laughs = "".join(
            f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9)
        )  # a billion of them  # fmt: skip
        content = io.BytesIO(_xlsx([["a"], ["text"]]))
        with zipfile.ZipFile(content) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        sheet = parts["xl/worksheets/sheet1.xml"].decode()
        evil = f'<!DOCTYPE x [<!ENTITY l0 "lol">{laughs}]>' + re.sub(r"^<\?xml.*?\?>", "", sheet)
        parts["xl/worksheets/sheet1.xml"] = evil.replace("<t>text</t>", "<t>&l9;</t>").encode()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, part)
        _refuses(fetch, {"a.xlsx": packed.getvalue()}, "no sound XLSX file")


class TestText:
    LOG = "2013-02-08T05:00:00Z INFO 12 started\n2013-02-08T05:00:01Z WARN 7 slow {x}\n"
    PATTERN = r"(?P<at>\S+) (?P<level>[A-Z]+) (?P<code>\d+) (?P<message>.*)"

    def test_a_line_is_a_row(self, rows_of):
        contents = {"b/a.log": "12\n\n x \r\n", "b.log": "last"}
        assert rows_of(contents) == [
            ("b/a.log", 1, "12"), ("b/a.log", 2, ""), ("b/a.log", 3, " x "), ("b.log", 1, "last")
        ]  # fmt: skip

    def test_a_pattern_takes_lines_apart(self, fetch):
        ref = fetch({"a.log.gz": gzip.compress(self.LOG.encode())}, pattern=self.PATTERN)
        assert types_of(ref) == {
            "file": "VARCHAR", "line": "BIGINT", "at": "TIMESTAMP WITH TIME ZONE", "level": "VARCHAR",
            "code": "BIGINT", "message": "VARCHAR",
        }  # fmt: skip

    def test_lines_that_do_not_match_are_refused_or_left_out(self, fetch, rows_of):
        contents = {"a.log": self.LOG + "  at x.py\n"}
        _refuses(fetch, contents, "in line 3 '  at x.py'", pattern=self.PATTERN)
        found = rows_of(contents, "SELECT count(*) FROM dataset", pattern=self.PATTERN, unmatched="skip")
        assert found == [(2,)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"format": "xml"}, "format is 'xml'"),
        ({"encoding": "klingon"}, "klingon"),
        ({"pattern": "("}, "cannot be read"),
        ({"pattern": "x"}, "names no groups"),
        ({"unmatched": "ignore"}, "unmatched"),
        ({"max_files": 0}, "max_files"),
    ],
)
def test_requests_that_cannot_work_are_refused(options, told):
    with pytest.raises(ConfigurationError, match=told):
        FileRequest(**options)


@pytest.mark.parametrize(
    "options",
    [{"delimiter": ";;"}, {"quote": ""}, {"decimal": ";"}, {"nulls": "NA"}, {"skip_rows": -1}],
)
def test_csv_options_that_cannot_work_are_refused(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        CsvOptions(**options)


MEMORY = """
import json, sys
from pathlib import Path
import duckdb, openpyxl, kimi_provider.schemas
from kimi_provider.sources.files import FileRequest, fetch_files
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
before = peak()
file = Path(sys.argv[1])
ref = fetch_files(FileRequest(), {file.name: file}, file.with_name("out"), source="x")
print(json.dumps([ref.rows, peak() - before]))
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="Only Linux tells the peak of a process."
)
@pytest.mark.parametrize("name", ["a.csv.gz", "a.json", "a.parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path, name):
    """150 MB of rows, in a process of its own, so that its peak can be read."""
    file = tmp_path / name
    rows = "SELECT i, i / 4 AS value, repeat(i || '-', 150) AS text FROM range(150000) AS t(i)"
    options = ", ARRAY true" if name == "a.json" else ""
    connection = duckdb.connect(config={"threads": "2"})
    connection.execute(f"COPY ({rows}) TO '{file}' (FORMAT {name.split('.')[1]}{options})")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(file)], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    found, grown = json.loads(done.stdout.splitlines()[-1])
    assert found == 150_000
    assert grown < 300

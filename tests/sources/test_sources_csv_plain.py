"""CSV by DuckDB alone: the very rows of the slower reader, or none."""

from __future__ import annotations

import gzip

import duckdb  # noqa: TID253 — a test pays no DAG parse
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_provider.exceptions import SourceError
from kimi_provider.sources.file_bytes import unpacked
from kimi_provider.sources.file_csv import plain_csv
from kimi_provider.sources.file_request import CsvOptions, FileRequest
from kimi_provider.sources.file_text import csv_rows
from kimi_provider.sources.files import fetch_files
from kimi_provider.sources.inference import Raw
from kimi_provider.sources.spool import Spool


def by_duckdb(file, request, copy=None):
    """Return the rows, ``None`` if they have to be read in the other way."""
    plain = plain_csv(file, request, tab=False, source=None, copy=copy)
    if plain is None:
        return None
    columns = {name: Raw(f"c{place}", untyped=True) for place, name in enumerate(plain.columns)}
    try:
        found = duckdb.connect(config={"threads": "2"}).execute(plain.select(columns)).fetchall()
    except duckdb.Error:
        return None
    if len(found) != plain.rows:
        return None
    return [dict(zip(columns, row, strict=True)) for row in found]


def by_row(file, request):
    with unpacked(file, 1 << 30) as stream:
        return list(csv_rows(stream, request, tab=False))


CELLS = st.one_of(
    st.sampled_from(
        ["1", "", "NA", '"NA"', '""', '"x, y"', '"a\nb"', '"say ""so"""', 'a"b', ' "x"', '"x" ', " ",
         '"', "\r", "\t", "#x", "\\", '"\\"', "'", "ł", "\x00", "\ufeff", "\u2028", '"x"y', "\x85"]
    ),
    st.text(st.sampled_from('ab," \n\r\\'), max_size=5),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELLS, max_size=4), max_size=5),
    st.sampled_from(["\n", "\r\n", "\n\n", "\r"]),
    st.booleans(),
    st.sampled_from([("",), ("NA",), ("NA", "")]),
)
def test_rows_are_those_of_the_other_reader_or_none(tmp_path, rows, end, last, nulls):
    text = end.join(["a,b", *map(",".join, rows)]) + end * last
    file = tmp_path / "a.csv"
    file.write_bytes(text.encode())
    request = FileRequest(csv=CsvOptions(nulls=nulls))
    found = by_duckdb(file, request)
    if found is not None:
        assert found == by_row(file, request)


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("cells", [("1", "x"), ('"1"', '"x: y ""z"""'), ("NA", "ł"), ("'", "\\")])
def test_clean_files_are_read_so(tmp_path, cells, start):
    file = tmp_path / "a.csv"
    file.write_bytes((start + "a,b\n" + (",".join(cells) + "\n") * 3).encode())
    request = FileRequest(csv=CsvOptions(nulls=("NA",)))
    assert by_duckdb(file, request) == by_row(file, request)
    assert len(by_row(file, request)) == 3


def test_lines_may_lie_across_any_bounds(tmp_path):
    rows = [[str(i), f"{i % 7}" * (i % 300), f'"{i}"""' if i % 5 else "NA"] for i in range(60_000)]
    file = tmp_path / "a.csv"
    file.write_bytes(gzip.compress(b"a,b,c\n" + "\n".join(map(",".join, rows)).encode(), 1))
    found = by_duckdb(file, FileRequest(), tmp_path / "copy")
    assert found == by_row(file, FileRequest())


def fetch(file, **types):
    return fetch_files(
        FileRequest(), {file.name: file}, file.with_suffix(".parquet"), source="The test", types=types
    )


@pytest.mark.parametrize(
    ("early", "late", "kind"),
    [
        ("0.3333333333333333", "0.33333333333333333333", "DECIMAL(38,20)"),
        ("1", "2", "BIGINT"),
        ("1", "x", "VARCHAR"),
        ("1", "007", "VARCHAR"),
        ("1", "+7", "VARCHAR"),
        ("1", "1e3", "DOUBLE"),
        ("1", "2.5", "DECIMAL(18,1)"),
        ("1", str(2**63), "DECIMAL(38,0)"),
        ("1.5", "2.25", "DECIMAL(18,2)"),
        ("1.5", "2", "DECIMAL(18,1)"),
        ("1.5", "9" * 18, "DECIMAL(38,1)"),
        ("1.5", "9" * 38, "DOUBLE"),
        ("1e3", "7", "DOUBLE"),
        ("1e3", "1e999", "VARCHAR"),
        ("true", "FALSE", "BOOLEAN"),
        ("true", "1", "VARCHAR"),
        ("2013-02-08", "2013-02-09", "DATE"),
        ("2013-02-08", "2013-02-30", "VARCHAR"),
        ("2013-02-08", "2013-02-08T05:00", "VARCHAR"),
        ("2013-02-08T05:00Z", "2013-02-08 05:00:01+01", "TIMESTAMP WITH TIME ZONE"),
        ("2013-02-08T05:00Z", "soon", "VARCHAR"),
        ("x", "1", "VARCHAR"),
        ("9" * 40, "1.5", "DOUBLE"),
        ("", "7", "BIGINT"),
        ("", "", "VARCHAR"),
        ("7", "", "BIGINT"),
    ],
)
def test_a_last_row_counts_as_much_as_the_first(tmp_path, early, late, kind):
    """Whatever the first rows have, the types are those that are found over all rows at once."""
    values = [early] * 10_000 + [late]
    file = tmp_path / "a.csv"
    file.write_text("a,b\n" + "".join(f"{value},x\n" for value in values))
    ref = fetch(file)
    assert ref.columns[0].type == kind
    assert ref.columns[0].nulls == values.count("")
    (tmp_path / "scratch").mkdir()
    spool = Spool(tmp_path / "scratch", untyped=True)
    spool.add({"a": value or None, "b": "x"} for value in reversed(values))
    other = spool.finish(tmp_path / "other.parquet", source="The test", types={})
    assert (other.sha256, other.columns[0].type) == (ref.sha256, kind)


@pytest.mark.parametrize(
    ("bad", "told"),
    [("1", "1 cells in row 9001"), ("1,2,3", "3 cells in row 9001"), ('"1', "no such CSV")],
)
def test_what_is_wrong_is_told_by_row(tmp_path, bad, told):
    file = tmp_path / "a.csv"
    file.write_text("a,b\n" + "1,2\n" * 9_000 + bad + "\n")
    with pytest.raises(SourceError, match=rf"a\.csv.*{told}"):
        fetch(file)
    assert list(tmp_path.iterdir()) == [file]


def test_a_type_that_does_not_fit_is_told_by_row(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("a,b\n" + "1,2\n" * 9_000 + "1,x\n")
    with pytest.raises(SourceError, match="Row 9001 has 'x' in the column 'b', which is no BIGINT"):
        fetch(file, b="BIGINT")
    assert fetch(file, b="VARCHAR", a="DOUBLE").columns[0].type == "DOUBLE"

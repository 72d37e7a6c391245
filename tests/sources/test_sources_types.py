"""Whatever a source sends comes back as it was, or is refused by name and row."""

from __future__ import annotations

import json
import re
import tempfile
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import duckdb  # noqa: TID253 — a test pays no DAG parse
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_provider.exceptions import SourceError
from kimi_provider.sources.answers import decode, rows_at
from kimi_provider.sources.spool import Spool

TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 — some have no zone
OFFSETS = st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(
    lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
)
INSTANTS = st.builds(lambda time, zone: time.replace(tzinfo=zone).isoformat(), TIMES, OFFSETS)
COLUMNS = st.one_of(
    st.lists(st.booleans() | st.none()),
    st.lists(st.integers(-(2**70), 2**70) | st.none()),
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=4, max_value=10**12)),
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)),
    st.lists(st.dates().map(date.isoformat) | st.none()),
    st.lists(INSTANTS | st.none()),
    st.lists(TIMES.map(datetime.isoformat)),
    st.lists(INSTANTS | TIMES.map(datetime.isoformat) | st.dates().map(date.isoformat)),
    st.lists(st.text() | st.none()),
    st.lists(st.text("0123456789-:TZ+. ", max_size=26)),
    st.lists(
        st.one_of(st.text(max_size=4), st.integers(), st.booleans(), st.none(), st.just([1, None]))
    ),
).filter(bool)
QUICKLY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def written(rows, *, untyped=False):
    """The dataset of these rows, and what DuckDB reads from it."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        spool = Spool(scratch, untyped=untyped)
        spool.add(rows)
        target = Path(folder) / "x.parquet"
        ref = spool.finish(target, source="test", types={})
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        columns = ", ".join(
            f'epoch_us("{quoted}")' if column.type.startswith("TIMESTAMP") else f'"{quoted}"'
            for column in ref.columns
            for quoted in [column.name.replace('"', '""')]
        )
        return ref, connection.execute(f"SELECT {columns} FROM read_parquet('{target}')").fetchall()


def microseconds(text):
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def same(value, kind, back):  # noqa: PLR0911 — one line a type
    """Whether a stored value is the one that came, by a reading of the type that is Python's own."""
    if value is None or back is None:
        return value is back
    if kind == "DATE":
        return back == date.fromisoformat(value)
    if kind.startswith("TIMESTAMP"):
        return back == microseconds(value)
    if kind == "DOUBLE":
        return back == float(value)
    if kind == "BIGINT" or kind.startswith("DECIMAL"):
        return Decimal(str(back)) == Decimal(str(value))
    if kind == "BOOLEAN":
        return back is value
    if isinstance(value, str):
        return back == value
    if isinstance(value, Decimal | float):
        return Decimal(back) == Decimal(str(value))
    return json.loads(back) == value


class TestValues:
    @QUICKLY
    @given(COLUMNS)
    def test_come_back_whatever_type_is_found(self, values):
        ref, rows = written([{"a": value} for value in values])
        [column] = ref.columns
        assert len(rows) == len(values)
        for value, (back,) in zip(values, rows, strict=True):
            assert same(value, column.type, back), (value, column.type, back)
        assert column.nulls == values.count(None)

    @QUICKLY
    @given(st.lists(st.text("0123456789.eE+-truefalsnx ", max_size=8).filter(bool), min_size=1))
    def test_of_csv_lose_no_digit(self, texts):
        ref, rows = written([{"a": text} for text in texts], untyped=True)
        kind = ref.columns[0].type
        for text, (back,) in zip(texts, rows, strict=True):
            expected = text.lower() == "true" if kind == "BOOLEAN" else text
            assert same(expected, kind, back), (text, kind, back)

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (["2013-03-10T01:30:00-05:00", "2013-03-10T03:30:00-04:00"], "TIMESTAMP WITH TIME ZONE"),
            (["2013-02-08T05:00:00+05:45", "2013-02-08T05:00:00Z"], "TIMESTAMP WITH TIME ZONE"),
            (["2013-02-08T05:00:00Z", "2013-02-08T05:00:00"], "VARCHAR"),
            (["2013-02-08T24:00:00Z", "2013-02-08T05:00:61Z"], "VARCHAR"),
            (["2012-02-29", "2013-02-29"], "VARCHAR"),
            (["0000-00-00"], "VARCHAR"),
            (["2013-02-08T05:00:00 America/New_York"], "VARCHAR"),
            (["a\x00b", "\u202e\u200b"], "VARCHAR"),
            ([0.1, 0.25, 10**18], "DECIMAL(38,2)"),
            ([-0.0, 0], "DECIMAL(18,1)"),
        ],
    )
    def test_at_the_edges_of_a_type(self, values, kind):
        ref, rows = written([{"a": value} for value in values])
        assert ref.columns[0].type == kind
        for value, (back,) in zip(values, rows, strict=True):
            assert same(value, kind, back)


class TestNames:
    @QUICKLY
    @given(st.lists(st.text(max_size=300), min_size=1, max_size=6, unique_by=str.casefold))
    def test_any_is_kept_as_it_is_or_refused_with_its_row(self, names):
        rows = [{}, *({name: number} for number, name in enumerate(names))]
        unusable = [
            number
            for number, name in enumerate(names, start=2)
            if not name.strip() or not name.isprintable() or len(name) > 255
        ]
        if unusable:
            with pytest.raises(SourceError, match=f"Row {unusable[0]} has the column"):
                written(rows)
            return
        ref, back = written(rows)
        assert [column.name for column in ref.columns] == names
        for number, row in enumerate(back[1:]):
            assert row == tuple(number if place == number else None for place in range(len(names)))

    @pytest.mark.parametrize(
        "name",
        [
            "select", "table", "rowid", "file_row_number", "filename", "raw", "written", "c0", "C1",
            "line",
            '"', "'", "'; DROP TABLE raw; --", '"); DROP VIEW raw; --', "{{ ds }}", "$1", "?", "%s",
            "a.b",
            "*", "é", "e\u0301", "中文", "🛫", "x" * 255, "NULL", "json", "a,b", "a:b", "{a: 'JSON'}",
            "\\",
        ],
    )  # fmt: skip
    def test_hostile_ones_name_their_own_values(self, name):
        rows = [{"c0": "x", name: 1, "z": 2.5}] if name != "c0" else [{"c0": 1, "z": 2.5}]
        if name == "C1":
            rows = [{"C1": 1, "c2": "x"}]
        ref, back = written(rows)
        assert [column.name for column in ref.columns] == list(rows[0])
        assert [str(value) for value in back[0]] == [str(value) for value in rows[0].values()]

    @pytest.mark.parametrize(
        ("one", "two"), [("day", "DAY"), ("straße", "STRASSE"), ("Ω", "\u2126"), ("k", "\u212a")]
    )
    def test_that_fold_to_the_same_are_refused_with_both_and_the_row(self, one, two):
        with pytest.raises(SourceError, match=re.escape(f"Row 2 has the column {two!r} beside {one!r}")):
            written([{one: 1}, {two: 2}])

    def test_twice_in_a_header_are_refused_by_name(self):
        with pytest.raises(SourceError, match="'a' twice"):
            decode(b"a,b,a\n1,2,3", "csv")

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b'[{"a": 1}, {"a": 1, "b": 2, "a": 3}]', "json"),
            (b'[{"b" : "x"}, {"a" : 1, "b":{"c":1}, "a" :3}]', "json"),
            (b'[{"b": "\\"a\\":"}, {"a": 1, "\\u0061": 2}]', "json"),
            (b'{"a": 1}\n\n{"a": 1, "a": 1}', "jsonl"),
        ],
    )
    def test_twice_in_one_row_are_refused_by_name_and_row(self, content, kind):
        with pytest.raises(SourceError, match="entry 2 has the column 'a' twice"):
            rows_at(decode(content, kind), None)

    def test_twice_inside_a_cell_the_last_counts(self):
        rows = rows_at(decode(b'{"data": [{"a": {"b": 1, "b": 2}}]}', "json"), "data")
        assert rows == [{"a": {"b": 2}}]

    @pytest.mark.parametrize("text", ['{"a": ":"}', '{"a":1}', 'a":', "\\", '\n":'])
    def test_texts_that_look_like_names_are_texts(self, text):
        row = {"a": text, "b": {text: [{"c": text}]}}
        assert decode(json.dumps([row]).encode(), "json") == [row]
        assert decode(json.dumps(row, ensure_ascii=False).encode(), "jsonl") == [row]


class TestRaggedRows:
    def test_of_csv_that_are_short_have_nulls(self):
        assert decode(b"a,b\n1\n2,3\n\n", "csv") == [{"a": "1", "b": None}, {"a": "2", "b": "3"}]

    def test_of_csv_that_are_long_are_refused_by_their_row(self):
        with pytest.raises(SourceError, match="3 cells in row 2, but 2 columns"):
            decode(b"a,b\n1,2\n1,2,3", "csv")

    @pytest.mark.parametrize("content", [b'a\n"1', b'a,b\n"x"y,2', b"a\x00b\n1"])
    def test_of_csv_that_are_broken_are_refused(self, content):
        with pytest.raises(SourceError):
            written(decode(content, "csv"))

    def test_that_are_no_objects_are_refused_by_their_number(self):
        with pytest.raises(SourceError, match="entry 3 is no object"):
            rows_at([{}, {"a": 1}, [1]], None)

    @pytest.mark.parametrize("content", [b'["\\ud800"]', b"[1e999]", b'["\xff"]', b"[" * 100_000])
    def test_values_that_no_text_or_number_can_be_are_refused(self, content):
        with pytest.raises(SourceError):
            written([{"a": value} for value in decode(content, "json")])

"""Rows to typed Parquet: types over all rows, names, nulls, profile and hash."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.sources.spool import Spool


@pytest.fixture
def write(tmp_path):
    numbers = iter(range(1_000_000))

    def run(rows, types=None, *, untyped=False):
        folder = tmp_path / f"scratch{next(numbers)}"
        folder.mkdir()
        spool = Spool(folder, untyped=untyped)
        spool.add(rows)
        return spool.finish(tmp_path / f"{folder.name}.parquet", source="test", types=types or {})

    return run


def column_of(ref, name="a"):
    return next(column for column in ref.columns if column.name == name)


def path_of(ref):
    return ref.uri.removeprefix("file://")


class TestTypes:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ([True, False, None], "BOOLEAN"),
            ([1, -2, None, 0], "BIGINT"),
            ([2**63 - 1, -(2**63)], "BIGINT"),
            ([2**63], "DECIMAL(38,0)"),
            ([10**37], "DECIMAL(38,0)"),
            ([10**40], "VARCHAR"),
            ([1.5, 2, None], "DECIMAL(18,1)"),
            ([0.1, 12.25], "DECIMAL(18,2)"),
            ([123456789012.25, 0.125], "DECIMAL(18,3)"),
            ([0.1 + 0.2], "DOUBLE"),
            ([1e30, 2.5], "DOUBLE"),
            ([1e-7, 1], "DOUBLE"),
            (["2013-02-08", None, "2013-02-09"], "DATE"),
            (["2013-02-08T05:00:00Z", "2013-02-08 05:00:00.123+01:00"], "TIMESTAMP WITH TIME ZONE"),
            (["2013-02-08T05:00", "2013-02-08 05:00:00.123"], "TIMESTAMP"),
            (["2013-02-08", "2013-02-08T05:00"], "VARCHAR"),
            (["2013-02-30"], "VARCHAR"),
            (["2013-2-8"], "VARCHAR"),
            (["infinity-1-"], "VARCHAR"),
            (["2013-02-08", ""], "VARCHAR"),
            (["12", "13"], "VARCHAR"),
            (["007"], "VARCHAR"),
            (["true"], "VARCHAR"),
            (["null"], "VARCHAR"),
            ([""], "VARCHAR"),
            ([None, None], "VARCHAR"),
            ([1, "1"], "VARCHAR"),
            ([1, True], "VARCHAR"),
            ([[1], {"x": 1}], "VARCHAR"),
            (["2013-02-08", 1], "VARCHAR"),
        ],
    )
    def test_of_json_values(self, write, values, kind):
        ref = write([{"a": value} for value in values])
        assert column_of(ref).type == kind
        assert column_of(ref).nulls == values.count(None)

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (["1", "-2", "0"], "BIGINT"),
            (["1.50", "2"], "DECIMAL(18,2)"),
            (["1e5"], "DOUBLE"),
            (["0.3333333333333333", "-0.0000123456789012345"], "DOUBLE"),
            (["0.3333333333333333", "0.33333333333333333333"], "DECIMAL(38,20)"),
            (["123456789012345.0000000000"], "DOUBLE"),
            (["0." + "3" * 39], "DOUBLE"),
            (["0.5"], "DECIMAL(18,1)"),
            (["true", "FALSE"], "BOOLEAN"),
            (["2013-02-08"], "DATE"),
            (["007"], "VARCHAR"),
            (["1", "007"], "VARCHAR"),
            (["+1"], "VARCHAR"),
            ([" 1"], "VARCHAR"),
            (["1_000"], "VARCHAR"),
            (["nan"], "VARCHAR"),
            (["1", "null"], "VARCHAR"),
            (["null"], "VARCHAR"),
            (["1", "x"], "VARCHAR"),
            (["0x10"], "VARCHAR"),
            ([None], "VARCHAR"),
        ],
    )
    def test_of_a_source_without_types(self, write, values, kind):
        assert column_of(write([{"a": value} for value in values], untyped=True)).type == kind

    def test_are_found_over_all_rows(self, write, table):
        rows = [{"a": i} for i in range(60_000)] + [{"a": "late"}]
        ref = write(rows)
        assert column_of(ref).type == "VARCHAR"
        assert table(path_of(ref), "SELECT a FROM dataset LIMIT 1 OFFSET 60000") == [("late",)]

    def test_values_come_back(self, write, table):
        rows = [
            {
                "flag": True, "whole": 2**62 + 1, "huge": 2**64, "money": 12.1, "double": 0.1 + 0.2,
                "day": "2013-02-08", "instant": "2013-02-08T00:30:00+01:00",
                "text": 'a "b"\n\'c\' 中 \u2028', "nested": {"x": [1, None, "é"]}, "mixed": 1,
            },
            {"mixed": "x", "text": None},
        ]  # fmt: skip
        ref = write(rows)
        columns = ", ".join(name if name != "instant" else "epoch(instant)" for name in rows[0])
        first, second = table(path_of(ref), f"SELECT {columns} FROM dataset")
        instant = datetime(2013, 2, 7, 23, 30, tzinfo=UTC).timestamp()
        assert first == (
            True, 2**62 + 1, Decimal(2**64), Decimal("12.1"), 0.1 + 0.2, date(2013, 2, 8), instant,
            'a "b"\n\'c\' 中 \u2028', '{"x":[1,null,"é"]}', "1",
        )  # fmt: skip
        assert second == (*[None] * 9, "x")

    def test_order_of_rows_is_kept(self, write, table):
        rows = [{"a": i * 7919 % 50_000} for i in range(50_000)]
        ref = write(rows)
        assert [row[0] for row in table(path_of(ref))] == [row["a"] for row in rows]

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        st.lists(
            st.one_of(st.none(), st.booleans(), st.integers(-(2**80), 2**80), st.text(max_size=8)),
            min_size=1,
            max_size=6,
        )
    )
    def test_no_value_is_lost(self, write, table, values):
        ref = write([{"a": value} for value in values])
        kind = column_of(ref).type
        back = [row[0] for row in table(path_of(ref), "SELECT a::VARCHAR FROM dataset")]
        written = [None if v is None else v if isinstance(v, str) else str(v).lower() for v in values]
        assert kind in {"DATE", "TIMESTAMP"} or back == written


class TestAskedTypes:
    def test_take_the_place_of_those_found(self, write, table):
        ref = write(
            [{"a": "12.50", "b": "20130208", "c": 1}, {"a": None}],
            {"a": "decimal(9,2)", "c": "VARCHAR"},
        )
        assert table(path_of(ref)) == [(Decimal("12.50"), "20130208", "1"), (None, None, None)]
        assert [column.type for column in ref.columns] == ["DECIMAL(9,2)", "VARCHAR", "VARCHAR"]

    @pytest.mark.parametrize(
        ("values", "kind", "row", "shown"),
        [
            (["2013-02-08", "soon"], "DATE", 2, "'soon'"),
            ([1, None, 1.5], "BIGINT", 3, "'1.5'"),
            ([300], "TINYINT", 1, "'300'"),
            (["1e400"], "DOUBLE", 1, "'1e400'"),
            ([{"x": 1}], "BIGINT", 1, "x"),
        ],
    )
    def test_name_the_row_that_does_not_fit(self, write, values, kind, row, shown):
        with pytest.raises(SourceError) as caught:
            write([{"a": value} for value in values], {"a": kind})
        message = str(caught.value)
        assert f"Row {row} has" in message
        assert shown in message
        assert f"'a', which is no {kind}" in message

    def test_whole_fractions_are_whole_numbers(self, write):
        assert column_of(write([{"a": 2.0}], {"a": "BIGINT"})).maximum == "2"

    @pytest.mark.parametrize(
        "kind", ["JSON", "BLOB", "INT); DROP TABLE raw; --", "DECIMAL", "HUGEINT", ""]
    )
    def test_are_types_of_a_dataset(self, write, kind):
        with pytest.raises(ConfigurationError, match="'a'"):
            write([{"a": 1}], {"a": kind})

    def test_add_a_column_that_no_row_has(self, write):
        ref = write([{"a": 1}], {"b": "DATE"})
        assert [(c.name, c.type, c.nulls) for c in ref.columns] == [("a", "BIGINT", 0), ("b", "DATE", 1)]

    def test_make_an_empty_dataset(self, write, table):
        ref = write([], {"a": "DATE"})
        assert (ref.rows, column_of(ref).type) == (0, "DATE")
        assert table(path_of(ref)) == []

    def test_are_needed_for_an_empty_dataset(self, write):
        with pytest.raises(SourceError, match="types"):
            write([])


class TestNames:
    def test_hostile_ones_are_only_names(self, write):
        names = [
            'a"b',
            "a'b",
            "a;DROP TABLE raw",
            "select",
            "a b",
            "a.b",
            "{a}",
            "ł",
            "rowid",
            "a\\b",
            "$1",
        ]
        ref = write([{name: i for i, name in enumerate(names)}])
        assert [column.name for column in ref.columns] == names
        assert [column.minimum for column in ref.columns] == [str(i) for i in range(len(names))]

    @pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x00b", "a\u202eb", "a\u200bb", "x" * 300])
    def test_unusable_ones_are_refused_with_their_row(self, write, name):
        with pytest.raises(SourceError, match="Row 2 has the column"):
            write([{"a": 1}, {"a": 1, name: 2}])

    def test_that_differ_only_by_case_are_refused(self, write):
        with pytest.raises(SourceError, match=r"Row 2 has the column 'Day' beside 'day'"):
            write([{"day": 1}, {"Day": 1}])

    def test_too_many_are_refused(self, write):
        with pytest.raises(SourceError, match="more than 1000 columns"):
            write([{f"id{i}": 1 for i in range(1_001)}])

    def test_a_huge_row_is_refused(self, write):
        with pytest.raises(SourceError, match="Row 2 has 9000008 bytes"):
            write([{"a": 1}, {"a": "x" * 9_000_000}])

    def test_ragged_rows_have_nulls(self, write, table):
        ref = write([{"a": 1}, {"b": 2}, {}, {"b": 3, "a": 4}])
        assert table(path_of(ref)) == [(1, None), (None, 2), (None, None), (4, 3)]


class TestProfile:
    def test_counts_and_ranges(self, write):
        ref = write([{"a": v, "b": w} for v, w in [(1, "x"), (5, "y"), (5, "x"), (None, "x")]])
        a, b = ref.columns
        assert (ref.rows, a.nulls, a.distinct, a.minimum, a.maximum) == (4, 1, 2, "1", "5")
        assert [(top.value, top.count) for top in b.top] == [("x", 3)]
        assert b.distinct == 2

    def test_size_is_that_of_the_file(self, write, tmp_path):
        ref = write([{"a": 1}])
        assert ref.bytes == (tmp_path / "scratch0.parquet").stat().st_size
        assert ref.uri == (tmp_path / "scratch0.parquet").as_uri()

    def test_long_texts_are_cut(self, write):
        ref = write([{"a": "x" * 500}, {"a": "x" * 500}])
        column = column_of(ref)
        assert len(column.minimum) == len(column.top[0].value) == 80
        assert column.top[0].value.endswith("…")

    def test_stays_small_for_a_wide_table(self, write):
        row = {f"column_{i}": "x" * 500 for i in range(200)}
        ref = write([row, row])
        assert len(ref.columns) == 200
        assert len(ref.model_dump_json()) < 100_000

    def test_without_repetition_there_are_no_top_values(self, write):
        assert column_of(write([{"a": i} for i in range(100)])).top == ()


class TestHash:
    ROWS = ({"a": 1, "b": "x"}, {"a": 2, "b": None}, {"a": 2, "b": None}, {"a": 3, "b": "y"})

    def test_does_not_depend_on_order(self, write):
        turned = [dict(reversed(row.items())) for row in reversed(self.ROWS)]
        assert write(turned).sha256 == write(self.ROWS).sha256

    @pytest.mark.parametrize(
        "other",
        [
            ROWS[:3],
            (*ROWS, ROWS[1]),
            ({"a": 1, "b": "y"}, *ROWS[1:3], {"a": 3, "b": "x"}),
            tuple({"a": row["a"], "c": row["b"]} for row in ROWS),
            tuple({"a": str(row["a"]), "b": row["b"]} for row in ROWS),
            ({"a": 1, "b": "X"}, *ROWS[1:]),
            ({"a": 1, "b": ""}, *ROWS[1:]),
        ],
    )
    def test_differs_for_different_data(self, write, other):
        assert write(other).sha256 != write(self.ROWS).sha256

    @pytest.mark.parametrize(
        ("one", "two"),
        [
            ([{"a": "x,1:y", "b": "z"}], [{"a": "x", "b": "1:y,1:z"}]),
            ([{"a": "~", "b": "1"}], [{"a": None, "b": "1"}]),
            ([{"a": "", "b": "xy"}], [{"a": "xy", "b": ""}]),
            ([{"a": 1, "b": 23}], [{"a": 12, "b": 3}]),
            ([{"a": "2013-02-08T00:00:00"}], [{"a": "2013-02-08T00:00:00Z"}]),
            ([{"a": Decimal("0.123456789012345678")}], [{"a": Decimal("0.123456789012345679")}]),
        ],
    )
    def test_no_cell_passes_for_another(self, write, one, two):
        assert write(one).sha256 != write(two).sha256

    @pytest.mark.parametrize(
        ("rows", "types"),
        [
            ([{"a": 2, "b": 0.5}, {"a": 3, "b": 1}], {"a": "DOUBLE", "b": "DOUBLE"}),
            ([{"a": 2, "b": 0.5}, {"a": 3, "b": 1}], {"a": "DECIMAL(18,4)", "b": "DECIMAL(38,9)"}),
            ([{"a": 2.0, "b": 0.50}, {"a": 3.0, "b": 1.0}], {"a": "SMALLINT"}),
        ],
    )
    def test_equal_numbers_are_equal_however_stored(self, write, rows, types):
        assert write(rows, types).sha256 == write([{"a": 2, "b": 0.5}, {"a": 3, "b": 1}]).sha256

    def test_is_the_same_from_a_source_without_types(self, write):
        typed = [{"n": 1, "f": 1.25, "t": "x", "d": "2013-02-08", "e": None}]
        texts = [{"n": "1", "f": "1.250", "t": "x", "d": "2013-02-08", "e": None}]
        assert write(texts, untyped=True).sha256 == write(typed).sha256

    def test_a_column_without_values_has_no_type(self, write):
        rows = [{"a": 1, "b": None}]
        assert write(rows, {"b": "DATE"}).sha256 == write(rows).sha256


def test_a_failed_write_leaves_what_was_there(tmp_path):
    target = tmp_path / "out" / "data.parquet"
    target.parent.mkdir()
    target.write_bytes(b"before")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    spool = Spool(scratch)
    spool.add([{"a": "x"}])
    with pytest.raises(SourceError):
        spool.finish(target, source="test", types={"a": "BIGINT"})
    assert target.read_bytes() == b"before"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="Only Linux tells the peak of a process."
)
@pytest.mark.parametrize(
    ("guard", "text"),
    [
        ("None", 'f"{i}-" * 150'),
        ("Guard(Columns(detect=True))", 'f"ann{i}@example.com" + " and so on" * 90'),
    ],
)
def test_memory_does_not_grow_with_the_rows(tmp_path, guard, text):
    """A quarter of a gigabyte of rows, in a process of its own, so that its peak can be read."""
    script = f"""
import json
from pathlib import Path
from kimi_provider.sources.guard import Guard
from kimi_provider.sources.protect import Columns
from kimi_provider.sources.spool import Spool
import duckdb, kimi_provider.schemas
def peak():  # ru_maxrss would be that of the parent, if that had more
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
before = peak()
folder = Path({str(tmp_path)!r}) / "scratch"
folder.mkdir()
spool = Spool(folder, guard={guard})
for page in range(250):
    rows = range(page * 1000, page * 1000 + 1000)
    spool.add({{"id": i, "value": i / 4, "text": {text}}} for i in rows)
ref = spool.finish(folder.parent / "x.parquet", source="test", types={{}})
print(json.dumps([ref.rows, spool.bytes, peak() - before]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rows, size, grown = json.loads(done.stdout.splitlines()[-1])
    assert rows == 250_000
    assert size > 200 << 20
    assert grown < 300

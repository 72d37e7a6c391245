"""Protecting columns before anything of them is stored."""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal

import duckdb  # noqa: TID253 — a test pays no DAG parse
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.sources.guard import Guard
from kimi_provider.sources.personal import blot
from kimi_provider.sources.protect import Columns
from kimi_provider.sources.spool import Spool

KEY = b"a key of this deployment"
SECRETS = ("ann@example.com", "501 234 567", "4111 1111 1111 1111", "GB82 WEST 1234 5698 7654 32")
PEOPLE = [
    {"id": 1, "email": SECRETS[0], "phone": 48501234567, "note": f"call {SECRETS[1]}", "plan": "a"},
    {"id": 2, "email": SECRETS[0], "phone": None, "note": f"paid by {SECRETS[2]}", "plan": "b"},
    {"id": 3, "email": None, "phone": 7, "note": f"owes {SECRETS[3]} 12.50", "plan": "a"},
]


@pytest.fixture
def write(tmp_path):
    numbers = iter(range(100))

    def run(rows, columns, *, key=KEY, types=None, untyped=False):
        folder = tmp_path / f"scratch{next(numbers)}"
        folder.mkdir()
        spool = Spool(folder, untyped=untyped, guard=Guard(columns, key))
        spool.add(rows)
        return spool.finish(tmp_path / f"{folder.name}.parquet", source="test", types=types or {})

    return run


def rows_of(ref, sql="SELECT * FROM dataset"):
    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW dataset AS FROM read_parquet('{ref.uri.removeprefix('file://')}')")
    return connection.execute(sql).fetchall()


def protected(ref):
    return {column.name: column.protected for column in ref.columns if column.protected}


class TestPolicy:
    @pytest.mark.parametrize(
        ("settings", "word"),
        [
            ({"drop": "email"}, "a list of names"),
            ({"allow": []}, "allow of the columns is empty"),
            ({"drop": ["a"], "hash": ["a"]}, "'a' is named twice"),
            ({"mask": ["a", "a"]}, "'a' is named twice"),
            ({"allow": ["a"], "drop": ["a"]}, "'a' is in allow and in drop"),
            ({"allow": ["a"], "hash": ["b"]}, "'b' is to be hashed or masked, but is not in allow"),
        ],
    )
    def test_contradictions_are_refused(self, settings, word):
        with pytest.raises(ConfigurationError, match=word):
            Columns(**settings)

    @pytest.mark.parametrize("name", ["allow", "drop", "hash", "mask"])
    def test_an_unknown_column_is_refused_with_those_there_are(self, write, tmp_path, name):
        with pytest.raises(SourceError) as caught:
            write(PEOPLE, Columns(**{name: ["e-mail"]}))
        assert "'e-mail'" in str(caught.value)
        if name != "allow":
            assert "'email', 'id', 'note', 'phone', 'plan'" in str(caught.value)
        assert not list(tmp_path.glob("*.parquet"))

    def test_a_column_that_only_some_rows_have_is_known(self, write):
        assert write([{"a": 1}, {"a": 1, "b": 2}], Columns(drop=["b"])).dropped == ("b",)

    @pytest.mark.parametrize("key", [b"", b"short"])
    def test_hashing_needs_a_key(self, key):
        with pytest.raises(ConfigurationError, match="hash_key"):
            Guard(Columns(hash=["a"]), key)


class TestLeavingOut:
    def test_only_what_is_allowed_is_kept(self, write):
        ref = write(PEOPLE, Columns(allow=["id", "plan"]))
        assert [column.name for column in ref.columns] == ["id", "plan"]
        assert ref.dropped == ("email", "phone", "note")

    def test_what_is_dropped_is_not_there(self, write):
        ref = write(PEOPLE, Columns(drop=["email", "note"]))
        assert [column.name for column in ref.columns] == ["id", "phone", "plan"]
        assert ref.dropped == ("email", "note")

    def test_a_type_for_it_means_nothing(self, write):
        ref = write(PEOPLE, Columns(drop=["email"]), types={"email": "VARCHAR", "id": "INTEGER"})
        assert [column.name for column in ref.columns] == ["id", "phone", "note", "plan"]

    def test_names_that_no_dataset_may_have_can_be_left_out(self, write):
        rows = [{"id": 1, "": 2, "x" * 300: 3, "a\u202eb": 4, "ID": 5}]
        ref = write(rows, Columns(allow=["id"]))
        assert [column.name for column in ref.columns] == ["id"]
        assert all(name.isprintable() and len(name) <= 255 for name in ref.dropped)

    def test_ids_as_keys_do_not_fill_the_memory(self, write):
        ref = write([{"id": i, f"key{i}": 1} for i in range(3_000)], Columns(allow=["id"]))
        assert len(ref.dropped) == 1_000


class TestHashing:
    def test_is_a_keyed_digest_that_can_be_joined(self, write):
        ref = write(PEOPLE, Columns(hash=["email", "phone"]))
        digest = hmac.new(KEY, SECRETS[0].encode(), hashlib.sha256).hexdigest()
        assert rows_of(ref, "SELECT email FROM dataset") == [(digest,), (digest,), (None,)]
        assert protected(ref) == {"email": "hash", "phone": "hash"}
        assert ref.columns[1].top[0].value == digest

    def test_depends_on_the_key(self, write):
        refs = [write(PEOPLE, Columns(hash=["email"]), key=key) for key in (KEY, KEY + b"!")]
        assert rows_of(refs[0]) != rows_of(refs[1])

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("x", "x"),
            (7, "7"),
            (7.0, "7"),
            (Decimal("7.00"), "7"),
            ("7", "7"),
            (0.5, "0.5"),
            (Decimal("0.50"), "0.5"),
            (
                Decimal(12345678901234567890123456789012345678),
                "12345678901234567890123456789012345678",
            ),
            (100, "100"),
            (1e3, "1000"),
            (True, "true"),
            ([1, "a"], '[1,"a"]'),
        ],
    )
    def test_of_equal_values_is_equal_whatever_their_type(self, value, text):
        row = Guard(Columns(hash=["a"]), KEY).protect({"a": value}, 1)
        assert row["a"] == hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()

    def test_is_text_whatever_type_was_asked_for(self, write):
        ref = write(PEOPLE, Columns(hash=["id"]), types={"id": "BIGINT"})
        assert ref.columns[0].type == "VARCHAR"

    def test_tells_the_key_to_nobody(self):
        guard = Guard(Columns(hash=["a"]), KEY)
        assert KEY.decode() not in guard.fingerprint
        assert Guard(Columns(hash=["a"]), KEY + b"!").fingerprint != guard.fingerprint


class TestMasking:
    def test_blots_out_what_is_personal(self, write):
        ref = write(PEOPLE, Columns(mask=["email", "phone", "note"]))
        assert rows_of(ref, "SELECT email, phone, note FROM dataset") == [
            ("[email]", "[phone]", "call [phone]"),
            ("[email]", None, "paid by [card]"),
            (None, "7", "owes [iban] 12.50"),
        ]
        assert protected(ref) == {"email": "mask", "phone": "mask", "note": "mask"}

    def test_nothing_of_it_reaches_the_disk_or_the_profile(self, write, tmp_path):
        ref = write(PEOPLE, Columns(mask=["email", "phone", "note"]))
        kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert len(kept) >= 2, "the scratch files are looked at too"
        for secret in (*SECRETS, "48501234567"):
            assert secret not in ref.model_dump_json()
            assert not any(secret.encode() in content for content in kept)

    def test_detection_masks_only_where_something_is(self, write):
        ref = write(PEOPLE, Columns(detect=True))
        assert protected(ref) == {"email": "mask", "note": "mask"}
        assert rows_of(ref, "SELECT id, phone, plan FROM dataset") == [
            (1, 48501234567, "a"), (2, None, "b"), (3, 7, "a"),
        ]  # fmt: skip
        assert not any(secret in ref.model_dump_json() for secret in SECRETS)

    def test_detection_looks_into_nested_values(self, write):
        ref = write([{"a": {"to": ["ann@example.com", {"bob@example.com": 1}]}}], Columns(detect=True))
        assert json.loads(rows_of(ref)[0][0]) == {"to": ["[email]", {"[email]": 1}]}
        assert protected(ref) == {"a": "mask"}

    def test_detection_leaves_hashes_alone(self, write):
        ref = write(PEOPLE, Columns(hash=["email"], detect=True))
        assert protected(ref) == {"email": "hash", "note": "mask"}

    def test_a_cell_too_deep_to_look_into_is_refused_by_its_row(self, write):
        deep: object = "ann@example.com"
        for _ in range(2_000):
            deep = [deep]
        with pytest.raises(SourceError, match="Row 2 has a cell that is nested too deeply"):
            write([{"a": 1}, {"a": deep}], Columns(detect=True))

    def test_of_texts_from_a_source_without_types(self, write):
        rows = [{"phone": "48501234567", "day": "2013-02-08"}, {"phone": "7", "day": "2013-02-09"}]
        ref = write(rows, Columns(mask=["phone", "day"]), untyped=True)
        assert rows_of(ref, "SELECT phone, day::VARCHAR FROM dataset") == [
            ("[phone]", "2013-02-08"), ("7", "2013-02-09"),
        ]  # fmt: skip


class TestPersonalData:
    @pytest.mark.parametrize(
        ("text", "clear"),
        [
            ("Mail ann.o'neil+x@sub.example.co.uk now", "Mail [email] now"),
            ("zażółć@przykład.pl", "[email]"),
            ("a@x.de,b@y.fr", "[email],[email]"),
            ("GB82 WEST 1234 5698 7654 32 is mine", "[iban] is mine"),
            ("GB82WEST12345698765432", "[iban]"),
            ("ID12 PL61109010140000071219812874", "ID12 [iban]"),
            ("pl61 1090 1014 0000 0712 1981 2874 ok then", "[iban] ok then"),
            ("4111 1111 1111 1111, 12/29", "[card], 12/29"),
            ("2013 4111-1111-1111-1111", "2013 [card]"),
            ("378282246310005", "[card]"),
            ("tel:+48501234567", "tel:[phone]"),
            ("call+48 501 234 567/home", "call[phone]/home"),
            ("+1 (212) 555-0123.", "[phone]."),
            ("0049 30 123456", "[phone]"),
            ("(212) 555-0123", "[phone]"),
            ("020 7946 0958", "[phone]"),
            ("0171/1234567", "[phone]"),
            ("01 23 45 67 89", "[phone]"),
            ("tel.212-555-0123: Ann", "tel.[phone]: Ann"),
            ("501 234 567", "[phone]"),
        ],
    )
    def test_is_found(self, text, clear):
        assert blot(text) == clear
        assert blot(f"{'x ' * 150}{text}") == f"{'x ' * 150}{clear}", "long texts too"

    @pytest.mark.parametrize(
        "text",
        [
            "2013-02-08",
            "2013-02-08 05:00:00",
            "2013-02-08T05:00:00.123456+01:00",
            "05.02.2013 10:30",
            "8/2/2013",
            "192.168.100.200",
            "550e8400-e29b-41d4-a716-446655440000",
            "00:1B:44:11:3A:B7",
            "+1.2345678",
            "1234567.890",
            "0.12345678",
            "$1,234,567.89",
            "order 512345678 of 1700000000000",
            "4111111111111112",
            "GB82 WEST 1234 5698 7654 33",
            "flight UA1545, tail N14228",
            "user@host, @name, a@",
            "v1.2.3.4567",
        ],
    )
    def test_is_not_seen_where_it_is_not(self, text):
        assert blot(text) == text

    @pytest.mark.parametrize("text", ["2013-02-08", "20130208", "05.02.2013", "1.5", "123456"])
    def test_a_column_of_numbers_keeps_its_dates_and_fractions(self, text):
        assert blot(text, whole=True) == text

    @given(st.integers(10**11, 10**14 - 1), st.sampled_from("3456"), st.sampled_from(["", " ", "-"]))
    def test_every_card_is_found(self, body, first, gap):
        digits = f"{first}{body}"
        doubled = [sum(divmod(int(c) * (2 - i % 2), 10)) for i, c in enumerate(reversed(digits))]
        number = f"{digits}{-sum(doubled) % 10}"
        written = gap.join(number[i : i + 4] for i in range(0, len(number), 4))
        assert blot(f"paid by {written} today") == "paid by [card] today"

    @given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=11, max_size=30), st.booleans())
    def test_every_iban_is_found(self, body, grouped):
        digits = "".join(str(int(character, 36)) for character in f"{body}PL00")
        iban = f"PL{98 - int(digits) % 97:02}{body}"
        written = " ".join(iban[i : i + 4] for i in range(0, len(iban), 4)) if grouped else iban
        assert blot(f"to {written}.") == "to [iban]."

    @given(st.text())
    def test_any_text_can_be_looked_through(self, text):
        clear = blot(text, whole=True)
        assert blot(clear, whole=True) == clear

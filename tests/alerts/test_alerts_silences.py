from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from kimi_provider.alerts.silences import (
    Notes,
    Silence,
    acknowledgements_from_json,
    silences_from_json,
)
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def test_a_silence_covers_what_it_matches_until_it_ends() -> None:
    silence = Silence(
        ["rule=r", "fact=~day.*"], until="2026-12-01T14:00:00+01:00", since="2026-12-01T10:00:00Z"
    )
    labels = {"rule": "r", "fact": "day.flights"}
    assert not silence.covers(labels, NOON.replace(hour=9))
    assert silence.covers(labels, NOON)
    assert not silence.covers({**labels, "rule": "s"}, NOON)
    assert not silence.covers(labels, NOON.replace(hour=13)), "14:00 in Berlin is 13:00 in UTC"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"match": [], "until": "2026-01-01T00:00Z"}, "needs a list of matchers"),
        ({"match": "rule=r", "until": "2026-01-01T00:00Z"}, "needs a list of matchers"),
        ({"match": ["rule"], "until": "2026-01-01T00:00Z"}, "such as severity=critical"),
        ({"match": ["rule=r"], "until": "tomorrow"}, "ISO 8601; got 'tomorrow'"),
        ({"match": ["rule=r"], "until": "2026-01-01"}, "needs a time zone"),
        ({"match": ["rule=r"], "until": "2026-01-01T00:00Z", "since": "x"}, "since must be"),
        ({"match": ["rule=r"]}, "must have match and until"),
        ({"match": ["rule=r"], "until": "2026-01-01T00:00Z", "by": "a"}, "may have comment, author"),
        ("all", "must have match and until"),
    ],
)
def test_a_malformed_silence_names_its_entry(given: object, says: str) -> None:
    good = {"match": ["rule=r"], "until": "2026-01-01T00:00:00Z"}
    with pytest.raises(ConfigurationError) as caught:
        silences_from_json(json.dumps([good, given]), "Variable x")
    assert str(caught.value).startswith("Variable x, entry 2")
    assert says in str(caught.value)


@pytest.mark.parametrize(("text", "says"), [("{", "no JSON"), ("{}", "a list of silences; got dict")])
def test_what_is_no_list_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        silences_from_json(text, "Variable x")


def test_a_malformed_silence_can_be_passed_over_while_the_others_hold(tmp_path: Path) -> None:
    notes, told = Notes(tmp_path), []
    good = Silence(["rule=r"], until="2026-12-02T00:00:00Z")
    notes.silence(good)
    for name, text in (("aa", "{"), ("bb", '{"match": ["rule"], "until": "2026-12-02T00:00:00Z"}')):
        (tmp_path / "silences" / f"{name}.json").write_text(text)
    assert notes.silences(passed_over=told.append) == (good,)
    assert len(told) == 2
    entries = [{"match": [], "until": "x"}, {"match": ["rule=r"], "until": "2026-12-02T00:00:00Z"}]
    assert silences_from_json(entries, "Variable x", passed_over=told.append) == (good,)
    assert str(told[2]).startswith("Variable x, entry 1")


def test_silences_and_acknowledgements_live_in_storage(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    assert notes.silences() == ()
    assert notes.acknowledged() == {}
    one = Silence(["rule=r"], until="2026-12-02T00:00:00Z", comment="moving", author="ann")
    two = Silence(["rule=s"], until="2026-12-02T00:00:00Z")
    assert notes.silence(one) == notes.silence(one) == one.id
    notes.silence(two)
    assert set(notes.silences()) == {one, two}
    notes.lift(one.id)
    notes.lift(one.id)
    assert notes.silences() == (two,)
    notes.acknowledge("abc123", "ann")
    assert notes.acknowledged() == {"abc123": "ann"}
    with pytest.raises(ConfigurationError):
        notes.lift("../../x")


def test_acknowledgements_are_keys_and_names() -> None:
    assert acknowledgements_from_json('{"abc": "ann"}', "x") == {"abc": "ann"}
    for text in ("[]", '{"abc": 3}'):
        with pytest.raises(ConfigurationError, match="dedup keys to names"):
            acknowledgements_from_json(text, "x")

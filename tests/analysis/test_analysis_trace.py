"""The trace keeps order, times and everything that was said, but no secret."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from kimi_provider.analysis.trace import Trace


def test_entries_keep_order_time_and_fields(tmp_path):
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    trace = Trace()
    trace.add("request", model="kimi-k3", messages=[{"role": "user", "content": "zażółć"}])
    trace.add("answer", text="a\nb")
    trace.write(tmp_path / "deep" / "trace.json")

    written = json.loads((tmp_path / "deep" / "trace.json").read_text(encoding="utf-8"))
    assert written == trace.as_dict()
    assert [entry["kind"] for entry in written["entries"]] == ["request", "answer"]
    assert written["entries"][0]["messages"][0]["content"] == "zażółć"
    times = [datetime.fromisoformat(entry["at"]) for entry in written["entries"]]
    assert all(before <= time <= datetime.now(UTC) for time in times)


def test_secrets_are_hidden_wherever_they_stand(tmp_path):
    trace = Trace(secrets=["sk-abc", "sk-abc-longer", ""])
    trace.add("error", message="key sk-abc-longer refused", nested=[{"header": "Bearer sk-abc"}], n=1)
    trace.write(tmp_path / "trace.json")

    text = (tmp_path / "trace.json").read_text()
    assert "sk-abc" not in text
    assert "longer" not in text
    assert '"Bearer ***"' in text


def test_what_is_already_in_cannot_be_changed_through_the_dict():
    trace = Trace()
    trace.add("facts", count=1)
    trace.as_dict()["entries"].clear()
    assert len(trace.as_dict()["entries"]) == 1


def test_taken_field_names_are_refused():
    with pytest.raises(TypeError):
        Trace().add("facts", kind="sql")

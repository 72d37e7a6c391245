"""Reading only what is new, or only what has changed."""

from __future__ import annotations

import asyncio
import json

import pytest

from kimi_provider.exceptions import ConfigurationError, SourceError, SourceUnavailableError
from kimi_provider.schemas import Column, DatasetRef
from kimi_provider.sources import retry
from kimi_provider.sources.guard import Guard
from kimi_provider.sources.http import HttpRequest, fetch_http
from kimi_provider.sources.incremental import Incremental
from kimi_provider.sources.pagination import LinkPagination, NextUrlPagination, PagePagination
from kimi_provider.sources.protect import Columns
from kimi_provider.sources.state import Progress, Recollection
from kimi_provider.storage import write_text

SINCE = Incremental("at", "since")


@pytest.fixture(autouse=True)
def patient_for_milliseconds(monkeypatch):
    monkeypatch.setattr(retry, "_BACKOFF", lambda state: 0.01)


def at(hour, minute=0):
    return f"2013-02-08T{hour:02}:{minute:02}:00Z"


class Source:
    """An API whose rows grow, and that gives those from ``since`` on."""

    def __init__(self, api, *, inclusive=False):
        self.rows = []
        self.asked = api.asked
        self.inclusive = inclusive
        api.answer = self.answer

    def grow(self, *hours):
        self.rows += [{"id": len(self.rows) + i, "at": at(hour)} for i, hour in enumerate(hours)]

    def answer(self, asked):
        since = asked.query.get("since", "")
        return [row for row in self.rows if row["at"] > since or (self.inclusive and row["at"] == since)]


@pytest.fixture
def source(api):
    return Source(api)


@pytest.fixture
def run(api, tmp_path):
    """One run of a task; the same name again is a retry, or a run that was cleared."""

    def fetch(name, *, incremental=SINCE, **settings):
        folder = tmp_path / "runs" / name
        progress = Progress(incremental, task=tmp_path / "task", run=folder)
        request = HttpRequest(base_url=api.url, endpoint="rows", query=progress.query, tries=1)
        target = folder / "data.parquet"
        return asyncio.run(fetch_http(request, target, progress=progress, **settings))

    return fetch


class TestWatermark:
    def test_each_run_begins_where_the_one_before_ended(self, source, run):
        source.grow(1, 3, 2)
        first = run("a")
        source.grow(4, 5)
        second = run("b")
        assert (first.rows, first.watermark) == (3, at(3))
        assert (second.rows, second.watermark) == (2, at(5))
        assert [asked.query.get("since") for asked in source.asked] == [None, at(3)]

    def test_the_first_run_begins_where_it_is_told(self, source, run):
        source.grow(1, 2, 3)
        assert run("a", incremental=Incremental("at", "since", initial=at(1))).rows == 2

    def test_is_sent_back_as_the_source_wrote_it(self, api, run):
        offset = "2013-02-08T05:00:00.5+01:00"
        api.respond([{"at": "2013-02-08T04:30:00Z"}, {"at": offset}, {"at": None}])
        assert run("a").watermark == "2013-02-08T04:30:00Z", "half past four in UTC is later"
        api.respond([{"at": "2013-02-08T07:00:00+02:00"}])
        assert run("b").watermark == "2013-02-08T07:00:00+02:00"

    @pytest.mark.parametrize(
        ("values", "highest"),
        [
            ([9, 10, 100], "100"),
            ([9.5, 10.25], "10.25"),
            (["2013-02-09", "2013-02-10"], "2013-02-10"),
            (["2013-02-08T05:00:00", "2013-02-08 06:00"], "2013-02-08 06:00"),
        ],
    )
    def test_is_the_highest_by_value(self, api, run, values, highest):
        api.respond([{"at": value} for value in values])
        assert run("a").watermark == highest

    @pytest.mark.parametrize("values", [["b", "a"], ["2013-02-08", "2013-02-08T05:00Z"], [True]])
    def test_without_an_order_is_refused(self, api, run, values, tmp_path):
        api.respond([{"at": value} for value in values])
        with pytest.raises(SourceError, match="which is the highest is not known"):
            run("a")
        assert not (tmp_path / "task").exists()
        assert not list(tmp_path.rglob("*.parquet"))

    def test_texts_that_sort_by_age_can_be_asked_for(self, api, run):
        api.respond([{"at": "01HX"}, {"at": "01HZ"}])
        assert run("a", types={"at": "VARCHAR"}).watermark == "01HZ"

    def test_of_a_column_that_is_not_there_is_refused(self, api, run):
        api.respond([{"id": 1}])
        with pytest.raises(SourceError, match=r"no column 'at'.*'id'"):
            run("a")

    def test_that_no_longer_fits_its_column_is_refused(self, api, run):
        api.respond([{"at": "2013-02-08"}], [{"at": 5}])
        run("a")
        with pytest.raises(SourceError, match="'2013-02-08' is no BIGINT"):
            run("b")

    def test_never_falls(self, api, run):
        api.respond([{"at": at(5)}], [{"at": at(3)}])
        run("a")
        assert run("b").watermark == at(5), "an API that does not know the parameter"

    def test_of_another_column_is_not_used(self, api, run):
        api.respond([{"at": at(5), "id": 7}])
        run("a")
        run("b", incremental=Incremental("id", "after"))
        assert api.asked[-1].query == {}

    @pytest.mark.parametrize(
        "columns",
        [Columns(drop=["at"]), Columns(hash=["at"]), Columns(mask=["at"]), Columns(allow=["id"])],
    )
    def test_of_a_protected_column_is_refused_before_anything_is_read(self, source, run, columns):
        source.grow(1)
        with pytest.raises(ConfigurationError, match="'at'"):
            run("a", guard=Guard(columns, b"k" * 16))
        assert not source.asked

    @pytest.mark.parametrize("names", [("", "since"), ("at", "")])
    def test_needs_names(self, names):
        with pytest.raises(ConfigurationError, match="Incremental"):
            Incremental(*names)


class TestNoNews:
    def test_is_an_empty_dataset_with_the_same_columns(self, source, run, table, tmp_path):
        source.grow(1)
        first = run("a")
        second = run("b")
        third = run("c")
        for ref in (second, third):
            assert (ref.rows, ref.watermark) == (0, at(1))
            assert [(c.name, c.type) for c in ref.columns] == [(c.name, c.type) for c in first.columns]
        source.grow(2)
        assert run("d").rows == 1

    def test_is_an_error_in_the_first_run(self, source, run):
        with pytest.raises(SourceError, match="has no rows"):
            run("a")


class TestRepeating:
    def test_a_retry_begins_where_the_try_before_began(self, api, source, run, tmp_path):
        source.grow(1)
        run("a")
        source.grow(2)
        api.respond((503, {}, b""))
        with pytest.raises(SourceUnavailableError):
            run("b")
        api.answer = source.answer
        run("c")
        assert run("b").rows == 1, "though another run has moved the watermark since"
        assert api.asked[-1].query == {"since": at(1)}

    def test_a_cleared_run_sees_what_it_saw(self, source, run):
        source.grow(1, 2)
        first = run("a")
        source.grow(3)
        second = run("b")
        source.grow(4)
        again = [run("a"), run("b")]
        assert [ref.sha256 for ref in again] == [first.sha256, second.sha256]
        assert [ref.watermark for ref in again] == [at(2), at(3)]
        third = run("c")
        assert (third.rows, third.watermark) == (1, at(4)), "clearing moved nothing back or forth"

    def test_killed_before_the_watermark_moved(self, source, run, tmp_path):
        source.grow(1)
        run("a")
        kept = (tmp_path / "task" / "watermark.json").read_text()
        source.grow(2)
        run("b")
        write_text(tmp_path / "task" / "watermark.json", kept)
        source.grow(3)
        assert run("b").watermark == at(2)
        assert run("c").rows == 1

    @pytest.mark.parametrize(("hours", "kept"), [((9, 10), "10"), ((10, 9), "10")])
    def test_runs_at_once_leave_the_highest_watermark(self, tmp_path, hours, kept):
        runs = []
        for hour in hours:
            progress = Progress(SINCE, task=tmp_path / "task", run=tmp_path / f"run{hour}")
            columns = (Column(name="at", type="BIGINT", nulls=0, distinct=1),)
            dataset = DatasetRef(
                uri="x",
                rows=1,
                bytes=1,
                sha256="0" * 64,
                source="x",
                columns=columns,
                watermark=str(hour),
            )
            runs.append((progress, dataset))
        for progress, dataset in runs:
            progress.stored(dataset)
        assert Progress(SINCE, task=tmp_path / "task", run=tmp_path / "next").window.since == kept

    def test_a_failed_run_moves_nothing(self, api, source, run, tmp_path):
        source.grow(1)
        run("a")
        kept = (tmp_path / "task" / "watermark.json").read_text()
        api.respond([{"at": at(2)}, {"at": at(3), "AT": 1}])
        with pytest.raises(SourceError):
            run("b")
        assert (tmp_path / "task" / "watermark.json").read_text() == kept

    def test_what_is_kept_and_no_longer_readable_is_named(self, source, run, tmp_path):
        source.grow(1)
        run("a")
        write_text(tmp_path / "task" / "watermark.json", "{")
        with pytest.raises(SourceError, match=r"watermark\.json is damaged"):
            run("b")


PAGES = {"1": [{"id": 1}], "2": [{"id": 2}], "3": []}


class Tagged:
    """An API of pages with validators, which answers 304 where they match."""

    def __init__(self, api, *, by="ETag"):
        self.pages = {name: list(rows) for name, rows in PAGES.items()}
        self.by = by
        self.statuses = []
        self.asked = api.asked
        api.answer = self.answer

    def answer(self, asked):
        rows = self.pages.get(asked.query["page"], [])
        tag = f'W/"{json.dumps(rows)}"'.replace('"', "'")
        sent = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}.get(self.by, "")
        unchanged = asked.headers.get(sent) == tag
        self.statuses.append(304 if unchanged else 200)
        return (304, {}, b"") if unchanged else (200, {self.by: tag}, rows)


@pytest.fixture
def conditionally(api, tmp_path):
    def fetch(name, *, pagination=None, columns=None, said=None, **settings):
        request = HttpRequest(
            **{"base_url": api.url, "query": {"key": "s3cr3t"}} | settings,
            pagination=pagination or PagePagination(),
        )
        return asyncio.run(
            fetch_http(
                request,
                tmp_path / "runs" / name / "data.parquet",
                guard=None if columns is None else Guard(columns, b"k" * 16),
                recollection=Recollection(
                    tmp_path / "task", lambda uri: tmp_path / uri.removeprefix(f"file://{tmp_path}/")
                ),
                on_progress=(said if said is not None else []).append,
            )
        )

    return fetch


class TestConditional:
    @pytest.mark.parametrize("by", ["ETag", "Last-Modified"])
    def test_the_dataset_is_used_again_if_no_page_has_changed(self, api, conditionally, by, tmp_path):
        tagged, said = Tagged(api, by=by), []
        first = conditionally("a")
        again = conditionally("b", said=said)
        assert again == first
        assert tagged.statuses == [200, 200, 200, 304, 304, 304]
        assert not (tmp_path / "runs" / "b").exists()
        assert "has not changed" in said[-1]
        assert first.uri in said[-1]

    @pytest.mark.parametrize(
        ("page", "statuses"),
        [("1", [200, 200, 200]), ("2", [304, 200, 200, 200, 200]), ("3", [304, 304, *[200] * 5])],
    )
    def test_all_is_read_anew_if_one_page_has_changed(self, api, conditionally, page, statuses):
        tagged = Tagged(api)
        first = conditionally("a")
        tagged.pages[page] = [{"id": 9}]
        tagged.statuses.clear()
        second = conditionally("b")
        assert second.sha256 != first.sha256
        assert tagged.statuses == statuses
        tagged.statuses.clear()
        assert conditionally("c") == second
        assert set(tagged.statuses) == {304}

    def test_all_is_read_anew_if_the_dataset_is_gone(self, api, conditionally, tmp_path):
        tagged = Tagged(api)
        conditionally("a")
        (tmp_path / "runs" / "a" / "data.parquet").unlink()
        tagged.statuses.clear()
        second = conditionally("b")
        assert tagged.statuses == [200, 200, 200]
        assert (tmp_path / "runs" / "b" / "data.parquet").exists()
        assert second.uri.endswith("runs/b/data.parquet")

    @pytest.mark.parametrize("damage", ["{", "[]", '{"fingerprint": 1}', None])
    def test_all_is_read_anew_if_what_is_kept_is_damaged(self, api, conditionally, tmp_path, damage):
        tagged = Tagged(api)
        first = conditionally("a")
        file = tmp_path / "task" / "pages.json"
        kept = json.loads(file.read_text())
        del kept["dataset"]["sha256"]
        write_text(file, json.dumps(kept) if damage is None else damage)
        tagged.statuses.clear()
        assert conditionally("b").sha256 == first.sha256
        assert tagged.statuses == [200, 200, 200]

    @pytest.mark.parametrize(
        "settings",
        [
            {"query": {"day": "2"}},
            {"endpoint": "x"},
            {"columns": Columns(hash=["id"])},
            {"pagination": PagePagination(size=9)},
        ],
    )
    def test_all_is_read_anew_if_something_else_is_asked_for(self, api, conditionally, settings):
        tagged = Tagged(api)
        conditionally("a")
        tagged.statuses.clear()
        conditionally("b", **settings)
        assert tagged.statuses == [200, 200, 200]

    def test_an_api_without_validators_is_read_each_time(self, api, conditionally):
        tagged, said = Tagged(api, by="X-Nothing"), []
        conditionally("a", said=said)
        conditionally("b")
        assert "no ETag or Last-Modified" in said[-1]
        assert tagged.statuses == [200] * 6

    def test_nothing_secret_is_kept(self, api, conditionally, tmp_path):
        Tagged(api)
        conditionally("a", headers={"X-API-Key": "s3cr3t"})
        assert "s3cr3t" not in (tmp_path / "task" / "pages.json").read_text()

    @pytest.mark.parametrize("pagination", [LinkPagination(), NextUrlPagination()])
    def test_pages_that_follow_by_their_url_are_refused(self, conditionally, pagination):
        with pytest.raises(ConfigurationError, match=type(pagination).__name__):
            conditionally("a", pagination=pagination)

    def test_a_304_that_nobody_asked_for_is_refused(self, api, conditionally):
        api.respond((304, {}, b""))
        with pytest.raises(SourceError, match="status 304"):
            conditionally("a")

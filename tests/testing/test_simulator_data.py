"""The data API: the real flights, in pages."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import date
from pathlib import Path

import httpx
import pytest

RAW = Path(__file__).parents[3] / "shared" / "data"
WHOLE = {
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time",
    "arr_delay", "flight", "air_time", "distance", "hour", "minute",
}  # fmt: skip


def read(simulator, name: str, **query) -> list[dict]:
    rows, page, pages = [], 1, 1
    while page <= pages:
        response = httpx.get(f"{simulator.data_url}/{name}", params={**query, "page": page})
        assert response.status_code == 200, response.text
        body = response.json()
        assert body["page"] == page
        rows += body["data"]
        page, pages = page + 1, body["pages"]
    assert len(rows) == body["total"]
    return rows


@pytest.mark.skipif(not RAW.exists(), reason="the raw data is not beside this checkout")
def test_flights_equal_the_raw_data(simulator):
    day = date(2013, 2, 8)
    served = read(simulator, "flights", **{"from": "2013-02-08", "to": "2013-02-08"})
    expected = []
    with zipfile.ZipFile(RAW / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        for raw in csv.DictReader(io.TextIOWrapper(file)):
            if (raw["month"], raw["day"]) == ("2", "8"):
                row = {k: None if v == "NA" else int(v) if k in WHOLE else v for k, v in raw.items()}
                expected.append({**row, "flight_date": day.isoformat()})
    assert served == expected


@pytest.mark.skipif(not RAW.exists(), reason="the raw data is not beside this checkout")
def test_weather_and_airlines_equal_the_raw_data(simulator):
    served = read(simulator, "weather", **{"from": "2013-01-01", "to": "2013-02-28"})
    with (RAW / "weather.csv").open() as file:
        raw = [row for row in csv.DictReader(file) if int(row["month"]) <= 2]
    assert len(served) == len(raw)
    texts = {"origin", "time_hour"}
    # Served by day, the raw file by airport; within a day the order is the raw one.
    raw.sort(key=lambda row: (int(row["month"]), int(row["day"])))
    for row, source in zip(served, raw, strict=True):
        for name, value in source.items():
            expected = None if value == "NA" else value if name in texts else float(value)
            assert row[name] == expected
    with (RAW / "airlines.csv").open() as file:
        assert read(simulator, "airlines") == list(csv.DictReader(file))


def test_pages_are_stable_and_whole(simulator):
    day = {"from": "2013-01-15", "to": "2013-01-16"}
    small = read(simulator, "flights", **day, per_page=117)
    large = read(simulator, "flights", **day, per_page=1000)
    assert small == large
    assert {row["flight_date"] for row in small} == {"2013-01-15", "2013-01-16"}
    beyond = httpx.get(f"{simulator.data_url}/flights", params={**day, "page": 99}).json()
    assert beyond["data"] == []


def test_a_date_without_data_is_empty_and_not_an_error(simulator):
    response = httpx.get(
        f"{simulator.data_url}/flights", params={"from": "2013-03-01", "to": "2013-03-01"}
    )
    assert (response.status_code, response.json()) == (
        200,
        {"data": [], "page": 1, "pages": 0, "total": 0},
    )


@pytest.mark.parametrize(
    "query",
    [
        {"from": "8 February"},
        {"to": "2013-02-30"},
        {"from": "2013-02-09", "to": "2013-02-08"},
        {"page": "0"},
        {"per_page": "1001"},
        {"per_page": "many"},
        {"day": "2013-02-08"},
        {"since": "yesterday"},
        {"since": "2013-02-08T05:00:00"},
    ],
    ids=str,
)
def test_malformed_queries_are_refused(simulator, query):
    response = httpx.get(f"{simulator.data_url}/flights", params=query)
    assert response.status_code == 400
    assert response.json()["error"]


def test_only_what_is_later_than_the_watermark(simulator):
    day = {"from": "2013-02-08", "to": "2013-02-08"}
    for name in ("flights", "weather"):
        rows = read(simulator, name, **day)
        middle = sorted(row["time_hour"] for row in rows)[len(rows) // 2]
        later = [row for row in rows if row["time_hour"] > middle]
        assert 0 < len(later) < len(rows)
        assert read(simulator, name, **day, since=middle) == later
        assert read(simulator, name, **day, since=middle.replace("Z", "+00:00")) == later


def test_an_unknown_data_set_is_not_found(simulator):
    assert httpx.get(f"{simulator.data_url}/trains").status_code == 404


def test_what_has_not_changed_is_not_sent_again(simulator):
    url, query = f"{simulator.data_url}/flights", {"from": "2013-02-08", "to": "2013-02-08"}
    first = httpx.get(url, params=query)
    again = httpx.get(url, params=query, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = httpx.get(url, params={**query, "page": 2}, headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


def test_rate_limits_and_the_next_page_are_in_the_headers(simulator):
    query = {"from": "2013-02-08", "to": "2013-02-08"}
    first = httpx.get(f"{simulator.data_url}/flights", params=query)
    second = httpx.get(f"{simulator.url}{first.headers['link'].partition('>')[0][1:]}")
    assert second.json()["page"] == 2
    assert "link" not in second.headers
    remaining = [int(response.headers["x-ratelimit-remaining"]) for response in (first, second)]
    assert remaining[1] == remaining[0] - 1


def test_too_many_requests_when_asked_for(simulator):
    simulator.faults.add("/data/", "rate_limit", retry_after=1)
    response = httpx.get(f"{simulator.data_url}/flights")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert httpx.get(f"{simulator.data_url}/airlines").status_code == 200


def test_hostile_text_comes_through_untouched(simulator):
    notes = "\n".join(row["note"] for row in read(simulator, "hostile"))
    for part in (
        "{{ conn.sendgrid_default.password }}",
        "[[fact]]",
        "<script>",
        "Ignore your instr",
        "\u200b",
        "\u202e",
    ):
        assert part in notes

"""Reading an API, against a real server on the loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from kimi_provider.exceptions import ConfigurationError, SourceError, SourceUnavailableError
from kimi_provider.sources import retry
from kimi_provider.sources.http import HttpRequest, fetch_http
from kimi_provider.sources.pagination import (
    CursorPagination,
    LinkPagination,
    NextUrlPagination,
    OffsetPagination,
    PagePagination,
)
from kimi_provider.sources.spool import Spool

SECRET = "Bearer s3cr3t-key"
ROWS = [{"id": i, "name": f"n{i}"} for i in range(25)]


@pytest.fixture
def secure_api(api, certificate):
    """The same server behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    api.secure(context)
    return api


@pytest.fixture(autouse=True)
def patient_for_milliseconds(monkeypatch):
    monkeypatch.setattr(retry, "_BACKOFF", lambda state: 0.01)


@pytest.fixture
def fetch(api, tmp_path):
    def run(*, types=None, allow_empty=False, said=None, **settings):
        request = HttpRequest(
            **{"base_url": api.url, "endpoint": "rows", "headers": {"Authorization": SECRET}} | settings
        )
        return asyncio.run(
            fetch_http(
                request,
                tmp_path / "out" / "data.parquet",
                types=types,
                allow_empty=allow_empty,
                on_progress=(said if said is not None else []).append,
            )
        )

    return run


@pytest.fixture
def refusal(fetch, tmp_path):
    """The error of a fetch, which leaks no secret and leaves no file."""

    def run(kind=SourceError, **settings):
        with pytest.raises(kind) as caught:
            fetch(**settings)
        assert "s3cr3t" not in str(caught.value)
        assert not list(tmp_path.glob("out/*"))
        return str(caught.value)

    return run


def paged(api, *, most=10, extra=None):
    """Serve ROWS by number, at most ten a page whatever was asked."""

    def answer(asked):
        size = min(int(asked.query.get("per_page", most)), most)
        start = (int(asked.query.get("page", 1)) - 1) * size
        return {"data": {"items": ROWS[start : start + size]}} | (extra or {})

    api.answer = answer


class TestPagination:
    def test_single_page(self, api, fetch, table, tmp_path):
        api.respond(ROWS)
        ref = fetch()
        assert (ref.rows, len(api.asked)) == (25, 1)
        assert table(tmp_path / "out" / "data.parquet") == [(row["id"], row["name"]) for row in ROWS]

    def test_by_number_until_the_page_that_is_named_last(self, api, fetch):
        paged(api, extra={"pages": 3})
        assert fetch(records_path="data.items", pagination=PagePagination(size=10)).rows == 25
        assert [asked.query["page"] for asked in api.asked] == ["1", "2", "3"]

    def test_by_number_until_an_empty_page(self, api, fetch):
        paged(api)
        assert fetch(records_path="data.items", pagination=PagePagination(size=10)).rows == 25
        assert len(api.asked) == 4

    def test_a_smaller_page_than_asked_for_is_not_the_end(self, api, fetch):
        paged(api, most=5)
        assert fetch(records_path="data.items", pagination=PagePagination(size=1000)).rows == 25

    def test_by_number_from_zero_with_a_count_in_text(self, api, fetch):
        api.answer = lambda asked: {
            "items": ROWS[int(asked.query["p"]) * 20 :][:20], "meta": {"last": "2"}
        }  # fmt: skip
        pagination = PagePagination(
            page_param="p", size_param=None, first_page=0, pages_path="meta.last"
        )
        assert fetch(records_path="items", pagination=pagination).rows == 25
        assert api.asked[0].query == {"p": "0"}

    @pytest.mark.parametrize(("total_path", "requests"), [("meta.total", 3), (None, 4)])
    def test_by_offset(self, api, fetch, total_path, requests):
        def answer(asked):
            start = int(asked.query["offset"])
            return {"rows": ROWS[start : start + 10], "meta": {"total": 25}}

        api.answer = answer
        pagination = OffsetPagination(limit=100, total_path=total_path)
        assert fetch(records_path="rows", pagination=pagination).rows == 25
        assert [asked.query["offset"] for asked in api.asked] == ["0", "10", "20", "25"][:requests]

    def test_by_cursor(self, api, fetch):
        def answer(asked):
            start = int(asked.query.get("cursor", 0))
            following = start + 10 if start + 10 < 25 else None
            return {"rows": ROWS[start : start + 10], "meta": {"next": following}}

        api.answer = answer
        ref = fetch(
            records_path="rows",
            query={"day": "2013-02-08"},
            pagination=CursorPagination(cursor_path="meta.next"),
        )
        assert ref.rows == 25
        assert [asked.query["day"] for asked in api.asked] == ["2013-02-08"] * 3

    def test_by_link_header(self, api, fetch):
        def answer(asked):
            start = int(asked.query.get("after", 0))
            link = f'</rows?after={start + 10}>; rel="next", </rows>; rel="first"'
            return 200, {"Link": link} if start < 20 else {}, ROWS[start : start + 10]

        api.answer = answer
        assert fetch(pagination=LinkPagination()).rows == 25
        assert {asked.headers["Authorization"] for asked in api.asked} == {SECRET}

    def test_by_next_url(self, api, fetch):
        def answer(asked):
            start = int(asked.query.get("after", 0))
            url = f"{api.url}/rows?after={start + 10}" if start < 20 else None
            return {"rows": ROWS[start : start + 10], "links": {"next": url}}

        api.answer = answer
        assert fetch(records_path="rows", pagination=NextUrlPagination(url_path="links.next")).rows == 25

    @pytest.mark.parametrize(
        "url",
        ["http://evil.example/rows", "//evil.example/rows", "https://127.0.0.1/x", "file:///etc/passwd"],
    )
    def test_the_key_goes_nowhere_else(self, api, refusal, url):
        api.answer = lambda _: {"rows": ROWS, "next": url}
        message = refusal(records_path="rows", pagination=NextUrlPagination())
        assert "another place" in message
        assert len(api.asked) == 1

    def test_pages_that_do_not_end(self, api, refusal):
        numbers = iter(range(100))
        api.answer = lambda _: {"rows": [{"id": next(numbers)}], "next_cursor": "again"}
        assert "read already" in refusal(records_path="rows", pagination=CursorPagination())
        assert len(api.asked) == 2

    def test_an_api_that_does_not_know_the_parameter(self, api, refusal):
        api.answer = lambda _: {"rows": ROWS}
        message = refusal(records_path="rows", pagination=OffsetPagination(offset_param="start"))
        assert "the same rows" in message

    def test_an_api_that_gives_its_last_page_again_and_again(self, api, refusal):
        api.answer = lambda asked: ROWS[min(int(asked.query["page"]), 3) :][:1]
        assert "gives its last page" in refusal(pagination=PagePagination())
        assert len(api.asked) == 4

    def test_a_login_in_the_url_of_the_next_page_takes_no_place(self, api, fetch):
        following = api.url.replace("://", "://ann:pass@") + "/rows?after=1"
        first = 200, {"Link": f'<{following}>; rel="next"'}, ROWS[:1]
        api.respond(first, ROWS[1:2])
        assert fetch(pagination=LinkPagination()).rows == 2
        assert [asked.headers["Authorization"] for asked in api.asked] == [SECRET, SECRET]


class TestBounds:
    def test_pages(self, api, refusal):
        paged(api)
        message = refusal(records_path="data.items", pagination=PagePagination(size=10), max_pages=2)
        assert "max_pages=2" in message
        assert len(api.asked) == 2

    def test_exactly_as_many_are_fine(self, api, fetch):
        paged(api, extra={"pages": 3})
        ref = fetch(records_path="data.items", pagination=PagePagination(), max_pages=3, max_rows=25)
        assert ref.rows == 25

    def test_rows(self, api, refusal):
        api.respond(ROWS)
        assert "max_rows=24" in refusal(max_rows=24)

    def test_bytes(self, api, refusal):
        api.respond(ROWS)
        assert "max_bytes=100" in refusal(max_bytes=100)

    def test_a_page_that_inflates(self, api, refusal):
        bomb = gzip.compress(b"[" + b" " * 20_000_000 + b"]")
        assert len(bomb) < 100_000
        api.respond((200, {"Content-Encoding": "gzip"}, bomb))
        assert "max_page_bytes=1000000" in refusal(max_page_bytes=1_000_000)

    @pytest.mark.parametrize(
        "name", ["max_pages", "max_rows", "max_bytes", "max_page_bytes", "tries", "timeout"]
    )
    def test_below_one_are_refused(self, name):
        with pytest.raises(ConfigurationError, match=name):
            HttpRequest(base_url="http://x", **{name: 0})


class TestRetries:
    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
    def test_a_passing_failure_passes(self, api, fetch, status):
        said = []
        api.respond((status, {}, b"busy"), (status, {}, b"busy"), ROWS)
        assert fetch(said=said).rows == 25
        assert len(api.asked) == 3
        assert f"status {status}" in said[0]

    def test_gives_up_after_the_tries(self, api, refusal):
        api.respond((503, {}, b"busy"))
        assert "status 503" in refusal(SourceUnavailableError, tries=3)
        assert len(api.asked) == 3

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_waits_as_long_as_asked(self, api, fetch, monkeypatch, form):
        waited = []

        async def sleep(seconds):
            waited.append(seconds)

        monkeypatch.setattr(retry, "_sleep", sleep)
        header = "7" if form == "seconds" else formatdate(time.time() + 8, usegmt=True)
        api.respond((429, {"Retry-After": header}, b""), ROWS)
        assert fetch().rows == 25
        assert 6 < waited[0] <= 8

    def test_does_not_hold_a_worker_for_an_hour(self, api, refusal):
        api.respond((429, {"Retry-After": "3600"}, b""))
        assert "asks to wait 3600 s" in refusal(SourceUnavailableError)
        assert len(api.asked) == 1

    @pytest.mark.parametrize("header", ["soon", "", "-5", "nan", "1e400", "Fri, 99 Foo 2013"])
    def test_a_malformed_wish_is_none(self, header):
        assert retry.asked_wait(header) == 0.0

    def test_a_cut_answer_is_asked_for_again(self, api, fetch):
        def cut(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b'[{"id"')
            handler.close_connection = True

        api.respond(cut, ROWS)
        assert fetch().rows == 25

    def test_a_silent_server(self, api, refusal):
        api.respond(lambda handler: time.sleep(1))
        assert "did not answer within 0.1 s" in refusal(SourceUnavailableError, timeout=0.1, tries=1)

    def test_an_unreachable_api_is_named_without_its_query(self, refusal):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://user:s3cr3t@127.0.0.1:{free.getsockname()[1]}"
        message = refusal(SourceUnavailableError, base_url=url, query={"key": "s3cr3t"}, tries=1)
        assert url.replace("user:s3cr3t@", "") + "/rows" in message
        assert SourceUnavailableError.retryable


@pytest.fixture
def certificate(tmp_path):
    """A certificate for the loopback, signed by itself: the paths of it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "tls.pem", tmp_path / "tls.key"
    files[0].write_bytes(signed.public_bytes(Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


class TestWay:
    def test_certificates_are_checked(self, secure_api, certificate, fetch, refusal):
        secure_api.respond(ROWS)
        assert "cannot be reached" in refusal(SourceUnavailableError, base_url=secure_api.url, tries=1)
        assert not secure_api.asked

    def test_authorities_can_be_named(self, secure_api, certificate, fetch):
        secure_api.respond(ROWS)
        settings = {"verify": str(certificate[0]), "cert": tuple(map(str, certificate))}
        assert fetch(base_url=secure_api.url, **settings).rows == 25

    def test_the_check_can_be_left_out(self, secure_api, fetch):
        secure_api.respond(ROWS)
        assert fetch(base_url=secure_api.url, verify=False).rows == 25

    def test_a_proxy_is_asked(self, api, fetch):
        api.respond(ROWS)
        assert fetch(base_url="http://data.invalid", proxy=api.url).rows == 25
        assert api.asked[0].headers["Host"] == "data.invalid"


class TestPacked:
    """Bodies with a Content-Encoding."""

    PLAIN = b"id,name\n" + b"".join(b"%d,n%d\n" % (i, i) for i in range(5_000))

    @pytest.mark.parametrize(
        ("encoding", "pack"),
        [
            ("gzip", gzip.compress),
            ("X-GZIP", lambda text: b"".join(map(gzip.compress, (text[:99], text[99:], b"")))),
            ("gzip", lambda text: gzip.compress(text) + bytes(100)),
            ("deflate", zlib.compress),
            ("deflate", lambda text: zlib.compress(text, wbits=-15)),
            ("identity", bytes),
        ],
    )
    def test_are_read_whole(self, api, fetch, encoding, pack):
        api.respond((200, {"Content-Encoding": encoding}, pack(self.PLAIN)))
        assert fetch(format="csv").rows == 5_000

    def test_without_anything_in_it(self, api, fetch):
        api.respond((200, {"Content-Encoding": "gzip"}, b""))
        assert fetch(format="csv", allow_empty=True, types={"id": "BIGINT"}).rows == 0

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    def test_a_cut_or_damaged_one_is_asked_for_again(self, api, fetch, encoding):
        packed = (gzip.compress if encoding == "gzip" else zlib.compress)(self.PLAIN)
        packs = {"Content-Encoding": encoding}
        cut = 200, packs, packed[: len(packed) // 2]
        api.respond(cut, (200, packs, b"<html>"), (200, packs, packed))
        assert fetch(format="csv").rows == 5_000
        assert len(api.asked) == 3


class TestEncodings:
    @pytest.mark.parametrize(
        ("encoding", "said"),
        [
            ("utf-8-sig", {}),
            ("utf-16", {}),
            ("latin-1", {"Content-Type": "text/plain; charset=iso-8859-1"}),
            ("utf-8", {"Content-Type": "text/plain; charset=no-such-encoding"}),
        ],
    )
    def test_are_those_that_an_answer_says(self, api, fetch, encoding, said):
        for kind, text in [("json", '[{"a": "Zoë"}]'), ("jsonl", '{"a": "Zoë"}\n'), ("csv", "a\nZoë\n")]:
            api.respond((200, said, text.encode(encoding)))
            assert fetch(format=kind).columns[0].minimum == "Zoë"


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (400, "query"),
            (401, "credentials"),
            (403, "may not read"),
            (404, "endpoint"),
            (410, "status 410"),
        ],
    )
    def test_are_not_asked_again(self, api, refusal, status, words):
        api.respond((status, {}, b"s3cr3t"))
        assert words in refusal()
        assert len(api.asked) == 1

    def test_a_redirect_is_not_followed(self, api, refusal):
        api.respond((302, {"Location": "http://evil.example/"}, b""))
        assert "redirects" in refusal()

    @pytest.mark.parametrize(
        ("body", "settings", "words"),
        [
            (b"<html>Sign in</html>", {}, ["is not JSON", "login page"]),
            (b"", {"format": "csv"}, ["no rows"]),
            (b'[{"a": NaN}]', {}, ["is not JSON"]),
            (b'{"a": 1}\n{"b"', {"format": "jsonl"}, ["is no JSON Lines at line 2"]),
            (b'{"a": 1}\n\n{"a": "\xff"}\n', {"format": "jsonl"}, ["is no JSON Lines at line 3"]),
            (b'[{"a": 12345678901234567.25}, {"a": 1e999}]', {}, ["is not JSON"]),
            (b"\xff\xfea", {"format": "csv"}, ["is not CSV"]),
            (
                (200, {"Content-Type": "text/html; charset=utf-8"}, b"<p>Sign in</p>\n<p>\n"),
                {"format": "csv"},
                ["a page of HTML", "login page"],
            ),
            ((200, {"Content-Encoding": "br"}, b"x"), {}, ["packed by 'br'"]),
            (b"a,b\n1,2,3", {"format": "csv"}, ["3 cells in row 1"]),
            (b"a,a\n1,2", {"format": "csv"}, ["'a' twice"]),
            ({"data": {"items": []}}, {"records_path": "data.rows"}, ["no 'rows' at 'data'", "'items'"]),
            ({"error": "quota"}, {"records_path": "data"}, ["no 'data' at its top", "'error'"]),
            ({"data": [1]}, {"records_path": "data.rows"}, ["a list"]),
            ({"data": None}, {"records_path": "data"}, ["no list of rows at 'data'", "null"]),
            ({"data": []}, {}, ["no list of rows at its top", "'data'"]),
            ([{"a": 1}, 2], {}, ["entry 2", "a number"]),
            ([{"": 1}], {}, ["Row 1"]),
        ],
    )
    def test_of_a_wrong_shape_say_what_is_there(self, api, refusal, body, settings, words):
        api.respond(body)
        message = refusal(**settings)
        for word in words:
            assert word in message

    def test_hide_values_of_the_query_that_may_be_private(self, api, refusal):
        api.respond([])
        message = refusal(query={"from": "2013-02-08", "page": "2", "api_key": "s3cr3t"})
        assert "no rows for from=2013-02-08, page=2, api_key=…" in message
        assert "allow_empty" in message

    @pytest.mark.parametrize("url", ["", "api.example.com", "ftp://x", "http://", "http://x:port"])
    def test_of_what_is_no_url(self, url):
        with pytest.raises(ConfigurationError, match="URL"):
            HttpRequest(base_url=url)

    def test_of_an_unknown_format(self):
        with pytest.raises(ConfigurationError, match="xml"):
            HttpRequest(base_url="http://x", format="xml")

    def test_a_request_shows_no_secret(self):
        request = HttpRequest(
            base_url="http://u:s3cr3t@x", headers={"k": "s3cr3t"}, query={"k": "s3cr3t"}
        )
        assert "s3cr3t" not in repr(request) + request.url + request.shown_query

    def test_httpx_logs_no_query(self, api, fetch, caplog, monkeypatch):
        # A server or a logging configuration of another test may have silenced it for good.
        httpx_logger = logging.getLogger("httpx")
        monkeypatch.setattr(httpx_logger, "disabled", False)
        monkeypatch.setattr(httpx_logger, "propagate", True)
        monkeypatch.setattr(httpx_logger, "handlers", [caplog.handler])
        caplog.set_level(logging.INFO, logger="httpx")
        api.respond(ROWS)
        fetch(query={"api_key": "s3cr3t"})
        assert "/rows" in caplog.text
        assert "s3cr3t" not in caplog.text


class TestResult:
    def test_is_a_profile_that_names_its_source(self, api, fetch):
        api.respond(ROWS)
        ref = fetch(query={"api_key": "s3cr3t"})
        assert ref.source == f"{api.url}/rows"
        assert [(c.name, c.type) for c in ref.columns] == [("id", "BIGINT"), ("name", "VARCHAR")]

    def test_of_no_rows(self, api, fetch):
        api.respond([])
        assert fetch(allow_empty=True, types={"id": "BIGINT"}).rows == 0

    def test_of_no_content(self, api, fetch):
        api.respond((204, {}, b""))
        assert fetch(allow_empty=True, types={"id": "BIGINT"}).rows == 0

    def test_is_the_same_from_each_format(self, api, fetch):
        rows = [
            {"id": 1, "t": "2013-02-08T05:00:00Z", "v": 0.5, "s": 'x,\n"y"', "n": None},
            {"id": 2, "t": None, "v": None, "s": "007", "n": None},
        ]
        text = 'id,t,v,s,n\r\n1,2013-02-08T05:00:00Z,0.50,"x,\n""y""",\r\n\r\n2,,,007\r\n'
        api.respond(rows, "\n".join(map(json.dumps, rows)).encode(), b"\xef\xbb\xbf" + text.encode())
        hashes = {fetch(format=kind).sha256 for kind in ("json", "jsonl", "csv")}
        assert len(hashes) == 1

    def test_files_are_never_touched_in_the_event_loop(self, api, fetch, monkeypatch):
        threads = set()

        def recorded(method):
            def wrapper(*args, **kwargs):
                threads.add(threading.current_thread())
                return method(*args, **kwargs)

            return wrapper

        for name in ("add", "finish"):
            monkeypatch.setattr(Spool, name, recorded(getattr(Spool, name)))
        api.respond(ROWS)
        fetch()
        assert threads
        assert threading.current_thread() not in threads


@pytest.mark.parametrize("module", ["pagination", "incremental", "protect"])
def test_what_dag_files_import_is_cheap(module):
    script = f"import sys; import kimi_provider.sources.{module}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"httpx", "pydantic", "duckdb", "msgspec", "tenacity", "airflow"}

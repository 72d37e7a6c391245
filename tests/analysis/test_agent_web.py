import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import httpcore
import pytest

from kimi_provider.analysis.addresses import is_public
from kimi_provider.analysis.page import page_text
from kimi_provider.analysis.tools import Invocation
from kimi_provider.analysis.web import fetch_tool
from kimi_provider.exceptions import ConfigurationError

PUBLIC = "93.184.216.34"


class Resolver:
    """Answers from a table and counts; a list of lists is what it answers in turn."""

    def __init__(self, **names):
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append(host)
        answers = self.names.get(host, [[PUBLIC]])
        return answers[min(self.asked.count(host), len(answers)) - 1]


class Pages(BaseHTTPRequestHandler):
    seen: ClassVar = []

    def do_GET(self):
        self.seen.append((self.path, self.headers.get("Host")))
        kind, body, status = "text/plain", b"secret of the inside", 200
        headers = {}
        if self.path.startswith("/to?"):
            status, headers = 302, {"Location": self.path.partition("?")[2]}
        if self.path == "/html":
            kind = "text/html; charset=utf-8"
            body = "<head><title>T</title></head><p>Größe<script>x</script><p>two".encode()
        if self.path == "/image":
            kind = "image/png"
        if self.path == "/large":
            body = b"x" * 100_000
        if self.path == "/gzip":
            headers = {"Content-Encoding": "gzip"}
        if self.path == "/missing":
            status = 404
        if self.path == "/cookie":
            headers = {"Set-Cookie": "a=b"}
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def inside():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def fetch(url, allowed=("*",), **options):
    made = fetch_tool(list(allowed), timeout=options.pop("timeout", 5), **options)
    text = json.dumps({"url": url})
    return asyncio.run(made.invoke(Invocation(made.parse(text), text, 0)))


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9"),  # noqa: S104 — an address, not a bind
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1"),
        *("192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1"),
        *("240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("::", "::1", "::ffff:127.0.0.1", "::ffff:93.184.216.34", "::127.0.0.1", "fc00::1", "fd00::1"),
        *("fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001::1", "2001:0:4136:e378::1"),
        *("2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "100::1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::a9fe:a9fe"),
        *("2606:4700::1111%eth0", "4000::1", "", "localhost", "127.1", "0x7f000001", "2130706433"),
    ],
)
def test_addresses_that_lead_inside_or_nowhere(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("93.184.216.34", "1.1.1.1", "223.255.255.255", "100.128.0.1", "172.32.0.1", "169.253.0.1"),
        *("2606:4700::1111", "2a00:1450:4001::200e", "64:ff9b::5db8:d822"),
    ],
)
def test_addresses_on_the_public_internet(address):
    assert is_public(address)


# --- hostile URLs ---------------------------------------------------------------------------------

HOSTILE = [
    "http://127.0.0.1/",
    "http://127.0.0.1:{port}/",
    "http://localhost/",
    "http://localhost:{port}/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://127.0.0.0x1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[fe80::1%25eth0]/",
    "http://[2002:7f00:1::]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://metadata.google.internal/",
    "http://inside.test/",
    "http://mixed.test/",
    "http://nat.test/",
    "http://user@inside.test/",
    "http://example.com@127.0.0.1/",
    "http://example.com:80@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1%2f@example.com/",
    "http://example.com:{port}/",
    "http://example.com:22/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "https://example.com:8443/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://①②⑦.⓪.⓪.①/",
    "http://loc\u00adalhost/",
    "http://127.0.0.1\t/",
    " http://127.0.0.1/",
    "http://exa mple.com/",
    "http://example.com\r\nHost: inside/",
    "http:///etc/passwd",
    "http:/127.0.0.1/",
    "http:127.0.0.1",
    "//127.0.0.1/",
    "127.0.0.1",
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://127.0.0.1:6379/_INFO",
    "unix:///var/run/docker.sock",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "https+unix://example.com/",
    "ws://example.com/",
    "",
    "http://",
    "http://.",
    "http://%31%32%37.0.0.1/",
    "http://example.com/" + "a" * 3_000,
    "http://0x/",
    "http://1e3/",
    "http://[::1",
    "http://[127.0.0.1]/",
    "http://localhost.localdomain/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_no_hostile_url_gets_in(url, inside, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{inside}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{inside}")
    Pages.seen.clear()
    loopback = {name: [["127.0.0.1"]] for name in ("localhost", "inside_test", "localhost_localdomain")}
    resolver = Resolver(
        mixed_test=[[PUBLIC, "10.0.0.1"]],
        nat_test=[["64:ff9b::a9fe:a9fe"]],
        metadata_google_internal=[["169.254.169.254"]],
        **loopback,
    )
    output = fetch(url.replace("{port}", str(inside)), resolver=resolver)
    assert output.failed
    assert "secret" not in output.text
    assert "FetchRefusedError" in output.text
    assert Pages.seen == []


@pytest.mark.parametrize(
    ("allowed", "host", "let_in"),
    [
        (["example.com"], "example.com", True),
        (["example.com"], "EXAMPLE.com", True),
        (["example.com"], "example.com.", True),
        (["example.com"], "www.example.com", False),
        (["example.com"], "example.com.evil.test", False),
        (["example.com"], "notexample.com", False),
        (["*.example.com"], "a.b.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "evilexample.com", False),
        (["bücher.example"], "example.com", None),
        (["*"], "single", False),
        ([], "example.com", False),
    ],
)
def test_the_list_of_hosts_is_kept(allowed, host, let_in):
    resolver = Resolver()
    if let_in is None:
        with pytest.raises(ConfigurationError, match="host"):
            fetch_tool(allowed)
        return
    # An address that is inside shows, without a connection, how far the URL got.
    resolver.names = {"example.com": [["10.0.0.1"]], "a.b.example.com": [["10.0.0.1"]]}
    text = fetch(f"http://{host}/", allowed, resolver=resolver).text
    assert ("not on the public internet" in text) == let_in
    assert ("not in the list" in text) == (not let_in)
    assert bool(resolver.asked) == let_in


def test_a_name_is_resolved_once_so_that_rebinding_is_useless(inside, monkeypatch):
    dialed = []

    async def connect_tcp(self, host, port, *args, **kwargs):
        dialed.append((host, port))
        raise httpcore.ConnectError("not from here")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    resolver = Resolver(rebind_test=[[PUBLIC], ["127.0.0.1"]])
    assert fetch("http://rebind.test/", resolver=resolver).failed
    assert resolver.asked == ["rebind.test"]
    assert dialed == [(PUBLIC, 80)]
    # Each new connection is judged anew.
    assert "not on the public" in fetch("http://rebind.test/", resolver=resolver).text
    assert dialed == [(PUBLIC, 80)]


def test_the_connection_goes_to_the_resolved_address_under_the_names_host(inside):
    Pages.seen.clear()
    resolver = Resolver(pages_test=[["127.0.0.1"]])
    url = f"http://pages.test:{inside}/plain"
    output = fetch(url, (), allow_private=[f"pages.test:{inside}"], resolver=resolver)
    assert output.text == "secret of the inside"
    assert Pages.seen == [("/plain", f"pages.test:{inside}")]


def private(path, inside, **options):
    return fetch(
        f"http://127.0.0.1:{inside}{path}",
        ("ok.test",),
        allow_private=[f"127.0.0.1:{inside}"],
        **options,
    )


def test_what_a_page_becomes(inside):
    assert private("/html", inside).text == "Größe\ntwo"
    assert "'image/png', not text" in private("/image", inside).text
    assert private("/missing", inside).text.startswith("[HTTP status 404]\n")
    assert "compressed" in private("/gzip", inside).text
    large = private("/large", inside, max_bytes=1_000)
    assert large.text == "x" * 1_000 + "\n[The page is larger; only its first 1000 bytes were read.]"


@pytest.mark.parametrize(
    "target",
    [
        *("http://127.0.0.1:1/", "http://localhost/", "http://169.254.169.254/", "file:///etc/passwd"),
        *("//inside.test/", "http://other.test/", "http://u@ok.test/", "http://ok.test/"),
    ],
)
def test_redirects_are_checked_like_the_first_url(inside, target):
    Pages.seen.clear()
    resolver = Resolver(inside_test=[["127.0.0.1"]], ok_test=[["127.0.0.1"]])
    resolver.names["127.0.0.1"] = [["127.0.0.1"]]
    output = private(f"/to?{target}", inside, resolver=resolver)
    assert "FetchRefusedError" in output.text
    assert len(Pages.seen) == 1


def test_a_redirect_that_is_allowed_is_followed_and_a_ring_is_not(inside):
    assert private("/to?/plain", inside).text == "secret of the inside"
    assert private("/to?/to?/to?/plain", inside).text == "secret of the inside"
    Pages.seen.clear()
    ring = "".join(["/to?"] * 12) + "/plain"
    assert "redirects more than" in private(ring, inside).text
    assert len(Pages.seen) == 6


def test_an_allowed_private_host_opens_no_other_port(inside):
    resolver = Resolver()
    resolver.names["127.0.0.1"] = [["127.0.0.1"]]
    text = fetch(
        f"http://127.0.0.1:{inside}/", (), allow_private=["127.0.0.1:1"], resolver=resolver
    ).text
    assert "FetchRefusedError" in text


def test_every_address_is_tried_and_time_is_bounded(inside):
    url = f"http://pages.test:{inside}/plain"
    # ::1 has no server at this port.
    resolver = Resolver(pages_test=[["::1", "127.0.0.1"]])
    options = {"allow_private": [f"pages.test:{inside}"], "resolver": resolver}
    assert fetch(url, (), **options).text == "secret of the inside"
    resolver.names["pages.test"] = [["::1"]]
    assert fetch(url, (), **options).failed

    async def never(host, port):
        await asyncio.sleep(60)

    assert "took longer than 0.1 s" in fetch("http://ok.test/", resolver=never, timeout=0.1).text


@pytest.mark.parametrize("host", ["http://example.com", "example.com/x", "exa mple.com", "", "**"])
def test_a_host_that_is_none_is_refused(host):
    with pytest.raises(ConfigurationError, match="no host name"):
        fetch_tool([host])


def test_a_text_instead_of_a_list_of_hosts_is_refused():
    with pytest.raises(ConfigurationError, match="list"):
        fetch_tool("example.com")


def test_pages_in_any_charset_and_with_hidden_text():
    assert page_text("é".encode("latin-1"), "text/plain; charset=latin-1") == "é"
    assert page_text("é".encode(), "text/plain; charset=nonsense") == "é"
    assert page_text(b"a\xff", "text/plain") == "a\ufffd"
    html = "<style>x</style><body>a&amp;b<br>c<template>hidden</template> d\u200be"
    assert page_text(html.encode(), "text/html") == "a&b\nc de"

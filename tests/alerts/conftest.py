"""A loopback mail service: takes what SendGrid takes, and fails as it is told."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


@dataclass
class Act:
    """What to do with one request: answer, cut or stall, before or after taking the mail."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False
    stall: bool = False
    take: bool = True


class MailService(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Act] = []
        self.by_recipient: dict[str, list[Act]] = {}
        self.mailbox: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.seen_headers: list[dict[str, str]] = []
        self.scopes: list[str] = ["mail.send"]
        self.wake = threading.Event()
        self.lock = threading.Lock()

    def will(self, *, recipient: str | None = None, **act: Any) -> None:
        """Add to what happens to the coming requests: all, or those for one recipient."""
        acts = self.script if recipient is None else self.by_recipient.setdefault(recipient, [])
        acts.append(Act(**act))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def received(self) -> Counter[str]:
        """How many mails each address got."""
        people = [p["to"][0]["email"] for mail in self.mailbox for p in mail["personalizations"]]
        return Counter(people)

    def next_act(self, mail: dict[str, Any]) -> Act:
        with self.lock:
            self.requests.append(mail)
            for person in mail.get("personalizations", []):
                acts = self.by_recipient.get(person["to"][0]["email"])
                if acts:
                    return acts.pop(0)
            return self.script.pop(0) if self.script else Act()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MailService

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen_headers.append(dict(self.headers))
        if self.path == "/v3/scopes":
            if self.server.script:
                act = self.server.script.pop(0)
                self.reply(act.status, act.body, act.headers)
            else:
                self.reply(200, json.dumps({"scopes": self.server.scopes}).encode(), {})
        else:
            self.reply(404, b"", {})

    def do_POST(self) -> None:
        self.server.seen_headers.append(dict(self.headers))
        mail = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        act = self.server.next_act(mail)
        problems = find_refusals(mail)
        if self.path != "/v3/mail/send":
            self.reply(404, b"", {})
            return
        if act.status == 202 and problems:
            errors = [{"message": text, "field": None, "help": None} for text in problems]
            self.reply(400, json.dumps({"errors": errors}).encode(), {})
            return
        if act.status == 202 and act.take:
            with self.server.lock:
                self.server.mailbox.append(mail)
        if act.stall:
            self.server.wake.wait(20)
        if act.cut or act.stall:
            self.close_connection = True
            self.connection.close()
            return
        ids = {"X-Message-Id": f"sg-{len(self.server.mailbox)}"} if act.status == 202 else {}
        self.reply(act.status, act.body, {**ids, **act.headers})

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def find_refusals(mail: dict[str, Any]) -> list[str]:
    """Say what SendGrid would refuse in a mail, by its OpenAPI description and documented limits."""
    found = [*_people_refusals(mail), *_content_refusals(mail), *_file_refusals(mail)]
    args = mail.get("custom_args", {})
    if not all(isinstance(v, str) for v in args.values()) or len(json.dumps(args)) >= 10_000:
        found.append("custom_args")
    categories = mail.get("categories", [])
    if len(categories) > 10 or len(set(categories)) < len(categories):
        found.append("categories")
    if any(len(category) > 255 for category in categories):
        found.append("long category")
    return found


def _people_refusals(mail: dict[str, Any]) -> list[str]:
    found = []
    people = mail.get("personalizations", [])
    if not 1 <= len(people) <= 1000:
        found.append("personalizations")
    known = {"to", "cc", "bcc", "custom_args", "send_at", "dynamic_template_data"}
    if any(set(person) - known or not person.get("to") for person in people):
        found.append("personalization keys")
    everyone = [e for p in people for kind in ("to", "cc", "bcc") for e in p.get(kind, [])]
    if len(everyone) > 1000:
        found.append("more than 1000 recipients")
    entries = [*everyone, mail.get("from", {}), *([mail["reply_to"]] if "reply_to" in mail else [])]
    if not all(ADDRESS.fullmatch(entry.get("email") or "") for entry in entries):
        found.append("address")
    if any(set(entry) - {"email", "name"} for entry in entries):
        found.append("address keys")
    if any(set(entry.get("name") or "") & set(",;\r\n") for entry in everyone):
        found.append("name")
    if not all(text.isascii() for text in mail.get("from", {}).values()):
        found.append("unicode in from")
    return found


def _content_refusals(mail: dict[str, Any]) -> list[str]:
    found = []
    if "template_id" in mail:
        return found if re.fullmatch(r"d-[0-9a-f]{4,64}", mail["template_id"]) else ["template_id"]
    if (
        not isinstance(mail.get("subject"), str)
        or not mail["subject"]
        or set(mail["subject"]) & set("\r\n")
    ):
        found.append("subject")
    kinds = [part["type"] for part in mail.get("content", [])]
    if kinds != ["text/plain", "text/html"] or not all(part["value"] for part in mail["content"]):
        found.append(f"content {kinds}")
    return found


def _file_refusals(mail: dict[str, Any]) -> list[str]:
    found = []
    for file in mail.get("attachments", []):
        if not file.get("filename") or not re.fullmatch(
            r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", file.get("type", "")
        ):
            found.append("attachment")
        if file.get("disposition") not in {"inline", "attachment"}:
            found.append("disposition")
        if file["disposition"] == "inline" and not file.get("content_id"):
            found.append("content_id")
        base64.b64decode(file["content"], validate=True)
    return found


@pytest.fixture(scope="session")
def refusals() -> Callable[[dict[str, Any]], list[str]]:
    return find_refusals


@pytest.fixture
def service() -> Iterator[MailService]:
    server = MailService()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.wake.set()
    server.shutdown()
    thread.join()
    server.server_close()

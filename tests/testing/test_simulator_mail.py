"""The simulated SendGrid and its mailbox."""

from __future__ import annotations

import base64
import email
import re
import time
from email.policy import default

import httpx
import pytest

from kimi_provider.testing import Mailbox, Simulator

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
HTML = '<p>Żółw <b>report</b></p><img src="cid:chart-1" width="600" alt="Chart">'


def mail(**fields) -> dict:
    return {
        "personalizations": [{"to": [{"email": "ann@example.com", "name": "Ann"}]}],
        "from": {"email": "reports@example.com", "name": "Flight Reports"},
        "subject": "Daily brief",
        "content": [
            {"type": "text/plain", "value": "Żółw report"},
            {"type": "text/html", "value": HTML},
        ],
        "attachments": [
            {
                "content": base64.b64encode(PNG).decode(),
                "filename": "chart.png",
                "type": "image/png",
                "disposition": "inline",
                "content_id": "chart-1",
            },
            {
                "content": base64.b64encode(b"a,b\n1,2\n").decode(),
                "filename": "data.csv",
                "type": "text/csv",
            },
        ],
        "custom_args": {"message": "m-1"},
        "categories": ["reports"],
        **fields,
    }


def to(*addresses: str) -> list[dict]:
    return [{"to": [{"email": address}]} for address in addresses]


@pytest.fixture
def sendgrid(simulator):
    headers = {"Authorization": "Bearer SG.key"}
    with httpx.Client(base_url=simulator.sendgrid_url, headers=headers, timeout=20) as client:
        yield client


def test_a_good_mail_is_queued_and_lies_in_the_mailbox(simulator, sendgrid):
    response = sendgrid.post("/v3/mail/send", json=mail())
    assert (response.status_code, response.content) == (202, b"")
    (message,) = simulator.mailbox.messages
    assert response.headers["x-message-id"] == message.message_id
    assert (message.to, message.subject, message.text, message.html) == (
        ("ann@example.com",), "Daily brief", "Żółw report", HTML,
    )  # fmt: skip
    assert message.inline("chart-1").content == PNG
    assert [a.filename for a in message.attachments] == ["chart.png", "data.csv"]
    assert message.custom_args == {"message": "m-1"}
    assert message.payload == mail()


def test_each_personalization_is_a_mail_of_its_own(simulator, sendgrid):
    personalizations = to("a@example.com", "b@example.com")
    personalizations[1] |= {
        "subject": "Hello -name-",
        "substitutions": {"-name-": "Bo", "report": "brief"},
        "custom_args": {"message": "m-2"},
        "bcc": [{"email": "audit@example.com"}],
    }
    sendgrid.post("/v3/mail/send", json=mail(personalizations=personalizations))
    first, second = simulator.mailbox.messages
    assert (first.subject, second.subject) == ("Daily brief", "Hello Bo")
    assert (first.text, second.text) == ("Żółw report", "Żółw brief")
    assert second.custom_args == {"message": "m-2"}
    assert first.message_id == second.message_id
    assert simulator.mailbox.to("AUDIT@example.com") == [second]


def test_the_official_library_can_send(simulator):
    sendgrid = pytest.importorskip("sendgrid")
    helpers = pytest.importorskip("sendgrid.helpers.mail")
    message = helpers.Mail("reports@example.com", ["a@example.com"], "Subject", "Text", "<p>Text</p>")
    client = sendgrid.SendGridAPIClient("SG.key", host=simulator.sendgrid_url)
    assert client.send(message).status_code == 202
    assert simulator.mailbox.messages[0].html == "<p>Text</p>"


REFUSED = [
    ({"personalizations": []}, "personalizations", "at least one personalization"),
    ({"personalizations": [{"to": []}]}, "personalizations.0.to", "The to array is required"),
    ({"personalizations": to("not an address")}, "personalizations.0.to.0.email", "valid address"),
    (
        {"personalizations": to("a@example.com\r\nBcc: x@y.com")},
        "personalizations.0.to.0.email",
        "valid address",
    ),
    (
        {"personalizations": to(*(f"u{n}@example.com" for n in range(1001)))},
        "personalizations",
        "more than 1000",
    ),
    (
        {"personalizations": [{"to": [{"email": f"u{n}@example.com"} for n in range(1001)]}]},
        "personalizations",
        "over all to, cc and bcc must not be more than 1000",
    ),
    (
        {"personalizations": [{"to": [{"email": "a@example.com"}], "cc": [{"email": "A@Example.com"}]}]},
        "personalizations.0",
        "should be unique between to, cc, and bcc",
    ),
    (
        {"personalizations": [{"to": [{"email": "a@example.com", "name": "A; B"}]}]},
        "personalizations.0.to.0.name",
        "semicolons",
    ),
    (
        {"personalizations": [{**to("a@example.com")[0], "extra": 1}]},
        "personalizations.0.extra",
        "not allowed",
    ),
    ({"from": None}, "from.email", "The from object must be provided"),
    ({"from": {"email": "zażółć@example.com"}}, "from.email", "Unicode"),
    ({"subject": ""}, "subject", "The subject is required"),
    ({"subject": "One\r\nBcc: two@example.com"}, "subject", "without line breaks"),
    ({"content": []}, "content", "content parameter is required"),
    ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value", "at least one character"),
    ({"content": [{"type": "plain", "value": "x"}]}, "content.0.type", "MIME type"),
    (
        {"content": [{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]},
        "content",
        "text/plain must be first",
    ),
    ({"content": [{"type": "text/plain", "value": "x"}] * 2}, "content", "only be provided once"),
    ({"attachments": [{"filename": "a.txt"}]}, "attachments.0.content", "content is required"),
    ({"attachments": [{"content": "!", "filename": "a"}]}, "attachments.0.content", "base64"),
    ({"attachments": [{"content": "eA=="}]}, "attachments.0.filename", "filename is required"),
    (
        {"attachments": [{"content": "eA==", "filename": "a.gif", "type": "gif"}]},
        "attachments.0.type",
        "MIME",
    ),
    (
        {"attachments": [{"content": "eA==", "filename": "a", "disposition": "x"}]},
        "attachments.0.disposition",
        "inline",
    ),
    (
        {"attachments": [{"content": "eA==", "filename": "a", "content_id": "a b"}]},
        "attachments.0.content_id",
        "spaces",
    ),
    ({"reply_to": {"email": "a@b.co"}, "reply_to_list": [{"email": "a@b.co"}]}, "reply_to", "not both"),
    ({"categories": [str(n) for n in range(11)]}, "categories", "more than 10"),
    ({"categories": ["a", "a"]}, "categories", "unique"),
    ({"categories": ["x" * 256]}, "categories", "255"),
    ({"custom_args": {"a": 1}}, "custom_args", "object of strings"),
    ({"custom_args": {"a": "x" * 10_000}}, "personalizations.0.custom_args", "less than 10000 bytes"),
    ({"headers": {"To": "x"}}, "headers.To", "reserved"),
    ({"headers": {"X-A": "x\ny"}}, "headers.X-A", "line breaks"),
    ({"send_at": 9_999_999_999}, "send_at", "72 hours"),
    ({"send_at": "tomorrow"}, "send_at", "UNIX timestamp"),
    ({"batch_id": "unheard-of"}, "batch_id", "batch id is not valid"),
    ({"asm": {"groups_to_display": [1]}}, "asm.group_id", "required"),
    ({"asm": {"group_id": 1, "groups_to_display": list(range(26))}}, "asm.groups_to_display", "25"),
    ({"recipients": []}, "recipients", "Additional property recipients is not allowed"),
]


@pytest.mark.parametrize(("fields", "where", "text"), REFUSED, ids=lambda value: str(value)[:50])
def test_what_sendgrid_refuses(simulator, sendgrid, fields, where, text):
    response = sendgrid.post("/v3/mail/send", json=mail(**fields))
    assert response.status_code == 400
    problems = response.json()["errors"]
    assert any(one["field"] == where and text in one["message"] and one["help"] for one in problems), (
        problems
    )
    assert len(simulator.mailbox) == 0


def test_what_sendgrid_accepts(simulator, sendgrid):
    batch_id = sendgrid.post("/v3/mail/batch").json()["batch_id"]
    good = [
        {"personalizations": to(*(f"u{n}@example.com" for n in range(1000)))},
        {"subject": None, "personalizations": [{**to("a@example.com")[0], "subject": "Own"}]},
        {"template_id": "d-1", "content": [], "subject": None},
        {"send_at": int(time.time()) + 71 * 3600, "batch_id": batch_id},
        {"reply_to_list": [{"email": "a@example.com"}], "headers": {"X-Entity-Ref-ID": "1"}},
        {"asm": {"group_id": 1}, "tracking_settings": {"click_tracking": {"enable": False}}},
    ]
    for fields in good:
        body = {name: value for name, value in mail(**fields).items() if value is not None}
        response = sendgrid.post("/v3/mail/send", json=body)
        assert response.status_code == 202, response.text
    assert len(simulator.mailbox) == 1005


def test_keys_types_sizes_and_senders(simulator, sendgrid):
    url = "/v3/mail/send"
    assert sendgrid.post(url, json=mail(), headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert httpx.post(f"{simulator.sendgrid_url}{url}", json=mail()).status_code == 401
    text = sendgrid.post(url, content=b"{}", headers={"Content-Type": "text/plain"})
    assert (text.status_code, text.json()["errors"][0]["message"]) == (
        415,
        "Content-Type should be application/json.",
    )
    assert (
        sendgrid.post(url, content=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    )
    large = {"content": base64.b64encode(b"x" * 23 * 1024 * 1024).decode(), "filename": "large.bin"}
    assert sendgrid.post(url, json=mail(attachments=[large])).status_code == 413
    assert (
        sendgrid.post(url, json=mail(**{"from": {"email": "unverified@example.com"}})).status_code == 403
    )
    assert sendgrid.get(url).status_code == 405
    assert len(simulator.mailbox) == 0


def test_the_sandbox_checks_and_sends_nothing(simulator, sendgrid):
    settings = {"sandbox_mode": {"enable": True}}
    assert sendgrid.post("/v3/mail/send", json=mail(mail_settings=settings)).status_code == 200
    assert (
        sendgrid.post("/v3/mail/send", json=mail(mail_settings=settings, subject="")).status_code == 400
    )
    assert len(simulator.mailbox) == 0


def test_scopes_tell_whether_mail_may_be_sent(sendgrid):
    assert "mail.send" in sendgrid.get("/v3/scopes").json()["scopes"]
    assert sendgrid.get("/v3/scopes", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_a_scheduled_mail_can_be_canceled_and_let_go(simulator, sendgrid):
    batch_id = sendgrid.post("/v3/mail/batch").json()["batch_id"]
    assert sendgrid.get(f"/v3/mail/batch/{batch_id}").json() == {"batch_id": batch_id}
    sendgrid.post("/v3/mail/send", json=mail(batch_id=batch_id, send_at=int(time.time()) + 900))
    sendgrid.post("/v3/mail/send", json=mail())
    scheduled, other = simulator.mailbox.messages
    assert scheduled.status == "scheduled"
    cancel = {"batch_id": batch_id, "status": "cancel"}
    assert sendgrid.post("/v3/user/scheduled_sends", json=cancel).status_code == 201
    assert sendgrid.get(f"/v3/user/scheduled_sends/{batch_id}").json() == [cancel]
    assert (scheduled.status, other.status) == ("canceled", "queued")
    assert sendgrid.delete(f"/v3/user/scheduled_sends/{batch_id}").status_code == 204
    assert scheduled.status == "scheduled"
    assert sendgrid.post("/v3/user/scheduled_sends", json={**cancel, "batch_id": "x"}).status_code == 400


def test_mails_survive_a_restart_where_a_folder_is_given(tmp_path):
    headers = {"Authorization": "Bearer SG.key"}
    with Simulator(state_dir=tmp_path) as simulator:
        url = simulator.sendgrid_url
        batch_id = httpx.post(f"{url}/v3/mail/batch", headers=headers).json()["batch_id"]
        later = mail(batch_id=batch_id, send_at=int(time.time()) + 900)
        httpx.post(f"{url}/v3/mail/send", json=later, headers=headers)
        cancel = {"batch_id": batch_id, "status": "cancel"}
        httpx.post(f"{url}/v3/user/scheduled_sends", json=cancel, headers=headers)
        before = simulator.mailbox.messages
    assert Mailbox(tmp_path).messages == before
    assert before[0].status == "canceled"


def test_a_mail_opens_in_any_mail_program(simulator, sendgrid, tmp_path):
    sendgrid.post("/v3/mail/send", json=mail(reply_to={"email": "desk@example.com"}, subject="Żółw 🐢"))
    (path,) = simulator.mailbox.export(tmp_path / "mails")
    message = email.message_from_bytes(path.read_bytes(), policy=default)
    assert (message["subject"], message["to"], message["reply-to"]) == (
        "Żółw 🐢",
        "ann@example.com",
        "desk@example.com",
    )
    assert message["from"] == "Flight Reports <reports@example.com>"
    assert message.get_body(("plain",)).get_content().strip() == "Żółw report"
    assert message.get_body(("html",)).get_content().strip() == HTML
    pictures = [part for part in message.walk() if part["content-id"] == "<chart-1>"]
    assert [part.get_content() for part in pictures] == [PNG]
    assert [part.get_filename() for part in message.iter_attachments()] == ["data.csv"]


@pytest.mark.parametrize("kinds", [("text/plain",), ("text/html",)])
def test_a_mail_of_one_part_opens_too(simulator, sendgrid, kinds):
    content = [part for part in mail()["content"] if part["type"] in kinds]
    sendgrid.post("/v3/mail/send", json=mail(content=content))
    message = email.message_from_bytes(simulator.mailbox.messages[0].to_eml(), policy=default)
    assert (
        message.get_body((kinds[0].removeprefix("text/"),)).get_content().strip() == content[0]["value"]
    )
    assert {part.get_filename() for part in message.walk() if part.get_filename()} == {
        "chart.png",
        "data.csv",
    }


def test_a_person_reads_the_mail_in_a_browser(simulator, sendgrid):
    sendgrid.post("/v3/mail/send", json=mail(subject="<script>alert(1)</script>"))
    listing = sendgrid.get("/mailbox")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in listing.text
    assert "<script" not in listing.text
    page = sendgrid.get("/mailbox/1")
    assert re.search(r"<iframe[^>]* sandbox [^>]*src=\"/mailbox/1/html\"", page.text)
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Żółw report" in sendgrid.get("/mailbox/1?view=text").text
    assert "custom_args.message: m-1" in sendgrid.get("/mailbox/1?view=headers").text
    assert sendgrid.get("/mailbox/1/eml").headers["content-type"] == "message/rfc822"
    assert sendgrid.get("/mailbox/2").status_code == sendgrid.get("/mailbox/x/html").status_code == 404


def test_the_mails_own_page_can_load_and_run_nothing(simulator, sendgrid):
    hostile = '<img src="cid:chart-1"><img src="cid:unknown"><script>alert(1)</script>'
    sendgrid.post("/v3/mail/send", json=mail(content=[{"type": "text/html", "value": hostile}]))
    response = sendgrid.get("/mailbox/1/html")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert policy.endswith("sandbox")
    assert f'src="data:image/png;base64,{base64.b64encode(PNG).decode()}"' in response.text
    assert 'src="cid:unknown"' in response.text


def test_the_mailbox_over_http_and_its_reset(simulator, sendgrid):
    sendgrid.post("/v3/mail/send", json=mail())
    (message,) = sendgrid.get("/_simulator/mailbox").json()["messages"]
    assert (message["to"], message["attachments"][0]["content_id"]) == (["ann@example.com"], "chart-1")
    sendgrid.post("/_simulator/reset")
    assert sendgrid.get("/_simulator/mailbox").json() == {"messages": []}
    assert len(simulator.mailbox) == len(simulator.calls) == 0

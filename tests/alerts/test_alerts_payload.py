from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_provider.alerts.addresses import Recipient, everyone, recipients
from kimi_provider.alerts.message import Attachment, InlineFile, Message, Unsubscribe
from kimi_provider.alerts.payload import build_requests
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing.sendgrid_rules import check_mail

Refusals = Callable[[dict[str, object]], list[str]]

PLAIN = Message(subject="S", html="<p>H</p>", text="T", from_email="robot@example.org")
ANN = Recipient("ann@example.org", "Ann Lee")
BOB = Recipient("bob@example.org")


def only(message: Message, *to: Recipient) -> dict[str, object]:
    (request,) = build_requests(message, to or (ANN,), message_id="abc123")
    return request.body


def test_the_json_is_what_the_service_documents() -> None:
    message = dataclasses.replace(
        PLAIN,
        html='<img src="cid:chart-1">',
        from_name="Kimi Reports",
        reply_to="team@example.org",
        images=(InlineFile("chart-1", b"png"),),
        attachments=(Attachment("data.csv", b"a,b", "text/csv"),),
        categories=("daily", "flights", "daily"),
        custom_args={"dag": "d"},
    )
    assert only(message) == {
        "from": {"email": "robot@example.org", "name": "Kimi Reports"},
        "reply_to": {"email": "team@example.org"},
        "subject": "S",
        "personalizations": [{"to": [{"email": "ann@example.org", "name": "Ann Lee"}]}],
        "content": [
            {"type": "text/plain", "value": "T"},
            {"type": "text/html", "value": '<img src="cid:chart-1">'},
        ],
        "attachments": [
            {
                "content": base64.b64encode(b"png").decode(),
                "type": "image/png",
                "filename": "chart-1.png",
                "disposition": "inline",
                "content_id": "chart-1",
            },
            {
                "content": base64.b64encode(b"a,b").decode(),
                "type": "text/csv",
                "filename": "data.csv",
                "disposition": "attachment",
            },
        ],
        "categories": ["daily", "flights"],
        "custom_args": {"dag": "d", "kimi_message_id": "abc123"},
        "tracking_settings": {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
        },
    }


def test_no_recipient_sees_another_and_the_order_stays() -> None:
    people = only(PLAIN, ANN, BOB)["personalizations"]
    assert [[e["email"] for e in p["to"]] for p in people] == [["ann@example.org"], ["bob@example.org"]]


def test_more_than_a_thousand_are_split(refusals: Refusals) -> None:
    people = [Recipient(f"p{number}@example.org") for number in range(2001)]
    requests = build_requests(PLAIN, people, message_id="x")
    assert [len(r.recipients) for r in requests] == [1000, 1000, 1]
    assert [len(r.body["personalizations"]) for r in requests] == [1000, 1000, 1]
    assert [r for request in requests for r in request.recipients] == people
    assert not any(refusals(request.body) for request in requests)
    assert len(build_requests(PLAIN, people[:3], message_id="x", per_request=1)) == 3


@pytest.mark.parametrize("clicks", [True, False])
@pytest.mark.parametrize("opens", [True, False])
def test_tracking_is_on_only_when_told(clicks: bool, opens: bool) -> None:
    message = dataclasses.replace(PLAIN, click_tracking=clicks, open_tracking=opens)
    assert only(message)["tracking_settings"] == {
        "click_tracking": {"enable": clicks, "enable_text": clicks},
        "open_tracking": {"enable": opens},
    }


def test_a_dynamic_template_takes_the_place_of_the_parts(refusals: Refusals) -> None:
    data = {"total": 3, "rows": [{"name": "<b>"}]}
    message = Message(
        subject="",
        html="",
        text="",
        from_email="r@example.org",
        template_id="d-0af1",
        template_data=data,
    )
    body = only(message, ANN, BOB)
    assert body["template_id"] == "d-0af1"
    assert [p["dynamic_template_data"] for p in body["personalizations"]] == [data, data]
    assert {"content", "subject"}.isdisjoint(body)
    assert refusals(body) == check_mail(body, set()) == []
    assert message.sha256 != dataclasses.replace(message, template_data={}).sha256


def test_scheduling_opting_out_and_the_sandbox() -> None:
    at = datetime.now(UTC) + timedelta(hours=2)
    message = dataclasses.replace(
        PLAIN, send_at=at, batch_id="b1", sandbox=True, unsubscribe=Unsubscribe(7, (7, 8))
    )
    body = only(message)
    assert 0 <= body["send_at"] - at.timestamp() < 1
    assert body["batch_id"] == "b1"
    assert body["mail_settings"] == {"sandbox_mode": {"enable": True}}
    assert body["asm"] == {"group_id": 7, "groups_to_display": [7, 8]}
    assert check_mail(body, {"b1"}) == []


COPIES = (ANN, dataclasses.replace(BOB, kind="cc"), Recipient("eve@example.org", kind="bcc"))


def test_copies_are_mails_of_their_own_that_show_nobody_else() -> None:
    assert only(PLAIN, *COPIES)["personalizations"] == [
        {"to": [{"email": "ann@example.org", "name": "Ann Lee"}]},
        {"to": [{"email": "bob@example.org"}]},
        {"to": [{"email": "eve@example.org"}]},
    ]


def test_a_shared_mail_has_the_headers_that_people_know() -> None:
    shared = dataclasses.replace(PLAIN, shared=True)
    (request,) = build_requests(shared, COPIES, message_id="x", per_request=1)
    assert request.recipients == COPIES
    assert request.body["personalizations"] == [
        {
            "to": [{"email": "ann@example.org", "name": "Ann Lee"}],
            "cc": [{"email": "bob@example.org"}],
            "bcc": [{"email": "eve@example.org"}],
        }
    ]
    hidden = [r.body["personalizations"] for r in build_requests(shared, COPIES[1:], message_id="x")]
    assert hidden == [[{"to": [{"email": f"{name}@example.org"}]} for name in ("bob", "eve")]]
    crowd = [Recipient(f"p{number}@example.org") for number in range(1001)]
    with pytest.raises(ConfigurationError, match="takes 1000 recipients of one mail; got 1001"):
        build_requests(shared, crowd, message_id="x")


def test_the_order_of_files_stays() -> None:
    images = tuple(InlineFile(f"c{number}", b"x") for number in range(4))
    names = [
        file["content_id"] for file in only(dataclasses.replace(PLAIN, images=images))["attachments"]
    ]
    assert names == ["c0", "c1", "c2", "c3"]


def test_an_image_with_a_structured_type_has_a_plain_file_name() -> None:
    assert InlineFile("c", b"x", "image/svg+xml").filename == "c.svg"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"attachments": (Attachment("big.bin", b"x" * 23_000_000),)}, "has 30.7 MB"),
        ({"categories": tuple(f"c{n}" for n in range(11))}, "takes 10 categories a mail; got 11"),
        ({"categories": ("c" * 256,)}, "1 to 255 characters; got 256"),
        ({"categories": ("",)}, "1 to 255 characters; got 0"),
        ({"custom_args": {"k": "v" * 9_990}}, "less than 10000 bytes in all; got 10"),
        ({"from_name": "Müller"}, "'Müller' has characters beyond ASCII"),
        ({"text": "SG.abc123.def456"}, "contains a SendGrid API key"),
        ({"send_at": datetime.now(UTC) + timedelta(hours=80)}, "80 hours ahead; SendGrid takes 72"),
    ],
)
def test_a_limit_of_the_service_is_told_before_anything_leaves(change: dict, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        only(dataclasses.replace(PLAIN, **change))
    assert says in str(caught.value)


@pytest.mark.parametrize("number", [0, 1001])
def test_a_request_takes_one_to_a_thousand(number: int) -> None:
    with pytest.raises(ConfigurationError, match=f"got {number}"):
        build_requests(PLAIN, [ANN], message_id="x", per_request=number)


line = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=40
).filter(str.strip)
name = line.filter(lambda text: "," not in text and ";" not in text)
part = st.text(min_size=1, max_size=300).filter(str.strip)
token = st.text("abcXYZ019._-", min_size=1, max_size=20)
media = st.sampled_from(["image/png", "text/csv", "image/svg+xml", "application/vnd.ms-excel"])
address = st.builds(
    "{}@{}.example.org".format,
    st.text("abz09+-", min_size=1, max_size=9),
    token.map(lambda text: "x" + "".join(c for c in text.lower() if c.isalnum())),
)
messages = st.builds(
    Message,
    subject=line,
    html=part,
    text=part,
    from_email=address,
    from_name=st.none() | st.text("abc XYZ'\"<>@", max_size=20),
    reply_to=st.none() | address,
    images=st.lists(
        st.builds(InlineFile, token, st.binary(min_size=1), media),
        max_size=4,
        unique_by=lambda i: i.content_id,
    ).map(tuple),
    attachments=st.lists(
        st.builds(
            Attachment,
            line.filter(lambda text: not set(text) & set("/\\,;")),
            st.binary(min_size=1),
            media,
        ),
        max_size=3,
    ).map(tuple),
    categories=st.lists(line, max_size=10).map(tuple),
    custom_args=st.dictionaries(line, line, max_size=5),
    click_tracking=st.booleans(),
    open_tracking=st.booleans(),
    headers=st.dictionaries(st.from_regex(r"X-Own-[A-Za-z0-9]{1,9}", fullmatch=True), line, max_size=3),
    unsubscribe=st.none()
    | st.builds(
        Unsubscribe, st.integers(1, 10**6), st.lists(st.integers(1, 99), max_size=25).map(tuple)
    ),
    send_at=st.none()
    | st.integers(0, 71 * 3600).map(lambda seconds: datetime.now(UTC) + timedelta(seconds=seconds)),
    batch_id=st.none() | st.just("b1"),
    sandbox=st.booleans(),
    shared=st.booleans(),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | part,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(part, inner, max_size=3),
    max_leaves=8,
)
people = st.lists(
    st.builds(Recipient, address, st.none() | name, st.sampled_from(["to", "cc", "bcc"])),
    min_size=1,
    max_size=8,
    unique_by=lambda r: r.key,
)


@settings(max_examples=200)
@given(message=messages, to=people, per_request=st.integers(1, 8))
def test_whatever_the_message_the_service_takes_it(
    refusals: Refusals, message: Message, to: list[Recipient], per_request: int
) -> None:
    requests = build_requests(message, to, message_id="m1", per_request=per_request)
    assert [r for request in requests for r in request.recipients] == to
    together = message.shared and any(one.kind == "to" for one in to)
    for request in requests:
        body = json.loads(json.dumps(request.body))
        assert refusals(body) == []
        assert check_mail(body, {"b1"}) == []
        assert body["content"][0]["value"] == message.text
        assert body["content"][1]["value"] == message.html
        assert body["subject"] == message.subject
        assert body.get("headers", {}) == message.headers
        assert body["custom_args"] == {**message.custom_args, "kimi_message_id": "m1"}
        people = body["personalizations"]
        assert len(people) == (1 if together else len(request.recipients))
        sent = [
            (entry["email"], entry.get("name"), kind)
            for one in people
            for kind in ("to", "cc", "bcc")
            for entry in one.get(kind, [])
        ]
        meant = [(r.address, r.name, r.kind if together else "to") for r in request.recipients]
        assert sorted(sent, key=str) == sorted(meant, key=str)


@given(data=st.dictionaries(part, json_values, max_size=4), to=people)
def test_whatever_the_values_of_a_template_the_service_takes_them(
    refusals: Refusals, data: dict, to: list[Recipient]
) -> None:
    message = Message("", "", "", "r@example.org", template_id="d-00aa", template_data=data)
    (request,) = build_requests(message, to, message_id="m1")
    body = json.loads(json.dumps(request.body))
    assert refusals(body) == check_mail(body, set()) == []
    assert all(one.get("dynamic_template_data", {}) == data for one in body["personalizations"])


BREAKS = ["\r\n", "\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x00", "\ud800"]
headers = st.sampled_from(
    ["subject", "from_name", "category", "argument", "header", "header name", "file", "name of a reader"]
)


@given(where=headers, before=line, after=line, at_break=st.sampled_from(BREAKS))
def test_nothing_can_be_put_into_a_header(where: str, before: str, after: str, at_break: str) -> None:
    bad = f"{before}{at_break}{after}"
    attempts = {
        "file": lambda: Attachment(bad, b"x"),
        "name of a reader": lambda: recipients([f'"{bad}" <ann@example.org>']),
    }
    changes = {
        "subject": {"subject": bad},
        "from_name": {"from_name": bad},
        "category": {"categories": (bad,)},
        "argument": {"custom_args": {"key": bad}},
        "header": {"headers": {"X-Own": bad}},
        "header name": {"headers": {bad: "value"}},
    }
    attempt = attempts.get(where) or (lambda: dataclasses.replace(PLAIN, **changes[where]))
    with pytest.raises(ConfigurationError):
        attempt()


@pytest.mark.parametrize("name", ["Bcc", "to", "X-SG-EID", "Content-Type", "X Own", "X-Own:", ""])
def test_a_header_of_the_services_own_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        dataclasses.replace(PLAIN, headers={name: "x"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"template_data": {"a": 1}}, "needs a template"),
        ({"template_id": "d-1/../2"}, "look like d-0123456789abcdef"),
        ({"template_id": "d-1", "template_data": {"a": float("nan")}}, "is not JSON"),
        ({"template_id": "d-1", "template_data": {"a": object()}}, "is not JSON"),
        ({"send_at": datetime(2030, 1, 1)}, "no time zone"),  # noqa: DTZ001 — what is refused
        ({"batch_id": "../x"}, "none of SendGrid's"),
    ],
)
def test_what_could_not_work_is_refused_at_once(change: dict, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        dataclasses.replace(PLAIN, **change)


@pytest.mark.parametrize(("group", "shown"), [(True, ()), ("7", ()), (7, tuple(range(26)))])
def test_unsubscribe_groups_are_numbers_and_few(group: object, shown: tuple) -> None:
    with pytest.raises(ConfigurationError, match="unsubscribe group"):
        Unsubscribe(group, shown)


def test_everyone_is_written_to_once_whatever_the_list() -> None:
    found = everyone(
        "Ann <ann@example.org>", ["bob@example.org; ANN@example.org"], "bob@example.org, e@x.org"
    )
    assert [(one.address, one.kind) for one in found] == [
        ("ann@example.org", "to"),
        ("bob@example.org", "cc"),
        ("e@x.org", "bcc"),
    ]
    assert everyone("ann@example.org", "", []) == (Recipient("ann@example.org"),)
    with pytest.raises(ConfigurationError, match="In cc: The domain of recipient number 1"):
        everyone("ann@example.org", "bob@evil.test", allowed_domains=["example.org"])
    with pytest.raises(ConfigurationError, match="There is no recipient"):
        everyone([], "bob@example.org")

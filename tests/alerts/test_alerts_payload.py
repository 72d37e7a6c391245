from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_provider.alerts.addresses import Recipient
from kimi_provider.alerts.message import Attachment, InlineFile, Message
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
        "tracking_settings": {"click_tracking": {"enable": False, "enable_text": False}},
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


def test_click_tracking_is_on_only_when_told() -> None:
    tracking = only(dataclasses.replace(PLAIN, click_tracking=True))["tracking_settings"]
    assert tracking == {"click_tracking": {"enable": True, "enable_text": True}}


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
)
people = st.lists(
    st.builds(Recipient, address, st.none() | name), min_size=1, max_size=8, unique_by=lambda r: r.key
)


@settings(max_examples=200)
@given(message=messages, to=people, per_request=st.integers(1, 8))
def test_whatever_the_message_the_service_takes_it(
    refusals: Refusals, message: Message, to: list[Recipient], per_request: int
) -> None:
    requests = build_requests(message, to, message_id="m1", per_request=per_request)
    assert [r for request in requests for r in request.recipients] == to
    for request in requests:
        body = json.loads(json.dumps(request.body))
        assert refusals(body) == []
        assert check_mail(body, set()) == []
        assert body["content"][0]["value"] == message.text
        assert body["content"][1]["value"] == message.html
        assert body["subject"] == message.subject
        assert body["custom_args"] == {**message.custom_args, "kimi_message_id": "m1"}
        sent = [(p["to"][0]["email"], p["to"][0].get("name")) for p in body["personalizations"]]
        assert sent == [(r.address, r.name) for r in request.recipients]

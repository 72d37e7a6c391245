from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_provider.alerts.addresses import Recipient, check_address, check_line, recipients
from kimi_provider.alerts.message import Attachment, InlineFile, Message
from kimi_provider.exceptions import ConfigurationError

PLAIN = Message(subject="S", html="<p>H</p>", text="T", from_email="robot@example.org")
BREAKING = ["\r", "\n", "\x00", "\x1b", "\x85", "\u2028", "\u2029", "\x7f", "\ud800"]


def addresses(value: object, **more: object) -> list[str]:
    return [r.address for r in recipients(value, **more)]


@pytest.mark.parametrize(
    "value",
    [
        "ann@example.org, bob@example.org",
        "ann@example.org; bob@example.org;",
        ["ann@example.org", "bob@example.org"],
        ["ann@example.org; ANN@Example.ORG", "bob@example.org, ann@EXAMPLE.org"],
        ("ann@example.org,\n    bob@example.org\n",),
        "<ann@example.org>,Bob <bob@example.org>",
    ],
)
def test_recipients_come_in_the_forms_people_write(value: object) -> None:
    assert addresses(value) == ["ann@example.org", "bob@example.org"]


def test_names_may_hold_no_separator_and_come_along() -> None:
    (ann,) = recipients("Ann Lee <ann@example.org>")
    assert ann == Recipient("ann@example.org", "Ann Lee")
    with pytest.raises(ConfigurationError, match="name of recipient number 2 has a comma"):
        recipients('x@example.org, "Lee, Ann" <ann@example.org>')


def test_a_domain_beyond_ascii_is_sent_in_punycode() -> None:
    assert addresses("ann@bücher.example.org") == ["ann@xn--bcher-kva.example.org"]


@pytest.mark.parametrize(
    "bad",
    [
        "zoe",
        "zoe@",
        "@example.org",
        "zoe@localhost",
        "a..b@example.org",
        "zoe@exam_ple.org",
        "zoe lee@example.org",
        "zöe@example.org",
        "zoe@[127.0.0.1]",
        "zoe@example.org bob@example.org",
        "Bcc: bob@example.org",
        "Ann <zoe@example.org> <bob@example.org>",
        "zoe@xn--0.org",
    ],
)
def test_what_is_no_address_is_refused_without_being_shown(bad: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        recipients(["first@example.org", bad])
    assert "recipient number 2" in str(caught.value)
    assert "zoe" not in str(caught.value)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize("character", BREAKING)
def test_a_line_break_cannot_be_smuggled_into_an_address(character: str) -> None:
    for text in (f"ann@example.org{character}bob@example.org", f"A{character}B <ann@example.org>"):
        with pytest.raises(ConfigurationError) as caught:
            recipients(text)
        assert "recipient number 1" in str(caught.value)
        assert "control character" in str(caught.value)


@pytest.mark.parametrize("nobody", ["", " ; ,", [], [" "]])
def test_nobody_is_refused(nobody: object) -> None:
    with pytest.raises(ConfigurationError, match="no recipient"):
        recipients(nobody)


def test_recipients_must_be_text() -> None:
    with pytest.raises(ConfigurationError, match="got NoneType"):
        recipients([None])


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("zoe@Example.org", True),
        ("zoe@mail.corp.com", True),
        ("zoe@corp.com", False),
        ("zoe@example.org.evil.com", False),
        ("zoe@notexample.org", False),
        ("zoe@evilcorp.com", False),
        ("zoe@büro.example", True),
        ("zoe@xn--bro-hoa.example", True),
        ("zoe@mail.büro.example", False),
    ],
)
def test_only_allowed_domains_are_sent_to(address: str, allowed: bool) -> None:
    domains = ["example.org", "*.corp.com", "Büro.example"]
    if allowed:
        assert len(addresses(address, allowed_domains=domains)) == 1
        return
    with pytest.raises(ConfigurationError) as caught:
        recipients(address, allowed_domains=domains)
    assert "domain of recipient number 1 is not among the allowed ones" in str(caught.value)
    assert "zoe" not in str(caught.value)


@given(st.text())
def test_whatever_the_text_no_recipient_can_break_a_header(text: str) -> None:
    try:
        found = recipients(text)
    except ConfigurationError:
        return
    for recipient in found:
        assert recipient.address.isascii()
        assert recipient.address.isprintable()
        assert recipient.address.count("@") == 1
        check_line("name", recipient.name or "")


@given(st.emails())
def test_an_ordinary_address_is_taken(address: str) -> None:
    try:
        expected = check_address("address", address)
    except ConfigurationError:
        return  # hypothesis also makes reserved domains and single labels
    assert addresses([address.upper() if address.isascii() else address, address]) in (
        [expected],
        [check_address("address", address.upper())],
    )


def test_a_recipient_is_not_shown_by_its_representation() -> None:
    assert "ann" not in repr(Recipient("ann@example.org", "Ann"))
    assert "robot" not in repr(PLAIN)


@pytest.mark.parametrize("character", BREAKING)
@pytest.mark.parametrize("field", ["subject", "from_name", "from_email", "reply_to"])
def test_no_header_can_be_broken(field: str, character: str) -> None:
    value = f"x{character}Bcc: eve@example.org"
    with pytest.raises(ConfigurationError, match="control character") as caught:
        dataclasses.replace(PLAIN, **{field: value})
    assert "eve" not in str(caught.value)


@pytest.mark.parametrize("character", BREAKING)
def test_no_tag_or_file_name_can_break_a_header(character: str) -> None:
    with pytest.raises(ConfigurationError):
        dataclasses.replace(PLAIN, categories=(f"a{character}b",))
    with pytest.raises(ConfigurationError):
        dataclasses.replace(PLAIN, custom_args={f"a{character}b": "x"})
    with pytest.raises(ConfigurationError):
        dataclasses.replace(PLAIN, custom_args={"x": f"a{character}b"})
    with pytest.raises(ConfigurationError):
        Attachment(f"a{character}b.csv", b"x", "text/csv")
    with pytest.raises(ConfigurationError):
        Attachment("a.csv", b"x", f"text/csv{character}")
    with pytest.raises(ConfigurationError):
        InlineFile(f"a{character}b", b"x")


@pytest.mark.parametrize("field", ["subject", "html", "text"])
def test_an_empty_part_is_refused(field: str) -> None:
    with pytest.raises(ConfigurationError, match="is empty"):
        dataclasses.replace(PLAIN, **{field: "  "})


def test_a_picture_that_is_not_there_is_refused() -> None:
    html = "<img src=\"cid:chart-1\"><IMG SRC='cid:chart-2'> and the words cid:other"
    images = (InlineFile("chart-1", b"png"),)
    with pytest.raises(ConfigurationError, match="'cid:chart-2', which the message does not have"):
        dataclasses.replace(PLAIN, html=html, images=images)
    dataclasses.replace(PLAIN, html=html, images=(*images, InlineFile("chart-2", b"png")))


def test_two_pictures_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Two pictures"):
        dataclasses.replace(PLAIN, images=(InlineFile("a", b"1"), InlineFile("a", b"2")))


@pytest.mark.parametrize("name", ["", " ", "../x.csv", "a\\b.csv", "a;b.csv", "a,b.csv"])
def test_an_attachment_has_a_plain_file_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="file name without folders"):
        Attachment(name, b"x")


def test_files_need_a_full_type_and_content() -> None:
    with pytest.raises(ConfigurationError, match="full MIME type such as image/png; got 'png'"):
        InlineFile("a", b"x", "png")
    with pytest.raises(ConfigurationError, match="is an empty file"):
        Attachment("a.csv", b"")


def test_the_hash_covers_what_the_reader_gets() -> None:
    changed = [
        dataclasses.replace(PLAIN, subject="S2"),
        dataclasses.replace(PLAIN, html="<p>H2</p>"),
        dataclasses.replace(PLAIN, text="T2"),
        dataclasses.replace(PLAIN, from_name="N"),
        dataclasses.replace(PLAIN, reply_to="r@example.org"),
        dataclasses.replace(PLAIN, images=(InlineFile("a", b"1"),)),
        dataclasses.replace(PLAIN, images=(InlineFile("a", b"2"),)),
        dataclasses.replace(PLAIN, attachments=(Attachment("a", b"1", "image/png"),)),
    ]
    hashes = {PLAIN.sha256, *(m.sha256 for m in changed)}
    assert len(hashes) == len(changed) + 1
    assert dataclasses.replace(PLAIN, categories=("daily",)).sha256 == PLAIN.sha256

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from kimi_provider.alerts.account import SendGridConfig
from kimi_provider.alerts.addresses import Recipient
from kimi_provider.alerts.events import SignatureCheck, parse_events, record
from kimi_provider.alerts.ledger import Ledger
from kimi_provider.alerts.message import Message
from kimi_provider.alerts.sendgrid import SendGridClient
from kimi_provider.exceptions import ConfigurationError, DeliveryError
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
PRIVATE = ec.generate_private_key(ec.SECP256R1())
MESSAGE = Message(subject="S", html="<p>H</p>", text="T", from_email="robot@example.org")
ANN = Recipient("ann@example.org")


def public(key: ec.EllipticCurvePrivateKey = PRIVATE) -> str:
    der = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_key().public_bytes(*der)).decode()


def sign(body: bytes, stamp: str = STAMP, key: ec.EllipticCurvePrivateKey = PRIVATE) -> str:
    return base64.b64encode(key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()


def event(kind: str, at: int = 0, email: str = "ann@example.org", **more: object) -> dict[str, object]:
    return {
        "event": kind,
        "email": email,
        "timestamp": int(NOW.timestamp()) + at,
        "sg_event_id": f"{kind}-{at}",
        "sg_message_id": "abc.filter1",
        "kimi_message_id": "m1",
        **more,
    }


# --- the signature --------------------------------------------------------------------------------


def test_a_signed_post_is_taken_and_each_change_to_it_is_not() -> None:
    check = SignatureCheck([public()])
    body = json.dumps([event("delivered", reason="Grüße")], ensure_ascii=False).encode()
    assert check.accepts(body, sign(body), STAMP, now=NOW)
    assert not check.accepts(body + b" ", sign(body), STAMP, now=NOW)
    assert not check.accepts(body, sign(body), str(int(STAMP) + 1), now=NOW)
    assert not check.accepts(
        body, sign(body, key=ec.generate_private_key(ec.SECP256R1())), STAMP, now=NOW
    )


@pytest.mark.parametrize(
    "signature", ["", "x", "!!!", "AAAA", base64.b64encode(b"0" * 70).decode(), "ä"]
)
def test_what_is_no_signature_is_refused(signature: str) -> None:
    assert not SignatureCheck([public()]).accepts(b"[]", signature, STAMP, now=NOW)


@given(body=st.binary(max_size=50), signature=st.text(max_size=90), stamp=st.text(max_size=15))
def test_no_post_of_a_stranger_breaks_the_check(body: bytes, signature: str, stamp: str) -> None:
    assert not SignatureCheck([public()]).accepts(body, signature, stamp, now=NOW)


@pytest.mark.parametrize(
    ("age", "taken"),
    [
        (timedelta(0), True),
        (timedelta(hours=23), True),
        (timedelta(hours=25), False),
        (timedelta(minutes=-4), True),
        (timedelta(minutes=-6), False),
    ],
)
def test_an_old_post_and_one_of_the_future_are_refused(age: timedelta, taken: bool) -> None:
    assert SignatureCheck([public()]).accepts(b"[]", sign(b"[]"), STAMP, now=NOW + age) is taken


def test_while_keys_change_both_count_in_either_form() -> None:
    new = ec.generate_private_key(ec.SECP256R1())
    pem = f"-----BEGIN PUBLIC KEY-----\n{public(new)}\n-----END PUBLIC KEY-----\n"
    check = SignatureCheck([public(), pem])
    for key in (PRIVATE, new):
        assert check.accepts(b"[]", sign(b"[]", key=key), STAMP, now=NOW)


@pytest.mark.parametrize("keys", [[], ["no key"], [""]])
def test_a_key_that_is_none_is_told(keys: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="public key"):
        SignatureCheck(keys)


# --- the events -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def client(running: Simulator) -> SendGridClient:
    running.reset()
    return SendGridClient(SendGridConfig("SG.key", host=running.sendgrid_url))


def deliver(client: SendGridClient, folder: Path, message: Message = MESSAGE, **more: object):
    return asyncio.run(
        client.deliver(message, "ann@example.org", message_id="m1", ledger=folder, **more)
    )


def tell(folder: Path, *events: dict[str, object]) -> dict[str, int]:
    found = record(parse_events(json.dumps(events).encode()), lambda _: folder)
    return {status.value: count for status, count in found.items()}


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([event("processed")], "queued"),
        ([event("processed"), event("deferred", 5)], "deferred"),
        ([event("deferred", 5), event("delivered", 9)], "delivered"),
        ([event("delivered", 9), event("deferred", 12)], "delivered"),
        ([event("delivered", 9), event("bounce", 30)], "bounced"),
        ([event("bounce", 3)], "bounced"),
        ([event("dropped", 3)], "dropped"),
        ([event("delivered", 9), event("spamreport", 3)], "spam"),
        ([event("delivered", 9), event("open", 20), event("click", 21)], "delivered"),
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_the_ledger_learns_what_became_of_a_mail(
    client: SendGridClient, tmp_path: Path, events: list[dict], status: str, turn: int
) -> None:
    deliver(client, tmp_path)
    tell(tmp_path, *events[::turn])
    (receipt,) = deliver(client, tmp_path)
    assert receipt.status.value == status


def test_an_event_counts_once_however_often_it_comes(client: SendGridClient, tmp_path: Path) -> None:
    deliver(client, tmp_path)
    assert tell(tmp_path, event("delivered"), event("delivered")) == {"delivered": 1}
    files = sorted(tmp_path.rglob("*"))
    assert tell(tmp_path, event("delivered")) == {}
    assert sorted(tmp_path.rglob("*")) == files


def test_an_ambiguous_mail_is_settled_by_the_service(
    client: SendGridClient, tmp_path: Path, running: Simulator
) -> None:
    running.faults.add("/v3/mail/send", "html_504")
    with pytest.raises(DeliveryError, match="ambiguous"):
        deliver(client, tmp_path)
    tell(tmp_path, event("processed"))
    (receipt,) = deliver(client, tmp_path)
    assert (receipt.status.value, receipt.message_id) == ("queued", "abc")


def test_a_bounce_says_why_and_names_nobody(client: SendGridClient, tmp_path: Path, caplog) -> None:
    deliver(client, tmp_path)
    tell(tmp_path, event("bounce", 1, reason="550 <ann@example.org>\r\nno such user"))
    (receipt,) = deliver(client, tmp_path)
    assert receipt.detail == "550 <(address)> no such user"
    assert "1 mails of message m1 did not reach" in caplog.text


@pytest.mark.parametrize(
    "stranger",
    [
        event("delivered", email="eve@example.org"),
        event("delivered", kimi_message_id="m2"),
        event("delivered", kimi_message_id="../../x"),
        event("delivered", kimi_message_id=None),
        event("delivered", timestamp="soon"),
        event("delivered", timestamp=1e300),
        event("unheard"),
        {"event": "delivered"},
    ],
)
def test_events_of_other_mails_leave_no_trace(
    client: SendGridClient, tmp_path: Path, stranger: dict
) -> None:
    deliver(client, tmp_path)
    files = sorted(tmp_path.rglob("*"))
    assert tell(tmp_path, stranger) == {}
    assert sorted(tmp_path.rglob("*")) == files


def test_events_of_messages_that_nobody_knows_are_passed_by() -> None:
    assert not record(parse_events(json.dumps([event("delivered")]).encode()), lambda _: None)


@pytest.mark.parametrize("body", [b"", b"{}", b"no json", b'"text"'])
def test_what_is_no_list_of_events_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"array|Expecting"):
        parse_events(body)


# --- taking back ----------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


def test_mails_wait_for_the_window_and_can_be_taken_back(
    client: SendGridClient, tmp_path: Path, running: Simulator
) -> None:
    before = datetime.now(UTC)
    (receipt,) = deliver(client, tmp_path, undo_window=HOUR)
    assert receipt.status.value == "queued"
    assert receipt.send_at is not None
    assert receipt.send_at - before >= HOUR + timedelta(minutes=10)
    (mail,) = running.mailbox.messages
    assert (mail.status, mail.batch_id) == ("scheduled", receipt.batch_id)
    client.cancel(receipt.batch_id)
    client.cancel(receipt.batch_id)
    assert running.mailbox.messages[0].status == "canceled"
    Ledger(tmp_path, "m1").cancel()
    (after,) = deliver(client, tmp_path, undo_window=HOUR)
    assert after.status.value == "canceled"
    assert len(running.mailbox) == 1


def test_each_try_keeps_to_the_first_ones_schedule(
    client: SendGridClient, tmp_path: Path, running: Simulator
) -> None:
    running.faults.add("/v3/mail/send", "too_large")
    with pytest.raises(DeliveryError) as caught:
        deliver(client, tmp_path, undo_window=HOUR)
    (first,) = caught.value.receipts
    (second,) = deliver(client, tmp_path, undo_window=2 * HOUR)
    assert (second.batch_id, second.send_at) == (first.batch_id, first.send_at)


def test_what_was_not_sent_before_it_was_taken_back_is_not_sent(
    client: SendGridClient, tmp_path: Path, running: Simulator
) -> None:
    running.faults.add("/v3/mail/send", "too_large")
    with pytest.raises(DeliveryError):
        deliver(client, tmp_path, undo_window=HOUR)
    Ledger(tmp_path, "m1").cancel()
    (receipt,) = deliver(client, tmp_path, undo_window=HOUR)
    assert receipt.status.value == "canceled"
    assert len(running.mailbox) == 0


def test_a_batch_that_is_none_cannot_be_taken_back(client: SendGridClient) -> None:
    with pytest.raises(DeliveryError, match="did not agree"):
        client.cancel("0123456789abcdef")


@pytest.mark.parametrize("window", [timedelta(0), timedelta(hours=-1), timedelta(hours=80)])
def test_a_window_that_cannot_be_is_refused_before_anything_leaves(
    client: SendGridClient, tmp_path: Path, running: Simulator, window: timedelta
) -> None:
    with pytest.raises(ConfigurationError, match=r"undo_window|hours ahead"):
        deliver(client, tmp_path, undo_window=window)
    assert not [call for call in running.calls if call.path.startswith("/v3")]


def test_without_a_batch_id_nothing_is_sent(
    client: SendGridClient, tmp_path: Path, running: Simulator
) -> None:
    running.faults.add("/v3/mail/batch", "forbidden")
    with pytest.raises(DeliveryError, match="no batch id, so nothing was sent"):
        deliver(client, tmp_path, undo_window=HOUR)
    assert len(running.mailbox) == 0


# --- the sandbox ----------------------------------------------------------------------------------


def test_the_sandbox_checks_and_sends_nothing_each_time(tmp_path: Path, running: Simulator) -> None:
    running.reset()
    config = SendGridConfig.from_connection(
        password="k",
        host=running.sendgrid_url,
        extra={"sandbox_mode": True, "from_email": "r@example.org"},
    )
    message = config.message(subject="S", html="H", text="T")
    for _ in range(2):
        (receipt,) = deliver(SendGridClient(config), tmp_path, message)
        assert receipt.status.value == "checked"
        assert not receipt.status.may_have_left
    assert len(running.mailbox) == 0
    assert deliver(SendGridClient(config), tmp_path)[0].status.value == "queued"
    assert len(running.mailbox) == 1

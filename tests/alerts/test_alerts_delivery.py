from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_provider.alerts.account import SendGridConfig
from kimi_provider.alerts.addresses import Recipient
from kimi_provider.alerts.delivery import DeliveryPolicy, deliver
from kimi_provider.alerts.ledger import Ledger, message_id
from kimi_provider.alerts.message import Message
from kimi_provider.alerts.sendgrid import SendGridClient
from kimi_provider.alerts.verdict import Answer, judge
from kimi_provider.exceptions import ConfigurationError, DeliveryError
from kimi_provider.schemas import DeliveryStatus

if TYPE_CHECKING:
    from kimi_provider.schemas import DeliveryReceipt

ANN, BOB, EVE = (Recipient(f"{name}@example.org") for name in ("ann", "bob", "eve"))
MESSAGE = Message(subject="S", html="<p>H</p>", text="T", from_email="robot@example.org")
ID = message_id("dag", "run", "task", -1, content=MESSAGE.sha256)
FAST = DeliveryPolicy(first_wait=0.01, longest_wait=5.0, tries=3)


def run(service, folder: Path, *to: Recipient, policy: DeliveryPolicy = FAST, timeout: float = 5.0):
    client = SendGridClient(SendGridConfig("SG.key", host=service.url, timeout=timeout))
    return asyncio.run(
        deliver(MESSAGE, to, message_id=ID, send=client.send, ledger=folder, policy=policy)
    )


def fails(service, folder: Path, *to: Recipient, **more: object) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        run(service, folder, *to, **more)
    assert "@" not in str(caught.value)
    return caught.value


def statuses(receipts: tuple[DeliveryReceipt, ...]) -> list[str]:
    return [receipt.status.value for receipt in receipts]


def entries(folder: Path) -> dict[str, dict[str, object]]:
    # What was claimed, then what came of it.
    files = [*(folder / ID).glob("*.claim"), *(folder / ID).glob("*.json")]
    found = [json.loads(file.read_text()) for file in files]
    return {entry["recipient"].partition("@")[0]: entry for entry in found}


def test_each_recipient_gets_one_mail_and_a_receipt(service, tmp_path: Path) -> None:
    receipts = run(service, tmp_path, ANN, BOB)
    assert statuses(receipts) == ["queued", "queued"]
    assert [r.recipient for r in receipts] == ["ann@example.org", "bob@example.org"]
    assert {r.message_id for r in receipts} == {"sg-1", "sg-2"}
    assert all(r.sent_at is not None for r in receipts)
    assert service.received == {"ann@example.org": 1, "bob@example.org": 1}
    assert all(mail["custom_args"]["kimi_message_id"] == ID for mail in service.mailbox)
    for receipt in receipts:
        entry = json.loads(Path(receipt.ledger_uri.removeprefix("file://")).read_text())
        assert (entry["status"], entry["service_id"]) == ("queued", receipt.message_id)


def test_names_in_the_ledger_tell_no_address(service, tmp_path: Path) -> None:
    run(service, tmp_path, ANN)
    names = " ".join(str(path) for path in tmp_path.rglob("*"))
    assert "ann" not in names
    assert "example" not in names


def test_a_second_run_sends_nothing_again(service, tmp_path: Path) -> None:
    first = run(service, tmp_path, ANN)
    upper = Recipient("ANN@example.org")
    second = run(service, tmp_path, upper, BOB)
    assert second[0].message_id == first[0].message_id
    assert service.received == {"ann@example.org": 1, "bob@example.org": 1}


def test_one_recipient_given_twice_gets_one_mail(service, tmp_path: Path) -> None:
    run(service, tmp_path, ANN, ANN)
    assert service.received == {"ann@example.org": 1}


def test_another_message_is_sent(service, tmp_path: Path) -> None:
    ids = {
        message_id("dag", "run", "task", -1, content="a"),
        message_id("dag", "run", "task", -1, content="b"),
        message_id("dag", "run", "task", 0, content="a"),
        message_id("dag", "run2", "task", -1, content="a"),
        message_id("da", "grun", "task", -1, content="a"),
    }
    assert len(ids) == 5


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_refusal_is_tried_again(service, tmp_path: Path, status: int) -> None:
    service.will(status=status)
    service.will(status=status, body=b"<html>busy</html>")
    (receipt,) = run(service, tmp_path, ANN)
    assert receipt.status is DeliveryStatus.QUEUED
    assert service.received == {"ann@example.org": 1}
    assert entries(tmp_path)["ann"]["tries"] == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "7", "X-RateLimit-Reset": "1"}, 7),
        ({"Retry-After": formatdate(time.time() + 3600, usegmt=True)}, 3600),
        ({"Retry-After": formatdate(0, usegmt=True)}, 0),
        ({"X-RateLimit-Reset": str(int(time.time()) + 3600)}, 3600),
        ({"X-RateLimit-Reset": "1"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"X-RateLimit-Reset": "later"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_read_from_either_header(service, headers: dict, seconds: float | None) -> None:
    service.will(status=429, headers=headers)
    client = SendGridClient(SendGridConfig("k", host=service.url))
    asked = client.send_blocking({"personalizations": []}).retry_after
    assert asked == (None if seconds is None else pytest.approx(seconds, abs=300))


def test_a_wait_that_is_asked_for_comes_before_our_own(service, tmp_path: Path) -> None:
    service.will(status=429, headers={"Retry-After": "0"})
    client = SendGridClient(SendGridConfig("k", host=service.url))
    patient = DeliveryPolicy(first_wait=600, longest_wait=600)

    async def soon() -> None:
        async with asyncio.timeout(30):
            await deliver(
                MESSAGE, [ANN], message_id=ID, send=client.send, ledger=tmp_path, policy=patient
            )

    asyncio.run(soon())
    assert service.received == {"ann@example.org": 1}


def test_a_long_wait_is_left_to_a_later_run_of_the_task(service, tmp_path: Path) -> None:
    service.will(status=429, headers={"Retry-After": "3600"})
    error = fails(service, tmp_path, ANN)
    assert error.retryable
    assert len(service.requests) == 1
    assert statuses(error.receipts) == ["failed"]


def test_a_malformed_wait_is_ignored(service, tmp_path: Path) -> None:
    service.will(status=429, headers={"Retry-After": "soon", "X-RateLimit-Reset": "later"})
    assert statuses(run(service, tmp_path, ANN)) == ["queued"]


def test_tries_are_bounded_and_a_later_run_sends(service, tmp_path: Path) -> None:
    for _ in range(3):
        service.will(status=503)
    error = fails(service, tmp_path, ANN)
    assert error.retryable
    assert statuses(error.receipts) == ["failed"]
    assert "SendGrid answered 503" in str(error)
    assert entries(tmp_path)["ann"]["status"] == "failed"
    assert statuses(run(service, tmp_path, ANN)) == ["queued"]
    assert service.received == {"ann@example.org": 1}


@pytest.mark.parametrize("act", [{"cut": True}, {"stall": True}, {"status": 504, "take": True}])
@pytest.mark.parametrize("take", [True, False])
def test_no_answer_after_sending_is_ambiguous_and_stays_so(
    service, tmp_path: Path, act: dict, take: bool
) -> None:
    service.will(**{**act, "take": take})
    error = fails(service, tmp_path, ANN, timeout=0.3)
    assert not error.retryable
    assert statuses(error.receipts) == ["ambiguous"]
    assert f"kimi_message_id={ID}" in str(error)
    again = fails(service, tmp_path, ANN)
    assert statuses(again.receipts) == ["ambiguous"]
    assert len(service.requests) == 1


def test_an_ambiguous_mail_is_sent_again_when_told(service, tmp_path: Path) -> None:
    service.will(cut=True)
    fails(service, tmp_path, ANN)
    policy = DeliveryPolicy(resend_ambiguous=True)
    assert statuses(run(service, tmp_path, ANN, policy=policy)) == ["queued"]
    assert service.received == {"ann@example.org": 2}


def test_what_answers_without_taking_the_mail_is_not_believed(service, tmp_path: Path) -> None:
    service.will(status=200, body=b"<html>Please log in</html>")
    error = fails(service, tmp_path, ANN)
    assert statuses(error.receipts) == ["ambiguous"]
    assert "Only 202 means queued" in str(error)


def test_a_redirect_is_not_followed_with_the_key(service, tmp_path: Path) -> None:
    for status in (301, 302, 303, 307, 308):
        service.will(status=status, headers={"Location": f"{service.url}/v3/scopes"})
        error = fails(service, tmp_path, ANN)
        assert statuses(error.receipts) == ["rejected"]
        assert "put the right host into the connection" in str(error)
    assert len(service.seen_headers) == 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_refused_connection_sent_nothing(service, tmp_path: Path) -> None:
    client = SendGridClient(SendGridConfig("k", host=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(DeliveryError) as caught:
        asyncio.run(
            deliver(MESSAGE, [ANN, BOB], message_id=ID, send=client.send, ledger=tmp_path, policy=FAST)
        )
    assert caught.value.retryable
    assert statuses(caught.value.receipts) == ["failed", "failed"]
    assert "nothing was sent" in str(caught.value)
    assert statuses(run(service, tmp_path, ANN, BOB)) == ["queued", "queued"]


def test_an_unknown_host_sent_nothing(tmp_path: Path) -> None:
    client = SendGridClient(SendGridConfig("k", host="https://no-such-host.invalid"))
    answer = client.send_blocking({})
    assert (answer.status, answer.sent) == (None, False)


def test_a_refusal_of_one_address_concerns_that_one_alone(service, tmp_path: Path) -> None:
    body = json.dumps(
        {"errors": [{"message": "The address eve@example.org is bad.", "field": "to"}]}
    ).encode()
    service.will(recipient="eve@example.org", status=400, body=body)
    error = fails(service, tmp_path, ANN, EVE, BOB)
    assert statuses(error.receipts) == ["queued", "rejected", "queued"]
    assert not error.retryable
    assert error.receipts[1].detail == "SendGrid answered 400: The address (address) is bad."
    assert "1 of 3 mails are not known to be queued (2 queued, 1 rejected)" in str(error)


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        (401, "the password of the connection"),
        (403, "Sender Authentication"),
        (413, "attach fewer or smaller files"),
        (404, "the host of the connection"),
    ],
)
def test_a_refusal_of_all_stops_the_rest_and_says_what_to_do(
    service, tmp_path: Path, status: int, way_out: str
) -> None:
    people = [Recipient(f"p{number}@example.org") for number in range(12)]
    for _ in people:
        service.will(status=status)
    error = fails(service, tmp_path, *people)
    assert way_out in str(error)
    assert not error.retryable
    assert set(statuses(error.receipts)) == {"rejected"}
    assert len(service.requests) <= FAST.concurrency
    service.script.clear()
    assert set(statuses(run(service, tmp_path, *people))) == {"queued"}  # the key was put right


def test_recipients_of_one_request_share_its_fate(service, tmp_path: Path) -> None:
    policy = DeliveryPolicy(per_request=2, concurrency=1, first_wait=0.01)
    service.will()
    service.will(cut=True)
    error = fails(service, tmp_path, ANN, BOB, EVE, policy=policy)
    assert statuses(error.receipts) == ["queued", "queued", "ambiguous"]
    assert [len(mail["personalizations"]) for mail in service.requests] == [2, 1]
    assert error.receipts[0].message_id == error.receipts[1].message_id == "sg-1"


def test_a_truncated_entry_is_not_taken_for_unsent(service, tmp_path: Path) -> None:
    run(service, tmp_path, ANN)
    (file,) = (tmp_path / ID).glob("*.json")
    file.write_text(file.read_text()[:20])
    error = fails(service, tmp_path, ANN)
    assert statuses(error.receipts) == ["ambiguous"]
    assert "cannot be read" in str(error)
    assert service.received == {"ann@example.org": 1}


def test_nothing_is_sent_without_a_ledger(service, tmp_path: Path) -> None:
    (tmp_path / ID).write_text("a file where the folder should be")
    ledger = tmp_path
    client = SendGridClient(SendGridConfig("k", host=service.url))
    with pytest.raises((DeliveryError, OSError)):
        asyncio.run(deliver(MESSAGE, [ANN], message_id=ID, send=client.send, ledger=ledger, policy=FAST))
    assert service.requests == []


def test_a_ledger_that_cannot_be_written_sends_nothing(service, tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "ann@example.org may not be written")

    monkeypatch.setattr("kimi_provider.alerts.ledger.create_bytes", refuse)
    error = fails(service, tmp_path, ANN, BOB)
    assert service.requests == []
    assert statuses(error.receipts) == ["failed", "failed"]
    assert "nothing was sent" in str(error)
    assert error.retryable


def test_a_ledger_that_fails_after_sending_tells_the_truth(
    service, tmp_path: Path, monkeypatch, caplog
) -> None:
    write = Ledger.write

    def fail_at_the_end(*_: object) -> None:
        raise TimeoutError("ann@example.org")

    monkeypatch.setattr(Ledger, "write", fail_at_the_end)
    assert statuses(run(service, tmp_path, ANN)) == ["queued"]
    assert "still says sending" in caplog.text
    assert "ann" not in caplog.text
    monkeypatch.setattr(Ledger, "write", write)
    assert statuses(fails(service, tmp_path, ANN).receipts) == ["ambiguous"]
    assert service.received == {"ann@example.org": 1}


def test_of_two_runs_at_once_one_sends(service, tmp_path: Path) -> None:
    both = [Ledger(tmp_path, ID), Ledger(tmp_path, ID)]
    known = [ledger.read(ANN) for ledger in both]
    both[0].begin(ANN, known[0])
    with pytest.raises(FileExistsError):
        both[1].begin(ANN, known[1])


def test_runs_at_once_send_one_mail_a_recipient(service, tmp_path: Path) -> None:
    client = SendGridClient(SendGridConfig("k", host=service.url))

    async def one():
        return await deliver(
            MESSAGE, [ANN, BOB], message_id=ID, send=client.send, ledger=tmp_path, policy=FAST
        )

    async def all_at_once():
        return await asyncio.gather(*(one() for _ in range(8)), return_exceptions=True)

    ends = asyncio.run(all_at_once())
    assert service.received == {"ann@example.org": 1, "bob@example.org": 1}
    for end in ends:
        receipts = end.receipts if isinstance(end, DeliveryError) else end
        assert set(statuses(receipts)) <= {"queued", "ambiguous", "failed"}
    assert {entry["status"] for entry in entries(tmp_path).values()} == {"queued"}


def test_a_bug_in_one_send_does_not_cut_off_the_others(service, tmp_path: Path) -> None:
    client = SendGridClient(SendGridConfig("k", host=service.url))

    async def send(body):
        if body["personalizations"][0]["to"][0]["email"] == "ann@example.org":
            raise KeyError("bug")
        await asyncio.sleep(0.05)
        return await client.send(body)

    with pytest.raises(KeyError):
        asyncio.run(deliver(MESSAGE, [ANN, BOB], message_id=ID, send=send, ledger=tmp_path))
    assert entries(tmp_path)["bob"]["status"] == "queued"
    assert entries(tmp_path)["ann"]["status"] == "sending"


def test_a_message_beyond_a_limit_leaves_no_trace(service, tmp_path: Path) -> None:
    client = SendGridClient(SendGridConfig("k", host=service.url))
    message = Message(subject="S", html="H", text="T", from_email="r@example.org", from_name="Ü")
    with pytest.raises(ConfigurationError, match="beyond ASCII"):
        asyncio.run(deliver(message, [ANN], message_id=ID, send=client.send, ledger=tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert service.requests == []


KILLED = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from kimi_provider.alerts.account import SendGridConfig
    from kimi_provider.alerts.addresses import Recipient
    from kimi_provider.alerts.delivery import deliver
    from kimi_provider.alerts.ledger import Ledger
    from kimi_provider.alerts.message import Message
    from kimi_provider.alerts.sendgrid import SendGridClient

    url, folder, message_id, moment = sys.argv[1:]
    client = SendGridClient(SendGridConfig("k", host=url))
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)

    async def send(body):
        if moment == "before sending":
            die()
        answer = await client.send(body)
        if moment == "after sending":
            die()
        return answer

    begin = Ledger.begin
    if moment == "before the ledger":
        Ledger.begin = lambda *a, **k: die()
    message = Message(subject="S", html="<p>H</p>", text="T", from_email="robot@example.org")
    to = [Recipient("ann@example.org")]
    asyncio.run(deliver(message, to, message_id=message_id, send=send, ledger=Path(folder)))
"""


@pytest.mark.parametrize(
    ("moment", "then", "mails"),
    [
        ("before the ledger", "queued", 1),
        ("before sending", "ambiguous", 0),
        ("after sending", "ambiguous", 1),
        ("never", "queued", 1),
    ],
)
def test_a_killed_task_never_sends_twice(
    service, tmp_path: Path, moment: str, then: str, mails: int
) -> None:
    code = textwrap.dedent(KILLED)
    argv = [sys.executable, "-c", code, service.url, str(tmp_path), ID, moment]
    done = subprocess.run(argv, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert done.returncode == (0 if moment == "never" else -signal.SIGKILL)
    if then == "queued":
        assert statuses(run(service, tmp_path, ANN)) == ["queued"]
    else:
        error = fails(service, tmp_path, ANN)
        assert statuses(error.receipts) == ["ambiguous"]
        assert "cut off while it was sending" in str(error)
    assert service.received["ann@example.org"] == mails


FAULTS = st.sampled_from(
    [
        {},
        {"status": 429},
        {"status": 500},
        {"status": 503, "headers": {"Retry-After": "0"}},
        {"status": 504},
        {"status": 400},
        {"cut": True, "take": True},
        {"cut": True, "take": False},
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(FAULTS, max_size=12), runs=st.integers(1, 3))
def test_whatever_fails_nobody_gets_two_mails_and_the_ledger_is_true(
    service, tmp_path_factory, script: list[dict], runs: int
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    service.mailbox.clear()
    service.script.clear()
    for act in script:
        service.will(**act)
    policy = DeliveryPolicy(first_wait=0.0, tries=2, concurrency=2)
    for _ in range(runs):
        try:
            receipts = run(service, folder, ANN, BOB, policy=policy)
        except DeliveryError as error:
            receipts = error.receipts
    for recipient, receipt in zip((ANN, BOB), receipts, strict=True):
        got = service.received[recipient.address]
        allowed = {"queued": {1}, "rejected": {0}, "failed": {0}, "ambiguous": {0, 1}}
        assert got in allowed[receipt.status.value]


def test_logs_tell_neither_people_nor_key(service, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    service.will(status=429)
    service.will(status=400, body=b'{"errors": [{"message": "bad: ann@example.org"}]}')
    fails(service, tmp_path, ANN)
    run(service, tmp_path, BOB)
    assert "SG.key" not in caplog.text
    assert "@example.org" not in caplog.text
    assert "1 queued" in caplog.text


@pytest.mark.parametrize("status", range(200, 600))
def test_only_202_is_queued_and_no_refusal_is_ambiguous(status: int) -> None:
    verdict = judge(Answer(status=status, sent=True))
    assert (verdict.status is DeliveryStatus.QUEUED) == (status == 202)
    if 400 <= status < 500:
        assert verdict.status in {DeliveryStatus.REJECTED, DeliveryStatus.FAILED}
    assert verdict.retry == (verdict.status is DeliveryStatus.FAILED)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"tries": 0}, "tries must be 1 or more; got 0"),
        ({"concurrency": 0}, "concurrency must be 1 or more; got 0"),
        ({"longest_wait": -1}, "longest_wait must be 0 or more seconds; got -1"),
    ],
)
def test_a_policy_that_sends_nothing_is_refused(values: dict, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        DeliveryPolicy(**values)


def test_a_message_id_is_a_safe_file_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="letters and digits"):
        Ledger(tmp_path, "../x")

"""What SendGrid says when it is asked, from the connection to the ledger."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from kimi_provider.alerts.delivery import DeliveryPolicy
from kimi_provider.exceptions import ConfigurationError, DeliveryError
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.hooks.storage import storage_root
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = "ann@example.org; bounced@example.org; dropped@example.org; deferred@example.org; spam@example.org"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Simulator:
    running.reset()
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", (tmp_path / "storage").as_uri())
    connect(monkeypatch, running.sendgrid_url)
    return running


def connect(monkeypatch: pytest.MonkeyPatch, host: str | None, **extra: object) -> None:
    values = {"conn_type": "sendgrid", "password": "SG.key", "host": host}
    extra = {"from_email": "robot@example.org", **extra}
    monkeypatch.setenv("AIRFLOW_CONN_SENDGRID_DEFAULT", json.dumps({**values, "extra": extra}))


def send(to: str | list[str], message_id: str = "m1", **options: object) -> dict[str, str]:
    """Send, or look into the ledger by sending again; return the status by recipient."""
    hook = SendGridHook()
    message = hook.get_conn().config.message(subject="S", html="H", text="T")
    folder = storage_root() / "d" / "run" / "task" / "ledger"
    try:
        receipts = asyncio.run(
            hook.deliver(message, to, message_id=message_id, ledger=folder, **options)
        )
    except DeliveryError as error:
        receipts = error.receipts
    return {receipt.recipient.partition("@")[0]: receipt.status.value for receipt in receipts}


def test_what_became_of_each_mail_is_in_the_ledger_then(simulator: Simulator) -> None:
    assert set(send(ALL).values()) == {"queued"}
    found = SendGridHook().poll()
    assert found == {"bounced": 1, "delivered": 2, "dropped": 1, "spam": 1}
    assert send(ALL) == {
        "ann": "delivered",
        "bounced": "bounced",
        "dropped": "dropped",
        "deferred": "queued",
        "spam": "spam",
    }
    assert len(simulator.mailbox) == 5  # nothing was sent again


def test_it_is_the_same_from_within_an_event_loop(simulator: Simulator) -> None:
    send("ann@example.org")
    assert asyncio.run(SendGridHook().apoll())["delivered"] == 1


def test_only_mails_without_a_known_end_are_asked_for(simulator: Simulator) -> None:
    send("ann@example.org")
    send("ann@example.org; deferred@example.org", "m2")
    SendGridHook().poll()
    asked = len(simulator.calls.select("/v3/messages"))
    assert asked == 4  # two messages, and the end of two mails
    assert SendGridHook().poll() == {}
    assert len(simulator.calls.select("/v3/messages")) == asked + 1  # who is put off has no end yet


def test_a_mail_of_which_nothing_was_known_is_found(simulator: Simulator) -> None:
    simulator.faults.add("/v3/mail/send", "close_after")
    assert send("deferred@example.org") == {"deferred": "ambiguous"}
    assert len(simulator.mailbox) == 1
    assert SendGridHook().poll() == {"queued": 1}
    assert send("deferred@example.org") == {"deferred": "queued"}


def test_a_mail_that_never_left_stays_ambiguous(simulator: Simulator) -> None:
    simulator.faults.add("/v3/mail/send", "close_before")
    send("ann@example.org")
    assert SendGridHook().poll() == {}
    assert send("ann@example.org") == {"ann": "ambiguous"}


def test_the_reasons_of_failures_come_before_the_times_of_successes(simulator: Simulator) -> None:
    send(ALL)
    found = SendGridHook().poll(details=1)
    assert found["delivered"] == 2  # by the list alone
    assert found.get("bounced", 0) + found.get("dropped", 0) == 1
    rest = SendGridHook().poll()
    assert rest.get("bounced", 0) + rest.get("dropped", 0) == 1


def test_more_mails_than_one_answer_holds_are_all_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kimi_provider.alerts.activity._MOST_ROWS", 2)
    # What ends later comes first: the two that were called spam, then the others.
    people = ["ann@example.org", "bob@example.org", "spam1@example.org", "spam2@example.org"]
    send(people, policy=DeliveryPolicy(per_request=4))
    SendGridHook().poll(details=0)
    assert set(send(people).values()) == {"delivered"}


def test_a_busy_service_is_waited_for(simulator: Simulator) -> None:
    send("ann@example.org")
    simulator.faults.add("/v3/messages", "rate_limit", retry_after=0)
    assert SendGridHook().poll()["delivered"] == 1


@pytest.mark.parametrize("fault", ["forbidden", "wrong_key"])
def test_a_refusal_says_what_is_needed(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    send("ann@example.org")
    if fault == "forbidden":
        simulator.faults.add("/v3/messages", fault)
    else:
        monkeypatch.setenv(
            "AIRFLOW_CONN_SENDGRID_DEFAULT",
            json.dumps(
                {"conn_type": "sendgrid", "password": "wrong-key", "host": simulator.sendgrid_url}
            ),
        )
    with pytest.raises(DeliveryError, match=r"add-on.*messages\.read") as refused:
        SendGridHook().poll()
    assert not refused.value.retryable
    assert "ann@" not in str(refused.value)


def test_in_the_eu_there_is_nothing_to_ask(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, None, region="eu")
    with pytest.raises(ConfigurationError, match=r"sendgrid_default.*webhook"):
        SendGridHook().poll()


def test_what_was_sent_too_long_ago_is_not_asked_for(simulator: Simulator) -> None:
    send("ann@example.org")
    assert SendGridHook().poll(days=1e-9) == {}
    assert not simulator.calls.select("/v3/messages")


@pytest.mark.parametrize(
    ("query", "limit", "status"),
    [
        ('to_email="ann@example.org"', "10", 200),
        ('(unique_args[\'a\']="b") AND status="delivered"', "1000", 200),
        ('color="red"', "10", 400),
        ("to_email=ann", "10", 400),
        ('to_email="ann@example.org" OR status="delivered"', "10", 400),
        ('to_email="ann@example.org"', "1001", 400),
        ("", "10", 400),
    ],
)
def test_the_simulator_takes_only_what_sendgrid_documents(
    simulator: Simulator, query: str, limit: str, status: int
) -> None:
    answer, _ = asyncio.run(SendGridHook().get_conn().look_up(query=query, limit=limit))
    assert answer.status == status

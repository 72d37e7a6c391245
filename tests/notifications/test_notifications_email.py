from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import conf as sdk_conf

from kimi_provider.exceptions import ConfigurationError, DeliveryError
from kimi_provider.get_provider_info import get_provider_info
from kimi_provider.notifications.email import send_email
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKEND = "kimi_provider.notifications.email.send_email"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def simulator(running: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    running.reset()
    connection = {
        "conn_type": "sendgrid",
        "password": "SG.very-secret",
        "host": running.sendgrid_url,
        "extra": {"from_email": "robot@example.org"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_SENDGRID_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__EMAIL__EMAIL_BACKEND", BACKEND)
    return running


def test_airflow_loads_it_and_sends_by_it(simulator: Simulator, tmp_path: Path) -> None:
    from airflow.utils.email import send_email as airflows

    file = tmp_path / "a.csv"
    file.write_text("a\n1\n")
    airflows(
        ["ann@example.org", "bob@example.org"],
        "Airflow alert: x\r\nBcc: eve@example.org",
        "Try 1<br>Error",
        files=[str(file)],
        cc="cc@example.org",
        bcc=["bcc@example.org"],
        custom_headers={"X-Own": 3},
    )
    assert sorted(mail.recipients for mail in simulator.mailbox) == [
        (f"{name}@example.org",) for name in ("ann", "bcc", "bob", "cc")
    ]
    mail = simulator.mailbox.messages[0]
    assert mail.subject == "Airflow alert: x Bcc: eve@example.org"
    assert (mail.html, mail.text) == ("Try 1<br>Error", "Try 1\nError")
    assert mail.headers == {"X-Own": "3"}
    assert [a.filename for a in mail.attachments] == ["a.csv"]


def test_the_notifier_that_airflow_makes_of_it_on_a_failure(simulator: Simulator) -> None:
    from airflow.sdk.execution_time.email_backend import _LegacyEmailBackendNotifier

    assert sdk_conf.getimport("email", "email_backend") is send_email
    notifier = _LegacyEmailBackendNotifier(
        to="ann@example.org", subject="Airflow alert: {{ ti }}", html_content="Try {{ try_number }}"
    )
    notifier({"ti": "<TaskInstance: d.t>", "try_number": 2})
    (mail,) = simulator.mailbox.messages
    assert (mail.subject, mail.html) == ("Airflow alert: <TaskInstance: d.t>", "Try 2")


def test_providers_manager_knows_it() -> None:
    assert get_provider_info()["email-backends"] == [BACKEND]


def test_a_dry_run_checks_and_sends_nothing(simulator: Simulator) -> None:
    send_email("ann@example.org", "S", "H", dryrun=True)
    with pytest.raises(ConfigurationError, match="recipient number 1"):
        send_email("ann", "S", "H", dryrun=True)
    assert not [call for call in simulator.calls if call.path.startswith("/v3")]


def test_what_it_has_no_use_for_is_named(simulator: Simulator, caplog) -> None:
    send_email("ann@example.org", "S", "H", from_name="Me", unheard=1, mime_subtype="alternative")
    assert simulator.mailbox.messages[0].sender_name == "Me"
    assert "no use for unheard" in caplog.text


def test_another_connection_and_another_sender(simulator: Simulator, monkeypatch) -> None:
    connection = {"conn_type": "sendgrid", "password": "SG.other", "host": simulator.sendgrid_url}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    send_email("ann@example.org", "S", "H", conn_id="other", from_email="me@example.org")
    assert simulator.mailbox.messages[0].sender == "me@example.org"
    with pytest.raises(ConfigurationError, match="no sender"):
        send_email("ann@example.org", "S", "H", conn_id="other")


def test_a_mail_that_did_not_leave_is_an_error(simulator: Simulator) -> None:
    simulator.faults.add("/v3/mail/send", "forbidden")
    with pytest.raises(DeliveryError, match="Sender Authentication") as caught:
        send_email("ann@example.org", "S", "H")
    assert "ann@" not in str(caught.value)

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from kimi_provider.exceptions import ConfigurationError, DeliveryError
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "SG.simulator-key-1234567890"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    running.reset()
    return running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, simulator: Simulator):
    def set_connection(**parts: object) -> SendGridHook:
        extra = {"from_email": "robot@example.org", **parts.pop("extra", {})}
        values = {"conn_type": "sendgrid", "password": KEY, "host": simulator.sendgrid_url, **parts}
        monkeypatch.setenv("AIRFLOW_CONN_SENDGRID_DEFAULT", json.dumps({**values, "extra": extra}))
        return SendGridHook()

    return set_connection


def send(hook: SendGridHook, folder: Path, to: str = "ann@example.org; bob@example.org"):
    async def go():
        client = await hook.aget_conn()
        message = client.config.message(subject="S", html="<p>H</p>", text="T")
        return await hook.deliver(message, to, message_id="m1", ledger=folder)

    return asyncio.run(go())


def test_importing_the_hook_loads_no_mail_library() -> None:
    code = (
        "import sys; from airflow.sdk import BaseOperator; before = set(sys.modules);"
        "import kimi_provider.hooks.sendgrid; new = set(sys.modules) - before;"
        "print(sorted(m for m in new if not m.startswith(('airflow', 'kimi_provider'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_mail_goes_out_by_the_connection(connect, simulator: Simulator, tmp_path: Path) -> None:
    hook = connect(extra={"from_name": "Kimi Reports", "reply_to": "team@example.org"})
    receipts = send(hook, tmp_path)
    assert [r.status.value for r in receipts] == ["queued", "queued"]
    first, second = sorted(simulator.mailbox.messages, key=lambda mail: mail.to)
    assert (first.to, second.to) == (("ann@example.org",), ("bob@example.org",))
    assert (first.sender, first.sender_name) == ("robot@example.org", "Kimi Reports")
    assert first.reply_to == ("team@example.org",)
    assert {r.message_id for r in receipts} == {first.message_id, second.message_id}


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (("rate_limit", {"retry_after": 0}), "queued"),
        (("close_before", {}), "ambiguous"),
        (("redirect", {"body": "https://elsewhere.invalid/"}), "rejected"),
        (("html_504", {}), "ambiguous"),
        (("html_200", {}), "ambiguous"),
        (("too_large", {}), "rejected"),
        (("forbidden", {}), "rejected"),
    ],
)
def test_faults_end_as_what_is_known(
    connect, simulator: Simulator, tmp_path: Path, fault: tuple[str, dict], status: str
) -> None:
    kind, options = fault
    simulator.faults.add("/v3/mail/send", kind, **options)
    try:
        (receipt,) = send(connect(), tmp_path, "ann@example.org")
    except DeliveryError as error:
        (receipt,) = error.receipts
    assert receipt.status.value == status
    assert len(simulator.mailbox) == (1 if status == "queued" else 0)


def test_a_payload_can_be_sent_as_it_is(connect, simulator: Simulator) -> None:
    payload = {
        "from": {"email": "robot@example.org"},
        "subject": "S",
        "personalizations": [{"to": [{"email": "ann@example.org"}]}],
        "content": [{"type": "text/plain", "value": "T"}],
    }
    answer = connect().send(payload)
    assert (answer.status, answer.message_id) == (202, simulator.mailbox.messages[0].message_id)
    assert connect().send({**payload, "subject": ""}).status == 400


def test_a_payload_is_held_to_what_the_connection_allows(connect, simulator: Simulator) -> None:
    payload = {
        "personalizations": [{"to": [{"email": "a@example.org"}], "bcc": [{"email": "b@example.com"}]}],
        "from": {"email": "robot@example.org"},
        "subject": "S",
        "content": [{"type": "text/plain", "value": "T"}],
    }
    with pytest.raises(ConfigurationError, match="not among the allowed ones"):
        connect(extra={"allowed_domains": ["example.org"]}).send(payload)
    assert connect(extra={"sandbox_mode": "true"}).send(payload).status == 200
    assert not simulator.mailbox.messages
    assert "mail_settings" not in payload


def test_sync_and_async_read_the_same_connection(connect) -> None:
    extra = {
        "region": "eu",
        "timeout": "12.5",
        "allowed_domains": "example.org, *.example.com",
        "subuser": "team-a",
    }
    hook = connect(extra=extra, host="")
    sync = hook.get_conn().config
    assert asyncio.run(SendGridHook().aget_conn()).config == sync
    assert sync.host == "https://api.eu.sendgrid.com"
    assert sync.timeout == 12.5
    assert sync.allowed_domains == ("example.org", "*.example.com")
    assert sync.subuser == "team-a"
    assert KEY not in repr(sync)


def test_the_time_out_reaches_the_transport(connect) -> None:
    client = connect(extra={"timeout": 7}).get_conn()
    assert client._client.timeout == 7
    assert client._client.mail.send.timeout == 7


@pytest.mark.parametrize(
    ("parts", "host"),
    [
        ({"host": ""}, "https://api.sendgrid.com"),
        ({"host": "api.eu.sendgrid.com"}, "https://api.eu.sendgrid.com"),
        ({"host": "https://api.eu.sendgrid.com/v3/"}, "https://api.eu.sendgrid.com"),
        ({"host": "http://127.0.0.1", "port": 8025}, "http://127.0.0.1:8025"),
        ({"host": "127.0.0.1", "port": 8025, "schema": "http"}, "http://127.0.0.1:8025"),
        ({"host": "http://[::1]:80"}, "http://[::1]:80"),
    ],
)
def test_the_host_may_be_given_in_parts(connect, parts: dict, host: str) -> None:
    assert connect(**parts).get_conn().config.host == host


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"password": ""}, "it is empty"),
        ({"password": None}, "it is empty"),
        ({"password": "SG.bad key"}, "one word of ASCII"),
        ({"password": "SG.bad\r\nX-Evil: 1"}, "one word of ASCII"),
        ({"password": "SG.schlüssel"}, "one word of ASCII"),
        ({"host": "http://api.sendgrid.com"}, "plain HTTP"),
        ({"host": "ftp://api.sendgrid.com"}, "must be a URL"),
        ({"host": "https://user:pw@api.sendgrid.com"}, "must not hold a user or password"),
        ({"extra": {"region": "us"}}, "region must be one of global, eu; got 'us'"),
        ({"extra": {"timeout": "soon"}}, "timeout must be a number of seconds; got 'soon'"),
        ({"extra": {"timeout": 0}}, "timeout must be above 0 and at most 600 seconds"),
        ({"extra": {"timeout": "nan"}}, "timeout must be above 0"),
        ({"extra": {"from_email": "robot"}}, "sender's address (from_email) is not an e-mail"),
        ({"extra": {"reply_to": "a@b@c"}}, "reply_to address is not an e-mail"),
        ({"extra": {"from_name": "A\r\nBcc: x@example.org"}}, "sender's name (from_name) has a control"),
        ({"extra": {"subuser": "a\nb"}}, "subuser must be one word"),
    ],
)
def test_a_wrong_connection_is_named_with_what_to_do(connect, parts: dict, says: str) -> None:
    hook = connect(**parts)
    for get in (hook.get_conn, lambda: asyncio.run(hook.aget_conn())):
        with pytest.raises(ConfigurationError) as caught:
            get()
        assert "Connection 'sendgrid_default': " in str(caught.value)
        assert says in str(caught.value)
        assert "SG." not in str(caught.value)
        assert "pw" not in str(caught.value).replace("password", "")
    assert hook.test_connection()[0] is False


def test_a_key_from_a_file_may_end_in_a_line_break(connect, tmp_path: Path) -> None:
    assert connect(password=KEY + "\n").get_conn().config.api_key == KEY


def test_a_missing_connection_is_airflows_own_error() -> None:
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        SendGridHook("nowhere").get_conn()


def test_a_mail_without_sender_says_where_to_set_one(connect) -> None:
    client = connect(extra={"from_email": None}).get_conn()
    with pytest.raises(ConfigurationError, match="set the extra 'from_email'"):
        client.config.message(subject="S", html="H", text="T")
    message = client.config.message(from_email="x@example.org", subject="S", html="H", text="T")
    assert message.from_email == "x@example.org"


def test_only_allowed_domains_get_mail(connect, simulator: Simulator, tmp_path: Path) -> None:
    hook = connect(extra={"allowed_domains": ["example.org"]})
    with pytest.raises(ConfigurationError, match="recipient number 2 is not among the allowed"):
        send(hook, tmp_path, "ann@example.org, eve@example.com")
    assert len(simulator.mailbox) == 0


def test_the_connection_can_be_tested(connect, simulator: Simulator) -> None:
    good, text = connect().test_connection()
    assert good
    assert "may send mail" in text
    wrong, text = connect(password="wrong-key").test_connection()
    assert not wrong
    assert "put a valid one" in text
    assert "wrong-key" not in text
    nowhere, text = connect(host="http://127.0.0.1:9").test_connection()
    assert not nowhere
    assert "could not be reached" in text
    assert len(simulator.mailbox) == 0


def test_a_key_without_the_permission_is_told(connect, simulator: Simulator) -> None:
    simulator.faults.add("/v3/scopes", "answer", status=200, body='{"scopes": ["alerts.read"]}')
    assert connect().test_connection() == (
        False,
        "The key works, but lacks the permission Mail Send (mail.send).",
    )
    simulator.faults.add("/v3/scopes", "html_200")
    good, text = connect().test_connection()
    assert (good, "Is the host right?" in text) == (False, True)


def test_airflow_finds_the_key_masked(connect, capsys: pytest.CaptureFixture[str]) -> None:
    from airflow.sdk.log import redact

    connect(password="SG.unusual-secret-987").get_conn()
    assert "SG.unusual-secret-987" not in str(redact("the key is SG.unusual-secret-987"))


def test_logs_tell_neither_people_nor_key(connect, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    send(connect(), tmp_path)
    assert KEY not in caplog.text
    assert "ann@" not in caplog.text


def test_the_hook_has_what_airflow_looks_for() -> None:
    assert issubclass(SendGridHook, BaseHook)
    assert SendGridHook.conn_type == "sendgrid"
    assert SendGridHook.conn_name_attr == "sendgrid_conn_id"
    assert SendGridHook.default_conn_name == "sendgrid_default"
    assert SendGridHook.hook_name == "SendGrid"

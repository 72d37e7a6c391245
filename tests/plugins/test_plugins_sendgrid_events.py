from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kimi_provider.hooks.mail_index import ledger_of_mail
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.hooks.storage import storage_root
from kimi_provider.testing import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = ec.generate_private_key(ec.SECP256R1())
URL = "/kimi-sendgrid/events"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture(autouse=True)
def account(simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    simulator.reset()
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    connection = {
        "conn_type": "sendgrid",
        "password": "SG.key",
        "host": simulator.sendgrid_url,
        "extra": {
            "from_email": "robot@example.org",
            "webhook_public_key": base64.b64encode(KEY.public_key().public_bytes(*form)).decode(),
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_SENDGRID_DEFAULT", json.dumps(connection))
    monkeypatch.setattr("kimi_provider.plugins.sendgrid_events._KEYS_KEPT", -1.0)
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", (tmp_path / "storage").as_uri())


@pytest.fixture
def web():
    """Airflow's own API server application, with the plugin in it."""
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from starlette.testclient import TestClient

    purge_cached_app()
    return TestClient(create_app(apps="core"))


def post(web, body: bytes, *, signed: bytes | None = None, at: float | None = None):
    stamp = str(int(time.time() if at is None else at))
    signature = KEY.sign(
        stamp.encode() + (body if signed is None else signed), ec.ECDSA(hashes.SHA256())
    )
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
        "Content-Type": "application/json",
    }
    return web.post(URL, content=body, headers=headers)


def deliver():
    hook = SendGridHook()
    message = hook.get_conn().config.message(subject="S", html="H", text="T")
    folder = storage_root() / "d" / "run" / "task" / "ledger"
    (receipt,) = asyncio.run(hook.deliver(message, "ann@example.org", message_id="m1", ledger=folder))
    return receipt


def events(kind: str, **more: object) -> bytes:
    event = {
        "event": kind,
        "email": "ann@example.org",
        "timestamp": int(time.time()),
        "sg_event_id": f"id-{kind}",
        "kimi_message_id": "m1",
    }
    return json.dumps([{**event, **more}]).encode()


def test_what_became_of_a_mail_reaches_its_ledger(airflow_db, web) -> None:
    assert deliver().status.value == "queued"
    assert post(web, events("delivered")).status_code == 204
    assert deliver().status.value == "delivered"
    before = sorted(str(p) for p in ledger_of_mail("m1").rglob("*"))
    assert post(web, events("delivered")).status_code == 204
    assert sorted(str(p) for p in ledger_of_mail("m1").rglob("*")) == before


def test_nobody_else_can_tell(airflow_db, web) -> None:
    deliver()
    assert post(web, events("bounce"), signed=b"[]").status_code == 403
    assert post(web, events("bounce"), at=time.time() - 90_000).status_code == 403
    assert web.post(URL, content=events("bounce")).status_code == 403
    assert web.get(URL).status_code in {404, 405}
    assert deliver().status.value == "queued"


def test_what_is_no_list_of_events_is_refused(airflow_db, web) -> None:
    assert post(web, b"{}").status_code == 400
    assert post(web, b"\xff").status_code == 403
    assert web.post(URL, content=b"x" * (5 << 20)).status_code == 413


def test_without_a_key_it_takes_nothing(airflow_db, web, monkeypatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SENDGRID_DEFAULT")
    answer = post(web, b"[]")
    assert answer.status_code == 404
    assert "takes no events" in answer.text


def test_the_option_goes_before_the_connection(airflow_db, web, monkeypatch) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    told = base64.b64encode(other.public_bytes(*form)).decode()
    monkeypatch.setenv("AIRFLOW__KIMI__SENDGRID_WEBHOOK_PUBLIC_KEY", told)
    assert post(web, b"[]").status_code == 403


def test_storage_that_does_not_answer_is_told_so(airflow_db, web, monkeypatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("kimi_provider.plugins.sendgrid_events.ledger_of_mail", refuse)
    assert post(web, events("delivered")).status_code == 503

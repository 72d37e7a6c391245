"""Slack, PagerDuty and Apprise are told by an alert, each by its own Airflow notifier."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from kimi_provider.alerts import Threshold
from kimi_provider.alerts.routing import Route
from kimi_provider.alerts.settings import AlertSettings
from kimi_provider.exceptions import DeliveryError
from kimi_provider.operators.alert import AlertOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("airflow.providers.slack", reason="the Slack provider is not installed")
pytest.importorskip("airflow.providers.pagerduty", reason="the PagerDuty provider is not installed")
pytest.importorskip("airflow.providers.apprise", reason="the Apprise provider is not installed")


class Services(ThreadingHTTPServer):
    """Takes what Slack's webhooks, PagerDuty's events and Apprise's JSON take."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.refuse: set[str] = set()
        self.cut: set[str] = set()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def of(self, path: str) -> list[dict[str, Any]]:
        return [body for got, body in self.got if got.startswith(path)]


class Handler(BaseHTTPRequestHandler):
    server: Services

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = any(self.path.startswith(path) for path in self.server.refuse)
        if not refused:
            self.server.got.append((self.path, body))
        if any(self.path.startswith(path) for path in self.server.cut):
            self.close_connection = True
            return
        pager = self.path.startswith("/v2/enqueue")
        answer = json.dumps({"status": "success", "dedup_key": body.get("dedup_key")}) if pager else "ok"
        self.send_response(400 if refused else 202 if pager else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    with Services() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        slack = {"conn_type": "slackwebhook", "password": f"http://{server.url}/services/T/B/x"}
        apprise = {"config": {"path": f"json://{server.url}/apprise", "tag": "all"}}
        pager = {"conn_type": "pagerduty_events", "password": "k" * 32}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_TEST", json.dumps(slack))
        monkeypatch.setenv("AIRFLOW_CONN_PAGER_TEST", json.dumps(pager))
        monkeypatch.setenv(
            "AIRFLOW_CONN_APPRISE_TEST", json.dumps({"conn_type": "apprise", "extra": apprise})
        )
        # The hook has no setting for the host, and the library's client takes https alone.
        there = property(lambda _: f"http://{server.url}", lambda _, url: None)
        monkeypatch.setattr("pagerduty.EventsApiV2Client.url", there)
        yield server
        server.shutdown()


def slack() -> Any:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    return SlackWebhookNotifier(slack_webhook_conn_id="slack_test", text="{{ kimi_alert.slack }}")


def pager() -> Any:
    from airflow.providers.pagerduty.notifications.pagerduty import PagerdutyNotifier

    return PagerdutyNotifier(
        pagerduty_events_conn_id="pager_test",
        summary="{{ kimi_alert.title }}",
        severity="{{ kimi_alert.severity }}",
        source="{{ kimi_alert.run.dag_id }}",
        action="{{ kimi_alert.event_action }}",
        dedup_key="{{ kimi_alert.dedup_key }}",
        custom_details="{{ kimi_alert.text }}",
    )


def apprise() -> Any:
    from airflow.providers.apprise.notifications.apprise import AppriseNotifier

    return AppriseNotifier(
        apprise_conn_id="apprise_test", title="{{ kimi_alert.title }}", body="{{ kimi_alert.text }}"
    )


def sheet(**values: float) -> dict[str, Any]:
    lineage = {"sql": "SELECT 1"}
    facts = [
        {"id": f"day.{k}", "label": f"The <!channel> {k}", "value": v, "lineage": lineage}
        for k, v in values.items()
    ]
    return {"facts": facts}


@pytest.fixture
def tell(chain):
    """Run the alert of one day after another, each as a DAG run of its own."""
    settings = AlertSettings(
        route=Route(
            "slack",
            routes=[
                Route("pager", "severity=critical", continue_=True, group_by=["..."]),
                Route("apprise", "severity>=warning", continue_=True),
                Route("slack"),
            ],
        ),
        receivers={"slack": slack(), "pager": pager(), "apprise": apprise()},
        repeat_interval=None,
    )
    rules = [
        Threshold("day.late", above=5, severity="critical", name="late"),
        Threshold("day.cancelled", above=5, name="cancelled"),
    ]

    def run(run_id: str, **values: float) -> dict[str, Any]:
        chain.run_id = run_id
        arguments = {"facts": sheet(**values), "rules": rules, "settings": settings}
        return chain.run(AlertOperator, "alert", **arguments)

    return run


def test_each_receiver_is_told_by_its_notifier(tell, services):
    result = tell("one", late=9, cancelled=1)

    (slack_message,) = services.of("/services/T/B/x")
    assert slack_message["text"].startswith("*[Critical] late (day.late)*\nCRITICAL: late (day.late)")
    assert "The &lt;!channel&gt; late" in slack_message["text"], "text from data calls no channel"
    (event,) = services.of("/v2/enqueue")
    assert event["event_action"] == "trigger"
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["source"] == "flight_report"
    (message,) = services.of("/apprise")
    assert message["title"] == "[Critical] late (day.late)"
    assert "is 9, which is above 5" in message["message"]
    assert {r["recipient"]: r["status"] for r in result["receipts"]} == {
        "slack": "queued",
        "pager": "queued",
        "apprise": "queued",
    }


def test_pagerduty_gets_the_end_under_the_same_key(tell, services):
    tell("one", late=9, cancelled=1)
    tell("two", late=9, cancelled=1)
    result = tell("three", late=1, cancelled=1)

    events = services.of("/v2/enqueue")
    assert [event["event_action"] for event in events] == ["trigger", "resolve"]
    assert len({event["dedup_key"] for event in events}) == 1
    assert [event["status"] for event in result["events"]] == ["resolved"]
    assert services.of("/apprise")[-1]["title"] == "[Resolved] late (day.late)"


def test_two_alerts_are_two_incidents_and_one_message(tell, services):
    tell("one", late=9, cancelled=9)

    assert len(services.of("/services")) == 1
    assert "[Critical] late (day.late), cancelled (day.cancelled)" in services.of("/services")[0]["text"]
    assert len(services.of("/v2/enqueue")) == 1, "the other is no critical one"


def test_the_failure_of_one_keeps_no_other_from_being_told(tell, services):
    services.refuse = {"/services"}
    with pytest.raises(DeliveryError, match=r"'slack' is not known to be told") as caught:
        tell("one", late=9, cancelled=1)
    assert "127.0.0.1" not in str(caught.value), "a webhook's address is a secret"
    assert [len(services.of(path)) for path in ("/services", "/v2/enqueue", "/apprise")] == [0, 1, 1]

    services.refuse = set()
    tell("one", late=9, cancelled=1)
    tell("one", late=9, cancelled=1)
    assert [len(services.of(path)) for path in ("/services", "/v2/enqueue", "/apprise")] == [1, 1, 1]


def test_a_mail_that_cannot_be_made_keeps_no_other_from_being_told(chain, services):
    settings = AlertSettings(
        route=Route("mail", routes=[Route("mail", continue_=True), Route("pager")]),
        receivers={"pager": pager()},
    )
    arguments = {"facts": sheet(late=9), "rules": ["day.late > 5"], "settings": settings}
    with pytest.raises(AirflowFailException, match="not an e-mail address"):
        chain.run(AlertOperator, "alert", to="ann", **arguments)
    assert len(services.of("/v2/enqueue")) == 1


def test_what_failed_is_told_by_the_next_run_if_nobody_retries(tell, services):
    services.refuse = {"/services"}
    with pytest.raises(DeliveryError):
        tell("one", late=9, cancelled=1)
    services.refuse = set()
    tell("two", late=9, cancelled=1)
    assert [len(services.of(path)) for path in ("/services", "/v2/enqueue", "/apprise")] == [1, 1, 1]


def test_a_service_of_apprise_that_refuses_has_not_been_told(tell, services):
    services.refuse = {"/apprise"}
    with pytest.raises(DeliveryError, match=r"'apprise' is not known to be told"):
        tell("one", late=9, cancelled=1)
    services.refuse = set()
    tell("one", late=9, cancelled=1)
    assert [len(services.of(path)) for path in ("/services", "/v2/enqueue", "/apprise")] == [1, 1, 1]


@pytest.mark.parametrize("path", ["/services", "/apprise"])
def test_an_answer_that_is_cut_off_after_the_message_came_is_ambiguous(tell, services, path):
    services.cut = {path}
    with pytest.raises(AirflowFailException, match="Look there whether it came"):
        tell("one", late=9, cancelled=1)
    got = len(services.of(path))
    assert got == (2 if path == "/services" else 1), "Slack's library tries once more by itself"

    services.cut = set()
    with pytest.raises(AirflowFailException, match="Look there whether it came"):
        tell("one", late=9, cancelled=1)
    tell("two", late=9, cancelled=1)
    assert len(services.of(path)) == got


def test_a_service_that_is_not_there_has_not_been_told(chain, services):
    class Absent:
        def notify(self, context: object) -> None: ...

        def __call__(self, context: object) -> None:
            raise ConnectionError("Max retries exceeded") from ConnectionRefusedError()

    settings = AlertSettings(route=Route("absent"), receivers={"absent": Absent()})
    arguments = {"facts": sheet(late=9), "rules": ["day.late > 5"], "settings": settings}
    with pytest.raises(DeliveryError, match="Run the task again"):
        chain.run(AlertOperator, "alert", **arguments)


def test_a_time_out_is_ambiguous_and_not_told_again(chain, services):
    class Stalls:
        template_fields = ()

        def notify(self, context: object) -> None: ...

        def __call__(self, context: object) -> None:
            raise TimeoutError

    settings = AlertSettings(route=Route("slow"), receivers={"slow": Stalls()})
    arguments = {"facts": sheet(late=9), "rules": ["day.late > 5"], "settings": settings}
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="Look there whether it came"):
            chain.run(AlertOperator, "alert", **arguments)

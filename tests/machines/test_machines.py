"""The chain on several machines, of which a worker and a triggerer die while they wait for the model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from servers import S3_HEADERS

if TYPE_CHECKING:
    from machines import Machines

WAITS = ("worker", "triggerer")


@dataclass
class Loss:
    """A run in the middle of which a machine was lost."""

    machines: Machines
    dag_id: str
    run_id: str
    lost: str
    state: str

    def task(self) -> dict[str, Any]:
        return self.machines.task(self.dag_id, self.run_id, "analyze")

    def analysis(self) -> dict[str, Any]:
        return self.machines.xcom(self.dag_id, self.run_id, "analyze")

    def stored(self) -> list[str]:
        """Return the keys of what the run has in the bucket."""
        query = {"list-type": "2", "prefix": f"kimi/{self.dag_id}/"}
        return re.findall("<Key>(.*?)</Key>", self._get("", query).text)

    def trace(self) -> list[dict[str, Any]]:
        (key,) = (key for key in self.stored() if key.endswith("/analyze/trace.json"))
        return list(self._get(key).json()["entries"])

    def _get(self, key: str, query: dict[str, str] | None = None) -> httpx.Response:
        from machines import BUCKET

        url = f"{self.machines.s3}/{BUCKET}/{key}"
        return httpx.get(url, params=query, headers=S3_HEADERS, timeout=60).raise_for_status()


def where(machines: Machines, dag_id: str, run_id: str) -> str | None:
    """Return the machine that waits for the model."""
    task = machines.task(dag_id, run_id, "analyze")
    if task["state"] == "running":
        return str(task["hostname"])
    return str(task["triggerer_job"]["hostname"]) if task["triggerer_job"] else None


@pytest.fixture(scope="module")
def losses(machines):
    """Run the chain both ways, kill the machines that wait, and wait for the end."""
    simulator = machines.simulator
    simulator.chunk_delay = 1.0  # an answer would take minutes
    runs = {one: machines.trigger(f"waits_in_{one}", "2013-02-08") for one in WAITS}
    machines.wait("both calls", lambda: simulator.calls.count("chat/completions") == 2)
    look = {one: partial(where, machines, f"waits_in_{one}", runs[one]) for one in WAITS}
    lost = {one: machines.wait(f"the {one} that waits", look[one]) for one in WAITS}
    for name in lost.values():
        machines.kill(name)
    simulator.chunk_delay = 0.0
    ends = {one: machines.finish(f"waits_in_{one}", runs[one]) for one in WAITS}
    return {one: Loss(machines, f"waits_in_{one}", runs[one], lost[one], ends[one]) for one in WAITS}


@pytest.fixture(params=WAITS)
def loss(request, losses):
    return losses[request.param]


def test_the_run_ends_well(loss):
    assert loss.state == "success"
    analysis = loss.analysis()
    assert analysis["findings"]
    assert analysis["failure"] is None
    receipts = loss.machines.xcom(loss.dag_id, loss.run_id, "alert")["receipts"]
    assert [receipt["status"] for receipt in receipts] == ["queued", "queued"]


def test_each_recipient_has_one_mail(loss):
    mails = [mail for mail in loss.machines.simulator.mailbox.messages if loss.dag_id[9:] in mail.to[0]]
    assert sorted(mail.to[0].partition("@")[0] for mail in mails) == ["ann", "bob"]
    assert all("New York flights" in mail.subject for mail in mails)


def test_the_call_under_way_is_all_that_is_repeated(loss):
    assert loss.machines.simulator.calls.count("chat/completions") == 4
    assert loss.analysis()["usage"]["repeated_calls"] == 1
    assert [entry["kind"] for entry in loss.trace()].count("interrupted") == 1


def test_another_machine_took_it_over(losses):
    by_worker, by_triggerer = losses["worker"].task(), losses["triggerer"].task()
    assert {losses["worker"].lost, by_worker["hostname"]} == {"worker-1", "worker-2"}
    assert by_worker["try_number"] == 2
    assert losses["triggerer"].lost in {"triggerer-1", "triggerer-2"}
    # The task itself was not tried again: another triggerer went on with it.
    assert by_triggerer["try_number"] == 1


def test_the_pages_read_the_report_from_the_bucket(loss):
    page = loss.machines.api.get(f"/kimi/reports/{loss.dag_id}/{loss.run_id}/report/-1")
    assert page.status_code == 200
    assert "<h1" in page.text


def test_nothing_lies_on_the_machines_themselves(loss):
    assert {"parquet", "entry", "html", "xlsx", "claim"} <= {k.rpartition(".")[2] for k in loss.stored()}
    assert not list(loss.machines.folder.glob("*/kimi"))

"""The report operator on its own, over analyses made by hand."""

from __future__ import annotations

import logging
import sys
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.operators.report import ReportOperator
from kimi_provider.schemas import (
    Analysis,
    Fact,
    FactSheet,
    FactTable,
    Grounding,
    Lineage,
    ReportRef,
    TableColumn,
    Unit,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINEAGE = Lineage(sql="SELECT 1")


class Events(dict[Any, Any]):
    """Outlet events as Airflow gives them to a task."""

    def __missing__(self, key: Any) -> Any:
        added: list[Any] = []
        self[key] = SimpleNamespace(
            extra={}, added=added, add=lambda asset, extra: added.append((asset, extra))
        )
        return self[key]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("AIRFLOW__KIMI__STORAGE_PATH", (tmp_path / "storage").as_uri())

    def execute(rows: int = 1, events: Events | None = None, **arguments: Any) -> Any:
        facts = [
            Fact(id=f"t.{i}", label="f", value=Decimal(i), unit=Unit.COUNT, lineage=LINEAGE)
            for i in range(rows)
        ]
        columns = (TableColumn(name="n", label="Name", key=True), TableColumn(name="f", label="F"))
        table = FactTable(
            id="t",
            label="T",
            columns=columns,
            rows=tuple((f"row {i}", f"t.{i}") for i in range(rows)),
            lineage=LINEAGE,
        )
        sheet = tmp_path / "facts.json"
        sheet.write_text(FactSheet(facts=tuple(facts), tables=(table,)).model_dump_json())
        analysis = Analysis(
            headline="H",
            summary="",
            findings=(),
            facts=(),
            period="2013-02-08",
            facts_uri=sheet.as_uri(),
            trace_uri=sheet.as_uri(),
            model="kimi-k3",
            grounding=Grounding(score=0.75, sentences=4),
            usage=Usage(calls=1, cost_usd=Decimal("0.5")),
        ).model_dump(mode="json")
        dag = DAG("d", schedule=None)
        task = ReportOperator(task_id="report", dag=dag, analysis=analysis, **arguments)
        ti = SimpleNamespace(dag_id="d", run_id="r", task_id="report", map_index=-1, try_number=1)
        return task.execute({"ti": ti, "outlet_events": Events() if events is None else events})

    return execute


def test_no_data_is_reported_skipped_or_fails_as_told(run: Callable[..., Any]) -> None:
    assert run(rows=0)["empty"] is True
    with pytest.raises(AirflowSkipException, match="2013-02-08 has no data"):
        run(rows=0, on_no_data="skip")
    with pytest.raises(AirflowFailException, match="on_no_data='report' makes a short report"):
        run(rows=0, on_no_data="fail")
    assert run(on_no_data="fail")["empty"] is False
    with pytest.raises(ConfigurationError, match=r"'ignore' is not known\. Choose one of: report, skip"):
        run(on_no_data="ignore")


def test_the_event_tells_of_the_report(run: Callable[..., Any]) -> None:
    events = Events()
    asset, alias = Asset(name="mine", uri="s3://bucket/mine"), AssetAlias("alias")
    value = run(events=events, outlets=[asset, alias])
    told = events[asset].extra
    assert told == {
        "uri": value["page_uri"],
        "period": "2013-02-08",
        "severity": "info",
        "sha256": value["sha256"],
        "cost_usd": 0.5,
        "grounding_score": 0.75,
        "empty": False,
        "failures": [],
    }
    assert events[alias].added == [(Asset(uri=value["page_uri"]), told)]


def test_a_report_without_outlets_is_an_asset_of_its_own(run: Callable[..., Any]) -> None:
    events = Events()
    run(events=events)
    (asset,) = events
    assert asset.uri == "x-kimi://d/report"


def test_a_part_that_failed_marks_the_run(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    with caplog.at_level(logging.WARNING):
        value = run(rows=40, formats="pdf", file_name="brief")
    assert [failure[:40] for failure in value["failures"]] == [
        "The file brief.pdf could not be made: a "
    ]
    assert "The file brief.pdf could not be made" in caplog.text
    assert [attachment["name"] for attachment in value["attachments"]] == ["t.csv"]
    assert ReportRef.model_validate(value).attachments[0].bytes > 0


def test_an_unknown_format_fails_for_good(run: Callable[..., Any]) -> None:
    with pytest.raises(AirflowFailException, match="Formats are: pdf, xlsx, csv"):
        run(formats=["docx"])

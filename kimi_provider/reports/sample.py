"""A made-up analysis with all that a template can show, for looking at templates without a run."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.reports.alert_document import Failure, Link, NoticeEvent
from kimi_provider.schemas import (
    Analysis,
    ChartKind,
    ChartRequest,
    Comparison,
    Fact,
    FactSheet,
    FactTable,
    Finding,
    Grounding,
    Lineage,
    Severity,
    TableColumn,
    Unit,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DAY = date(2026, 11, 23)
_LINEAGE = Lineage(
    sql="SELECT count(*) AS orders, sum(total) AS revenue FROM orders WHERE ordered = $day",
    datasets={"orders": "5a3c0de5a3c0de5a3c0de5a3c0de5a3c0de5a3c0de5a3c0de5a3c0de5a3c0de5"},
)
_REGIONS = (
    ("North", 412, "31.5", "0.021"),
    ("South", 388, "30.1", "0.034"),
    ("East", 251, "58.2", "0.118"),
    ("West", 197, "33.9", "0.027"),
)
_HISTORY = 14  # days


def sample_report() -> tuple[Analysis, FactSheet]:
    """Return an analysis of a web shop's day, and its facts; no model and no data are behind it."""
    cards = (
        _figure("orders", "Orders", 1248, Unit.COUNT, good="up", before=1310),
        _figure(
            "revenue", "Revenue", "86420.50", Unit.CURRENCY, label_of="EUR", good="up", before=81200
        ),
        _figure(
            "hours", "Time to deliver", "38.4", Unit.OTHER, label_of="h", good="down", before="31.2"
        ),
        _figure("returned", "Returned", "0.047", Unit.PERCENT, good="down", before="0.031"),
    )
    tables = (_by_region(), _by_day(), _by_hour())
    facts = (*(fact for group in cards for fact in group), *(f for _, of in tables for f in of))
    sheet = FactSheet(facts=facts, tables=tuple(table for table, _ in tables))
    findings = (
        Finding(
            title="Deliveries in the East take twice as long",
            detail="They took [[by_region.East.hours]], against [[day.hours]] on average, and"
            " [[by_region.East.returned]] came back.",
            severity=Severity.CRITICAL,
            kind="anomaly",
        ),
        Finding(
            title="Fewer orders, more revenue",
            detail="[[day.orders]] orders brought [[day.revenue]]: the baskets were larger.",
            severity=Severity.WARNING,
            kind="trend",
        ),
        Finding(
            title="The other regions are as usual",
            detail="Nothing stands out in **North**, **South** and **West**.",
            severity=Severity.INFO,
        ),
    )
    analysis = Analysis(
        headline="Sample: slow deliveries in the East: [[by_region.East.hours]] on average",
        summary="Customers placed [[day.orders]] orders worth **[[day.revenue]]**. Delivery took"
        " [[day.hours]], and [[day.returned]] of the parcels came back.",
        findings=findings,
        actions=(
            "Ask the carrier in the East **for its recovery plan**.",
            "Tell the customers who have waited for longest.",
        ),
        charts=(
            ChartRequest(
                kind=ChartKind.BAR,
                title="Time to deliver by region",
                table="by_region",
                x="region",
                y="hours",
            ),
            ChartRequest(
                kind=ChartKind.LINE, title="Orders by day", table="by_day", x="day", y="orders"
            ),
            ChartRequest(
                kind=ChartKind.HEATMAP,
                title="Orders by hour and weekday",
                table="by_hour",
                x="hour",
                y="orders",
                series="weekday",
            ),
        ),
        period=_DAY.isoformat(),
        facts=facts,
        facts_uri="",
        trace_uri="",
        model="sample data",
        simulated=True,
        grounding=Grounding(score=1.0, sentences=6),
        usage=Usage(calls=1, input_tokens=2150, output_tokens=640, reasoning_tokens=410),
    )
    return analysis, sheet


def sample_alerts(now: datetime) -> tuple[NoticeEvent, ...]:
    """Return alerts to fill a template with: two that fire, one that is over.

    :param now: the time, with its offset.
    """
    link = Link("Open the run", "https://airflow.example/dags/shop_report")
    return (
        NoticeEvent(
            "Slow deliveries",
            "Time to deliver in the East is 58.2 h, which is above 48.0 h.",
            Severity.CRITICAL,
            labels={"dag_id": "shop_report", "region": "East"},
            since=now - timedelta(hours=26),
            times=2,
            steps=("Ask the carrier for its recovery plan.", "Tell the customers who wait."),
            links=(link, Link("Runbook", "https://wiki.example/deliveries")),
        ),
        NoticeEvent("Many returns", "11.8% came back, which is above 10.0%.", Severity.WARNING),
        NoticeEvent(
            "No orders from the West",
            "There are orders again.",
            Severity.WARNING,
            "resolved",
            since=now - timedelta(hours=9),
            until=now,
        ),
    )


def sample_failure(now: datetime) -> Failure:
    """Return a task that failed, to fill a template with.

    :param now: the time, with its offset.
    """
    return Failure(
        task="analyze",
        dag="shop_report",
        run=f"scheduled__{_DAY.isoformat()}",
        error="RateLimitError: the host takes no more calls in this minute.",
        at=now,
        attempt=3,
        attempts=3,
        steps=("Wait a minute, and clear the task: finished calls are not paid again.",),
        log_url="https://airflow.example/log",
    )


def _figure(
    name: str,
    label: str,
    value: str | int,
    unit: Unit,
    *,
    good: str,
    before: str | int,
    label_of: str | None = None,
) -> tuple[Fact, ...]:
    """Return a key figure with its comparison, and the facts that these are themselves."""
    now, then = Decimal(value), Decimal(before)
    delta = now - then
    common = {"unit": unit, "unit_label": label_of, "period": _DAY.isoformat(), "lineage": _LINEAGE}
    comparison = Comparison(
        id="day_before",
        label="the day before",
        baseline=then,
        delta=delta,
        percent=float(delta / abs(then)),
        direction="up" if delta > 0 else "down",
    )
    fact = Fact.model_validate(
        {
            **common,
            "id": f"day.{name}",
            "label": label,
            "value": now,
            "good": good,
            "kpi": True,
            "comparisons": (comparison,),
        }
    )
    baseline = Fact.model_validate(
        {**common, "id": f"{fact.id}.day_before", "label": f"{label}, the day before", "value": then}
    )
    change = Fact.model_validate(
        {
            **common,
            "id": f"{fact.id}.day_before.delta",
            "label": f"{label}, change",
            "value": delta,
            "change": True,
        }
    )
    return fact, baseline, change


def _by_region() -> tuple[FactTable, tuple[Fact, ...]]:
    columns = (
        TableColumn(name="region", label="Region", unit=Unit.TEXT, key=True),
        TableColumn(name="orders", label="Orders", unit=Unit.COUNT),
        TableColumn(name="hours", label="Time to deliver", unit=Unit.OTHER, unit_label="h", decimals=1),
        TableColumn(name="returned", label="Returned", unit=Unit.PERCENT),
    )
    return _table("by_region", "By region", columns, _REGIONS)


def _by_day() -> tuple[FactTable, tuple[Fact, ...]]:
    columns = (
        TableColumn(name="day", label="Day", unit=Unit.DATE, key=True),
        TableColumn(name="orders", label="Orders", unit=Unit.COUNT),
    )
    rows = [
        ((_DAY - timedelta(days=back)).isoformat(), 1248 if not back else 1260 + back * 37 % 190)
        for back in range(_HISTORY - 1, -1, -1)
    ]
    return _table("by_day", "By day", columns, rows)


def _by_hour() -> tuple[FactTable, tuple[Fact, ...]]:
    columns = (
        TableColumn(name="hour", label="Hour", unit=Unit.TEXT, key=True),
        TableColumn(name="weekday", label="Weekday", unit=Unit.TEXT, key=True),
        TableColumn(name="orders", label="Orders", unit=Unit.COUNT),
    )
    weekdays = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    rows = [
        (f"{hour:02d}", weekday, round(60 + 40 * math.sin((hour - 8) / 4) + 9 * number))
        for hour in range(8, 22)
        for number, weekday in enumerate(weekdays)
    ]
    return _table("by_hour", "By hour and weekday", columns, rows)


def _table(
    table_id: str,
    label: str,
    columns: Sequence[TableColumn],
    rows: Iterable[tuple[str | int, ...]],
) -> tuple[FactTable, tuple[Fact, ...]]:
    facts: list[Fact] = []
    cells: list[tuple[str, ...]] = []
    for row in rows:
        keys = [str(value) for value, column in zip(row, columns, strict=True) if column.key]
        shown = list(keys)
        for value, column in zip(row, columns, strict=True):
            if column.key:
                continue
            fact = Fact(
                id=".".join((table_id, *keys, column.name)),
                label=f"{column.label} — {', '.join(keys)}",
                value=Decimal(value),
                unit=column.unit,
                unit_label=column.unit_label,
                decimals=column.decimals,
                lineage=_LINEAGE,
            )
            facts.append(fact)
            shown.append(fact.id)
        cells.append(tuple(shown))
    table = FactTable(
        id=table_id, label=label, columns=tuple(columns), rows=tuple(cells), lineage=_LINEAGE
    )
    return table, tuple(facts)

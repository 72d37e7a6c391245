"""How long the pages' queries take with 10,000 stored reports: ``python tests/bench/pages.py``.

The database is SQLite, made for this, with 10,000 runs of 20 DAGs: five tasks and six XComs a run.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

REPORTS = 10_000
DAGS = 20
OPERATORS = {
    "fetch": "HttpFetchOperator",
    "analyze": "KimiAnalyzeOperator",
    "report": "ReportOperator",
    "alert": "AlertOperator",
    "other": "BashOperator",
}
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def connect(file):
    """Make Airflow's tables; return a session."""
    from airflow import models
    from airflow.models.base import Base
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    models.import_all_models()
    engine = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    return Session(engine)


def seed(session, number=REPORTS):
    """Store runs that each made a report; return the ids of their DAGs."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel

    runs, tasks, values = [], [], []
    for n in range(number):
        # Some runs at the same moment, as a schedule makes them.
        at = FIRST + timedelta(hours=n // 4)
        ids = {"dag_id": f"dag_{n % DAGS}", "run_id": f"run_{n}"}
        runs.append(
            {
                **ids, "id": n + 1, "run_after": at, "logical_date": at + timedelta(seconds=n % 4),
                "state": "success", "run_type": "scheduled", "start_date": at, "queued_at": at,
                "clear_number": 0, "triggered_by": None, "partition_key": None,
            }
        )  # fmt: skip
        for task, operator in OPERATORS.items():
            tasks.append(
                {
                    **ids, "id": uuid.UUID(int=n * 10 + list(OPERATORS).index(task)),
                    "task_id": task, "map_index": -1, "operator": operator, "state": "success",
                    "try_number": 1, "max_tries": 0, "pool": "default_pool", "pool_slots": 1,
                    "queue": "default", "priority_weight": 1, "executor_config": {},
                }
            )  # fmt: skip
            place = {**ids, "dag_run_id": n + 1, "task_id": task, "map_index": -1, "timestamp": at}
            values.append({**place, "key": "return_value", "value": value(task, n)})
            if task == "analyze":
                values.append({**place, "key": "kimi_usage", "value": {"model": "kimi", **usage(n)}})
    for table, rows in ((DagRun, runs), (TaskInstance, tasks), (XComModel, values)):
        known = {column.name for column in table.__table__.columns}
        kept = [{name: row[name] for name in row if name in known} for row in rows]
        session.execute(table.__table__.insert(), kept)
    session.commit()
    return {f"dag_{n}" for n in range(DAGS)}


def usage(n):
    return {
        "calls": 1, "input_tokens": 9_000, "output_tokens": 1_000, "cache_read_tokens": 0,
        "reasoning_tokens": 200, "repeated_calls": 0, "cost_usd": n % 100 / 1000,
    }  # fmt: skip


def value(task, n):
    uri = f"file:///kimi/dag_{n % DAGS}/run_{n}/report"
    if task == "alert":
        receipt = {"recipient": "a@example.com", "status": "queued", "message_id": "m" * 20}
        return {"events": [], "receipts": [receipt] * 3}
    if task != "report":
        return {"uri": uri, "text": "x" * 1_000, "usage": usage(n), "model": "kimi"}
    return {
        "subject": f"Report {n} of the day: all is as usual", "html_uri": f"{uri}/report.html",
        "page_uri": f"{uri}/page.html", "text_uri": f"{uri}/report.txt",
        "images": [
            {"content_id": f"chart-{i}", "uri": f"{uri}/chart-{i}.png", "media_type": "image/png"}
            for i in range(5)
        ],
        "attachments": [], "failures": ["chart 3: too large"] if n % 100 == 0 else [],
        "empty": n % 250 == 1, "grounding_score": 1.0, "cost_usd": 0.01,
        "period": (FIRST + timedelta(days=n // DAGS)).date().isoformat(), "severity": "info",
        "sha256": "a" * 64, "created_at": "2024-01-01T00:00:00Z",
    }  # fmt: skip


def main():
    """Print the median of five for each query."""
    from kimi_provider.plugins.alert_index import alert_tasks
    from kimi_provider.plugins.report_index import Wanted, reports
    from kimi_provider.plugins.spending import budgets, lines, spending

    with tempfile.TemporaryDirectory() as folder:
        session = connect(Path(folder) / "airflow.db")
        dag_ids = seed(session)
        first, after = reports(session, dag_ids, Wanted())
        at = first[0].at - timedelta(days=50)
        middle = f'{{"at":"{at:%Y-%m-%dT%H:%M:%S}Z","run":1}}'

        def costs():
            spent = spending(session, dag_ids, FIRST.date(), (FIRST + timedelta(days=200)).date())
            return lines(spent, lambda one: one.dag_id, lambda one: one.name), budgets(session, spent)

        cases = {
            "first page": lambda: reports(session, dag_ids, Wanted()),
            "second page": lambda: reports(session, dag_ids, Wanted(after=after)),
            "page in the middle": lambda: reports(session, dag_ids, Wanted(after=middle)),
            "search, found at once": lambda: reports(session, dag_ids, Wanted(text="as usual")),
            "search, found nowhere": lambda: reports(session, dag_ids, Wanted(text="no such text")),
            "status incomplete (1 in 100)": lambda: reports(
                session, dag_ids, Wanted(status="incomplete")
            ),
            "status failed (none)": lambda: reports(session, dag_ids, Wanted(status="failed")),
            "one DAG of 20": lambda: reports(session, dag_ids, Wanted(dag_id="dag_3")),
            "alert tasks": lambda: alert_tasks(session, dag_ids),
            f"costs of {4_800:,} tasks": costs,
        }
        for name, case in cases.items():
            times = []
            for _ in range(5):
                session.expire_all()
                start, busy = time.perf_counter(), time.process_time()
                case()
                times.append((time.perf_counter() - start, time.process_time() - busy))
            wall, cpu = (sorted(each)[2] * 1000 for each in zip(*times, strict=True))
            print(f"{name:32} {wall:8.1f} ms, of the processor {cpu:8.1f} ms")  # noqa: T201 — a bench tells


if __name__ == "__main__":
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="kimi-bench-")
    main()

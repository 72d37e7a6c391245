"""Run the example report from end to end, and say where everything it made is."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing import Simulator
from kimi_provider.testing.services import Services, airflow_environment, choose_services

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DAG_ID = "example_flight_report"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if every stage succeeded, 1 if one failed, 2 for a wrong setting."""
    parser = argparse.ArgumentParser(prog="python -m kimi_provider.testing.demo", description=__doc__)
    parser.add_argument(
        "--date",
        default="2013-02-08",
        help="day to report on (the sample data: January and February 2013)",
    )
    parser.add_argument("--dags", type=Path, default=Path("dags"), help="folder of the example DAG")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what the run makes")
    options = parser.parse_args(arguments)
    try:
        day = date.fromisoformat(options.date)
    except ValueError:
        sys.stderr.write(
            f"DATE={options.date} is not a date. Write it as YYYY-MM-DD, such as 2013-02-08.\n"
        )
        return 2
    out = (options.out / day.isoformat()).absolute()
    out.mkdir(parents=True, exist_ok=True)
    # A home of its own: a day can be run once in an Airflow, and the demo shall not take it from others.
    home = Path(os.environ.get("AIRFLOW_HOME") or ".airflow").absolute() / "demo"
    with Simulator() as simulator:
        try:
            services = choose_services(simulator.connections())
        except ConfigurationError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        os.environ |= airflow_environment(
            str(home), str(options.dags.absolute()), (out / "storage").as_uri()
        )
        os.environ |= services.environment
        with _log_to(out / "airflow.log") as console:
            run = _Run(console)
            run.say(f"Flight report for {day}   Kimi: {services.kimi}   SendGrid: {services.sendgrid}\n")
            succeeded = run.dag(home, options.dags, day)
        _print_outcome(run, services, simulator, out, succeeded)
    return 0 if succeeded else 1


@contextlib.contextmanager
def _log_to(file: Path) -> Iterator[IO[str]]:
    """Send all that Airflow prints to a file, and give the console that was there before."""
    sys.stdout.flush()
    sys.stderr.flush()
    with file.open("w") as log, os.fdopen(os.dup(1), "w") as console:
        before = os.dup(1), os.dup(2)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield console
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in zip((1, 2), before, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


@dataclass
class _Run:
    """One run of the DAG, told line by line as its tasks end."""

    console: IO[str]
    values: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    started: float = 0.0

    def say(self, line: str) -> None:
        """Print a line at once."""
        self.console.write(f"{line}\n")
        self.console.flush()

    def dag(self, home: Path, dags_folder: Path, day: date) -> bool:
        """Run the DAG for a day in this process; return whether it succeeded."""
        if not (home / "airflow.db").exists():
            self.say("  … preparing Airflow's database (once)")
            subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        from airflow.sdk.listener import get_listener_manager

        bag = DagBag(dags_folder, bundle_name="dags-folder")
        if DAG_ID not in bag.dags:
            self.error = "\n".join(bag.import_errors.values()) or f"{dags_folder} has no DAG {DAG_ID}."
            return False
        manager = DagBundlesManager()  # type: ignore[no-untyped-call] # Airflow's own
        manager.sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)
        get_listener_manager().add_listener(_listener(self))  # type: ignore[no-untyped-call]
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return str(bag.dags[DAG_ID].test(logical_date=moment).state) == "success"


def _listener(run: _Run) -> object:
    from airflow.listeners import hookimpl

    class Progress:
        """Tells of each task as it starts and ends."""

        @hookimpl
        def on_task_instance_running(self) -> None:
            """Note when the task started."""
            run.started = time.monotonic()

        @hookimpl
        def on_task_instance_success(self, task_instance: Any) -> None:
            """Tell what the task made."""
            name = task_instance.task_id
            value = run.values[name] = task_instance.xcom_pull(task_ids=name)
            run.say(f"  ✓ {name:<15} {time.monotonic() - run.started:5.1f} s   {_describe(value)}")

        @hookimpl
        def on_task_instance_failed(self, task_instance: Any, error: Any) -> None:
            """Tell why the task failed, once: what follows it only says that it did."""
            run.say(f"  ✗ {task_instance.task_id:<15} {time.monotonic() - run.started:5.1f} s   failed")
            run.error = run.error or f"{task_instance.task_id}: {error}"

    return Progress()


def _describe(value: Any) -> str:
    """Say in a few words what a stage returned."""
    match value:
        case {"rows": rows, "columns": columns}:
            return f"{_counted(rows, 'row')}, {_counted(len(columns), 'column')}"
        case {"findings": findings, "usage": usage, "facts": facts, "model": model}:
            cost = "cost unknown" if usage["cost_usd"] is None else f"${usage['cost_usd']:.4f}"
            tokens = usage["input_tokens"] + usage["output_tokens"]
            told = f"{_counted(len(findings), 'finding')} on {_counted(len(facts), 'fact')}"
            return f"{told}, {model}, {_counted(tokens, 'token')}, {cost}"
        case {"subject": subject, "images": images}:
            return f"{_counted(len(images), 'picture')}, “{subject}”"
        case {"receipts": receipts, "events": events}:
            states = ", ".join(sorted({receipt["status"] for receipt in receipts})) or "nothing to send"
            told = _counted(len(receipts), "recipient")
            return f"{_counted(len(events), 'rule')} fired, {told}: {states}"
    return ""


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _print_outcome(
    run: _Run, services: Services, simulator: Simulator, out: Path, succeeded: bool
) -> None:
    """Put what was made where people find it, and print the paths."""
    lines = [""]
    if succeeded:
        report, analysis = run.values["report"], run.values["analyze"]
        made = {
            "Report": _copy(report["page_uri"], out / "report.html"),
            "Report, text": _copy(report["text_uri"], out / "report.txt"),
            "Trace": _copy(analysis["trace_uri"], out / "trace.json"),
            "Facts": _copy(analysis["facts_uri"], out / "facts.json"),
        }
        if services.sendgrid_is_simulated:
            mails = simulator.mailbox.export(out / "mail")
            made |= {f"Mail {number}": path for number, path in enumerate(mails, 1)}
        lines += [f"{label:<13} {path}" for label, path in made.items()]
        lines += [f"{'Used':<13} Kimi: {services.kimi}; SendGrid: {services.sendgrid}"]
    else:
        lines += [
            "The run failed; nothing was mailed after the failed stage.",
            run.error or "See the log.",
        ]
    lines += [f"{'Airflow log':<13} {out / 'airflow.log'}"]
    text = "\n".join(lines)
    for secret in filter(None, (os.environ.get("KIMI_API_KEY"), os.environ.get("SENDGRID_API_KEY"))):
        text = re.sub(re.escape(secret), "***", text)
    sys.stdout.write(f"{text}\n")


def _copy(uri: str, target: Path) -> Path:
    from kimi_provider.hooks.storage import open_uri
    from kimi_provider.storage import read_bytes

    target.write_bytes(read_bytes(open_uri(uri)))
    return target


if __name__ == "__main__":
    sys.exit(main())

"""The commands and their arguments, as Airflow's parser takes them; each is imported when it is run.

Airflow asks for them at every ``airflow …``, of whatever kind, so nothing but its parser is imported.
"""

from __future__ import annotations

from typing import Any

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ARG_YES,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
)

_ROOM = "kimi_provider.cli"


def _arg(*flags: str, **options: Any) -> Arg:
    return Arg(flags, **options)  # type: ignore[no-untyped-call]  # Airflow's own


_KIMI_CONN = _arg(
    "--kimi-conn-id",
    action="append",
    help="A connection of type kimi; may be repeated (default: all that there are)",
)
_SENDGRID_CONNS = _arg(
    "--sendgrid-conn-id",
    action="append",
    help="A connection of type sendgrid; may be repeated (default: all that there are)",
)
_SENDGRID_CONN = _arg(
    "--sendgrid-conn-id",
    default="sendgrid_default",
    help="The connection that sends (default: sendgrid_default)",
)
_CALL = _arg(
    "--call",
    action="store_true",
    help="Also ask the model for one token, which is paid for, though it is very little",
)
_SINCE = _arg("--since", help="First day, YYYY-MM-DD (default: 30 days before the last)")
_UNTIL = _arg("--until", help="Last day, YYYY-MM-DD, itself included (default: today, in UTC)")
_BY = _arg(
    "--by",
    default="day,dag,model",
    help="What to sum by: any of day, dag, model, task, with commas between (default: day,dag,model)",
)
_DAG = _arg("dag_id", help="The DAG")
_RUN = _arg("run_id", help="The run, or latest")
_TASK = _arg("task_id", nargs="?", help="The task (default: the one of the run that has a trace)")
_MAP_INDEX = _arg("map_index", nargs="?", type=int, default=-1, help="Index of a mapped task")
_FULL = _arg("--full", action="store_true", help="Do not cut what is long")
_SOURCE_DAG = _arg("dag_id", nargs="?", help="The DAG whose last analysis is rendered")
_SOURCE_TASK = _arg("--task-id", help="Its task that makes the report, where it has several")
_TEMPLATE = _arg(
    "--template",
    help="A template of reports or alerts: with sample data, or in place of the DAG's own",
)
_LOCALE = _arg("--locale", help="How numbers and dates are written, such as en or pl")
_FILE = _arg(
    "--output",
    metavar="FILE",
    help="Write it to a file instead of opening a browser; what its name ends in says as what: .html,"
    " .txt, .md, .pdf, .xlsx",
)
# The long name is the file's here, as in "--output report.html".
_FORMAT = _arg(
    "-o",
    dest="format",
    choices=("table", "json", "yaml", "plain"),
    default="table",
    help="How to print what was made (default: table)",
)
_WATCH = _arg(
    "--watch",
    action="store_true",
    help="Go on, and show each change of the template, the brand or the DAG as it is saved",
)
_PORT = _arg("--port", type=int, default=0, help="Port of --watch (default: a free one)")
_NO_BROWSER = _arg("--no-browser", action="store_true", help="Open no browser; print where it is")
_TO = _arg("--to", required=True, help="The one address that gets it")
_DAYS = _arg(
    "--days",
    help='How long to keep files: "30", or by kind, "30, report=365, ledger=never". Kinds: journal,'
    " trace, dataset, report, ledger (default: the setting retention_days of the section kimi)",
)
_DRY_RUN = _arg("--dry-run", action="store_true", help="Only say what would be removed")
_RECIPIENT = _arg(
    "--recipient",
    metavar="ADDRESS",
    help="Instead of old files, blot out this address: in traces, journals, ledgers and reports, and"
    " in what mailing tasks were given and returned",
)
_MATCH = _arg(
    "--match",
    action="append",
    required=True,
    help='A condition on an alert\'s labels, such as rule="bad day", dag_id=flights, fact=~day.*; all'
    " that are given must hold",
)
_FOR = _arg("--for", dest="length", help="How long: 30m, 8h, 3d")
_SILENCE_UNTIL = _arg("--until", help="Until when, with a time zone: 2026-12-01T08:00+01:00")
_COMMENT = _arg("--comment", default="", help="Why")
_AUTHOR = _arg("--author", help="Who (default: the user of this terminal)")
_ALL = _arg("--all", action="store_true", help="Also those that have ended")
_SENT_DAYS = _arg(
    "--days", type=float, default=7.0, help="Mails sent that many days ago at most (default: 7)"
)
_POLL = _arg(
    "--poll",
    action="store_true",
    help="First ask SendGrid what became of the mails whose end is not known. That needs its add-on"
    " Additional Email Activity History, and takes ten seconds a mail or less",
)
_SILENCE_ID = _arg("silence_id", nargs="+", help="Its id, as list shows it")


def get_kimi_cli_commands() -> list[CLICommand]:
    """Return the group ``kimi``, for Airflow's parser."""
    return [
        GroupCommand(
            name="kimi",
            help="Reports by Kimi: check, cost, trace, preview, test, deliveries, clean up, silence",
            subcommands=(
                _check(),
                _cost(),
                _trace(),
                _preview(),
                _send_test(),
                _deliveries(),
                _clean(),
                _silences(),
            ),
        )
    ]


def _check() -> ActionCommand:
    return ActionCommand(
        name="check",
        help="Check storage, connections, models and balances",
        description="Check storage, Kimi's connections, models and balances, and SendGrid's permissions."
        " Ends with 1 where anything is wrong.",
        func=lazy_load_command(f"{_ROOM}.check.check"),
        args=(_KIMI_CONN, _SENDGRID_CONNS, _CALL, ARG_OUTPUT, ARG_VERBOSE),
        epilog="Example: airflow kimi check --kimi-conn-id kimi_default --call",
    )


def _cost() -> ActionCommand:
    return ActionCommand(
        name="cost",
        help="Show what the model has cost, by DAG, model and day",
        description="Show calls, tokens and US dollars, summed from what tasks have left in Airflow's"
        " database. Days are UTC; runs that were removed from the database are not counted.",
        func=lazy_load_command(f"{_ROOM}.cost.cost"),
        args=(_SINCE, _UNTIL, _BY, ARG_OUTPUT, ARG_VERBOSE),
        epilog="Example: airflow kimi cost --since 2026-11-01 --until 2026-11-30 --by dag,model",
    )


def _trace() -> ActionCommand:
    return ActionCommand(
        name="trace",
        help="Show what a task asked, thought, computed and paid",
        description="Show a task's trace: turns, reasoning, tool calls, SQL, tokens, time and cost.",
        func=lazy_load_command(f"{_ROOM}.trace.trace"),
        args=(_DAG, _RUN, _TASK, _MAP_INDEX, _FULL, ARG_OUTPUT, ARG_VERBOSE),
        epilog="Example: airflow kimi trace example_flight_report latest analyze",
    )


def _preview() -> ActionCommand:
    return ActionCommand(
        name="preview",
        help="Render a report without running anything",
        description="Render a DAG's report from its last analysis, or a template with sample data, and"
        " open it in a browser. No model is asked and no mail is sent.",
        func=lazy_load_command(f"{_ROOM}.preview.preview"),
        args=(
            _SOURCE_DAG,
            _SOURCE_TASK,
            _TEMPLATE,
            _LOCALE,
            _FILE,
            _FORMAT,
            _WATCH,
            _PORT,
            _NO_BROWSER,
            ARG_VERBOSE,
        ),
        epilog="Example: airflow kimi preview --template daily_brief --watch",
    )


def _send_test() -> ActionCommand:
    return ActionCommand(
        name="send-test",
        help="Send a report to one address, marked as a test",
        description="Send a DAG's last report, rendered anew, or a template with sample data, to one"
        " address. The subject begins with [TEST], and no alert takes the mail for its own.",
        func=lazy_load_command(f"{_ROOM}.send_test.send_test"),
        args=(
            _SOURCE_DAG,
            _SOURCE_TASK,
            _TEMPLATE,
            _LOCALE,
            _TO,
            _SENDGRID_CONN,
            ARG_OUTPUT,
            ARG_VERBOSE,
        ),
        epilog="Example: airflow kimi send-test example_flight_report --to me@example.com",
    )


def _deliveries() -> ActionCommand:
    return ActionCommand(
        name="deliveries",
        help="Show what became of the mails",
        description="List the mails of alerts (with their reports) and mailing tasks, and what is known"
        " of each: queued, delivered, bounced and so on. Notices of failures are not among them.",
        func=lazy_load_command(f"{_ROOM}.deliveries.deliveries"),
        args=(_SENT_DAYS, _POLL, _SENDGRID_CONN, ARG_OUTPUT, ARG_VERBOSE),
        epilog="Example: airflow kimi deliveries --days 2 --poll",
    )


def _clean() -> ActionCommand:
    return ActionCommand(
        name="clean",
        help="Remove old files, or one person's address",
        description="Remove journals, traces, datasets, reports and ledgers that are older than the"
        " retention says, or blot out one recipient's address.",
        func=lazy_load_command(f"{_ROOM}.clean.clean"),
        args=(_DAYS, _DRY_RUN, _RECIPIENT, ARG_YES, ARG_OUTPUT, ARG_VERBOSE),
        epilog='Example: airflow kimi clean --days "30, report=365" --dry-run',
    )


def _silences() -> GroupCommand:
    return GroupCommand(
        name="silence",
        help="Silence alerts for a while",
        epilog='Example: airflow kimi silence add --match rule="bad day" --for 8h --comment "known"',
        subcommands=(
            ActionCommand(
                name="add",
                help="Tell nobody of certain alerts, until a time",
                func=lazy_load_command(f"{_ROOM}.silence.add"),
                args=(_MATCH, _FOR, _SILENCE_UNTIL, _COMMENT, _AUTHOR, ARG_OUTPUT, ARG_VERBOSE),
                epilog="Example: airflow kimi silence add --match dag_id=flights --for 8h",
            ),
            ActionCommand(
                name="list",
                help="List silences",
                func=lazy_load_command(f"{_ROOM}.silence.show_all"),
                args=(_ALL, ARG_OUTPUT, ARG_VERBOSE),
                epilog="Example: airflow kimi silence list --all -o json",
            ),
            ActionCommand(
                name="expire",
                help="End silences now",
                func=lazy_load_command(f"{_ROOM}.silence.expire"),
                args=(_SILENCE_ID, ARG_OUTPUT, ARG_VERBOSE),
                epilog="Example: airflow kimi silence expire 3f2a91bc77aa0d15",
            ),
        ),
    )

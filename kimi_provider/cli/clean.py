"""``airflow kimi clean``: old files go, or one person's address."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.addresses import recipients
from kimi_provider.cli.console import MISUSED, command, note, show
from kimi_provider.cli.records import erase_records
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.erasure import erase
from kimi_provider.hooks.retention import Retention, expire, summary

if TYPE_CHECKING:
    from argparse import Namespace


@command
def clean(args: Namespace) -> int:
    """Clean up; see ``airflow kimi clean --help``."""
    if args.recipient is not None and args.days is not None:
        raise ConfigurationError("Give --days or --recipient: old files go, or an address, not both.")
    if not _confirmed(args):
        return MISUSED
    return _erase(args) if args.recipient is not None else _expire(args)


def _expire(args: Namespace) -> int:
    retention = Retention.parse(args.days) if args.days is not None else Retention.configured()
    if not retention.days:
        raise ConfigurationError(
            "Nothing expires: retention_days in the section kimi is empty. Set it, or give --days 30."
        )
    now = datetime.now(UTC)
    gone = expire(retention, now=now, dry_run=args.dry_run)
    if args.verbose:
        for files in gone:
            note(f"{files.kind} of {files.folder}: {len(files.paths)} files, {files.newest:%Y-%m-%d}")
    found = summary(gone)
    rows = [
        {
            "kind": kind.value,
            "older_than_days": limit,
            "files": found.get(kind.value, {}).get("files", 0),
            "bytes": found.get(kind.value, {}).get("bytes", 0),
            "removed": not args.dry_run,
        }
        for kind, limit in retention.days.items()
    ]
    show(rows, args.output)
    return 0


def _erase(args: Namespace) -> int:
    # Checked as what is sent to, but never shown: terminals have histories too.
    (recipient,) = _one(args.recipient)
    erased = erase(recipient, dry_run=args.dry_run)
    records = erase_records(recipient, dry_run=args.dry_run)
    rows: list[dict[str, Any]] = [
        {"place": "storage", "found_in": len(erased.files), "times": erased.times},
        *({"place": place, "found_in": n, "times": None} for place, n in records.items()),
    ]
    show([{**row, "erased": not args.dry_run} for row in rows], args.output)
    if erased.sealed:
        note(
            f"{erased.sealed} datasets, PDFs and workbooks were not looked into: they are not changed in"
            " place. Protect such columns when fetching, or let the files expire (--days)."
        )
    note(
        "Task logs, Airflow's audit log, Variables and the code of DAGs are not looked into; neither is"
        " SendGrid."
    )
    return 0


def _one(text: str) -> tuple[str]:
    found = recipients(text)
    if len(found) != 1:
        raise ConfigurationError("--recipient must be one address.")
    return (found[0].address,)


def _confirmed(args: Namespace) -> bool:
    if args.dry_run or args.yes:
        return True
    if not sys.stdin.isatty():
        note("There is nobody to ask. Give --yes to clean, or --dry-run to see what would go.")
        return False
    what = "this address" if args.recipient is not None else "what is older than the retention"
    return input(f"Remove {what} for good? [y/N] ").strip().lower() in {"y", "yes"}

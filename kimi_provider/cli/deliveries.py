"""``airflow kimi deliveries``: what became of the mails, by the ledgers, and by SendGrid where asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.ledger import Ledger
from kimi_provider.cli.console import command, note, show
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.mail_index import recent_mails
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.hooks.storage import storage_root

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

_LONGEST = 36_500


@command
def deliveries(args: Namespace) -> int:
    """List mails; see ``airflow kimi deliveries --help``."""
    if not 0 < args.days <= _LONGEST:
        raise ConfigurationError(f"--days must be above 0 and at most {_LONGEST}; got {args.days:g}.")
    if args.poll:
        found = SendGridHook(args.sendgrid_conn_id).poll(days=args.days)
        told = ", ".join(f"{count} {status}" for status, count in found.items())
        note(f"SendGrid told: {told or 'nothing new'}.")
    rows = sorted(_rows(datetime.now(UTC) - timedelta(days=args.days)), key=lambda row: row["at"])
    show(rows, args.output)
    return 0


def _rows(since: datetime) -> Iterator[dict[str, Any]]:
    root = f"{storage_root().as_uri().rstrip('/')}/"
    for message_id, folder in recent_mails(since).items():
        place = folder.as_uri().removeprefix(root).removesuffix("/ledger")
        for person, entry in Ledger(folder, message_id).entries().values():
            yield {
                "at": entry.updated_at.isoformat(timespec="seconds"),
                "task": place,
                "recipient": person.address,
                "status": entry.known.value,
                "message_id": entry.service_id,
                "detail": entry.detail,
            }

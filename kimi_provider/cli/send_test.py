"""``airflow kimi send-test``: one mail to one address, marked as a test."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kimi_provider.alerts.addresses import recipients
from kimi_provider.cli.console import FAILED, command, note, show
from kimi_provider.cli.drawing import draw
from kimi_provider.cli.source import source_of
from kimi_provider.exceptions import ConfigurationError, DeliveryError
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.schemas import DeliveryReceipt

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from kimi_provider.storage import StoragePath

MARK = "[TEST] "
_CATEGORY = "kimi-test"


@command
def send_test(args: Namespace) -> int:
    """Send a test; see ``airflow kimi send-test --help``."""
    if len(recipients(args.to)) != 1:
        raise ConfigurationError("--to must be one address: a test goes to one person.")
    hook = SendGridHook(args.sendgrid_conn_id)
    config = hook.get_conn().config  # before anything is drawn
    drawing = draw(source_of(args), None)
    for failure in drawing.failures:
        note(f"The report is not complete: {failure}")
    message = config.message(
        subject=f"{MARK}{drawing.subject}",
        html=drawing.html,
        text=drawing.text,
        images=drawing.images,
        attachments=drawing.attachments,
        categories=(_CATEGORY,),
    )
    # Each test is a mail of its own, and leaves nothing that an alert's own delivery could find.
    with tempfile.TemporaryDirectory(prefix="kimi-test-") as ledger:
        folder = cast("StoragePath", Path(ledger))
        delivering = hook.deliver(message, args.to, message_id=uuid.uuid4().hex, ledger=folder)
        try:
            receipts: Sequence[object] = asyncio.run(delivering)
        except DeliveryError as error:
            receipts = error.receipts
            note(str(error))
    sent = [one for one in receipts if isinstance(one, DeliveryReceipt)]
    rows = [
        {"status": one.status.value, "message_id": one.message_id, "subject": message.subject}
        for one in sent
    ]
    show(rows, args.output)
    done = bool(sent) and all(one.status == "queued" for one in sent)
    return FAILED if drawing.failures or not done else 0

"""``airflow kimi check``: whether all that a report needs is there, and answers."""

from __future__ import annotations

import functools
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from kimi_provider.cli.console import FAILED, command, show
from kimi_provider.exceptions import ConfigurationError, KimiProviderError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence

    Finding = tuple[bool, str]

_ENVIRONMENT = "AIRFLOW_CONN_"
_NAMED = 8


@command
def check(args: Namespace) -> int:
    """Check storage, Kimi and SendGrid; see ``airflow kimi check --help``."""
    rows = [_row("storage", "", _storage)]
    for conn_id in _connections("kimi", args.kimi_conn_id):
        rows += _kimi(conn_id, ask=args.call)
    for conn_id in _connections("sendgrid", args.sendgrid_conn_id):
        rows.append(_row("permissions", conn_id, functools.partial(_sendgrid, conn_id)))
    show(rows, args.output)
    return 0 if all(row["ok"] for row in rows) else FAILED


def _row(what: str, conn_id: str, look: Callable[[], Finding]) -> dict[str, Any]:
    began = time.monotonic()
    try:
        ok, detail = look()
    except (KimiProviderError, AirflowException, OSError, ValueError) as error:
        # None of this provider's errors shows a secret; a storage's error names its place at most.
        ok, detail = False, f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - began, 2)
    return {"check": what, "connection": conn_id, "ok": ok, "detail": detail, "seconds": seconds}


def _storage() -> Finding:
    from kimi_provider.hooks.storage import check_reach, storage_root
    from kimi_provider.storage import (
        create_bytes,
        creates_exclusively,
        read_text,
        remove,
        write_text,
    )

    root = storage_root()
    # No DAG's folder has this name, since "@" is not among the characters that it may have.
    probe, said = root / "@check" / uuid.uuid4().hex, uuid.uuid4().hex
    write_text(probe, said)
    try:
        heard, apart = read_text(probe), False
        try:
            create_bytes(probe, said.encode())
        except FileExistsError:
            apart = True
    finally:
        remove(probe)
    if heard != said:
        return False, f"{root.as_uri()} gave back something else than was written."
    if not apart:
        return False, (
            f"{root.as_uri()} writes over what is there although it was told not to, so two processes "
            "at once could both send one mail. Use a store that knows conditional writes."
        )
    check_reach()
    if not creates_exclusively(root):
        return True, (
            f"{root.as_uri()} can be written and read, but cannot keep two writers apart: two processes "
            "at the same moment could both send one mail."
        )
    return True, f"{root.as_uri()} can be written and read."


def _kimi(conn_id: str, *, ask: bool) -> Iterator[dict[str, Any]]:
    from kimi_provider.hooks.kimi import KimiHook

    # Alone: that a fallback answers says nothing of this one.
    hook = KimiHook(conn_id, fallback_conn_ids=())

    def connection() -> Finding:
        config = hook.get_conn().config
        return True, f"{config.model} at {config.base_url}"

    def models() -> Finding:
        wanted = hook.get_conn().config.model
        listed = sorted(info.id for info in hook.models())
        if wanted in listed:
            return True, f"The host lists {wanted} among {len(listed)}."
        more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
        named = ", ".join(listed[:_NAMED])
        return False, f"The host does not list {wanted!r}, but {named}{more}. Set model in the extra."

    def balance() -> Finding:
        left = hook.balance().available
        return left > 0, f"{left} left." if left > 0 else f"{left} left: top the account up."

    first = _row("connection", conn_id, connection)
    yield first
    if not first["ok"]:
        return
    yield _row("models", conn_id, models)
    if hook.get_conn().config.host.side_endpoints:
        yield _row("balance", conn_id, balance)
    if ask:
        yield _row("call", conn_id, lambda: _one_token(hook))


def _one_token(hook: Any) -> Finding:
    from kimi_provider.client.messages import ChatRequest, Message

    request = ChatRequest(messages=(Message.user("Say yes."),), max_tokens=1)
    usage = hook.complete(request).usage
    cost = "price unknown" if usage.cost_usd is None else f"{usage.cost_usd:f} US dollars"
    return True, f"Answered: {usage.input_tokens} tokens in, {usage.output_tokens} out, {cost}."


def _sendgrid(conn_id: str) -> Finding:
    from kimi_provider.hooks.sendgrid import SendGridHook

    return SendGridHook(conn_id).test_connection()


def _connections(kind: str, asked: Sequence[str] | None) -> list[str]:
    """Return the connections to check: those asked for, else all of the kind, else the default."""
    if asked:
        return list(dict.fromkeys(asked))
    found = {*_in_database(kind), *_in_environment(kind)}
    return sorted(found) or [f"{kind}_default"]


def _in_database(kind: str) -> list[str]:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_session() as session:
            return list(session.scalars(select(Connection.conn_id).where(Connection.conn_type == kind)))
    except SQLAlchemyError:  # there are other places for connections
        return []


def _in_environment(kind: str) -> list[str]:
    from airflow.sdk import BaseHook

    found = []
    for name in os.environ:
        if name.startswith(_ENVIRONMENT):
            conn_id = name.removeprefix(_ENVIRONMENT).lower()
            try:
                if BaseHook.get_connection(conn_id).conn_type == kind:
                    found.append(conn_id)
            except (AirflowException, ConfigurationError, ValueError):
                continue  # a malformed one is of no kind
    return found

"""The simulator's own endpoints, by which other processes script it and read what it saw."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing.kimi_api import decode_object

if TYPE_CHECKING:
    from kimi_provider.testing.exchange import Exchange

_SETTINGS = ("chunk_delay", "answer_delay", "balance")


async def health(exchange: Exchange) -> tuple[int, Any]:
    """Answer that the simulator is up."""
    del exchange
    return 200, {"ok": True}


async def calls(exchange: Exchange) -> tuple[int, Any]:
    """Answer with all calls of services whose path holds ``?path=``, and their counts."""
    log, path = exchange.state.calls, exchange.query.get("path", "")
    return 200, {
        "total": log.count(path),
        "repeated": log.repeated(path),
        "in_flight": log.in_flight,
        "peak": log.peak,
        "by_fingerprint": log.by_fingerprint(path),
        "calls": [asdict(call) for call in log.select(path)],
    }


async def mailbox(exchange: Exchange) -> tuple[int, Any]:
    """Answer with all mails, without the bytes of their attachments."""
    return 200, {
        "messages": [
            {
                "number": mail.number,
                "message_id": mail.message_id,
                "received_at": mail.received_at.isoformat(),
                "status": mail.status,
                "from": mail.sender,
                "to": mail.to,
                "cc": mail.cc,
                "bcc": mail.bcc,
                "subject": mail.subject,
                "text": mail.text,
                "html": mail.html,
                "custom_args": mail.custom_args,
                "categories": mail.categories,
                "attachments": [
                    {
                        "filename": a.filename,
                        "type": a.media_type,
                        "bytes": len(a.content),
                        "content_id": a.content_id,
                    }
                    for a in mail.attachments
                ],
            }
            for mail in exchange.state.mailbox
        ]
    }


async def faults(exchange: Exchange) -> tuple[int, Any]:
    """Answer with the faults asked for, and how many calls each has met."""
    return 200, {"faults": exchange.state.faults.describe()}


async def add_fault(exchange: Exchange) -> tuple[int, Any]:
    """Ask for a fault: the fields of :class:`kimi_provider.testing.Fault` as JSON."""
    options = decode_object(exchange.body)
    path_prefix, kind = options.pop("path_prefix", None), options.pop("kind", None)
    if not isinstance(path_prefix, str) or not isinstance(kind, str):
        raise ConfigurationError("A fault needs path_prefix and kind.")
    return 200, asdict(exchange.state.faults.add(path_prefix, kind, **options))


async def clear_faults(exchange: Exchange) -> tuple[int, Any]:
    """Withdraw all faults."""
    exchange.state.faults.clear()
    return 200, {"ok": True}


async def add_scenario(exchange: Exchange) -> tuple[int, Any]:
    """Put a script in force: ``kind``, and what it takes, as JSON."""
    options = decode_object(exchange.body)
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigurationError("A scenario needs a kind.")
    exchange.state.scenarios.add(kind, **options)
    return 200, {"ok": True}


async def clear_scenarios(exchange: Exchange) -> tuple[int, Any]:
    """Withdraw all scripts."""
    exchange.state.scenarios.clear()
    return 200, {"ok": True}


async def settings(exchange: Exchange) -> tuple[int, Any]:
    """Change the pace, in seconds, or the balance, in US dollars."""
    for name, value in decode_object(exchange.body).items():
        if name not in _SETTINGS or isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(
                f"Setting {name!r} is not known or no number; there are {', '.join(_SETTINGS)}."
            )
        setattr(exchange.state, name, float(value))
    return 200, {name: getattr(exchange.state, name) for name in _SETTINGS}


async def reset(exchange: Exchange) -> tuple[int, Any]:
    """Forget everything."""
    exchange.state.reset()
    return 200, {"ok": True}

"""The simulator's ASGI application: routes, faults and the record of calls."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import msgspec

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing import (
    airflow_api,
    batch_api,
    control,
    data_api,
    files_api,
    formulas_api,
    kimi_api,
    mailbox_page,
    sendgrid_activity,
    sendgrid_api,
)
from kimi_provider.testing.effects import ClientLeftError, Effect, answer_instead, send_whole
from kimi_provider.testing.exchange import Exchange, bearer_of, query_of
from kimi_provider.testing.faults import EFFECTS, error_body
from kimi_provider.testing.refusal import RefusalError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from kimi_provider.testing.calls import Call
    from kimi_provider.testing.effects import Message, Receive, Send
    from kimi_provider.testing.faults import Fault
    from kimi_provider.testing.state import State

    Handler = Callable[[Exchange], Awaitable[tuple[int, Any]]]

logger = logging.getLogger(__name__)

SIMULATOR_HEADER = ("x-simulator", "kimi-provider")
CHAT = "/v1/chat/completions"
# Own pages: no faults, and no part of what was asked of the services.
_OWN = ("/_simulator", "/mailbox")

_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/v1/models", kimi_api.models),
    ("POST", "/v1/tokenizers/estimate-token-count", kimi_api.estimate),
    ("GET", "/v1/users/me/balance", kimi_api.balance),
    ("POST", "/v1/files", files_api.upload),
    ("GET", "/v1/files", files_api.list_files),
    ("GET", "/v1/files/{id}", files_api.describe),
    ("DELETE", "/v1/files/{id}", files_api.delete),
    ("GET", "/v1/files/{id}/content", files_api.content),
    ("POST", "/v1/batches", batch_api.create),
    ("GET", "/v1/batches", batch_api.list_batches),
    ("GET", "/v1/batches/{id}", batch_api.describe),
    ("POST", "/v1/batches/{id}/cancel", batch_api.cancel),
    ("GET", "/v1/formulas/{uri*}/tools", formulas_api.tools),
    ("POST", "/v1/formulas/{uri*}/fibers", formulas_api.fibers),
    ("POST", "/v3/mail/send", sendgrid_api.send),
    ("POST", "/v3/mail/batch", sendgrid_api.create_batch),
    ("GET", "/v3/mail/batch/{id}", sendgrid_api.read_batch),
    ("GET", "/v3/scopes", sendgrid_api.scopes),
    ("POST", "/v3/user/scheduled_sends", sendgrid_api.schedule),
    ("GET", "/v3/user/scheduled_sends/{id}", sendgrid_api.read_schedule),
    ("DELETE", "/v3/user/scheduled_sends/{id}", sendgrid_api.unschedule),
    ("GET", "/v3/messages", sendgrid_activity.list_messages),
    ("GET", "/v3/messages/{id}", sendgrid_activity.read_message),
    ("GET", "/data/{name}", data_api.read),
    ("GET", "/api/v2/dags/{dag_id}/dagRuns", airflow_api.dag_runs),
    (
        "GET",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
        airflow_api.task_instances,
    ),
    ("GET", "/mailbox", mailbox_page.listing),
    ("GET", "/mailbox/{number}", mailbox_page.message),
    ("GET", "/mailbox/{number}/html", mailbox_page.html),
    ("GET", "/mailbox/{number}/eml", mailbox_page.eml),
    ("GET", "/_simulator/health", control.health),
    ("GET", "/_simulator/calls", control.calls),
    ("GET", "/_simulator/mailbox", control.mailbox),
    ("GET", "/_simulator/faults", control.faults),
    ("POST", "/_simulator/faults", control.add_fault),
    ("DELETE", "/_simulator/faults", control.clear_faults),
    ("POST", "/_simulator/scenario", control.add_scenario),
    ("DELETE", "/_simulator/scenario", control.clear_scenarios),
    ("POST", "/_simulator/settings", control.settings),
    ("POST", "/_simulator/reset", control.reset),
)


def _compiled(pattern: str) -> re.Pattern[str]:
    pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", pattern)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))


class App:
    """The ASGI application over one state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._routes = [(method, _compiled(pattern), handler) for method, pattern, handler in _ROUTES]

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _read(receive)
        path: str = scope["path"]
        transport: asyncio.Transport = scope["state"]["transport"]
        calls = self._state.calls
        own = path.startswith(_OWN)
        call = calls.open(
            scope["method"], path, scope["query_string"], bearer_of(headers), body, own=own
        )
        exchange = Exchange(
            state=self._state,
            transport=transport,
            call=call,
            method=scope["method"],
            path=path,
            query=query_of(scope["query_string"]),
            headers=headers,
            body=body,
        )
        fault = None if own else self._state.faults.take(path)
        try:
            await self._answer(exchange, fault, receive, _watched(call, send))
        except ClientLeftError:
            if call.outcome == "open":
                call.outcome = "disconnected"
        except Exception:
            logger.exception("The simulator failed to answer %s %s", call.method, call.path)
            raise
        finally:
            if transport.is_closing() and call.outcome == "open":
                call.outcome = "disconnected"
            calls.close(call, own=own)

    async def _answer(
        self, exchange: Exchange, fault: Fault | None, receive: Receive, send: Send
    ) -> None:
        if fault is not None:
            exchange.call.outcome = f"fault:{fault.kind}"
            if fault.kind in EFFECTS:
                send = Effect(fault, exchange.transport, receive, send)
            elif await answer_instead(fault, exchange.path, exchange.transport, receive, send):
                return
        try:
            if exchange.path == CHAT and exchange.method == "POST":
                await kimi_api.chat(exchange, receive, send)
                return
            status, content = await self._route(exchange)
        except RefusalError as error:
            status, content = error.status, {"error": {"message": str(error), "type": error.error_type}}
        except ConfigurationError as error:
            status, content = 400, {"error": str(error)}
        await _reply(exchange, status, content, send)

    async def _route(self, exchange: Exchange) -> tuple[int, Any]:
        known = exchange.path == CHAT
        for method, pattern, handler in self._routes:
            if found := pattern.fullmatch(exchange.path):
                known = True
                if method == exchange.method:
                    exchange.path_values = found.groupdict()
                    return await handler(exchange)
        status, message = (405, "Method not allowed") if known else (404, "Not found")
        return status, error_body(
            exchange.path, "resource_not_found_error", f"{message}: {exchange.path}"
        )


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _watched(call: Call, send: Send) -> Send:
    async def watching(message: Message) -> None:
        if message["type"] == "http.response.start":
            call.status = message["status"]
            name, value = SIMULATOR_HEADER
            message["headers"] = [*message["headers"], (name.encode(), value.encode())]
        await send(message)

    return watching


async def _reply(exchange: Exchange, status: int, content: Any, send: Send) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8", **exchange.reply_headers}
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    await send_whole(send, status, body, headers)

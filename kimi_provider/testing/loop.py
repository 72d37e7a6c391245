"""Runs the application on uvicorn, inside an event loop that a thread owns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import threading

    from kimi_provider.testing.state import State

_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 4096


def event_loop() -> asyncio.AbstractEventLoop:
    """Return a fast event loop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def serve(
    state: State, listener: socket.socket, started: threading.Event, stop: asyncio.Event
) -> None:
    """Serve until told to stop, then cut what is open: a test must not wait for a stalled stream."""
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from kimi_provider.testing.app import App

    class Protocol(HttpToolsProtocol):
        """Hands the connection to the application, so that faults can cut it."""

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["state"]["transport"] = self.transport

    config = uvicorn.Config(
        App(state),
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110 — uvicorn offers no event
        await asyncio.sleep(0.002)
    started.set()
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    for task in (serving, stopped, *server.server_state.tasks):
        task.cancel()
    await asyncio.gather(serving, stopped, *server.server_state.tasks, return_exceptions=True)

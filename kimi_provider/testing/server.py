"""The simulator: one loopback server that stands for Kimi, SendGrid and a data API."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing.state import State

if TYPE_CHECKING:
    from pathlib import Path

    from kimi_provider.testing.calls import Calls
    from kimi_provider.testing.faults import Faults
    from kimi_provider.testing.mailbox import Mailbox

MODEL = "kimi-k2-thinking"
KEY = "sk-simulator"
_BACKLOG = 4096
_START_SECONDS = 30.0


class Simulator:
    """Kimi, SendGrid and a data API on loopback, for tests and demos without keys or cost.

    It is strict: it refuses what the real services refuse, with their status and text. Its answers
    carry ``system_fingerprint`` ``fp_simulator`` and the header ``X-Simulator``. Any key is accepted
    that is not empty and does not begin with ``wrong``.

    :param port: port to listen on; 0 takes a free one.
    :param host: address to listen on.
    :param state_dir: folder that keeps the mails over a restart; ``None`` keeps them in memory.
    :param chunk_delay: seconds between the events of a stream; 0 sends as fast as it can.
    :param answer_delay: seconds before an answer that is not streamed.
    :raises ConfigurationError: on entering, if the port is taken.

    Example::

        with Simulator() as simulator:
            os.environ.update(simulator.connections())
            simulator.faults.add("/v1/chat", "overloaded", times=2)
            dag.test()
            assert simulator.mailbox.messages[0].subject
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        state_dir: Path | None = None,
        chunk_delay: float = 0.0,
        answer_delay: float = 0.0,
    ) -> None:
        self._address = (host, port)
        self._state = State(state_dir=state_dir, chunk_delay=chunk_delay, answer_delay=answer_delay)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()

    @property
    def url(self) -> str:
        """Where everything is; the base of the data connection too."""
        host, port = self._address
        return f"http://{host}:{port}"

    @property
    def kimi_url(self) -> str:
        """Base URL of the Kimi API, with ``/v1``."""
        return f"{self.url}/v1"

    @property
    def sendgrid_url(self) -> str:
        """Base URL of SendGrid's API, without ``/v3``."""
        return self.url

    @property
    def data_url(self) -> str:
        """Base URL of the data API, where ``/flights``, ``/weather`` and the others are."""
        return f"{self.url}/data"

    @property
    def mailbox(self) -> Mailbox:
        """The mails that the simulated SendGrid took."""
        return self._state.mailbox

    @property
    def calls(self) -> Calls:
        """The calls of all services, counted."""
        return self._state.calls

    @property
    def faults(self) -> Faults:
        """The faults asked for: ``faults.add("/v1/chat", "overloaded", times=2)``."""
        return self._state.faults

    @property
    def balance(self) -> float:
        """US dollars left on the Kimi account; with none left, inference is refused."""
        return self._state.balance

    @balance.setter
    def balance(self, amount: float) -> None:
        self._state.balance = amount

    @property
    def chunk_delay(self) -> float:
        """Seconds between the events of a stream."""
        return self._state.chunk_delay

    @chunk_delay.setter
    def chunk_delay(self, seconds: float) -> None:
        self._state.chunk_delay = seconds

    def script(self, kind: str, *, match: str = "", **options: Any) -> None:
        """Script the model; see :mod:`kimi_provider.testing.scenarios` for kinds and options.

        :param match: text that has to occur in the prompt for the script to apply.
        :raises ConfigurationError: if the kind or an option is not known.
        """
        self._state.scenarios.add(kind, match=match, **options)

    def clear_scripts(self) -> None:
        """Let the model answer by itself again."""
        self._state.scenarios.clear()

    def reset(self) -> None:
        """Forget calls, faults, scripts, prompts, files and mails."""
        self._state.reset()

    def connections(self) -> dict[str, str]:
        """Return environment variables that give Airflow the connections to this simulator.

        They are ``kimi_default``, ``sendgrid_default`` and ``flights_api``.
        """
        connections = {
            "KIMI_DEFAULT": {
                "conn_type": "kimi",
                "host": self.kimi_url,
                "password": KEY,
                "extra": {"model": MODEL},
            },
            "SENDGRID_DEFAULT": {
                "conn_type": "sendgrid",
                "host": self.sendgrid_url,
                "password": f"SG.{KEY}",
                "extra": {"from_email": "reports@example.com", "from_name": "Flight Reports"},
            },
            "FLIGHTS_API": {"conn_type": "http", "host": self.url, "schema": "http"},
        }
        return {f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()}

    def __enter__(self) -> Self:
        """Start the server in a thread of its own, and wait until it answers."""
        listener = self._listen()
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="kimi-simulator", daemon=True
        )
        self._thread.start()
        if not self._started.wait(_START_SECONDS) or self._stop is None:
            raise ConfigurationError(
                f"The simulator did not start at {self.url}; its thread's traceback says why."
            )
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop the server at once; open connections are cut."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()
        self._started.clear()
        self._loop = self._stop = self._thread = None

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(self._address)
        except OSError as error:
            listener.close()
            raise ConfigurationError(
                f"The simulator cannot listen on {self.url}: {error.strerror}. Choose another port, or"
                " 0 for a free one."
            ) from error
        listener.listen(_BACKLOG)
        host, port = listener.getsockname()
        self._address = (host, port)
        return listener

    def _run(self, listener: socket.socket) -> None:
        from kimi_provider.testing.loop import event_loop, serve

        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await serve(self._state, listener, self._started, self._stop)

        try:
            with asyncio.Runner(loop_factory=event_loop) as runner:
                runner.run(main())
        finally:
            listener.close()
            self._started.set()

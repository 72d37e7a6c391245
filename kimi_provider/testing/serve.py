"""Run the simulator as a process of its own: Kimi, SendGrid and a data API on loopback."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing.server import Simulator


def main() -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kimi_provider.testing.serve", description=__doc__)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=8099, help="port; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--state-dir", type=Path, help="folder that keeps the mails over a restart")
    parser.add_argument(
        "--chunk-delay", type=float, default=0.0, help="seconds between the events of a stream"
    )
    options = parser.parse_args()
    simulator = Simulator(
        options.port, host=options.host, state_dir=options.state_dir, chunk_delay=options.chunk_delay
    )
    # Blocked before the server's thread starts, which inherits the mask: they wait for us alone.
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        with simulator:
            sys.stdout.write(f"Simulator ready at {simulator.url} (mailbox: {simulator.url}/mailbox)\n")
            for name, value in simulator.connections().items():
                sys.stdout.write(f"{name}='{value}'\n")
            sys.stdout.flush()
            signal.sigwait(signals)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

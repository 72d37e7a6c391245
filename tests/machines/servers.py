"""Servers of a test's own, on free ports of loopback, that end with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

S3_USER = "somebody"
S3_HEADERS = {"Authorization": f"AWS {S3_USER}:somehow"}
"""Where somebody's objects are not everybody's; the store of the tests checks no signature."""
_START = 60.0


class CannotStartError(Exception):
    """A server is not installed, or does not start here; says why."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL; give its URL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise CannotStartError("There is no PostgreSQL in /usr/lib/postgresql.")
    folder = Path(tempfile.mkdtemp(prefix="kimi-postgres-"))
    # It refuses to run as root.
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam("nobody")
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        os.chown(folder, account.pw_uid, account.pw_gid)
    binaries, data = found[-1].parent, folder / "data"
    port = free_port()
    settings = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder,
        "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "timezone": "Asia/Tokyo",
    }  # fmt: skip
    try:
        made = subprocess.run(
            [binaries / "initdb", "-D", data, "-A", "trust", "-U", "tester", "-E", "UTF8", "--locale=C"],
            capture_output=True, text=True, check=False, cwd=folder, **user,
        )  # fmt: skip
        if made.returncode:
            raise CannotStartError(f"PostgreSQL cannot be set up here: {made.stderr.strip()[-300:]}")
        command = [binaries / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", folder / "log"]
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        # Its output is no pipe, which the server would hold open.
        started = subprocess.run(
            [*command, "-o", options, "start"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, cwd=folder, **user,
        )  # fmt: skip
        if started.returncode:
            raise CannotStartError(
                f"PostgreSQL does not start here: {(folder / 'log').read_text()[-300:]}"
            )
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run(
                [*command, "-m", "immediate", "stop"],
                capture_output=True,
                check=False,
                cwd=folder,
                **user,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis that keeps nothing; give its URL."""
    if shutil.which("redis-server") is None:
        raise CannotStartError("There is no redis-server here.")
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", "/tmp"]  # noqa: S108
    with _running(command, port):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def object_store(bucket: str) -> Iterator[str]:
    """Run a store that speaks S3, in memory, with one bucket in it; give its URL."""
    import httpx

    port = free_port()
    with _running([sys.executable, str(Path(__file__).with_name("object_store.py")), str(port)], port):
        url = f"http://127.0.0.1:{port}"
        httpx.put(f"{url}/{bucket}", timeout=60).raise_for_status()
        yield url


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl+C stops those that use it first
        ) as process,
    ):
        try:
            end = time.monotonic() + _START
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise CannotStartError(f"{Path(command[-1]).name} {command[0]}: {log.read()[-500:]}")
                time.sleep(0.1)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False

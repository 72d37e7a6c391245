"""moto's S3 on a port, one request after the other.

    python tests/machines/object_store.py PORT

It looks whether an object is there and writes it in two steps, between which another request could come;
S3 itself decides a conditional request at once.
"""

from __future__ import annotations

import logging
import sys
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from werkzeug.serving import BaseWSGIServer


def make_server(port: int = 0) -> BaseWSGIServer:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug import serving

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    answer: Any = DomainDispatcherApplication(create_backend_app)
    one = Lock()

    def one_by_one(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with one:
            return list(answer(environ, start_response))

    return serving.make_server("127.0.0.1", port, one_by_one, threaded=True)


def in_a_thread() -> BaseWSGIServer:
    server = make_server()
    Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    make_server(int(sys.argv[1])).serve_forever()

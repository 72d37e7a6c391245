"""Faults that a test asks for: which calls they meet, and what they answer instead."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from typing import Any

from kimi_provider.exceptions import ConfigurationError

_OVERLOADED = "The engine is currently overloaded, please try again later"
_ACCOUNT = "Your account org-simulator<ak-simulator>"
_REACHED = f"{_ACCOUNT} request reached organization"
_LIMITED = "rate_limit_reached_error"
_LATER = "please try again after 1 seconds"
OUT_OF_BALANCE = (
    f"{_ACCOUNT} is suspended, please check your plan and billing details: insufficient balance"
)
_HTML = (
    "<html>\r\n<head><title>{0}</title></head>\r\n"
    "<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>\r\n"
)

# kind → (status, type, message): errors in the service's own JSON.
ERRORS: dict[str, tuple[int, str, str]] = {
    "rate_limit": (429, _LIMITED, f"{_REACHED} max RPM: 3, {_LATER}"),
    "concurrency": (429, _LIMITED, f"{_REACHED} max concurrency: 1, {_LATER}"),
    "tpm": (429, _LIMITED, f"{_REACHED} TPM rate limit, current:500123, limit:500000"),
    "tpd": (429, _LIMITED, f"{_REACHED} TPD rate limit,current:1500001, limit:1500000"),
    "overloaded": (429, "engine_overloaded_error", _OVERLOADED),
    "quota": (429, "exceeded_current_quota_error", OUT_OF_BALANCE),
    "content_filter": (
        400,
        "content_filter",
        "The request was rejected because it was considered high risk",
    ),
    "context_length": (
        400,
        "invalid_request_error",
        "Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)",
    ),
    "unauthorized": (401, "invalid_authentication_error", "Invalid Authentication"),
    "forbidden": (403, "permission_denied_error", "You do not have permission to access this resource"),
    "not_found": (404, "resource_not_found_error", "The requested resource was not found"),
    "too_large": (413, "invalid_request_error", "Request entity too large"),
    "server_error": (500, "server_error", "Internal server error"),
    "unexpected_output": (500, "unexpected_output", "The model gave an unexpected output"),
    "unavailable": (503, "server_unavailable", "Service temporarily unavailable"),
    "gateway_invalid": (500, "comet_api_error", "invalid request (request id: sim-0001)"),
}

# kind → status: pages of a proxy in front of the service.
PAGES = {
    "html_500": (500, "500 Internal Server Error"),
    "html_502": (502, "502 Bad Gateway"),
    "html_503": (503, "503 Service Temporarily Unavailable"),
    "html_504": (504, "504 Gateway Time-out"),
    "html_524": (524, "524: A timeout occurred"),
    "html_200": (200, "Welcome"),
}

# Kinds that act on the answer as it leaves; see `effects.py`.
EFFECTS = frozenset(
    {
        "cut", "end_early", "stall", "slow", "glued", "no_done", "no_finish", "malformed_json",
        "keep_alives", "crlf", "split_data", "tiny_packets", "empty_choices", "close_after",
        "error_after", "stall_after", "error_event", "error_finish",
    }
)  # fmt: skip

# Kinds that answer by themselves, in a way of their own; see `effects.py`.
INSTEAD = frozenset(
    {"error_in_200", "gzip_bomb", "redirect", "close_before", "stall_before", "comments_only", "answer"}
)

KINDS = frozenset(ERRORS) | frozenset(PAGES) | EFFECTS | INSTEAD


@dataclass(slots=True)
class Fault:
    """One fault, and the calls it meets.

    :param path_prefix: paths it meets, for example ``/v1/chat`` or ``/v3/mail/send``.
    :param kind: one of :data:`KINDS`.
    :param times: how many calls it meets; ``None`` for every one.
    :param after: how many matching calls pass first.
    :param retry_after: seconds, or ``"date"`` for an HTTP date two seconds ahead; ``None`` sends no
        ``Retry-After``, as the recorded overload had none.
    :param at_event: after how many parts of the answer (events of a stream) an effect sets in.
    :param delay: seconds between parts, for ``slow``, ``keep_alives`` and ``comments_only``.
    :param seconds: how long a stall lasts; ``None`` until the client leaves.
    :param status: status of ``answer``, or of ``error_after``.
    :param body: body of ``answer``; target of ``redirect``.
    :param headers: headers of ``answer``.
    :param met: how many calls it has met so far.
    """

    path_prefix: str
    kind: str
    times: int | None = 1
    after: int = 0
    retry_after: float | str | None = None
    at_event: int = 0
    delay: float = 0.05
    seconds: float | None = None
    status: int = 500
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    met: int = 0

    def retry_after_header(self) -> dict[str, str]:
        """Return the ``Retry-After`` header that was asked for, or none."""
        if self.retry_after is None:
            return {}
        if self.retry_after == "date":
            # Rounded up: the header has whole seconds, and a date already past would ask for no wait.
            return {"Retry-After": formatdate(int(time.time()) + 2, usegmt=True)}
        return {
            "Retry-After": f"{self.retry_after:g}"
            if isinstance(self.retry_after, float)
            else str(self.retry_after)
        }


class Faults:
    """The faults asked for, in order; each call meets at most one of them."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, path_prefix: str, kind: str, **options: Any) -> Fault:
        """Ask for a fault; see :class:`Fault` for the options.

        :raises ConfigurationError: if the kind or an option is not known.
        """
        if kind not in KINDS:
            raise ConfigurationError(
                f"Fault kind {kind!r} is not known; choose one of {', '.join(sorted(KINDS))}."
            )
        try:
            fault = Fault(path_prefix, kind, **options)
        except TypeError as error:
            raise ConfigurationError(f"Fault {kind!r}: {error}.") from error
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, path: str) -> Fault | None:
        """Return the fault that a call to this path meets, and count it; for the server."""
        with self._lock:
            for fault in self._faults:
                if not path.startswith(fault.path_prefix):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.times is None or fault.met < fault.times:
                    fault.met += 1
                    return fault
        return None

    def clear(self) -> None:
        """Withdraw all faults."""
        with self._lock:
            self._faults.clear()

    def describe(self) -> list[dict[str, Any]]:
        """Return all faults as JSON values."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]


def page(title: str) -> str:
    """Return an error page as proxies write it."""
    return _HTML.format(title)


def error_body(path: str, error_type: str, message: str) -> dict[str, Any]:
    """Return an error in the form of the service that the path belongs to."""
    if path.startswith("/v3/"):
        return {"errors": [{"message": message, "field": None, "help": None}]}
    if path.startswith("/data/"):
        return {"error": message}
    error: dict[str, Any] = {"message": message, "type": error_type}
    if error_type == "comet_api_error":
        error |= {"param": "", "code": "invalid_request"}
    return {"error": error}

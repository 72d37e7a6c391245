"""The error by which a simulated service refuses a request."""

from __future__ import annotations


class RefusalError(Exception):
    """The Kimi API would refuse the request.

    :param message: what it would say.
    :param status: HTTP status.
    :param error_type: the error's ``type``.
    """

    def __init__(
        self, message: str, *, status: int = 400, error_type: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type

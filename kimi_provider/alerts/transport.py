"""The transport beneath SendGrid's library, with the two things that it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler

from python_http_client import Client  # noqa: TID253 — loaded only when a mail is sent

if TYPE_CHECKING:
    from http.client import HTTPMessage
    from typing import IO
    from urllib.request import OpenerDirector, Request


class _NoRedirects(HTTPRedirectHandler):
    """Makes an answer of a redirect: following one would hand the key to another host."""

    handler_order = HTTPRedirectHandler.handler_order - 1  # before the one that follows

    def http_error_302(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> NoReturn:
        """Raise what an answer of any other error raises."""
        raise HTTPError(req.full_url, code, msg, headers, fp)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class Transport(Client):  # type: ignore[misc] # the library ships no types
    """``python_http_client``'s client with a time-out on every request, and without redirects.

    The library's own client waits forever, and asks a redirect's target by GET with the API key.
    """

    def _build_client(self, name: str | None = None) -> Self:
        return type(self)(
            host=self.host,
            request_headers=self.request_headers,
            version=self._version,
            url_path=[*self._url_path, name] if name else self._url_path,
            timeout=self.timeout,
        )

    def _make_request(
        self, opener: OpenerDirector, request: Request, timeout: float | None = None
    ) -> Any:
        opener.add_handler(_NoRedirects())
        return super()._make_request(opener, request, timeout)

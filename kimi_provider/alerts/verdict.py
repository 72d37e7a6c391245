"""What an answer of the mail service means for the mail: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass

from kimi_provider.schemas import DeliveryStatus

_OK = 200
_QUEUED = 202
_REDIRECT = 300
_BAD_REQUEST = 400
# The service gave up waiting for the rest of the request, so it has not taken the mail.
_REQUEST_TIMEOUT = 408
_RATE_LIMIT = 429
_SERVER_ERROR = 500
# A gateway's time-out is a time-out: the service behind it may have taken the mail.
_GATEWAY_TIMEOUT = 504

_NO_API = "There is no such API: the host of the connection must be SendGrid's, without a path."
_REDIRECTED = (
    "It leads elsewhere, and the key is not taken there: put the right host into the connection."
)
_WAY_OUT = {
    401: "The API key is wrong, revoked, or of another region: put a valid one with the permission Mail "
    "Send into the password of the connection (keys of EU subusers need the extra region=eu).",
    403: "The key or the sender is not allowed to send: give the key the permission Mail Send, and "
    "verify the sender's address or domain in SendGrid's Sender Authentication.",
    404: _NO_API,
    405: _NO_API,
    413: "The mail is too large: attach fewer or smaller files, or link to them.",
}


@dataclass(frozen=True)
class Answer:
    """What one request came to.

    :param status: HTTP status, ``None`` where no answer came.
    :param sent: whether the whole request may have reached the service; with ``status`` ``None`` and
        this ``False`` it is known that nothing left.
    :param message_id: the service's id of the mail (``X-Message-Id``).
    :param retry_after: seconds that the service asks to wait.
    :param detail: what the service or the network said, without addresses and keys.
    """

    status: int | None
    sent: bool
    message_id: str | None = None
    retry_after: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is known of a mail after a request.

    :param status: what to record.
    :param detail: why, and what to do.
    :param retry: whether the same request may be sent again now: nothing left, and it may pass.
    :param retry_after: seconds that the service asks to wait before that.
    :param for_all: whether other mails would meet the same end, so that sending them is vain.
    """

    status: DeliveryStatus
    detail: str = ""
    retry: bool = False
    retry_after: float | None = None
    for_all: bool = False


def judge(answer: Answer, *, sandbox: bool = False) -> Verdict:
    """Decide what is known of the mail of a request.

    :param sandbox: whether the request asked to be checked only, which the service does with a 200.

    Only an answer that says so makes a mail queued, and only an answer or error that excludes that the
    service took it makes it rejected or failed. All else is ambiguous.
    """
    said = f": {answer.detail}" if answer.detail else "."
    if sandbox and answer.status == _OK:
        return Verdict(DeliveryStatus.CHECKED)
    if answer.status is not None:
        return _judge_status(
            answer.status, f"SendGrid answered {answer.status}{said}", answer.retry_after
        )
    if answer.sent:
        return Verdict(DeliveryStatus.AMBIGUOUS, f"No answer came after the request was sent{said}")
    why = f"SendGrid could not be reached, and nothing was sent{said}"
    return Verdict(DeliveryStatus.FAILED, why, retry=True, for_all=True)


def _judge_status(status: int, told: str, retry_after: float | None) -> Verdict:
    if status == _QUEUED:
        return Verdict(DeliveryStatus.QUEUED)
    if status < _REDIRECT:
        return Verdict(
            DeliveryStatus.AMBIGUOUS, f"{told} Only 202 means queued; is the host SendGrid's?"
        )
    if status == _GATEWAY_TIMEOUT:
        return Verdict(DeliveryStatus.AMBIGUOUS, told)
    if status in {_REQUEST_TIMEOUT, _RATE_LIMIT} or status >= _SERVER_ERROR:
        return Verdict(DeliveryStatus.FAILED, told, retry=True, retry_after=retry_after, for_all=True)
    way_out = _WAY_OUT.get(status, "") if status >= _BAD_REQUEST else _REDIRECTED
    # Any refusal but 400 is of the key, the sender, the host or the size, which all mails share.
    alone = status == _BAD_REQUEST
    return Verdict(DeliveryStatus.REJECTED, f"{told} {way_out}".rstrip(), for_all=not alone)

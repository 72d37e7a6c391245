"""Delivery: state before effect, one mail a recipient, and a receipt for each.

A recipient's mail is written down as ``sending`` before its request leaves, and as what came of it
after. Whatever happens in between (a kill, a cut, a time-out), the ledger does not claim more than is
known, and a later try sends only where it is known that nothing left.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from structlog.contextvars import bound_contextvars
from tenacity import AsyncRetrying, retry_if_result
from tenacity.wait import wait_exponential, wait_random

from kimi_provider.alerts.ledger import Ledger
from kimi_provider.alerts.payload import MAX_RECIPIENTS, MESSAGE_ID_ARG, build_requests
from kimi_provider.alerts.verdict import Verdict, judge
from kimi_provider.exceptions import ConfigurationError, DeliveryError
from kimi_provider.schemas import DeliveryReceipt, DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tenacity import RetryCallState

    from kimi_provider.alerts.addresses import Recipient
    from kimi_provider.alerts.ledger import Entry
    from kimi_provider.alerts.message import Message
    from kimi_provider.alerts.payload import Request
    from kimi_provider.alerts.verdict import Answer
    from kimi_provider.storage import StoragePath

    Send = Callable[[Mapping[str, Any]], Awaitable[Answer]]

log = logging.getLogger(__name__)

# What has an end that is known, so that nothing is to be done, although not all of these are good.
_NOT_KNOWN = frozenset({DeliveryStatus.REJECTED, DeliveryStatus.FAILED, DeliveryStatus.AMBIGUOUS})
_NOT_SENT = "The message was taken back before this mail was sent."
_UNREAD = (DeliveryStatus.BOUNCED, DeliveryStatus.DROPPED)


@dataclass(frozen=True)
class DeliveryPolicy:
    """How hard, how fast and how often to send.

    :param per_request: recipients in one request. With 1, the default, each mail has its own id and its
        own fate; with more (up to 1000), those of one request share both.
    :param concurrency: requests under way at a time.
    :param tries: requests for one mail, while it is known that nothing left.
    :param first_wait: seconds before the second try, where the service asks for no other; then doubled.
    :param longest_wait: seconds to wait between tries at most; if the service asks for longer, the mail
        is left to a later run of the task.
    :param resend_ambiguous: send again to those of whom it is not known whether their mail left.
    :raises ConfigurationError: if a number is out of range.
    """

    per_request: int = 1
    concurrency: int = 4
    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    resend_ambiguous: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing would be sent."""
        for name in ("concurrency", "tries"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be 1 or more; got {getattr(self, name)!r}.")
        for name in ("first_wait", "longest_wait"):
            if getattr(self, name) < 0:
                raise ConfigurationError(
                    f"{name} must be 0 or more seconds; got {getattr(self, name)!r}."
                )


async def deliver(
    message: Message,
    to: Sequence[Recipient],
    *,
    message_id: str,
    send: Send,
    ledger: StoragePath,
    policy: DeliveryPolicy | None = None,
    on_sent: Callable[[Sequence[DeliveryReceipt]], None] = lambda _: None,
) -> tuple[DeliveryReceipt, ...]:
    """Send a message to each recipient, unless the ledger says that it left already.

    :param message: what to send.
    :param to: who gets it, each once.
    :param message_id: see :func:`kimi_provider.alerts.ledger.message_id`; the same for each try.
    :param send: posts one body and says what came of it.
    :param ledger: folder of the ledger; all tries must see the same.
    :param policy: how hard, how fast and how often to send.
    :param on_sent: gets the receipts of this run alone, without those that the ledger had.
    :returns: a receipt for each recipient, in order: ``queued``, or what the service has told since;
        ``checked`` for a message to its sandbox, ``canceled`` for one that was taken back.
    :raises ConfigurationError: if the message is beyond a limit of the service; nothing was sent.
    :raises DeliveryError: if any mail is not known to be queued, with all receipts; retryable if a later
        run of the task would send some of them.
    """
    policy = policy or DeliveryPolicy()
    if message.shared:
        policy = replace(policy, per_request=MAX_RECIPIENTS)
    delivery = _Delivery(Ledger(ledger, message_id), message, send, policy)
    pending = await delivery.open(to)
    requests = await asyncio.to_thread(
        build_requests, message, pending, message_id=message_id, per_request=policy.per_request
    )
    # Each goes to its end before an error of one is raised, so that none is cut off while sending.
    ends = await asyncio.gather(*(delivery.carry_out(r) for r in requests), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    receipts = tuple(delivery.receipts[recipient.key] for recipient in to)
    counts = Counter(receipt.status for receipt in receipts)
    with bound_contextvars(kimi_message_id=message_id, kimi_mails=_by_status(counts)):
        log.info("Message %s: %s.", message_id, _counted(counts))
    on_sent([delivery.receipts[recipient.key] for recipient in pending])
    unread = sum(counts[status] for status in _UNREAD)
    if unread:
        log.warning("%d mails of message %s did not reach their recipients.", unread, message_id)
    if any(status in _NOT_KNOWN for status in counts):
        raise _error(receipts, counts, message_id)
    return receipts


class _Delivery:
    """One run over the recipients of one message."""

    def __init__(self, ledger: Ledger, message: Message, send: Send, policy: DeliveryPolicy) -> None:
        self._ledger = ledger
        self._message = message
        self._send = send
        self._policy = policy
        self._slots = asyncio.Semaphore(policy.concurrency)
        doubling = wait_exponential(policy.first_wait, max=policy.longest_wait)
        # Apart by chance, so that mails refused together do not come back together.
        self._backoff = doubling + wait_random(0, policy.first_wait)
        self._entries: dict[str, Entry | None] = {}
        self._halted: Verdict | None = None
        self.receipts: dict[str, DeliveryReceipt] = {}

    async def open(self, to: Sequence[Recipient]) -> list[Recipient]:
        """Return those to send to; the others get the receipt that the ledger has for them."""
        again = {DeliveryStatus.REJECTED, DeliveryStatus.FAILED, DeliveryStatus.CHECKED}
        if self._policy.resend_ambiguous:
            again.add(DeliveryStatus.AMBIGUOUS)
        canceled = await asyncio.to_thread(lambda: self._ledger.canceled)
        pending: dict[str, Recipient] = {}
        for recipient in to:
            entry = await asyncio.to_thread(self._ledger.read, recipient)
            if entry is not None and entry.known not in again:
                self.receipts[recipient.key] = entry.receipt(self._ledger.uri(recipient, entry))
            elif canceled:
                self.receipts[recipient.key] = DeliveryReceipt(
                    recipient=recipient.address, status=DeliveryStatus.CANCELED, detail=_NOT_SENT
                )
            else:
                self._entries[recipient.key] = entry
                pending[recipient.key] = recipient
        return list(pending.values())

    async def carry_out(self, request: Request) -> None:
        """Send one request, again while it is known that nothing left."""
        async with self._slots:
            if self._halted is not None:
                self._skip(request, self._halted)
                return
            again = AsyncRetrying(
                retry=retry_if_result(lambda verdict: verdict.retry),
                stop=self._gives_up,
                wait=self._wait,
                retry_error_callback=_last,
            )
            verdict: Verdict = await again(self._attempt, request)
            if verdict.for_all:
                self._halted = verdict

    async def _attempt(self, request: Request) -> Verdict:
        begun: list[Entry] = []
        try:
            for recipient in request.recipients:
                before = self._entries[recipient.key]
                begun.append(await asyncio.to_thread(self._begin, recipient, before))
        except FileExistsError:
            return await self._leave_to_other(request, begun)
        except Exception as error:  # noqa: BLE001 — object stores raise what their libraries do
            why = f"The ledger could not be written ({type(error).__name__}), so nothing was sent."
            verdict = Verdict(DeliveryStatus.FAILED, why, for_all=True)
            self._skip(request, verdict)
            return verdict
        answer = await self._send(request.body)
        verdict = judge(answer, sandbox=self._message.sandbox)
        for recipient, entry in zip(request.recipients, begun, strict=True):
            after = entry.after(verdict, answer.message_id)
            self._entries[recipient.key] = after
            self.receipts[recipient.key] = after.receipt(self._ledger.uri(recipient, after))
            await self._write_down(recipient, after)
        return verdict

    def _begin(self, recipient: Recipient, before: Entry | None) -> Entry:
        send_at, batch_id = self._message.send_at, self._message.batch_id
        return self._ledger.begin(recipient, before, send_at=send_at, batch_id=batch_id)

    async def _leave_to_other(self, request: Request, begun: Sequence[Entry]) -> Verdict:
        """Leave a request to the process that has claimed one of its recipients first."""
        verdict = Verdict(DeliveryStatus.FAILED, "Another run took a mail of the same request first.")
        for recipient, entry in zip(request.recipients, begun, strict=False):
            after = entry.after(verdict, None)
            self._entries[recipient.key] = after
            self.receipts[recipient.key] = after.receipt(self._ledger.uri(recipient, after))
            await self._write_down(recipient, after)
        for recipient in request.recipients[len(begun) :]:
            known = await asyncio.to_thread(self._ledger.read, recipient)
            if known is not None:
                self.receipts[recipient.key] = known.receipt(self._ledger.uri(recipient, known))
        for recipient in request.recipients:
            self.receipts.setdefault(
                recipient.key,
                DeliveryReceipt(
                    recipient=recipient.address, status=verdict.status, detail=verdict.detail
                ),
            )
        return verdict

    async def _write_down(self, recipient: Recipient, entry: Entry) -> None:
        try:
            await asyncio.to_thread(self._ledger.write, recipient, entry)
        except Exception as error:  # noqa: BLE001 — see above; what was sent cannot be unsent
            log.warning(
                "A mail is %s, but the ledger could not be written (%s): it still says sending, at %s.",
                entry.status,
                type(error).__name__,
                self._ledger.uri(recipient, entry),
            )

    def _skip(self, request: Request, verdict: Verdict) -> None:
        for recipient in request.recipients:
            self.receipts[recipient.key] = DeliveryReceipt(
                recipient=recipient.address, status=verdict.status, detail=verdict.detail
            )

    def _wait(self, state: RetryCallState) -> float:
        asked = _last(state).retry_after
        return self._backoff(state) if asked is None else asked

    def _gives_up(self, state: RetryCallState) -> bool:
        asked = _last(state).retry_after or 0.0
        return state.attempt_number >= self._policy.tries or asked > self._policy.longest_wait


def _last(state: RetryCallState) -> Verdict:
    assert state.outcome is not None  # noqa: S101 — tenacity asks after an attempt
    verdict: Verdict = state.outcome.result()
    return verdict


def _by_status(counts: Mapping[DeliveryStatus, int]) -> dict[str, int]:
    return {status.value: counts[status] for status in DeliveryStatus if counts[status]}


def _counted(counts: Mapping[DeliveryStatus, int]) -> str:
    return ", ".join(f"{number} {status}" for status, number in _by_status(counts).items())


def _error(
    receipts: Sequence[DeliveryReceipt], counts: Mapping[DeliveryStatus, int], message_id: str
) -> DeliveryError:
    """Sum up without addresses: what happened, why, and the way out."""
    bad = [receipt for receipt in receipts if receipt.status in _NOT_KNOWN]
    lines = [f"{len(bad)} of {len(receipts)} mails are not known to be queued ({_counted(counts)})."]
    lines += list(dict.fromkeys(receipt.detail for receipt in bad))[:3]
    if counts[DeliveryStatus.FAILED]:
        lines.append("Run the task again: it sends only to those whose mail is known not to have left.")
    if counts[DeliveryStatus.AMBIGUOUS]:
        lines.append(
            "Ambiguous mails are not sent again by themselves: look in SendGrid's activity for "
            f"{MESSAGE_ID_ARG}={message_id}, and if it is not there, send with resend_ambiguous=True."
        )
    return DeliveryError(
        " ".join(lines), receipts=tuple(receipts), retryable=counts[DeliveryStatus.FAILED] > 0
    )

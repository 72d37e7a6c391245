"""Hand calls of the model over to another process, so that this one need not wait for them.

The work is a coroutine that can be repeated: what it has asked is in the journal. It runs until all of
it waits for answers that are not there, and ends by :class:`HandedOver`; another process makes those
calls into the same journal; run again, the work finds them and goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from kimi_provider.client.messages import ChatRequest  # noqa: TC001 — msgspec decodes by it

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# How long the work may take to come to its next call, in seconds, before it counts as standing still.
_STILL = 0.05


class PendingCall(msgspec.Struct, frozen=True):
    """A call to be made: what to ask, and the how-many-th of the same in its run (from 0)."""

    request: ChatRequest
    occurrence: int = 0


class HandedOver(BaseException):
    """The work waits for these calls, which are to be made elsewhere."""

    def __init__(self, calls: tuple[PendingCall, ...]) -> None:
        super().__init__(f"{len(calls)} calls are to be made elsewhere")
        self.calls = calls


class Elsewhere:
    """Takes the calls of one piece of work until all of it waits.

    :param failures: errors of calls that were made elsewhere, by the call's fingerprint and
        occurrence (``{key}-{n}``); each is raised where its call is asked for.
    """

    def __init__(self, failures: Mapping[str, Exception] | None = None) -> None:
        self._failures = failures or {}
        self._pending: list[PendingCall] = []

    async def take(self, call: PendingCall, key: str, active: Callable[[], int]) -> None:
        """Take a call over; never returns.

        :param key: the call's fingerprint.
        :param active: tells how many calls the work waits for or looks up at the moment.
        :raises HandedOver: with all calls of the work, once it stands still.
        """
        if failure := self._failures.get(name_of(key, call.occurrence)):
            raise failure
        self._pending.append(call)
        seen = -1
        while seen != len(self._pending) or active() > len(self._pending):
            seen = len(self._pending)
            await asyncio.sleep(_STILL)
        raise HandedOver(tuple(self._pending))


def name_of(key: str, occurrence: int) -> str:
    """Return the name under which the failure of a call is told."""
    return f"{key}-{occurrence}"


def handed_over(error: BaseException) -> tuple[PendingCall, ...]:
    """Return the calls that an error hands over; none where it is another error."""
    if isinstance(error, HandedOver):
        return error.calls
    if isinstance(error, BaseExceptionGroup):
        # Each of the group's calls knows of all.
        matched, others = error.split(HandedOver)
        return () if others or matched is None else max(map(handed_over, matched.exceptions), key=len)
    return ()

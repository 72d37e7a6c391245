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
from kimi_provider.exceptions import BudgetExceededError, KimiProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kimi_provider.analysis.caller import Caller

# How long the work may take to come to its next call, in seconds, before it counts as standing still.
_STILL = 0.05

CONCURRENT = 8
"""Calls of one task at once, where the connection has no ``max_concurrency``."""


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


async def make_all(caller: Caller, calls: Sequence[PendingCall]) -> dict[str, KimiProviderError]:
    """Make calls that were handed over, some at the same time.

    :returns: what failed, by the names that :class:`Elsewhere` takes.
    """
    return await _Making(caller, list(calls)).all()


class _Making:
    """Calls on their way."""

    def __init__(self, caller: Caller, calls: list[PendingCall]) -> None:
        self._caller = caller
        self._calls = calls
        self._slots = asyncio.Semaphore(caller.client.config.max_concurrency or CONCURRENT)
        self._failures: dict[str, KimiProviderError] = {}
        self._under_way = 0
        self._ended = 0
        self._freed = asyncio.Condition()

    async def all(self) -> dict[str, KimiProviderError]:
        async with asyncio.TaskGroup() as group:
            for call in self._calls:
                group.create_task(self._make(call))
        return self._failures

    async def _make(self, call: PendingCall) -> None:
        async with self._slots:
            try:
                await self._make_when_affordable(call)
            except KimiProviderError as error:
                name = name_of(self._caller.fingerprint(call.request), call.occurrence)
                self._failures[name] = error
            async with self._freed:
                self._ended += 1
                self._freed.notify_all()

    async def _make_when_affordable(self, call: PendingCall) -> None:
        while True:
            ended = self._ended
            self._under_way += 1
            try:
                await self._caller.make(call)
            except BudgetExceededError:
                # Calls under way reserve the most that they can take; when one ends, there may be room.
                if self._under_way == 1:
                    raise
            else:
                return
            finally:
                self._under_way -= 1
            async with self._freed:
                while self._ended == ended:
                    await self._freed.wait()


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

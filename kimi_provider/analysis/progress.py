"""A line now and then about an answer that takes long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kimi_provider.analysis.sanitize import one_line
from kimi_provider.client.messages import ReasoningDelta, Restarted, TextDelta

if TYPE_CHECKING:
    from collections.abc import Callable

    from kimi_provider.client.messages import StreamEvent

# How often a long answer says that it is still coming, in seconds.
_PROGRESS_INTERVAL = 5.0

# How much of the latest thinking such a line shows, in characters.
_SHOWN_THOUGHT = 160


class Progress:
    """Turns a stream of events into a line now and then, with the end of what the model thinks.

    The thoughts are shown, since half an hour without a sign of life looks like a hang; the answer is
    not, since it belongs to the readers of the report.

    :param on_progress: gets the lines.
    """

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self._on_progress = on_progress
        self._began = self._spoke = time.monotonic()
        self._thought = self._written = 0
        self._tail = ""

    def __call__(self, event: StreamEvent) -> None:
        """Take the next piece of an answer."""
        if isinstance(event, Restarted):
            self._thought = self._written = 0
            self._tail = ""
        elif isinstance(event, ReasoningDelta):
            self._thought += len(event.text)
            self._tail = (self._tail + event.text)[-_SHOWN_THOUGHT:]
        elif isinstance(event, TextDelta):
            if self._thought and not self._written:
                self._speak()
            self._written += len(event.text)
        if time.monotonic() - self._spoke >= _PROGRESS_INTERVAL:
            self._speak()

    def _speak(self) -> None:
        self._spoke = time.monotonic()
        seconds = self._spoke - self._began
        if self._written:
            self._on_progress(f"Writing for {seconds:.0f} s: {self._written:,} characters")
        else:
            thought = one_line(self._tail)
            self._on_progress(
                f"Thinking for {seconds:.0f} s ({self._thought:,} characters): … {thought}"
            )

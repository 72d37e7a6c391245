"""Telling a model that goes in circles so, and stopping it.

Counted is a call with the same tool and arguments, in a row or by turns with others, until a call
comes that the run has not made before: that is progress. The marks are those of Moonshot's own
command line tools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kimi_provider.analysis.toolbox import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kimi_provider.analysis.transcript import Transcript
    from kimi_provider.client.messages import ToolCall

_REMINDERS = {
    3: "You have now made this very call {count} times. Look at its result again before going on.",
    5: "You have made this very call {count} times, and its result will not help you more than it did. "
    "Change the arguments, use another tool, or answer with what you have.",
    8: "You have made this very call {count} times: you are going in circles. Do not make it again. "
    "After a few more the work is stopped and you are asked for your answer.",
}
STOP = 12


class Repeats:
    """Counts of one turn's calls, put into the transcript when the turn is done."""

    def __init__(self, transcript: Transcript, calls: Sequence[ToolCall]) -> None:
        self._transcript = transcript
        self._seen = set(transcript.seen)
        self._counts = dict(transcript.repeats)
        self._of_call = [self._count(canonical(call)) for call in calls]

    @property
    def stop(self) -> bool:
        """Whether a call was made so often that the run ends."""
        return any(count >= STOP for count in self._of_call)

    def reminder(self, position: int) -> str:
        """Return what the model is told behind the result of a call of this turn; mostly nothing."""
        count = self._of_call[position]
        text = _REMINDERS.get(count, "").format(count=count)
        return f"\n\n[{text}]" if text else ""

    def commit(self) -> None:
        """Let the counts stand."""
        self._transcript.seen, self._transcript.repeats = self._seen, self._counts

    def _count(self, name: str) -> int:
        if name not in self._seen:
            self._seen.add(name)
            self._counts.clear()
        self._counts[name] = self._counts.get(name, 0) + 1
        return self._counts[name]

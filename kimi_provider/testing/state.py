"""What the simulator remembers, in one place, so that a test can look at it and reset it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kimi_provider.testing.calls import Calls
from kimi_provider.testing.faults import Faults
from kimi_provider.testing.mailbox import Mailbox
from kimi_provider.testing.scenarios import Scenarios
from kimi_provider.testing.store import FileStore
from kimi_provider.testing.tokens import PromptCache

if TYPE_CHECKING:
    from pathlib import Path

INITIAL_BALANCE = 49.58


@dataclass
class State:
    """All that changes while the simulator runs.

    :param state_dir: where mails are kept; ``None`` keeps them in memory alone.
    :param chunk_delay: seconds between the events of a stream.
    :param answer_delay: seconds before an answer that is not streamed.
    :param balance: US dollars left on the Kimi account; none left, and inference is refused.
    """

    state_dir: Path | None = None
    chunk_delay: float = 0.0
    answer_delay: float = 0.0
    balance: float = INITIAL_BALANCE
    calls: Calls = field(default_factory=Calls)
    faults: Faults = field(default_factory=Faults)
    scenarios: Scenarios = field(default_factory=Scenarios)
    cache: PromptCache = field(default_factory=PromptCache)
    files: FileStore = field(default_factory=FileStore)
    mail_batches: set[str] = field(default_factory=set)
    schedules: dict[str, str] = field(default_factory=dict)
    mailbox: Mailbox = field(init=False)

    def __post_init__(self) -> None:
        """Open the mailbox."""
        self.mailbox = Mailbox(self.state_dir)

    def reset(self) -> None:
        """Forget calls, faults, scripts, prompts, files and mails."""
        for part in (
            self.calls,
            self.faults,
            self.scenarios,
            self.cache,
            self.files,
            self.mailbox,
            self.mail_batches,
            self.schedules,
        ):
            part.clear()
        self.balance = INITIAL_BALANCE

"""Reading only what is new. DAG files import this, so it costs only the standard library."""

from __future__ import annotations

from dataclasses import dataclass

from kimi_provider.exceptions import ConfigurationError


@dataclass(frozen=True)
class Incremental:
    """Reads what changed since the run before.

    :param column: whose highest value is the watermark, such as ``updated_at``; of numbers, dates or
        times.
    :param parameter: query parameter in which the API is told the watermark, such as ``since``. Whether
        rows at the watermark itself come again is the API's doing.
    :param initial: watermark of the first run; ``None`` leaves the parameter out, which reads all.
    :raises ConfigurationError: if the column or the parameter has no name.

    The watermark is kept by task (of a mapped task, by map index), and moves only when the dataset is
    stored. Each run keeps the window that it saw: a retry begins where the try before began, and a run
    that is cleared after its success also ends where it ended, whatever came since. A run for an
    earlier date that never ran sees what is new now. Two runs at once may read the same rows; set
    ``max_active_runs=1`` where that matters.
    """

    column: str
    parameter: str
    initial: str | None = None

    def __post_init__(self) -> None:
        """Refuse what has no name."""
        if not self.column or not self.parameter:
            raise ConfigurationError(
                "Incremental needs the column that the watermark is in and the query parameter that "
                "tells it to the API, such as Incremental('updated_at', 'since')."
            )

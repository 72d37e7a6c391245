"""How the data reaches the model: as facts, as rows, through the SQL tool, or read chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kimi_provider.schemas import DatasetRef

Strategy = Literal["facts", "direct", "tools", "map_reduce"]
Wanted = Literal["auto", "facts", "direct", "tools", "map_reduce"]

# Rows go into the prompt up to this share of the window, and never more tokens than the cap: beyond
# it, SQL finds what a reader of rows would miss, for less.
_DIRECT_SHARE, _DIRECT_CAP = 0.25, 50_000

# What a model is taken to read where its window is not known, in tokens.
_UNKNOWN_WINDOW = 131_072


class TextSettings(Value):
    """The column of free text that ``map_reduce`` reads, record by record.

    ``dataset`` may be left out where there is one, ``column`` where one column is clearly the text.
    ``question`` says what the themes are to be about. ``chunk_tokens`` is how much text one call
    reads, ``max_themes`` how many themes the report tells apart.
    """

    dataset: str | None = None
    column: str | None = None
    question: str = ""
    chunk_tokens: Annotated[int, Field(ge=200)] = 60_000
    max_themes: Annotated[int, Field(ge=2, le=60)] = 12


def strategy_named(name: str) -> Wanted:
    """Return a strategy that a task names.

    :raises ConfigurationError: if there is none of that name.
    """
    known: dict[str, Wanted] = {one: one for one in get_args(Wanted)}
    if name not in known:
        raise ConfigurationError(f"strategy={name!r} is not known; strategies: {', '.join(known)}")
    return known[name]


def direct_budget(window: int | None) -> int:
    """Return how many tokens of rows may go into a prompt.

    :param window: the model's, prompt and answer together; ``None`` where it is not known.
    """
    return min(int((window or _UNKNOWN_WINDOW) * _DIRECT_SHARE), _DIRECT_CAP)


def chosen(
    wanted: Wanted,
    *,
    metrics: bool,
    text: bool,
    text_tokens: int | None,
    row_tokens: int | None,
    budget: int,
) -> Strategy:
    """Choose a strategy by what the template declares and what was measured.

    :param wanted: what template or task ask for; anything but ``auto`` is taken.
    :param metrics: whether the template declares metrics: then it wants these figures and no others.
    :param text: whether it declares a text to read.
    :param text_tokens: tokens of the column of free text that was found, ``None`` where there is none.
    :param row_tokens: tokens of all rows as CSV; ``None`` where they were more than the budget.
    :param budget: tokens of rows that may go into a prompt.
    """
    if wanted != "auto":
        return wanted
    if text:
        return "map_reduce"
    if metrics:
        return "facts"
    if row_tokens is not None and row_tokens <= budget:
        return "direct"
    if text_tokens is not None and text_tokens > budget:
        return "map_reduce"
    return "tools"


def text_dataset(settings: TextSettings, datasets: Mapping[str, DatasetRef]) -> str:
    """Return the name of the dataset that holds the text.

    :raises ConfigurationError: if it is not among the datasets, or not said where there are several.
    """
    names = ", ".join(datasets)
    if settings.dataset is None:
        if len(datasets) > 1:
            raise ConfigurationError(
                f"text: dataset: say which of the datasets holds the text to read: {names}"
            )
        return next(iter(datasets))
    if settings.dataset not in datasets:
        raise ConfigurationError(f"text: there is no dataset {settings.dataset!r}; datasets: {names}")
    return settings.dataset

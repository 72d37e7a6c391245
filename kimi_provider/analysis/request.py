"""What one analysis sends to the model: rules and role first, then the request, then the facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.analysis.draft import system_text
from kimi_provider.analysis.facts import facts_csv, tables_csv
from kimi_provider.analysis.sanitize import fenced, one_line
from kimi_provider.client.messages import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.schemas import DatasetRef, FactSheet


@dataclass(frozen=True)
class ColumnView:
    """What a prompt's body sees of a column: its profile, as one-line text."""

    name: str
    type: str
    nulls: int
    distinct: int
    minimum: str
    maximum: str


@dataclass(frozen=True)
class DatasetView:
    """What a prompt's body sees of a dataset; never its rows."""

    name: str
    rows: int
    columns: tuple[ColumnView, ...]

    @classmethod
    def of(cls, name: str, ref: DatasetRef) -> DatasetView:
        """Return the view of a dataset, its texts cleaned: column names are data too."""
        columns = (
            ColumnView(
                name=one_line(column.name),
                type=column.type,
                nulls=column.nulls,
                distinct=column.distinct,
                minimum=one_line(column.minimum or ""),
                maximum=one_line(column.maximum or ""),
            )
            for column in ref.columns
        )
        return cls(name, ref.rows, tuple(columns))


def analysis_request(
    template: PromptTemplate,
    datasets: Mapping[str, tuple[DatasetRef, object]],
    sheet: FactSheet,
    parameters: Mapping[str, object],
    *,
    period: str | None,
    model: str | None,
    rules: str = "",
    blocks: Sequence[str] = (),
) -> ChatRequest:
    """Return the request for an analysis of the facts.

    :param parameters: the template's, typed.
    :param model: model id, in place of the template's.
    :param rules: how to cite what is there beside the facts.
    :param blocks: further data, fenced, behind the facts.
    :raises ConfigurationError: if the template's body asks for what is not there.

    What is the same from run to run comes first, so that the host's prefix cache holds it; what comes
    from data comes last, in fences. The same facts make the same request, to the letter, so that the
    journal of an earlier attempt answers it.
    """
    front = template.front
    body = template.render(
        {
            "params": parameters,
            "period": period,
            "language": front.language,
            "datasets": {name: DatasetView.of(name, ref) for name, (ref, _) in datasets.items()},
            "facts": {fact.id: fact.value for fact in sheet.facts},
        }
    )
    facts = fenced("facts", facts_csv(sheet, front.comparisons))
    tables = fenced("tables", tables_csv(sheet))
    return ChatRequest(
        messages=(
            Message.system("\n".join(filter(None, (system_text(front.system, front.language), rules)))),
            Message.user("\n".join((body, facts, tables, *blocks))),
        ),
        model=model or front.model.model,
        max_tokens=front.model.max_tokens,
        temperature=front.model.temperature,
        thinking=front.model.thinking,
        effort=front.model.effort,
        cache_key=f"{template.name}-{template.sha256[:12]}",
    )

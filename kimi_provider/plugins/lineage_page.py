"""From each figure of a text to its fact, the SQL that computed it, and the data that it ran over."""

import re
from dataclasses import dataclass

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from fastapi import APIRouter, Response  # noqa: TID253 — only the API server loads this
from pydantic import ValidationError
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from kimi_provider.plugins.access import ADDRESS, READ, FoundPlace
from kimi_provider.plugins.pages import nothing, render
from kimi_provider.plugins.places import Place, as_model, returned, stored_json
from kimi_provider.schemas import Analysis, DatasetRef, Fact, FactSheet

router = APIRouter(dependencies=READ)

_REFERENCE = re.compile(r"\[\[([A-Za-z0-9_.-]+)(?:\|([a-z]+))?\]\]")
_FETCHES = ("HttpFetchOperator", "SqlFetchOperator", "FileFetchOperator")


@dataclass(frozen=True)
class Part:
    """A piece of text, or a figure in it.

    :param number: of the figure's note, 0 where it is plain text.
    """

    text: str
    number: int = 0
    unknown: bool = False


@dataclass(frozen=True)
class Note:
    """A cited figure. ``query`` is the number of its SQL."""

    number: int
    fact: Fact
    value: str
    query: int


@dataclass(frozen=True)
class Query:
    """A query and the figures that come from it; ``datasets`` are content hashes by name."""

    number: int
    sql: str
    datasets: dict[str, str]
    notes: tuple[int, ...]


@router.get(f"/lineage{ADDRESS}")
def lineage(place: FoundPlace, session: SessionDep) -> Response:
    """Show the text of an analysis with each figure led back to its SQL."""
    analysis = returned(session, place, Analysis) if place else None
    if place is None or analysis is None:
        return nothing("This task has made no analysis.")
    texts, notes = _read(analysis, _facts(place, analysis))
    audit = stored_json(place.folder / "audit.json")
    return render(
        "lineage",
        place=place,
        analysis=analysis,
        texts=texts,
        notes=notes,
        queries=_queries(notes),
        sources=_sources(session, place),
        prompt=(audit.get("template") if isinstance(audit, dict) else None) or {},
    )


def _facts(place: Place, analysis: Analysis) -> dict[str, Fact]:
    """Return the facts by id: those of the sheet in the task's folder, or those that were passed on."""
    try:
        sheet = FactSheet.model_validate(stored_json(place.folder / "facts.json"))
    except ValidationError:
        sheet = FactSheet(facts=analysis.facts)
    return {fact.id: fact for fact in (*analysis.facts, *sheet.facts)}


def _read(analysis: Analysis, facts: dict[str, Fact]) -> tuple[list[tuple[str, list[Part]]], list[Note]]:
    from kimi_provider.analysis.audit import texts_of
    from kimi_provider.analysis.grounding_treatment import MARK
    from kimi_provider.exceptions import ConfigurationError
    from kimi_provider.reports.format import Formatter, Style

    try:
        formatter = Formatter(analysis.language)
    except ConfigurationError:
        formatter = Formatter()
    notes: dict[str, Note] = {}
    queries: dict[str, int] = {}
    texts = []
    note = f"({formatter.words['unverified']})"
    for where, marked in texts_of(analysis).items():
        text, parts, end = marked.replace(MARK, note), [], 0
        for match in _REFERENCE.finditer(text):
            parts.append(Part(text[end : match.start()]))
            end = match.end()
            fact = facts.get(match[1])
            if fact is None:
                parts.append(Part(match[0], unknown=True))
                continue
            if fact.id not in notes:
                query = queries.setdefault(fact.lineage.sql, len(queries) + 1)
                value = formatter.fact(fact, Style.PLAIN)
                notes[fact.id] = Note(len(notes) + 1, fact, value, query)
            style = Style(match[2]) if match[2] in list(Style) else Style.PROSE
            parts.append(Part(formatter.fact(fact, style), notes[fact.id].number))
        parts.append(Part(text[end:]))
        texts.append((_name(where), parts))
    return texts, list(notes.values())


def _name(where: str) -> str:
    return where.partition("[")[0] if "." not in where else where.rpartition(".")[2]


def _queries(notes: list[Note]) -> list[Query]:
    grouped: dict[int, list[Note]] = {}
    for note in notes:
        grouped.setdefault(note.query, []).append(note)
    return [
        Query(
            number,
            group[0].fact.lineage.sql,
            dict(group[0].fact.lineage.datasets),
            tuple(note.number for note in group),
        )
        for number, group in grouped.items()
    ]


def _sources(session: Session, place: Place) -> dict[str, DatasetRef]:
    """Return the datasets that the run has fetched, by content hash."""
    values = session.scalars(
        select(XComModel.value)
        .join(
            TaskInstance,
            and_(
                XComModel.dag_id == TaskInstance.dag_id,
                XComModel.run_id == TaskInstance.run_id,
                XComModel.task_id == TaskInstance.task_id,
                XComModel.map_index == TaskInstance.map_index,
            ),
        )
        .where(
            XComModel.key == XCOM_RETURN_KEY,
            TaskInstance.dag_id == place.dag_id,
            TaskInstance.run_id == place.run_id,
            TaskInstance.operator.in_(_FETCHES),
        )
    )
    found = (as_model(value, DatasetRef) for value in values)
    return {ref.sha256: ref for ref in found if ref is not None}

"""The trace of a task that asks Kimi: each turn with what was sent, thought, answered, run and paid."""

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Response  # noqa: TID253 — only the API server loads this

from kimi_provider.plugins.access import ADDRESS, READ, FoundPlace
from kimi_provider.plugins.pages import nothing, render
from kimi_provider.plugins.places import places_of_run, returned, stored_json
from kimi_provider.plugins.turns import timeline, totals
from kimi_provider.schemas import Analysis

router = APIRouter(dependencies=READ)

_SHOWN = 100


@router.get(f"/traces{ADDRESS}")
def trace(place: FoundPlace, session: SessionDep, start: str = "") -> Response:
    """Show the trace that lies in a task's own folder, also where the task has failed."""
    if place is None:
        return nothing("There is no such task instance.")
    items = timeline(stored_json(place.folder / "trace.json"))
    if not items:
        return nothing("This task has left no trace: it has not asked Kimi, or the trace has expired.")
    first = int(start) if start.isdecimal() and len(start) < 9 else 0  # noqa: PLR2004 — an index
    analysis = returned(session, place, Analysis)
    return render(
        "trace",
        place=place,
        items=items[first : first + _SHOWN],
        totals=totals(items),
        following=first + _SHOWN if len(items) > first + _SHOWN else None,
        before=max(first - _SHOWN, 0) if first else None,
        analysis=analysis,
        reports=[
            one
            for one in places_of_run(session, place.dag_id, place.run_id)
            if one.operator == "ReportOperator" and one.goes_with(place)
        ],
    )

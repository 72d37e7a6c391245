"""The list of reports, and the tab of a task instance, which leads to what there is of it."""

from datetime import UTC, datetime

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Response  # noqa: TID253 — only the API server loads this
from starlette.responses import RedirectResponse  # noqa: TID253 — the same

from kimi_provider.plugins.access import ADDRESS, READ, FoundPlace, ReadableDags
from kimi_provider.plugins.pages import base_path, nothing, query, render
from kimi_provider.plugins.report_index import STATUSES, Wanted, cursor_is_sound, reports

router = APIRouter(dependencies=READ)

_FIRST_YEAR, _LAST_YEAR = 1970, 2999
_PAGES = {
    "ReportOperator": "view",
    "KimiAnalyzeOperator": "traces",
    "KimiAgentOperator": "traces",
    "KimiChatOperator": "traces",
    "KimiMapOperator": "traces",
    "_KimiDecoratedOperator": "traces",
    "@task.kimi": "traces",
    "AlertOperator": "alerts",
}


@router.get("/reports")
def list_reports(
    session: SessionDep,
    dag_ids: ReadableDags,
    *,
    q: str = "",
    status: str = "",
    dag_id: str = "",
    first: str = "",
    last: str = "",
    after: str = "",
) -> Response:
    """List reports, the latest first, 50 at a time."""
    asked = {"q": q, "status": status, "dag_id": dag_id, "first": first, "last": last}
    wanted = Wanted(
        text=q.strip(),
        status=status if status in STATUSES else "",
        dag_id=dag_id,
        first=day(first),
        last=day(last),
        after=after if cursor_is_sound(after) else "",
    )
    rows, following = reports(session, dag_ids, wanted)
    return render(
        "reports",
        rows=rows,
        asked=asked,
        statuses=STATUSES,
        more=query(asked | {"after": following}) if following else "",
        later=bool(wanted.after),
        first_page=query(asked),
    )


@router.get(f"/tasks{ADDRESS}")
def task(place: FoundPlace) -> Response:
    """Lead to the page of a task instance."""
    page = _PAGES.get(place.operator or "") if place else None
    if place is None or page is None:
        return nothing(
            "There is nothing of Kimi to see here: this task neither asks Kimi, reports nor alerts.",
            status=200 if place else 404,
        )
    return RedirectResponse(f"{base_path()}/{page}/{place.path}", 303)


def day(text: str) -> datetime | None:
    """Read a day of a form, ``None`` where it is none that a run can be of."""
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None

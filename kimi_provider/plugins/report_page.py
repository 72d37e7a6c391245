"""One report: the page as it was sent, its files, and the frame that shows both in Airflow."""

from urllib.parse import quote

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Response  # noqa: TID253 — only the API server loads this

from kimi_provider.plugins.access import ADDRESS, READ, FoundPlace
from kimi_provider.plugins.pages import REPORT_HEADERS, nothing, render
from kimi_provider.plugins.places import places_of_run, returned, within_storage
from kimi_provider.plugins.report_index import recipients_of
from kimi_provider.schemas import ReportRef
from kimi_provider.storage import read_bytes

router = APIRouter(dependencies=READ)

_ANALYSIS = "KimiAnalyzeOperator"
_GONE = "The report is no longer in storage."
_OUTSIDE = "The report lies outside of the provider's storage ([kimi] storage_path)."


@router.get(f"/reports{ADDRESS}")
def page(place: FoundPlace, session: SessionDep) -> Response:
    """Serve a report as it was rendered."""
    ref = returned(session, place, ReportRef) if place else None
    if ref is None:
        return _plain("This task has made no report.")
    return _stored(ref.page_uri, {"Content-Type": "text/html; charset=utf-8"})


@router.get(f"/reports{ADDRESS}/files/{{number}}")
def file(place: FoundPlace, number: str, session: SessionDep) -> Response:
    """Serve a file that goes with a report, to be saved."""
    ref = returned(session, place, ReportRef) if place else None
    chosen = [one for n, one in enumerate(ref.attachments) if str(n) == number] if ref else []
    if not chosen:
        return _plain("The report has no such file.")
    name = quote(chosen[0].name.rpartition("/")[2], safe="")
    return _stored(
        chosen[0].uri,
        {
            # Never shown in the browser, whatever a task says that it is.
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        },
    )


@router.get(f"/view{ADDRESS}")
def view(place: FoundPlace, session: SessionDep) -> Response:
    """Show a report with what is known of it."""
    ref = returned(session, place, ReportRef) if place else None
    if place is None or ref is None:
        return nothing("This task has made no report.")
    return render(
        "view",
        place=place,
        ref=ref,
        recipients=recipients_of(session, place),
        analyses=[
            one
            for one in places_of_run(session, place.dag_id, place.run_id)
            if one.operator == _ANALYSIS and one.goes_with(place)
        ],
    )


def _stored(uri: str, headers: dict[str, str]) -> Response:
    path = within_storage(uri)
    if path is None:
        return _plain(_OUTSIDE)
    try:
        return Response(read_bytes(path), headers=REPORT_HEADERS | headers)
    except (FileNotFoundError, IsADirectoryError):
        return _plain(_GONE)


def _plain(reason: str) -> Response:
    return Response(f"{reason}\n", 404, media_type="text/plain; charset=utf-8")

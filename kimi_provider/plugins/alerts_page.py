"""Alerts: what fires, what was told to whom, and the form that silences."""

from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from airflow.models.log import Log
from fastapi import APIRouter, Depends, Form, Request, Response  # noqa: TID253 — API server only
from starlette.responses import RedirectResponse  # noqa: TID253 — the same

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.plugins.access import ADDRESS, CHANGE, READ, FoundPlace, ReadableDags, auth_manager
from kimi_provider.plugins.alert_index import alert_tasks, watch, watches
from kimi_provider.plugins.pages import base_path, nothing, render
from kimi_provider.plugins.places import Place, stored_json
from kimi_provider.plugins.silencing import HOURS, is_token, lift, silence, silences_of, token

router = APIRouter()

_PAGE = f"/alerts{ADDRESS}"
_NO_TASK = "There is no such alert task."


def _alert_task(place: FoundPlace) -> Place | None:
    return place if place and place.operator == "AlertOperator" else None


AlertTask = Annotated[Place | None, Depends(_alert_task)]


@router.get("/alerts", dependencies=READ)
def list_alerts(session: SessionDep, dag_ids: ReadableDags, dag_id: str = "") -> Response:
    """List the alert tasks, those that fire first."""
    places = alert_tasks(session, {dag_id} & dag_ids if dag_id else dag_ids)
    found = watches(places)
    return render(
        "alerts", watches=found, more=len(places) - len(found), dag_id=dag_id, total=len(places)
    )


@router.get(_PAGE, dependencies=READ)
def alerts(place: AlertTask, user: GetUserDep) -> Response:
    """Show the alerts of a task: their state, and what the latest runs told."""
    if place is None:
        return nothing(_NO_TASK)
    explained = stored_json(place.folder / "alert.json")
    return render(
        "alert_task",
        watch=watch(place),
        place=place,
        silences=silences_of(place),
        decisions=explained.get("decisions", []) if isinstance(explained, dict) else [],
        rules=explained.get("rules", []) if isinstance(explained, dict) else [],
        hours=HOURS,
        token=token(str(user.get_id()), place) if _may_change(user, place) else "",
    )


@router.post(f"{_PAGE}/silence", dependencies=CHANGE)
def set_silence(
    request: Request,
    place: AlertTask,
    user: GetUserDep,
    session: SessionDep,
    *,
    key: Annotated[str, Form()] = "",
    hours: Annotated[str, Form()] = "",
    comment: Annotated[str, Form()] = "",
    form: Annotated[str, Form()] = "",
) -> Response:
    """Silence one alert of a task."""
    if place is None:
        return nothing(_NO_TASK)
    if not _is_ours(request, form, user, place):
        return _refused()
    state = watch(place).book.alerts.get(key)
    if state is None or hours not in HOURS:
        return nothing("There is no such alert any more, or no such time. Go back and look again.")
    try:
        silence(place, state, hours=int(hours), comment=comment.strip(), author=user.get_name())
    except ConfigurationError as error:
        return nothing(f"This alert cannot be silenced here: {error}", status=400)
    return _done(session, user, place, "kimi_silence", f"{state.rule}: {HOURS[hours]}")


@router.post(f"{_PAGE}/lift", dependencies=CHANGE)
def lift_silence(
    request: Request,
    place: AlertTask,
    user: GetUserDep,
    session: SessionDep,
    *,
    silence_id: Annotated[str, Form()] = "",
    form: Annotated[str, Form()] = "",
) -> Response:
    """End a silence."""
    if place is None:
        return nothing(_NO_TASK)
    if not _is_ours(request, form, user, place):
        return _refused()
    if not lift(place, silence_id):
        return nothing("There is no such silence any more.")
    return _done(session, user, place, "kimi_silence_lifted", silence_id)


def _may_change(user: Any, place: Place) -> bool:
    details = DagDetails(id=place.dag_id, team_name=DagModel.get_team_name(place.dag_id))
    return bool(auth_manager().is_authorized_dag(method="PUT", details=details, user=user))


def _is_ours(request: Request, form: str, user: Any, place: Place) -> bool:
    # Browsers that say so say it truly; the token holds for those that do not.
    sent_from = request.headers.get("sec-fetch-site", "same-origin")
    return sent_from == "same-origin" and is_token(form, str(user.get_id()), place)


def _refused() -> Response:
    return nothing(
        "This form was not made for you, or is too old. Open the alert again and send it from there.",
        status=403,
    )


def _done(session: Any, user: Any, place: Place, event: str, extra: str) -> Response:
    """Write it into Airflow's audit log, and lead back."""
    session.add(
        Log(
            event=event,
            owner=user.get_name(),
            extra=extra[:500],
            dag_id=place.dag_id,
            run_id=place.run_id,
            task_id=place.task_id,
        )
    )
    return RedirectResponse(f"{base_path()}/alerts/{place.path}", 303)

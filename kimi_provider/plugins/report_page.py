"""The web application that serves a report as it was rendered; runs in Airflow's API server only."""

import json
import posixpath
import re
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from fastapi import Depends, FastAPI, Request, Response  # noqa: TID253 — only the API server loads this
from pydantic import ValidationError
from sqlalchemy import select
from starlette.middleware.base import RequestResponseEndpoint  # noqa: TID253 — the same

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.storage import open_uri, storage_root
from kimi_provider.schemas import ReportRef
from kimi_provider.storage import StoragePath, local_path, read_bytes

# Airflow shows the page in a frame that may run scripts as the signed-in user; the page's text comes
# from a model and from data. "sandbox" takes the origin and the scripts away, "default-src 'none'"
# every connection, so that nothing in a report can act or call home.
_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}
# Airflow's web UI leaves the placeholder as it is for a task that is not mapped.
_NOT_MAPPED = {"{MAP_INDEX}", "-1"}
_MAP_INDEX = re.compile("[0-9]{1,9}")  # what the database's integer holds


def create_app() -> FastAPI:
    """Make the application; every route checks that the user may read the task's XCom."""
    app = FastAPI(title="Kimi reports", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def secure(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.get(
        "/reports/{dag_id}/{run_id}/{task_id}/{map_index}",
        dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.XCOM))],
    )
    def report(dag_id: str, run_id: str, task_id: str, map_index: str, session: SessionDep) -> Response:
        """Serve the page of the report that a task instance returned."""
        if map_index in _NOT_MAPPED:
            index = -1
        elif _MAP_INDEX.fullmatch(map_index):
            index = int(map_index)
        else:
            return _nothing("That is not the map index of a task.")
        value = session.scalar(
            select(XComModel.value).filter_by(
                dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=index, key=XCOM_RETURN_KEY
            )
        )
        ref = _report_ref(value)
        if ref is None:
            return _nothing("This task has made no report.")
        page = _page(ref.page_uri)
        if page is None:
            return _nothing("The report lies outside of the provider's storage ([kimi] storage_path).")
        try:
            return Response(read_bytes(page), media_type="text/html; charset=utf-8")
        except (FileNotFoundError, IsADirectoryError):
            return _nothing("The report is no longer in storage.")

    return app


def _nothing(reason: str) -> Response:
    return Response(f"{reason}\n", status_code=404, media_type="text/plain; charset=utf-8")


def _report_ref(value: Any) -> ReportRef | None:
    """Read what a task returned, ``None`` where that is no report."""
    try:
        # Plain JSON only: Airflow's own decoder would make instances of classes that an XCom names.
        return ReportRef.model_validate(json.loads(value) if isinstance(value, str) else value)
    except (ValidationError, ValueError):
        return None


def _page(uri: str) -> StoragePath | None:
    """Return the page's path, ``None`` where it does not lie in the provider's storage.

    Whoever writes a DAG can put any URI into an XCom, and the API server can read files that DAG
    authors may not (its own configuration, with the signing keys).
    """
    try:
        root, named = storage_root(), open_uri(uri).as_uri()
    except (ConfigurationError, ValueError):
        return None
    prefix = f"{root.as_uri().rstrip('/')}/"
    below = named.removeprefix(prefix)
    if below == named or posixpath.normpath(below) != below or below.startswith(("/", "..")):
        return None
    page = root / below  # from the root, since a URI does not say by which connection it is opened
    here, home = local_path(page), local_path(root)
    if here is not None and home is not None and not here.resolve().is_relative_to(home.resolve()):
        return None  # a link that leads out
    return page

"""The web application of the provider's pages; runs in Airflow's API server only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI  # noqa: TID253 — only the API server loads this

from kimi_provider.plugins import (
    alerts_page,
    costs_page,
    lineage_page,
    report_list,
    report_page,
    trace_page,
)
from kimi_provider.plugins.pages import COMMON_HEADERS, REPORT_HEADERS

if TYPE_CHECKING:
    from starlette.middleware.base import RequestResponseEndpoint
    from starlette.requests import Request
    from starlette.responses import Response


def create_app() -> FastAPI:
    """Make the application; every route of it checks the user's permissions by itself."""
    app = FastAPI(title="Kimi reports", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def secure(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers.update(COMMON_HEADERS)
        # What no page has set, an error above all, gets the strictest there is.
        for name, value in REPORT_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    for room in (report_list, report_page, trace_page, lineage_page, costs_page, alerts_page):
        app.include_router(room.router)
    return app

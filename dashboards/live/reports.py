"""How does an overseer get at a report with single values in it? As a page of its own that can reach nothing.

Its scripts run in a sandbox without an origin: they cannot ask the dashboard for anything, nor anybody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from evaluators.reports import report_file
from sandbox import settings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

PREFIX = "/reports/"
POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'none'"
)


def address(model_version: str, wave_name: str) -> str:
    """The page of a report, on this server."""
    return PREFIX + quote(f"{model_version}/{wave_name}")


def route() -> Route:
    """Answers with a report that is there, else 404."""
    from starlette.responses import FileResponse, PlainTextResponse
    from starlette.routing import Route

    def answer(request: Request) -> Response:
        named = request.path_params
        try:
            file = report_file(settings.load(), f"{named['model']}/{named['version']}", named["wave"])
        except ValueError:
            file = None
        if file is None or not file.is_file():
            return PlainTextResponse("There is no such report.", 404)
        return FileResponse(file, media_type="text/html", headers={"cache-control": "no-store"})

    return Route(PREFIX + "{model}/{version}/{wave}", answer)

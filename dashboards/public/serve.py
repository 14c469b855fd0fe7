"""Serves the built register: files and headers, nothing else. It opens no database."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.errors import NotFound

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), interest-cohort=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",  # ask again each time: a rebuilt page must show at once
}


class SecurityHeaders:
    """ASGI middleware: every answer carries `SECURITY_HEADERS`, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {name.encode(): value.encode() for name, value in SECURITY_HEADERS.items()}
                theirs = [pair for pair in message["headers"] if pair[0].lower() not in ours]
                message["headers"] = [*theirs, *ours.items()]
            await send(message)

        await self.app(scope, receive, with_headers)


def app(folder: Path) -> Starlette:
    """The register in `folder` as an ASGI application; raises NotFound when nothing was built there."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    if not (folder / "index.html").is_file():
        raise NotFound("public site", f"{folder} (build it with `ndl site build`)")
    mimetypes.add_type("application/atom+xml", ".atom")
    return Starlette(
        routes=[Mount("/", StaticFiles(directory=folder, html=True))],
        middleware=[Middleware(SecurityHeaders), Middleware(GZipMiddleware, minimum_size=500)],
    )


def serve(site: Starlette, host: str, port: int) -> None:
    """Answers requests until stopped."""
    import uvicorn

    uvicorn.run(site, host=host, port=port, log_level="warning", server_header=False)

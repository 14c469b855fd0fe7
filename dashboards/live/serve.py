"""How is the live dashboard served? One process on the loopback address, with headers that let nothing out."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from dashboards.live import reports
from sandbox.errors import Refused

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "worker-src 'self' blob:; connect-src 'self'; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
OPTIONS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "logger.level": "warning",
    "server.enableStaticServing": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "theme.base": "light",
    "theme.primaryColor": "#1c4f93",
    "theme.textColor": "#1b2733",
}
_GRACE_SECONDS = 2
"""A page that somebody left open is no reason to stay."""
_QUIET: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False}


def serve(host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM. Raises Refused for an address that other machines could reach."""
    must_be_loopback(host)
    import uvicorn

    app = application(host, port)
    uvicorn.run(app, host=host, port=port, timeout_graceful_shutdown=_GRACE_SECONDS, **_QUIET)


def must_be_loopback(host: str) -> None:
    """This page has no sign-in yet, so it may only be reached from this machine."""
    try:
        inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise Refused(
            f"The live dashboard shows exact figures and has no sign-in yet, so it cannot be served on {host}.\n"
            'Leave serving.host at "127.0.0.1" and reach it through a tunnel (ssh -L) from where you are.'
        )


def application(host: str, port: int) -> App:
    """The dashboard as an ASGI application that answers to this host's names only.

    The options are laid over Streamlit's own files as its command line would: an application under
    uvicorn does not read Streamlit's environment variables.
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from streamlit.starlette import App as Streamlit
    from streamlit.web.bootstrap import load_config_options

    names = list(dict.fromkeys([host.strip("[]"), "localhost", "127.0.0.1"]))
    where = {"server.address": host, "server.port": port, "server.allowedHosts": names}
    load_config_options({**OPTIONS, **where})
    outer = [Middleware(SafeHeaders), Middleware(TrustedHostMiddleware, allowed_hosts=names)]
    app: App = Streamlit(Path(__file__).with_name("app.py"), middleware=outer, routes=[reports.route()])
    return app


class SafeHeaders:
    """Adds HEADERS to every answer; a report has a stricter policy of its own."""

    def __init__(self, app: App) -> None:
        self.app = app
        policy = HEADERS["content-security-policy"].replace(
            "script-src 'self'", " ".join(["script-src 'self'", *inline_scripts()])
        )
        self.headers = {**HEADERS, "content-security-policy": policy}

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        given = self.headers
        if scope.get("path", "").startswith(reports.PREFIX):
            given = {**given, "content-security-policy": reports.POLICY}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in given.items()]
                kept = [
                    (k, v) for k, v in message.get("headers", []) if k.decode().lower() not in self.headers
                ]
                message["headers"] = [*kept, *added]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


def inline_scripts() -> list[str]:
    """The CSP hashes of the scripts inside Streamlit's own page, so that these and no others run."""
    import base64
    import hashlib
    import re
    from importlib.util import find_spec

    spec = find_spec("streamlit")
    page = Path(spec.origin).parent / "static" / "index.html" if spec and spec.origin else None
    text = page.read_text() if page and page.is_file() else ""
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    return [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    ]

"""`ndl site`: build the public register from releases, and serve it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sandbox.api import Sandbox
    from sandbox.records import Release
    from sandbox.storage import Store


@click.group()
def site() -> None:
    """Build or serve the public register of models."""


@site.command()
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to (else the folder `public` of the storage)."
)
@click.pass_obj
def build(box: Sandbox, out: Path | None) -> None:
    """Write the public pages from the latest release of each model."""
    from dashboards.public.site import build as build_site

    folder = out or box.folder / "public"
    releases = latest_releases(box.store)
    build_site(releases, folder)
    models = f"{len(releases)} model{'' if len(releases) == 1 else 's'}"
    box.console.print(f"The register now shows {models}: {folder / 'index.html'}", soft_wrap=True)


@site.command()
@click.option("--out", type=click.Path(path_type=Path), help="Which folder (else `public` of the storage).")
@click.option("--host", help="Address to listen on (else the settings').")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (else the settings').")
@click.pass_obj
def serve(box: Sandbox, out: Path | None, host: str | None, port: int | None) -> None:
    """Serve the public pages until Ctrl-C."""
    from dashboards.public.serve import app
    from dashboards.public.serve import serve as serve_site

    register = app(out or box.folder / "public")
    serving = box.settings.serving
    host, port = host or serving.host, port or serving.public_port
    box.console.print(f"Public register: http://{host}:{port}/ (Ctrl-C stops it)")
    serve_site(register, host, port)


def latest_releases(store: Store) -> list[Release]:
    """The newest release of each model, ordered by model."""
    from sandbox.records import Release

    newest: dict[str, Release] = {}
    for release in sorted(store.all(Release), key=lambda r: (r.released_at, r.id)):
        newest[release.model] = release
    return [newest[model] for model in sorted(newest)]

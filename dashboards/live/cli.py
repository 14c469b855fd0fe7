"""`ndl dashboard`: serve the live dashboard for people inside."""

from __future__ import annotations

import click

from sandbox.api import Sandbox


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to serve on (else serving.live_port).")
@click.pass_obj
def dashboard(box: Sandbox, port: int | None) -> None:
    """Serve the live dashboard on this machine until Ctrl-C."""
    import os

    from dashboards.live.serve import must_be_loopback, serve

    serving = box.settings.serving
    must_be_loopback(serving.host)
    if box.config:
        os.environ["NDL_CONFIG"] = str(box.config.absolute())
    _ = box.store.change_number()
    box.console.print(
        f"Live dashboard: http://{serving.host}:{port or serving.live_port}/   (Ctrl-C stops it)"
    )
    serve(serving.host, port or serving.live_port)

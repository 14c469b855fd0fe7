"""`ndl up`: serve the live dashboard, MLflow's pages and the public site until Ctrl-C."""

from __future__ import annotations

import click

from sandbox.api import Sandbox


@click.command()
@click.pass_obj
def up(box: Sandbox) -> None:
    """Serve the live dashboard, MLflow's pages and the public site until Ctrl-C."""
    serve(box)


def serve(box: Sandbox) -> None:
    """Starts the three faces, prints their addresses, returns on Ctrl-C."""
    from dashboards.serving import running, wait_for_the_end

    box.console.print("Starting the live dashboard, MLflow and the public site ...")
    with running(box.settings, box.config) as services:
        box.console.print()
        for service in services:
            box.console.print(f"  [bold]{service.name:<15}[/] {service.address}")
        box.console.print("\nCtrl-C stops all three.")
        wait_for_the_end(services)
    box.console.print("Stopped.")

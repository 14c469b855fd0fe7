"""`ndl up`: run workers, scheduler, live dashboard, MLflow's pages and the public site until Ctrl-C."""

from __future__ import annotations

import click

from sandbox.api import Sandbox
from sandbox.errors import NDLError
from sandbox.roles import Role


@click.command()
@click.pass_obj
def up(box: Sandbox) -> None:
    """Run workers, scheduler and the three faces as one process tree, until Ctrl-C or SIGTERM."""
    serve(box)


def serve(box: Sandbox) -> None:
    """Starts everything, prints the addresses, returns on Ctrl-C with nothing left running."""
    from dashboards.serving import running, wait_for_the_end

    operator = _operator(box)
    box.console.print("Starting the live dashboard, MLflow and the public site ...")
    with running(box.settings, box.config, operator) as services:
        box.console.print()
        for service in services:
            if service.address:
                box.console.print(f"  [bold]{service.name:<15}[/] {service.address}")
        at_work = [service.name for service in services if not service.address]
        words = f"{', '.join(at_work)}, as {operator}" if at_work else "nobody"
        box.console.print(f"  [bold]{'at work':<15}[/] {words}", highlight=False)
        box.console.print("\nCtrl-C stops everything.")
        wait_for_the_end(services, box.console.print)
    box.console.print("Stopped.")


def _operator(box: Sandbox) -> str:
    """In whose name the workers act: the settings' or whoever started this, if they may; else nobody's."""
    try:
        person = (
            box.settings.person(box.settings.workers.person) if box.settings.workers.person else box.person
        )
    except NDLError:
        if box.settings.workers.person:
            raise
        return ""
    if Role.OPERATOR in person.roles:
        return person.name
    if box.settings.workers.person:
        person.must_be(Role.OPERATOR, to="be `workers.person`")
    return ""

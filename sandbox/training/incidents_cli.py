"""`ndl incident`: trainings that broke their promise, and who has answered for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sandbox.api import Sandbox


@click.group()
def incident() -> None:
    """Trainings that did not pass the release gate."""


@incident.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are resolved.")
@click.pass_obj
def list_(box: Sandbox, everything: bool) -> None:
    """List the incidents that wait for somebody."""
    from rich.table import Table

    from sandbox.lifecycle import IncidentState
    from sandbox.records import Incident

    _may_see(box)
    found = sorted(box.store.all(Incident), key=lambda i: i.opened_at, reverse=True)
    shown = [i for i in found if everything or i.state is IncidentState.OPEN]
    if not shown:
        box.console.print("No incident is open." if found else "There has been no incident.")
        return
    table = Table("incident", "state", "opened (UTC)", "what happened", box=None, padding=(0, 1))
    for i in shown:
        state = "[bold red]open[/]" if i.state is IncidentState.OPEN else f"resolved by {i.resolved_by}"
        table.add_row(i.id, state, f"{i.opened_at:%Y-%m-%d %H:%M}", i.sentence)
    box.console.print(table)


@incident.command()
@click.argument("name", metavar="INCIDENT")
@click.pass_obj
def show(box: Sandbox, name: str) -> None:
    """Show one incident: what the gate found, test by test, and what was decided."""
    from rich.table import Column, Table

    from sandbox.records import Charge, Incident, TrainingRun

    _may_see(box)
    found = box.store.get(Incident, name)
    charge = box.store.get(Charge, box.store.get(TrainingRun, found.id).charge)
    lines = Table("what", Column("value", overflow="fold"), title=found.id, show_header=False)
    lines.add_row("state", str(found.state))
    lines.add_row("what happened", found.sentence)
    lines.add_row("submission", found.submission)
    lines.add_row("charge", f"{charge.id}, {charge.state}: it stands")
    lines.add_row("opened", f"{found.opened_at:%Y-%m-%d %H:%M} UTC")
    for test, said in found.tests.items():
        lines.add_row(test, said)
    if found.resolved_at:
        lines.add_row("resolved", f"{found.resolved_at:%Y-%m-%d %H:%M} UTC, by {found.resolved_by}")
        lines.add_row("reason", found.reason)
    box.console.print(lines)


@incident.command()
@click.argument("name", metavar="INCIDENT")
@click.option("--reason", required=True, help="What was wrong, and what was done about it; kept.")
@click.pass_obj
def resolve(box: Sandbox, name: str, reason: str) -> None:
    """Say what became of INCIDENT. Overseers only, and never for their own submission."""
    from sandbox.training import incidents

    found = incidents.resolve(box.store, name, box.person, reason)
    box.console.print(f"{found.id} is [bold]resolved[/bold]. Its submission may be trained again.")


def _may_see(box: Sandbox) -> None:
    from sandbox.roles import Role

    box.person.must_be(Role.OVERSEER, Role.OPERATOR, to="see incidents")

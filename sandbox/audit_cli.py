"""`ndl audit`: reads the audit log and proves that nobody changed it."""

from __future__ import annotations

import click

from sandbox.api import Sandbox


@click.group()
def audit() -> None:
    """Read the audit log, or prove that it is whole."""


@audit.command()
@click.option("--last", default=20, show_default=True, help="How many lines.")
@click.pass_obj
def show(box: Sandbox, last: int) -> None:
    """Show the latest lines, oldest first."""
    from rich.table import Table

    table = Table("#", "when (UTC)", "who", "what", "on", "why", box=None)
    for line in box.store.audit_lines()[-last:]:
        when = f"{line.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(line.number), when, line.by, line.action, line.subject, line.reason)
    box.console.print(table)


@audit.command()
@click.pass_obj
def verify(box: Sandbox) -> None:
    """Check every line's hash against the line before it; exit code 1 when the chain is broken."""
    from sandbox.audit import first_broken

    lines = box.store.audit_lines()
    broken = first_broken(lines)
    if broken is not None:
        raise click.ClickException(
            f"The audit log is broken at line {broken}: keep it and tell the operator."
        )
    head = lines[-1].hash if lines else "-"
    box.console.print(f"{len(lines)} lines, unbroken. Newest hash: {head}")

"""`ndl doctor`: says part by part whether this machine is fit, and how to mend it."""

from __future__ import annotations

import click

from sandbox.api import Sandbox


@click.command()
@click.pass_obj
def doctor(box: Sandbox) -> int:
    """Say for each part whether it is fit, and how to mend it; exit code 6 when a needed one is not."""
    from rich.table import Table

    from sandbox.doctor.checks import examine

    table = Table("", "part", "found", "how to mend", box=None, padding=(0, 1))
    fit = True
    for check in examine(box.settings):
        mark = "[green]✓[/]" if check.fit else "[red]✗[/]" if check.needed else "[yellow]–[/]"
        table.add_row(mark, check.part, check.found, "" if check.fit else check.mend)
        fit = fit and (check.fit or not check.needed)
    box.console.print(table)
    box.console.print("Fit for work." if fit else "Not fit: mend the lines marked ✗.")
    return 0 if fit else 6
